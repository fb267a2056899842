package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// fakeTarget keeps what it was sent, and fails as its script says.
type fakeTarget struct {
	mu      sync.Mutex
	got     []Message
	threads []string
	at      []time.Time
	script  []error // nil: it works
	always  error   // after the script
}

func (f *fakeTarget) Send(_ context.Context, m Message, thread string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = append(f.at, time.Now())
	err := f.always
	if len(f.script) > 0 {
		err, f.script = f.script[0], f.script[1:]
	}
	if err != nil {
		return "", err
	}
	f.got, f.threads = append(f.got, m), append(f.threads, thread)
	return "thread-of-" + m.Execution, nil
}

// events are what a target was sent of an execution, as event:subject.
func (f *fakeTarget) events(execution string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, m := range f.got {
		if m.Execution == execution {
			list = append(list, line(m))
		}
	}
	return list
}

func line(m Message) string {
	s := m.Event
	if m.Stage != "" {
		s += " " + m.Stage
	}
	if m.Action != "" {
		s += "/" + m.Action
	}
	return s
}

// Bury keeps dead messages in memory.
func (s *fakeStore) Bury(_ context.Context, d DeadMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = append(s.dead, d)
	return nil
}

// told starts a Target over a store; stop before the bubble ends.
func startTarget(t testing.TB, s *fakeStore, f *fakeTarget, filter Filter) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	target := NewTarget(s, s, s, TargetOptions{Name: "t", Sender: f, Filter: filter, BaseURL: "https://ci.example.com"})
	go func() {
		defer close(ended)
		_ = target.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func settled(t testing.TB, s *fakeStore, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); !s.empty(); <-time.After(time.Second) {
		if time.Now().After(end) {
			t.Fatalf("not everything was told within %s", limit)
		}
	}
}

// failedExecution is an execution whose first build failed, which the engine
// has brought to its end.
func failedExecution(id string) pipeline.Execution {
	x := failed(sample(id), pipeline.BuildFailed, pipeline.JobFailed, "go test failed")
	x.Stages[1].Status, x.Stages[1].StartedAt, x.Stages[1].EndedAt = pipeline.Failed, start, start.Add(62*time.Second)
	return x
}

var everything = Filter{Events: []string{"*"}}

// One look at an execution that has ended tells all that happened, in order.
func TestChangesComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeTarget{}
		defer startTarget(t, s, f, everything)()
		x := failedExecution("x1")
		s.commit(x, failedBuild())
		settled(t, s, time.Minute)
		want := []string{
			"pipeline-execution-started", "stage-execution-started Source", "stage-execution-succeeded Source",
			"stage-execution-started Build", "action-execution-started Build/unit-tests", "action-execution-failed Build/unit-tests",
			"stage-execution-failed Build", "pipeline-execution-failed",
		}
		if diff := cmp.Diff(want, f.events("x1")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		last := f.got[len(f.got)-1]
		if last.Title() != "[FAILED] app #7 · Build/unit-tests" || !strings.Contains(last.Problem, "go test ./...") || last.Took() != "4m31s" || last.Tail[0] != "--- FAIL: TestSum" {
			t.Errorf("the last message says %q, %q after %s, %q", last.Title(), last.Problem, last.Took(), last.Tail)
		}
		if f.threads[0] != "" || f.threads[1] != "thread-of-x1" {
			t.Errorf("threads %q: want the messages of an execution in one", f.threads)
		}
	})
}

// What was told once is not told again, whatever else changes, and a retry is
// told as such.
func TestRetryIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeTarget{}
		defer startTarget(t, s, f, everything)()
		x := failedExecution("x1")
		s.commit(x)
		settled(t, s, time.Minute)
		before := len(f.got)
		s.commit(x) // no news
		settled(t, s, time.Minute)
		x.Status, x.EndedAt, x.Attempt = pipeline.InProgress, time.Time{}, 2
		x = act(x, 1, 0, func(a *pipeline.ActionExecution) {
			*a = pipeline.ActionExecution{Name: a.Name, Attempt: 2, Status: pipeline.InProgress, Job: "b2"}
		})
		x.Stages[1].Status, x.Stages[1].ManualRetries, x.Stages[1].EndedAt = pipeline.InProgress, 1, time.Time{}
		s.commit(x)
		settled(t, s, time.Minute)
		want := []string{"pipeline-execution-resumed", "stage-execution-resumed Build", "action-execution-started Build/unit-tests"}
		if diff := cmp.Diff(want, f.events("x1")[before:]); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// A change is noted when it happens: a target that is down then hears of it
