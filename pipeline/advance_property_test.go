package pipeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/forge"
)

// TestAdvanceEnds drives Advance through random orders, repeats and losses of
// events, and then lets every open attempt end: whatever happened, every
// execution ends, no action has two attempts at work at once, locks hold, and
// what has ended stays so.
func TestAdvanceEnds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		p := newPlayer(rt, w)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			p.play()
			p.check()
		}
		w.send(Event{Type: TransitionFlips, Stage: "Deploy", Enable: true})
		w.send(Event{Type: TransitionFlips, Stage: "Build", Enable: true})
		w.send(Event{Type: TransitionFlips, Stage: "Prod", Enable: true})
		for range 1000 {
			if !p.finishOne() {
				break
			}
			p.check()
		}
		for id, x := range w.all {
			if !x.Status.Ended() {
				rt.Fatalf("execution %s never ends: %s", id, dump(x))
			}
		}
		for name, st := range w.b.Stages {
			if st.Holder != "" || len(st.Inbound) != 0 {
				rt.Fatalf("stage %s is held by %q, waiting %v, though all have ended", name, st.Holder, st.Inbound)
			}
		}
	})
}

// player draws events as the world would produce them, old ones included.
type player struct {
	rt    *rapid.T
	w     *world
	past  []Event
	ended map[string]Status
	ids   []string
}

func newPlayer(rt *rapid.T, w *world) *player {
	return &player{rt: rt, w: w, ended: map[string]Status{}}
}

func (p *player) send(e Event) {
	p.past = append(p.past, e)
	p.w.send(e)
	p.w.trace = nil
}

func (p *player) play() {
	switch rapid.SampledFrom([]string{"start", "start", "job", "job", "job", "job", "repeat", "stop", "flip", "timer", "pull", "retry", "answer", "answer", "rollback", "override", "late"}).Draw(p.rt, "what") {
	case "start":
		p.start()
	case "job":
		p.job()
	case "repeat": // at least once means sometimes twice, and late
		if len(p.past) == 0 {
			return
		}
		// The store refuses a start whose ID it has seen; all others are tried.
		if e := rapid.SampledFrom(p.past).Draw(p.rt, "past"); e.Type != StartRequested {
			p.w.send(e)
		}
	case "stop":
		if len(p.ids) > 0 {
			mode := rapid.SampledFrom([]StopMode{StopCancel, StopWait, StopAbandon}).Draw(p.rt, "mode")
			p.send(Event{Type: StopRequested, Execution: rapid.SampledFrom(p.ids).Draw(p.rt, "stopped"), Stop: mode})
		}
	case "flip":
		p.send(Event{
			Type: TransitionFlips, Stage: rapid.SampledFrom([]string{"Build", "Deploy", "Prod"}).Draw(p.rt, "stage"),
			Enable: rapid.Bool().Draw(p.rt, "enable"), Reason: "because",
		})
	case "timer":
		if len(p.w.timer) > 0 {
			p.w.send(rapid.SampledFrom(p.w.timer).Draw(p.rt, "timer"))
		}
	case "retry":
		p.retry()
	case "answer":
		p.answer(rapid.Bool().Draw(p.rt, "approve"), rapid.Bool().Draw(p.rt, "right"))
	case "rollback":
		if len(p.ids) > 0 {
			target := rapid.SampledFrom(p.ids).Draw(p.rt, "target")
			p.send(Event{Type: RollbackWanted, Stage: "Deploy", Target: target, Found: p.w.all[target]})
		}
	case "override":
		p.override()
	case "late":
		p.w.now = p.w.now.Add(time.Hour)
	case "pull":
		p.send(Event{Type: PullChanged, Pull: &forge.PullRequest{Number: 1, HeadRepoID: "1", BaseRepoID: "1", HeadRef: "feat"}, Reason: "closed"})
	}
}

// conditions gives the stages some to weigh.
func (p *player) conditions(def *Pipeline) {
	rules := func(hook string) []Action {
		return []Action{
			rule(hook+":alarm", AlarmProvider, map[string]string{ConfigWaitTime: rapid.SampledFrom([]string{"0s", "10m0s"}).Draw(p.rt, "wait")}),
			rule(hook+":window", WindowProvider, map[string]string{ConfigCron: "* 0-30 * * * ?", ConfigWait: "true"}),
			rule(hook+":run", CommandsProvider, nil),
		}[rapid.IntRange(0, 2).Draw(p.rt, "rules"):]
	}
	if rapid.Bool().Draw(p.rt, "before") {
		result := rapid.SampledFrom([]ConditionResult{FailResult, SkipResult}).Draw(p.rt, "else")
		def.Stages[2].BeforeEntry = &Condition{Result: result, Rules: rules("before")}
	}
	if rapid.Bool().Draw(p.rt, "on success") {
		result := rapid.SampledFrom([]ConditionResult{FailResult, RollbackResult}).Draw(p.rt, "else")
		def.Stages[2].OnSuccess = &Condition{Result: result, Rules: rules("on_success")}
	}
	if rapid.Bool().Draw(p.rt, "on failure") {
		def.Stages[2].OnFailure.When = &Condition{Rules: rules("on_failure")}
	}
}

