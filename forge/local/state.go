package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/forge"
)

// state is what is remembered of one repository beside git's own data. Refs are
// those whose events exist; an event stands in Pending until it was delivered.
// Both change in one write, so no event is lost and none is made twice.
type state struct {
	V        int               `json:"v"`
	ID       string            `json:"id"`
	Owner    string            `json:"owner"`
	Name     string            `json:"name"`
	Sequence int64             `json:"sequence"` // events ever made
	Refs     map[string]string `json:"refs"`
	Pending  []forge.Event     `json:"pending,omitempty"`
}

const stateVersion = 1

func (h *Host) stateFile(owner, name string) string {
	return filepath.Join(h.o.Dir, "state", owner, name+".json")
}

// load reads a repository's state, or begins one. The repository is locked.
func (h *Host) load(owner, name string) (*state, error) {
	data, err := os.ReadFile(h.stateFile(owner, name))
	if errors.Is(err, os.ErrNotExist) {
		s := &state{V: stateVersion, ID: uuid.NewString(), Owner: owner, Name: name, Refs: map[string]string{}}
		return s, h.save(s)
	}
	if err != nil {
		return nil, err
	}
	s := &state{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", h.stateFile(owner, name), err)
	}
	if s.V > stateVersion {
		return nil, fmt.Errorf("%s: version %d is newer than this program", h.stateFile(owner, name), s.V)
	}
	if s.Refs == nil {
		s.Refs = map[string]string{}
	}
	return s, nil
}

