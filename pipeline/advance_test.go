package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

var testTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// world drives Advance as store, queue and workers would, and writes down what
// happened in the notation of CodePipeline reference 7.
type world struct {
	t     testing.TB
	b     *Board
	all   map[string]*Execution
	jobs  map[string]Job // given to the queue, not cancelled
	added []string       // every job that was ever added
	trace []string
	n     int
	now   time.Time
	timer []Event
}

func newWorld(t testing.TB) *world {
	repo := forge.Repo{Forge: "github", ID: "1", Owner: "octo", Name: "web"}
	return &world{
		t: t, b: NewBoard("b", repo, "web", "default"), all: map[string]*Execution{},
		jobs: map[string]Job{}, now: testTime,
	}
}

func (w *world) send(e Event) {
	w.n++
	e.ID, e.At, e.Board = fmt.Sprint("e", w.n), w.now, "b"
	before := map[string]*Execution{}
	for id, x := range w.all {
		before[id] = x
	}
	c := Advance(w.b, e, Rules{})
	if c.Wants != "" { // as the orchestrator does
		e.Found = w.all[c.Wants]
		c = Advance(w.b, e, Rules{})
	}
	w.b = c.Board
	for _, x := range c.Touched {
		w.note(before[x.ID], x)
		w.all[x.ID] = x
	}
	for _, f := range c.Effects {
		switch f.Type {
		case AddJob:
			w.jobs[f.Job.ID] = *f.Job
			w.added = append(w.added, f.Job.ID)
		case CancelJob:
			delete(w.jobs, f.Ref.ID)
		case SetTimer:
			w.timer = append(w.timer, *f.Timer)
		case ReportExec, IndexExec:
		}
	}
}

// note writes the changes of one execution as "X1.Build:Succeeded".
func (w *world) note(old, x *Execution) {
	name := fmt.Sprintf("X%d", x.Number)
	for i, st := range x.Stages {
		if x.Target != "" && i < len(x.Stages)-1 {
			continue // another execution's
		}
		for j, a := range st.Actions {
			was := Status("")
			wasAttempt := 0
			if old != nil && j < len(old.Stages[i].Actions) { // else it is a task of a batch that has just begun
				was, wasAttempt = old.Stages[i].Actions[j].Status, old.Stages[i].Actions[j].Attempt
			}
			if a.Status != was || (a.Attempt != wasAttempt && wasAttempt > 0) {
				w.trace = append(w.trace, fmt.Sprintf("%s.%s/%s:%s", name, st.Name, a.Name, a.Status))
			}
		}
		if old == nil && st.Status != "" || old != nil && st.Status != old.Stages[i].Status {
			w.trace = append(w.trace, fmt.Sprintf("%s.%s:%s", name, st.Name, st.Status))
		}
	}
	if old == nil || old.Status != x.Status {
		w.trace = append(w.trace, fmt.Sprintf("%s:%s", name, x.Status))
	}
}

// took is what happened since the last call, without the Source stage.
func (w *world) took() string {
	var out []string
	for _, s := range w.trace {
		if !strings.Contains(s, ".Source") {
			out = append(out, s)
		}
	}
	w.trace = nil
	return strings.Join(out, " ")
}

func (w *world) start(p Pipeline) string {
	id := fmt.Sprint("x", len(w.all)+1)
	w.send(Event{Type: StartRequested, Start: &Start{
		ID: id, Pipeline: p, Repo: w.b.Repo, Project: "web", Trigger: Trigger{SHA: strings.Repeat(fmt.Sprint(len(w.all)%10), 40), Ref: "refs/heads/main"},
	}})
	return id
}

// end lets the running attempt of an action end.
func (w *world) end(x, stage, action string, status BuildStatus) {
	w.t.Helper()
	a := w.all[x].Stage(stage).Action(action)
	if a.Status != InProgress {
		w.t.Fatalf("%s.%s/%s is %q, not running", x, stage, action, a.Status)
	}
	delete(w.jobs, a.Job)
	w.send(Event{Type: JobEnded, Execution: x, Stage: stage, Action: action, Attempt: a.Attempt, Outcome: &Outcome{Status: status}})
}

