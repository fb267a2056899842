package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestRelease has a release start what asks for releases, at the commit of its
// annotated tag, which the forge doesn't name.
func TestRelease(t *testing.T) {
	t.Parallel()
	s := newSystem(t, setup{runners: []string{"host"}, slots: 1})
	r := s.repo(t, owner, "shipped")
	files := map[string]string{".slipway/ship.yml": `slipway: 1
on: {release: {tags: ["v*"]}}
stages:
  - name: Ship
    actions:
      - run: ship
        commands: ['test "$CODEBUILD_WEBHOOK_EVENT $CODEBUILD_WEBHOOK_TRIGGER" = "RELEASED tag/v1.0"']
`}
	p := s.commit(t, r, "main", "first", files)
	tag := exec.CommandContext(t.Context(), "git", "-C", s.git.path(r.FullName()), "-c", "user.name=Octo Cat", "-c", "user.email=octocat@example.com",
		"tag", "-a", "-m", "One", "v1.0", p.After)
	if out, err := tag.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if d := s.awaitDecision(t, s.deliver(t, "push", p.Payload(r))); d.Decision != "ignored" || !strings.Contains(d.Reason, "only releases start it") {
		t.Errorf("a push: %+v", d)
	}
	released := p.Payload(r)
	released["action"], released["release"] = "released", map[string]any{"id": 1, "tag_name": "v1.0", "name": "One", "draft": false, "prerelease": false}
	if d := s.awaitDecision(t, s.deliver(t, "release", released)); d.Decision != "started" || !strings.Contains(d.Reason, "release v1.0") {
		t.Fatalf("a release: %+v", d)
	}
	if check := s.awaitChecks(t, r, p.After, 1)[0]; check.Name != "slipway / ship" || check.Conclusion != "success" {
		t.Errorf("got %s, %s", check.Name, check.Conclusion)
	}
}
