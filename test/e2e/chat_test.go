package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

// gated is a pipeline that builds, asks, and goes live.
const gated = `slipway: 1
name: web
on:
  push: [{branches: [main]}]
  pull_request: [{branches: [main]}]
stages:
  - name: Build
    actions:
      - build: unit
  - name: Prod
    environment: production
    actions:
      - approve: go-live
        message: "Release #{app.CommitId}?"
        approvers: [alice]
      - run: live
        commands: ["echo live $CODEBUILD_RESOLVED_SOURCE_VERSION"]
`

// The server has the last word on who approves for production.
const chatConfig = `environments:
  - {name: production, approvers: [bob]}
projects:
  - repository: github/octo/strangers
    variables: {DEPLOY_TOKEN: kept-from-strangers}
`

// says has somebody comment, and waits for what became of it.
func (s *system) says(t *testing.T, r forgetest.Repo, p forgetest.Pull, login, body string) (delivery, forgetest.Comment) {
	t.Helper()
	c := s.github.Write(r.FullName(), p.Number, login, body)
	d := s.awaitDecision(t, s.deliver(t, "issue_comment", forgetest.CommentPayload(r, p, c)))
	list := s.github.Comments(r.FullName(), p.Number)
	return d, list[slices.IndexFunc(list, func(o forgetest.Comment) bool { return o.ID == c.ID })]
}

