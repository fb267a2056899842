package pipeline

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

// refused sends what Check refuses, and sees to it that nothing happens.
func (w *world) refused(e Event, code string) {
	w.t.Helper()
	e.Board, e.At = "b", w.now
	var r *Refusal
	if err := Check(w.b, e); !errors.As(err, &r) || r.Code != code {
		w.t.Errorf("%s: got %v, want refusal %s", e.Type, err, code)
	}
	w.took()
	w.send(e)
	if got := w.took(); got != "" {
		w.t.Errorf("%s was refused with %s, and yet: %s", e.Type, code, got)
	}
}

// ask sends what Check lets pass.
func (w *world) ask(e Event) {
	w.t.Helper()
	e.Board, e.At = "b", w.now
	if err := Check(w.b, e); err != nil {
		w.t.Errorf("%s: %v", e.Type, err)
	}
	w.send(e)
}

func (w *world) retry(x, stage string, mode RetryMode) Event {
	return Event{Type: RetryRequested, Execution: x, Stage: stage, Retry: mode, Revive: w.all[x]}
}

func (w *world) answer(x string, token string, yes bool) Event {
	return Event{Type: ApprovalGiven, Execution: x, Stage: "Prod", Action: "ok", Token: token, Enable: yes, By: "ann", Revive: w.all[x]}
}

func (w *world) token(x string) string {
	w.t.Helper()
	list := w.all[x].Waiting()
	if len(list) != 1 {
		w.t.Fatalf("%s waits for %d approvals, want 1", x, len(list))
	}
	return list[0].Token
}

func (w *world) fire(reason string) {
	for _, e := range w.timer {
		if e.Reason == reason {
			w.send(e)
		}
	}
}

func approve(order int) Action {
	return Action{Name: "ok", Category: Approval, Provider: ManualProvider, RunOrder: order}
}

func deploy(name string, order int) Action {
	return Action{Name: name, Category: Deploy, Provider: CodeDeployProvider, RunOrder: order}
}

func f3() Pipeline {
	return stages(SupersededMode, Stage{Name: "Prod", Actions: []Action{approve(1), deploy("d", 2)}})
}

func TestCase5RefusalsAfterSuperseding(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 3 {
		x := w.start(f1(SupersededMode))
		w.end(x, "Build", "b", BuildSucceeded)
		ids = append(ids, x)
	}
	w.refused(w.retry(ids[1], "Deploy", FailedActions), StageNotRetryable)
	w.refused(Event{Type: StopRequested, Execution: ids[1], Revive: w.all[ids[1]]}, PipelineExecutionNotStoppable)
}

func TestCase6RefusalAfterANewerOneEntered(t *testing.T) {
	w := newWorld(t)
	x1 := w.start(f1(SupersededMode))
	w.end(x1, "Build", "b", BuildSucceeded)
	x2 := w.start(f1(SupersededMode))
	w.end(x2, "Build", "b", BuildSucceeded)
	w.end(x1, "Deploy", "d", BuildFailed)
	w.refused(w.retry(x1, "Deploy", FailedActions), NotLatestPipelineExecution)
}

func TestCase8RetryWhileASiblingRuns(t *testing.T) {
	w := newWorld(t)
	x := w.start(f2(SupersededMode))
	w.end(x, "Test", "a", BuildFailed)
	w.took()
	w.ask(w.retry(x, "Test", FailedActions))
	expect(t, w, "X1.Test/a:InProgress")
	w.end(x, "Test", "b", BuildSucceeded)
	expect(t, w, "X1.Test/b:Succeeded")
	w.end(x, "Test", "a", BuildSucceeded)
	expect(t, w, "X1.Test/a:Succeeded X1.Test/c:InProgress")
}

func TestCase9RetryAll(t *testing.T) {
	w := newWorld(t)
	x := w.start(f2(SupersededMode))
	w.end(x, "Test", "a", BuildFailed)
	w.refused(w.retry(x, "Test", AllActions), StageNotRetryable)
	w.end(x, "Test", "b", BuildSucceeded)
	expect(t, w, "X1.Test/b:Succeeded X1.Test:Failed X1:Failed")
	w.ask(w.retry(x, "Test", AllActions))
	expect(t, w, "X1.Test/a:InProgress X1.Test/b:InProgress X1.Test:InProgress X1:InProgress")
	if a := w.all[x].Stage("Test").Action("b"); a.Attempt != 2 || len(a.Artifacts) != 0 {
		t.Errorf("b keeps what it made: %+v", a)
	}
}

