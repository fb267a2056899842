package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/internal/specfile"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

func (a *app) validateCommand() *cobra.Command {
	var o validation
	c := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check buildspec, appspec and pipeline files and report every mistake",
		Long: `Every mistake is reported at once, as file:line:column: message. A folder is
searched for buildspec*.yml, appspec.* and .slipway/*.yml files. A file is taken
for a pipeline file or an appspec if its name says so or its content has the form
of one, and for a buildspec otherwise. Warnings don't fail the check, unless
--strict is given. Whether the server has the deployment groups and projects that
a pipeline file names is checked when it is pushed.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.validate(o, args) },
	}
	c.Args = usageArgs(c.Args)
	c.Flags().BoolVar(&o.strict, "strict", false, "count warnings about the file as errors")
	c.Flags().BoolVar(&o.lenient, "lenient", false, "only warn where a file can still be understood")
	c.Flags().StringVar(&o.format, "format", "text", "how to print: text, json or github")
	c.Flags().StringVar(&o.kind, "kind", "", "what the files are: buildspec, appspec or pipeline (default: told by name and content)")
	return c
}

type validation struct {
	strict, lenient bool
	format, kind    string
}

func (a *app) validate(o validation, paths []string) error {
	files, err := specFiles(paths)
	if err != nil {
		return usage(err)
	}
	if len(files) == 0 {
		return usage(fmt.Errorf("there is no buildspec, appspec or pipeline file in %s", strings.Join(paths, ", ")))
	}
	results := make([]specfile.Result, 0, len(files))
	valid := true
	for _, f := range files {
		r, err := o.check(f)
		if err != nil {
			return usage(err)
		}
		valid = valid && r.Valid()
		results = append(results, r)
	}
	if err := specfile.WriteResults(a.stdout, specfile.Format(o.format), results); err != nil {
		return usage(err)
	}
	if !valid {
		return &exitError{code: exitUsage}
	}
	if o.format == string(specfile.Text) {
		fmt.Fprintf(a.stderr, "%d valid\n", len(results))
	}
	return nil
}

func (o validation) check(path string) (specfile.Result, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return specfile.Result{}, err
	}
	r := specfile.Result{Path: path, Kind: o.kind}
	if r.Kind == "" {
		r.Kind = kindOfFile(path, data)
	}
	switch r.Kind {
	case "buildspec":
		_, r.Problems = buildspec.Parse(path, data, buildspec.Options{Mode: o.mode()})
	case "appspec":
		_, r.Problems = appspec.Parse(data, appspec.Options{Strict: o.strict})
	case "pipeline":
		for _, f := range pipeline.ParseFile(path, data) {
			r.Problems = append(r.Problems, f.Problems...)
		}
		r.Problems.Sort()
	default:
		return r, fmt.Errorf("--kind: want buildspec, appspec or pipeline, have %q", r.Kind)
	}
	for i := range r.Problems {
		// What we don't act on yet is no mistake of the file's author.
		if o.strict && r.Problems[i].Code != buildspec.CodeNoEffect {
			r.Problems[i].Severity = specfile.Error
		}
	}
	return r, nil
}

func (o validation) mode() buildspec.Mode {
	switch {
	case o.strict:
		return buildspec.Strict
	case o.lenient:
		return buildspec.Lenient
	}
	return buildspec.Standard
}

// kindOfFile tells a pipeline file and an appspec by their names, or by a top
// level that only they have.
func kindOfFile(path string, data []byte) string {
	name := strings.ToLower(filepath.Base(path))
	switch {
	case inPipelineFolder(path):
		return "pipeline"
	case strings.Contains(name, "appspec"):
		return "appspec"
	case strings.Contains(name, "buildspec"):
		return "buildspec"
	}
	for _, key := range topLevelKeys(data) {
		switch key {
		case "phases", "batch":
			return "buildspec"
		case "slipway":
			return "pipeline"
		case "os", "hooks", "Resources":
			return "appspec"
		}
	}
	return "buildspec"
}

// topLevelKeys reads no more than it must, as a file with mistakes has a kind,
// too: the keys of a JSON object, or the lines without indentation.
func topLevelKeys(data []byte) []string {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) == nil {
		return slices.Sorted(maps.Keys(object))
	}
	var keys []string
	for line := range strings.Lines(string(data)) {
		if key, _, found := strings.Cut(line, ":"); found {
			keys = append(keys, strings.Trim(key, `"'`))
		}
	}
	return keys
}

// specFiles are the files named, and those found in the folders named.
func specFiles(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, p)
			continue
		}
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
				return filepath.SkipDir
			case !d.IsDir() && (isSpecName(d.Name()) || inPipelineFolder(path) && filepath.Ext(path) == pipeline.FileSuffix):
				out = append(out, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// inPipelineFolder reports whether a file lies in a folder .slipway, wherever
// that is asked from.
func inPipelineFolder(path string) bool {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return filepath.Base(filepath.Dir(path)) == pipeline.FileFolder
}

func isSpecName(name string) bool {
	name = strings.ToLower(name)
	ext := filepath.Ext(name)
	return (ext == ".yml" || ext == ".yaml" || ext == ".json") && (strings.HasPrefix(name, "buildspec") || strings.HasPrefix(name, "appspec"))
}

// usageArgs makes wrong arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error { return usage(hint(c, check(c, args))) }
}
