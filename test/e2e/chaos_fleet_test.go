package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

// chaosConfig has a group of three hosts, one of which must stay well: a script
// that dies with its agent fails its host.
const chaosConfig = `
limits:
  agent_lease: 4s
environments:
  - {name: production, approvers: [alice]}
deployment_groups:
  - name: fleet
    application: fleet
    repository: github/chaos/fleet
    environment: production
    tags: {role: web}
    config: two-at-a-time
    minimum_healthy_hosts: "1"
    file_exists_behavior: OVERWRITE
`

// chaosPipeline builds, asks and deploys, each execution for itself: those that
// deploy wait for the group.
const chaosPipeline = `slipway: 1
name: release
mode: parallel
on:
  push: [{branches: [main]}]
stages:
  - name: Build
    actions:
      - build: package
        out: bundle
  - name: Release
    environment: production
    actions:
      - approve: go-live
      - codedeploy: fleet
        group: fleet
        in: bundle
`

// released is one execution that deploys: approved by API, or by a comment on
// the pull request that was merged.
type released struct {
	sha, version string
	pull         forgetest.Pull    // that was merged as this commit; number 0: approved by API
	comment      forgetest.Comment // the one that approves
	delivery     string            // of the comment
}

// releaseAll releases until ctx ends, and waits until everything was approved
// that came so far.
func (r *run) releaseAll(ctx context.Context, t testing.TB, rng *rand.Rand) error {
	repo := r.sys.repo(t, chaosOwner, "fleet")
	r.sys.github.SetPermission(repo.FullName(), "alice", "write")
	var approving errgroup.Group
	base := r.sys.commit(t, repo, "main", "base", map[string]string{"README": "nothing yet"})
	for n := 1; n == 1 || wait(ctx, between(rng, 0, 2*r.plan.releases)); n++ {
		x := released{version: fmt.Sprint(n)}
		files := r.fleet.revision(x.version, map[string]string{"AfterInstall": "sleep 0.3"}, nil)
		maps.Copy(files, r.building(rng))
		files[".slipway/release.yml"] = chaosPipeline
		p := r.sys.commit(t, repo, "main", "release "+x.version, files)
		x.sha = p.After
		d := forgetest.Delivery{Event: "push", ID: deliveryID(x.sha), Secret: webhookSecret, Payload: p.Payload(repo)}
		if n%2 == 1 {
			x.pull = forgetest.Pull{
				Number: n, Title: "release", Head: "topic", HeadSHA: base.After, Base: "main", BaseSHA: base.After, Author: "rita",
				State: "closed", Merged: true, MergeSHA: x.sha,
			}
			r.sys.github.SetPull(repo.FullName(), x.pull)
		}
		again := rng.IntN(4) == 0
		approving.Go(func() error {
			err := r.send(t.Context(), pushed{repo: repo.FullName(), sha: x.sha, delivery: d.ID, release: true}, d, again)
			if err == nil {
				err = r.approve(t.Context(), repo, x, again)
			}
			return err
		})
	}
	return approving.Wait()
}

// approve answers an execution's approval as soon as it waits. One that ends
// before, as after too many lost attempts, needs no answer.
func (r *run) approve(ctx context.Context, repo forgetest.Repo, x released, again bool) error {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.released = append(r.released, x)
	}()
	var found execution
	err := until(ctx, r.patience(), func(ctx context.Context) error {
		list, err := r.sys.executionsOf(ctx, x.sha)
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("%d executions", len(list))
		}
		if err == nil {
			found, err = r.sys.execution(ctx, list[0].ID)
		}
		if err == nil && !found.ended() && !gate("go-live")(found) {
			err = fmt.Errorf("execution %s is %s and doesn't wait", found.ID, found.Status)
		}
		return err
	})
	if err != nil || found.ended() {
		return err
	}
	if x.pull.Number == 0 {
		return until(ctx, ackLimit, func(ctx context.Context) error {
			err := r.sys.call(ctx, "POST", "/api/v1/executions/"+found.ID+"/approve", nil, nil)
			if err != nil && strings.Contains(err.Error(), " 409 ") { // the try before got through
				return nil
			}
			return err
		})
	}
	x.comment = r.sys.github.Write(repo.FullName(), x.pull.Number, "alice", "Looks good.\n\n/approve go-live")
	d := forgetest.Delivery{Event: "issue_comment", ID: "comment-" + deliveryID(x.sha), Secret: webhookSecret, Payload: forgetest.CommentPayload(repo, x.pull, x.comment)}
	x.delivery = d.ID
	if err := r.deliver(ctx, d); err != nil || !again {
		return err
	}
	return r.deliver(ctx, d)
}

// patience is how long something may take that began while processes died.
func (r *run) patience() time.Duration {
	return r.settle + time.Duration(r.plan.kills)*r.calm
}

// checkReleases looks at approvals, deployments and hosts: every deployment has
// ended, as its execution says; each comment had one effect and one answer; no
// script ran twice; and the hosts have what they were given last.
func (r *run) checkReleases(t *testing.T, found map[string]execution) {
	all, err := r.deployments(t.Context())
	if err != nil {
		t.Error(err)
	}
	states, comments := map[string]int{}, 0
	versions := map[string]string{}
	for _, x := range r.released {
		versions[x.sha] = x.version
		states[found[x.sha].Status]++
		r.checkDeployed(t, found[x.sha], all)
		if x.comment.ID != 0 {
			comments++
			r.checkAnswered(t, x)
		}
	}
	if len(r.released) == 0 || 2*states["Succeeded"] < len(r.released) {
		t.Errorf("releases ended as %v, want at least half of them to succeed", states)
	}
	t.Logf("comments were answered %s after the last fault", time.Since(r.healed).Round(time.Second))
	r.fleet.checkOnce(t)
	r.checkHosts(t, all, versions)
	r.checkForgeDeployments(t, found)
	t.Logf("RELEASES %d, %d of them approved by comments: executions %v, deployments %d", len(r.released), comments, states, len(all))
}

