// Package source fetches commits with git: into a mirror for each repository,
// and from there into the folder of a build. Repositories are hostile input;
// hooks, filters, helpers and all protocols but the usual are off, and
// credentials pass through git's environment only (forges reference 4.6).
package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Options configure a Store. Dir is required.
type Options struct {
	// Dir holds the mirrors. Several processes may share it.
	Dir string
	// AllowFile permits file URLs and plain paths, for the built-in git host
	// and for tests.
	AllowFile bool
	// Env is added to git's environment, as "NAME=value": PATH, proxies,
	// certificates, an SSH agent. Nothing else of this process reaches git.
	Env []string
	// Timeout limits one run of git; 0 means 10 minutes.
	Timeout time.Duration
	// KeepCommits is how many commits a mirror holds before it starts afresh;
	// 0 means 500.
	KeepCommits int
}

// Store keeps mirrors and is safe for concurrent use.
type Store struct {
	options Options
}

const (
	defaultTimeout = 10 * time.Minute
	defaultKeep    = 500
	// codeSource is the status code of CodeBuild reference E19.
	codeSource = "CLIENT_ERROR"
)

// New makes the folder if there is none.
func New(o Options) (*Store, error) {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.KeepCommits = cmp.Or(o.KeepCommits, defaultKeep)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making folder of mirrors: %w", err)
	}
	return &Store{options: o}, nil
}

// Checkout puts the commit into dir, an empty folder. The .git folder there
// shares nothing with the mirror, knows the commit (and its history as far as
// the order's Depth says), and holds no credential. HEAD is detached. A
// *pipeline.UserError says that the commit can't be had; other errors are
// worth another try.
func (s *Store) Checkout(ctx context.Context, o pipeline.SourceOrder, dir string) error {
	m, err := s.open(ctx, o)
	if err != nil {
		return err
	}
	defer m.unlock()
	if err := m.checkout(ctx, dir); err != nil {
		return fmt.Errorf("checking out %s of %s: %w", o.SHA, o.Repo.FullName(), err)
	}
	return nil
}

// MaxFileBytes is the most that ReadFile returns.
const MaxFileBytes = 1 << 20

// ReadFile is a regular file of the commit; pipeline.ErrNotFound if there is
// none of this name. A larger one than MaxFileBytes is a *pipeline.UserError.
func (s *Store) ReadFile(ctx context.Context, o pipeline.SourceOrder, name string) ([]byte, error) {
	m, err := s.open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer m.unlock()
	return m.readFile(ctx, name)
}

// Files are those of names that are regular files of the commit, in the order
// given.
func (s *Store) Files(ctx context.Context, o pipeline.SourceOrder, names ...string) ([]string, error) {
	m, err := s.open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer m.unlock()
	sizes, err := m.files(ctx, names)
	if err != nil {
		return nil, err
	}
	var have []string
	for _, name := range names {
		if _, ok := sizes[name]; ok {
			have = append(have, name)
		}
	}
	return have, nil
}

// List is the regular files directly in a folder of the commit, by path, in
// order; none if there is no such folder.
func (s *Store) List(ctx context.Context, o pipeline.SourceOrder, folder string) ([]string, error) {
	m, err := s.open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer m.unlock()
	sizes, err := m.files(ctx, []string{folder + "/"})
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(sizes)), nil
}

// Describe is a commit's message and when its author made it, as RFC 3339.
func (s *Store) Describe(ctx context.Context, o pipeline.SourceOrder) (message, authored string, err error) {
	m, err := s.open(ctx, o)
	if err != nil {
		return "", "", err
	}
	defer m.unlock()
	out, err := m.run(ctx, call{dir: m.dir, args: []string{"show", "--no-patch", "--no-notes", "--format=%aI%n%B", "--end-of-options", o.SHA}})
	if err != nil {
		return "", "", fmt.Errorf("reading commit %s of %s: %w", o.SHA, o.Repo.FullName(), err)
	}
	authored, message, _ = strings.Cut(out, "\n")
	return strings.TrimRight(message, "\n"), authored, nil
}

// open locks the mirror and makes sure that it has the commit.
func (s *Store) open(ctx context.Context, o pipeline.SourceOrder) (*mirror, error) {
	if err := s.check(o); err != nil {
		return nil, err
	}
	m := newMirror(s.options, o, filepath.Join(s.options.Dir, mirrorName(o)))
	if err := m.lock(ctx); err != nil {
		return nil, fmt.Errorf("locking mirror of %s: %w", o.Repo.FullName(), err)
	}
	if err := m.ensure(ctx); err != nil {
		m.unlock()
		return nil, err
	}
	return m, nil
}

// mirrorName is a folder for this repository alone, whatever its name holds.
func mirrorName(o pipeline.SourceOrder) string {
	sum := sha256.Sum256([]byte(o.Repo.Forge + "\x00" + o.Repo.ID + "\x00" + o.URL))
	return hex.EncodeToString(sum[:16]) + ".git"
}

var (
	objectID = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	badRef   = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|\.$|/$|^@$`)
)

// check refuses orders that git might read as something else.
func (s *Store) check(o pipeline.SourceOrder) error {
	if !objectID.MatchString(o.SHA) {
		return mistake(o, fmt.Sprintf("%q is no commit ID", o.SHA))
	}
	if o.FetchRef != "" && (!strings.HasPrefix(o.FetchRef, "refs/") || badRef.MatchString(o.FetchRef)) {
		return mistake(o, fmt.Sprintf("%q is no ref", o.FetchRef))
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return mistake(o, "the clone URL is none")
	}
	switch {
	case u.User != nil && u.Scheme != "ssh":
		return mistake(o, "the clone URL holds credentials")
	case (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "ssh") && u.Host != "" && !strings.HasPrefix(u.Host, "-"):
		return nil
	case s.options.AllowFile && (u.Scheme == "file" || u.Scheme == "") && path.IsAbs(u.Path):
		return nil
	}
	return mistake(o, fmt.Sprintf("clone URLs of scheme %q are not allowed", u.Scheme))
}

func mistake(o pipeline.SourceOrder, why string) error {
	return &pipeline.UserError{Code: codeSource, Msg: fmt.Sprintf("fetching %s of %s: %s", o.SHA, o.Repo.FullName(), why)}
}

// stale is how old a temporary folder of a dead process must be.
const stale = time.Hour

// Sweep removes what dead processes left in the folder of mirrors.
func (s *Store) Sweep(now time.Time) error {
	left, err := filepath.Glob(filepath.Join(s.options.Dir, "*"+newSuffix))
	if err != nil {
		return fmt.Errorf("listing mirrors: %w", err)
	}
	var errs []error
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && now.Sub(info.ModTime()) > stale {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
