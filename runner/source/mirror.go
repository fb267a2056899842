package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/pipeline"
)

// mirror is a bare repository that holds commits of one repository, each
// under a ref named after it. It is locked while it is in use.
type mirror struct {
	git
	dir  string
	file *os.File // the lock
}

const (
	newSuffix = ".new"
	refPrefix = "refs/slipway/"
	lockEvery = 20 * time.Millisecond
	// deepen is how much history is fetched where a server gives out refs only
	// and the commit isn't at the ref's tip any more.
	deepen = 50
)

func newMirror(o Options, order pipeline.SourceOrder, dir string) *mirror {
	return &mirror{git: git{options: o, order: order}, dir: dir}
}

// lock waits for the lock file, which other processes honour too.
func (m *mirror) lock(ctx context.Context) error {
	f, err := os.OpenFile(m.dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	t := time.NewTicker(lockEvery)
	defer t.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			m.file = f
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), f.Close())
		case <-t.C:
		}
	}
}

func (m *mirror) unlock() { _ = m.file.Close() } // which gives up the lock

func (m *mirror) ref() string { return refPrefix + m.order.SHA }

// ensure makes the mirror and fetches the commit, unless it is there.
func (m *mirror) ensure(ctx context.Context) error {
	if err := m.create(ctx); err != nil {
		return fmt.Errorf("making mirror of %s: %w", m.order.Repo.FullName(), err)
	}
	if m.has() {
		return nil
	}
	err := m.fetch(ctx)
	switch {
	case err == nil:
		return m.done()
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case says(err, "not our ref", "couldn't find remote ref", "unadvertised object", "no such remote ref"):
		return mistake(m.order, "the repository does not have this commit, or no longer")
	case says(err, "authentication failed", "could not read username", "could not read password", "terminal prompts disabled",
		"returned error: 401", "returned error: 403", "permission denied", "repository not found", "returned error: 404", "' not found",
		"does not appear to be a git repository", "does not exist"):
		return mistake(m.order, "the repository does not exist, or the credentials don't allow to read it")
	}
	return fmt.Errorf("fetching %s of %s: %w", m.order.SHA, m.order.Repo.FullName(), err)
}

// mark names the file that says that a commit is there at a depth.
func (m *mirror) mark() string {
	return filepath.Join(m.dir, "slipway", m.order.SHA+"."+strconv.Itoa(m.order.Depth))
}

func (m *mirror) has() bool {
	_, err := os.Stat(m.mark())
	return err == nil
}

func (m *mirror) done() error {
	if err := os.WriteFile(m.mark(), nil, 0o600); err != nil {
		return fmt.Errorf("marking commit as fetched: %w", err)
	}
	return nil
}

// create makes an empty mirror where there is none, or where there is one that
// has grown too large. It appears whole or not at all.
func (m *mirror) create(ctx context.Context) error {
	if marks, err := os.ReadDir(filepath.Join(m.dir, "slipway")); err == nil && (m.has() || len(marks) < m.options.KeepCommits) {
		return nil
	}
	fresh := m.dir + newSuffix
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(m.dir)); err != nil {
		return err
	}
	if _, err := m.run(ctx, call{args: []string{"init", "--quiet", "--bare", fresh}}); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(fresh, "slipway"), 0o700); err != nil {
		return err
	}
	return os.Rename(fresh, m.dir)
}

// fetch asks for the commit itself, and where a server gives out refs only,
// for the ref that is said to contain it.
func (m *mirror) fetch(ctx context.Context) error {
	err := m.fetchRefs(ctx, m.order.Depth, "+"+m.order.SHA+":"+m.ref())
	if err == nil || m.order.FetchRef == "" || !says(err, "not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref") {
		return err
	}
	for _, depth := range []int{m.order.Depth, deepen, -1} {
		if err := m.fetchRefs(ctx, depth, "+"+m.order.FetchRef+":"+refPrefix+"fetched"); err != nil {
			return err
		}
		_, err = m.run(ctx, call{dir: m.dir, args: []string{"update-ref", m.ref(), m.order.SHA}})
		if err == nil {
			return nil
		}
	}
	return mistake(m.order, "it is not in "+m.order.FetchRef+" any more")
}

// fetchRefs fetches one refspec: 0 the one commit, n that many, -1 all of the
// history.
func (m *mirror) fetchRefs(ctx context.Context, depth int, refspec string) error {
	args := []string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc"}
	switch {
	case depth >= 0:
		args = append(args, "--depth="+strconv.Itoa(max(depth, 1)))
	case m.shallow():
		args = append(args, "--unshallow")
	}
	_, err := m.run(ctx, call{dir: m.dir, login: true, args: append(args, "--end-of-options", m.order.URL, refspec)})
	return err
}