// deployments are all of them, newest first, once they have ended.
func (r *run) deployments(ctx context.Context) (all []deployment, err error) {
	return all, until(ctx, r.settle, func(ctx context.Context) error {
		all = nil
		for after := ""; ; {
			var p page[deployment]
			if err := r.sys.call(ctx, "GET", "/api/v1/deployments?group=fleet&limit=100&after="+after, nil, &p); err != nil {
				return err
			}
			all = append(all, p.Items...)
			if after = p.Next; after == "" {
				break
			}
		}
		for _, d := range all {
			if !d.ended() {
				return fmt.Errorf("deployment %s is %s", d.ID, d.Status)
			}
		}
		return nil
	})
}

// checkDeployed: an execution deploys once, and says how that ended.
func (r *run) checkDeployed(t *testing.T, x execution, all []deployment) {
	var own []deployment
	for _, d := range all {
		if d.Execution == x.ID && x.ID != "" {
			own = append(own, d)
		}
	}
	succeeded := len(own) == 1 && own[0].Status == "Succeeded"
	if len(own) > 1 || succeeded != (x.Status == "Succeeded") {
		t.Errorf("execution %s is %s (%s), its deployments are %+v", x.ID, x.Status, x.Reason, own)
	}
	if x.Status != "Succeeded" && len(own) == 1 {
		t.Logf("deployment %s of %s: %s, %+v", own[0].ID, x.ID, own[0].Status, own[0].Error)
	}
}

// checkAnswered: a comment is done once, and answered once, within what a
// healthy GitHub may wait.
func (r *run) checkAnswered(t *testing.T, x released) {
	err := until(t.Context(), forgeLimit, func(ctx context.Context) error {
		d, err := r.sys.delivery(ctx, x.delivery)
		if err != nil || d.Decision != "acted" {
			return fmt.Errorf("the ledger says %+v (%v) of a comment, want acted", d, err)
		}
		return r.answered(x)
	})
	if err != nil {
		t.Error(err)
	}
	var audit page[struct{ Delivery, Outcome string }]
	if err := r.sys.call(t.Context(), "GET", "/api/v1/audit?limit=200", nil, &audit); err != nil {
		t.Fatal(err)
	}
	noted := slices.DeleteFunc(audit.Items, func(e struct{ Delivery, Outcome string }) bool { return e.Delivery != x.delivery })
	if len(noted) > 1 || len(noted) == 1 && noted[0].Outcome != "done" || len(noted) == 0 && audit.Next == "" {
		t.Errorf("the audit log has %+v of delivery %s, want it once, done", noted, x.delivery)
	}
}

// answered: GitHub has one reply and one reaction to the comment.
func (r *run) answered(x released) error {
	var replies, reactions []string
	for _, c := range r.sys.github.Comments(chaosOwner+"/fleet", x.pull.Number) {
		if c.ID == x.comment.ID {
			reactions = c.Reactions
		}
		if strings.HasSuffix(c.Login, "[bot]") && strings.Contains(c.Body, "go-live") {
			replies = append(replies, c.Body)
		}
	}
	if len(replies) != 1 || !strings.Contains(replies[0], "Approved: go-live") || !slices.Equal(reactions, []string{"rocket"}) {
		return fmt.Errorf("the approval of release %s has reactions %v and replies %q, want one of each", x.version, reactions, replies)
	}
	return nil
}

// checkHosts: a host on which a deployment succeeded has its files, as long as
// no later one has been there.
func (r *run) checkHosts(t *testing.T, all []deployment, versions map[string]string) {
	for _, agent := range slices.Sorted(maps.Keys(r.fleet.agents)) {
		i := slices.IndexFunc(all, func(d deployment) bool {
			return !slices.Contains([]string{"", "Pending", "Skipped"}, d.instance(agent).Status)
		})
		if i < 0 {
			t.Errorf("nothing was ever deployed to %s", agent)
			continue
		}
		if d := all[i]; d.instance(agent).Status == "Succeeded" {
			r.fleet.checkVersions(t, map[string]string{agent: versions[d.Revision.SHA]})
		}
	}
}

// deploymentStates are GitHub's words for how executions that deployed end.
var deploymentStates = map[string]string{"Succeeded": "success", "Failed": "failure"}

// checkForgeDeployments compares GitHub's last word on deployments with ours.
func (r *run) checkForgeDeployments(t *testing.T, found map[string]execution) {
	err := until(t.Context(), forgeLimit, func(context.Context) error {
		last := map[string][]string{}
		for _, d := range r.sys.github.Deployments(chaosOwner + "/fleet") {
			state := "none"
			if n := len(d.Statuses); n > 0 {
				state = d.Statuses[n-1].State
			}
			last[d.SHA] = append(last[d.SHA], state)
		}
		var wrong []error
		for _, x := range r.released {
			if want := deploymentStates[found[x.sha].Status]; want == "success" && !slices.Equal(last[x.sha], []string{want}) || len(last[x.sha]) > 1 {
				wrong = append(wrong, fmt.Errorf("GitHub has deployments %v of %s, which is %s", last[x.sha], x.sha, found[x.sha].Status))
			}
		}
		return errors.Join(wrong...)
	})
	if err != nil {
		t.Error(err)
	}
}