func TestCase10NotRetryable(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	w.end(x, "Build", "b", BuildSucceeded)
	w.end(x, "Deploy", "d", BuildSucceeded)
	w.refused(w.retry(x, "Build", FailedActions), StageNotRetryable)

	w = newWorld(t)
	w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Reason: "freeze"})
	x = w.start(f1(SupersededMode))
	w.end(x, "Build", "b", BuildSucceeded)
	w.ask(Event{Type: StopRequested, Execution: x})
	w.refused(w.retry(x, "Deploy", FailedActions), StageNotRetryable)

	w = newWorld(t)
	x = w.start(f1(SupersededMode))
	w.end(x, "Build", "b", BuildFailed)
	w.ask(w.retry(x, "Build", FailedActions))
	w.refused(w.retry(x, "Build", FailedActions), StageNotRetryable)
}

func TestCase11StopAndWait(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	w.took()
	w.ask(Event{Type: StopRequested, Execution: x, Stop: StopWait})
	expect(t, w, "X1.Build:Stopping X1:Stopping")
	if len(w.jobs) != 1 {
		t.Errorf("the running job was cancelled: %v", w.jobs)
	}
	w.refused(Event{Type: StopRequested, Execution: x, Stop: StopWait}, DuplicatedStopRequest)
	w.end(x, "Build", "b", BuildSucceeded)
	expect(t, w, "X1.Build/b:Succeeded X1.Build:Stopped X1:Stopped")
	if h := w.b.Stages["Build"].Holder; h != "" {
		t.Errorf("lock(Build) = %q, want it free", h)
	}
}

func TestCase12And13AbandonThenRetry(t *testing.T) {
	for _, waited := range []bool{true, false} {
		w := newWorld(t)
		x := w.start(f1(SupersededMode))
		if waited {
			w.ask(Event{Type: StopRequested, Execution: x, Stop: StopWait})
		}
		w.took()
		w.ask(Event{Type: StopRequested, Execution: x, Stop: StopAbandon})
		expect(t, w, "X1.Build/b:Abandoned X1.Build:Stopped X1:Stopped")
		if len(w.jobs) != 0 {
			t.Errorf("the abandoned job's worker was not told: %v", w.jobs)
		}
		w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: 1, Outcome: &Outcome{Status: BuildSucceeded}})
		expect(t, w, "")
		w.ask(w.retry(x, "Build", FailedActions))
		expect(t, w, "X1.Build/b:InProgress X1.Build:InProgress X1:InProgress")
		w.end(x, "Build", "b", BuildSucceeded)
		expect(t, w, "X1.Build/b:Succeeded X1.Build:Succeeded X1.Deploy/d:InProgress X1.Deploy:InProgress")
	}
}

func TestCase14StopWhileInbound(t *testing.T) {
	w := newWorld(t)
	w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Reason: "freeze"})
	x := w.start(f1(SupersededMode))
	w.end(x, "Build", "b", BuildSucceeded)
	w.took()
	w.ask(Event{Type: StopRequested, Execution: x, Stop: StopWait})
	expect(t, w, "X1:Stopped")
	w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Enable: true})
	expect(t, w, "")
	w.refused(w.retry(x, "Deploy", FailedActions), StageNotRetryable)
}

func TestCase16DisabledForThirtyDays(t *testing.T) {
	for _, late := range []bool{false, true} { // the timer fires, or is overtaken
		w := newWorld(t)
		w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Reason: "freeze", By: "ann"})
		x := w.start(f1(SupersededMode))
		w.end(x, "Build", "b", BuildSucceeded)
		w.took()
		w.now = w.now.Add(30 * 24 * time.Hour)
		if !late {
			w.fire(timerOpening)
			expect(t, w, "X1:Stopped")
		}
		w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Enable: true})
		if late {
			expect(t, w, "X1:Stopped")
		}
		expect(t, w, "")
		if got := w.all[x].Reason; got != "transition disabled > 30d" {
			t.Errorf("reason = %q", got)
		}
	}
}

