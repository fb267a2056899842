package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

// tourConfig has one fleet for two repositories, and says who approves.
const tourConfig = `
limits:
  agent_lease: 3s
environments:
  - {name: production, approvers: [alice]}
deployment_groups:
  - name: site
    application: site
    repository: local/octo/site
    environment: production
    tags: {role: web}
    config: CodeDeployDefault.HalfAtATime
    auto_rollback: [DEPLOYMENT_FAILURE]
  - name: web
    application: web
    repository: github/octo/web
    environment: production
    tags: {role: web}
    config: CodeDeployDefault.AllAtOnce
    file_exists_behavior: OVERWRITE # the other group's files lie there
`

// releasing is a pipeline that builds, asks, and deploys to a group.
func releasing(group string) string {
	return `slipway: 1
name: release
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
        message: "Release #{app.CommitId}?"
      - codedeploy: fleet
        group: ` + group + `
        in: bundle
`
}

// checking is the pipeline of pull requests.
const checking = `slipway: 1
name: check
on:
  pull_request: [{branches: [main]}]
stages:
  - name: Build
    actions:
      - build: unit
  - name: Review
    actions:
      - approve: looked-at
`

// secretWord is in the log and in the artifact, and must not be in the bucket.
const secretWord = "only-for-those-who-may-read-it"

// TestTour is make tour: the whole of Slipway once, by its users' interfaces,
// with real processes.
func TestTour(t *testing.T) {
	bucket, o := tourSetup(t, tourConfig)
	f := newFleet(t, o)
	t.Log("A server, a runner, three agents with a root each, Redis, and an S3-compatible store with encryption.")
	f.tourOwnHost(t)
	bucket.sealed(t)
	f.tourGitHub(t)
}

// tourSetup is a server with a store of its own kind, and a runner.
func tourSetup(t *testing.T, config string) (bucket, setup) {
	t.Helper()
	b, address := newBucket(t)
	return b, setup{config: config, runners: []string{"host"}, slots: 2, server: []string{
		"AWS_ACCESS_KEY_ID=tour", "AWS_SECRET_ACCESS_KEY=tour", "SLIPWAY_BLOB_URL=" + address,
		"SLIPWAY_ENCRYPTION_KEY=" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)),
	}}
}

// tourOwnHost pushes to the built-in git host: a good revision and a bad one.
func (f *fleetOf) tourOwnHost(t *testing.T) {
	good := f.site("one", nil)
	sha := pushTo(t, f.url, "octo/site", f.root, good)
	x := f.awaitState(t, sha, gate("go-live"))
	t.Logf("Pushed %.7s to the built-in git host: built, and waits for an approval.", sha)
	if _, err := os.Stat(filepath.Join(f.place("web1"), "srv/app/version")); err == nil {
		t.Error("it was deployed before anybody approved it")
	}
	f.approve(t, x)
	f.released(t, sha, "Succeeded")
	f.checkVersions(t, everywhere("one"))
	f.halfAtATime(t)
	t.Log("Approved by API: deployed to three agents, half of them at a time.")

	// On the first agent: were it the last, two of three would be well, which is
	// enough.
	bad := f.site("bad", f.failingOnOne())
	sha = pushTo(t, f.url, "octo/site", f.root, bad)
	f.approve(t, f.awaitState(t, sha, gate("go-live")))
	x = f.released(t, sha, "Failed")
	if !strings.Contains(x.Reason, "ValidateService") {
		t.Errorf("the execution's reason %q doesn't name the event that failed", x.Reason)
	}
	t.Logf("Pushed %.7s, whose ValidateService fails on one agent: %s", sha, x.Reason)
	f.rolledBackTo(t, "site", "one")
}

// failingOnOne are scripts of a revision whose ValidateService fails on the
// first agent that gets there.
func (f *fleetOf) failingOnOne() map[string]string {
	return map[string]string{"ValidateService": "if mkdir " + filepath.Join(f.witness, "first") + "; then echo not well; exit 7; fi"}
}

