package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// fakeStore keeps executions, report states and the outbox as package store
// does.
type fakeStore struct {
	mu         sync.Mutex
	executions map[string]pipeline.Execution
	builds     map[string][]pipeline.Build
	states     map[string][]byte
	items      map[string]*fakeItem
	claims     int
	dead       []DeadMessage
	leases     map[string]bool
	changed    chan struct{} // closed when something is marked or given back
}

type fakeItem struct {
	installation int64
	due          time.Time
	leased       time.Time // hidden until
	claim        string
	marked       bool // since the claim
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		executions: map[string]pipeline.Execution{}, builds: map[string][]pipeline.Build{},
		states: map[string][]byte{}, items: map[string]*fakeItem{},
		changed: make(chan struct{}),
	}
}

// commit stores a new state of an execution and marks it, as the engine's
// commit does.
func (s *fakeStore) commit(x pipeline.Execution, builds ...pipeline.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.Revision = s.executions[x.ID].Revision + 1
	s.executions[x.ID] = x
	if builds != nil {
		s.builds[x.ID] = builds
	}
	it := s.items[x.ID]
	if it == nil {
		it = &fakeItem{installation: x.Trigger.Installation}
		s.items[x.ID] = it
	}
	it.due, it.marked = time.Now(), true
	s.announce()
}

func (s *fakeStore) ClaimReport(_ context.Context, lease time.Duration) (pipeline.ReportItem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	best := ""
	for id, it := range s.items {
		if it.due.After(now) || it.leased.After(now) {
			continue
		}
		if best == "" || it.due.Before(s.items[best].due) || it.due.Equal(s.items[best].due) && id < best {
			best = id
		}
	}
	if best == "" {
		return pipeline.ReportItem{}, pipeline.ErrNotFound
	}
	it := s.items[best]
	s.claims++
	it.claim, it.leased, it.marked = strconv.Itoa(s.claims), now.Add(lease), false
	return pipeline.ReportItem{Forge: s.executions[best].Repo.Forge, Installation: it.installation, Execution: best, Claim: it.claim}, nil
}

func (s *fakeStore) FinishReport(_ context.Context, item pipeline.ReportItem) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[item.Execution]
	if it == nil || it.claim != item.Claim {
		return nil
	}
	it.leased, it.claim = time.Time{}, ""
	if !it.marked {
		delete(s.items, item.Execution)
	}
	s.announce()
	return nil
}

func (s *fakeStore) DeferReport(_ context.Context, item pipeline.ReportItem, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[item.Execution]
	if it == nil || it.claim != item.Claim {
		return nil
	}
	it.leased, it.claim = time.Time{}, ""
	if !it.marked {
		it.due = until
	}
	s.announce()
	return nil
}

func (s *fakeStore) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeStore) Wait(ctx context.Context, fallback time.Duration) error {
	s.mu.Lock()
	now, wait, changed := time.Now(), fallback, s.changed
	for _, it := range s.items {
		at := it.due
		if it.leased.After(at) {
			at = it.leased
		}
		wait = min(wait, at.Sub(now))
	}
	s.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
	return nil
}

func (s *fakeStore) Execution(_ context.Context, id string) (pipeline.Execution, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.executions[id]
	if !ok {
		return x, pipeline.ErrNotFound
	}
	return x, nil
}

func (s *fakeStore) Builds(_ context.Context, id string) ([]pipeline.Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.builds[id], nil
}

func (s *fakeStore) ReportState(_ context.Context, id, kind string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.states[id+"/"+kind]
	if !ok {
		return nil, pipeline.ErrNotFound
	}
	return data, nil
}

func (s *fakeStore) SaveReportState(_ context.Context, id, kind string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[id+"/"+kind] = data
	return nil
}

func (s *fakeStore) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items) == 0
}

// fault is what goes wrong with one write.
type fault struct {
	err  error
	done bool          // the forge did it all the same: the answer was lost
	slow time.Duration // passes before the answer
}

var (
	serverError = fault{err: &forge.RetryError{Err: errors.New("500 Internal Server Error")}}
	slowDown    = fault{err: &forge.RetryError{After: 7 * time.Second, Err: errors.New("429 Too Many Requests")}}
	lostAnswer  = fault{err: context.DeadlineExceeded, done: true, slow: 3 * time.Second}
	refused     = fault{err: fmt.Errorf("putting check run: %w", forge.ErrForbidden)}
	rejected    = fault{err: fmt.Errorf("putting check run: %w", forge.ErrRejected)}
	missing     = fault{err: fmt.Errorf("putting check run: %w", forge.ErrNotFound)}
	noKey       = fault{err: forge.ErrNoCredentials}
)

