package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// A folder is built on this host, as "slipway build --engine host" does it.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o700); err != nil {
		fmt.Println(err)
		return
	}
	spec := "version: 0.2\nphases:\n  build:\n    commands: [echo hello]\n"
	if err := os.WriteFile(filepath.Join(source, "buildspec.yml"), []byte(spec), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	engine := host.New(host.Options{Env: []string{"PATH=/usr/bin:/bin", "HOME=" + dir}})
	sink := &runnertest.Sink{}
	order := pipeline.BuildOrder{ID: "0b8ee8a0-1111-5222-8333-444455556666", Project: "octo-app"}
	build, _ := runner.Run(context.Background(), runner.Options{Engine: engine, Dir: source, Temp: dir}, order, sink)
	if err := engine.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Print(build.Status, "\n", sink.Output())
	// Output:
	// SUCCEEDED
	// hello
}
