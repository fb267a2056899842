package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
)

// Inputs opens the artifacts that builds take in, by their digest.
type Inputs func(ctx context.Context, digest string) (io.ReadCloser, error)

// secondaryFolder, in the work folder, has one folder for each source but the
// primary one.
const secondaryFolder = "inputs"

var artifactName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// sources brings what the build works on: the commit, or the artifacts of
// earlier actions, the first in the source folder and the others each in one of
// its own (CodeBuild reference 4.4).
func (r *build) sources(ctx context.Context) error {
	if len(r.order.Inputs) == 0 {
		return r.Source.Checkout(ctx, r.order.Source, r.place.source)
	}
	for i, in := range r.order.Inputs {
		if !artifactName.MatchString(in.Name) {
			return &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf("%.120q is no name of an artifact", in.Name)}
		}
		dir := r.place.source
		if i > 0 {
			dir = filepath.Join(r.place.Work, secondaryFolder, in.Name)
		}
		if err := r.bring(ctx, in, dir); err != nil {
			return err
		}
	}
	return nil
}

func (r *build) bring(ctx context.Context, in pipeline.Input, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making folder of input %s: %w", in.Name, err)
	}
	if in.Source {
		return r.Source.Checkout(ctx, r.order.Source, dir)
	}
	if r.Inputs == nil {
		return errors.New("this runner can't fetch artifacts")
	}
	body, err := r.Inputs(ctx, in.Artifact.Digest)
	if err != nil {
		return fmt.Errorf("fetching input %s: %w", in.Name, err)
	}
	defer func() { _ = body.Close() }() // only read from
	sum, err := archive.Unpack(body, dir, archive.Limits{}, nil)
	switch {
	case errors.Is(err, archive.ErrUnsafe), errors.Is(err, archive.ErrFormat):
		return &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf("the input artifact %s can't be unpacked: %v", in.Name, err)}
	case err != nil:
		return fmt.Errorf("unpacking input %s: %w", in.Name, err)
	case sum.SHA256 != in.Artifact.Digest:
		return fmt.Errorf("input %s arrived changed: want sha256 %s, have %s", in.Name, in.Artifact.Digest, sum.SHA256)
	}
	return nil
}

// beside copies the secondary sources of a build in Dir.
func (r *build) beside() error {
	for _, f := range r.Secondary {
		to := filepath.Join(r.place.Work, secondaryFolder, f.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.CopyFS(to, os.DirFS(f.Path))); err != nil {
			return fmt.Errorf("copying secondary source %s: %w", f.Name, err)
		}
	}
	return nil
}

// inputVariables say where the secondary sources are. A dash, which no name of
// a variable has, is an underscore there.
func (r *build) inputVariables() []pipeline.Variable {
	var vars []pipeline.Variable
	for _, f := range r.Secondary {
		vars = append(vars, pipeline.Variable{Name: "CODEBUILD_SRC_DIR_" + f.Name, Value: r.shell.work + "/" + secondaryFolder + "/" + f.Name})
	}
	for i, in := range r.order.Inputs {
		dir := r.shell.source
		if i > 0 {
			dir = r.shell.work + "/" + secondaryFolder + "/" + in.Name
		}
		vars = append(vars, pipeline.Variable{Name: "CODEBUILD_SRC_DIR_" + strings.ReplaceAll(in.Name, "-", "_"), Value: dir})
	}
	return vars
}
