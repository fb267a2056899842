package buildspec

import (
	"fmt"
	"slices"
	"strings"
)

// NoFile is CodeBuild's message for a source without DefaultFile.
const NoFile = "YAML file does not exist"

// NoFileAt is CodeBuild's message for a buildspec that a project or a start
// names and that isn't there; path is absolute in the build container, and
// relative to the source where the build runs on the runner's own host.
func NoFileAt(path string) string {
	return fmt.Sprintf("stat %s: no such file or directory", path)
}

// UnknownRuntime is CodeBuild's message for a runtime that the image lacks.
func UnknownRuntime(name string, have []string) string {
	return fmt.Sprintf("Unknown runtime named '%s'. This build image has the following runtimes: %s", name, sorted(have))
}

// UnknownVersion is CodeBuild's message for a version of a runtime that the
// image lacks.
func UnknownVersion(runtime, version string, have []string) string {
	return fmt.Sprintf("Unknown runtime version named '%s' of %s. This build image has the following versions: %s", version, runtime, sorted(have))
}

func sorted(names []string) string {
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}
