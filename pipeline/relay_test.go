package pipeline_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/queue/queuetest"
	"github.com/slipway-ci/slipway/store"
)

// engine is an orchestrator and a relay over the real store and queue, on an
// in-process Redis.
type engine struct {
	t     *testing.T
	store *store.Store
	jobs  *queue.Jobs
	relay *pipeline.Relay
	orch  *pipeline.Orchestrator

	ahead  time.Duration    // of the relay's clock
	events []pipeline.Event // submitted, and not handled yet
	addErr error
	lostN  []int // how many lost jobs were asked for
}

const lease = time.Second // the queue takes no less

func newEngine(t *testing.T) *engine { return engines(t, 1)[0] }

// engines share one Redis.
func engines(t *testing.T, n int) []*engine {
	rdb := queuetest.New(t)
	var out []*engine
	for range n {
		out = append(out, engineOn(t, func(log *slog.Logger) (*store.Store, *queue.Jobs) {
			return store.New(rdb, store.Options{}, log), queue.NewJobs(rdb, queue.JobsOptions{Lease: lease}, log)
		}))
	}
	return out
}

func engineOn(t *testing.T, open func(*slog.Logger) (*store.Store, *queue.Jobs)) *engine {
	log := slog.New(slog.DiscardHandler)
	e := &engine{t: t}
	e.store, e.jobs = open(log)
	t.Cleanup(func() { _ = e.jobs.Close() })
	now := func() time.Time { return time.Now().Add(e.ahead) }
	e.relay = pipeline.NewRelay(e.store, flakyJobs{e.jobs, e}, e, lease, now, log)
	e.orch = pipeline.NewOrchestrator(e.store, e, e, e.relay, pipeline.Rules{InfrastructureRetries: 1}, time.Now, log)
	return e
}

// flakyJobs is the queue, which fails to add while addErr is set.
type flakyJobs struct {
	*queue.Jobs
	e *engine
}

func (f flakyJobs) Add(ctx context.Context, j pipeline.Job) error {
	if f.e.addErr != nil {
		return f.e.addErr
	}
	return f.Jobs.Add(ctx, j)
}

func (f flakyJobs) Lost(ctx context.Context, n int) ([]pipeline.Job, error) {
	f.e.lostN = append(f.e.lostN, n)
	return f.Jobs.Lost(ctx, n)
}

func (e *engine) Submit(_ context.Context, event pipeline.Event) error {
	e.events = append(e.events, event)
	return nil
}

// handle gives the engine what was submitted, each event twice, as the inbox
// may.
func (e *engine) handle() {
	e.t.Helper()
	for len(e.events) > 0 {
		event := e.events[0]
		e.events = e.events[1:]
		for range 2 {
			if err := e.orch.Event(e.t.Context(), event); err != nil {
				e.t.Fatal(err)
			}
		}
	}
}

func (e *engine) Event(_ context.Context, d pipeline.Delivery) (forge.Event, error) {
	return forge.Event{
		Forge: "github", Delivery: d.ID, Kind: forge.Push, Name: "push", Repo: forge.Repo{Forge: "github", ID: "1", Owner: "octo", Name: "web"},
		Push: &forge.PushEvent{Ref: "refs/heads/main", After: "abcdef0123456789"},
	}, nil
}

func (e *engine) Changed(context.Context, forge.Event) (forge.Changes, error) {
	return forge.Changes{}, nil
}

func (e *engine) OpenPull(context.Context, forge.Event, string) (int, bool, error) {
	return 0, false, nil
}

func (e *engine) Pipelines(context.Context, forge.Repo, pipeline.Trigger) ([]pipeline.Definition, string, error) {
	return []pipeline.Definition{{Project: "octo-web", Pipeline: pipeline.Pipeline{
		Name: "default", Mode: pipeline.ParallelMode,
		Stages: []pipeline.Stage{
			{Name: "Source", Actions: []pipeline.Action{pipeline.SourceAction()}},
			{Name: "Build", Actions: []pipeline.Action{{Name: "Build", Category: pipeline.BuildCat, Provider: "CodeBuild", RunOrder: 1, Timeout: time.Hour}}},
		},
	}}}, "", nil
}

