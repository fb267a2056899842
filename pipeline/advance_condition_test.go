package pipeline

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func rule(name, provider string, set map[string]string) Action {
	a := Action{Name: name, Category: Rule, Provider: provider, Configuration: set}
	if !strings.HasPrefix(name, "before:") {
		a.RunOrder = afterOrder
	}
	return a
}

func onMain(result ConditionResult) *Condition {
	return &Condition{Result: result, Rules: []Action{rule("before:if", VariableProvider, map[string]string{
		ConfigVariable: "#{Source.BranchName}", ConfigOperator: opEqual, ConfigValue: "main",
	})}}
}

func alarm(hook string) *Condition {
	return &Condition{Result: RollbackResult, Rules: []Action{rule(hook+":alarm", AlarmProvider, map[string]string{ConfigAlarm: "errors"})}}
}

// startOn starts an execution of a branch.
func (w *world) startOn(p Pipeline, branch string) string {
	id := "x" + itoa(len(w.all)+1)
	p.Stages[0].Actions[0].Namespace = "Source"
	w.send(Event{Type: StartRequested, Start: &Start{ID: id, Pipeline: p, Repo: w.b.Repo, Project: "web", Trigger: Trigger{SHA: id, Ref: "refs/heads/" + branch}}})
	return id
}

func (w *world) override(x, stage string, h Hook) Event {
	return Event{Type: OverrideWanted, Execution: x, Stage: stage, Hook: h, By: "ann", Revive: w.all[x]}
}

func (w *world) condition(x, stage string, h Hook) ConditionExecution {
	w.t.Helper()
	c := w.all[x].Stage(stage).Condition(h)
	if c == nil {
		w.t.Fatalf("stage %s of %s has weighed no condition %s", stage, x, h)
	}
	return *c
}

func TestCase23aUpdateCancels(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	p.CancelOnUpdate = true
	w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Reason: "freeze"})
	x0 := w.start(p)
	w.end(x0, "Build", "b", BuildSucceeded)
	x1 := w.start(p)
	w.took()
	next := p
	next.Stages = append(next.Stages[:len(next.Stages):len(next.Stages)], Stage{Name: "Z", Actions: []Action{build("z", 1)}})
	w.start(next)
	if got := w.took(); !strings.Contains(got, "X1:Cancelled") || strings.Contains(got, "X2") {
		t.Errorf("the update: %s", got)
	}
	w.end(x1, "Build", "b", BuildSucceeded)
	if got := w.took(); !strings.HasPrefix(got, "X2.Build/b:Succeeded X2.Build:Cancelled X2:Cancelled") {
		t.Errorf("after it: %s", got)
	}
	w.refused(w.retry(x1, "Build", FailedActions), StageNotRetryable)
	w.refused(w.retry(x0, "Deploy", FailedActions), StageNotRetryable)
}

func TestCase23bUpdateContinues(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Reason: "freeze"})
	x0 := w.start(p)
	w.end(x0, "Build", "b", BuildSucceeded)
	x1 := w.start(p)
	w.took()
	next := p
	next.Stages = append(next.Stages[:len(next.Stages):len(next.Stages)], Stage{Name: "Z", Actions: []Action{build("z", 1)}})
	w.startOn(next, "other") // the update; it waits in front of Build
	w.took()
	w.end(x1, "Build", "b", BuildSucceeded)
	if got := w.took(); !strings.Contains(got, "X2.Build/b:Succeeded X2.Build:Succeeded") || !strings.Contains(got, "X1:Superseded") {
		t.Errorf("ok b: %s", got)
	}
	w.ask(Event{Type: TransitionFlips, Stage: "Deploy", Enable: true})
	expect(t, w, "X2.Deploy/d:InProgress X2.Deploy:InProgress")
	w.end(x1, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X2.Deploy/d:Succeeded X2.Deploy:Succeeded X2:Succeeded")
}

