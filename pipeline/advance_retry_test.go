package pipeline

import "testing"

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
