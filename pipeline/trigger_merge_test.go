package pipeline

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

// queueRef is a branch as GitHub's merge queue names it.
const queueRef = "refs/heads/gh-readonly-queue/main/pr-7-bbbbbbbb"

func grouped(action string) forge.Event {
	return forge.Event{
		Forge: "github", Kind: forge.MergeGroup, Name: "merge_group", Action: action, Repo: web,
		Merge: &forge.MergeGroupSpec{
			HeadSHA: sha1, HeadRef: queueRef, BaseSHA: strings.Repeat("b", 40), BaseRef: "main",
			Message: "Merge pull request #7 [skip ci]", Gone: action == "destroyed",
		},
	}
}

// C40 of the forges reference: what checks pull requests checks the queue's
// commit, under the same name.
func TestC40MergeGroupStartsWhatChecksPullRequests(t *testing.T) {
	onPull := func(f PullFilter) []Definition { return []Definition{filed("check", Triggers{Pull: []PullFilter{f}})} }
	implied := filed(DefaultPipeline, Triggers{})
	implied.Triggers = nil
	filtered := func(event string) []Definition {
		d := implied
		d.Filters = FilterGroups{{{Type: FilterEvent, Pattern: event}, {Type: FilterBaseRef, Pattern: "^refs/heads/main$"}}}
		return []Definition{d}
	}
	tests := []struct {
		name    string
		defs    []Definition
		started string
		reason  string
	}{
		{"the implied pipeline", []Definition{implied}, "default InProgress", "merge group for main"},
		{"any pull request to main", onPull(PullFilter{Branches: Criterion{Includes: []string{"main"}}}), "check InProgress", "check: merge group for main"},
		{"opened ones", onPull(PullFilter{Events: []PullEvent{PullOpen}}), "check InProgress", "check: merge group for main"},
		{"closed ones", onPull(PullFilter{Events: []PullEvent{PullClosed}}), "", "check: no trigger matched: pull request events [CLOSED], got a merge group"},
		{"those to another branch", onPull(PullFilter{Branches: Criterion{Includes: []string{"dev"}}}), "", "check: no trigger matched: target branches [dev], got main"},
		{"those that change other files", onPull(PullFilter{Paths: Criterion{Includes: []string{"api/**"}}}), "", "check: no trigger matched: paths [api/**], got web/x"},
		{"pushes only", []Definition{filed("web", onBranch("**"))}, "", "web: no trigger matched: a merge queue starts what pull requests start, and they don't start it"},
		{"a filter group for updates", filtered("PULL_REQUEST_UPDATED"), "default InProgress", "filter group 1 matched: MERGE_GROUP"},
		{"a filter group for pushes", filtered("PUSH"), "", "no filter group matched: group 1 wants EVENT PUSH, got MERGE_GROUP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			m.define(tt.defs...)
			m.changed = forge.Changes{Paths: []string{"web/x"}}
			d := m.deliver(t, "1", grouped("checks_requested"))
			if got := m.pipelines(); got != tt.started || d.Reason != tt.reason {
				t.Errorf("got %q because %q, want %q because %q", got, d.Reason, tt.started, tt.reason)
			}
			if tt.started == "" {
				return
			}
			x := m.one(t)
			if x.Trigger.SHA != sha1 || x.Trigger.FetchRef != queueRef || !x.Trigger.Unmerged() {
				t.Errorf("got trigger %+v", x.Trigger)
			}
		})
	}
}

// C40: what the queue has merged or dropped is checked no longer, also if a
// worker has begun.
func TestC40DestroyedMergeGroupEndsItsExecutions(t *testing.T) {
	for _, claimed := range []bool{false, true} {
		m := newMemory()
		m.deliver(t, "1", grouped("checks_requested"))
		x := m.one(t)
		if claimed {
			m.submit(t, Event{ID: "c", Type: JobClaimed, Board: x.Board, Execution: x.ID, Stage: "Build", Action: "Build", Attempt: 1, Worker: "w"})
		}
		other := grouped("destroyed")
		other.Merge.HeadRef = "refs/heads/gh-readonly-queue/main/pr-8-bbbbbbbb"
		m.deliver(t, "2", other)
		if x = m.one(t); x.Status != InProgress {
			t.Errorf("another group was destroyed: got %s", x.Status)
		}
		d := m.deliver(t, "3", grouped("destroyed"))
		want := "the merge queue is done with " + queueRef
		if x = m.one(t); x.Status != Stopping || x.Reason != want || d.Reason != want+"; 1 executions end" {
			t.Errorf("claimed %v: got %s because %q, decision %+v", claimed, x.Status, x.Reason, d)
		}
	}
}

// The push that makes the queue's branch would start the implied pipeline twice.
func TestPushToAQueuesBranch(t *testing.T) {
	m := newMemory()
	e := ref(queueRef)
	e.Forge = "github"
	if d := m.deliver(t, "1", e); d.Decision != DecisionIgnored || !strings.Contains(d.Reason, "runs by its merge_group event") {
		t.Errorf("implied: got %+v", d)
	}
	m.define(filed("web", onBranch("gh-readonly-queue/**")))
	if d := m.deliver(t, "2", e); d.Decision != DecisionStarted {
		t.Errorf("of a file that names it: got %+v", d)
	}
}
