package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// world is everything around the service, in memory.
type world struct {
	mu         sync.Mutex
	waiting    []pipeline.Job
	held       map[string]int64 // token by job
	renewed    time.Time
	lease      time.Duration
	executions map[string]pipeline.Execution
	builds     map[string]pipeline.Build
	reports    []string
	logs       map[string]string
	sealed     map[string]int64
	blobs      map[string]string
	events     []pipeline.Event
	order      func(ctx context.Context) (*pipeline.BuildOrder, error)
	deploy     *pipeline.DeployOrder
	submitErr  error
}

func newWorld() *world {
	return &world{
		held: map[string]int64{}, lease: 15 * time.Second, builds: map[string]pipeline.Build{}, logs: map[string]string{},
		sealed: map[string]int64{}, blobs: map[string]string{},
		executions: map[string]pipeline.Execution{"x": {
			ID: "x", Project: "octo-web", Repo: forge.Repo{Forge: "github", Owner: "octo", Name: "web"},
			Trigger: pipeline.Trigger{SHA: "abc", Ref: "refs/heads/main", Installation: 7},
			Stages:  []pipeline.StageExecution{{Name: "Build", Actions: []pipeline.ActionExecution{{Name: "Build", Number: 4}}}},
		}},
		order: func(context.Context) (*pipeline.BuildOrder, error) {
			return &pipeline.BuildOrder{Image: "busybox"}, nil
		},
	}
}

func (w *world) service() *Service {
	return New(w, records{w}, logs{w}, artifacts{w}, orders{w}, events{w}, time.Now, slog.New(slog.DiscardHandler))
}

func job(id string, kind pipeline.JobKind) pipeline.Job {
	return pipeline.Job{V: 1, ID: id, Kind: kind, Pipeline: "board", Execution: "x", Stage: "Build", Action: "Build", Attempt: 1}
}

func (w *world) add(j pipeline.Job) { w.waiting = append(w.waiting, j) }

// The queue.

func (w *world) Claim(ctx context.Context, _ pipeline.Worker, wait time.Duration) (pipeline.Job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		w.mu.Lock()
		return pipeline.Job{}, pipeline.ErrNotFound
	}
	j := w.waiting[0]
	w.waiting = w.waiting[1:]
	j.Token = 1
	w.held[j.ID], w.renewed = 1, time.Now()
	return j, nil
}

func (w *world) Check(_ context.Context, ref pipeline.JobRef) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if token, ok := w.held[ref.ID]; !ok || token != ref.Token || time.Since(w.renewed) > w.lease {
		return pipeline.ErrStale
	}
	return nil
}

