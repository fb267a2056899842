package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/runner/cache"
)

// Cache finds and keeps what builds save for later ones; see pipeline.Caches.
type Cache interface {
	Restore(ctx context.Context, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error)
	Save(ctx context.Context, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error)
}

// cachePlan is a cache block whose expressions have been evaluated.
type cachePlan struct {
	buildspec.Cache
	query pipeline.CacheQuery
	// inside are patterns below the source, outside those of other paths of the
	// build, which are absolute.
	inside, outside []string
	hit             bool // an entry of the very key was restored
}

const (
	// outsideIn and outsideOut are where files outside of the source pass by, in
	// the work folder: the build sees it, and so does this host.
	outsideIn  = "cache-in"
	outsideOut = "cache-out"
)

// restoreCache puts a saved cache into the build. Nothing that goes wrong here
// fails it (CodeBuild reference 5.2).
func (r *build) restoreCache(ctx context.Context) {
	switch c := r.spec.Cache; {
	case c == nil:
		r.log.line("Cache is not defined in the buildspec")
		r.log.line("Skip cache due to: no paths specified to be cached")
	case len(c.Paths) == 0:
		r.log.line("Skip cache due to: no paths specified to be cached")
	case r.Cache == nil:
		r.log.line("Skip cache due to: this build has no place to keep one")
	default:
		plan, err := r.planCache(ctx, *c)
		if err == nil {
			r.cached = plan
			if c.Action == buildspec.Save {
				return
			}
			err = r.restore(ctx, plan)
		}
		r.cacheTrouble(ctx, "restore", err)
	}
}

// cacheTrouble tells the build's author what went wrong with the cache, and the
// operator what the author can't mend.
func (r *build) cacheTrouble(ctx context.Context, what string, err error) {
	if err == nil || context.Cause(ctx) != nil {
		return
	}
	var mistake *pipeline.UserError
	if errors.As(err, &mistake) {
		r.log.line("Warning: unable to %s the cache: %s", what, mistake.Msg)
		return
	}
	r.log.line("Warning: unable to %s the cache", what)
	r.Log.WarnContext(ctx, "cache of a build not used", "job", r.order.ID, "error", fmt.Errorf("%s: %w", what, err))
}

func clientError(format string, args ...any) error {
	return &pipeline.UserError{Code: codeClient, Msg: fmt.Sprintf(format, args...)}
}