func build(name string, order int) Action {
	return Action{Name: name, Category: BuildCat, Provider: "CodeBuild", RunOrder: order, Timeout: time.Hour}
}

func stages(mode Mode, rest ...Stage) Pipeline {
	return Pipeline{Name: "default", Mode: mode, Stages: append([]Stage{{Name: "Source", Actions: []Action{SourceAction()}}}, rest...)}
}

// The fixtures of CodePipeline reference 7.
func f1(mode Mode) Pipeline {
	return stages(mode, Stage{Name: "Build", Actions: []Action{build("b", 1)}}, Stage{Name: "Deploy", Actions: []Action{{Name: "d", Category: Deploy, RunOrder: 1}}})
}

func f2(mode Mode) Pipeline {
	return stages(mode, Stage{Name: "Test", Actions: []Action{build("a", 1), build("b", 1), build("c", 5)}}, Stage{Name: "Deploy", Actions: []Action{{Name: "d", Category: Deploy, RunOrder: 1}}})
}

func expect(t *testing.T, w *world, want string) {
	t.Helper()
	if got := w.took(); got != want {
		t.Errorf("(-want +got)\n%s", cmp.Diff(strings.Fields(want), strings.Fields(got)))
	}
}

func TestCase1StraightThrough(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	expect(t, w, "X1.Build/b:InProgress X1.Build:InProgress X1:InProgress")
	w.end(x, "Build", "b", BuildSucceeded)
	expect(t, w, "X1.Build/b:Succeeded X1.Build:Succeeded X1.Deploy/d:InProgress X1.Deploy:InProgress")
	w.end(x, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X1.Deploy/d:Succeeded X1.Deploy:Succeeded X1:Succeeded")
	if len(w.b.Live) != 0 || w.b.Stages["Deploy"].Holder != "" {
		t.Errorf("the Board keeps an ended execution: %v, %+v", w.b.Live, w.b.Stages["Deploy"])
	}
}

func TestCase2RunOrder(t *testing.T) {
	w := newWorld(t)
	x := w.start(f2(SupersededMode))
	w.took()
	w.end(x, "Test", "b", BuildSucceeded)
	expect(t, w, "X1.Test/b:Succeeded")
	w.end(x, "Test", "a", BuildSucceeded)
	expect(t, w, "X1.Test/a:Succeeded X1.Test/c:InProgress")
	w.end(x, "Test", "c", BuildSucceeded)
	expect(t, w, "X1.Test/c:Succeeded X1.Test:Succeeded X1.Deploy/d:InProgress X1.Deploy:InProgress")
}

func TestCase3SiblingsFinish(t *testing.T) {
	w := newWorld(t)
	x := w.start(f2(SupersededMode))
	w.took()
	w.end(x, "Test", "a", BuildFailed)
	expect(t, w, "X1.Test/a:Failed")
	if h := w.b.Stages["Test"].Holder; h != x {
		t.Errorf("lock(Test) = %q, want %q", h, x)
	}
	w.end(x, "Test", "b", BuildSucceeded)
	expect(t, w, "X1.Test/b:Succeeded X1.Test:Failed X1:Failed")
	if h := w.b.Stages["Test"].Holder; h != "" {
		t.Errorf("lock(Test) = %q, want it free", h)
	}
}

func TestCase4And5Superseded(t *testing.T) {
	w := newWorld(t)
	x1 := w.start(f1(SupersededMode))
	w.end(x1, "Build", "b", BuildSucceeded)
	x2 := w.start(f1(SupersededMode))
	w.took()
	w.end(x2, "Build", "b", BuildSucceeded)
	expect(t, w, "X2.Build/b:Succeeded X2.Build:Succeeded")
	x3 := w.start(f1(SupersededMode))
	w.took()
	w.end(x3, "Build", "b", BuildSucceeded)
	expect(t, w, "X3.Build/b:Succeeded X3.Build:Succeeded X2:Superseded")
	w.end(x1, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X1.Deploy/d:Succeeded X1.Deploy:Succeeded X1:Succeeded X3.Deploy/d:InProgress X3.Deploy:InProgress")
	w.send(Event{Type: StopRequested, Execution: x2})
	expect(t, w, "")
}

func TestCase6FailureLetsTheNextIn(t *testing.T) {
	w := newWorld(t)
	x1 := w.start(f1(SupersededMode))
	w.end(x1, "Build", "b", BuildSucceeded)
	x2 := w.start(f1(SupersededMode))
	w.end(x2, "Build", "b", BuildSucceeded)
	w.took()
	w.end(x1, "Deploy", "d", BuildFailed)
	expect(t, w, "X1.Deploy/d:Failed X1.Deploy:Failed X1:Failed X2.Deploy/d:InProgress X2.Deploy:InProgress")
}

func TestCase12StopThenLateResult(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	w.took()
	w.send(Event{Type: StopRequested, Execution: x, By: "ann"})
	expect(t, w, "X1.Build:Stopping X1:Stopping")
	w.end(x, "Build", "b", BuildStopped)
	expect(t, w, "X1.Build/b:Abandoned X1.Build:Stopped X1:Stopped")
	w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: 1, Outcome: &Outcome{Status: BuildSucceeded}})
	expect(t, w, "")
	if got := w.all[x].Reason; got != "stopped by ann" {
		t.Errorf("reason = %q", got)
	}
}

