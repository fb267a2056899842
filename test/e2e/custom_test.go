package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

const bench = `slipway: 1
variables: {SUITE: all}
on:
  comment: "^/bench( (?P<SUITE>[a-z]+))?$"
stages:
  - name: Measure
    actions:
      - run: measure
        commands: ['test "#{variables.SUITE}" = quick']
`

// TestCustomCommand has a comment start a pipeline that has a command of its
// own, and an admin override its check.
func TestCustomCommand(t *testing.T) {
	t.Parallel()
	s := newSystem(t, setup{runners: []string{"host"}, slots: 2, config: chatConfig})
	r := s.repo(t, owner, "measured")
	for login, level := range map[string]string{"alice": "write", "root": "admin"} {
		s.github.SetPermission(r.FullName(), login, level)
	}
	files := buildspec("echo built")
	files[".slipway/bench.yml"] = bench
	p := s.pull(t, r, 7, files)
	if d, _ := s.says(t, r, p, "alice", "/lgtm\n/bench it!"); d.Decision != "ignored" {
		t.Errorf("somebody else's commands: %+v", d)
	}
	if d, _ := s.says(t, r, p, mallory, "/bench quick"); d.Decision != "ignored" {
		t.Errorf("a stranger: %+v", d)
	}
	d, _ := s.says(t, r, p, "alice", "Let us see.\n/bench slow")
	if d.Decision != "started" || len(d.Executions) != 1 {
		t.Fatalf("bench: %+v", d)
	}
	if check := s.awaitChecks(t, r, p.HeadSHA, 1)[0]; check.Name != "slipway / bench" || check.Conclusion != "failure" {
		t.Errorf("slow: %s", brief([]forgetest.CheckRun{check}))
	}

	if d, _ := s.says(t, r, p, "alice", `/override bench -m "flaky"`); d.Decision != "ignored" {
		t.Errorf("a writer overrides: %+v", d)
	}
	s.replied(t, r, p, "it needs the permission to admin (you have write)")
	if d, _ := s.says(t, r, p, "root", `/override "slipway / bench" -m "the host is flaky"`); d.Decision != "acted" {
		t.Errorf("an admin overrides: %+v", d)
	}
	await(t, buildLimit, func(context.Context) error {
		list := s.github.CheckRuns(r.FullName(), p.HeadSHA)
		if len(list) != 2 || list[1].Conclusion != "success" || list[1].Title != "Overridden by @root: the host is flaky" {
			return fmt.Errorf("checks: %s", brief(list))
		}
		return nil
	})
	if x, err := s.execution(t.Context(), d.Executions[0]); err != nil || x.Status != "Failed" {
		t.Errorf("the execution is %s, %v", x.Status, err)
	}

	// Run again, it is what it is.
	if d, _ = s.says(t, r, p, "alice", "/bench quick"); d.Decision != "started" {
		t.Fatalf("bench: %+v", d)
	}
	await(t, buildLimit, func(ctx context.Context) error {
		x, err := s.execution(ctx, d.Executions[0])
		if err == nil && x.Status != "Succeeded" {
			err = fmt.Errorf("execution %s is %s", x.ID, x.Status)
		}
		return err
	})
	s.noted(t, "alice /bench done", "alice /override refused", "root /override done", "alice /bench done")
}