func TestCase24BeforeEntryFails(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	p.Stages[2].BeforeEntry = onMain(FailResult)
	x := w.startOn(p, "dev")
	w.took()
	w.end(x, "Build", "b", BuildSucceeded)
	expect(t, w, "X1.Build/b:Succeeded X1.Build:Succeeded X1.Deploy:Failed X1:Failed")
	if c := w.condition(x, "Deploy", BeforeEntryHook); c.Status != ConditionFailed || !strings.Contains(c.Message, `"dev" == "main" is not so`) {
		t.Errorf("the condition: %+v", c)
	}
	w.refused(w.override(x, "Deploy", OnSuccessHook), ConditionNotOverridable)
	w.refused(w.override(x, "Deploy", "NOPE"), ValidationException)
	denied := w.override(x, "Deploy", BeforeEntryHook)
	denied.Denied = "not you"
	w.refused(denied, PermissionError)
	w.ask(w.override(x, "Deploy", BeforeEntryHook))
	expect(t, w, "X1.Deploy/d:InProgress X1.Deploy:InProgress X1:InProgress")
	if c := w.condition(x, "Deploy", BeforeEntryHook); c.Status != ConditionOverridden || c.OverriddenBy != "ann" {
		t.Errorf("the condition: %+v", c)
	}
	if w.b.Stages["Deploy"].Holder != x || w.all[x].Attempt != 2 {
		t.Errorf("lock(Deploy) = %q, attempt %d", w.b.Stages["Deploy"].Holder, w.all[x].Attempt)
	}
	w.end(x, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X1.Deploy/d:Succeeded X1.Deploy:Succeeded X1:Succeeded")
}

func TestCase24OnlyTheLatestIsOverridden(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	p.Stages[2].BeforeEntry = onMain(FailResult)
	x1 := w.startOn(p, "dev")
	w.end(x1, "Build", "b", BuildSucceeded)
	x2 := w.startOn(p, "main")
	w.end(x2, "Build", "b", BuildSucceeded)
	w.refused(w.override(x1, "Deploy", BeforeEntryHook), NotLatestPipelineExecution)
}

func f4() Pipeline {
	p := f1(SupersededMode)
	p.Stages = append(p.Stages, Stage{Name: "Notify", Actions: []Action{build("n", 1)}})
	return p
}

func TestCase25BeforeEntrySkips(t *testing.T) {
	w := newWorld(t)
	p := f4()
	p.Stages[2].BeforeEntry = onMain(SkipResult)
	x := w.startOn(p, "dev")
	w.took()
	w.end(x, "Build", "b", BuildSucceeded)
	expect(t, w, "X1.Build/b:Succeeded X1.Build:Succeeded X1.Deploy:Skipped X1.Notify/n:InProgress X1.Notify:InProgress")
	w.end(x, "Notify", "n", BuildSucceeded)
	expect(t, w, "X1.Notify/n:Succeeded X1.Notify:Succeeded X1:Succeeded")
	w.refused(w.retry(x, "Deploy", FailedActions), StageNotRetryable)
	w.refused(Event{Type: RollbackWanted, Stage: "Deploy", Target: x, Found: w.all[x]}, UnableToRollbackStage)
	w.refused(w.override(x, "Deploy", BeforeEntryHook), ConditionNotOverridable)
	if h := w.b.Stages["Deploy"].Holder; h != "" {
		t.Errorf("lock(Deploy) = %q", h)
	}
}

func TestCase26OnSuccessRollsBack(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	p.Stages[2].OnSuccess = alarm("on_success")
	x1 := w.start(p)
	w.end(x1, "Build", "b", BuildSucceeded)
	w.end(x1, "Deploy", "d", BuildSucceeded)
	w.end(x1, "Deploy", "on_success:alarm", BuildSucceeded)
	x2 := w.start(p)
	w.end(x2, "Build", "b", BuildSucceeded)
	x3 := w.start(p)
	w.end(x3, "Build", "b", BuildSucceeded)
	w.took()
	w.end(x2, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X2.Deploy/d:Succeeded")
	w.end(x2, "Deploy", "on_success:alarm", BuildFailed)
	expect(t, w, "X2.Deploy:Failed X2:Failed X4.Deploy/d:InProgress X4.Deploy:InProgress X4:InProgress")
	var r *Execution
	for _, x := range w.all {
		if x.Number == 4 {
			r = x
		}
	}
	if r.Target != x1 || r.Trigger.Type != "AutomatedRollback" {
		t.Errorf("the rollback goes back to %q, by %s", r.Target, r.Trigger.Type)
	}
	w.end(r.ID, "Deploy", "d", BuildSucceeded)
	expect(t, w, "X4.Deploy/d:Succeeded X4.Deploy:Succeeded X4:Succeeded X3.Deploy/d:InProgress X3.Deploy:InProgress")
}

func TestOnSuccessOverriddenWhileWeighed(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	p.Stages[2].OnSuccess = alarm("on_success")
	x := w.start(p)
	w.end(x, "Build", "b", BuildSucceeded)
	w.end(x, "Deploy", "d", BuildSucceeded)
	w.took()
	w.ask(w.override(x, "Deploy", OnSuccessHook))
	expect(t, w, "X1.Deploy:Succeeded X1:Succeeded")
	if c := w.condition(x, "Deploy", OnSuccessHook); c.Status != ConditionOverridden || c.Rules[0].Status != Abandoned {
		t.Errorf("the condition: %+v", c)
	}
	if len(w.jobs) != 0 {
		t.Errorf("the rule's job is still there: %v", w.jobs)
	}
}

// CodePipeline reference 3.8: on failure the result is engaged by rules that
// succeed, and a rule that can't be evaluated does not engage it.
func TestOnFailureCondition(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status BuildStatus
		want   string
	}{
		{"met", BuildSucceeded, "X2.Deploy:Failed X2:Failed X3.Deploy/d:InProgress X3.Deploy:InProgress X3:InProgress"},
		{"not met", BuildFailed, "X2.Deploy:Failed X2:Failed"},
		{"errored", BuildTimedOut, "X2.Deploy:Failed X2:Failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			p := f1(SupersededMode)
			p.Stages[2].OnFailure = OnFailure{Rollback: true, When: alarm("on_failure")}
			x1 := w.start(p)
			w.end(x1, "Build", "b", BuildSucceeded)
			w.end(x1, "Deploy", "d", BuildSucceeded)
			x2 := w.start(p)
			w.end(x2, "Build", "b", BuildSucceeded)
			w.end(x2, "Deploy", "d", BuildFailed)
			w.took()
			w.end(x2, "Deploy", "on_failure:alarm", tt.status)
			expect(t, w, tt.want)
		})
	}
}