func (e *engine) push(id string) string {
	e.t.Helper()
	d, err := e.orch.Delivery(e.t.Context(), pipeline.Delivery{V: 1, Forge: "github", ID: id})
	if err != nil || len(d.Executions) != 1 {
		e.t.Fatalf("got %+v, %v", d, err)
	}
	return d.Executions[0]
}

func (e *engine) execution(id string) pipeline.Execution {
	e.t.Helper()
	x, err := e.store.Execution(e.t.Context(), id)
	if err != nil {
		e.t.Fatal(err)
	}
	return x
}

var worker = pipeline.Worker{ID: "w", Name: "w", Kind: pipeline.BuildJob, Classes: []string{pipeline.ClassOf(pipeline.BuildJob, "", "")}, Slots: 1}

func (e *engine) claim() (pipeline.Job, bool) {
	e.t.Helper()
	j, err := e.jobs.Claim(e.t.Context(), worker, 50*time.Millisecond)
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		e.t.Fatal(err)
	}
	return j, err == nil
}

// A server that dies between the commit and its effects leaves them to the
// sweep of another.
func TestSweepHealsACrash(t *testing.T) {
	e := newEngine(t)
	e.addErr = errors.New("killed")
	x := e.push("d1")
	if _, ok := e.claim(); ok {
		t.Fatal("the job was added although its effect failed")
	}
	e.addErr = nil
	found := false
	for end := time.Now().Add(10 * time.Second); !found && time.Now().Before(end); { // a Board is left to its own server for two seconds
		if err := e.relay.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		n, err := e.jobs.Waiting(t.Context(), worker.Classes[0])
		found = err == nil && n.Waiting == 1
	}
	if j, ok := e.claim(); !ok || j.Execution != x {
		t.Errorf("got %+v, %v", j, ok)
	}
	if _, ok := e.claim(); ok {
		t.Error("the job was added twice")
	}
}

// An effect that can't be carried out holds back nothing but its own
// execution's jobs: lists, reports and timers go on, and so do others.
func TestFailingEffectHoldsUpNobody(t *testing.T) {
	e := newEngine(t)
	e.addErr = errors.New("no room")
	bad := e.push("d1")
	board := e.execution(bad).Board
	if err := e.relay.Relay(t.Context(), board); !errors.Is(err, e.addErr) {
		t.Errorf("got %v, want the effect's error", err)
	}
	page, err := e.store.Executions(t.Context(), pipeline.Query{})
	if err != nil || len(page.Items) != 1 {
		t.Errorf("listed: %+v, %v", page.Items, err)
	}
	due, err := e.store.DueTimers(t.Context(), time.Now().Add(24*time.Hour), 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("timers: %+v, %v: without one the execution would never end", due, err)
	}
	left, err := e.store.Outbox(t.Context(), board, 10)
	if err != nil || len(left) != 1 || left[0].Effect.Type != pipeline.AddJob {
		t.Errorf("left in the outbox: %+v, %v", left, err)
	}
	if err := e.orch.Event(t.Context(), due[0]); err != nil {
		t.Fatal(err)
	}
	if got := e.execution(bad); got.Status != pipeline.Failed {
		t.Errorf("status %s, want the execution ended by its timer", got.Status)
	}
	left, _ = e.store.Outbox(t.Context(), board, 10)
	order := []pipeline.EffectType{}
	for _, l := range left {
		order = append(order, l.Effect.Type)
	}
	if !slices.Equal(order, []pipeline.EffectType{pipeline.AddJob, pipeline.CancelJob}) {
		t.Errorf("left: %v, want the job's effects in their order", order)
	}
	e.addErr = nil
	if err := e.relay.Relay(t.Context(), board); err != nil {
		t.Fatal(err)
	}
	if j, ok := e.claim(); ok {
		t.Errorf("a job of an execution that has ended was given out: %+v", j)
	}
}

