package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// PrimaryArtifact is the name of the artifact that a buildspec's artifacts
// block makes; secondary ones are named by their IDs.
const PrimaryArtifact = "BuildArtifact"

// upload collects and stores the artifacts (CodeBuild reference 4.1 to 4.5).
func (r *build) upload(ctx context.Context) error {
	a := r.spec.Artifacts
	if a == nil {
		return context.Cause(ctx)
	}
	relaxed := r.Mode == buildspec.Lenient || r.order.SecondaryOnly
	if len(a.Files) == 0 && (len(a.Secondary) == 0 || !relaxed) {
		return &pipeline.UserError{Code: codeClient, Msg: "no definition for primary artifacts in buildspec"}
	}
	var bundles []bundle
	for i, one := range append([]buildspec.Artifacts{*a}, a.Secondary...) {
		if len(one.Files) == 0 {
			continue
		}
		b, err := r.expandArtifact(ctx, one)
		if err == nil {
			err = r.copyBase(ctx, &b, i)
		}
		if err != nil {
			return err
		}
		bundles = append(bundles, b)
	}
	// Nothing may change the files while they are read.
	r.kill(ctx)()
	for _, b := range bundles {
		if err := r.uploadOne(ctx, b); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// bundle is one artifact whose expressions have been evaluated.
type bundle struct {
	buildspec.Artifacts
	source string // of the build; absolute paths below it are understood
	copied string // folder in the work folder that stands for source; empty: none does
}

// copyBase has the container copy a base directory outside of the source, such
// as a secondary source's (CodeBuild reference 4.1.2), to where this host sees
// it.
func (r *build) copyBase(ctx context.Context, b *bundle, n int) error {
	base := path.Clean(b.BaseDirectory)
	if _, inside := b.relative(base); !path.IsAbs(base) || inside {
		return nil
	}
	for _, whole := range []string{b.source, r.shell.work, "/proc", "/sys", "/dev"} {
		if strings.HasPrefix(whole+"/", strings.TrimSuffix(base, "/")+"/") {
			return &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf("artifacts: base-directory %s: want a folder in or beside the source, not one around it", base)}
		}
	}
	name := fmt.Sprintf("artifact.%d", n)
	out := quote(r.shell.work + "/" + name)
	script := fmt.Sprintf("if [ -d %[1]s ]; then mkdir %[2]s; cp -R -P -p %[1]s/. %[2]s; fi", quote(base), out)
	if os.Getuid() != 0 { // this process reads them, and belongs to somebody else
		script += "\nif [ -d " + out + " ]; then chmod -R a+rX " + out + "; fi"
	}
	if err := r.copying(ctx, script); err != nil {
		return err
	}
	b.source, b.copied = base, name
	return nil
}

// open opens the tree that the bundle's paths are in.
func (b bundle) open(r *build) (*os.Root, error) {
	if b.copied == "" {
		return os.OpenRoot(r.place.source)
	}
	root, err := r.shell.folder.OpenRoot(b.copied)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, b.noBase()
	}
	return root, err
}

func (b bundle) noBase() error {
	return &pipeline.UserError{Code: codeClient, Msg: "no matching base directory path found for " + b.BaseDirectory}
}

func (r *build) expandArtifact(ctx context.Context, a buildspec.Artifacts) (bundle, error) {
	b := bundle{Artifacts: a, source: r.shell.source}
	b.Files, b.ExcludePaths = nil, nil
	var err error
	if b.BaseDirectory, err = r.expand(ctx, a.BaseDirectory); err != nil {
		return b, err
	}
	for _, list := range []struct{ from, to *[]string }{{&a.Files, &b.Files}, {&a.ExcludePaths, &b.ExcludePaths}} {
		for _, pattern := range *list.from {
			text, err := r.expand(ctx, pattern)
			if err != nil {
				return b, err
			}
			*list.to = append(*list.to, text)
		}
	}
	if b.Name, err = r.expand(ctx, a.Name); err != nil {
		return b, err
	}
	return b, checkName(b.Name)
}

