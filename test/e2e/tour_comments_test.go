package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

// commentsConfig is a group that a pull request's branch may be deployed to,
// once somebody who may has asked for it.
const commentsConfig = `
limits:
  agent_lease: 3s
environments:
  - {name: production, approvers: %[3]s}
deployment_groups:
  - name: %[2]s
    application: web
    repository: %[1]s
    branches: ["**"]
    environment: production
    tags: {role: web}
    config: CodeDeployDefault.HalfAtATime
    auto_rollback: [DEPLOYMENT_FAILURE]
`

// host is a git host as the tour by comments uses it.
type host interface {
	// commit is a commit on a branch, which nobody was told of.
	commit(t *testing.T, branch string, files map[string]string) string
	// moves has a pull request at the host; tell sends its webhook.
	moves(t *testing.T, p forgetest.Pull)
	tell(t *testing.T, p forgetest.Pull, opened bool)
	// says has somebody comment, and waits for what became of it.
	says(t *testing.T, p forgetest.Pull, login, body string) delivery
	// replies are our comments on the pull request.
	replies(p forgetest.Pull) []string
	// shows waits until the host has the last word on a commit.
	shows(t *testing.T, sha string, succeeded bool)
}

// TestTourByGitHubComments is the tour by GitHub's payloads alone: everything
// is started and approved by comments on a pull request.
func TestTourByGitHubComments(t *testing.T) {
	t.Parallel()
	b, o := tourSetup(t, fmt.Sprintf(commentsConfig, "github/octo/web", "web", "[alice]"))
	f := newFleet(t, o)
	for login, level := range map[string]string{"alice": "write", "rita": "read"} {
		f.github.SetPermission(f.repo.FullName(), login, level)
	}
	f.tourByComments(t, githubHost{f})
	b.sealed(t)
	await(t, startLimit, func(context.Context) error {
		var ends []string
		for _, d := range f.github.Deployments(f.repo.FullName()) {
			if n := len(d.Statuses); n > 0 {
				ends = append(ends, d.Environment+" "+d.Statuses[n-1].State)
			}
		}
		if got := strings.Join(ends, ", "); got != "production success, production failure" {
			return fmt.Errorf("GitHub's deployments are %s", got)
		}
		return nil
	})
	f.noted(t, tourActs...)
}

// TestTourByBitbucketComments is the same with both Bitbucket products.
func TestTourByBitbucketComments(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{cloudEntry, serverEntry} {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			approvers := "[alice]"
			if entry == cloudEntry { // where anybody may take a nickname
				approvers = fmt.Sprintf("[%q]", "id:"+forgetest.CloudUserID("alice"))
			}
			store, o := tourSetup(t, fmt.Sprintf(commentsConfig, entry+"/ACME/web", "web", approvers))
			b := bitbucketsOf(t, o)
			f := fleetOn(t, b.system)
			r := b.repo(t, entry, forgetest.BitbucketRepo{Owner: "ACME", Name: "web", Private: true})
			for name, level := range map[string]string{"alice": "write", "rita": "read"} {
				b.fakes[entry].SetPermission(r.FullName(), words[entry].user(name), level)
			}
			f.tourByComments(t, bitbucketHost{b, entry, r})
			store.sealed(t)
			f.noted(t, tourActs...)
		})
	}
}

// tourActs are what the tour by comments leaves in the audit log.
var tourActs = []string{
	"rita /deploy refused", "alice /deploy refused", "alice /deploy done", "rita /approve refused", "alice /approve done",
	"alice /deploy done", "alice /approve done",
}

func (f *fleetOf) tourByComments(t *testing.T, h host) {
	files := func(version string, scripts map[string]string) map[string]string {
		all := f.site(version, scripts)
		all[".slipway/release.yml"] = releasing("web")
		all[".slipway/check.yml"] = strings.ReplaceAll(checking, "  - name: Review\n    actions:\n      - approve: looked-at\n", "")
		return all
	}
	base := h.commit(t, "main", files("base", nil))
	p := forgetest.Pull{
		Number: 7, Title: "Version one", Head: "topic", HeadSHA: h.commit(t, "topic", files("zero", nil)), Base: "main", BaseSHA: base, Author: "rita",
		Files: []forgetest.File{{Name: "app/version"}},
	}
	h.moves(t, p)
	h.tell(t, p, true)
	f.checked(t, p)
	t.Logf("Pull request #7 was opened and checked at %.7s.", p.HeadSHA)
	refused := func(login, body, why string) {
		t.Helper()
		if d := h.says(t, p, login, body); d.Decision != "ignored" {
			t.Errorf("%s by %s: %+v, want it refused", body, login, d)
		}
		if said := strings.Join(h.replies(p), "\n"); !strings.Contains(said, why) {
			t.Errorf("no comment of ours says %q:\n%s", why, said)
		}
		t.Logf("%s by %s was refused: %s.", body, login, why)
	}
	refused("rita", "/deploy production", "it needs the permission to write (you have read)")
	looked := p.HeadSHA
	p.HeadSHA = h.commit(t, "topic", files("one", nil))
	h.moves(t, p)
	refused("alice", "/deploy production --sha "+looked[:10], "is not the head any more, which is "+p.HeadSHA[:7])
	h.tell(t, p, false)
	f.checked(t, p)

	release := func() execution {
		t.Helper()
		d := h.says(t, p, "alice", "Looks good.\n\n/deploy production --sha "+p.HeadSHA[:10])
		if d.Decision != "started" || len(d.Executions) != 1 {
			t.Fatalf("/deploy: %+v", d)
		}
		return f.awaitOne(t, d.Executions[0], gate("go-live"))
	}
	approved := func(x execution, status string) execution {
		t.Helper()
		if d := h.says(t, p, "alice", "/approve go-live -m fine"); d.Decision != "acted" {
			t.Errorf("/approve: %+v", d)
		}
		if x = f.awaitOne(t, x.ID, execution.ended); x.Status != status {
			t.Fatalf("execution %s is %s: %s, want %s", x.ID, x.Status, x.Reason, status)
		}
		return x
	}
	x := release()
	refused("rita", "/approve", "you are not one of the gate's approvers")
	approved(x, "Succeeded")
	f.checkVersions(t, everywhere("one"))
	f.halfAtATime(t)
	h.shows(t, p.HeadSHA, true)
	t.Logf("/deploy and /approve by alice: %.7s is on three agents, half of them at a time.", p.HeadSHA)

	p.HeadSHA = h.commit(t, "topic", files("bad", f.failingOnOne()))
	h.moves(t, p)
	h.tell(t, p, false)
	f.checked(t, p)
	x = approved(release(), "Failed")
	if !strings.Contains(x.Reason, "ValidateService") {
		t.Errorf("the execution's reason %q doesn't name the event that failed", x.Reason)
	}
	h.shows(t, p.HeadSHA, false)
	t.Logf("Pushed %.7s, deployed by comments, and its ValidateService fails on one agent: %s", p.HeadSHA, x.Reason)
	f.rolledBackTo(t, "web", "one")
}

