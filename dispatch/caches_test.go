package dispatch

import (
	"testing"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// What an untrusted build saves lies where no trusted build looks.
//
// Attacks: 6.
func TestCacheScopes(t *testing.T) {
	scope := func(repo, project, execution string, trusted bool, pull int) string {
		x := pipeline.Execution{ID: execution, Repo: forge.Repo{Forge: "github", ID: repo}, Trigger: pipeline.Trigger{Trusted: trusted}}
		if pull > 0 {
			x.Trigger.Pull = &forge.PullRequest{Number: pull}
		}
		return scopeOf(pipeline.Build{Project: project}, x)
	}
	trusted := scope("1", "app", "a", true, 0)
	tests := []struct {
		name, scope string
		shared      bool
	}{
		{"another push", scope("1", "app", "b", true, 0), true},
		{"a trusted pull request", scope("1", "app", "b", true, 7), true},
		{"C44 a pull request of a stranger", scope("1", "app", "b", false, 7), false},
		{"an untrusted trigger of another kind", scope("1", "app", "b", false, 0), false},
		{"another project", scope("1", "other", "b", true, 0), false},
		{"another repository", scope("2", "app", "b", true, 0), false},
	}
	for _, tt := range tests {
		if got := tt.scope == trusted; got != tt.shared {
			t.Errorf("%s: shared %t, want %t", tt.name, got, tt.shared)
		}
	}
	if scope("1", "app", "a", false, 7) == scope("1", "app", "b", false, 8) {
		t.Error("two pull requests of strangers share a cache")
	}
}