// A retry of a stage that a condition failed weighs it again, and one that let
// the execution in isn't asked twice.
func TestRetryWeighsAgain(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	p.Stages[2].BeforeEntry = &Condition{Result: FailResult, Rules: []Action{rule("before:alarm", AlarmProvider, nil)}}
	x := w.start(p)
	w.end(x, "Build", "b", BuildSucceeded)
	w.end(x, "Deploy", "before:alarm", BuildFailed)
	w.took()
	w.ask(w.retry(x, "Deploy", FailedActions))
	expect(t, w, "X1.Deploy:InProgress X1:InProgress")
	w.end(x, "Deploy", "before:alarm", BuildSucceeded)
	expect(t, w, "X1.Deploy/d:InProgress")
	w.end(x, "Deploy", "d", BuildFailed)
	w.took()
	w.ask(w.retry(x, "Deploy", AllActions))
	expect(t, w, "X1.Deploy/d:InProgress X1.Deploy:InProgress X1:InProgress")
}

func TestDeploymentWindow(t *testing.T) {
	window := func(set map[string]string) Pipeline {
		p := f1(SupersededMode)
		p.Stages[2].BeforeEntry = &Condition{Result: FailResult, Rules: []Action{rule("before:window", WindowProvider, set)}}
		p.Stages[2].BeforeEntry.Rules[0].Timeout = 12 * time.Hour
		return p
	}
	w := newWorld(t) // at 12:00 UTC
	x := w.start(window(map[string]string{ConfigCron: "* * 14 * * ?", ConfigZone: "Europe/Berlin"}))
	w.took()
	w.end(x, "Build", "b", BuildSucceeded)
	expect(t, w, "X1.Build/b:Succeeded X1.Build:Succeeded X1.Deploy/d:InProgress X1.Deploy:InProgress")

	w = newWorld(t)
	x = w.start(window(map[string]string{ConfigCron: "* * 14 * * ?"}))
	w.end(x, "Build", "b", BuildSucceeded)
	if c := w.condition(x, "Deploy", BeforeEntryHook); c.Status != ConditionFailed || c.Message != "before:window: the window opens at 2026-05-01 14:00 UTC" {
		t.Errorf("the condition: %+v", c)
	}

	w = newWorld(t)
	x = w.start(window(map[string]string{ConfigCron: "* * 14 * * ?", ConfigWait: "true"}))
	w.took()
	w.end(x, "Build", "b", BuildSucceeded)
	expect(t, w, "X1.Build/b:Succeeded X1.Build:Succeeded X1.Deploy:InProgress")
	w.now = w.now.Add(2 * time.Hour)
	w.fire(timerWindow)
	expect(t, w, "X1.Deploy/d:InProgress")

	w = newWorld(t)
	x = w.start(window(map[string]string{ConfigCron: "* * 14 * * ?", ConfigWait: "true"}))
	w.end(x, "Build", "b", BuildSucceeded)
	w.took()
	w.ask(Event{Type: StopRequested, Execution: x})
	if got := w.took(); !strings.HasSuffix(got, "X1.Deploy:Stopped X1:Stopped") {
		t.Errorf("a stop while it waits: %s", got)
	}
}

