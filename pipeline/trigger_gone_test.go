package pipeline

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

// C15 and C38 of the forges reference: a deleted ref takes with it what waits
// for a worker there, an installation that is suspended or removed all that
// runs by it.
func TestC15C38WhatLosesItsGroundEnds(t *testing.T) {
	deleted := pushed("")
	deleted.Push = &forge.PushEvent{Ref: "refs/heads/main", Before: sha1, After: strings.Repeat("0", 40), Deleted: true}
	other := deleted
	other.Push = &forge.PushEvent{Ref: "refs/heads/dev", Before: sha1, After: strings.Repeat("0", 40), Deleted: true}
	install := func(action string, id int64, in forge.InstallationSpec) forge.Event {
		in.ID = id
		return forge.Event{Forge: "github", Kind: forge.Installation, Name: "installation", Action: action, Install: &in}
	}
	tests := []struct {
		name    string
		event   forge.Event
		claimed bool
		want    Status
		reason  string
	}{
		{name: "its branch is deleted", event: deleted, want: Stopping, reason: "refs/heads/main was deleted"},
		{name: "its branch is deleted, but it runs", event: deleted, claimed: true, want: InProgress},
		{name: "another branch is deleted", event: other, want: InProgress},
		{name: "the App is suspended", event: install("suspend", 5, forge.InstallationSpec{Suspended: true}), want: Stopping, reason: "the App's installation was suspended"},
		{name: "the App is suspended while it runs", event: install("suspend", 5, forge.InstallationSpec{Suspended: true}), claimed: true, want: Stopping, reason: "the App's installation was suspended"},
		{name: "the App is uninstalled", event: install("deleted", 5, forge.InstallationSpec{Deleted: true}), want: Stopping, reason: "the App was uninstalled"},
		{name: "the App serves again", event: install("unsuspend", 5, forge.InstallationSpec{}), want: InProgress},
		{name: "somebody else suspends it", event: install("suspend", 6, forge.InstallationSpec{Suspended: true}), want: InProgress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			e := pushed("x")
			e.Installation = 5
			m.deliver(t, "d1", e)
			x := m.one(t)
			if tt.claimed {
				m.submit(t, Event{ID: "c", Type: JobClaimed, Board: x.Board, Execution: x.ID, Stage: "Build", Action: "Build", Attempt: 1, Worker: "w"})
			}
			for range 2 { // a repeat changes nothing
				m.deliver(t, "gone", tt.event)
			}
			if x = m.one(t); x.Status != tt.want || tt.reason != "" && x.Reason != tt.reason {
				t.Errorf("got %s because %q, want %s because %q", x.Status, x.Reason, tt.want, tt.reason)
			}
		})
	}
}
