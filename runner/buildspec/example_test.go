package buildspec_test

import (
	"fmt"

	"github.com/slipway-ci/slipway/runner/buildspec"
)

func ExampleParse() {
	_, problems := buildspec.Parse("buildspec.yml", []byte(`version: 0.2
phases:
  build:
    commands:
      - echo "Built: $TAG"
`), buildspec.Options{})
	fmt.Println(problems.Err("buildspec.yml"))
	// Output:
	// buildspec.yml:5:9: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty (phases.build.commands[0]: a command with a colon and a blank in it needs quotes: - 'echo "Built: $TAG"')
}