// once calls look and lets the engine handle what came of it.
func (e *engine) once(look func(context.Context) error) {
	e.t.Helper()
	if err := look(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	e.handle()
}

func TestTimersFire(t *testing.T) {
	e := newEngine(t)
	x := e.push("d1")
	e.once(e.relay.FireTimers)
	if got := e.execution(x); got.Status != pipeline.InProgress {
		t.Fatalf("a timer fired early: %s", got.Status)
	}
	e.ahead = 9 * time.Hour
	e.once(e.relay.FireTimers)
	got := e.execution(x)
	if got.Status != pipeline.Failed || got.Stage("Build").Action("Build").Error.Code != pipeline.TimedOut {
		t.Errorf("got %s: %s", got.Status, got.Reason)
	}
	if _, ok := e.claim(); ok {
		t.Error("the job that nobody took in time is still there")
	}
	if due, err := e.store.DueTimers(t.Context(), time.Now().Add(99*time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("timers left: %+v, %v", due, err)
	}
}

// A lost worker's attempt is followed by another one; one too many ends the
// execution.
func TestLostJobs(t *testing.T) {
	e := newEngine(t)
	x := e.push("d1")
	e.once(e.relay.FindLost)
	e.ahead = lease
	for attempt := 1; attempt <= 2; attempt++ {
		j, ok := e.claim()
		if !ok || j.Attempt != attempt {
			t.Fatalf("attempt %d: claimed %+v, %v", attempt, j, ok)
		}
		e.untilLost()
		if err := e.jobs.Check(t.Context(), j.Ref()); !errors.Is(err, pipeline.ErrStale) {
			t.Errorf("the lost worker still holds the job: %v", err)
		}
	}
	if got := e.execution(x); got.Status != pipeline.Failed || got.Stage("Build").Action("Build").Error.Code != pipeline.RunnerLost {
		t.Errorf("got %s: %s", got.Status, got.Reason)
	}
}

func (e *engine) untilLost() {
	e.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if err := e.relay.FindLost(e.t.Context()); err != nil {
			e.t.Fatal(err)
		}
		if len(e.events) > 0 {
			e.handle()
			return
		}
	}
	e.t.Fatal("the job was never found lost")
}

// After a break of ours, workers that couldn't reach us get the length of a
// lease before their jobs are taken from them.
func TestOurOwnAbsenceLosesNoJob(t *testing.T) {
	e := newEngine(t)
	e.push("d1")
	j, ok := e.claim()
	if !ok {
		t.Fatal("nothing to claim")
	}
	<-time.After(lease + 100*time.Millisecond) // the server is away for longer than the lease
	e.once(e.relay.FindLost)
	if _, err := e.jobs.Renew(t.Context(), j.Ref()); err != nil {
		t.Errorf("a worker that is back in time lost its job: %v", err)
	}
	e.ahead = lease
	e.once(e.relay.FindLost)
	if err := e.jobs.Check(t.Context(), j.Ref()); err != nil {
		t.Errorf("its job was taken although it has renewed it: %v", err)
	}
}

// Two servers that handle the same events at the same time agree on one
// outcome.
func TestTwoServers(t *testing.T) {
	both := engines(t, 2)
	one, two := both[0], both[1]
	done := make(chan string, 20)
	for i := range 20 {
		e := []*engine{one, two}[i%2]
		go func() {
			d, err := e.orch.Delivery(t.Context(), pipeline.Delivery{V: 1, Forge: "github", ID: "d" + string(rune('a'+i/2))})
			if err != nil || len(d.Executions) != 1 {
				t.Errorf("got %+v, %v", d, err)
				done <- ""
				return
			}
			done <- d.Executions[0]
		}()
	}
	ids := map[string]bool{}
	for range 20 {
		ids[<-done] = true
	}
	if len(ids) != 10 {
		t.Errorf("10 deliveries, each handled by two servers, became %d executions", len(ids))
	}
	numbers := map[int]bool{}
	for id := range ids {
		numbers[one.execution(id).Number] = true
	}
	if len(numbers) != 10 {
		t.Errorf("the executions share numbers: %v", numbers)
	}
	jobs := map[string]bool{}
	for {
		j, ok := two.claim()
		if !ok {
			break
		}
		if jobs[j.ID] {
			t.Errorf("job %s was given out twice", j.ID)
		}
		jobs[j.ID] = true
	}
	if len(jobs) != 10 {
		t.Errorf("got %d jobs, want 10", len(jobs))
	}
}