// checkName refuses what can't be part of an artifact's name (4.4).
func checkName(name string) error {
	bad := strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f })
	for part := range strings.SplitSeq(name, "/") {
		bad = bad || part == ".."
	}
	if bad {
		return &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf("artifact name %q: want no .. and no control character", name)}
	}
	return nil
}

func (r *build) uploadOne(ctx context.Context, b bundle) error {
	root, err := b.open(r)
	if err != nil {
		return fmt.Errorf("opening source: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	entries, err := b.collect(root.FS(), r.log.line)
	if err != nil {
		return err
	}
	r.log.line("Creating %s artifact", r.Format)
	a := pipeline.Artifact{Name: PrimaryArtifact, Label: r.log.masker.String(b.Name), Format: string(r.Format), Files: len(entries)}
	if b.Name != "" {
		r.log.line("Artifact name: %s", b.Name)
	}
	if b.ID != "" {
		a.Name = b.ID
	}
	stored, err := r.store(ctx, a, root.FS(), entries, archive.PackOptions{Format: r.Format, Reproducible: true, Follow: !b.EnableSymlinks})
	if err != nil {
		return err
	}
	r.record.Artifacts = append(r.record.Artifacts, stored)
	return nil
}

// store packs into the sink.
func (r *build) store(ctx context.Context, a pipeline.Artifact, root fs.FS, entries []archive.Entry, o archive.PackOptions) (pipeline.Artifact, error) {
	in, out := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		_, err := archive.Pack(out, root, entries, o)
		packed <- err
		_ = out.CloseWithError(err) // always nil
	}()
	stored, err := r.sink.Artifact(ctx, a, in)
	_ = in.CloseWithError(errStoreDone)
	packErr := <-packed
	switch {
	case err == nil && packErr == nil:
		return stored, nil
	case context.Cause(ctx) != nil:
		return stored, context.Cause(ctx)
	case err == nil || errors.Is(err, packErr):
		return stored, &pipeline.UserError{Code: codeClient, Msg: "collecting artifact " + a.Name + ": " + packErr.Error()}
	}
	return stored, fmt.Errorf("storing artifact %s: %w", a.Name, err)
}

// collect finds the files of a bundle, with their names in it.
func (b bundle) collect(root fs.FS, say func(string, ...any)) ([]archive.Entry, error) {
	say("Expanding base directory path: %s", orDot(b.BaseDirectory))
	bases, err := b.bases(root)
	if err != nil {
		return nil, err
	}
	say("Assembling file list")
	c := collection{root: root, bundle: b, seen: map[string]string{}}
	for _, base := range bases {
		say("Expanding %s", base)
		say("Expanding file paths for base directory %s", base)
		say("Assembling file list")
		for _, pattern := range b.Files {
			if err := c.add(base, pattern, say); err != nil {
				return nil, err
			}
		}
	}
	if len(c.entries) == 0 {
		return nil, &pipeline.UserError{Code: codeClient, Msg: "no matching artifact paths found"}
	}
	return c.entries, nil
}

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// bases are the folders that base-directory means, relative to the source.
func (b bundle) bases(root fs.FS) ([]string, error) {
	none := b.noBase()
	if b.BaseDirectory == "" {
		return []string{"."}, nil
	}
	pattern, ok := b.relative(b.BaseDirectory)
	if !ok {
		return nil, none
	}
	matches, err := doublestar.Glob(root, pattern, doublestar.WithNoFollow())
	if err != nil {
		return nil, none
	}
	var dirs []string
	for _, m := range matches {
		if info, err := fs.Stat(root, m); err == nil && info.IsDir() {
			dirs = append(dirs, m)
		}
	}
	if len(dirs) == 0 {
		return nil, none
	}
	return dirs, nil
}

// relative makes a path or pattern relative to the source; false if it leads
// out of it.
func (b bundle) relative(p string) (string, bool) {
	if path.IsAbs(p) {
		rest, ok := strings.CutPrefix(path.Clean(p)+"/", path.Clean(b.source)+"/")
		if !ok {
			return "", false
		}
		p = rest
	}
	p = path.Clean(strings.TrimSuffix(p, "/"))
	return p, fs.ValidPath(p)
}

// collection grows while patterns are expanded. seen has the path of each name
// that is taken.
type collection struct {
	bundle  bundle
	root    fs.FS
	entries []archive.Entry
	seen    map[string]string
}

// add expands one entry of files below one base folder.
func (c *collection) add(base, pattern string, say func(string, ...any)) error {
	say("Expanding %s", pattern)
	below, err := fs.Sub(c.root, base)
	if err != nil {
		return fmt.Errorf("opening base directory: %w", err)
	}
	clean, ok := c.bundle.relative(pattern)
	if !ok {
		say("Warning: %s is outside of %s: copy it there in a command, or name its folder as base-directory", pattern, c.bundle.source)
	}
	if ok && path.IsAbs(pattern) {
		clean, ok = strings.CutPrefix(clean, strings.TrimPrefix(base+"/", "./"))
	}
	if ok && !strings.ContainsAny(clean, "*?[{") {
		if info, err := fs.Stat(below, clean); err == nil && info.IsDir() {
			say("Warning: %s is a folder; taking %s/**/*", pattern, clean)
			clean = path.Join(clean, "**/*")
		}
	}
	var matches []string
	if ok {
		matches, err = doublestar.Glob(below, clean, doublestar.WithNoFollow())
	}
	if err != nil {
		return &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf("artifacts: files: %s: %v", pattern, err)}
	}
	found := 0
	for _, m := range matches {
		if !fs.ValidPath(m) {
			say("Warning: %q is left out: its name is no UTF-8", m)
			continue
		}
		took, err := c.take(base, m, clean)
		if err != nil {
			return err
		}
		found += took
	}
	if found == 0 {
		say("Skipping invalid file path %s", pattern)
		return nil
	}
	say("Found %d file(s)", found)
	return nil
}