func (w *world) Renew(ctx context.Context, ref pipeline.JobRef) (pipeline.Renewal, error) {
	if err := w.Check(ctx, ref); err != nil {
		return pipeline.Renewal{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewed = time.Now()
	return pipeline.Renewal{Lease: w.lease}, nil
}

func (w *world) Finish(ctx context.Context, ref pipeline.JobRef) error {
	if err := w.Check(ctx, ref); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held, ref.ID)
	return nil
}

func (w *world) Add(_ context.Context, j pipeline.Job) error { w.add(j); return nil }

func (w *world) Cancel(_ context.Context, ref pipeline.JobRef, _ string) (bool, error) {
	for i, j := range w.waiting {
		if j.ID == ref.ID {
			w.waiting = append(w.waiting[:i:i], w.waiting[i+1:]...)
			return true, nil
		}
	}
	return false, nil
}

func (w *world) Lost(context.Context, int) (lost []pipeline.Job, err error) {
	for id := range w.held {
		lost = append(lost, job(id, pipeline.BuildJob))
	}
	return lost, nil
}
func (w *world) Drop(_ context.Context, ref pipeline.JobRef) error {
	delete(w.held, ref.ID)
	return nil
}

// What the service writes to.

type records struct{ *world }

func (r records) Execution(_ context.Context, id string) (pipeline.Execution, error) {
	x, ok := r.executions[id]
	if !ok {
		return x, pipeline.ErrNotFound
	}
	return x, nil
}

func (r records) Build(_ context.Context, id string) (pipeline.Build, error) {
	b, ok := r.builds[id]
	if !ok {
		return b, pipeline.ErrNotFound
	}
	return b, nil
}

func (r records) SaveBuild(_ context.Context, b pipeline.Build) error { r.builds[b.ID] = b; return nil }

func (r records) MarkReport(_ context.Context, forgeName string, installation int64, execution string) error {
	r.reports = append(r.reports, fmt.Sprint(forgeName, "/", installation, "/", execution))
	return nil
}

type logs struct{ *world }

func (l logs) Append(_ context.Context, build string, _, offset int64, data []byte) (int64, error) {
	l.logs[build] = l.logs[build][:offset] + string(data)
	return int64(len(l.logs[build])), nil
}

func (l logs) Seal(_ context.Context, build string, token int64, _ []pipeline.Phase) error {
	l.sealed[build] = token
	return nil
}

type artifacts struct{ *world }

func (a artifacts) Put(_ context.Context, r io.Reader) (string, int64, error) {
	data, err := io.ReadAll(r)
	digest := "sum-of-" + string(data)
	a.blobs[digest] = string(data)
	return digest, int64(len(data)), err
}

func (a artifacts) Open(_ context.Context, digest string) (io.ReadCloser, error) {
	data, ok := a.blobs[digest]
	if !ok {
		return nil, pipeline.ErrNotFound
	}
	return io.NopCloser(strings.NewReader(data)), nil
}

type orders struct{ *world }

func (o orders) Build(ctx context.Context, _ pipeline.Job, _ pipeline.Execution) (*pipeline.BuildOrder, error) {
	return o.order(ctx)
}

func (o orders) HTTP(context.Context, pipeline.Job, pipeline.Execution) (*pipeline.HTTPOrder, error) {
	return &pipeline.HTTPOrder{}, nil
}

func (o orders) Batch(context.Context, pipeline.Job, pipeline.Execution) (*pipeline.BatchOrder, error) {
	return &pipeline.BatchOrder{}, nil
}

func (o orders) Fetch(context.Context, pipeline.Job, pipeline.Execution) (*pipeline.FetchOrder, error) {
	return &pipeline.FetchOrder{}, nil
}

func (o orders) Deploy(context.Context, pipeline.Job, pipeline.Execution) (*pipeline.DeployOrder, error) {
	return o.deploy, nil
}

type events struct{ *world }

func (e events) Submit(_ context.Context, event pipeline.Event) error {
	if e.submitErr != nil {
		return e.submitErr
	}
	e.world.events = append(e.world.events, event)
	return nil
}

func (w *world) types() []pipeline.EventType {
	var out []pipeline.EventType
	for _, e := range w.events {
		out = append(out, e.Type)
	}
	return out
}

func claim(t *testing.T, s *Service) pipeline.Assignment {
	t.Helper()
	a, err := s.Claim(t.Context(), pipeline.Worker{Name: "w1"}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestClaim(t *testing.T) {
	w := newWorld()
	s := w.service()
	if err := s.Add(t.Context(), job("b", pipeline.BuildJob)); err != nil {
		t.Fatal(err)
	}
	if b := w.builds["b"]; b.Status != pipeline.BuildQueued || b.Number != 4 || b.Project != "octo-web" {
		t.Errorf("a waiting build's record: %+v", b)
	}
	a := claim(t, s)
	if a.Build == nil || a.Job.Token != 1 || a.Lease != w.lease {
		t.Errorf("got %+v", a)
	}
	if b := w.builds["b"]; b.Status != pipeline.BuildInProgress || b.Runner != "w1" || b.Image != "busybox" || b.StartedAt.IsZero() {
		t.Errorf("a claimed build's record: %+v", b)
	}
	if diff := cmp.Diff([]pipeline.EventType{pipeline.JobClaimed}, w.types()); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	if _, err := s.Claim(t.Context(), pipeline.Worker{}, time.Millisecond); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("got %v from an empty queue, want ErrNotFound", err)
	}
}

// A runner can't ask for deployments, nor for what isn't a class.
//
// Attacks: 10.
func TestClaimOfAnotherKind(t *testing.T) {
	for _, class := range []string{"deploy|production|", "*", "", "build", "build|x", "build|}x{|", "build|a|b|c", "build|\r\n|", "build||" + strings.Repeat("x", 300)} {
		w := newWorld()
		w.add(job("d", pipeline.DeployJob))
		_, err := w.service().Claim(t.Context(), pipeline.Worker{Kind: pipeline.BuildJob, Classes: []string{"build||", class}}, time.Millisecond)
		if _, mistake := errors.AsType[*pipeline.UserError](err); !mistake || len(w.held) != 0 {
			t.Errorf("class %.50q: got %v, held %v", class, err, w.held)
		}
	}
	w := newWorld()
	w.add(job("b", pipeline.BuildJob))
	if _, err := w.service().Claim(t.Context(), pipeline.Worker{Kind: pipeline.BuildJob, Classes: []string{"build||", "build|arm,gpu|large"}}, time.Millisecond); err != nil {
		t.Errorf("good classes: %v", err)
	}
}

// Every call of a worker that no longer holds the job is refused and changes
// nothing.
//
// Attacks: 10.
func TestStaleCallsAreRefused(t *testing.T) {
	w := newWorld()
	s := w.service()
	w.add(job("b", pipeline.BuildJob))
	ref := claim(t, s).Job.Ref()
	if _, err := s.AppendLog(t.Context(), ref, 0, []byte("good")); err != nil {
		t.Fatal(err)
	}
	before := w.builds["b"]
	ref.Token++
	calls := map[string]func() error{
		"renew":  func() error { _, err := s.Renew(t.Context(), ref); return err },
		"log":    func() error { _, err := s.AppendLog(t.Context(), ref, 0, []byte("bad")); return err },
		"report": func() error { return s.Report(t.Context(), ref, pipeline.Build{Status: pipeline.BuildFailed}) },
		"put": func() error {
			_, err := s.PutArtifact(t.Context(), ref, pipeline.Artifact{}, strings.NewReader("bad"))
			return err
		},
		"artifact": func() error { _, err := s.Artifact(t.Context(), ref, "sum-of-x"); return err },
		"complete": func() error {
			return s.Complete(t.Context(), ref, pipeline.Build{}, pipeline.Outcome{Status: pipeline.BuildSucceeded})
		},
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, pipeline.ErrStale) {
			t.Errorf("%s: got %v, want ErrStale", name, err)
		}
	}
	if diff := cmp.Diff(before, w.builds["b"]); diff != "" || w.logs["b"] != "good" || len(w.blobs) != 0 || len(w.events) != 1 || len(w.sealed) != 0 {
		t.Errorf("a stale worker changed something: %s log %q blobs %v events %v", diff, w.logs["b"], w.blobs, w.types())
	}
}

func TestOrderThatCannotBeMade(t *testing.T) {
	away := &forge.RetryError{After: time.Second, Err: errors.New("secondary limit")}
	tests := []struct {
		name     string
		err      error
		want     pipeline.EventType
		outcome  *pipeline.Outcome
		reason   string
		atLeast  time.Duration
		succeeds int // the try that succeeds; 0: none
	}{
		{name: "a mistake of the author refuses the job", err: &pipeline.UserError{Msg: "no group \"x\""}, want: pipeline.JobRefused, reason: "no group \"x\""},
		{
			name: "a fault is tried again by the engine", err: errors.New("dial tcp 10.0.0.9:443: refused"), want: pipeline.JobEnded,
			outcome: &pipeline.Outcome{Status: pipeline.BuildFault, Message: "preparing the job failed"},
		},
		{
			name: "a forge that refuses for long", err: away, want: pipeline.JobEnded, atLeast: 30 * time.Second,
			outcome: &pipeline.Outcome{Status: pipeline.BuildFault, Message: "preparing the job failed"},
		},
		{name: "a forge that refuses for a moment", err: away, want: pipeline.JobClaimed, atLeast: 7 * time.Second, succeeds: 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.lease = 2 * time.Second // shorter than the pauses
				s := w.service()
				began, tries := time.Now(), 0
				w.order = func(context.Context) (*pipeline.BuildOrder, error) {
					if tries++; tries == tt.succeeds {
						return &pipeline.BuildOrder{}, nil
					}
					return nil, tt.err
				}
				if err := s.Add(t.Context(), job("b", pipeline.BuildJob)); err != nil {
					t.Fatal(err)
				}
				_, err := s.Claim(t.Context(), pipeline.Worker{}, 5*time.Minute)
				if given := err == nil; given != (tt.succeeds > 0) || err != nil && !errors.Is(err, pipeline.ErrNotFound) {
					t.Errorf("claim: %v", err)
				}
				if time.Since(began) < tt.atLeast {
					t.Errorf("it was given up after %s", time.Since(began))
				}
				if len(w.events) != 1 || w.events[0].Type != tt.want || w.events[0].Reason != tt.reason {
					t.Fatalf("events: %+v", w.events)
				}
				if diff := cmp.Diff(tt.outcome, w.events[0].Outcome); diff != "" {
					t.Errorf("outcome (-want +got)\n%s", diff)
				}
				if tt.succeeds == 0 && (!w.builds["b"].Status.Ended() || len(w.held) != 0) {
					t.Errorf("record %q, held %v: want both closed", w.builds["b"].Status, w.held)
				}
			})
		})
	}
}

