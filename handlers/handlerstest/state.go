// Package handlerstest stands in for the rest of Slipway behind package
// handlers: everything that its interfaces ask for, kept in memory, and asked
// afterwards what happened.
package handlerstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/pipeline"
)

// State is all that the fakes remember. Its methods are safe for concurrent
// use. It is, all in one, the inbox, the readers, the events and the Control
// that a handlers.Server wants.
type State struct {
	gated      *releases // what AddGated drives
	ballot     *releases // what AddBallot drives
	tallied    int       // how many events it has seen
	mu         sync.Mutex
	changed    *sync.Cond
	down       error
	seen       map[string]int // deliveries by forge/ID: attempts
	ledger     []pipeline.Delivery
	queued     []string
	bodies     map[string][]byte
	executions []pipeline.Execution
	boards     map[string]*pipeline.Board
	reports    []pipeline.ReportGroup // one for each report, the newest first
	builds     map[string]pipeline.Build
	logs       map[string]*logText
	artifacts  map[string][]byte
	events     []pipeline.Event
	dead       []handlers.DeadLetter
	jobs       []pipeline.Assignment
	held       map[string]pipeline.JobRef
	stopping   map[string]string
	outcomes   map[string]pipeline.Outcome
	workers    map[string]handlers.Worker
	accounts   accounts
}

type logText struct {
	text   []byte
	lines  []int64 // where each line begins
	sealed bool
}

// NewState is an empty State.
func NewState() *State {
	s := &State{
		seen: map[string]int{}, bodies: map[string][]byte{}, boards: map[string]*pipeline.Board{}, builds: map[string]pipeline.Build{}, logs: map[string]*logText{},
		artifacts: map[string][]byte{}, held: map[string]pipeline.JobRef{}, stopping: map[string]string{},
		outcomes: map[string]pipeline.Outcome{}, workers: map[string]handlers.Worker{}, accounts: newAccounts(),
	}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// change runs do under the lock and wakes whoever waits.
func (s *State) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	s.changed.Broadcast()
}

// await waits until ready says so, or ctx is over.
func (s *State) await(ctx context.Context, ready func() bool) error {
	defer context.AfterFunc(ctx, func() { s.change(func() {}) })()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ready() && ctx.Err() == nil {
		s.changed.Wait()
	}
	if ready() {
		return nil
	}
	return ctx.Err()
}

// GoDown makes every write fail with err, as without Redis; nil brings it back.
func (s *State) GoDown(err error) { s.change(func() { s.down = err }) }

// Receive records and queues a delivery once.
func (s *State) Receive(_ context.Context, d pipeline.Delivery) (fresh bool, err error) {
	s.change(func() {
		if err = s.down; err != nil {
			return
		}
		key := d.Forge + "/" + d.ID
		if _, known := s.seen[key]; known {
			return
		}
		fresh = true
		s.seen[key] = 0
		d.Body = bytes.Clone(d.Body)
		s.ledger = append(s.ledger, d)
		if d.Decision == "" {
			s.queued = append(s.queued, key)
		}
	})
	return fresh, err
}

// Refuse records a delivery that was turned away.
func (s *State) Refuse(_ context.Context, d pipeline.Delivery) (err error) {
	s.change(func() {
		if err = s.down; err == nil {
			s.ledger = append(s.ledger, d)
		}
	})
	return err
}

// PutBody keeps a large body.
func (s *State) PutBody(_ context.Context, key string, body []byte) (err error) {
	s.change(func() {
		if err = s.down; err == nil {
			s.bodies[key] = bytes.Clone(body)
		}
	})
	return err
}

// Ledger is every delivery recorded, the oldest first.
func (s *State) Ledger() []pipeline.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ledger)
}

// Queued is forge/ID of every delivery that was queued, in order.
func (s *State) Queued() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queued)
}

// Body is a large body by its key.
func (s *State) Body(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, ok := s.bodies[key]
	if !ok {
		return nil, pipeline.ErrNotFound
	}
	return body, nil
}

// Deliveries lists the newest first. A page's token is an index.
func (s *State) Deliveries(_ context.Context, forge string, limit int, after string) (pipeline.Page[pipeline.Delivery], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []pipeline.Delivery
	for _, d := range slices.Backward(s.ledger) {
		if forge == "" || d.Forge == forge {
			all = append(all, d)
		}
	}
	return cut(all, limit, after), nil
}

func cut[T any](all []T, limit int, after string) pipeline.Page[T] {
	if limit == 0 {
		limit = 50
	}
	from, _ := strconv.Atoi(after) // no token: the first page
	from = min(from, len(all))
	to := min(from+limit, len(all))
	page := pipeline.Page[T]{Items: all[from:to]}
	if to < len(all) {
		page.Next = strconv.Itoa(to)
	}
	return page
}

// Delivery finds one.
func (s *State) Delivery(_ context.Context, forge, id string) (pipeline.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.ledger {
		if d.Forge == forge && d.ID == id {
			return d, nil
		}
	}
	return pipeline.Delivery{}, pipeline.ErrNotFound
}

// Replay queues a delivery again.
func (s *State) Replay(_ context.Context, forge, id, _ string) (attempt int, err error) {
	s.change(func() {
		key := forge + "/" + id
		if _, known := s.seen[key]; !known {
			err = pipeline.ErrNotFound
			return
		}
		s.seen[key]++
		attempt = s.seen[key]
		s.queued = append(s.queued, key)
	})
	return attempt, err
}

