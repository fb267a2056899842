package pipeline

import (
	"fmt"
	"testing"
	"time"
)

// pushedAt starts an execution by a push of a commit to a ref, seen a number of
// seconds after testTime.
func (w *world) pushedAt(p Pipeline, ref, sha string, second int, change func(*Trigger)) *Execution {
	t := Trigger{SHA: sha, Ref: ref, PushedAt: testTime.Add(time.Duration(second) * time.Second)}
	if change != nil {
		change(&t)
	}
	id := fmt.Sprint("x", len(w.all)+1)
	w.send(Event{Type: StartRequested, Start: &Start{ID: id, Pipeline: p, Repo: w.b.Repo, Project: "web", Trigger: t}})
	return w.all[id]
}

// C18 of the forges reference: two pushes that are delivered newest first leave
// the newer one's state.
func TestC18AnOlderPushThatComesLater(t *testing.T) {
	const main = "refs/heads/main"
	tests := []struct {
		name   string
		mode   Mode
		ref    string
		sha    string
		second int
		change func(*Trigger)
		want   Status
	}{
		{name: "older", mode: QueuedMode, ref: main, sha: "old", second: 5, want: Superseded},
		{name: "older, superseded mode", mode: SupersededMode, ref: main, sha: "old", second: 5, want: Superseded},
		{name: "side by side every commit runs", mode: ParallelMode, ref: main, sha: "old", second: 5, want: InProgress},
		{name: "newer", mode: QueuedMode, ref: main, sha: "newer", second: 11, want: InProgress},
		{name: "in the same second", mode: QueuedMode, ref: main, sha: "other", second: 10, want: InProgress},
		{name: "another branch", mode: QueuedMode, ref: "refs/heads/dev", sha: "old", second: 5, want: InProgress},
		{name: "the same commit", mode: QueuedMode, ref: main, sha: "new", second: 5, want: InProgress},
		{name: "replayed by a person", mode: QueuedMode, ref: main, sha: "old", second: 5, change: func(t *Trigger) { t.Attempt = 1 }, want: InProgress},
		{name: "run again", mode: QueuedMode, ref: main, sha: "old", second: 5, change: func(t *Trigger) { t.Rerun = "x0" }, want: InProgress},
		{name: "the forge says no time", mode: QueuedMode, ref: main, sha: "old", change: func(t *Trigger) { t.PushedAt = time.Time{} }, want: InProgress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.pushedAt(f1(tt.mode), main, "new", 10, nil)
			if x := w.pushedAt(f1(tt.mode), tt.ref, tt.sha, tt.second, tt.change); x.Status != tt.want {
				t.Errorf("got %s (%s), want %s", x.Status, x.Reason, tt.want)
			}
		})
	}
}

// What is remembered of branches is bounded, and ends.
func TestPushesAreForgotten(t *testing.T) {
	w := newWorld(t)
	p := f1(QueuedMode)
	for i := range refsRemembered + 10 {
		w.now = w.now.Add(time.Second)
		w.pushedAt(p, fmt.Sprint("refs/heads/b", i), "sha", 1, nil)
	}
	if n := len(w.b.Pushed); n != refsRemembered {
		t.Errorf("%d branches are remembered, want %d", n, refsRemembered)
	}
	if _, ok := w.b.Pushed["refs/heads/b9"]; ok {
		t.Error("the oldest is remembered")
	}
	w.now = w.now.Add(9 * 24 * time.Hour)
	w.pushedAt(p, "refs/heads/main", "sha", 1, nil)
	if n := len(w.b.Pushed); n != 1 {
		t.Errorf("%d branches are remembered after 9 days, want 1", n)
	}
}
