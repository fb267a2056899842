package notify

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// move is one thing that happens in a scenario.
type move struct {
	after     time.Duration
	execution int
	restart   bool
}

// scenario is a random history: which executions there are, how they end, when
// they change and what goes wrong at the forge.
type scenario struct {
	ends   []pipeline.Execution
	moves  []move
	script []fault
}

func drawScenario(rt *rapid.T) scenario {
	endings := []func(id string) pipeline.Execution{
		passed,
		func(id string) pipeline.Execution {
			x := failed(sample(id), pipeline.BuildFailed, pipeline.JobFailed, "exit")
			for i := range 70 {
				x.Annotations = append(x.Annotations, forge.Annotation{Path: "a.go", StartLine: i + 1, Level: "failure", Message: "m"})
			}
			return x
		},
		func(id string) pipeline.Execution {
			return ended(sample(id), pipeline.Stopped, "superseded by abc1234")
		},
		func(id string) pipeline.Execution {
			x := ended(sample(id), pipeline.Stopped, "")
			x.Gate = "a fork"
			return x
		},
	}
	var s scenario
	for i := range rapid.IntRange(1, 6).Draw(rt, "executions") {
		s.ends = append(s.ends, rapid.SampledFrom(endings).Draw(rt, "ending")(fmt.Sprintf("x%d", i)))
		s.ends[i].Trigger.Installation = rapid.Int64Range(1, 2).Draw(rt, "installation")
	}
	for range rapid.IntRange(0, 40).Draw(rt, "moves") {
		s.moves = append(s.moves, move{
			after:     time.Duration(rapid.IntRange(0, 4000).Draw(rt, "after")) * time.Millisecond,
			execution: rapid.IntRange(0, len(s.ends)-1).Draw(rt, "execution"),
			restart:   rapid.IntRange(0, 9).Draw(rt, "restart") == 0,
		})
	}
	faults := []fault{{}, {}, {slow: 2 * time.Second}, serverError, slowDown, lostAnswer, missing}
	for range rapid.IntRange(0, 40).Draw(rt, "faults") {
		f := rapid.SampledFrom(faults).Draw(rt, "fault")
		if f.err == missing.err {
			faults = faults[:len(faults)-1] // the second one may end a report
		}
		s.script = append(s.script, f)
	}
	return s
}

// play lets the scenario happen and then ends every execution.
func (s scenario) play(t *testing.T, w *world) {
	at := make([]int, len(s.ends))
	advance := func(i int) {
		id := s.ends[i].ID
		states := []pipeline.Execution{sample(id), running(sample(id)), running(sample(id)), s.ends[i]}
		if at[i] == len(states) {
			return
		}
		x := states[at[i]]
		x.Trigger.Installation = s.ends[i].Trigger.Installation
		w.store.commit(x)
		at[i]++
	}
	for _, m := range s.moves {
		wait(m.after)
		if m.restart {
			w.stop()
			w.run(t)
		}
		advance(m.execution)
	}
	for i := range s.ends {
		for at[i] < 4 {
			advance(i)
		}
	}
	w.settle(t, 4*time.Hour)
}

// TestFinalStateArrivesOnce: whatever the order of changes, faults and
// restarts, every execution has one check run, whose last word is the final
// state, which came once, with every annotation once.
func TestFinalStateArrivesOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, time.Second)
			w.forge.script = s.script
			s.play(t, w)
			w.stop()
			wrong = s.judge(w.forge)
		})
		for _, problem := range wrong {
			rt.Error(problem)
		}
	})
}

func (s scenario) judge(f *fakeForge) []string {
	var wrong []string
	for _, x := range s.ends {
		want := Render(x, nil, RenderOptions{})
		got := f.run(want.ExternalID)
		switch {
		case got == nil:
			wrong = append(wrong, x.ID+" was never reported")
		case got.Conclusion != want.Conclusion || got.Status != completed || got.finals != 1:
			wrong = append(wrong, fmt.Sprintf("%s: %v, %d finals, want %s once", x.ID, got.history, got.finals, want.Conclusion))
		case len(got.Annotations) != len(want.Annotations):
			wrong = append(wrong, fmt.Sprintf("%s: %d annotations, want %d", x.ID, len(got.Annotations), len(want.Annotations)))
		}
	}
	return append(wrong, f.breaches...)
}
