package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/specfile"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// runtimesPath is where an image says which runtimes it has (CodeBuild
// reference 2.6).
const (
	runtimesPath     = "/codebuild/image/config/runtimes.yml"
	maxRuntimesBytes = 1 << 20
)

// imageRuntime is one runtime of an image: the commands that activate each
// version, and those for any other.
type imageRuntime struct {
	versions map[string][]string
	// fallback serves versions that are not listed; nil: there are none.
	fallback []string
}

// runtimes checks the runtime versions that the buildspec asks for and keeps
// the commands that activate them.
func (r *build) runtimes(ctx context.Context) error {
	wanted := r.spec.Phase(buildspec.Install).Runtimes
	if len(wanted) == 0 {
		r.log.line("No runtime version selected in buildspec.")
		return nil
	}
	have, err := r.imageRuntimes(ctx)
	if err != nil {
		return err
	}
	if have == nil {
		r.log.line("Skipping install of runtimes. Runtime version selection is not supported by this build image")
		return nil
	}
	for _, w := range wanted {
		version, err := r.expand(ctx, w.Version)
		if err != nil {
			return err
		}
		commands, err := selectRuntime(have, w.Name, version)
		if err != nil {
			return err
		}
		r.log.line("Selecting '%s' runtime version '%s' ...", w.Name, version)
		r.activate = append(r.activate, commands...)
	}
	return nil
}

// imageRuntimes reads the image's list; nil if it has none.
func (r *build) imageRuntimes(ctx context.Context) (map[string]imageRuntime, error) {
	const file = "runtimes.yml"
	script := fmt.Sprintf("if [ -r %[1]s ]; then while IFS= read -r _sw_line || [ -n \"$_sw_line\" ]; do printf '%%s\\n' \"$_sw_line\"; done <%[1]s >%[2]s; fi",
		runtimesPath, quote(r.shell.work+"/"+file))
	if _, err := r.quietly(ctx, script); err != nil {
		return nil, err
	}
	data, err := readFile(r.shell.folder, file, maxRuntimesBytes)
	if err != nil {
		return nil, nil //nolint:nilerr // an image without the file selects nothing
	}
	have := parseRuntimes(data)
	if have == nil {
		r.log.line("Warning: %s of the image can't be read", runtimesPath)
	}
	return have, nil
}

// parseRuntimes reads a runtimes file; nil if it is none.
func parseRuntimes(data []byte) map[string]imageRuntime {
	f := specfile.Parse(data, specfile.Options{MaxBytes: maxRuntimesBytes})
	if f.Root == nil {
		return nil
	}
	have := map[string]imageRuntime{}
	for _, top := range f.Map(f.Root, "") {
		if top.Key != "runtimes" {
			continue
		}
		for _, e := range f.Map(top.Value, top.Path) {
			have[e.Key] = parseRuntime(f, e)
		}
	}
	return have
}

func parseRuntime(f *specfile.File, e specfile.Entry) imageRuntime {
	rt := imageRuntime{versions: map[string][]string{}}
	commands := func(e specfile.Entry) []string {
		list := []string{}
		for _, key := range f.Map(e.Value, e.Path) {
			if key.Key != "commands" {
				continue
			}
			for _, item := range f.Texts(key.Value, key.Path) {
				list = append(list, item.Text)
			}
		}
		return list
	}
	for _, key := range f.Map(e.Value, e.Path) {
		switch key.Key {
		case "versions":
			for _, v := range f.Map(key.Value, key.Path) {
				rt.versions[v.Key] = commands(v)
			}
		case "default":
			rt.fallback = commands(key)
		}
	}
	return rt
}

// selectRuntime finds the commands for a version: the very one, the newest of
// N.x or latest, else the image's fallback (CodeBuild reference 2.6; E7, E8).
// Many files name docker, which newer images have without listing it.
func selectRuntime(have map[string]imageRuntime, name, version string) ([]string, error) {
	rt, ok := have[name]
	if !ok && name == "docker" {
		return nil, nil
	}
	if !ok {
		return nil, &pipeline.UserError{Code: codeYAML, Msg: fmt.Sprintf(
			"Unknown runtime named '%s'. This build image has the following runtimes: %s", name, strings.Join(sortedKeys(have), ", "))}
	}
	if commands, ok := rt.versions[version]; ok {
		return commands, nil
	}
	versions := sortedKeys(rt.versions)
	slices.SortFunc(versions, compareVersions)
	for _, v := range slices.Backward(versions) {
		major, wild := strings.CutSuffix(version, ".x")
		if version == "latest" || wild && (v == major || strings.HasPrefix(v, major+".")) {
			return rt.versions[v], nil
		}
	}
	if rt.fallback != nil {
		return append([]string{"VERSION=" + quote(version)}, rt.fallback...), nil
	}
	return nil, &pipeline.UserError{Code: codeYAML, Msg: fmt.Sprintf(
		"Unknown runtime version named '%s' of %s. This build image has the following versions: %s", version, name, strings.Join(versions, ", "))}
}