func TestStopIsAbandonedWhenTheWorkerIsSilent(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	w.send(Event{Type: StopRequested, Execution: x})
	w.took()
	for _, e := range w.timer {
		if e.Reason == timerStop {
			w.send(e)
		}
	}
	expect(t, w, "X1.Build/b:Abandoned X1.Build:Stopped X1:Stopped")
}

func TestCase15DisabledTransition(t *testing.T) {
	w := newWorld(t)
	w.send(Event{Type: TransitionFlips, Stage: "Deploy", Reason: "freeze"})
	var last string
	for range 3 {
		last = w.start(f1(SupersededMode))
		w.end(last, "Build", "b", BuildSucceeded)
	}
	if got := w.b.Stages["Deploy"].Inbound; len(got) != 1 || got[0] != last {
		t.Errorf("in(Deploy) = %v, want [%s]", got, last)
	}
	w.took()
	w.send(Event{Type: TransitionFlips, Stage: "Deploy", Enable: true})
	expect(t, w, "X3.Deploy/d:InProgress X3.Deploy:InProgress")
}

func TestCase21Queued(t *testing.T) {
	w := newWorld(t)
	x1 := w.start(f1(QueuedMode))
	w.end(x1, "Build", "b", BuildSucceeded)
	x2 := w.start(f1(QueuedMode))
	w.end(x2, "Build", "b", BuildSucceeded)
	x3 := w.start(f1(QueuedMode))
	w.end(x3, "Build", "b", BuildSucceeded)
	if diff := cmp.Diff([]string{x2, x3}, w.b.Stages["Deploy"].Inbound); diff != "" {
		t.Errorf("in(Deploy) (-want +got)\n%s", diff)
	}
	w.took()
	w.end(x1, "Deploy", "d", BuildFailed)
	expect(t, w, "X1.Deploy/d:Failed X1.Deploy:Failed X1:Failed X2.Deploy/d:InProgress X2.Deploy:InProgress")
	w.end(x2, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X2.Deploy/d:Succeeded X2.Deploy:Succeeded X2:Succeeded X3.Deploy/d:InProgress X3.Deploy:InProgress")
}

func TestCase22Parallel(t *testing.T) {
	w := newWorld(t)
	x1, x2 := w.start(f1(ParallelMode)), w.start(f1(ParallelMode))
	w.end(x1, "Build", "b", BuildSucceeded)
	w.end(x2, "Build", "b", BuildSucceeded)
	w.took()
	w.end(x1, "Deploy", "d", BuildFailed)
	expect(t, w, "X1.Deploy/d:Failed X1.Deploy:Failed X1:Failed")
	if got := w.all[x2].Stage("Deploy").Status; got != InProgress {
		t.Errorf("X2 Deploy is %s, want InProgress", got)
	}
}

// One execution too many of a queued or parallel pipeline is refused, and so is the
// retry of one that ended; superseded and implied ones know no such number.
func TestExecutionsAreLimited(t *testing.T) {
	tests := []struct {
		name  string
		p     Pipeline
		most  int
		limit bool
	}{
		{"queued", f1(QueuedMode), 50, true},
		{"parallel", f1(ParallelMode), 50, true},
		{"set by the server", func() Pipeline { p := f1(ParallelMode); p.MaxExecutions = 3; return p }(), 3, true},
		{"superseded", f1(SupersededMode), 50, false},
		{"implied", func() Pipeline { p := f1(QueuedMode); p.Implied = true; return p }(), 50, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			ended := w.start(tt.p)
			w.end(ended, "Build", "b", BuildFailed)
			for range tt.most {
				w.start(tt.p)
			}
			over := w.all[w.start(tt.p)]
			if got := over.Status == Failed && strings.HasPrefix(over.Reason, itoa(tt.most)+" executions"); got != tt.limit {
				t.Errorf("one more is %s: %s", over.Status, over.Reason)
			}
			if tt.p.Mode == ParallelMode {
				w.refused(w.retry(ended, "Build", FailedActions), TooManyExecutions)
			}
		})
	}
}