func TestTransitionNeedsAReasonAndAStage(t *testing.T) {
	w := newWorld(t)
	w.start(f1(SupersededMode))
	w.refused(Event{Type: TransitionFlips, Stage: "Deploy"}, ValidationException)
	w.refused(Event{Type: TransitionFlips, Stage: "Nope", Reason: "x"}, StageNotFound)
}

func TestCase17Approve(t *testing.T) {
	w := newWorld(t)
	x := w.start(f3())
	expect(t, w, "X1.Prod/ok:InProgress X1.Prod:InProgress X1:InProgress")
	t1 := w.token(x)
	denied := w.answer(x, t1, true)
	denied.Denied = "only the release team may"
	w.refused(denied, PermissionError)
	w.ask(w.answer(x, t1, true))
	expect(t, w, "X1.Prod/ok:Succeeded X1.Prod/d:InProgress")
	w.refused(w.answer(x, t1, true), ApprovalAlreadyCompleted)
	w.refused(w.answer(x, "random", true), InvalidApprovalToken)
	want := map[string]string{"ApprovedBy": "ann", "Comment": "", "ApprovedAt": "2026-05-01T12:00:00Z"}
	if diff := cmp.Diff(want, w.all[x].Stage("Prod").Action("ok").Exported); diff != "" {
		t.Errorf("outputs (-want +got)\n%s", diff)
	}
}

// TestApprovalByTwo wants two people, none of whom is the author.
func TestApprovalByTwo(t *testing.T) {
	w := newWorld(t)
	def := f3()
	ok := &def.Stages[1].Actions[0]
	ok.Quorum, ok.ForbidAuthor = 2, true
	x := w.start(def)
	w.took()
	repo := w.all[x].Repo.Forge
	w.all[x].Trigger.Actor.ID = "1"
	w.b.Live[x].Trigger.Actor.ID = "1"
	vote := func(name, id string, yes bool) Event {
		e := w.answer(x, w.token(x), yes)
		e.By, e.Voter = name, VoterOf(repo, forge.User{ID: id})
		return e
	}
	w.refused(vote("author", "1", true), PermissionError)
	w.refused(vote("a token", "", true), PermissionError)
	w.ask(vote("ann", "2", true))
	expect(t, w, "")
	w.refused(vote("ann", "2", true), PermissionError)
	w.ask(vote("bob", "3", true))
	expect(t, w, "X1.Prod/ok:Succeeded X1.Prod/d:InProgress")
	if by := w.all[x].Stage("Prod").Action("ok").Exported["ApprovedBy"]; by != "ann, bob" {
		t.Errorf("approved by %q", by)
	}
}

// TestRejectionByOne ends an approval that wants two, and the author may say no.
func TestRejectionByOne(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.Stages[1].Actions[0].Quorum, def.Stages[1].Actions[0].ForbidAuthor = 2, true
	x := w.start(def)
	w.took()
	w.ask(w.answer(x, w.token(x), false))
	expect(t, w, "X1.Prod/ok:Failed X1.Prod:Failed X1:Failed")
}

func TestCase18Reject(t *testing.T) {
	w := newWorld(t)
	x := w.start(f3())
	w.took()
	no := w.answer(x, w.token(x), false)
	no.Reason = "not today"
	w.ask(no)
	expect(t, w, "X1.Prod/ok:Failed X1.Prod:Failed X1:Failed")
	if e := w.all[x].Stage("Prod").Action("ok").Error; e.Code != Rejected || e.Message != "rejected by ann: not today" {
		t.Errorf("error %+v", e)
	}
}

// A project's own limit of the time in the queue wins over the rules' (CodeBuild
// reference 1.6).
func TestQueuedTimeoutOfAProject(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{0: 8 * time.Hour, 7 * time.Minute: 7 * time.Minute} {
		w := newWorld(t)
		def := f1(SupersededMode)
		def.Stages[1].Actions[0].QueuedTimeout = limit
		x := w.start(def)
		w.now = w.now.Add(want)
		w.fire(timerQueued)
		if e := w.all[x].Stage("Build").Action("b").Error; e == nil || e.Message != "no worker took the job for "+want.String() {
			t.Errorf("limit %s: error %+v", limit, e)
		}
		for _, timer := range w.timer {
			if timer.Reason == timerQueued && !timer.At.Equal(testTime.Add(want)) {
				t.Errorf("limit %s: the timer is set to %s after the start", limit, timer.At.Sub(testTime))
			}
		}
	}
}