func (h *Host) save(s *state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	file := h.stateFile(s.Owner, s.Name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return writeFile(file, data)
}

// writeFile replaces a file as a whole and returns once it is on the disk.
func writeFile(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(filepath.Dir(file))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// pusher is who pushed, as far as we know.
type pusher struct {
	login, userAgent string
}

// record makes events of what changed since the last time. The repository is
// locked.
func (h *Host) record(ctx context.Context, owner, name string, who pusher) error {
	s, err := h.load(owner, name)
	if err != nil {
		return err
	}
	now, err := h.refs(ctx, owner, name)
	if err != nil {
		return err
	}
	if maps.Equal(s.Refs, now) {
		return nil
	}
	if err := h.setHead(ctx, owner, name, now); err != nil {
		return err
	}
	repo, err := h.repo(ctx, s)
	if err != nil {
		return err
	}
	for _, ref := range h.noticed(repo, s.Refs, now) {
		push, err := h.push(ctx, repo, ref, s.Refs[ref], now[ref])
		if err != nil {
			return err
		}
		s.Sequence++
		s.Pending = append(s.Pending, forge.Event{
			Forge: Name, Delivery: deliveryID(s, ref, s.Refs[ref], now[ref]), Kind: forge.Push, Name: "push",
			Repo: repo, Sender: forge.User{ID: "local", Login: cmp.Or(who.login, "git")}, UserAgent: who.userAgent, Push: push,
		})
	}
	s.Refs = now
	if err := h.save(s); err != nil {
		return fmt.Errorf("recording a push to %s: %w", repo.FullName(), err)
	}
	h.nudge()
	return nil
}

// deliveryID is the same for the same change however often it is looked at.
func deliveryID(s *state, ref, before, after string) string {
	what := strings.Join([]string{s.ID, ref, before, after, strconv.FormatInt(s.Sequence, 10)}, "\n")
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(what)).String()
}

const (
	// More tags in one push, or more branches, make no events, as on GitHub
	// (forges.md 2.5).
	tagLimit    = 3
	branchLimit = 5000
)

// noticed are the refs that changed and make events, sorted.
func (h *Host) noticed(repo forge.Repo, before, after map[string]string) []string {
	var branches, tags []string
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, ref := range slices.Sorted(maps.Keys(all)) {
		switch {
		case before[ref] == after[ref]:
		case strings.HasPrefix(ref, "refs/tags/"):
			tags = append(tags, ref)
		default:
			branches = append(branches, ref)
		}
	}
	if len(branches) > branchLimit {
		h.o.Log.Warn("a push of too many branches makes no events", "repo", repo.FullName(), "branches", len(branches))
		branches = nil
	}
	if len(tags) > tagLimit {
		h.o.Log.Warn("a push of too many tags makes no events", "repo", repo.FullName(), "tags", len(tags))
		tags = nil
	}
	return append(branches, tags...)
}

// push describes the change of one ref. A tag's SHA is that of its commit.
func (h *Host) push(ctx context.Context, repo forge.Repo, ref, before, after string) (*forge.PushEvent, error) {
	p := &forge.PushEvent{Ref: ref, Created: before == "", Deleted: after == "", At: h.o.Now().UTC()}
	zeros := strings.Repeat("0", len(cmp.Or(before, after)))
	p.Before, p.After = cmp.Or(before, zeros), cmp.Or(after, zeros)
	if p.Deleted {
		return p, nil
	}
	dir := h.repoDir(repo.Owner, repo.Name)
	commit, err := h.run(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", after+"^{commit}")
	if err != nil {
		// A tag may name a file or a tree. There is no commit to speak of.
		return p, ignoreExit(err)
	}
	p.After = strings.TrimSpace(commit)
	message, err := h.run(ctx, dir, "log", "-1", "--format=%B", "--end-of-options", p.After)
	if err != nil {
		return nil, err
	}
	p.Message = strings.TrimSpace(cut(message, messageLimitBytes))
	if p.Created || !strings.HasPrefix(ref, "refs/heads/") {
		return p, nil
	}
	_, err = h.run(ctx, dir, "merge-base", "--is-ancestor", before, after)
	p.Forced = exitCode(err) == 1
	return p, ignoreExit(err)
}

const messageLimitBytes = 16 << 10

func cut(s string, limit int) string {
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}

// ignoreExit keeps only the errors of a git that could not be run.
func ignoreExit(err error) error {
	if exitCode(err) >= 0 {
		return nil
	}
	return err
}

// setHead makes a branch the default one if the default one does not exist: the
// first that was pushed, and main or master if several came at once.
func (h *Host) setHead(ctx context.Context, owner, name string, refs map[string]string) error {
	dir := h.repoDir(owner, name)
	head, err := h.run(ctx, dir, "symbolic-ref", "HEAD")
	if err != nil {
		return err
	}
	if refs[strings.TrimSpace(head)] != "" {
		return nil
	}
	for _, ref := range append([]string{"refs/heads/main", "refs/heads/master"}, slices.Sorted(maps.Keys(refs))...) {
		if refs[ref] != "" && strings.HasPrefix(ref, "refs/heads/") {
			_, err := h.run(ctx, dir, "symbolic-ref", "HEAD", ref)
			return err
		}
	}
	return nil
}

// nudge tells Run that there is something to deliver.
func (h *Host) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

const (
	shortestPause = 500 * time.Millisecond
	longestPause  = 30 * time.Second
)

// Run delivers events until ctx ends. It begins with pushes that an earlier
// process received and did not live to record.
func (h *Host) Run(ctx context.Context) error {
	if err := h.recover(ctx); err != nil {
		return fmt.Errorf("built-in git host: looking for missed pushes: %w", err)
	}
	pause := shortestPause
	for {
		err := h.deliverAll(ctx)
		retry := (<-chan time.Time)(nil)
		if err == nil {
			pause = shortestPause
		} else if ctx.Err() == nil {
			h.o.Log.WarnContext(ctx, "push event not delivered yet", "error", err)
			retry, pause = time.After(pause), min(2*pause, longestPause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		case <-retry:
		}
	}
}

func (h *Host) recover(ctx context.Context) error {
	names, err := h.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		unlock := h.lock(n[0], n[1])
		err = errors.Join(err, h.record(ctx, n[0], n[1], pusher{}))
		unlock()
	}
	return err
}

// deliverAll delivers what is pending. One repository's failure does not hold
// up the others.
func (h *Host) deliverAll(ctx context.Context) error {
	names, err := h.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		err = errors.Join(err, h.deliver(ctx, n[0], n[1]))
	}
	return err
}

// deliver delivers one repository's events in order until one fails.
func (h *Host) deliver(ctx context.Context, owner, name string) error {
	for {
		e, found, err := h.next(ctx, owner, name)
		if err != nil || !found {
			return err
		}
		if err := h.o.Deliver(ctx, e); err != nil {
			return fmt.Errorf("delivering %s of %s/%s: %w", e.Delivery, owner, name, err)
		}
		if err := h.delivered(owner, name, e.Delivery); err != nil {
			return err
		}
	}
}

func (h *Host) next(ctx context.Context, owner, name string) (e forge.Event, found bool, err error) {
	defer h.lock(owner, name)()
	s, err := h.load(owner, name)
	if err != nil || len(s.Pending) == 0 {
		return forge.Event{}, false, err
	}
	e = s.Pending[0]
	e.Repo, err = h.repo(ctx, s) // the server may have moved since
	return e, err == nil, err
}

func (h *Host) delivered(owner, name, id string) error {
	defer h.lock(owner, name)()
	s, err := h.load(owner, name)
	if err != nil {
		return err
	}
	s.Pending = slices.DeleteFunc(s.Pending, func(e forge.Event) bool { return e.Delivery == id })
	return h.save(s)
}
