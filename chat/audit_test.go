package chat

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// What was asked for is noted, done or refused, with who, where, of which
// commit and by which webhook; what was only looked at is not (forges
// reference 4.10).
func TestAudit(t *testing.T) {
	w := newWorld()
	w.executions = []pipeline.Execution{waiting("x1", headSHA)}
	w.hear(t, forge.Comment{
		ID: "99", Author: alice, Pull: 7, CreatedAt: noon, WebURL: "https://github.com/octo/web/pull/7#issuecomment-99",
		Body: "/status\n/approve -m 'go \x1b[31mnow'\n/cancel nothing\n/deploy production\n/slipway tset",
	})
	w.hear(t, forge.Comment{ID: "100", Author: rita, Pull: 7, CreatedAt: noon, Body: "/deploy production"})
	note := access.Entry{
		At: noon, Who: "alice", WhoID: "1", Via: "github comment", Target: "https://github.com/octo/web/pull/7#issuecomment-99",
		Repo: "github/octo/web", SHA: headSHA, Delivery: "d1",
	}
	with := func(e access.Entry, action, outcome, detail string) access.Entry {
		e.Action, e.Outcome, e.Detail = action, outcome, detail
		return e
	}
	strange := note
	strange.Who, strange.WhoID, strange.Target, strange.Delivery = "rita", "2", "comment 100 on #7", "d2"
	want := map[string]access.Entry{
		"chat:github:d1:0:1": with(note, "/approve", access.Done, "/approve -m 'go [31mnow': Approved: go-live of [web #3](https://ci.example/executions/x1) at 1111111."),
		"chat:github:d1:0:2": with(note, "/cancel", access.Refused, "/cancel nothing: nothing of that is running for this pull request"),
		"chat:github:d1:0:3": with(note, "/deploy", access.Done, "/deploy production: Running for 1111111: [new-exec](https://ci.example/executions/new-execution)."),
		"chat:github:d2:0:0": with(strange, "/deploy", access.Refused, "/deploy production: it needs the permission to write (you have read)"),
	}
	if diff := cmp.Diff(want, w.noted); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// An outage of the log has the comment tried again: what was done is noted
// once, and not done again.
func TestAuditOutage(t *testing.T) {
	w := newWorld()
	away := errors.New("redis is away")
	w.outage["audit"] = away
	c := forge.Comment{ID: "99", Body: "/test\n/deploy production", Author: alice, Pull: 7, CreatedAt: noon}
	if _, err := w.try(t, c, "d1"); !errors.Is(err, away) {
		t.Fatalf("got %v", err)
	}
	if _, err := w.try(t, c, "d1"); err != nil || len(w.noted) != 2 || len(w.runs) != 2 {
		t.Errorf("%v, noted %v, runs %v", err, w.noted, w.runs)
	}
}

// Strangers can't fill the log with what they are refused; those with rights
// are noted all the same.
//
// Attacks: 37.
func TestAuditOfStrangers(t *testing.T) {
	w := newWorld()
	for i := range 50 {
		w.hear(t, forge.Comment{ID: fmt.Sprint(i), Body: "/deploy production", Author: eve, Pull: 7, CreatedAt: noon})
	}
	w.hear(t, forge.Comment{ID: "99", Body: "/deploy production", Author: alice, Pull: 7, CreatedAt: noon})
	if len(w.noted) != 31 {
		t.Errorf("%d entries, want 30 of the stranger and one of alice", len(w.noted))
	}
}