// Case 33, as design.md section 9 overrides it: a lost attempt is followed by
// the next one by itself, up to the limit; then the action fails as a fault.
func TestCase33LostRunner(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	number := w.all[x].Stages[1].Actions[0].Number
	w.took()
	lose := func() {
		a := w.all[x].Stage("Build").Action("b")
		w.send(Event{Type: JobLost, Execution: x, Stage: "Build", Action: "b", Attempt: a.Attempt})
	}
	lose()
	expect(t, w, "X1.Build/b:InProgress")
	lose()
	a := w.all[x].Stage("Build").Action("b")
	if a.Attempt != 3 || a.Number != number || len(a.Earlier) != 2 {
		t.Errorf("attempt %d, number %d (was %d), earlier %v", a.Attempt, a.Number, number, a.Earlier)
	}
	w.took()
	lose()
	expect(t, w, "X1.Build/b:Failed X1.Build:Failed X1:Failed")
	a = w.all[x].Stage("Build").Action("b")
	if a.Outcome != BuildFault || a.Error.Code != RunnerLost {
		t.Errorf("outcome %s, error %+v", a.Outcome, a.Error)
	}
}

// An attempt that never reached its worker uses up no retry, but there is an
// end to them as well.
func TestUnbegunAttemptsAreNoRetries(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	lose := func(unbegun bool) {
		a := w.all[x].Stage("Build").Action("b")
		w.send(Event{Type: JobLost, Execution: x, Stage: "Build", Action: "b", Attempt: a.Attempt, Unbegun: unbegun})
	}
	for range unbegunLimit {
		lose(true)
	}
	lose(false)
	lose(true)
	if a := w.all[x].Stage("Build").Action("b"); a.Status != InProgress || a.Attempt != unbegunLimit+3 || a.Lost != 2 {
		t.Errorf("after %d unbegun attempts and two more: %+v", unbegunLimit, a)
	}
	lose(true)
	if a := w.all[x].Stage("Build").Action("b"); a.Status != Failed || a.Error.Code != RunnerLost {
		t.Errorf("it goes on for ever: %+v", a)
	}
}

func TestBrokenDefinitionFailsInSource(t *testing.T) {
	w := newWorld(t)
	w.send(Event{Type: StartRequested, Start: &Start{
		ID: "x1", Pipeline: f1(SupersededMode), Repo: w.b.Repo, Problem: &UserError{Code: "CLIENT_ERROR", Msg: "no commit abc"},
	}})
	x := w.all["x1"]
	if x.Status != Failed || x.Reason != "no commit abc" || len(w.jobs) != 0 {
		t.Errorf("status %s, reason %q, jobs %v", x.Status, x.Reason, w.jobs)
	}
}

func TestGateStartsNothing(t *testing.T) {
	w := newWorld(t)
	w.send(Event{Type: StartRequested, Start: &Start{ID: "x1", Pipeline: f1(SupersededMode), Repo: w.b.Repo, Gate: "a fork"}})
	if len(w.jobs) != 0 || len(w.b.Live) != 0 || w.b.Executions != 0 {
		t.Errorf("jobs %v, live %v, executions %d", w.jobs, w.b.Live, w.b.Executions)
	}
}

