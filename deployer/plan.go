package deployer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/pipeline"
)

// item is one path that an installation wants.
type item struct {
	entry
	source string // absolute path in the archive; empty for folders
	from   string // source as the appspec and its folder name it, for messages
	acl    []appspec.ACE
	se     *appspec.Context
	// before is what lies there now, if anything does.
	before  entry
	existed bool
	// keep: what lies there is what is wanted.
	keep bool
	// rule is the line of the permission that applies, 0 if none.
	rule int
	line int // of the mapping
	col  int
}

// plan is what an installation will do. Nothing on the host has changed yet.
type plan struct {
	items    []*item // folders before what is in them
	byPath   map[string]*item
	obsolete []entry // of the previous manifest, deepest first
	retained []entry
	drifted  []string // tracked files that somebody changed and that will go
	warnings []Warning
}

// planner builds a plan against the disk minus what the group itself put
// there.
type planner struct {
	d        *Deployer
	spec     *appspec.Spec
	file     string // name of the appspec, for errors
	archive  string
	previous manifest
	others   map[string]string // path to the name of the group that owns it
	// sums are those of the archive's files when it was unpacked, by absolute
	// path; empty if that was in an earlier process.
	sums     map[string]entry
	behavior string
	plan     *plan
}

// errorAt is a mistake at a line of the appspec.
func (p *planner) errorAt(line, col int, code, format string, args ...any) error {
	return &pipeline.UserError{Code: code, Msg: fmt.Sprintf(format, args...), File: p.file, Line: line, Column: col}
}

func (p *planner) warn(code, format string, args ...any) {
	p.plan.warnings = append(p.plan.warnings, Warning{code, fmt.Sprintf(format, args...)})
}

// build makes the plan (CodeDeploy reference 3.3 and 3.6). Every mistake that
// can be seen beforehand is found here.
func (p *planner) build(ctx context.Context) (*plan, error) {
	p.plan = &plan{byPath: map[string]*item{}}
	for _, f := range p.spec.Files {
		if err := p.mapping(ctx, f); err != nil {
			return nil, err
		}
	}
	for _, r := range p.spec.Permissions {
		if err := p.permission(r); err != nil {
			return nil, err
		}
	}
	for _, it := range p.plan.items {
		if err := p.compare(it); err != nil {
			return nil, err
		}
	}
	return p.plan, p.leftovers()
}

// destination is a destination of the appspec as a clean absolute path.
func destination(text string) string { return path.Join("/", text) }

func (p *planner) mapping(ctx context.Context, f appspec.File) error {
	if strings.HasPrefix(f.Destination, "~") {
		return p.errorAt(f.Line, f.Column, "FILES_DEST", "the destination %s: ~ is not expanded, write the path in full", f.Destination)
	}
	dest := destination(f.Destination)
	source, err := p.inside(f.Source)
	if err != nil && appspec.IsPattern(f.Source) {
		return p.matches(ctx, f, dest)
	}
	if err != nil {
		return p.errorAt(f.Line, f.Column, "FILES_SOURCE", "the source %s is not in the revision", f.Source)
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if err := p.folder(f, dest); err != nil {
		return err
	}
	switch {
	case !info.IsDir():
		return p.copy(f, source, f.Source, path.Join(dest, cmp.Or(f.Name, path.Base(f.Source))))
	case f.Name != "":
		return p.errorAt(f.Line, f.Column, "FILES_DEST", "the source %s is a folder: destination_file is for a single file", f.Source)
	}
	return p.tree(ctx, f, source, ".", dest)
}

// inside is a path of the archive, links followed, which must not leave it.
func (p *planner) inside(name string) (string, error) {
	return insideOf(p.archive, name)
}

func insideOf(archive, name string) (string, error) {
	root, err := filepath.EvalSymlinks(archive)
	if err != nil {
		return "", err
	}
	full, err := filepath.EvalSymlinks(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return "", err
	}
	if full != root && !strings.HasPrefix(full, root+string(filepath.Separator)) {
		return "", fs.ErrNotExist
	}
	return full, nil
}

// matches plans what a pattern finds. It keeps its place below the folders that
// the pattern names in full.
func (p *planner) matches(ctx context.Context, f appspec.File, dest string) error {
	base, pattern := doublestar.SplitPattern(f.Source)
	none := p.errorAt(f.Line, f.Column, "FILES_SOURCE", "nothing in the revision matches the source %s", f.Source)
	root, err := p.inside(base)
	if err != nil {
		return none
	}
	found, err := doublestar.Glob(os.DirFS(root), pattern, doublestar.WithNoFollow())
	if err != nil || len(found) == 0 {
		return none
	}
	f.Source = base
	all := slices.Sorted(slices.Values(found))
	found = slices.DeleteFunc(slices.Clone(all), func(rel string) bool { return excluded(f, rel) || inOneOf(all, rel) })
	if f.Name != "" && len(found) > 1 {
		return p.errorAt(f.Line, f.Column, "FILES_DEST", "%d files match, %s and others: destination_file is for a single one", len(found), found[0])
	}
	if err := p.folder(f, dest); err != nil {
		return err
	}
	for _, rel := range found {
		if err := p.match(ctx, f, filepath.Join(root, rel), rel, dest); err != nil {
			return err
		}
	}
	return nil
}

// inOneOf reports whether a folder among the paths holds rel.
func inOneOf(paths []string, rel string) bool {
	for dir := rel; dir != "."; {
		dir = path.Dir(dir)
		if _, found := slices.BinarySearch(paths, dir); found {
			return true
		}
	}
	return false
}

// match plans one path that a pattern found.
func (p *planner) match(ctx context.Context, f appspec.File, source, rel, dest string) error {
	info, err := os.Lstat(source)
	switch {
	case err != nil:
		return err
	case f.Name != "" && info.IsDir():
		return p.errorAt(f.Line, f.Column, "FILES_DEST", "%s is a folder: destination_file is for a single file", rel)
	case f.Name != "":
		return p.copy(f, source, path.Join(f.Source, rel), path.Join(dest, f.Name))
	}
	if above := path.Dir(rel); above != "." {
		if err := p.folder(f, path.Join(dest, above)); err != nil {
			return err
		}
	}
	if !info.IsDir() {
		return p.copy(f, source, path.Join(f.Source, rel), path.Join(dest, rel))
	}
	if err := p.folder(f, path.Join(dest, rel)); err != nil {
		return err
	}
	return p.tree(ctx, f, source, rel, dest)
}

// excluded reports whether the author leaves out a path below the source.
func excluded(f appspec.File, rel string) bool {
	return slices.ContainsFunc(f.Exclude, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, rel) })
}