func TestCase19ApprovalExpires(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.Stages[1].Actions[0].Timeout = 5 * time.Minute
	x := w.start(def)
	t1 := w.token(x)
	w.took()
	w.now = w.now.Add(5 * time.Minute)
	w.fire(timerAnswer)
	expect(t, w, "X1.Prod/ok:Failed X1.Prod:Failed X1:Failed")
	if e := w.all[x].Stage("Prod").Action("ok").Error; e.Code != TimedOut {
		t.Errorf("error %+v", e)
	}
	w.refused(w.answer(x, t1, true), InvalidApprovalToken)
}

func TestCase20aApprovalHoldsTheStage(t *testing.T) {
	w := newWorld(t)
	x1, x2 := w.start(f3()), w.start(f3())
	if diff := cmp.Diff([]string{x2}, w.b.Stages["Prod"].Inbound); diff != "" {
		t.Errorf("in(Prod) (-want +got)\n%s", diff)
	}
	w.took()
	x3 := w.start(f3())
	expect(t, w, "X3:InProgress X2:Superseded")
	w.ask(w.answer(x1, w.token(x1), true))
	expect(t, w, "X1.Prod/ok:Succeeded X1.Prod/d:InProgress")
	w.end(x1, "Prod", "d", BuildSucceeded)
	expect(t, w, "X1.Prod/d:Succeeded X1.Prod:Succeeded X1:Succeeded X3.Prod/ok:InProgress X3.Prod:InProgress")
	w.token(x3)
}

func TestCase20bNewerDisplacesApproval(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.SupersedeApprovals = true
	x1 := w.start(def)
	t1 := w.token(x1)
	w.took()
	x2 := w.start(def)
	expect(t, w, "X2.Prod/ok:InProgress X2.Prod:InProgress X2:InProgress X1.Prod/ok:Abandoned X1.Prod:Cancelled X1:Superseded")
	w.refused(w.answer(x1, t1, true), InvalidApprovalToken)
	if w.token(x2) == t1 {
		t.Error("the token is that of another execution's approval")
	}
}

func TestSupersedeApprovalsLeavesWorkAlone(t *testing.T) {
	w := newWorld(t)
	def := f3()
	def.SupersedeApprovals = true
	x1 := w.start(def)
	w.ask(w.answer(x1, w.token(x1), true))
	w.took()
	w.start(def)
	expect(t, w, "X2:InProgress")
}

func TestStopEndsAWaitingApproval(t *testing.T) {
	w := newWorld(t)
	x := w.start(f3())
	t1 := w.token(x)
	w.took()
	w.ask(Event{Type: StopRequested, Execution: x, Stop: StopWait})
	expect(t, w, "X1.Prod/ok:Abandoned X1.Prod:Stopped X1:Stopped")
	w.refused(w.answer(x, t1, true), InvalidApprovalToken)
}

func TestCase22ParallelRetryAndNoRollback(t *testing.T) {
	w := newWorld(t)
	x1, x2 := w.start(f1(ParallelMode)), w.start(f1(ParallelMode))
	for _, x := range []string{x1, x2} {
		w.end(x, "Build", "b", BuildSucceeded)
	}
	w.end(x1, "Deploy", "d", BuildFailed)
	w.took()
	w.ask(w.retry(x1, "Deploy", FailedActions))
	expect(t, w, "X1.Deploy/d:InProgress X1.Deploy:InProgress X1:InProgress")
	w.refused(Event{Type: RollbackWanted, Stage: "Deploy", Target: x2, Found: w.all[x2]}, UnableToRollbackStage)
}

