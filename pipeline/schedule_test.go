package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// heads answers for git: the heads of branches by name.
type heads map[string]string

func (h heads) Resolve(_ context.Context, repo forge.Repo, _ int64, name string) (sha, ref string, err error) {
	if name == "" {
		name = "main"
	}
	if sha, ok := h[name]; ok {
		return sha, "refs/heads/" + name, nil
	}
	return "", "", &UserError{Msg: repo.FullName() + " has no " + name}
}

func nightly() Definition {
	def := filed("nightly", Triggers{Schedules: []Schedule{{Cron: "0 3 * * *", Zone: "Europe/Berlin"}}, Branch: "main"})
	return def
}

// at is an orchestrator whose clock stands still.
func (m *memory) at(now time.Time, r Revisions) *Orchestrator {
	o := NewOrchestrator(m, m, m, m, Rules{}, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	o.Resolves(r)
	return o
}

func (m *memory) timers() []Event {
	var out []Event
	for _, e := range m.effects {
		if e.Type == SetTimer && e.Timer.Type == ScheduleDue {
			out = append(out, *e.Timer)
		}
	}
	return out
}

// TestSchedule: a push to the default branch sets the time, and the time starts
// the newest commit once, however many servers see it and however late.
func TestSchedule(t *testing.T) {
	m := newMemory()
	m.define(nightly())
	d := m.deliver(t, "1", pushed("x"))
	if d.Decision != DecisionIgnored || d.Reason != "nightly: no trigger matched: only its schedule starts it, got push to branch main" {
		t.Errorf("the push: %+v", d)
	}
	timers := m.timers()
	if len(timers) != 1 {
		t.Fatalf("%d timers", len(timers))
	}
	m.deliver(t, "2", pushed("x"))
	if len(m.timers()) != 1 {
		t.Errorf("the same schedule sets another timer")
	}
	late := timers[0].At.Add(50 * time.Hour) // nobody was there for two days
	sha := strings.Repeat("ab", 20)
	o := m.at(late, heads{"main": sha})
	for range 3 {
		if err := o.Event(t.Context(), timers[0]); err != nil {
			t.Fatal(err)
		}
	}
	x := m.one(t)
	if x.Trigger.SHA != sha || x.Trigger.Type != "Schedule" || x.Trigger.Ref != "refs/heads/main" || x.Pipeline.Name != "nightly" {
		t.Errorf("got %+v", x.Trigger)
	}
	timers = m.timers()
	if len(timers) != 2 || !timers[1].At.After(late) || timers[1].At.After(late.Add(25*time.Hour)) {
		t.Errorf("the next: %+v", timers)
	}
	if b := m.boards[x.Board]; b.View().Timetable == nil || !b.Timetable.Next.Equal(timers[1].At) {
		t.Errorf("the Board says %+v", b.Timetable)
	}
}

// A repository that is out of reach costs one execution at most.
func TestScheduleOfARepositoryOutOfReach(t *testing.T) {
	m := newMemory()
	m.define(nightly())
	m.deliver(t, "1", pushed("x"))
	due := m.timers()[0]
	if err := m.at(due.At, heads{}).Event(t.Context(), due); err == nil || len(m.timers()) != 2 {
		t.Errorf("got %v, %d timers", err, len(m.timers()))
	}
	if err := m.at(due.At.Add(time.Minute), heads{"main": strings.Repeat("ab", 20)}).Event(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	m.one(t)
}

// What is scheduled no longer, or was deleted, starts nothing.
func TestScheduleThatIsGone(t *testing.T) {
	m := newMemory()
	m.define(nightly())
	m.deliver(t, "1", pushed("x"))
	due := m.timers()[0]
	m.define()
	if err := m.at(due.At, heads{"main": strings.Repeat("ab", 20)}).Event(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	if len(m.executions) != 0 {
		t.Errorf("%d executions", len(m.executions))
	}
	if next := m.timers()[1]; m.at(next.At, heads{}).Event(t.Context(), next) != nil || len(m.timers()) != 2 {
		t.Errorf("it is due for ever: %+v", m.timers())
	}
}

// T14 and case 32: a start by hand takes the head of the source's branch, or of
// what it names.
func TestPin(t *testing.T) {
	sha, other := strings.Repeat("ab", 20), strings.Repeat("cd", 20)
	h := heads{"main": sha, "next": other, "cdcdcdc": other}
	newest := Execution{Pipeline: f1(SupersededMode)}
	commit := func(id string) []SourceRevision {
		return []SourceRevision{{Action: "Source", Type: CommitID, Value: id}}
	}
	for _, tt := range []struct {
		name, branch string
		in           ManualRequest
		sha, ref     string
	}{
		{"T14, the default branch", "", ManualRequest{}, sha, "refs/heads/main"},
		{"T14, BranchName", "next", ManualRequest{}, other, "refs/heads/next"},
		{"a branch", "", ManualRequest{Ref: "next"}, other, "refs/heads/next"},
		{"case 32, the beginning of a commit", "", ManualRequest{Revisions: commit("cdcdcdc")}, other, "refs/heads/cdcdcdc"},
		{"with a branch of its own", "", ManualRequest{Ref: "main", Revisions: commit("cdcdcdc")}, other, "main"},
		{"case 32, a whole one", "", ManualRequest{Revisions: commit(sha)}, sha, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			newest.Pipeline.Branch = tt.branch
			got, err := Pin(t.Context(), h, newest, tt.in)
			if err != nil || got.Ref != tt.ref || len(got.Revisions) != 1 || got.Revisions[0].Value != tt.sha || got.Revisions[0].Action != "Source" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	var r *Refusal
	if _, err := Pin(t.Context(), h, newest, ManualRequest{Ref: "nope"}); !errors.As(err, &r) || r.Code != ValidationException {
		t.Errorf("an unknown branch: %v", err)
	}
}