// tree plans what is in a folder of the revision, in the order of names. rel is
// the folder below the source, and dest where the source goes.
func (p *planner) tree(ctx context.Context, f appspec.File, dir, rel, dest string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	children, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, c := range children {
		source, below := filepath.Join(dir, c.Name()), path.Join(rel, c.Name())
		target := path.Join(dest, below)
		switch {
		case excluded(f, below):
		case !c.IsDir():
			err = p.copy(f, source, path.Join(f.Source, below), target)
		default:
			if err = p.folder(f, target); err == nil {
				err = p.tree(ctx, f, source, below, dest)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folder plans the folder at dest and those above it, unless they are there
// and not the group's own.
func (p *planner) folder(f appspec.File, dest string) error {
	if it := p.plan.byPath[dest]; it != nil {
		if it.Kind != kindDir {
			return p.errorAt(f.Line, f.Column, "PLAN_FILE_DIR", "%s is wanted as a folder, and as a file for the source %s", dest, it.from)
		}
		return nil
	}
	if dest != "/" {
		if err := p.folder(f, path.Dir(dest)); err != nil {
			return err
		}
	}
	info, err := os.Stat(p.d.host(dest))
	there := err == nil
	if err != nil && !missing(err) {
		return err
	}
	owned := p.previous[dest].Kind == kindDir
	if at, err := os.Lstat(p.d.host(dest)); err == nil && at.Mode().Type() == fs.ModeSymlink {
		owned = false // somebody put a link to a folder there: it is followed
	}
	switch {
	case dest == "/", there && info.IsDir() && !owned && !p.previous.owns(dest):
		return nil
	case !p.previous.owns(dest) && there && !info.IsDir():
		return p.errorAt(f.Line, f.Column, "PLAN_FILE_DIR", "%s is a file on this host: want a folder", dest)
	}
	p.add(&item{entry: p.fresh(dest, kindDir, 0o755), line: f.Line, col: f.Column})
	return nil
}

// missing reports whether an error says that there is nothing.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// fresh is an entry with the owner that new things get.
func (p *planner) fresh(at string, k kind, mode fs.FileMode) entry {
	return entry{Path: at, Kind: k, Mode: uint32(mode), UID: os.Geteuid(), GID: os.Getegid()}
}

func (p *planner) add(it *item) {
	p.plan.items = append(p.plan.items, it)
	p.plan.byPath[it.Path] = it
}

// copy plans one file or link.
func (p *planner) copy(f appspec.File, source, from, dest string) error {
	if it := p.plan.byPath[dest]; it != nil {
		if it.Kind == kindDir {
			return p.errorAt(f.Line, f.Column, "PLAN_FILE_DIR", "%s is wanted as a file for the source %s, and as a folder", dest, from)
		}
		return p.errorAt(f.Line, f.Column, "PLAN_DUP_SOURCE", "the sources %s and %s both go to %s", it.from, from, dest)
	}
	if path.Dir(dest) == dest {
		return p.errorAt(f.Line, f.Column, "PLAN_FILE_DIR", "%s is a folder", dest)
	}
	want, err := p.wanted(source, dest)
	if err != nil {
		return p.errorAt(f.Line, f.Column, "FILES_SOURCE", "the source %s: %v", from, err)
	}
	it := &item{entry: want, source: source, from: from, line: f.Line, col: f.Column}
	if it.before, it.existed, err = examine(p.d.host(dest), p.previous[dest]); err != nil {
		return err
	}
	keep, err := p.foreign(it)
	if err != nil || keep {
		return err
	}
	p.add(it)
	return nil
}

// wanted is what a file or link of the archive becomes.
func (p *planner) wanted(source, dest string) (entry, error) {
	e, there, err := examine(source, p.sums[source])
	switch {
	case err != nil:
		return entry{}, errors.New("can't be read")
	case !there || e.Kind != kindFile && e.Kind != kindLink:
		return entry{}, errors.New("is neither file, folder nor link")
	}
	w := p.fresh(dest, e.Kind, fs.FileMode(e.Mode)&fs.ModePerm)
	w.SHA256, w.Link = e.SHA256, e.Link
	return w, nil
}

// foreign decides about what lies at the item's path and is not the group's
// own (CodeDeploy reference 3.4). It answers true if that stays.
func (p *planner) foreign(it *item) (bool, error) {
	there := it.before
	if !it.existed || p.previous.owns(it.Path) || p.previous[it.Path].Kind == kindDir && there.Kind == kindDir {
		return false, nil
	}
	if there.Kind == kindFile && it.Kind == kindFile && p.behavior == appspec.Disallow && there.SHA256 == it.SHA256 && p.others[it.Path] == "" {
		p.warn("ADOPTED", "%s was there already with the same content: it belongs to this deployment now", it.Path)
		return false, nil
	}
	switch {
	case p.behavior == appspec.Retain:
		by := p.previous[it.Path].By
		p.plan.retained = append(p.plan.retained, entry{Path: it.Path, Kind: kindRetained, By: by})
		return true, nil
	case p.behavior == appspec.Overwrite && there.Kind == kindDir:
		return false, p.errorAt(it.line, it.col, "PLAN_FILE_DIR", "%s is a folder on this host: want a file for the source %s", it.Path, it.from)
	case p.behavior == appspec.Overwrite:
		return false, nil
	}
	return false, p.errorAt(it.line, it.col, "FILE_EXISTS", "the file %s already exists on this host%s; to replace it set file_exists_behavior: OVERWRITE", it.Path, p.whose(it.Path))
}

// whose says what is known of a foreign file.
func (p *planner) whose(at string) string {
	switch by := p.previous[at].By; {
	case p.others[at] != "":
		return ", installed by the deployment group " + p.others[at]
	case by != "":
		return ", retained by " + by
	}
	return ""
}

// compare decides what becomes of what lies at an item's path now.
func (p *planner) compare(it *item) error {
	if it.Kind == kindDir {
		var err error
		if it.before, it.existed, err = examine(p.d.host(it.Path), entry{}); err != nil {
			return err
		}
	}
	before, existed := it.before, it.existed
	if it.acl != nil {
		it.ACL = aclText(appspec.FullACL(it.acl, it.Mode))
	}
	old := p.previous[it.Path]
	special := it.ACL != old.ACL || it.se != nil || old.Context
	it.keep = existed && !special && before.same(it.entry) && it.Kind != kindDir
	if existed && it.Kind == kindDir && before.Kind == kindDir {
		it.keep = !special && before.same(it.entry)
	}
	if existed && p.previous.owns(it.Path) && !before.sameContent(old) && !before.sameContent(it.entry) {
		p.plan.drifted = append(p.plan.drifted, it.Path)
	}
	return nil
}

// leftovers are the paths of the previous manifest that the plan lacks.
func (p *planner) leftovers() error {
	for at, e := range p.previous {
		if p.plan.byPath[at] != nil && p.plan.byPath[at].Kind == e.Kind || e.Kind == kindRetained {
			continue
		}
		if e.Kind != kindDir {
			now, there, err := examine(p.d.host(at), e)
			if err != nil {
				return err
			}
			if !there || now.Kind == kindDir {
				continue
			}
			if p.plan.byPath[at] != nil && p.plan.byPath[at].Kind != kindDir {
				continue // a link takes a file's place, or the reverse
			}
			if !now.sameContent(e) {
				p.plan.drifted = append(p.plan.drifted, at)
			}
		}
		p.plan.obsolete = append(p.plan.obsolete, e)
	}
	slices.SortFunc(p.plan.obsolete, func(a, b entry) int { return strings.Compare(b.Path, a.Path) })
	return nil
}

func aclText(acl []appspec.ACE) string {
	var parts []string
	for _, a := range acl {
		parts = append(parts, a.String())
	}
	return strings.Join(parts, ",")
}