// take adds one match, unless it is a folder, excluded, or there already.
func (c *collection) take(base, name, pattern string) (int, error) {
	full := path.Join(base, name)
	if inGit(full) && !strings.HasPrefix(path.Join(base, pattern), ".git") {
		return 0, nil
	}
	info, err := fs.Stat(c.root, full) // fails for a link that leads out of the source
	if err != nil || !info.Mode().IsRegular() || c.excluded(name) {
		return 0, nil
	}
	as := name
	if c.bundle.DiscardPaths {
		as = path.Base(name)
	}
	if other, taken := c.seen[as]; taken {
		return 0, c.collide(as, other, full)
	}
	c.seen[as] = full
	c.entries = append(c.entries, archive.Entry{Name: as, Path: full})
	return 1, nil
}

func inGit(full string) bool { return full == ".git" || strings.HasPrefix(full, ".git/") }

func (c *collection) excluded(name string) bool {
	for _, pattern := range c.bundle.ExcludePaths {
		pattern = strings.TrimPrefix(pattern, "./")
		if ok, err := doublestar.Match(pattern, name); ok && err == nil {
			return true
		}
		if ok, err := doublestar.Match(strings.TrimSuffix(pattern, "/")+"/**", name); ok && err == nil {
			return true
		}
	}
	return false
}

// collide lets two files of one name pass if they are the same (4.2).
func (c *collection) collide(as, one, other string) error {
	same, err := sameContent(c.root, one, other)
	if err != nil {
		return fmt.Errorf("comparing files of artifact: %w", err)
	}
	if same {
		return nil
	}
	return &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf("artifacts: %s and %s would both be named %s", one, other, as)}
}

func sameContent(root fs.FS, one, other string) (bool, error) {
	if one == other {
		return true, nil
	}
	a, err := root.Open(one)
	if err != nil {
		return false, err
	}
	defer func() { _ = a.Close() }() // only read from
	b, err := root.Open(other)
	if err != nil {
		return false, err
	}
	defer func() { _ = b.Close() }() // only read from
	return archive.SameBytes(a, b)
}