func TestClosedPullStopsItsExecutions(t *testing.T) {
	w := newWorld(t)
	pr := forge.PullRequest{Number: 7, HeadSHA: "aaa", HeadRef: "feat", HeadRepoID: "1", BaseRepoID: "1"}
	w.send(Event{Type: StartRequested, Start: &Start{ID: "x1", Pipeline: f1(ParallelMode), Repo: w.b.Repo, Trigger: Trigger{SHA: "aaa", Pull: &pr}}})
	next := pr
	next.HeadSHA = "bbb"
	w.send(Event{Type: StartRequested, Start: &Start{ID: "x2", Pipeline: f1(ParallelMode), Repo: w.b.Repo, Trigger: Trigger{SHA: "bbb", Pull: &next}}})
	if got := w.all["x1"]; got.Status != Stopping || got.Reason != "superseded by bbb" {
		t.Errorf("the old head's execution is %s, %q", got.Status, got.Reason)
	}
	if w.b.Pulls["feat"].Number != 7 {
		t.Errorf("open pull requests: %v", w.b.Pulls)
	}
	w.send(Event{Type: PullChanged, Pull: &next, Reason: "pull request #7 was closed"})
	if got := w.all["x2"].Status; got != Stopping || w.b.Pulls["feat"].Number != 0 {
		t.Errorf("after closing: %s, %v", got, w.b.Pulls)
	}
}

// Forges reference, case 26: the approval of a stranger's commit ends with it.
func TestC26AnApprovedCommitThatIsReplaced(t *testing.T) {
	approved := func(t *testing.T) (*world, forge.PullRequest) {
		w := newWorld(t)
		pr := forge.PullRequest{Number: 7, HeadSHA: "aaa", HeadRef: "main", HeadRepoID: "666", BaseRepoID: "1", UpdatedAt: testTime}
		w.send(Event{Type: StartRequested, Start: &Start{ID: "x1", Pipeline: f1(ParallelMode), Repo: w.b.Repo, Trigger: Trigger{SHA: "aaa", Pull: &pr}}})
		if len(w.b.Pulls) != 0 {
			t.Errorf("a stranger's branch is listed: %v", w.b.Pulls)
		}
		return w, pr
	}
	t.Run("pushed again", func(t *testing.T) {
		w, pr := approved(t)
		pr.HeadSHA, pr.UpdatedAt = "bbb", testTime.Add(time.Minute)
		w.send(Event{Type: StartRequested, Start: &Start{ID: "x2", Pipeline: f1(ParallelMode), Repo: w.b.Repo, Gate: "needs approval", Trigger: Trigger{SHA: "bbb", Pull: &pr}}})
		if got := w.all["x1"]; got.Status != Stopping || got.Reason != "superseded by bbb" {
			t.Errorf("the approved commit's execution is %s, %q", got.Status, got.Reason)
		}
		if got := w.all["x2"]; got.Status != Stopped || got.Reason != "needs approval" {
			t.Errorf("the next commit's remark is %s, %q", got.Status, got.Reason)
		}
	})
	t.Run("heard of late", func(t *testing.T) {
		w, pr := approved(t)
		pr.HeadSHA, pr.UpdatedAt = "000", testTime.Add(-time.Minute)
		w.send(Event{Type: StartRequested, Start: &Start{ID: "x0", Pipeline: f1(ParallelMode), Repo: w.b.Repo, Gate: "needs approval", Trigger: Trigger{SHA: "000", Pull: &pr}}})
		w.send(Event{Type: PullChanged, Pull: &pr, Reason: "pull request #7 was closed"})
		if got := w.all["x1"].Status; got != InProgress || w.all["x0"].Status != Superseded {
			t.Errorf("the approved commit's execution is %s, the older remark %s", got, w.all["x0"].Status)
		}
	})
	t.Run("closed", func(t *testing.T) {
		w, pr := approved(t)
		pr.UpdatedAt = testTime.Add(time.Minute)
		w.send(Event{Type: PullChanged, Pull: &pr, Reason: "pull request #7 was closed"})
		if got := w.all["x1"]; got.Status != Stopping || got.Reason != "pull request #7 was closed" || len(w.b.Pulls) != 0 {
			t.Errorf("it is %s, %q; listed %v", got.Status, got.Reason, w.b.Pulls)
		}
	})
}