func TestCase27AutomaticRetryOnce(t *testing.T) {
	w := newWorld(t)
	def := f1(SupersededMode)
	def.Stages[1].OnFailure.Retry = FailedActions
	x := w.start(def)
	w.took()
	w.end(x, "Build", "b", BuildFailed)
	expect(t, w, "X1.Build/b:InProgress")
	w.end(x, "Build", "b", BuildFailed)
	expect(t, w, "X1.Build/b:Failed X1.Build:Failed X1:Failed")
	w.ask(w.retry(x, "Build", FailedActions))
	expect(t, w, "X1.Build/b:InProgress X1.Build:InProgress X1:InProgress")
	w.end(x, "Build", "b", BuildFailed)
	expect(t, w, "X1.Build/b:Failed X1.Build:Failed X1:Failed")
	if st := w.all[x].Stage("Build"); st.AutoRetries != 1 || st.ManualRetries != 1 || st.Action("b").Attempt != 3 {
		t.Errorf("auto %d, manual %d, attempt %d", st.AutoRetries, st.ManualRetries, st.Action("b").Attempt)
	}
}

func rollbackF1() Pipeline {
	def := f1(SupersededMode)
	def.Stages[2].OnFailure.Rollback = true
	return def
}

func (w *world) through(def Pipeline, deployed BuildStatus) string {
	x := w.start(def)
	w.end(x, "Build", "b", BuildSucceeded)
	w.took()
	w.end(x, "Deploy", "d", deployed)
	return x
}

func TestCase28RollbackOnFailure(t *testing.T) {
	w := newWorld(t)
	w.through(rollbackF1(), BuildFailed) // (a): nothing to go back to
	expect(t, w, "X1.Deploy/d:Failed X1.Deploy:Failed X1:Failed")

	w = newWorld(t) // (b)
	x1 := w.through(rollbackF1(), BuildSucceeded)
	w.through(rollbackF1(), BuildFailed)
	expect(t, w, "X2.Deploy/d:Failed X2.Deploy:Failed X2:Failed X3.Deploy/d:InProgress X3.Deploy:InProgress X3:InProgress")
	var r *Execution
	for _, x := range w.b.Live {
		r = x
	}
	if r.Target != x1 || r.Trigger.Type != "AutomatedRollback" || r.Trigger.SHA != w.all[x1].Trigger.SHA {
		t.Fatalf("the rollback is %+v", r)
	}
	w.end(r.ID, "Deploy", "d", BuildFailed)
	expect(t, w, "X3.Deploy/d:Failed X3.Deploy:Failed X3:Failed")
}

// A definition that can't be read doesn't change what is known of the pipeline.
func TestBrokenDefinitionLeavesTheBoardAsItIs(t *testing.T) {
	w := newWorld(t)
	w.through(f1(SupersededMode), BuildSucceeded)
	w.send(Event{Type: StartRequested, Start: &Start{ID: "broken", Pipeline: broken(w.b.Repo, nil).Pipeline, Repo: w.b.Repo, Problem: &UserError{Msg: "broken"}}})
	if diff := cmp.Diff([]string{"Source", "Build", "Deploy"}, w.b.Order); diff != "" || w.b.Mode != SupersededMode {
		t.Errorf("mode %s (-want +got)\n%s", w.b.Mode, diff)
	}
}