func (p *player) override() {
	for _, id := range p.sorted() {
		x := p.w.all[id]
		stage, hook, ok := x.Overridable()
		if !ok {
			continue
		}
		e := Event{Type: OverrideWanted, Execution: id, Stage: stage, Hook: hook, Revive: x, At: p.w.now}
		if Check(p.w.b, e) == nil {
			delete(p.ended, id) // the other way back
		}
		p.w.send(e) // a repeat would be given the execution as it is then
		return
	}
}

func (p *player) retry() {
	var failed []string
	for _, id := range p.ids {
		if x := p.w.all[id]; x != nil && (x.Status == Failed || x.Status == Stopped) {
			failed = append(failed, id)
		}
	}
	if len(failed) == 0 {
		return
	}
	x := p.w.all[rapid.SampledFrom(failed).Draw(p.rt, "failed")]
	mode := rapid.SampledFrom([]RetryMode{FailedActions, AllActions}).Draw(p.rt, "retry mode")
	for _, st := range x.Stages {
		if st.failed() != nil || st.Status == Stopped {
			e := Event{Type: RetryRequested, Execution: x.ID, Stage: st.Name, Retry: mode, Revive: x, At: p.w.now}
			if Check(p.w.b, e) == nil {
				delete(p.ended, x.ID) // the one way back
			}
			p.w.send(e)
			return
		}
	}
}

// answer approves or rejects what waits first, or tries to with a wrong token.
func (p *player) answer(yes, right bool) bool {
	for _, id := range p.sorted() {
		waiting := p.w.all[id].Waiting()
		if len(waiting) == 0 {
			continue
		}
		ask := waiting[0]
		e := Event{Type: ApprovalGiven, Execution: id, Stage: ask.Stage, Action: ask.Action, Token: ask.Token, Enable: yes, By: "ann"}
		if !right {
			e.Token = "wrong"
		}
		p.send(e)
		return true
	}
	return false
}

// sorted are all executions, rollbacks too, in a fixed order.
func (p *player) sorted() []string {
	return slices.SortedFunc(maps.Keys(p.w.all), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.w.all[a].Number, p.w.all[b].Number), cmp.Compare(a, b))
	})
}

func (p *player) start() {
	id := fmt.Sprint("x", len(p.ids)+1)
	p.ids = append(p.ids, id)
	mode := rapid.SampledFrom([]Mode{SupersededMode, QueuedMode, ParallelMode}).Draw(p.rt, "mode")
	def := f1(mode)
	if rapid.Bool().Draw(p.rt, "wide") {
		def = stages(mode, Stage{Name: "Build", Actions: []Action{build("b", 1), build("c", 1), build("e", 3)}}, Stage{Name: "Deploy", Actions: []Action{{Name: "d", Category: Deploy, RunOrder: 1}}})
	}
	if rapid.Bool().Draw(p.rt, "asks") {
		def.Stages = append(def.Stages, Stage{Name: "Prod", Actions: []Action{approve(1), build("p", 1), deploy("q", 2)}})
		def.SupersedeApprovals = rapid.Bool().Draw(p.rt, "displaces")
	}
	if rapid.Bool().Draw(p.rt, "batch") {
		def.Stages[1].Actions[0].Batch = &BatchSettings{Combine: rapid.Bool().Draw(p.rt, "combine")}
	}
	def.Stages[1].OnFailure.Retry = rapid.SampledFrom([]RetryMode{"", FailedActions, AllActions}).Draw(p.rt, "itself")
	def.Stages[2].OnFailure.Rollback = rapid.Bool().Draw(p.rt, "back")
	def.CancelOnUpdate = rapid.Bool().Draw(p.rt, "cancels")
	p.conditions(&def)
	s := &Start{ID: id, Pipeline: def, Repo: p.w.b.Repo, Trigger: Trigger{SHA: id, Ref: "refs/heads/main"}}
	if rapid.IntRange(0, 3).Draw(p.rt, "pull") == 0 {
		s.Trigger.Pull = &forge.PullRequest{Number: 1, HeadSHA: id, HeadRef: "feat", HeadRepoID: "1", BaseRepoID: "1"}
	}
	if rapid.IntRange(0, 9).Draw(p.rt, "broken") == 0 {
		s.Problem = &UserError{Msg: "broken"}
	}
	p.send(Event{Type: StartRequested, Start: s})
}