func (m *mirror) shallow() bool {
	_, err := os.Stat(filepath.Join(m.dir, "shallow"))
	return err == nil
}

// checkout fills dir from the mirror.
func (m *mirror) checkout(ctx context.Context, dir string) error {
	dot := filepath.Join(dir, ".git")
	if _, err := m.run(ctx, call{args: []string{"init", "--quiet", "--end-of-options", dir}}); err != nil {
		return err
	}
	fill := m.fill
	if m.order.Depth != 0 {
		fill = m.copyHistory
	}
	if err := fill(ctx, dir, dot); err != nil {
		return err
	}
	if _, err := m.run(ctx, call{dir: dot, args: []string{"config", "remote.origin.url", m.order.URL}}); err != nil {
		return err
	}
	head, err := m.run(ctx, call{dir: dot, args: []string{"rev-parse", "--verify", "HEAD"}})
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(head); got != m.order.SHA {
		return fmt.Errorf("HEAD is %s", got)
	}
	return nil
}

// fill takes one commit. The files come straight from the mirror's objects
// while a pack of them is made for the build: a hard link would let the build
// write into the mirror.
func (m *mirror) fill(ctx context.Context, dir, dot string) error {
	alternates := filepath.Join(dot, "objects", "info", "alternates")
	for name, text := range map[string]string{
		filepath.Join(dot, "HEAD"):    m.order.SHA + "\n",
		filepath.Join(dot, "shallow"): m.order.SHA + "\n",
		alternates:                    filepath.Join(m.dir, "objects") + "\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := m.run(ctx, call{dir: dot, tree: dir, args: []string{"-c", "checkout.workers=0", "reset", "--quiet", "--hard", m.order.SHA}})
		return err
	})
	g.Go(func() error {
		pack := filepath.Join(dot, "objects", "pack", "pack")
		_, err := m.run(ctx, call{dir: dot, in: m.order.SHA + "\n", args: []string{"pack-objects", "--quiet", "--revs", "--window=0", pack}})
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return os.Remove(alternates)
}

// copyHistory fetches the commit with its history from the mirror.
func (m *mirror) copyHistory(ctx context.Context, dir, dot string) error {
	args := []string{"-c", "uploadpack.allowAnySHA1InWant=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"}
	if m.order.Depth > 0 {
		args = append(args, "--depth="+strconv.Itoa(m.order.Depth))
	}
	args = append(args, "--end-of-options", "file://"+m.dir, "+"+m.ref()+":refs/slipway/head")
	if _, err := m.run(ctx, call{dir: dot, local: true, args: args}); err != nil {
		return err
	}
	_, err := m.run(ctx, call{dir: dot, tree: dir, args: []string{"checkout", "--quiet", "--detach", m.order.SHA}})
	return err
}

// files are the sizes of those names that are regular files of the commit.
func (m *mirror) files(ctx context.Context, names []string) (map[string]int64, error) {
	args := append([]string{"ls-tree", "-z", "--long", "--full-tree", "--end-of-options", m.order.SHA, "--"}, names...)
	out, err := m.run(ctx, call{dir: m.dir, args: args})
	if err != nil {
		return nil, fmt.Errorf("listing files of %s: %w", m.order.SHA, err)
	}
	sizes := map[string]int64{}
	for line := range strings.SplitSeq(out, "\x00") {
		facts, name, _ := strings.Cut(line, "\t")
		f := strings.Fields(facts)
		if len(f) != 4 || f[1] != "blob" || f[0] == "120000" {
			continue
		}
		if sizes[name], err = strconv.ParseInt(f[3], 10, 64); err != nil {
			return nil, fmt.Errorf("listing files of %s: %w", m.order.SHA, err)
		}
	}
	return sizes, nil
}

func (m *mirror) readFile(ctx context.Context, name string) ([]byte, error) {
	sizes, err := m.files(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	size, ok := sizes[name]
	if !ok {
		return nil, fmt.Errorf("reading %s of %s: %w", name, m.order.SHA, pipeline.ErrNotFound)
	}
	if size > MaxFileBytes {
		return nil, &pipeline.UserError{Code: codeSource, File: name, Line: 1, Column: 1,
			Msg: fmt.Sprintf("the file has %d bytes: want at most %d", size, MaxFileBytes)}
	}
	out, err := m.run(ctx, call{dir: m.dir, args: []string{"cat-file", "blob", m.order.SHA + ":" + name}})
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", name, m.order.SHA, err)
	}
	return []byte(out), nil
}
