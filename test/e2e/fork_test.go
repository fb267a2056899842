package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

const mallory = "mallory"

// TestForkAttack sends all that an outsider can make GitHub send, for a commit
// whose build would leave a mark on this host. The commit can be fetched from
// the base repository, as GitHub's are.
// C44 of the CodeBuild reference: nothing of it runs before somebody approves.
//
// Attacks: 4.
func TestForkAttack(t *testing.T) {
	s := shared(t)
	r := s.repo(t, owner, "attacked")
	r.DefaultBranch = "main"
	base := s.commit(t, r, "main", "harmless", buildspec("echo harmless"))
	s.github.SetPermission(r.FullName(), mallory, "read")
	mark := filepath.Join(t.TempDir(), "owned")
	pull := func(number int, branch string, headRepo int64) forgetest.Pull {
		evil := s.commit(t, r, fmt.Sprintf("pull-%d", number), fmt.Sprintf("evil %d", number), buildspec("touch "+mark))
		p := forgetest.Pull{Number: number, Title: "nice", Head: branch, HeadSHA: evil.After, HeadRepo: headRepo, Base: "main", BaseSHA: base.After, Author: mallory}
		s.github.SetPull(r.FullName(), p)
		return p
	}
	const fork = 987654
	tests := []struct {
		name, action string
		pull         forgetest.Pull
		change       func(pr map[string]any)
	}{
		{"opened", "opened", pull(1, "patch", fork), nil},
		{"pushed again", "synchronize", pull(2, "patch", fork), nil},
		{"reopened", "reopened", pull(3, "patch", fork), nil},
		{"out of draft", "ready_for_review", pull(4, "patch", fork), nil},
		{"branch named as the default branch", "opened", pull(5, "main", fork), nil},
		{"head repository deleted", "opened", pull(6, "patch", -1), nil},
		{"fork with the name of the base", "opened", pull(7, "patch", fork), func(pr map[string]any) {
			head := pr["head"].(map[string]any)["repo"].(map[string]any)
			head["full_name"], head["name"], head["fork"] = r.FullName(), r.Name, false
		}},
		{"author who says to be the owner", "opened", pull(8, "patch", fork), func(pr map[string]any) {
			pr["author_association"] = "OWNER"
		}},
		{"title and branch as commands", "opened", pull(9, "a\";touch${IFS}"+mark+";#", fork), nil},
	}
	for _, tt := range tests {
		payload := forgetest.PullPayload(r, tt.pull, tt.action)
		if tt.change != nil {
			tt.change(payload["pull_request"].(map[string]any))
		}
		d := s.awaitDecision(t, s.deliver(t, "pull_request", payload))
		if d.Decision != "ignored" || len(d.Executions) != 0 || !strings.Contains(d.Reason, "approval") {
			t.Errorf("%s: got %+v, want it ignored until it is approved", tt.name, d)
		}
		check := s.awaitChecks(t, r, tt.pull.HeadSHA, 1)[0]
		if check.Conclusion != "action_required" {
			t.Errorf("%s: got check %s, want action_required", tt.name, brief([]forgetest.CheckRun{check}))
		}
		s.attackCheck(t, r, tt.pull, check)
	}
	s.checkUnharmed(t, r, mark, base)
}

// attackCheck tries to run what is held back by its check and by comments. The
// buttons are for people who may write, but an outsider's client may send what
// it likes.
func (s *system) attackCheck(t *testing.T, r forgetest.Repo, p forgetest.Pull, check forgetest.CheckRun) {
	t.Helper()
	comment := map[string]any{
		"action": "created", "repository": forgetest.PullPayload(r, p, "opened")["repository"],
		"issue":        map[string]any{"number": p.Number, "state": "open", "pull_request": map[string]any{"url": "x"}},
		"comment":      map[string]any{"id": 1, "body": "/ok-to-test " + p.HeadSHA, "user": map[string]any{"login": mallory, "id": 1, "type": "User"}},
		"sender":       map[string]any{"login": mallory, "id": 1, "type": "User"},
		"installation": map[string]any{"id": r.Installation},
	}
	for event, payloads := range map[string][]any{
		"check_run": {
			forgetest.CheckPayload(r, check, "rerequested", ""),
			forgetest.CheckPayload(r, check, "requested_action", "rerun_failed"),
			forgetest.CheckPayload(r, check, "requested_action", "rerun_all"),
		},
		"check_suite":   {forgetest.SuitePayload(r, p.HeadSHA, appID)},
		"issue_comment": {comment},
	} {
		for _, payload := range payloads {
			s.awaitDecision(t, s.deliver(t, event, payload))
		}
	}
}

// checkUnharmed pushes to the base, which builds, and thereby shows that what
// came before it had its chance: nothing of it ran.
func (s *system) checkUnharmed(t *testing.T, r forgetest.Repo, mark string, base forgetest.Push) {
	t.Helper()
	s.deliver(t, "push", base.Payload(r))
	if x := s.awaitExecution(t, base.After); x.Status != "Succeeded" {
		t.Errorf("the push to the base: %s: %s", x.Status, x.Reason)
	}
	await(t, startLimit, func(ctx context.Context) error {
		var p page[execution]
		if err := s.call(ctx, "GET", "/api/v1/executions?limit=200&forge=github&repo="+r.FullName(), nil, &p); err != nil {
			return err
		}
		if len(p.Items) != 1 {
			return fmt.Errorf("executions %+v, want only that of the push", p.Items)
		}
		return nil
	})
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a fork's commands ran: %v", err)
	}
	for _, c := range s.github.CheckRuns(r.FullName(), "") {
		if c.SHA != base.After && c.Conclusion != "action_required" {
			t.Errorf("got check %s on %s, want action_required", brief([]forgetest.CheckRun{c}), c.SHA)
		}
	}
}
