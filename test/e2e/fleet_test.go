package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

// deployment is one as the API shows it.
type deployment struct {
	ID         string
	Status     string
	Creator    string
	Execution  string
	RollbackBy string `json:"rollback_by"`
	RollbackOf string `json:"rollback_of"`
	Error      *struct{ Code, Message string }
	Revision   struct{ SHA string }
	Instances  []deployedTo
}

// deployedTo is one instance of a deployment.
type deployedTo struct {
	Agent  string
	Status string
	Job    string
	Error  *struct{ Code, Message string }
	Events []struct{ Name, Status string }
	Tail   []string
}

func (d deployment) instance(agent string) deployedTo {
	for _, i := range d.Instances {
		if i.Agent == agent {
			return i
		}
	}
	return deployedTo{}
}

func (d deployment) ended() bool {
	return d.Status == "Succeeded" || d.Status == "Failed" || d.Status == "Stopped"
}

const fleetConfig = `
limits:
  agent_lease: 3s
deployment_groups:
  - name: web
    application: web
    repository: github/octo/web
    environment: test
    tags: {role: "web|front", env: te*}
    config: two-at-a-time
    minimum_healthy_hosts: "1"
    auto_rollback: [DEPLOYMENT_FAILURE]
`

// fleetOf is an installation with three agents, each with a root of its own.
type fleetOf struct {
	*system
	repo   forgetest.Repo
	agents map[string]*process
}

func newFleet(t *testing.T, o setup) *fleetOf {
	t.Helper()
	f := fleetOn(t, newSystem(t, o))
	f.repo = f.system.repo(t, "octo", "web")
	return f
}

// fleetOn adds the agents to an installation.
func fleetOn(t *testing.T, s *system) *fleetOf {
	t.Helper()
	f := &fleetOf{system: s, agents: map[string]*process{}}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web1", "web2", "web3"} {
		var invitation struct{ Token string }
		if err := f.call(t.Context(), "POST", "/api/v1/agents/tokens", map[string]any{"tags": map[string]string{"env": "test"}}, &invitation); err != nil {
			t.Fatal(err)
		}
		p := f.process(name, []string{"SLIPWAY_SERVER=" + f.url, "SLIPWAY_TOKEN=" + invitation.Token, "SLIPWAY_LIMITS_DRAIN=1s"},
			bin, "agent", "--name", name, "--tags", "role=web", "--data", filepath.Join(f.root, name), "--root", f.place(name))
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		f.agents[name], f.runners = p, append(f.runners, p)
	}
	await(t, startLimit, func(ctx context.Context) error {
		var all page[struct{ Name string }]
		if err := f.call(ctx, "GET", "/api/v1/agents", nil, &all); err != nil || len(all.Items) < 3 {
			return fmt.Errorf("%d agents are there: %w", len(all.Items), err)
		}
		return nil
	})
	return f
}

// place is where an agent's files land.
func (f *fleetOf) place(agent string) string { return filepath.Join(f.root, "roots", agent) }

// revision is a repository that is deployed: what its scripts do beside noting
// that they ran, and further files.
func (f *fleetOf) revision(version string, scripts, files map[string]string) map[string]string {
	all := map[string]string{"app/version": version + "\n"}
	spec := "version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: /srv/app\nhooks:\n"
	for _, event := range []string{"ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"} {
		spec += fmt.Sprintf("  %s:\n    - location: scripts/%s.sh\n      timeout: 60\n", event, event)
		all["scripts/"+event+".sh"] = "#!/bin/sh\necho \"$DEPLOYMENT_ID $LIFECYCLE_EVENT $SLIPWAY_INSTANCE_ID\" >> " + f.ran() + "\n" + scripts[event] + "\n"
	}
	all["appspec.yml"] = spec
	maps.Copy(all, files)
	return all
}

// ran has a line for every script that began.
func (f *fleetOf) ran() string { return filepath.Join(f.witness, "fleet") }