// Nobody who waits gets between a failure and its rollback.
func TestRollbackTakesTheLock(t *testing.T) {
	w := newWorld(t)
	w.through(rollbackF1(), BuildSucceeded)
	x2 := w.start(rollbackF1())
	w.end(x2, "Build", "b", BuildSucceeded)
	x3 := w.start(rollbackF1())
	w.end(x3, "Build", "b", BuildSucceeded)
	w.took()
	w.end(x2, "Deploy", "d", BuildFailed)
	expect(t, w, "X2.Deploy/d:Failed X2.Deploy:Failed X2:Failed X4.Deploy/d:InProgress X4.Deploy:InProgress X4:InProgress")
	r := w.b.Stages["Deploy"].Holder
	w.end(r, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X4.Deploy/d:Succeeded X4.Deploy:Succeeded X4:Succeeded X3.Deploy/d:InProgress X3.Deploy:InProgress")
}

func TestCase29ManualRollback(t *testing.T) {
	w := newWorld(t)
	def := f1(SupersededMode)
	x1 := w.through(def, BuildSucceeded)
	x2 := w.through(def, BuildFailed)
	back := func(stage, target string) Event {
		return Event{Type: RollbackWanted, Stage: stage, Target: target, Found: w.all[target], By: "ann"}
	}
	w.took()
	w.ask(back("Deploy", x1)) // (a)
	expect(t, w, "X3.Deploy/d:InProgress X3.Deploy:InProgress X3:InProgress")
	r := w.b.Stages["Deploy"].Holder
	w.refused(back("Deploy", x1), UnableToRollbackStage) // (f)
	w.end(r, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X3.Deploy/d:Succeeded X3.Deploy:Succeeded X3:Succeeded")
	if x := w.all[r]; x.Trigger.Type != "ManualRollback" || x.Trigger.Actor.Login != "ann" || x.Target != x1 {
		t.Errorf("the rollback is %+v", x)
	}
	w.refused(back("Deploy", x2), UnableToRollbackStage) // (b)
	w.refused(back("Deploy", r), UnableToRollbackStage)  // (c)
	w.refused(back("Source", x1), UnableToRollbackStage) // (e)
	other := f1(SupersededMode)
	other.Stages[2].Actions = []Action{deploy("d", 7)}
	w.start(other)
	w.refused(back("Deploy", x1), PipelineExecutionOutdated) // (d)
}

func TestCase30Variables(t *testing.T) {
	for _, test := range []struct {
		config, want, err string
	}{
		{"v-#{b.V}", "v-#{variables.X}", ""},
		{"v-#{b.W}", "", "the variable b.W has no value"},
		{"v-#{b.W:-none}", "v-none", ""},
		{"##{b.V} #{variables.X}", "#{b.V} x", ""},
		{"#{app.BranchName}@#{app.CommitId}", "main@0000000000000000000000000000000000000000", ""},
		{"#{codepipeline.PipelineExecutionId} #{slipway.Seq} #{slipway.Name}", "x1 1 default", ""},
		{"#{codepipeline.Nope}", "", "the variable codepipeline.Nope has no value"},
		{"#{later.V}", "", "the variable later.V has no value"},
		{"#{oops", "", `"#{oops" has no closing brace; a plain #{ is written ##{`},
		{"#{oops}", "", "#{oops} is no reference to a variable: want #{namespace.key}; a plain #{ is written ##{"},
	} {
		t.Run(test.config, func(t *testing.T) {
			w := newWorld(t)
			def := f1(SupersededMode)
			def.Variables = []VariableSpec{{Name: "X", Default: "x"}}
			def.Stages[0].Actions[0].Namespace = "app"
			def.Stages[1].Actions[0].Namespace = "b"
			def.Stages[2].Actions[0].Configuration = map[string]string{"K": test.config}
			later := deploy("later", 2)
			later.Namespace = "later"
			def.Stages[2].Actions = append(def.Stages[2].Actions, later)
			x := w.start(def)
			a := w.all[x].Stage("Build").Action("b")
			w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: a.Attempt, Outcome: &Outcome{
				Status: BuildSucceeded, Exported: map[string]string{"V": "#{variables.X}"},
			}})
			d := w.all[x].Stage("Deploy").Action("d")
			if test.err != "" {
				if d.Error == nil || d.Error.Code != ConfigurationError || d.Error.Message != test.err || w.all[x].Status != Failed {
					t.Errorf("%s %+v, want %s: %s", d.Status, d.Error, ConfigurationError, test.err)
				}
				return
			}
			if d.Resolved == nil || d.Resolved.Configuration["K"] != test.want || d.Status != InProgress {
				t.Errorf("resolved %+v, %s; want %q", d.Resolved, d.Status, test.want)
			}
		})
	}
}

func TestRequiredVariable(t *testing.T) {
	w := newWorld(t)
	def := f1(SupersededMode)
	def.Variables = []VariableSpec{{Name: "TICKET", Required: true}}
	x := w.start(def)
	if got := w.all[x]; got.Status != Failed || got.Reason != "the pipeline's variable TICKET has no default, and was given no value" {
		t.Errorf("%s, %q", got.Status, got.Reason)
	}
	w.send(Event{Type: StartRequested, Start: &Start{ID: "y", Pipeline: def, Repo: w.b.Repo, Variables: map[string]string{"TICKET": "T-1"}}})
	if got := w.all["y"]; got.Status != InProgress || got.Variables["TICKET"] != "T-1" {
		t.Errorf("%s, %v", got.Status, got.Variables)
	}
}