// planCache evaluates keys and paths in the source root, after the source is
// there.
func (r *build) planCache(ctx context.Context, c buildspec.Cache) (*cachePlan, error) {
	p := &cachePlan{Cache: c, query: pipeline.CacheQuery{Version: cache.Version(c.Paths)}}
	var err error
	if p.query.Key, err = r.cacheKey(ctx, c.Key); err != nil {
		return nil, err
	}
	if c.Key != "" && p.query.Key == "" {
		return nil, clientError("the key %s is empty", c.Key)
	}
	for _, f := range c.FallbackKeys {
		prefix, err := r.cacheKey(ctx, f)
		if err != nil {
			return nil, err
		}
		p.query.Fallbacks = append(p.query.Fallbacks, prefix)
	}
	for _, pattern := range c.Paths {
		if err := r.cachePath(ctx, p, pattern); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// cacheKey evaluates one key: first the digests of files, then the rest as the
// shell does.
func (r *build) cacheKey(ctx context.Context, key string) (string, error) {
	root, err := os.OpenRoot(r.place.source)
	if err != nil {
		return "", fmt.Errorf("opening source: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	key, err = cache.Sums(root.FS(), key)
	if err != nil {
		return "", clientError("key %s: %v", key, err)
	}
	return r.expand(ctx, key)
}

func (r *build) cachePath(ctx context.Context, p *cachePlan, pattern string) error {
	if pattern == "~" || strings.HasPrefix(pattern, "~/") {
		pattern = "$HOME" + pattern[1:]
	}
	text, err := r.expand(ctx, pattern)
	if err != nil {
		return err
	}
	b := bundle{source: r.shell.source}
	if clean, ok := b.relative(text); ok {
		p.inside = append(p.inside, clean)
		return nil
	}
	text = path.Clean(text)
	base := outsideBase(text)
	if !path.IsAbs(text) || !cacheable(base, r.shell.work) {
		r.log.line("Warning: cache path %s is left out: it is too wide, or not in the source and not absolute", pattern)
		return nil
	}
	p.outside = append(p.outside, text)
	return nil
}

// outsideBase is the folder or file that a pattern surely begins with.
func outsideBase(pattern string) string {
	if !strings.ContainsAny(pattern, `*?[{\`) {
		return pattern
	}
	base, _ := doublestar.SplitPattern(pattern)
	return base
}

// cacheable keeps system folders, and those that the cache itself passes
// through, from being copied.
func cacheable(base, work string) bool {
	if base == "/" || strings.HasPrefix(work+"/", base+"/") || strings.HasPrefix(base+"/", work+"/") {
		return false
	}
	top := strings.SplitN(base, "/", 3)[1]
	return top != "proc" && top != "sys" && top != "dev"
}

func (r *build) restore(ctx context.Context, p *cachePlan) error {
	e, body, err := r.Cache.Restore(ctx, p.query)
	if errors.Is(err, pipeline.ErrNotFound) {
		if p.query.Key == "" {
			r.log.line("Cache miss: nothing has been saved for these paths")
			return nil
		}
		r.log.line("Cache miss for key %q", p.query.Key)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // only read from
	staging := filepath.Join(r.place.Folder, "cache")
	sum, err := archive.Unpack(body, staging, archive.Limits{}, nil)
	if errors.Is(err, archive.ErrUnsafe) || errors.Is(err, archive.ErrFormat) {
		return clientError("the entry %q can't be unpacked: %v", e.Key, err)
	}
	if err != nil {
		return err
	}
	kept, err := cache.Merge(filepath.Join(staging, cache.Source), r.place.source)
	if err != nil {
		return err
	}
	if kept > 0 {
		r.log.line("Warning: %d cached file(s) not restored: the source has files of these names", kept)
	}
	if err := r.restoreOutside(ctx, p, filepath.Join(staging, cache.Root)); err != nil {
		return err
	}
	p.hit = e.Exact
	r.log.line("Cache restored: key %q, %d file(s), %d bytes, saved at %s", e.Key, sum.Entries, sum.Bytes, e.SavedAt.Format("2006-01-02 15:04:05"))
	return os.RemoveAll(staging)
}

// restoreOutside has the container's root copy what lies outside of the
// source: only the container sees these paths.
func (r *build) restoreOutside(ctx context.Context, p *cachePlan, staged string) error {
	if _, err := os.Lstat(staged); err != nil || len(p.outside) == 0 {
		return nil //nolint:nilerr // there is nothing outside
	}
	if err := os.Rename(staged, filepath.Join(r.place.Work, outsideIn)); err != nil {
		return err
	}
	in := r.shell.work + "/" + outsideIn
	script := []string{`_sw_put() { if [ -d "$1" ] && [ ! -L "$1" ]; then mkdir -p "$2" || return; for _sw_f in "$1"/* "$1"/.[!.]* "$1"/..?*; do ` +
		`{ [ -e "$_sw_f" ] || [ -L "$_sw_f" ]; } || continue; cp -R -P -p "$_sw_f" "$2"/ || return; done; ` +
		`elif [ -e "$1" ]; then mkdir -p "${2%/*}/" && cp -P -p "$1" "$2"; fi; }`}
	for _, pattern := range p.outside {
		base := outsideBase(pattern)
		script = append(script, fmt.Sprintf("_sw_put %s %s", quote(in+base), quote(base)))
	}
	return r.copying(ctx, strings.Join(script, "\n")+"\nrm -rf "+quote(in))
}

// copying runs a script of ours that copies files of the container.
func (r *build) copying(ctx context.Context, script string) error {
	res, err := r.quietly(ctx, "set +a -e\n"+script)
	if err != nil {
		return err
	}
	if res.failed >= 0 {
		return clientError("copying files of the container ended with exit status %d", res.exit)
	}
	return nil
}

// saveCache keeps the cache for later builds (CodeBuild reference 5.2: after
// POST_BUILD; ours: only of a build that succeeded, unless save-on-failure).
func (r *build) saveCache(ctx context.Context) {
	p := r.cached
	switch {
	case p == nil || p.Action == buildspec.Restore:
	case r.failure != nil && !p.SaveOnFailure:
		r.log.line("Skip saving the cache due to: the build failed")
	case p.hit && p.query.Key != "":
		r.log.line("Skip saving the cache due to: key %q is there", p.query.Key)
	default:
		r.cacheTrouble(ctx, "save", r.save(ctx, p))
	}
}

func (r *build) save(ctx context.Context, p *cachePlan) error {
	root, err := os.OpenRoot(r.place.source)
	if err != nil {
		return fmt.Errorf("opening source: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	trees := map[string]fs.FS{cache.Source: root.FS()}
	if len(p.outside) > 0 {
		if err := r.copyOutside(ctx, p); err != nil {
			return err
		}
		out, err := r.shell.folder.OpenRoot(outsideOut)
		if err != nil {
			return clientError("the files outside of the source were not copied")
		}
		defer func() { _ = out.Close() }() // only read from
		trees[cache.Root] = out.FS()
	}
	s := cache.NewSelection(trees)
	for _, pattern := range p.inside {
		if err := s.Add(cache.Source, pattern); err != nil {
			return clientError("path %s: %v", pattern, err)
		}
	}
	for _, pattern := range p.outside {
		if err := s.Add(cache.Root, pattern[1:]); err != nil {
			return clientError("path %s: %v", pattern, err)
		}
	}
	return r.pack(ctx, p, s)
}

// copyOutside has the container's root copy what lies outside of the source
// into the work folder, where this host sees it.
func (r *build) copyOutside(ctx context.Context, p *cachePlan) error {
	out := r.shell.work + "/" + outsideOut
	script := "mkdir " + quote(out)
	for _, pattern := range p.outside {
		base := outsideBase(pattern)
		script += fmt.Sprintf("\nif [ -e %[1]s ]; then mkdir -p %[2]s; cp -R -P -p %[1]s %[2]s/; fi", quote(base), quote(out+path.Dir(base)))
	}
	if os.Getuid() != 0 { // this process reads them, and belongs to somebody else
		script += "\nchmod -R a+rX " + quote(out)
	}
	return r.copying(ctx, script)
}

func (r *build) pack(ctx context.Context, p *cachePlan, s *cache.Selection) error {
	if s.Skipped > 0 {
		r.log.line("Warning: %d link(s) that lead elsewhere are not cached", s.Skipped)
	}
	if s.Files() == 0 {
		r.log.line("Skip saving the cache due to: no file matches its paths")
		return nil
	}
	in, out := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		_, err := s.Pack(out)
		packed <- err
		_ = out.CloseWithError(err) // always nil
	}()
	e, err := r.Cache.Save(ctx, p.query, in)
	_ = in.CloseWithError(errStoreDone)
	packErr := <-packed
	if packErr != nil && !errors.Is(packErr, errStoreDone) {
		return clientError("%v", packErr)
	}
	if err != nil {
		return err
	}
	r.log.line("Cache saved: key %q, %d file(s), %d bytes", e.Key, s.Files(), e.Bytes)
	return nil
}

// errStoreDone ends a pipe whose reader has all that it wants.
var errStoreDone = errors.New("the store has stopped reading")