// begin pushes a revision and answers with its deployment once it has begun.
func (f *fleetOf) begin(t *testing.T, message string, files map[string]string) string {
	t.Helper()
	sha := f.push(t, f.repo, "main", message, files)
	var id string
	await(t, startLimit, func(ctx context.Context) error {
		found, err := f.executionsOf(ctx, sha)
		if err != nil || len(found) == 0 {
			return fmt.Errorf("no execution of %s: %w", sha, err)
		}
		var all page[deployment]
		if err := f.call(ctx, "GET", "/api/v1/deployments?group=web", nil, &all); err != nil {
			return err
		}
		for _, d := range all.Items {
			if d.Execution == found[0].ID && d.RollbackOf == "" {
				id = d.ID
				return nil
			}
		}
		return fmt.Errorf("execution %s has no deployment", found[0].ID)
	})
	return id
}

func (f *fleetOf) deployment(ctx context.Context, id string) (d deployment, err error) {
	return d, f.call(ctx, "GET", "/api/v1/deployments/"+id, nil, &d)
}

func (f *fleetOf) awaitEnd(t *testing.T, id string) (d deployment) {
	t.Helper()
	await(t, buildLimit, func(ctx context.Context) (err error) {
		if d, err = f.deployment(ctx, id); err == nil && !d.ended() {
			err = fmt.Errorf("deployment %s is %s", id, d.Status)
		}
		return err
	})
	return d
}

// checkVersions compares what lies on the hosts.
func (f *fleetOf) checkVersions(t *testing.T, want map[string]string) {
	t.Helper()
	for agent, version := range want {
		data, err := os.ReadFile(filepath.Join(f.place(agent), "srv/app/version"))
		if got := strings.TrimSpace(string(data)); err != nil || got != version {
			t.Errorf("%s has version %q (%v), want %q", agent, got, err, version)
		}
	}
}

func everywhere(version string) map[string]string {
	return map[string]string{"web1": version, "web2": version, "web3": version}
}

func (d deployment) check(t *testing.T, status string) {
	t.Helper()
	if d.Status != status {
		text, _ := json.MarshalIndent(d, "", " ")
		t.Fatalf("deployment %s is %s, want %s:\n%s", d.ID, d.Status, status, text)
	}
}

// checkOnce: no script of one deployment runs twice on one host, whatever died.
func (f *fleetOf) checkOnce(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(f.ran())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if seen[line] {
			t.Errorf("ran twice: %s", line)
		}
		seen[line] = true
	}
}

// awaitFile waits until something that matches is there.
func awaitFile(t *testing.T, pattern string) {
	t.Helper()
	limit := time.Now().Add(startLimit)
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			tick.Stop()
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("nothing matches %s", pattern)
		}
	}
}

// TestFleet: three agents with roots of their own; revisions that are good,
// bad, and good while agents and the server are killed.
func TestFleet(t *testing.T) {
	f := newFleet(t, setup{config: fleetConfig})
	f.awaitEnd(t, f.begin(t, "one", f.revision("one", nil, nil))).check(t, "Succeeded")
	f.checkVersions(t, everywhere("one"))

	t.Run("a failed validation is rolled back", f.failedValidation)
	t.Run("an agent killed during Install goes on", f.killedInInstall)
	t.Run("a server killed during a deployment goes on", f.killedServer)
	t.Run("an agent that vanishes fails its instance alone", f.vanished)
	t.Run("a person rolls back", f.rolledBack)
	f.checkOnce(t)
}

func (f *fleetOf) failedValidation(t *testing.T) {
	d := f.awaitEnd(t, f.begin(t, "bad", f.revision("bad", map[string]string{"ValidateService": "echo not well; exit 7"}, nil)))
	d.check(t, "Failed")
	if d.Error == nil || d.Error.Code != "HEALTH_CONSTRAINTS" || !strings.Contains(d.Error.Message, "ValidateService") {
		t.Errorf("error %v, want one of the health constraints that names ValidateService", d.Error)
	}
	skipped := 0
	for _, i := range d.Instances {
		if i.Status == "Skipped" {
			skipped++
		} else if len(i.Events) < 7 || len(i.Tail) == 0 || i.Tail[len(i.Tail)-1] != "not well" {
			t.Errorf("%s has %d events and the tail %q, want 7 and what its script said", i.Agent, len(i.Events), i.Tail)
		}
	}
	if skipped != 1 {
		t.Errorf("%d instances were left out, want the third", skipped)
	}
	var back deployment
	await(t, startLimit, func(ctx context.Context) (err error) {
		d, err = f.deployment(ctx, d.ID)
		if err == nil && d.RollbackBy == "" {
			err = fmt.Errorf("deployment %s is not rolled back", d.ID)
		}
		return err
	})
	back = f.awaitEnd(t, d.RollbackBy)
	back.check(t, "Succeeded")
	if back.Creator != "codeDeployRollback" || back.RollbackOf != d.ID || len(back.Instances) != 2 {
		t.Errorf("the rollback is by %q of %q on %d instances, want codeDeployRollback of %s on 2", back.Creator, back.RollbackOf, len(back.Instances), d.ID)
	}
	f.checkVersions(t, everywhere("one"))
	x, err := f.execution(t.Context(), d.Execution)
	if err != nil || x.Status != "Failed" {
		t.Errorf("the execution is %s (%v), want Failed", x.Status, err)
	}
}