// An alarm is looked at at once and again until its time is over, and the last
// look has the last word.
func TestAlarmIsWatched(t *testing.T) {
	w, x := watched(t, "3m0s")
	for look := range 4 {
		w.end(x, "Deploy", "on_success:alarm", BuildSucceeded)
		if ended := w.all[x].Status == Succeeded; ended != (look == 3) {
			t.Fatalf("after look %d it is %s", look, w.all[x].Status)
		}
		w.now = w.now.Add(time.Minute)
		w.next(timerLook)
	}
}

// A bad look within the time fails at once.
func TestAlarmRingsWithinItsTime(t *testing.T) {
	w, x := watched(t, "15m0s")
	w.end(x, "Deploy", "on_success:alarm", BuildSucceeded)
	w.now = w.now.Add(time.Minute)
	w.next(timerLook)
	w.took()
	w.end(x, "Deploy", "on_success:alarm", BuildFailed)
	expect(t, w, "X1.Deploy:Failed X1:Failed")
	if c := w.condition(x, "Deploy", OnSuccessHook); c.Status != ConditionFailed {
		t.Errorf("the condition is %s", c.Status)
	}
}

// A long time has no more looks than a short one.
func TestLooksAreBounded(t *testing.T) {
	w, x := watched(t, "168h0m0s")
	n := 0
	for ; w.all[x].Status != Succeeded && n < 100; n++ {
		w.end(x, "Deploy", "on_success:alarm", BuildSucceeded)
		if len(w.timer) > 0 {
			w.now = w.timer[len(w.timer)-1].At
		}
		w.next(timerLook)
	}
	if n != looks+1 {
		t.Errorf("it was looked at %d times, want %d", n, looks+1)
	}
}

// watched is an execution whose deployment has succeeded, and whose alarm is
// looked at.
func watched(t *testing.T, wait string) (*world, string) {
	t.Helper()
	w := newWorld(t)
	p := f1(SupersededMode)
	p.Stages[2].OnSuccess = alarm("on_success")
	p.Stages[2].OnSuccess.Rules[0].Configuration[ConfigWaitTime] = wait
	x := w.start(p)
	w.end(x, "Build", "b", BuildSucceeded)
	jobs := len(w.added)
	w.end(x, "Deploy", "d", BuildSucceeded)
	if len(w.added) != jobs+1 {
		t.Fatal("it doesn't look at once")
	}
	return w, x
}

// next sends the newest timer of a kind.
func (w *world) next(reason string) {
	for _, e := range slices.Backward(w.timer) {
		if e.Reason == reason {
			w.send(e)
			return
		}
	}
}

// One rule that fails is enough, and the others' jobs are taken back.
func TestRulesAreOneSet(t *testing.T) {
	w := newWorld(t)
	p := f1(SupersededMode)
	p.Stages[1].BeforeEntry = &Condition{Result: FailResult, Rules: []Action{
		rule("before:one", CommandsProvider, nil), rule("before:two", HTTPProvider, nil), rule("before:if", VariableProvider, map[string]string{ConfigVariable: "#{no.such}"}),
	}}
	x := w.start(p)
	c := w.condition(x, "Build", BeforeEntryHook)
	if c.Status != ConditionErrored || len(w.jobs) != 0 || w.all[x].Status != Failed {
		t.Errorf("got %+v, jobs %v, %s", c, w.jobs, w.all[x].Status)
	}
}
