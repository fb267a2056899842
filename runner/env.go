package runner

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

// builtIn are the variables that only a runner knows, and those of the order,
// which win (CodeBuild reference 3.3).
func (r *build) builtIn() []pipeline.Variable {
	o := r.order
	vars := []pipeline.Variable{
		{Name: "CODEBUILD_BUILD_ID", Value: o.Project + ":" + o.ID},
		{Name: "CODEBUILD_BUILD_NUMBER", Value: strconv.Itoa(o.Number)},
		{Name: "CODEBUILD_LOG_PATH", Value: o.ID},
		{Name: "CODEBUILD_SOURCE_REPO_URL", Value: o.Source.URL},
		{Name: "CODEBUILD_SOURCE_VERSION", Value: o.Source.SHA},
		{Name: "CODEBUILD_RESOLVED_SOURCE_VERSION", Value: o.Source.SHA},
		{Name: "CODEBUILD_CI", Value: "true"},
		{Name: "CI", Value: "true"},
		{Name: "SLIPWAY", Value: "true"},
	}
	if address := r.engineAddress(); address != "" {
		vars = append(vars, pipeline.Variable{Name: "DOCKER_HOST", Value: address})
	}
	vars = append(vars, o.BuiltIn...)
	vars = append(vars, r.inputVariables()...)
	return append(vars,
		pipeline.Variable{Name: "CODEBUILD_BUILD_IMAGE", Value: o.Image},
		pipeline.Variable{Name: "CODEBUILD_START_TIME", Value: strconv.FormatInt(r.record.StartedAt.UnixMilli(), 10)},
		pipeline.Variable{Name: "CODEBUILD_SRC_DIR", Value: r.shell.source},
		pipeline.Variable{Name: "CODEBUILD_BUILD_SUCCEEDING", Value: "1"})
}

// around puts the built-in variables around the user's: whoever names one that
// isn't reserved, such as AWS_DEFAULT_REGION, means it (CodeBuild reference 3.1).
func (r *build) around(vars []pipeline.Variable) []pipeline.Variable {
	var all, last []pipeline.Variable
	for _, v := range r.builtIn() {
		if reserved(v.Name) {
			last = append(last, v)
		} else {
			all = append(all, v)
		}
	}
	return slices.Concat(all, sameRegion(vars), vars, last)
}

// sameRegion is the variable of the region that vars lack, with the value of
// the other: AWS's tools prefer AWS_REGION, which would undo a region that only
// AWS_DEFAULT_REGION states.
func sameRegion(vars []pipeline.Variable) []pipeline.Variable {
	other := map[string]string{"AWS_REGION": "AWS_DEFAULT_REGION", "AWS_DEFAULT_REGION": "AWS_REGION"}
	var twin []pipeline.Variable
	for _, v := range vars {
		if name, ok := other[v.Name]; ok {
			v.Name = name
			twin = append(twin, v)
		}
	}
	return twin
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reserved reports whether users may not set the variable (CodeBuild
// reference 3.1).
func reserved(name string) bool {
	return strings.HasPrefix(name, "CODEBUILD_") && !strings.HasPrefix(name, "CODEBUILD_CONFIG_")
}

// unusable says why a shell can't have the variable, or nothing.
func unusable(v pipeline.Variable) string {
	switch {
	case !identifier.MatchString(v.Name):
		return "no shell can have a variable of this name"
	case strings.HasPrefix(v.Name, "_sw"):
		return "the prefix _sw is Slipway's own"
	case strings.ContainsRune(v.Value, 0):
		return "its value holds a NUL"
	}
	switch v.Name {
	case "PWD", "OLDPWD", "SHLVL", "_", "PPID", "UID", "EUID", "GROUPS", "SHELLOPTS", "BASHOPTS", "BASHPID", "BASH_VERSINFO", "IFS":
		return "it belongs to the shell"
	}
	return ""
}

const (
	maxExportedBytes = 64 << 10
	maxExported      = 100
)

// export reads the exported variables at the end of POST_BUILD (CodeBuild
// reference 3.5).
func (r *build) export(ctx context.Context) error {
	var names []string
	for _, name := range r.spec.Env.Exported {
		switch {
		case !identifier.MatchString(name) || strings.HasPrefix(name, "_sw"):
			r.log.line("Warning: %q is not exported: it is no name of a variable", name)
		case strings.HasPrefix(name, "AWS_"):
			r.log.line("Warning: %s is not exported: names that begin with AWS_ are not", name)
		case r.secret[name]:
			r.log.line("Warning: %s is not exported: it holds a secret", name)
		case len(names) == maxExported:
			r.log.line("Warning: %s is not exported: there are more than %d", name, maxExported)
		default:
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "if [ -n \"${%s+x}\" ]; then printf 'x%%s' \"$%s\"; fi >%s\n", name, name, quote(r.shell.work+"/export."+name))
	}
	if _, err := r.quietly(ctx, b.String()); err != nil {
		return err
	}
	for _, name := range names {
		r.exported(name)
	}
	return nil
}

func (r *build) exported(name string) {
	data, err := readFile(r.shell.folder, "export."+name, maxExportedBytes+2)
	switch {
	case err != nil || len(data) == 0:
		r.log.line("Warning: %s is not exported: it is not set", name)
		return
	case len(data) > maxExportedBytes+1:
		r.log.line("Warning: %s is not exported: it is larger than %d bytes", name, maxExportedBytes)
		return
	}
	if r.record.Exported == nil {
		r.record.Exported = map[string]string{}
	}
	r.record.Exported[name] = r.log.masker.String(string(data[1:]))
}

const maxValueBytes = 4 << 10

// expand lets the shell evaluate text with the build's variables, as the
// inside of a here document: $NAME and $(command) mean what they mean there,
// quotes stand for themselves. Only the first line counts.
func (r *build) expand(ctx context.Context, text string) (string, error) {
	if !strings.ContainsAny(text, "$`\\") {
		return text, nil
	}
	end, file := "_sw_"+nonce(), "value."+nonce()
	script := fmt.Sprintf("set +a; IFS= read -r _sw_value <<%s\n%s\n%s\nprintf '%%s' \"$_sw_value\" >%s",
		end, strings.ReplaceAll(text, "\n", " "), end, quote(r.shell.work+"/"+file))
	ctx, cancel := withLimit(ctx, fmt.Sprintf("evaluating %s takes more than %s", text, expandLimit))
	defer cancel()
	if _, err := r.quietly(ctx, script); err != nil {
		return "", err
	}
	data, err := readFile(r.shell.folder, file, maxValueBytes+1)
	if err != nil {
		return "", &pipeline.UserError{Code: codeClient, Msg: "evaluating " + text + ": the shell gave no value"}
	}
	if len(data) > maxValueBytes {
		return "", &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf("evaluating %s: the value has more than %d bytes", text, maxValueBytes)}
	}
	return string(data), nil
}
