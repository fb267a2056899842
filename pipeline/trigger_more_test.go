package pipeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

// A push of several refs starts an execution for each, once, also if it is
// handled again after the first of them was started.
func TestPushOfSeveralRefs(t *testing.T) {
	m := newMemory()
	e := pushed("one")
	for _, p := range []forge.PushEvent{
		{Ref: "refs/heads/two", Before: strings.Repeat("0", 40), After: strings.Repeat("d", 40), Created: true},
		{Ref: "refs/tags/v1", Before: strings.Repeat("0", 40), After: sha1, Created: true},
		{Ref: "refs/heads/old", Before: sha1, After: strings.Repeat("0", 40), Deleted: true},
	} {
		other := pushed("")
		other.Push = &p
		e.More = append(e.More, other)
	}
	first := m.deliver(t, "d1", e)
	second := m.deliver(t, "d1", e)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("handled again (-first +second)\n%s", diff)
	}
	if first.Decision != DecisionStarted || len(first.Executions) != 2 || len(m.executions) != 2 || m.jobs() != 2 {
		t.Errorf("got %+v, %d executions and %d jobs, want two", first, len(m.executions), m.jobs())
	}
	for _, part := range []string{"push to branch main", "push to branch two", "got refs/tags/v1", "refs/heads/old was deleted"} {
		if !strings.Contains(first.Reason, part) {
			t.Errorf("reason %q has no %q", first.Reason, part)
		}
	}
	one, two := m.executions[first.Executions[0]], m.executions[first.Executions[1]]
	if one.Trigger.Ref != "refs/heads/main" || two.Trigger.Ref != "refs/heads/two" {
		t.Errorf("got %s and %s", one.Trigger.Ref, two.Trigger.Ref)
	}
}

// C46: an edit of a pull request whose head has run starts nothing; a new head
// does, and so does a replay.
func TestEditOfPullRequest(t *testing.T) {
	m := newMemory()
	m.deliver(t, "d1", pulled("opened", "1"))
	edit := func() forge.Event {
		e := pulled("synchronize", "1")
		e.Pull.HeadMayBeOld = true
		return e
	}
	if d := m.deliver(t, "d2", edit()); d.Decision != DecisionIgnored || !strings.Contains(d.Reason, "is still aaaaaaa") {
		t.Errorf("same head: got %+v", d)
	}
	moved := edit()
	moved.Pull.HeadSHA = strings.Repeat("e", 40)
	first := m.deliver(t, "d3", moved)
	if first.Decision != DecisionStarted {
		t.Errorf("new head: got %+v", first)
	}
	if again := m.deliver(t, "d3", moved); !cmp.Equal(first, again) {
		t.Errorf("handled again: got %+v, want %+v", again, first)
	}
	e := edit()
	e.Delivery = "d2"
	m.events["d2"] = e
	d, err := m.orchestrator().Delivery(t.Context(), Delivery{Forge: "github", ID: "d2", Attempt: 1})
	if err != nil || d.Decision != DecisionStarted {
		t.Errorf("replayed: %v, got %+v", err, d)
	}
}