// checked waits until the pull request's own pipeline has succeeded.
func (f *fleetOf) checked(t *testing.T, p forgetest.Pull) {
	t.Helper()
	f.awaitState(t, p.HeadSHA, func(x execution) bool { return x.Status == "Succeeded" })
}

// awaitOne waits until an execution is as wanted.
func (f *fleetOf) awaitOne(t *testing.T, id string, reached func(execution) bool) (x execution) {
	t.Helper()
	await(t, buildLimit, func(ctx context.Context) (err error) {
		if x, err = f.execution(ctx, id); err == nil && !reached(x) {
			err = fmt.Errorf("execution %s is %s: %s", id, x.Status, x.Reason)
		}
		return err
	})
	return x
}

// githubHost is the fake GitHub, which checks requests against the description.
type githubHost struct{ *fleetOf }

func (h githubHost) commit(t *testing.T, branch string, files map[string]string) string {
	return h.system.commit(t, h.fleetOf.repo, branch, "change", files).After
}

func (h githubHost) moves(_ *testing.T, p forgetest.Pull) {
	h.github.SetPull(h.fleetOf.repo.FullName(), p)
}

func (h githubHost) tell(t *testing.T, p forgetest.Pull, opened bool) {
	action := "synchronize"
	if opened {
		action = "opened"
	}
	h.deliver(t, "pull_request", forgetest.PullPayload(h.fleetOf.repo, p, action))
}

func (h githubHost) says(t *testing.T, p forgetest.Pull, login, body string) delivery {
	d, _ := h.system.says(t, h.fleetOf.repo, p, login, body)
	return d
}

func (h githubHost) replies(p forgetest.Pull) (said []string) {
	for _, c := range h.github.Comments(h.fleetOf.repo.FullName(), p.Number) {
		if strings.HasSuffix(c.Login, "[bot]") {
			said = append(said, c.Body)
		}
	}
	return said
}

func (h githubHost) shows(t *testing.T, sha string, succeeded bool) {
	t.Helper()
	want := map[bool]string{true: "success", false: "failure"}[succeeded]
	await(t, startLimit, func(context.Context) error {
		checks := h.github.CheckRuns(h.fleetOf.repo.FullName(), sha)
		for _, c := range checks {
			if strings.HasSuffix(c.Name, "release") && c.Conclusion == want {
				return nil
			}
		}
		return fmt.Errorf("checks %s, want the release's to be %s", brief(checks), want)
	})
}

// bitbucketHost is the fake of one of the two products.
type bitbucketHost struct {
	*bitbuckets
	entry string
	at    forgetest.BitbucketRepo
}

func (h bitbucketHost) commit(t *testing.T, branch string, files map[string]string) string {
	return h.bitbuckets.commit(t, h.entry, h.at, branch, files).After
}

func (h bitbucketHost) moves(t *testing.T, p forgetest.Pull) {
	h.setPull(t, h.entry, h.at, p)
	h.fakes[h.entry].SetChanges(h.at.FullName(), p.BaseSHA, p.HeadSHA, p.Files)
}

func (h bitbucketHost) tell(t *testing.T, p forgetest.Pull, opened bool) {
	w := words[h.entry]
	event := w.updated
	if opened {
		event = w.opened
	}
	if d := h.deliver(t, h.entry, event, w.pull(h.at, p)); d.Decision != "started" {
		t.Fatalf("%s: %+v", event, d)
	}
}

func (h bitbucketHost) says(t *testing.T, p forgetest.Pull, login, body string) delivery {
	w := words[h.entry]
	c := h.fakes[h.entry].Write(h.at.FullName(), p.Number, login, body)
	return h.deliver(t, h.entry, w.comment, w.said(h.at, p, c))
}

func (h bitbucketHost) replies(p forgetest.Pull) (said []string) {
	for _, c := range h.fakes[h.entry].Comments(h.at.FullName(), p.Number) {
		said = append(said, c.Body)
	}
	return said
}

func (h bitbucketHost) shows(t *testing.T, sha string, succeeded bool) {
	t.Helper()
	want := map[bool]string{true: "SUCCESSFUL", false: "FAILED"}[succeeded]
	await(t, startLimit, func(context.Context) error {
		all := h.fakes[h.entry].Statuses(h.at.FullName(), sha)
		for _, s := range all {
			if strings.HasSuffix(s.Name, "release") && s.State == want {
				return nil
			}
		}
		return fmt.Errorf("statuses %+v, want the release's to be %s", all, want)
	})
}