// AddExecution adds an execution or replaces the one with its ID.
func (s *State) AddExecution(x pipeline.Execution) {
	s.change(func() {
		if i := slices.IndexFunc(s.executions, func(o pipeline.Execution) bool { return o.ID == x.ID }); i >= 0 {
			s.executions[i] = x
			return
		}
		s.executions = append(s.executions, x)
	})
}

// Executions lists the newest first.
func (s *State) Executions(_ context.Context, q pipeline.Query) (pipeline.Page[pipeline.Summary], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []pipeline.Summary
	for _, x := range slices.Backward(s.executions) {
		if (q.Forge == "" || x.Repo.Forge == q.Forge) && (q.Repo == "" || x.Repo.FullName() == q.Repo) &&
			(q.SHA == "" || x.Trigger.SHA == q.SHA) && (q.Status == "" || x.Status == q.Status) && (q.PipelineID == "" || x.Board == q.PipelineID) {
			all = append(all, x.Summary())
		}
	}
	return cut(all, q.Limit, q.After), nil
}

// Execution finds one.
func (s *State) Execution(_ context.Context, id string) (pipeline.Execution, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.executions {
		if x.ID == id {
			return x, nil
		}
	}
	return pipeline.Execution{}, pipeline.ErrNotFound
}

// AddBuild adds a build or replaces the one with its ID.
func (s *State) AddBuild(b pipeline.Build) { s.change(func() { s.builds[b.ID] = b }) }

// Build finds one.
func (s *State) Build(_ context.Context, id string) (pipeline.Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.builds[id]
	if !ok {
		return b, pipeline.ErrNotFound
	}
	return b, nil
}

// Submit takes an event; one whose ID is known changes nothing.
func (s *State) Submit(_ context.Context, e pipeline.Event) (err error) {
	s.change(func() {
		if err = s.down; err != nil {
			return
		}
		i := slices.IndexFunc(s.events, func(o pipeline.Event) bool { return o.ID == e.ID })
		switch {
		case i < 0:
			s.events = append(s.events, e)
		case s.events[i].Contents != e.Contents:
			err = pipeline.OtherContents()
		}
	})
	return err
}

// Submitted reports whether an event was submitted.
func (s *State) Submitted(_ context.Context, e pipeline.Event) (bool, error) {
	for _, o := range s.Events() {
		switch {
		case o.ID == e.ID && o.Contents == e.Contents:
			return true, nil
		case o.ID == e.ID:
			return false, pipeline.OtherContents()
		}
	}
	return false, nil
}

// Events is every event submitted.
func (s *State) Events() []pipeline.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// AddDead adds a dead letter.
func (s *State) AddDead(d handlers.DeadLetter) { s.change(func() { s.dead = append(s.dead, d) }) }

// DeadLetters lists the newest first.
func (s *State) DeadLetters(_ context.Context, limit int, after string) (pipeline.Page[handlers.DeadLetter], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.dead)
	slices.Reverse(all)
	return cut(all, limit, after), nil
}

// ReplayDeadLetter takes one out.
func (s *State) ReplayDeadLetter(_ context.Context, id string) (err error) {
	s.change(func() {
		n := len(s.dead)
		s.dead = slices.DeleteFunc(s.dead, func(d handlers.DeadLetter) bool { return d.ID == id })
		if len(s.dead) == n {
			err = pipeline.ErrNotFound
		}
	})
	return err
}

// Workers lists who claimed.
func (s *State) Workers(context.Context) ([]handlers.Worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []handlers.Worker{}
	for _, w := range s.workers {
		out = append(out, w)
	}
	return out, nil
}

// AddArtifact keeps bytes and answers with their digest.
func (s *State) AddArtifact(body []byte) string {
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	s.change(func() { s.artifacts[digest] = bytes.Clone(body) })
	return digest
}

// OpenArtifact opens bytes by digest.
func (s *State) OpenArtifact(_ context.Context, digest string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, ok := s.artifacts[digest]
	if !ok {
		return nil, pipeline.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

// WriteLog appends to the log of a build, and seals it if sealed.
func (s *State) WriteLog(build, text string, sealed bool) {
	s.change(func() {
		l := s.logs[build]
		if l == nil {
			l = &logText{}
			s.logs[build] = l
		}
		for i := range len(text) {
			if at := len(l.text) + i; at == 0 || at > len(l.text) && text[i-1] == '\n' || i == 0 && l.text[at-1] == '\n' {
				l.lines = append(l.lines, int64(at))
			}
		}
		l.text = append(l.text, text...)
		l.sealed = l.sealed || sealed
	})
}

// Stat is a log's length.
func (s *State) Stat(_ context.Context, build string) (size, lines int64, sealed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[build]
	if l == nil {
		return 0, 0, false, pipeline.ErrNotFound
	}
	return int64(len(l.text)), int64(len(l.lines)), l.sealed, nil
}

// ReadAt is a part of a log.
func (s *State) ReadAt(_ context.Context, build string, offset int64, limit int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[build]
	if l == nil {
		return nil, pipeline.ErrNotFound
	}
	offset = min(offset, int64(len(l.text)))
	return bytes.Clone(l.text[offset:min(int64(len(l.text)), offset+int64(limit))]), nil
}

// LineOffset is where a line begins.
func (s *State) LineOffset(_ context.Context, build string, line int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[build]
	switch {
	case l == nil:
		return 0, pipeline.ErrNotFound
	case line > int64(len(l.lines)):
		return int64(len(l.text)), nil
	}
	return l.lines[max(line, 1)-1], nil
}

// Wait waits for growth.
func (s *State) Wait(ctx context.Context, build string, offset int64) error {
	return s.await(ctx, func() bool {
		l := s.logs[build]
		return l != nil && (l.sealed || int64(len(l.text)) > offset)
	})
}
