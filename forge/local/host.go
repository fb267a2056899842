// Package local is the built-in git host: bare repositories below a data folder,
// served by git's own http-backend, whose pushes become events like any other
// forge's. No hook script runs, so nothing that was pushed is executed.
package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// Name is the forge's name in events and repositories.
const Name = "local"

// Options are what a Host needs. Dir and Deliver are required.
type Options struct {
	// Dir is the data folder; it is created, for our eyes only.
	Dir string
	// URL is how git and people reach the server, such as http://127.0.0.1:8080/.
	URL string
	// Tokens may read and push everything. Without any, only ReadToken's are accepted.
	Tokens []string
	// Deliver takes one event. The event is kept and offered again until Deliver
	// returns nil, also after a restart, so it may come twice with one delivery ID.
	// Events of one repository come in order.
	Deliver func(context.Context, forge.Event) error
	// PushLimitBytes bounds one push; 0: 1 GiB.
	PushLimitBytes int64
	// Log is where recoveries are noted; nil: nowhere.
	Log *slog.Logger
	// Now tells the time; nil: time.Now.
	Now func() time.Time
}

// Host is the git host. It is safe for concurrent use, by one process at a time.
type Host struct {
	o       Options
	git     string // program
	backend string // git-http-backend
	key     []byte // signs read tokens
	wake    chan struct{}

	mu    sync.Mutex
	locks map[string]*sync.Mutex // by owner/name
}

// New opens or creates the data folder. Run has to be running for events to be
// delivered.
func New(o Options) (*Host, error) {
	if o.Dir == "" || o.Deliver == nil {
		return nil, errors.New("built-in git host: want a folder and a receiver")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("built-in git host: %w", err)
	}
	o.Dir = dir
	o.PushLimitBytes = cmp.Or(o.PushLimitBytes, 1<<30)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Host{o: o, wake: make(chan struct{}, 1), locks: map[string]*sync.Mutex{}}
	if err := h.open(); err != nil {
		return nil, fmt.Errorf("built-in git host: %w", err)
	}
	return h, nil
}

func (h *Host) open() error {
	var err error
	if h.git, err = exec.LookPath("git"); err != nil {
		return err
	}
	for _, dir := range []string{"repos", "state", "spool"} {
		if err := os.MkdirAll(filepath.Join(h.o.Dir, dir), 0o700); err != nil {
			return err
		}
	}
	// What lies in spool is of pushes that a crash cut off.
	if err := emptyFolder(filepath.Join(h.o.Dir, "spool")); err != nil {
		return err
	}
	out, err := exec.Command(h.git, "--exec-path").Output()
	if err != nil {
		return fmt.Errorf("git --exec-path: %w", err)
	}
	h.backend = filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(h.backend); err != nil {
		return fmt.Errorf("git's http-backend: %w", err)
	}
	h.key, err = keyFile(filepath.Join(h.o.Dir, "key"))
	return err
}

func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

const keyBytes = 32

// keyFile reads the key, or makes one on first use.
func keyFile(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		key = make([]byte, keyBytes)
		rand.Read(key) // never fails
		return key, writeFile(file, key)
	}
	if err != nil {
		return nil, err
	}
	if len(key) != keyBytes {
		return nil, fmt.Errorf("%s: want %d bytes, have %d", file, keyBytes, len(key))
	}
	return key, nil
}

// lock locks one repository until the result is called.
func (h *Host) lock(owner, name string) (unlock func()) {
	h.mu.Lock()
	l := h.locks[owner+"/"+name]
	if l == nil {
		l = &sync.Mutex{}
		h.locks[owner+"/"+name] = l
	}
	h.mu.Unlock()
	l.Lock()
	return l.Unlock
}

func (h *Host) repoDir(owner, name string) string {
	return filepath.Join(h.o.Dir, "repos", owner, name+".git")
}

// checkName refuses what could not be a folder of its own or would look like
// another repository's.
func checkName(owner, name string) error {
	for _, s := range []string{owner, name} {
		if !forge.ValidName(s) || s[0] == '.' || s[0] == '-' {
			return fmt.Errorf("repository name %q: want letters, digits, '.', '_' and '-'", s)
		}
	}
	if strings.HasSuffix(owner, ".git") || strings.HasSuffix(name, ".git") || strings.HasSuffix(name, ".lock") {
		return fmt.Errorf("repository name %q: may not end in .git or .lock", owner+"/"+name)
	}
	return nil
}

