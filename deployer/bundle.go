package deployer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
)

// fetch unpacks the revision into the deployment's archive folder. The folder
// appears in one step, so that one that is there is whole.
func (a *attempt) fetch(ctx context.Context) error {
	if _, err := os.Stat(a.work.archive()); err == nil {
		return nil
	}
	tmp := filepath.Join(a.work.dir, "unpacking")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // gone already if all went well
	files, err := a.unpack(ctx, tmp)
	if err != nil {
		return err
	}
	root, err := stripped(tmp, a.dep.AppSpec)
	if err != nil {
		return err
	}
	if err := a.place(root); err != nil {
		return fmt.Errorf("placing the revision: %w", err)
	}
	a.unpacked(files, tmp, root)
	return os.Chmod(a.work.archive(), 0o755)
}

// unpacked is what unpacking told of the revision's files, by the paths that
// they have now.
func (a *attempt) unpacked(files []archive.File, tmp, root string) {
	inner, at := strings.TrimPrefix(root, tmp), a.work.files()
	a.sums = make(map[string]entry, len(files))
	for _, f := range files {
		if name, below := strings.CutPrefix("/"+f.Name, inner+"/"); below {
			a.sums[at+"/"+name] = entry{SHA256: f.SHA256, Stamp: f.Stamp}
		}
	}
}

// revisionError makes the author's what is wrong with their bundle.
func revisionError(err error) error {
	if errors.Is(err, archive.ErrFormat) || errors.Is(err, archive.ErrUnsafe) {
		return &pipeline.UserError{Code: "REVISION_INVALID", Msg: "the revision: " + err.Error()}
	}
	return fmt.Errorf("unpacking the revision: %w", err)
}

// unpack writes the revision to dest, and tells what it wrote.
func (a *attempt) unpack(ctx context.Context, dest string) (files []archive.File, err error) {
	f, err := os.Open(a.dep.Revision)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &pipeline.UserError{Code: "REVISION_MISSING", Msg: fmt.Sprintf("there is no revision %s", filepath.Base(a.dep.Revision))}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	record := func(f archive.File) { files = append(files, f) }
	if info.IsDir() {
		if _, err := archive.Copy(a.dep.Revision, dest, archive.Limits{}, record); err != nil {
			return nil, revisionError(err)
		}
		return files, nil
	}
	sum, err := archive.Unpack(stoppable{ctx, f}.reader(), dest, archive.Limits{}, record)
	if err != nil {
		return nil, revisionError(err)
	}
	if want := strings.ToLower(a.dep.SHA256); want != "" && want != sum.SHA256 {
		return nil, &pipeline.UserError{Code: "REVISION_SUM", Msg: fmt.Sprintf("the revision has the SHA-256 sum %s: want %s", sum.SHA256, want)}
	}
	return files, nil
}

// stoppable is a file whose deployment may be stopped before it is unpacked.
// The file itself is handed on: a zip is read at random.
type stoppable struct {
	ctx context.Context
	f   *os.File
}

func (s stoppable) reader() io.Reader {
	if s.ctx.Err() != nil {
		return strings.NewReader("")
	}
	return s.f
}

// stripped is the folder that holds the appspec: dir, or the only folder in it
// if that one has it (archives of a forge are made so).
func stripped(dir, name string) (string, error) {
	children, err := os.ReadDir(dir)
	if err != nil || len(children) != 1 || !children[0].IsDir() {
		return dir, err
	}
	inner := filepath.Join(dir, children[0].Name())
	for _, n := range append([]string{name}, appspec.Names...) {
		if n == "" {
			continue
		}
		if info, err := os.Stat(filepath.Join(inner, n)); err == nil && info.Mode().IsRegular() {
			return inner, nil
		}
	}
	return dir, nil
}

// findSpec is the name of the appspec in an archive (CodeDeploy reference 1.1).
func findSpec(dir, asked string) (string, error) {
	if asked != "" {
		if _, err := insideOf(dir, asked); err == nil {
			return asked, nil
		}
	}
	var found []string
	for _, n := range appspec.Names {
		if _, err := insideOf(dir, n); err == nil {
			found = append(found, n)
		}
	}
	switch {
	case len(found) == 0:
		return "", &pipeline.UserError{Code: "APPSPEC_MISSING", Msg: fmt.Sprintf("the revision has no %s in its root", cmp.Or(asked, appspec.Names[0]))}
	case len(found) > 1 && found[0] == "appspec.yml" && found[1] == "appspec.yaml":
		return "", &pipeline.UserError{Code: "APPSPEC_AMBIGUOUS", Msg: "the revision has both appspec.yml and appspec.yaml: want one of them"}
	}
	return found[0], nil
}

// maxSpecBytes is far more than the parser accepts.
const maxSpecBytes = 1 << 20

// readSpec reads and checks the appspec of an archive.
func readSpec(dir, name string, o appspec.Options) (*appspec.Spec, []Warning, error) {
	full, err := insideOf(dir, name)
	if err != nil {
		return nil, nil, &pipeline.UserError{Code: "APPSPEC_MISSING", Msg: fmt.Sprintf("the revision has no %s", name)}
	}
	f, err := os.Open(full)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close() // read only
	data, err := io.ReadAll(io.LimitReader(f, maxSpecBytes))
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", name, err)
	}
	spec, problems := appspec.Parse(data, o)
	var warnings []Warning
	for _, p := range problems.Warnings() {
		warnings = append(warnings, Warning{p.Code, fmt.Sprintf("%s:%d:%d: %s", name, p.Line, p.Column, p.Text())})
	}
	if spec == nil {
		first := problems.Errors()[0]
		text := first.Text()
		if more := len(problems.Errors()) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		return nil, warnings, &pipeline.UserError{Code: first.Code, Msg: text, File: name, Line: first.Line, Column: first.Column}
	}
	if spec.Kind != appspec.Server {
		return nil, warnings, &pipeline.UserError{Code: "APPSPEC_KIND", Msg: fmt.Sprintf("this appspec is for %s, which is not deployed by an agent", spec.Kind), File: name, Line: 1, Column: 1}
	}
	return spec, warnings, nil
}

// retain removes the oldest deployments of the group beyond the number to
// keep, but none that a pointer names (CodeDeploy reference 3.7).
func (a *attempt) retain() error {
	dir := filepath.Join(a.group.dir, "deployments")
	children, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type old struct {
		id string
		at time.Time
	}
	var others []old
	for _, c := range children {
		id := c.Name()
		info, err := c.Info()
		if err != nil {
			return err
		}
		if id != a.dep.ID {
			others = append(others, old{id, info.ModTime()})
		}
	}
	slices.SortFunc(others, func(x, y old) int { return cmp.Or(x.at.Compare(y.at), strings.Compare(x.id, y.id)) })
	surplus := len(others) + 1 - a.d.maxRevisions
	for _, o := range others {
		if surplus <= 0 {
			return nil
		}
		if slices.Contains([]string{a.state.Installed.ID, a.state.Succeeded.ID, a.state.Downloaded.ID}, o.id) {
			continue
		}
		gone := filepath.Join(dir, o.id)
		err := errors.Join(os.RemoveAll(a.d.sharedArchive(gone)), os.RemoveAll(gone), os.RemoveAll(filepath.Join(a.d.root, "drift", o.id)))
		if err != nil {
			return fmt.Errorf("removing an old revision: %w", err)
		}
		surplus--
	}
	return nil
}