// noted wants these acts, in their order, as all that the audit log has of
// comments: each with its author's name, where it stands and what came of it.
func (s *system) noted(t *testing.T, want ...string) {
	t.Helper()
	var log page[struct {
		Who, Via, Action, Target, Repo, SHA, Delivery, Outcome, Detail string
		WhoID                                                          string `json:"who_id"`
	}]
	if err := s.call(t.Context(), "GET", "/api/v1/audit?limit=200", nil, &log); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range slices.Backward(log.Items) {
		if !strings.HasSuffix(e.Via, " comment") {
			continue
		}
		got = append(got, e.Who+" "+e.Action+" "+e.Outcome)
		if e.WhoID == "" || e.Target == "" || e.Repo == "" || len(e.SHA) != 40 || e.Delivery == "" || !strings.HasPrefix(e.Detail, e.Action) {
			t.Errorf("incomplete: %+v", e)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the audit log (-want +got)\n%s", diff)
	}
}

// replied wants a comment of ours on the pull request.
func (s *system) replied(t *testing.T, r forgetest.Repo, p forgetest.Pull, want string) {
	t.Helper()
	var said []string
	for _, c := range s.github.Comments(r.FullName(), p.Number) {
		if strings.HasSuffix(c.Login, "[bot]") {
			said = append(said, c.Body)
		}
	}
	if !strings.Contains(strings.Join(said, "\n"), want) {
		t.Errorf("no comment of ours says %q:\n%s", want, strings.Join(said, "\n---\n"))
	}
}

// pull opens a pull request of the repository itself.
func (s *system) pull(t *testing.T, r forgetest.Repo, number int, files map[string]string) forgetest.Pull {
	t.Helper()
	branch := fmt.Sprintf("topic-%d", number)
	base := s.commit(t, r, "main", "base", files)
	head := s.commit(t, r, branch, "change", files)
	p := forgetest.Pull{Number: number, Title: "a change", Head: branch, HeadSHA: head.After, Base: "main", BaseSHA: base.After, Author: "rita",
		Files: []forgetest.File{{Name: "buildspec.yml"}}}
	s.github.SetPull(r.FullName(), p)
	s.deliver(t, "pull_request", forgetest.PullPayload(r, p, "opened"))
	return p
}

func waitsAtGate(x execution) bool {
	for _, st := range x.Stages {
		for _, a := range st.Actions {
			if a.Name == "go-live" && a.Status == "InProgress" {
				return true
			}
		}
	}
	return false
}

// TestChatApproves drives a release by comments: one is refused for lack of
// permission, one because the head has moved, and then it is approved.
func TestChatApproves(t *testing.T) {
	t.Parallel()
	s := newSystem(t, setup{runners: []string{"host"}, slots: 2, config: chatConfig})
	r := s.repo(t, owner, "web")
	for login, level := range map[string]string{"alice": "write", "bob": "write", "rita": "read"} {
		s.github.SetPermission(r.FullName(), login, level)
	}
	files := buildspec("echo built")
	files[".slipway/pipeline.yml"] = gated
	p := s.pull(t, r, 7, files)
	first := s.awaitState(t, p.HeadSHA, waitsAtGate)

	// The pipeline file names alice, but production is the server's.
	d, c := s.says(t, r, p, "alice", "/approve")
	if d.Decision != "ignored" || !slices.Contains(c.Reactions, "-1") {
		t.Errorf("alice: %+v, reactions %v", d, c.Reactions)
	}
	s.replied(t, r, p, "you are not one of the gate's approvers")
	d, _ = s.says(t, r, p, "rita", "/deploy production")
	if d.Decision != "ignored" {
		t.Errorf("rita: %+v", d)
	}
	s.replied(t, r, p, "it needs the permission to write (you have read)")

	// Bob looked at the first commit; by the time that he writes there is another.
	moved := p
	moved.HeadSHA = s.commit(t, r, p.Head, "another change", files).After
	s.github.SetPull(r.FullName(), moved)
	d, _ = s.says(t, r, p, "bob", "/approve --run "+first.ID)
	if d.Decision != "ignored" {
		t.Errorf("bob, too late: %+v", d)
	}
	s.replied(t, r, p, "is not the head any more, which is "+moved.HeadSHA[:7])

	d, _ = s.says(t, r, p, "alice", "/cancel")
	if d.Decision != "acted" {
		t.Errorf("alice cancels: %+v", d)
	}
	if x := s.awaitExecution(t, p.HeadSHA); x.Status != "Stopped" {
		t.Errorf("the first ended as %s", x.Status)
	}
	s.deliver(t, "pull_request", forgetest.PullPayload(r, moved, "synchronize"))
	s.awaitState(t, moved.HeadSHA, waitsAtGate)
	// GitHub fails once, after the approval: it stands, and is answered as one.
	s.github.Fail(forgetest.Fault{On: "/reactions", Status: 500, Times: 1})
	d, c = s.says(t, r, moved, "bob", "Looks good.\n\n/approve go-live -m 'ship it'\n/status")
	if d.Decision != "acted" || !slices.Contains(c.Reactions, "rocket") {
		t.Errorf("bob: %+v, reactions %v", d, c.Reactions)
	}
	if x := s.awaitExecution(t, moved.HeadSHA); x.Status != "Succeeded" {
		t.Errorf("it ended as %s: %s", x.Status, x.Reason)
	}
	s.replied(t, r, p, "Approved: go-live of [web #2]")

	s.noted(t, "alice /approve refused", "rita /deploy refused", "bob /approve refused", "alice /cancel done", "bob /approve done")

	// Bob holds production; what comes waits in front of it, until it is his again.
	d, _ = s.says(t, r, moved, "bob", "/hold production -m 'freeze'")
	if d.Decision != "acted" {
		t.Errorf("hold: %+v", d)
	}
	d, _ = s.says(t, r, moved, "alice", "/run web")
	if d.Decision != "started" || len(d.Executions) != 1 {
		t.Fatalf("run: %+v", d)
	}
	s.awaitBuilt(t, d.Executions[0])
	if d, _ := s.says(t, r, moved, "alice", "/unhold production"); d.Decision != "ignored" {
		t.Errorf("alice lets go: %+v", d)
	}
	s.replied(t, r, moved, "is held by `bob`")
	if d, _ := s.says(t, r, moved, "bob", "/unhold production"); d.Decision != "acted" {
		t.Errorf("bob lets go: %+v", d)
	}
	await(t, startLimit, func(ctx context.Context) error {
		x, err := s.execution(ctx, d.Executions[0])
		if err == nil && !waitsAtGate(x) {
			err = fmt.Errorf("execution %s is %s: %+v", x.ID, x.Status, x.Stages)
		}
		return err
	})

	// And again, from the start, because somebody wants to see it once more.
	d, _ = s.says(t, r, moved, "alice", "/test web")
	if d.Decision != "started" || len(d.Executions) != 1 {
		t.Errorf("test: %+v", d)
	}
	d, _ = s.says(t, r, moved, "alice", "/logs unit -n 5\n/help")
	s.replied(t, r, moved, "built")
	s.replied(t, r, moved, "| `/ok-to-test [SHA \\| cancel]` |")
}

// awaitBuilt waits until an execution has been built and stands before a stage.
func (s *system) awaitBuilt(t *testing.T, id string) {
	t.Helper()
	await(t, buildLimit, func(ctx context.Context) error {
		x, err := s.execution(ctx, id)
		if err != nil {
			return err
		}
		for i, st := range x.Stages {
			if st.Name == "Build" && st.Status == "Succeeded" && x.Stages[i+1].Status == "" {
				return nil
			}
		}
		return fmt.Errorf("execution %s is %s: %+v", id, x.Status, x.Stages)
	})
}

// TestStrangersCommit lets one commit of a fork be built: with the base
// branch's pipeline, without what the project's builds are given, and not the
// commit that comes after it.
//
// Attacks: 3.
func TestStrangersCommit(t *testing.T) {
	t.Parallel()
	s := newSystem(t, setup{runners: []string{"host"}, slots: 2, config: chatConfig})
	r := s.repo(t, owner, "strangers")
	s.github.SetPermission(r.FullName(), "alice", "write")
	s.github.SetPermission(r.FullName(), mallory, "read")
	out := filepath.Join(t.TempDir(), "env")
	mark := filepath.Join(t.TempDir(), "owned")
	files := buildspec("echo base")
	files[".slipway/pipeline.yml"] = gated
	base := s.commit(t, r, "main", "base", files)

	evil := buildspec("env > "+out, "echo built by a stranger")
	evil[".slipway/pipeline.yml"] = strings.ReplaceAll(gated, "echo live", "touch "+mark+" #")
	head := s.commit(t, r, "pull-1", "nice", evil)
	p := forgetest.Pull{Number: 1, Title: "nice", Head: "patch", HeadSHA: head.After, HeadRepo: 987654, Base: "main", BaseSHA: base.After, Author: mallory,
		Files: []forgetest.File{{Name: "buildspec.yml"}}}
	s.github.SetPull(r.FullName(), p)
	s.deliver(t, "pull_request", forgetest.PullPayload(r, p, "opened"))
	if check := s.awaitChecks(t, r, p.HeadSHA, 1)[0]; check.Conclusion != "action_required" {
		t.Errorf("before anybody looked: %s", brief([]forgetest.CheckRun{check}))
	}
	if d, _ := s.says(t, r, p, mallory, "/ok-to-test "+p.HeadSHA); d.Decision != "ignored" {
		t.Errorf("the author approves: %+v", d)
	}
	d, _ := s.says(t, r, p, "alice", "/ok-to-test "+p.HeadSHA[:10])
	if d.Decision != "started" {
		t.Fatalf("approved: %+v", d)
	}
	x := s.awaitExecution(t, p.HeadSHA)
	if x.Status != "Succeeded" || len(x.Stages) != 2 {
		t.Errorf("it ended as %+v, want Source and Build alone", x)
	}
	environment, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(environment), "CODEBUILD_RESOLVED_SOURCE_VERSION="+p.HeadSHA) || strings.Contains(string(environment), "kept-from-strangers") {
		t.Errorf("its environment: %v\n%s", err, environment)
	}
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stranger's pipeline ran: %v", err)
	}

	// The next commit is another one.
	next := p
	next.HeadSHA = s.commit(t, r, "pull-1", "nicer", buildspec("touch "+mark)).After
	s.github.SetPull(r.FullName(), next)
	s.deliver(t, "pull_request", forgetest.PullPayload(r, next, "synchronize"))
	if check := s.awaitChecks(t, r, next.HeadSHA, 1)[0]; check.Conclusion != "action_required" {
		t.Errorf("the next commit: %s", brief([]forgetest.CheckRun{check}))
	}
	if d, _ := s.says(t, r, next, "alice", "/ok-to-test "+p.HeadSHA[:10]); d.Decision != "ignored" {
		t.Errorf("approving the one before: %+v", d)
	}
	s.replied(t, r, next, "is not the head any more")
	await(t, startLimit, func(ctx context.Context) error {
		list, err := s.executionsOf(ctx, next.HeadSHA)
		if err == nil && len(list) > 0 {
			err = fmt.Errorf("executions of the next commit: %+v", list)
		}
		return err
	})
}