// Create makes an empty repository, or finds the one that is there.
func (h *Host) Create(ctx context.Context, owner, name string) (forge.Repo, error) {
	if err := checkName(owner, name); err != nil {
		return forge.Repo{}, err
	}
	defer h.lock(owner, name)()
	if err := h.create(ctx, owner, name); err != nil {
		return forge.Repo{}, fmt.Errorf("creating repository %s/%s: %w", owner, name, err)
	}
	s, err := h.load(owner, name)
	if err != nil {
		return forge.Repo{}, fmt.Errorf("creating repository %s/%s: %w", owner, name, err)
	}
	return h.repo(ctx, s)
}

// create makes the repository beside its place first, so that a half-made one
// is never seen.
func (h *Host) create(ctx context.Context, owner, name string) error {
	dir := h.repoDir(owner, name)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Join(h.o.Dir, "spool"), "new-")
	if err != nil {
		return err
	}
	if _, err := h.run(ctx, temp, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return os.Rename(temp, dir)
}

// Repo is the repository of that name; forge.ErrNotFound if there is none.
func (h *Host) Repo(ctx context.Context, owner, name string) (forge.Repo, error) {
	if err := h.exists(owner, name); err != nil {
		return forge.Repo{}, err
	}
	defer h.lock(owner, name)()
	s, err := h.load(owner, name)
	if err != nil {
		return forge.Repo{}, fmt.Errorf("repository %s/%s: %w", owner, name, err)
	}
	return h.repo(ctx, s)
}

func (h *Host) exists(owner, name string) error {
	if checkName(owner, name) != nil {
		return forge.ErrNotFound
	}
	if _, err := os.Stat(filepath.Join(h.repoDir(owner, name), "HEAD")); err != nil {
		return forge.ErrNotFound
	}
	return nil
}

// Repos are all repositories by name.
func (h *Host) Repos(ctx context.Context) ([]forge.Repo, error) {
	names, err := h.names()
	if err != nil {
		return nil, err
	}
	var list []forge.Repo
	for _, n := range names {
		r, err := h.Repo(ctx, n[0], n[1])
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// names are owner and name of all repositories, sorted.
func (h *Host) names() ([][2]string, error) {
	dirs, err := filepath.Glob(filepath.Join(h.o.Dir, "repos", "*", "*.git"))
	if err != nil {
		return nil, err
	}
	var list [][2]string
	for _, dir := range dirs {
		owner, name := filepath.Base(filepath.Dir(dir)), strings.TrimSuffix(filepath.Base(dir), ".git")
		if h.exists(owner, name) == nil {
			list = append(list, [2]string{owner, name})
		}
	}
	slices.SortFunc(list, func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	return list, nil
}

func (h *Host) repo(ctx context.Context, s *state) (forge.Repo, error) {
	head, err := h.run(ctx, h.repoDir(s.Owner, s.Name), "symbolic-ref", "--short", "HEAD")
	if err != nil {
		return forge.Repo{}, err
	}
	return forge.Repo{
		Forge: Name, ID: s.ID, Owner: s.Owner, Name: s.Name, DefaultBranch: strings.TrimSpace(head), Private: true,
		CloneURL: strings.TrimSuffix(h.o.URL, "/") + "/git/" + s.Owner + "/" + s.Name + ".git",
	}, nil
}

// Refs are the branches and tags of a repository by full name, with the SHA of
// the commit or the tag.
func (h *Host) Refs(ctx context.Context, owner, name string) (map[string]string, error) {
	if err := h.exists(owner, name); err != nil {
		return nil, err
	}
	return h.refs(ctx, owner, name)
}

func (h *Host) refs(ctx context.Context, owner, name string) (map[string]string, error) {
	out, err := h.run(ctx, h.repoDir(owner, name), "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, fmt.Errorf("listing refs of %s/%s: %w", owner, name, err)
	}
	refs := map[string]string{}
	for text := range strings.Lines(out) {
		if sha, ref, ok := strings.Cut(strings.TrimSuffix(text, "\n"), " "); ok {
			refs[ref] = sha
		}
	}
	return refs, nil
}

// Reporter takes reports for repositories of this host. They are kept and shown
// by Slipway itself, so there is nobody to tell.
type Reporter struct{}

// PutCheckRun does nothing.
func (Reporter) PutCheckRun(context.Context, forge.Repo, int64, *forge.CheckRun) error { return nil }

// SetStatus does nothing.
func (Reporter) SetStatus(context.Context, forge.Repo, int64, forge.CommitStatus) error { return nil }