// Forges reference 2.4: deliveries arrive in any order.
func TestLatePullEvents(t *testing.T) {
	w := newWorld(t)
	at := func(number int, sha string, after time.Duration) *forge.PullRequest {
		return &forge.PullRequest{
			Number: number, HeadSHA: sha, HeadRef: "feat", HeadRepoID: "1", BaseRepoID: "1", UpdatedAt: testTime.Add(after),
		}
	}
	start := func(id string, pr *forge.PullRequest) {
		w.send(Event{Type: StartRequested, Start: &Start{ID: id, Pipeline: f1(ParallelMode), Repo: w.b.Repo, Trigger: Trigger{SHA: pr.HeadSHA, Pull: pr}}})
	}
	start("new", at(7, "bbb", time.Minute))
	start("old", at(7, "aaa", 0))
	if got := w.all["new"]; got.Status != InProgress {
		t.Errorf("the newer head's execution is %s, %q", got.Status, got.Reason)
	}
	if got := w.all["old"]; got.Status != Superseded || got.Reason != "superseded by bbb" || len(w.jobs) != 1 {
		t.Errorf("the older head's execution is %s, %q, with jobs %v", got.Status, got.Reason, w.jobs)
	}

	draft := at(7, "bbb", 2*time.Minute)
	draft.Draft = true
	w.send(Event{Type: PullChanged, Pull: draft, Reason: "pull request #7 is a draft now"})
	w.send(Event{Type: PullChanged, Pull: at(7, "bbb", time.Minute), PullOpened: true})
	if got := w.b.Pulls["feat"]; got.Number != 0 {
		t.Errorf("an older event opens what is a draft: %v", got)
	}
	w.send(Event{Type: PullChanged, Pull: at(8, "bbb", 3*time.Minute), PullOpened: true})
	if got := w.b.Pulls["feat"]; got.Number != 8 {
		t.Errorf("the branch's next pull request isn't open: %v", got)
	}
	w.send(Event{Type: PullChanged, Pull: at(8, "bbb", 4*time.Minute)})
	w.now = w.now.Add(2 * rememberClosed)
	other := at(9, "ccc", 2*rememberClosed)
	other.HeadRef = "other"
	w.send(Event{Type: PullChanged, Pull: other})
	if len(w.b.Pulls) != 1 {
		t.Errorf("closed pull requests are kept for ever: %v", w.b.Pulls)
	}
}

func TestCase7RetryFailedActions(t *testing.T) {
	w := newWorld(t)
	x := w.start(f2(SupersededMode))
	w.end(x, "Test", "a", BuildSucceeded)
	w.end(x, "Test", "b", BuildFailed)
	w.took()
	w.send(Event{Type: RetryRequested, Execution: x, Stage: "Test", Revive: w.all[x]})
	expect(t, w, "X1.Test/b:InProgress X1.Test:InProgress X1:InProgress")
	if a := w.all[x].Stage("Test").Action("b"); a.Attempt != 2 || len(a.Earlier) != 1 {
		t.Errorf("attempt %d, earlier %v", a.Attempt, a.Earlier)
	}
	w.end(x, "Test", "b", BuildSucceeded)
	expect(t, w, "X1.Test/b:Succeeded X1.Test/c:InProgress")
}

func TestCase6RetryIsRefusedAfterANewerExecution(t *testing.T) {
	w := newWorld(t)
	x1 := w.start(f1(SupersededMode))
	w.end(x1, "Build", "b", BuildFailed)
	x2 := w.start(f1(SupersededMode))
	w.end(x2, "Build", "b", BuildSucceeded)
	w.end(x2, "Deploy", "d", BuildSucceeded)
	w.took()
	w.send(Event{Type: RetryRequested, Execution: x1, Stage: "Build", Revive: w.all[x1]})
	expect(t, w, "")
}
