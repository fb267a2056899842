package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// submit hands over one event, as the inbox does.
func (m *memory) submit(t *testing.T, e Event) {
	t.Helper()
	e.ID, e.At = fmt.Sprint("event", len(m.consumed)), testTime
	if err := m.orchestrator().Event(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

func (m *memory) finish(t *testing.T, id, stage, action string, status BuildStatus) {
	t.Helper()
	x := m.executions[id]
	m.submit(t, Event{
		Type: JobEnded, Board: x.Board, Execution: id, Stage: stage, Action: action,
		Attempt: x.Stage(stage).Action(action).Attempt, Outcome: &Outcome{Status: status},
	})
}

// started is one more execution of the definition.
func (m *memory) started(t *testing.T, delivery string, def Pipeline) string {
	t.Helper()
	m.defs = func() ([]Definition, string, error) {
		return []Definition{{Project: "octo-web", Pipeline: def}}, "", nil
	}
	return m.deliver(t, delivery, pushed("x")).Executions[0]
}

// What has ended is no longer on the Board: the orchestrator loads what a
// rollback, or a retry, goes on with.
func TestEndedExecutionsAreLoaded(t *testing.T) {
	m := newMemory()
	x1 := m.started(t, "d1", rollbackF1())
	m.finish(t, x1, "Build", "b", BuildSucceeded)
	m.finish(t, x1, "Deploy", "d", BuildSucceeded)
	x2 := m.started(t, "d2", rollbackF1())
	m.finish(t, x2, "Build", "b", BuildSucceeded)
	m.finish(t, x2, "Deploy", "d", BuildFailed)
	key := m.executions[x1].Board
	r := m.boards[key].Stages["Deploy"].Holder
	if got := m.executions[r]; got.Target != x1 || got.Status != InProgress {
		t.Fatalf("no rollback to %s: %+v", x1, got)
	}
	m.finish(t, r, "Deploy", "d", BuildSucceeded)

	m.submit(t, Event{Type: RollbackWanted, Board: key, Stage: "Deploy", Target: x1, By: "ann"})
	again := m.boards[key].Stages["Deploy"].Holder
	if got := m.executions[again]; got.Target != x1 || again == r {
		t.Errorf("no rollback by hand: %+v", got)
	}
	m.finish(t, again, "Deploy", "d", BuildFailed)
	m.submit(t, Event{Type: RetryRequested, Board: key, Execution: again, Stage: "Deploy"})
	if got := m.executions[again]; got.Status != InProgress || got.Attempt != 2 {
		t.Errorf("the retry of what has ended: %+v", got)
	}
}

func TestRollbackWithoutATargetIsAPlainFailure(t *testing.T) {
	m := newMemory()
	x1 := m.started(t, "d1", rollbackF1())
	m.finish(t, x1, "Build", "b", BuildSucceeded)
	m.finish(t, x1, "Deploy", "d", BuildSucceeded)
	x2 := m.started(t, "d2", rollbackF1())
	delete(m.executions, x1) // retention was faster
	m.finish(t, x2, "Build", "b", BuildSucceeded)
	m.finish(t, x2, "Deploy", "d", BuildFailed)
	b := m.boards[m.executions[x2].Board]
	if got := m.executions[x2].Status; got != Failed || len(b.Live) != 0 || b.Stages["Deploy"].Holder != "" {
		t.Errorf("%s, live %v, stage %+v", got, b.Live, b.Stages["Deploy"])
	}
}

// Case 32: a start by hand pins the commit, and keeps the branch's name.
func TestCase32ManualStart(t *testing.T) {
	m := newMemory()
	def := f1(SupersededMode)
	def.Variables = []VariableSpec{{Name: "X", Default: "x"}}
	def.Stages[0].Actions[0].Namespace = "src"
	first := m.started(t, "d1", def)
	m.finish(t, first, "Build", "b", BuildFailed)
	key := m.executions[first].Board
	want := strings.Repeat("ab", 20)
	request := func(action, value string) *ManualRequest {
		return &ManualRequest{Revisions: []SourceRevision{{Action: action, Type: CommitID, Value: value}}, Variables: map[string]string{"X": "y"}}
	}
	m.submit(t, Event{Type: ManualStart, Board: key, By: "ann", Manual: request("Source", want)})
	var got Execution
	for id, x := range m.executions {
		if id != first {
			got = x
		}
	}
	out := got.Stages[0].Actions[0].Exported
	if got.Trigger.SHA != want || out["CommitId"] != want || out["BranchName"] != "main" || got.Variables["X"] != "y" || got.Trigger.Actor.Login != "ann" {
		t.Errorf("got %+v, outputs %v", got.Trigger, out)
	}
	for name, bad := range map[string]*ManualRequest{
		"another action": request("nope", want), "a part of a commit": request("Source", "abc"), "nothing": {},
	} {
		var r *Refusal
		if err := CheckManual(m.executions[first], *bad); !errors.As(err, &r) || r.Code != ValidationException {
			t.Errorf("%s: got %v", name, err)
		}
		m.submit(t, Event{Type: ManualStart, Board: key, Manual: bad})
	}
	if len(m.executions) != 2 {
		t.Errorf("%d executions", len(m.executions))
	}
}