func (f *fleetOf) killedInInstall(t *testing.T) {
	id := f.begin(t, "large", f.revision("large", nil, map[string]string{"app/large": strings.Repeat("0123456789abcdef", 2<<20)}))
	awaitFile(t, filepath.Join(f.root, "web2", "agent", "roots", "*", "groups", "*", "deployments", id, "install.json"))
	if err := f.agents["web2"].kill(); err != nil {
		t.Fatal(err)
	}
	if err := f.agents["web2"].start(); err != nil {
		t.Fatal(err)
	}
	d := f.awaitEnd(t, id)
	d.check(t, "Succeeded")
	if i := d.instance("web2"); i.Status != "Succeeded" || len(i.Events) != 7 {
		t.Errorf("web2 is %s with %d events, want Succeeded with 7", i.Status, len(i.Events))
	}
	f.checkVersions(t, everywhere("large"))
}

func (f *fleetOf) killedServer(t *testing.T) {
	id := f.begin(t, "slow", f.revision("slow", map[string]string{"AfterInstall": "sleep 1", "ApplicationStart": "sleep 1"}, nil))
	awaitFile(t, filepath.Join(f.root, "web1", "agent", "roots", "*", "groups", "*", "deployments", id, "before.json"))
	if err := f.server.kill(); err != nil {
		t.Fatal(err)
	}
	if err := f.server.start(); err != nil {
		t.Fatal(err)
	}
	d := f.awaitEnd(t, id)
	d.check(t, "Succeeded")
	f.checkVersions(t, everywhere("slow"))
	await(t, startLimit, func(ctx context.Context) error {
		x, err := f.execution(ctx, d.Execution)
		if err == nil && x.Status != "Succeeded" {
			err = fmt.Errorf("the execution is %s", x.Status)
		}
		return err
	})
}

func (f *fleetOf) vanished(t *testing.T) {
	id := f.begin(t, "gone", f.revision("gone", map[string]string{
		"ApplicationStart": `if [ "$SLIPWAY_INSTANCE_ID" = web3 ]; then touch ` + f.witness + `/started; sleep 20; fi`,
	}, nil))
	awaitFile(t, filepath.Join(f.witness, "started"))
	if err := f.agents["web3"].kill(); err != nil {
		t.Fatal(err)
	}
	d := f.awaitEnd(t, id)
	d.check(t, "Succeeded") // two of three are healthy, and one must be
	if i := d.instance("web3"); i.Status != "Failed" || i.Error == nil || i.Error.Code != "AGENT_OFFLINE" {
		t.Errorf("web3 is %s (%v), want Failed with AGENT_OFFLINE", i.Status, i.Error)
	}
	f.checkVersions(t, map[string]string{"web1": "gone", "web2": "gone"})
	if err := f.agents["web3"].start(); err != nil {
		t.Fatal(err)
	}
}

func (f *fleetOf) rolledBack(t *testing.T) {
	var all page[deployment]
	if err := f.call(t.Context(), "GET", "/api/v1/deployments?group=web&limit=1", nil, &all); err != nil || len(all.Items) != 1 {
		t.Fatalf("%d deployments (%v), want the newest", len(all.Items), err)
	}
	var back deployment
	if err := f.call(t.Context(), "POST", "/api/v1/deployments/"+all.Items[0].ID+"/rollback", nil, &back); err != nil {
		t.Fatal(err)
	}
	f.awaitEnd(t, back.ID).check(t, "Succeeded")
	f.checkVersions(t, everywhere("slow"))
}