// rolledBackTo waits for the group's rollback, after which all hosts have that
// version.
func (f *fleetOf) rolledBackTo(t *testing.T, group, version string) {
	t.Helper()
	var d deployment
	await(t, buildLimit, func(ctx context.Context) error {
		var all page[deployment]
		if err := f.call(ctx, "GET", "/api/v1/deployments?group="+group, nil, &all); err != nil {
			return err
		}
		i := slices.IndexFunc(all.Items, func(d deployment) bool { return d.RollbackOf != "" })
		if i < 0 || !all.Items[i].ended() {
			return fmt.Errorf("no rollback that has ended: %+v", all.Items)
		}
		d = all.Items[i]
		return nil
	})
	d.check(t, "Succeeded")
	f.checkVersions(t, everywhere(version))
	t.Log("Rolled back: all three have the first revision again.")
}

// site is a repository that is built and deployed.
func (f *fleetOf) site(version string, scripts map[string]string) map[string]string {
	files := f.revision(version, scripts, nil)
	maps.Copy(files, buildspec("echo "+secretWord, "echo "+secretWord+" > app/word"))
	files["buildspec.yml"] += "artifacts:\n  files: ['**/*']\n"
	files[".slipway/release.yml"] = releasing("site")
	return files
}

// gate is whether an execution waits at an approval.
func gate(name string) func(execution) bool {
	return func(x execution) bool {
		for _, st := range x.Stages {
			for _, a := range st.Actions {
				if a.Name == name && a.Status == "InProgress" {
					return true
				}
			}
		}
		return false
	}
}

func (f *fleetOf) approve(t *testing.T, x execution) {
	t.Helper()
	if err := f.call(t.Context(), "POST", "/api/v1/executions/"+x.ID+"/approve", map[string]string{"message": "fine"}, nil); err != nil {
		t.Fatal(err)
	}
}

func (f *fleetOf) released(t *testing.T, sha, status string) execution {
	t.Helper()
	x := f.awaitExecution(t, sha)
	if x.Status != status {
		t.Fatalf("the execution of %.7s is %s: %s, want %s", sha, x.Status, x.Reason, status)
	}
	return x
}

// halfAtATime looks at what the agents' scripts noted: of three hosts, two must
// stay well, so one is deployed to after the other.
func (f *fleetOf) halfAtATime(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(f.ran())
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for line := range strings.Lines(string(data)) {
		hosts = append(hosts, strings.Fields(line)[2])
	}
	if order := slices.Compact(slices.Clone(hosts)); len(order) != 3 {
		t.Errorf("the agents' scripts ran as %v, want one host after the other", order)
	}
}

// tourGitHub has a pull request checked, released by comments.
func (f *fleetOf) tourGitHub(t *testing.T) {
	r := f.system.repo(t, "octo", "web")
	for login, level := range map[string]string{"alice": "write", "rita": "read"} {
		f.github.SetPermission(r.FullName(), login, level)
	}
	files := f.site("two", nil)
	files[".slipway/release.yml"], files[".slipway/check.yml"] = releasing("web"), checking
	base := f.commit(t, r, "main", "base", files)
	p := forgetest.Pull{Number: 7, Title: "Version two", Head: "two", HeadSHA: f.commit(t, r, "two", "two", files).After, Base: "main", BaseSHA: base.After, Author: "rita",
		Files: []forgetest.File{{Name: "app/version"}}}
	f.github.SetPull(r.FullName(), p)
	f.deliver(t, "pull_request", forgetest.PullPayload(r, p, "opened"))
	f.awaitState(t, p.HeadSHA, gate("looked-at"))
	t.Log("Pull request #7 at GitHub: checked, and waits for somebody who has looked at it.")
	f.refused(t, r, p, "rita", "/approve", "you are not one of the gate's approvers")
	moved := p
	moved.HeadSHA = f.commit(t, r, "two", "two, really", files).After
	f.github.SetPull(r.FullName(), moved)
	f.refused(t, r, p, "alice", "/approve", "is not the head any more")
	d, _ := f.says(t, r, moved, "alice", "/test")
	if d.Decision != "started" {
		t.Errorf("/test: %+v", d)
	}
	f.awaitState(t, moved.HeadSHA, gate("looked-at"))
	if d, _ := f.says(t, r, moved, "alice", "/approve looked-at -m fine"); d.Decision != "acted" {
		t.Errorf("/approve: %+v", d)
	}
	f.released(t, moved.HeadSHA, "Succeeded")

	merge := f.commit(t, r, "main", "Merge #7", files)
	f.deliver(t, "push", merge.Payload(r))
	merged := moved
	merged.State, merged.Merged, merged.MergeSHA = "closed", true, merge.After
	f.github.SetPull(r.FullName(), merged)
	f.awaitState(t, merge.After, gate("go-live"))
	if d, _ := f.says(t, r, merged, "alice", "/approve"); d.Decision != "acted" {
		t.Errorf("/approve of the release: %+v", d)
	}
	f.released(t, merge.After, "Succeeded")
	f.checkVersions(t, everywhere("two"))
	t.Log("Approved by comments, merged, approved again: version two is on all three agents.")
	f.seenByGitHub(t, r, merge.After)
}