func TestOutputsThatAreTooLarge(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	big := map[string]string{"V": string(make([]byte, outputsLimitBytes))}
	w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: 1, Outcome: &Outcome{Status: BuildSucceeded, Exported: big}})
	if e := w.all[x].Stage("Build").Action("b").Error; e == nil || e.Code != OutputVariablesSizeExceeded {
		t.Errorf("error %+v", e)
	}
}

// The artifacts of one action are the inputs of later ones, by the pipeline's
// names for them.
func TestInputs(t *testing.T) {
	bundle, reports := Artifact{Name: BuildArtifact, Digest: "1"}, Artifact{Name: "reports", Digest: "2"}
	for _, test := range []struct {
		name    string
		outputs []string
		made    []Artifact
		inputs  []string
		want    []Input
		err     string // of b, or of d
	}{
		{"one output is the primary artifact", []string{"app"}, []Artifact{bundle}, []string{"app", "src"},
			[]Input{{Name: "app", Artifact: bundle}, {Name: "src", Source: true}}, ""},
		{"a secondary artifact goes by its name", []string{"reports"}, []Artifact{bundle, reports}, []string{"reports"},
			[]Input{{Name: "reports", Artifact: reports}}, ""},
		{"several outputs go by their names", []string{"app", "reports"}, []Artifact{bundle, reports}, nil, nil,
			"the output artifact app was not made: the buildspec has no artifacts, or none of that name"},
		{"an output that is not made", []string{"app"}, nil, nil, nil,
			"the output artifact app was not made: the buildspec has no artifacts, or none of that name"},
		{"an input that nobody makes", nil, nil, []string{"nope"}, nil,
			"the input artifact nope was not made by any action before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			def := f1(SupersededMode)
			def.Stages[0].Actions[0].Outputs = []string{"src"}
			def.Stages[1].Actions[0].Outputs = test.outputs
			def.Stages[2].Actions[0].Inputs = test.inputs
			x := w.start(def)
			w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: 1, Outcome: &Outcome{Status: BuildSucceeded, Artifacts: test.made}})
			if test.err != "" {
				if got := w.all[x].Reason; got != test.err {
					t.Errorf("reason %q, want %q", got, test.err)
				}
				return
			}
			got, err := w.all[x].Inputs("Deploy", "d")
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestJobsOfProviders(t *testing.T) {
	for _, test := range []struct {
		action Action
		want   JobKind
		limit  time.Duration
	}{
		{Action{Category: BuildCat, Provider: CodeBuildProvider}, BuildJob, time.Hour},
		{Action{Category: Test, Provider: CodeBuildProvider, Timeout: time.Minute}, BuildJob, time.Minute},
		{Action{Category: BuildCat, Provider: CommandsProvider}, BuildJob, time.Hour},
		{Action{Category: Deploy, Provider: CodeDeployProvider}, DeployJob, deployTimeout},
		{Action{Category: Invoke, Provider: HTTPProvider}, HTTPJob, requestTimeout},
		{Action{Category: Source, Provider: RepositoryProvider}, SourceJob, fetchTimeout},
		{Action{Category: Source, Provider: S3Provider}, SourceJob, fetchTimeout},
		{Action{Category: Invoke, Provider: "Lambda"}, "", 0},
	} {
		t.Run(fmt.Sprint(test.action.Category, test.action.Provider), func(t *testing.T) {
			w := newWorld(t)
			test.action.Name, test.action.RunOrder = "it", 1
			x := w.start(stages(SupersededMode, Stage{Name: "Do", Actions: []Action{test.action}}))
			if test.want == "" {
				if e := w.all[x].Stage("Do").Action("it").Error; e == nil || e.Code != ConfigurationError {
					t.Errorf("error %+v", e)
				}
				return
			}
			for _, j := range w.jobs {
				if j.Kind != test.want || j.Timeout != test.limit {
					t.Errorf("kind %s, time limit %s", j.Kind, j.Timeout)
				}
			}
			if len(w.jobs) != 1 {
				t.Errorf("jobs %v", w.jobs)
			}
		})
	}
}
