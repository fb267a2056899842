package runnertest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Control is a server with a list of jobs: a fake that remembers what workers
// told it. It is safe for concurrent use.
type Control struct {
	// Lease is what assignments and renewals grant.
	Lease time.Duration

	mu        sync.Mutex
	jobs      chan pipeline.Assignment
	logs      map[string]*bytes.Buffer
	builds    map[string]pipeline.Build
	outcomes  map[string]pipeline.Outcome
	stale     map[string]bool
	stop      map[string]bool
	failing   int
	completed chan string
	marks     []mark
}

// NewControl is a server that grants leases.
func NewControl(lease time.Duration) *Control {
	return &Control{
		Lease: lease, jobs: make(chan pipeline.Assignment, 100), logs: map[string]*bytes.Buffer{}, builds: map[string]pipeline.Build{},
		outcomes: map[string]pipeline.Outcome{}, stale: map[string]bool{}, stop: map[string]bool{}, completed: make(chan string, 100),
	}
}

// Add puts a build into the queue.
func (c *Control) Add(o pipeline.BuildOrder) {
	c.jobs <- pipeline.Assignment{
		Job: pipeline.Job{ID: o.ID, Kind: pipeline.BuildJob, Execution: "e-" + o.ID, Attempt: 1, Token: 1}, Lease: c.Lease, Build: &o,
	}
}

// Completed has the IDs of jobs in the order in which they were completed.
func (c *Control) Completed() <-chan string { return c.completed }

// Stop asks the job's worker to end it.
func (c *Control) Stop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop[id] = true
}

// Revoke makes the job somebody else's.
func (c *Control) Revoke(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale[id] = true
}

// Fail makes the next n calls but claims fail after they took effect: the
// answer is lost.
func (c *Control) Fail(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing = n
}

// Seen is closed once the job's log contains text.
func (c *Control) Seen(id, text string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make(chan struct{})
	c.marks = append(c.marks, mark{text, seen})
	c.check(id)
	return seen
}

func (c *Control) check(id string) {
	log := c.logs[id]
	if log == nil {
		return
	}
	rest := c.marks[:0]
	for _, m := range c.marks {
		if bytes.Contains(log.Bytes(), []byte(m.text)) {
			close(m.seen)
		} else {
			rest = append(rest, m)
		}
	}
	c.marks = rest
}

// Result is what is known of a job.
func (c *Control) Result(id string) (pipeline.Build, pipeline.Outcome, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	log := ""
	if c.logs[id] != nil {
		log = c.logs[id].String()
	}
	return c.builds[id], c.outcomes[id], log
}

// answer is the end of a call: stale, lost, or fine. It is called with the
// lock held.
func (c *Control) answer(ref pipeline.JobRef) error {
	if c.stale[ref.ID] {
		return pipeline.ErrStale
	}
	if c.failing > 0 {
		c.failing--
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Claim waits for a job.
func (c *Control) Claim(ctx context.Context, _ pipeline.Worker, wait time.Duration) (pipeline.Assignment, error) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case a := <-c.jobs:
		return a, nil
	case <-t.C:
		return pipeline.Assignment{}, pipeline.ErrNotFound
	case <-ctx.Done():
		return pipeline.Assignment{}, context.Cause(ctx)
	}
}

// Renew grants the lease again.
func (c *Control) Renew(_ context.Context, ref pipeline.JobRef) (pipeline.Renewal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return pipeline.Renewal{Lease: c.Lease, Stop: c.stop[ref.ID], Reason: "a test"}, c.answer(ref)
}

// AppendLog absorbs repeats.
func (c *Control) AppendLog(_ context.Context, ref pipeline.JobRef, offset int64, data []byte) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stale[ref.ID] {
		return 0, pipeline.ErrStale
	}
	log := c.logs[ref.ID]
	if log == nil {
		log = &bytes.Buffer{}
		c.logs[ref.ID] = log
	}
	if have := int64(log.Len()) - offset; have >= 0 && have < int64(len(data)) {
		log.Write(data[have:])
	}
	c.check(ref.ID)
	return int64(log.Len()), c.answer(ref)
}

// Report keeps the newest state.
func (c *Control) Report(_ context.Context, ref pipeline.JobRef, b pipeline.Build) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stale[ref.ID] {
		c.builds[ref.ID] = b
	}
	return c.answer(ref)
}

// PutArtifact reads and forgets the bytes.
func (c *Control) PutArtifact(_ context.Context, ref pipeline.JobRef, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		return a, err
	}
	a.Bytes, a.Digest = n, "digest"
	c.mu.Lock()
	defer c.mu.Unlock()
	return a, c.answer(ref)
}

// Artifact has none.
func (c *Control) Artifact(context.Context, pipeline.JobRef, string) (io.ReadCloser, error) {
	return nil, pipeline.ErrNotFound
}

// Complete ends the job.
func (c *Control) Complete(_ context.Context, ref pipeline.JobRef, b pipeline.Build, o pipeline.Outcome) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.answer(ref); err != nil {
		return err
	}
	c.builds[ref.ID], c.outcomes[ref.ID] = b, o
	c.completed <- ref.ID
	return nil
}

var _ pipeline.Control = (*Control)(nil)