// refused has somebody comment what they may not.
func (f *fleetOf) refused(t *testing.T, r forgetest.Repo, p forgetest.Pull, login, body, why string) {
	t.Helper()
	if d, _ := f.says(t, r, p, login, body); d.Decision != "ignored" {
		t.Errorf("%s by %s: %+v, want it refused", body, login, d)
	}
	f.replied(t, r, p, why)
	t.Logf("%s by %s was refused: %s.", body, login, why)
}

// seenByGitHub is what developers see there.
func (f *fleetOf) seenByGitHub(t *testing.T, r forgetest.Repo, sha string) {
	t.Helper()
	await(t, startLimit, func(context.Context) error {
		checks := f.github.CheckRuns(r.FullName(), sha)
		if len(checks) == 0 || checks[len(checks)-1].Conclusion != "success" {
			return fmt.Errorf("checks %s", brief(checks))
		}
		list := f.github.Deployments(r.FullName())
		if len(list) != 1 || len(list[0].Statuses) == 0 || list[0].Statuses[len(list[0].Statuses)-1].State != "success" {
			return fmt.Errorf("deployments %+v", list)
		}
		return nil
	})
	for _, c := range f.github.CheckRuns(r.FullName(), "") {
		t.Logf("GitHub has check %s of %.7s: %s, %s", c.Name, c.SHA, c.Conclusion, c.Title)
	}
	for _, d := range f.github.Deployments(r.FullName()) {
		t.Logf("GitHub has a deployment of %.7s to %s: %s", d.SHA, d.Environment, d.Statuses[len(d.Statuses)-1].State)
	}
	for _, c := range f.github.Comments(r.FullName(), 7) {
		first, _, _ := strings.Cut(c.Body, "\n")
		t.Logf("GitHub has a comment of %s: %s %v", c.Login, first, c.Reactions)
	}
}

// bucket is what an S3-compatible server keeps.
type bucket struct{ backend gofakes3.Backend }

const bucketName = "slipway"

func newBucket(t *testing.T) (bucket, string) {
	t.Helper()
	b := bucket{s3mem.New()}
	if err := b.backend.CreateBucket(bucketName); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(b.backend).Server())
	t.Cleanup(server.Close)
	return b, "s3://" + bucketName + "?region=us-east-1&endpoint=" + url.QueryEscape(server.URL)
}

// sealed reads all objects: none holds in the clear what a build wrote.
func (b bucket) sealed(t *testing.T) {
	t.Helper()
	list, err := b.backend.ListBucket(bucketName, nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	logs, artifacts := 0, 0
	for _, item := range list.Contents {
		o, err := b.backend.GetObject(bucketName, item.Key, nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(o.Contents)
		if err != nil {
			t.Fatal(err)
		}
		for _, plain := range []string{secretWord, "ApplicationStop", "app/version"} {
			if bytes.Contains(data[:min(len(data), 1<<20)], []byte(plain)) {
				t.Errorf("object %s holds %q in the clear", item.Key, plain)
			}
		}
		switch {
		case strings.HasPrefix(item.Key, "logs/"):
			logs++
		case strings.HasPrefix(item.Key, "blobs/"):
			artifacts++
		}
	}
	if logs == 0 || artifacts == 0 {
		t.Errorf("%d logs and %d artifacts are in the bucket, want some", logs, artifacts)
	}
	t.Logf("The bucket has %d objects of logs and %d artifacts, none of them readable without the key.", logs, artifacts)
}