// Making a revision of a large repository takes longer than a lease.
func TestLeaseIsKeptWhileTheOrderIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service()
		w.order = func(ctx context.Context) (*pipeline.BuildOrder, error) {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(5 * time.Minute):
			}
			return &pipeline.BuildOrder{}, nil
		}
		w.add(job("b", pipeline.BuildJob))
		a := claim(t, s)
		if err := s.Complete(t.Context(), a.Job.Ref(), pipeline.Build{}, pipeline.Outcome{Status: pipeline.BuildSucceeded}); err != nil {
			t.Errorf("the job isn't ours after a long order: %v", err)
		}
	})
}

// A job that was lost while its order was made is the queue's to report.
func TestJobIsLostWhileTheOrderIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service()
		w.order = func(ctx context.Context) (*pipeline.BuildOrder, error) {
			w.mu.Lock()
			w.held["b"] = 99
			w.mu.Unlock()
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		w.add(job("b", pipeline.BuildJob))
		if _, err := s.Claim(t.Context(), pipeline.Worker{}, time.Minute); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if len(w.events) != 0 {
			t.Errorf("events: %+v", w.events)
		}
	})
}

// A worker that names a foreign artifact as its own can't read it.
//
// Attacks: 10.
func TestArtifactsOfOthers(t *testing.T) {
	w := newWorld()
	w.blobs["sum-of-theirs"], w.blobs["sum-of-input"] = "theirs", "input"
	w.deploy = &pipeline.DeployOrder{Revision: pipeline.Artifact{Name: "BuildArtifact", Digest: "sum-of-input"}}
	s := w.service()
	w.add(job("d", pipeline.DeployJob))
	ref := claim(t, s).Job.Ref()
	if _, err := s.Artifact(t.Context(), ref, "sum-of-theirs"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a foreign artifact: got %v, want ErrNotFound", err)
	}
	claimed := pipeline.Build{Status: pipeline.BuildInProgress, Artifacts: []pipeline.Artifact{{Digest: "sum-of-theirs"}}, Inputs: []pipeline.Artifact{{Digest: "sum-of-theirs"}}}
	if err := s.Report(t.Context(), ref, claimed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Artifact(t.Context(), ref, "sum-of-theirs"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a foreign artifact that the worker claims: got %v, want ErrNotFound", err)
	}
	r, err := s.Artifact(t.Context(), ref, "sum-of-input")
	if err != nil {
		t.Fatalf("its own revision: %v", err)
	}
	if data, _ := io.ReadAll(r); string(data) != "input" {
		t.Errorf("got %q", data)
	}
}

func TestPutArtifactChecksItsDigest(t *testing.T) {
	w := newWorld()
	s := w.service()
	w.add(job("b", pipeline.BuildJob))
	ref := claim(t, s).Job.Ref()
	a, err := s.PutArtifact(t.Context(), ref, pipeline.Artifact{Name: "out"}, strings.NewReader("abc"))
	if err != nil || a.Digest != "sum-of-abc" || a.Bytes != 3 {
		t.Errorf("got %+v, %v", a, err)
	}
	if _, err := s.PutArtifact(t.Context(), ref, a, strings.NewReader("abd")); err == nil {
		t.Error("bytes that changed on the way were taken")
	}
}

// The facts that only the server may say stay as they were.
func TestReportKeepsWhatIsTheServers(t *testing.T) {
	w := newWorld()
	s := w.service()
	w.add(job("b", pipeline.BuildJob))
	ref := claim(t, s).Job.Ref()
	before := w.builds["b"]
	lie := pipeline.Build{
		ID: "other", Execution: "other", Pipeline: "other", Repo: "other/repo", SHA: "0", Number: 99, Runner: "other", Attempt: 9,
		Status: pipeline.BuildInProgress, CurrentPhase: "BUILD", Phases: []pipeline.Phase{{Type: "BUILD"}},
		Reports: []pipeline.Report{{Name: "app-unit", Total: 5}},
	}
	if err := s.Report(t.Context(), ref, lie); err != nil {
		t.Fatal(err)
	}
	want := before
	want.Status, want.CurrentPhase, want.Phases, want.Reports = lie.Status, lie.CurrentPhase, lie.Phases, lie.Reports
	if diff := cmp.Diff(want, w.builds["b"]); diff != "" {
		t.Errorf("record (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"github/7/x"}, w.reports); diff != "" {
		t.Errorf("reports (-want +got)\n%s", diff)
	}
	if len(w.builds) != 1 {
		t.Errorf("builds: %v", w.builds)
	}
}

func TestComplete(t *testing.T) {
	tests := []struct {
		name   string
		build  pipeline.Build
		in     pipeline.Outcome
		status pipeline.BuildStatus
	}{
		{"as the worker says", pipeline.Build{Status: pipeline.BuildFailed}, pipeline.Outcome{Status: pipeline.BuildFailed, Message: "exit 1"}, pipeline.BuildFailed},
		{"without a record", pipeline.Build{}, pipeline.Outcome{Status: pipeline.BuildFault}, pipeline.BuildFault},
		{"without an outcome", pipeline.Build{}, pipeline.Outcome{}, pipeline.BuildFault},
		{"with an outcome that is none", pipeline.Build{}, pipeline.Outcome{Status: pipeline.BuildInProgress}, pipeline.BuildFault},
		{"with a made-up outcome", pipeline.Build{Status: "GREAT"}, pipeline.Outcome{Status: "GREAT"}, pipeline.BuildFault},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			s := w.service()
			w.add(job("b", pipeline.BuildJob))
			ref := claim(t, s).Job.Ref()
			w.submitErr = errors.New("redis is away")
			if err := s.Complete(t.Context(), ref, tt.build, tt.in); err == nil || len(w.held) != 1 {
				t.Fatalf("got %v, held %v: the place must not be freed before the engine has heard", err, w.held)
			}
			w.submitErr = nil
			if err := s.Complete(t.Context(), ref, tt.build, tt.in); err != nil {
				t.Fatal(err)
			}
			e := w.events[len(w.events)-1]
			if e.Type != pipeline.JobEnded || e.Outcome.Status != tt.status || e.Execution != "x" || e.Board != "board" {
				t.Errorf("event: %+v", e)
			}
			if b := w.builds["b"]; b.Status != tt.status {
				t.Errorf("the record says %q, want %q", b.Status, tt.status)
			}
			if len(w.held) != 0 || w.sealed["b"] != 1 {
				t.Errorf("held %v, sealed %v", w.held, w.sealed)
			}
			if err := s.Complete(t.Context(), ref, tt.build, tt.in); !errors.Is(err, pipeline.ErrStale) {
				t.Errorf("a repeat: got %v, want ErrStale", err)
			}
		})
	}
}

