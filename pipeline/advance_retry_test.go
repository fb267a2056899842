package pipeline

import (
	"strings"
	"testing"
)

// CodeBuild reference 2.4: on-failure RETRY repeats the build, as the next
// attempt of its action, until it succeeds or asks no more.
func TestBuildThatAsksToBeRepeated(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	failed := func(attempt int, retry bool) {
		w.send(Event{
			Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: attempt, Outcome: &Outcome{Status: BuildFailed, Retry: retry},
		})
	}
	failed(1, true)
	failed(1, true) // a repeat of the event's content is for an attempt that is over
	a := w.all[x].Stage("Build").Action("b")
	if a.Status != InProgress || a.Attempt != 2 || a.Retried != 1 || a.Lost != 0 || len(a.Earlier) != 1 {
		t.Errorf("after the first failure: %+v", a)
	}
	failed(2, false)
	if got := w.all[x]; got.Status != Failed || got.Stage("Build").Action("b").Retried != 1 {
		t.Errorf("after the second: %s, %+v", got.Status, got.Stage("Build").Action("b"))
	}
}

func TestAStoppedExecutionRepeatsNothing(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	w.send(Event{Type: StopRequested, Execution: x, By: "ann"})
	w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: 1, Outcome: &Outcome{Status: BuildFailed, Retry: true}})
	if got := w.all[x]; got.Status != Stopped {
		t.Errorf("got %s, %+v", got.Status, got.Stage("Build").Action("b"))
	}
}

// Forges reference 5.4, /override: the check passes and nothing else changes,
// until the execution is tried again.
func TestOverriddenCheck(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	override := func(reason string) Event {
		return Event{Type: CheckOverridden, Execution: x, By: "ann", Reason: reason, Revive: w.all[x]}
	}
	refused := func(e Event, want string) {
		t.Helper()
		if err := Check(w.b, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	refused(override("flaky"), "only the check of an execution that has ended can be overridden")
	w.end(x, "Build", "b", BuildFailed)
	refused(override(""), "the reason: something must be given")
	jobs := len(w.added)
	w.ask(override("flaky"))
	if got := w.all[x]; got.Override == nil || got.Override.By != "ann" || got.Override.Reason != "flaky" || got.Status != Failed || len(w.added) != jobs || len(w.b.Live) != 0 {
		t.Errorf("got %s, %+v", got.Status, got.Override)
	}
	refused(override("flaky"), "ann has overridden the check already")
	w.ask(w.retry(x, "Build", FailedActions))
	if got := w.all[x]; got.Override != nil || got.Status != InProgress {
		t.Errorf("tried again: %s, %+v", got.Status, got.Override)
	}
	w.end(x, "Build", "b", BuildSucceeded)
	w.end(x, "Deploy", "d", BuildSucceeded)
	refused(override("flaky"), "the check passes as it is")
}
