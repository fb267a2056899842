package runner

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/specfile"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// nonBlocking keeps an open of a named pipe, which the build may have put in a
// file's place, from waiting.
const nonBlocking = syscall.O_NONBLOCK

// download waits for the source, reads the buildspec and prepares the first
// state. inner is over when the build is.
func (r *build) download(ctx, inner context.Context) error {
	r.log.line("Waiting for DOWNLOAD_SOURCE")
	select {
	case err := <-r.checkout:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.log.line("Phase is DOWNLOAD_SOURCE")
	r.log.line("CODEBUILD_SRC_DIR=%s", r.shell.source)
	if err := r.readSpec(); err != nil {
		return err
	}
	if err := r.environment(); err != nil {
		return err
	}
	if err := r.startEngine(inner); err != nil {
		return err
	}
	if err := r.runtimes(inner); err != nil {
		return err
	}
	r.log.line("Moving to directory %s", r.shell.source)
	r.restoreCache(ctx)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r.log.line("Registering with agent")
	r.log.line("Phases found in YAML: %d", len(r.spec.Phases))
	for _, p := range r.spec.Phases {
		r.log.line(" %s: %d commands", phaseType(p.Name), len(p.Commands))
	}
	return nil
}

// readSpec finds and parses the buildspec.
func (r *build) readSpec() error {
	at, err := buildspec.ParseLocation(r.order.Buildspec)
	if err != nil {
		return &pipeline.UserError{Code: codeYAML, Msg: "buildspec: " + err.Error()}
	}
	name, data := "buildspec", []byte(at.Inline)
	switch {
	case at.URL != "":
		return &pipeline.UserError{Code: codeYAML, Msg: "buildspec: " + at.URL + " is in an object store, from which this runner takes none"}
	case at.Path != "":
		name = at.Path
		if data, err = r.specFile(at.Path); err != nil {
			return err
		}
		r.log.line("YAML location is %s", path.Join(r.shell.source, at.Path))
	default:
		r.log.line("YAML location is %s", "the order of the build")
	}
	sum := sha256.Sum256(data)
	r.specSum = hex.EncodeToString(sum[:])
	r.discovers = speaksOfDiscovery(data, r.order.Variables)
	spec, problems := buildspec.Parse(name, data, buildspec.Options{Mode: r.Mode})
	return r.accept(spec, problems, name, at.Path != "")
}

// accept keeps the spec, tells all its problems, and is the first error.
func (r *build) accept(spec *buildspec.Spec, problems specfile.Problems, name string, inRepo bool) error {
	for _, p := range problems {
		if p.Severity == specfile.Warning {
			r.log.line("Warning: %s:%s", name, p)
		}
		if inRepo {
			r.annotate(name, p)
		}
	}
	if errs := problems.Errors(); len(errs) > 0 {
		first := errs[0]
		mistake := &pipeline.UserError{Code: cmp.Or(first.Code, codeYAML), Msg: first.Text()}
		if inRepo {
			mistake.File, mistake.Line, mistake.Column = name, first.Line, first.Column
		}
		return mistake
	}
	r.spec = spec
	r.shell.fresh = spec.Version == "0.1"
	return nil
}

const maxAnnotations = 50 // of one build

func (r *build) annotate(file string, p specfile.Problem) {
	if len(r.outcome.Annotations) == maxAnnotations {
		return
	}
	level := "failure"
	if p.Severity == specfile.Warning {
		level = "warning"
	}
	r.outcome.Annotations = append(r.outcome.Annotations, forge.Annotation{
		Path: file, StartLine: p.Line, EndLine: p.Line, Column: p.Column, Level: level,
		Title: "buildspec", Message: r.log.masker.String(p.Text()),
	})
}

// specFile reads a buildspec inside the source; links out of it are refused.
func (r *build) specFile(name string) ([]byte, error) {
	root, err := os.OpenRoot(r.place.source)
	if err != nil {
		return nil, fmt.Errorf("opening source: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	data, err := readFile(root, name, buildspec.MaxBytes+1)
	switch {
	case errors.Is(err, os.ErrNotExist) && r.order.Buildspec == "":
		return nil, &pipeline.UserError{Code: codeYAML, Msg: buildspec.NoFile}
	case errors.Is(err, os.ErrNotExist):
		return nil, &pipeline.UserError{Code: codeYAML, Msg: buildspec.NoFileAt(r.told(name))}
	case err != nil:
		return nil, &pipeline.UserError{Code: codeYAML, Msg: fmt.Sprintf("reading %s: not a file inside the source", name)}
	}
	return data, nil
}

// told is the path of a file in the source as a message may say it: where the
// build sees it, but no path of this host.
func (r *build) told(name string) string {
	if r.shell.source == r.place.source {
		return name
	}
	return path.Join(r.shell.source, name)
}

// readFile reads at most limit bytes of a regular file below root.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// environment resolves secrets and writes the state that commands begin with.
func (r *build) environment() error {
	r.log.line("Processing environment variables")
	if buildspec.WindowsShell(r.spec.Env.Shell) {
		return &pipeline.UserError{Code: codeYAML, Msg: fmt.Sprintf("env.shell: %s is a shell of Windows images, builds run on Linux", r.spec.Env.Shell)}
	}
	if r.spec.Env.Shell != "" {
		r.shell.kind = shellKind(r.spec.Env.Shell)
	}
	vars, err := r.specVariables()
	if err != nil {
		return err
	}
	for _, v := range r.order.Variables {
		if reserved(v.Name) {
			r.log.line("Warning: variable %s is ignored: the prefix CODEBUILD_ is reserved", v.Name)
			continue
		}
		vars = append(vars, v)
	}
	lent, err := r.lend()
	if err != nil {
		return err
	}
	r.variables = r.around(append(lent, vars...))
	var state strings.Builder
	fmt.Fprintf(&state, ". %s\nexport PATH=\"${PATH:+$PATH:}\"%s\n", quote(r.shell.work+"/image.sh"), quote(r.shell.work+"/"+toolsName))
	for _, v := range r.variables {
		if why := unusable(v); why != "" {
			r.log.line("Warning: variable %q is ignored: %s", v.Name, why)
			continue
		}
		fmt.Fprintf(&state, "export %s=%s\n", v.Name, quote(v.Value))
	}
	fmt.Fprintf(&state, "OLDPWD=%[1]s\n_sw_cwd=%[1]s\n", quote(r.shell.source))
	return r.shell.put(0, "env.sh", state.String())
}

// shellKind is the driver's word for env.shell.
func shellKind(name string) string {
	switch path.Base(name) {
	case "bash":
		return "bash"
	case "sh":
		return "sh"
	}
	return name
}

// specVariables are those of the buildspec, its secrets resolved.
func (r *build) specVariables() ([]pipeline.Variable, error) {
	env := r.spec.Env
	var vars []pipeline.Variable
	for _, v := range env.Variables {
		if v.Sensitive {
			r.hide(v.Name, v.Value)
		}
		vars = append(vars, pipeline.Variable{Name: v.Name, Value: v.Value, Secret: v.Sensitive})
	}
	if len(env.Parameters)+len(env.Secrets) == 0 {
		return vars, nil
	}
	r.log.line("Decrypting parameter store environment variables")
	for _, v := range env.Parameters {
		value, err := r.stored(true, v.Value)
		if err != nil {
			return nil, decrypting(v.Name, err)
		}
		r.hide(v.Name, value)
		vars = append(vars, pipeline.Variable{Name: v.Name, Value: value, Secret: true})
	}
	for _, v := range env.Secrets {
		value, err := r.stored(false, v.Secret.String())
		if err != nil {
			return nil, decrypting(v.Name, err)
		}
		r.hide(v.Name, value)
		vars = append(vars, pipeline.Variable{Name: v.Name, Value: value, Secret: true})
	}
	return vars, nil
}

// stored is a value that came with the order.
func (r *build) stored(parameter bool, ref string) (string, error) {
	for _, s := range r.order.Stored {
		if s.Parameter != parameter || s.Ref != ref {
			continue
		}
		if s.Refused != "" {
			return "", &pipeline.UserError{Msg: s.Refused}
		}
		return s.Value, nil
	}
	return "", &pipeline.UserError{Msg: fmt.Sprintf("no value of %q came with the build: it is of code that nobody vouches for, or the project may read no stored values", ref)}
}

// decrypting is the error of a variable whose value can't be had (E14).
func decrypting(name string, err error) error {
	var mistake *pipeline.UserError
	if errors.As(err, &mistake) {
		return &pipeline.UserError{Code: codeDecrypt, Msg: name + ": " + mistake.Msg}
	}
	return fmt.Errorf("looking up secret variable %s: %w", name, err)
}