// fakeForge keeps check runs and statuses as GitHub does: updates append
// annotations. It notes every breach of the rules.
type fakeForge struct {
	mu       sync.Mutex
	spacing  time.Duration
	runs     []*fakeRun
	statuses []forge.CommitStatus
	// script are the faults of the next writes of check runs, in order; the
	// zero fault is none.
	script   []fault
	always   fault // after the script
	writes   []time.Time
	last     map[int64]time.Time
	breaches []string
}

type fakeRun struct {
	forge.CheckRun
	history []string // status or conclusion of each write that was done
	// finals counts changes from another state to completed.
	finals int
}

func newFakeForge(spacing time.Duration) *fakeForge {
	return &fakeForge{spacing: spacing, last: map[int64]time.Time{}}
}

func (f *fakeForge) breach(format string, args ...any) {
	f.breaches = append(f.breaches, fmt.Sprintf(format, args...))
}

// begin takes the next fault and watches the pace.
func (f *fakeForge) begin(installation int64) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if last, ok := f.last[installation]; ok && now.Sub(last) < f.spacing {
		f.breach("a write %s after the one before", now.Sub(last))
	}
	f.last[installation] = now
	f.writes = append(f.writes, now)
	if len(f.script) == 0 {
		return f.always
	}
	next := f.script[0]
	f.script = f.script[1:]
	return next
}

func (f *fakeForge) PutCheckRun(ctx context.Context, _ forge.Repo, installation int64, c *forge.CheckRun) error {
	now := f.begin(installation)
	if now.slow > 0 {
		pause(ctx, now.slow)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Unsure {
		f.heal(c)
	}
	if now.err != nil && !now.done {
		return now.err
	}
	run := f.apply(*c)
	if now.err != nil {
		c.Unsure = true
		return now.err
	}
	c.ID, c.Sent, c.Unsure = run.ID, len(run.Annotations), false
	return nil
}

// heal finds what an earlier write did, as the adapter does.
func (f *fakeForge) heal(c *forge.CheckRun) {
	for _, r := range f.runs {
		if r.ID == c.ID || c.ID == 0 && r.ExternalID == c.ExternalID {
			c.ID, c.Sent, c.Unsure = r.ID, len(r.Annotations), false
		}
	}
}

func (f *fakeForge) apply(c forge.CheckRun) *fakeRun {
	i := slices.IndexFunc(f.runs, func(r *fakeRun) bool { return r.ID == c.ID })
	if i < 0 {
		if c.ID != 0 {
			f.breach("an update of check run %d, which isn't there", c.ID)
		}
		f.runs = append(f.runs, &fakeRun{CheckRun: forge.CheckRun{ID: int64(len(f.runs) + 1), Status: "none"}})
		i = len(f.runs) - 1
	}
	r := f.runs[i]
	if r.Status == completed && c.Status != completed {
		f.breach("check run %s went from completed to %s", c.ExternalID, c.Status)
	}
	if r.Status == inProgress && c.Status == queued {
		f.breach("check run %s went back to queued", c.ExternalID)
	}
	if r.Status != completed && c.Status == completed {
		r.finals++
	}
	id, annotations := r.ID, append(r.Annotations, c.Annotations[min(c.Sent, len(c.Annotations)):]...)
	r.CheckRun = c
	r.ID, r.Annotations = id, annotations
	r.history = append(r.history, orText(c.Conclusion, c.Status))
	return r
}

func (f *fakeForge) SetStatus(_ context.Context, _ forge.Repo, installation int64, s forge.CommitStatus) error {
	f.begin(installation)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses = append(f.statuses, s)
	return nil
}

// run is a copy of the check run of an execution's attempt; nil if there is
// none. More than one is a breach.
func (f *fakeForge) run(externalID string) *fakeRun {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found *fakeRun
	for _, r := range f.runs {
		if r.ExternalID != externalID {
			continue
		}
		if found != nil {
			f.breach("two check runs %s", externalID)
		}
		found = &fakeRun{CheckRun: r.CheckRun, history: slices.Clone(r.history), finals: r.finals}
	}
	return found
}