// attempts are the attempts at work, in a fixed order.
func (p *player) attempts() []Event {
	var open []Event
	for _, id := range p.sorted() {
		for _, st := range p.w.all[id].Stages {
			for _, a := range st.Tasks() {
				if a.Status == InProgress && a.Batch == nil { // a batch's builds are at work, not it
					open = append(open, Event{Execution: id, Stage: st.Name, Action: a.Name, Attempt: a.Attempt})
				}
			}
		}
	}
	return open
}

func (p *player) job() {
	open := p.attempts()
	if len(open) == 0 {
		return
	}
	e := rapid.SampledFrom(open).Draw(p.rt, "attempt")
	switch rapid.SampledFrom([]string{"claim", "end", "end", "lose", "refuse"}).Draw(p.rt, "how") {
	case "claim":
		e.Type, e.Worker = JobClaimed, "r1"
	case "end":
		e.Type = JobEnded
		e.Outcome = &Outcome{Status: rapid.SampledFrom([]BuildStatus{
			BuildSucceeded, BuildSucceeded, BuildFailed, BuildFault, BuildTimedOut, BuildStopped,
		}).Draw(p.rt, "outcome"), Batch: p.tasks()}
	case "lose":
		e.Type, e.Unbegun = JobLost, rapid.Bool().Draw(p.rt, "unbegun")
	case "refuse":
		e.Type, e.Reason = JobRefused, "no image"
	}
	p.send(e)
}

func (p *player) finishOne() bool {
	if p.answer(true, true) {
		return true
	}
	open := p.attempts()
	if len(open) == 0 {
		return false
	}
	e := open[0]
	_, a, _ := p.w.all[e.Execution].Task(e.Stage, e.Action)
	if a.Job == "" { // a rule that waits for its time
		p.w.now = p.w.now.Add(time.Hour)
		for _, t := range slices.Clone(p.w.timer) {
			if !t.At.After(p.w.now) && (t.Reason == timerWindow || t.Reason == timerLook) {
				p.w.send(t)
			}
		}
		return true
	}
	e.Type, e.Outcome = JobEnded, &Outcome{Status: BuildSucceeded, Batch: p.tasks()}
	p.send(e)
	return true
}

// check holds the invariants that hold at any moment.
func (p *player) check() {
	for id, x := range p.w.all {
		if was, ok := p.ended[id]; ok && was != x.Status {
			p.rt.Fatalf("execution %s was %s and is %s", id, was, x.Status)
		}
		_, live := p.w.b.Live[id]
		if x.Status.Ended() == live {
			p.rt.Fatalf("execution %s is %s and on the Board: %v", id, x.Status, live)
		}
		if x.Status.Ended() {
			p.ended[id] = x.Status
			if open := x.running(); open != "" {
				p.rt.Fatalf("execution %s has ended and %s is at work", id, open)
			}
		}
	}
	inside := map[string]string{}
	for id, x := range p.w.b.Live {
		checkTasks(p.rt, x)
		for _, st := range x.Stages {
			if (st.Status != InProgress && st.Status != Stopping) || x.Pipeline.Mode == ParallelMode {
				continue
			}
			if other := inside[st.Name]; other != "" {
				p.rt.Fatalf("%s and %s are both inside %s", other, id, st.Name)
			}
			inside[st.Name] = id
		}
	}
	seen := map[string]bool{}
	for _, j := range p.w.added {
		if seen[j] {
			p.rt.Fatalf("job %s was added twice", j)
		}
		seen[j] = true
	}
}

func (x *Execution) running() string {
	for _, st := range x.Stages {
		if st.running() || st.open() != nil {
			return st.Name
		}
	}
	return ""
}

func dump(x *Execution) string {
	data, _ := json.MarshalIndent(x, "", " ")
	return string(data)
}

// TestAdvanceIsPure: the Board that went in is as it was, so a step that lost
// a race can be computed anew.
func TestAdvanceIsPure(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		p := newPlayer(rt, w)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			before, live := snapshot(w.b)
			old := w.b
			p.play()
			if after, l := snapshot(old); after != before || l != live {
				rt.Fatalf("the old Board changed:\n%s\n%s\n%s\n%s", before, after, live, l)
			}
			w.now = w.now.Add(time.Second)
		}
	})
}

func snapshot(b *Board) (string, string) {
	head, _ := json.Marshal(b)
	live, _ := json.Marshal(b.Live)
	return string(head), string(live)
}