// later, although the execution has gone on since, and in order.
func TestAnOutageLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &forge.RetryError{Err: errors.New("status 500")}
		s, f := newFakeStore(), &fakeTarget{script: []error{down, context.DeadlineExceeded, down}}
		defer startTarget(t, s, f, Filter{Events: []string{"pipeline-execution-*"}})()
		x := failedExecution("x1")
		s.commit(x)
		wait(time.Second)
		x.Status, x.EndedAt, x.Attempt = pipeline.InProgress, time.Time{}, 2
		s.commit(x)
		wait(time.Second)
		s.commit(ended(x, pipeline.Succeeded, ""))
		settled(t, s, time.Hour)
		want := []string{"pipeline-execution-started", "pipeline-execution-failed", "pipeline-execution-resumed", "pipeline-execution-succeeded"}
		if diff := cmp.Diff(want, f.events("x1")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if got := f.at[3].Sub(f.at[0]); got < 62*time.Second || got > 65*time.Second {
			t.Errorf("the fourth try came after %s, want 2s + 10s + 50s", got)
		}
		if len(s.dead) > 0 {
			t.Errorf("dead: %v", s.dead)
		}
	})
}

// C37 for targets: 429 with Retry-After holds all messages back that long, and
// does not count as a try.
func TestRetryAfterIsHeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTarget{}
		for range 7 {
			f.script = append(f.script, &forge.RetryError{After: 30 * time.Second, Err: errors.New("status 429")})
		}
		s := newFakeStore()
		defer startTarget(t, s, f, Filter{})()
		began := time.Now()
		s.commit(failedExecution("x1"))
		settled(t, s, time.Hour)
		if took := time.Since(began); took < 210*time.Second || took > 220*time.Second {
			t.Errorf("it took %s, want 7 times 30s", took)
		}
		if len(f.got) != 1 || len(s.dead) != 0 {
			t.Errorf("%d arrived, %d are dead", len(f.got), len(s.dead))
		}
	})
}

// What is refused is dead at once, and what is never answered after five tries;
// the next message goes on.
func TestDeadMessages(t *testing.T) {
	refusal := fmt.Errorf("%w: status 404", ErrRefused)
	down := errors.New("connection refused")
	for _, tt := range []struct {
		name   string
		script []error
		tries  int
	}{
		{"refused", []error{refusal}, 1},
		{"unreachable", []error{down, down, down, down, down}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, f := newFakeStore(), &fakeTarget{script: tt.script}
				defer startTarget(t, s, f, Filter{Events: []string{"pipeline-execution-*"}})()
				s.commit(failedExecution("x1"))
				settled(t, s, time.Hour)
				if diff := cmp.Diff([]string{"pipeline-execution-failed"}, f.events("x1")); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				if len(s.dead) != 1 || s.dead[0].Attempts != tt.tries || s.dead[0].Message.Event != "pipeline-execution-started" {
					t.Errorf("dead: %+v", s.dead)
				}
			})
		})
	}
}

// A process that was killed after it sent and before it noted so sends once
// more, with the same ID.
func TestSameIDAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeTarget{}
		x := failedExecution("x1")
		s.commit(x)
		stop := startTarget(t, s, f, Filter{})
		settled(t, s, time.Minute)
		stop()
		s.mu.Lock()
		var st told
		if err := json.Unmarshal(s.states["x1/target:t"], &st); err != nil {
			t.Fatal(err)
		}
		st.Waiting = []Message{f.got[0]} // as it was stored before the send
		s.states["x1/target:t"], _ = json.Marshal(st)
		s.mu.Unlock()
		s.commit(x)
		stop = startTarget(t, s, f, Filter{})
		settled(t, s, time.Minute)
		stop()
		if len(f.got) != 2 || f.got[0].ID != f.got[1].ID {
			t.Errorf("%d messages: %v", len(f.got), f.got)
		}
	})
}

