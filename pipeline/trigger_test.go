package pipeline

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

func TestDecide(t *testing.T) {
	sha := strings.Repeat("a", 40)
	push := func(change func(*forge.PushEvent)) forge.Event {
		p := &forge.PushEvent{Ref: "refs/heads/main", Before: strings.Repeat("b", 40), After: sha}
		change(p)
		return forge.Event{Kind: forge.Push, Name: "push", Push: p}
	}
	pull := func(action string, change func(*forge.PullRequest)) forge.Event {
		p := &forge.PullRequest{Number: 8, HeadSHA: sha, HeadRef: "feat", HeadRepoID: "1", BaseRepoID: "1", BaseRef: "main"}
		change(p)
		return forge.Event{Kind: forge.Pull, Name: "pull_request", Action: action, Pull: p}
	}
	same := func(*forge.PushEvent) {}
	samePull := func(*forge.PullRequest) {}
	tests := []struct {
		name   string
		e      forge.Event
		start  bool
		gate   bool
		reason string // part of it
		event  string
	}{
		{"push to a branch", push(same), true, false, "push to branch main", "PUSH"},
		{"tag", push(func(p *forge.PushEvent) { p.Ref = "refs/tags/v1" }), true, false, "only branches", "PUSH"},
		{"other refs", push(func(p *forge.PushEvent) { p.Ref = "refs/notes/x" }), false, false, "only branches and tags", ""},
		{"branch deleted", push(func(p *forge.PushEvent) { p.Deleted, p.After = true, strings.Repeat("0", 40) }), false, false, "was deleted", ""},
		{"deleted in a SHA-256 repository", push(func(p *forge.PushEvent) { p.After = strings.Repeat("0", 64) }), false, false, "was deleted", ""},
		{"pull request opened", pull("opened", samePull), true, false, "#8 opened", "PULL_REQUEST_CREATED"},
		{"synchronize", pull("synchronize", samePull), true, false, "#8", "PULL_REQUEST_UPDATED"},
		{"reopened", pull("reopened", samePull), true, false, "#8", "PULL_REQUEST_REOPENED"},
		{"ready for review", pull("ready_for_review", samePull), true, false, "#8", "PULL_REQUEST_CREATED"},
		{"draft", pull("opened", func(p *forge.PullRequest) { p.Draft = true }), false, false, "is a draft", ""},
		{"labeled", pull("labeled", samePull), false, false, "got labeled", ""},
		{"closed", pull("closed", func(p *forge.PullRequest) { p.Closed = true }), true, false, "got closed", "PULL_REQUEST_CLOSED"},
		{"merged", pull("closed", func(p *forge.PullRequest) { p.Closed, p.Merged = true, true }), true, false, "got closed", "PULL_REQUEST_MERGED"},
		{"edited", pull("edited", samePull), false, false, "got edited", ""},
		{"aimed elsewhere", pull("edited", func(p *forge.PullRequest) { p.BaseChanged = true }), true, false, "got edited", "PULL_REQUEST_UPDATED"},
		{"a fork's closed", pull("closed", func(p *forge.PullRequest) { p.HeadRepoID, p.Closed = "2", true }), false, false, "got closed", ""},
		{"from a fork", pull("opened", func(p *forge.PullRequest) { p.HeadRepoID = "2" }), true, true, "fork", "PULL_REQUEST_CREATED"},
		{"from a fork that is gone", pull("opened", func(p *forge.PullRequest) { p.HeadRepoID = "" }), true, true, "gone", "PULL_REQUEST_CREATED"},
		{"release", forge.Event{Kind: forge.Other, Name: "release", Action: "published"}, false, false, "release.published", ""},
		{"ping", forge.Event{Kind: forge.Ping, Name: "ping"}, false, false, "ping", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Decide(tt.e)
			if v.Start != tt.start || (v.Gate != "") != tt.gate || v.Trigger.Event != tt.event || !strings.Contains(v.Reason, tt.reason) {
				t.Errorf("got start=%v gate=%q event=%q reason=%q; want start=%v gated=%v event=%q reason with %q",
					v.Start, v.Gate, v.Trigger.Event, v.Reason, tt.start, tt.gate, tt.event, tt.reason)
			}
			if v.Start && v.Trigger.Trusted == tt.gate {
				t.Errorf("trusted = %v for gated = %v", v.Trigger.Trusted, tt.gate)
			}
		})
	}
}

func TestDecideSkips(t *testing.T) {
	for message, skip := range map[string]bool{
		"docs [skip ci]": true, "x [CI SKIP]": true, "y\n\n[no ci]": true, "z [slipway skip]": true,
		"a\n\nskip-checks: true": true, "about skip ci": false, "a skip-checks: true": false,
	} {
		v := Decide(forge.Event{Kind: forge.Push, Push: &forge.PushEvent{Ref: "refs/heads/x", After: "abc", Message: message}})
		if (v.Skip != "") != skip {
			t.Errorf("%q: skip = %q", message, v.Skip)
		}
	}
}

// CodeBuild reference, C42 and C43.
func TestTriggerNames(t *testing.T) {
	for want, trigger := range map[string]Trigger{
		"branch/x": {Ref: "refs/heads/x"},
		"tag/v1":   {Ref: "refs/tags/v1"},
		"pr/8":     {Ref: "refs/heads/feat", Pull: &forge.PullRequest{Number: 8}},
	} {
		if got := trigger.Name(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestIDsHoldNoSlashOrColon(t *testing.T) {
	repo := forge.Repo{Forge: "github", ID: "12:3/4", Owner: "o", Name: "n"}
	key := BoardKey(repo, "o-n", "de{f}ault")
	for _, id := range []string{key, ExecutionID("github", "guid", key, 0), BuildID("x", "Build", "b", 1), DeploymentID("x", "Deploy", "d", 1)} {
		if strings.ContainsAny(id, "/:{}") {
			t.Errorf("ID %q holds one of /:{}", id)
		}
	}
	if d := DeploymentID("x", "Deploy", "d", 1); len(d) != 11 || !strings.HasPrefix(d, "d-") {
		t.Errorf("deployment ID %q: want d- and nine letters", d)
	}
	first, repeated, replayed := ExecutionID("github", "g", key, 0), ExecutionID("github", "g", key, 0), ExecutionID("github", "g", key, 1)
	if first != repeated || first == replayed {
		t.Error("an execution's ID depends on its delivery and attempt, and on nothing else")
	}
}