func TestRecordsAreClosed(t *testing.T) {
	t.Run("a cancelled job", func(t *testing.T) {
		w := newWorld()
		s := w.service()
		if err := s.Add(t.Context(), job("b", pipeline.BuildJob)); err != nil {
			t.Fatal(err)
		}
		if removed, err := s.Cancel(t.Context(), job("b", pipeline.BuildJob).Ref(), "superseded"); !removed || err != nil {
			t.Fatalf("got %v, %v", removed, err)
		}
		if b := w.builds["b"]; b.Status != pipeline.BuildStopped || b.EndedAt.IsZero() || b.Failure.Message != "superseded" {
			t.Errorf("record: %+v", b)
		}
	})
	t.Run("a lost job says whether it was begun", func(t *testing.T) {
		w := newWorld()
		s := w.service()
		w.add(job("b", pipeline.BuildJob))
		ref := claim(t, s).Job.Ref()
		for _, unbegun := range []bool{true, false} {
			if lost, err := s.Lost(t.Context(), 1); err != nil || len(lost) != 1 || lost[0].Unbegun != unbegun {
				t.Fatalf("got %+v, %v, want unbegun %t", lost, err, unbegun)
			}
			if err := s.Report(t.Context(), ref, pipeline.Build{Status: pipeline.BuildInProgress, Phases: []pipeline.Phase{{Type: "PROVISIONING"}}}); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("a lost job", func(t *testing.T) {
		w := newWorld()
		s := w.service()
		w.add(job("b", pipeline.BuildJob))
		ref := claim(t, s).Job.Ref()
		if err := s.Report(t.Context(), ref, pipeline.Build{Status: pipeline.BuildInProgress, CurrentPhase: "BUILD", Phases: []pipeline.Phase{{Type: "BUILD", StartTime: time.Now()}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Drop(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		b := w.builds["b"]
		if b.Status != pipeline.BuildFault || b.Failure.Code != pipeline.RunnerLost || b.Phases[0].EndTime.IsZero() {
			t.Errorf("record: %+v", b)
		}
	})
	t.Run("one that has ended stays as it is", func(t *testing.T) {
		w := newWorld()
		s := w.service()
		w.builds["b"] = pipeline.Build{ID: "b", Status: pipeline.BuildSucceeded}
		if err := s.Drop(t.Context(), job("b", pipeline.BuildJob).Ref()); err != nil {
			t.Fatal(err)
		}
		if w.builds["b"].Status != pipeline.BuildSucceeded {
			t.Errorf("record: %+v", w.builds["b"])
		}
	})
}

// A repeated effect neither doubles the record nor puts it back to waiting.
func TestAddTwice(t *testing.T) {
	w := newWorld()
	s := w.service()
	for range 2 {
		if err := s.Add(t.Context(), job("b", pipeline.BuildJob)); err != nil {
			t.Fatal(err)
		}
		b := w.builds["b"]
		b.Status = pipeline.BuildInProgress
		w.builds["b"] = b
	}
	if w.builds["b"].Status != pipeline.BuildInProgress {
		t.Errorf("record: %+v", w.builds["b"])
	}
}