// A broken target holds up neither another target nor the forge's reports.
func TestABrokenTargetHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, well := newFakeStore(), newFakeStore()
		never := &fakeTarget{always: errors.New("no route to host")}
		f := &fakeTarget{}
		defer startTarget(t, broken, never, Filter{})()
		defer startTarget(t, well, f, Filter{})()
		w := newWorld(t, time.Second)
		defer w.stop()
		for i := range 20 {
			x := failedExecution(fmt.Sprintf("x%d", i))
			broken.commit(x)
			well.commit(x)
			w.store.commit(x)
		}
		settled(t, well, 30*time.Second)
		w.settle(t, time.Minute)
		settled(t, broken, 30*time.Minute)
		if len(f.got) != 20 || len(broken.dead) != 20 {
			t.Errorf("%d arrived, %d are dead", len(f.got), len(broken.dead))
		}
	})
}

func TestFilter(t *testing.T) {
	m := Message{Event: "pipeline-execution-failed", Forge: "github", Repo: "octo/web", Pipeline: "release", Branch: "feature/a"}
	tests := []struct {
		name   string
		filter Filter
		want   bool
	}{
		{"nothing set", Filter{}, true},
		{"AWS's name", Filter{Events: []string{"codepipeline-pipeline-pipeline-execution-failed"}}, true},
		{"another event", Filter{Events: []string{"manual-approval-needed"}}, false},
		{"the owner's repositories", Filter{Repositories: []string{"github/octo/*"}}, true},
		{"all of a forge", Filter{Repositories: []string{"github/**"}}, true},
		{"another forge", Filter{Repositories: []string{"local/**"}}, false},
		{"pipelines", Filter{Pipelines: []string{"rel*"}}, true},
		{"branches", Filter{Branches: []string{"feature/*"}}, true},
		{"a star stops at slashes", Filter{Branches: []string{"*"}}, false},
		{"all must fit", Filter{Branches: []string{"**"}, Pipelines: []string{"default"}}, false},
	}
	for _, tt := range tests {
		if got := tt.filter.selects(m); got != tt.want || tt.filter.Check() != nil {
			t.Errorf("%s: %v, want %v; %v", tt.name, got, tt.want, tt.filter.Check())
		}
	}
	for _, bad := range []Filter{{Events: []string{"pipeline-failed"}}, {Branches: []string{"[a"}}, {Repositories: []string{""}}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// An approval and a deployment have events of their own.
func TestApprovalAndDeployment(t *testing.T) {
	x := sample("x1")
	x = act(x, 1, 0, func(a *pipeline.ActionExecution) { a.Status, a.EndedAt = pipeline.Succeeded, start.Add(time.Minute) })
	x.Stages[1].Status = pipeline.Succeeded
	x.Stages[2].Status, x.Stages[2].StartedAt = pipeline.InProgress, start.Add(2*time.Minute)
	x = act(x, 2, 0, func(a *pipeline.ActionExecution) {
		*a = pipeline.ActionExecution{Name: a.Name, Status: pipeline.Succeeded, Attempt: 1, StartedAt: start.Add(2 * time.Minute), EndedAt: start.Add(3 * time.Minute)}
		a.Approval = &pipeline.ApprovalState{Token: "t-1", Message: "Release?", Expires: start.Add(time.Hour), Approved: true, AnsweredBy: "ann"}
	})
	x = act(x, 2, 1, func(a *pipeline.ActionExecution) {
		*a = pipeline.ActionExecution{Name: a.Name, Status: pipeline.Failed, Attempt: 1, Job: "d-ABC", Kind: pipeline.DeployJob, QueuedAt: start.Add(3 * time.Minute), EndedAt: start.Add(4 * time.Minute),
			Error: &pipeline.ActionError{Code: "HEALTH_CONSTRAINTS", Message: "too many instances failed"}}
	})
	var got []string
	for _, m := range history(x, works(x, nil), "https://ci.example.com") {
		if m.Stage == "Prod" {
			got = append(got, line(m))
		}
		switch m.Event {
		case "manual-approval-needed":
			want := `{"approval":{"actionName":"deploy-prod","approvalReviewLink":"https://ci.example.com/executions/x1","customData":"Release?","expires":"2026-03-01T13:00Z","externalEntityLink":"","pipelineName":"default","stageName":"Prod","token":"t-1"},"consoleLink":"https://ci.example.com/executions/x1","region":"local"}`
			if string(m.Approval) != want {
				t.Errorf("the approval's document is\n%s\nwant\n%s", m.Approval, want)
			}
		case "deployment-failed":
			var d map[string]any
			if err := json.Unmarshal(m.Detail, &d); err != nil || d["eventTriggerName"] != "DeploymentFailure" || d["deploymentId"] != "d-ABC" {
				t.Errorf("the deployment's detail is %s", m.Detail)
			}
		}
	}
	want := []string{
		"stage-execution-started Prod", "action-execution-started Prod/deploy-prod", "manual-approval-needed Prod/deploy-prod",
		"manual-approval-succeeded Prod/deploy-prod", "action-execution-succeeded Prod/deploy-prod",
		"action-execution-started Prod/roll-out", "deployment-started Prod/roll-out",
		"deployment-failed Prod/roll-out", "action-execution-failed Prod/roll-out",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// No secret that the configuration knows gets out in a message.
//
// Attacks: 5.
func TestMessagesAreMasked(t *testing.T) {
	target := NewTarget(nil, nil, nil, TargetOptions{Mask: func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") }})
	m := target.masked(Message{Subject: "set hunter2", Problem: "hunter2?", Tail: []string{"p=hunter2"}, Detail: json.RawMessage(`{"a":"hunter2"}`)})
	data, err := json.Marshal(m)
	if err != nil || strings.Contains(string(data), "hunter2") {
		t.Errorf("%s, %v", data, err)
	}
}

// notify: tells a target of a waiting approval that it did not ask for, and
// keeps to where the server lets it hear from.
func TestApprovalsNameTheirTargets(t *testing.T) {
	x := act(running(sample("x1")), 2, 0, func(a *pipeline.ActionExecution) {
		a.Status, a.Attempt = pipeline.InProgress, 1
		a.Approval = &pipeline.ApprovalState{Token: "t", Message: "Release?"}
	})
	x.Stages[2].Status, x.Stages[2].StartedAt = pipeline.InProgress, start.Add(time.Minute)
	quiet := Filter{Events: []string{"deployment-failed"}}
	tests := []struct {
		name   string
		notify []string
		filter Filter
		want   string
	}{
		{"by address", []string{"slack:#releases"}, quiet, "manual-approval-needed"},
		{"by name", []string{"other", "t"}, quiet, "manual-approval-needed"},
		{"another one", []string{"other"}, quiet, ""},
		{"nobody", nil, quiet, ""},
		{"of a repository that it doesn't hear of", []string{"t"}, Filter{Events: quiet.Events, Repositories: []string{"github/else/*"}}, ""},
		{"asked for anyway, once", []string{"t"}, Filter{Events: []string{"manual-approval-needed"}}, "manual-approval-needed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x.Pipeline.Stages[2].Actions[0].Notify = tt.notify
			target := NewTarget(nil, nil, nil, TargetOptions{Name: "t", Address: "slack:#releases", Filter: tt.filter})
			var got []string
			for _, m := range history(x, works(x, nil), "") {
				if target.o.Filter.selects(m) || target.named(m) {
					got = append(got, m.Event)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("told of %v, want %q", got, tt.want)
			}
		})
	}
}
