package dispatch

import (
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue/queuetest"
	"github.com/slipway-ci/slipway/store"
)

// fleetWorld is a fleet over the world of the service and a real store.
type fleetWorld struct {
	*world
	*testing.T
	fleet     *Fleet
	admission *Admission
	group     Group
	worker    pipeline.Worker
	now       time.Time
}

func newFleetWorld(t *testing.T, g Group, agents ...string) *fleetWorld {
	w := &fleetWorld{world: newWorld(), T: t, group: g, now: time.Now(), worker: pipeline.Worker{Kind: pipeline.DeployJob, Classes: []string{"deploy|web|"}}}
	w.group.Name, w.group.Tags = "web", map[string]string{"role": "web"}
	s := w.service()
	s.now = func() time.Time { return w.now }
	kept := store.New(queuetest.New(t), store.Options{}, slog.New(slog.DiscardHandler))
	w.fleet = s.Fleet(kept, FleetOptions{Groups: []Group{w.group}, Lease: time.Minute})
	w.admission = NewAdmission(kept, s.now)
	for _, name := range agents {
		w.register(name)
	}
	return w
}

func (w *fleetWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *fleetWorld) register(name string) {
	w.Helper()
	in, err := w.admission.InviteAgent(w.Context(), map[string]string{"role": "web"}, time.Hour)
	w.must(err)
	_, err = w.admission.RegisterAgent(w.Context(), pipeline.AgentRegistration{Registration: in.Token, Name: name, Token: NewAgentToken()})
	w.must(err)
}

// push adds a job that deploys a revision.
func (w *fleetWorld) push(id, content string) {
	digest := "sum-of-" + content
	w.blobs[digest] = content
	w.deploy = &pipeline.DeployOrder{ID: id, Application: "web", Group: "web", Revision: pipeline.Artifact{Digest: digest}}
	j := job(id, pipeline.DeployJob)
	j.Labels, j.Timeout = "web", time.Hour
	w.add(j)
}

// pass looks after the group once, as a server does.
func (w *fleetWorld) pass() {
	w.Helper()
	_, err := w.fleet.pass(w.Context(), w.group, w.worker)
	w.must(err)
}

func (w *fleetWorld) deployment(id string) pipeline.Deployment {
	w.Helper()
	d, _, err := w.fleet.Deployment(w.Context(), id)
	w.must(err)
	return d
}

// take is the agent's part of what it is offered.
func (w *fleetWorld) take(agent string) pipeline.Assignment {
	w.Helper()
	a, err := w.fleet.Claim(w.Context(), pipeline.Worker{Name: agent}, 10*time.Second)
	w.must(err)
	return a
}

func (w *fleetWorld) end(a pipeline.Assignment, status pipeline.BuildStatus) {
	w.Helper()
	w.must(w.fleet.Complete(w.Context(), a.Job.Ref(), pipeline.Build{ID: a.Job.ID}, pipeline.Outcome{Status: status, Code: "ScriptFailed", Message: "exit code 1"}))
}

// outcomes are what the pipeline was told, in order.
func (w *fleetWorld) outcomes() (told []pipeline.BuildStatus) {
	for _, e := range w.events {
		if e.Type == pipeline.JobEnded {
			told = append(told, e.Outcome.Status)
		}
	}
	return told
}

func TestDeployment(t *testing.T) {
	w := newFleetWorld(t, Group{Config: "AllAtOnce"}, "a", "b")
	w.push("d-1", "one")
	w.pass() // claims
	w.pass() // begins
	a, b := w.take("a"), w.take("b")
	if a.Deploy.Revision.Digest != "sum-of-one" || a.Job.Token != 1 || a.Job.ID == b.Job.ID {
		t.Fatalf("the agents got %+v and %+v, want the revision under jobs of their own", a.Job, b.Job)
	}
	body, err := w.fleet.Artifact(t.Context(), a.Job.Ref(), "sum-of-one")
	w.must(err)
	if data, _ := io.ReadAll(body); string(data) != "one" {
		t.Errorf("the revision is %q, want one", data)
	}
	if _, err := w.fleet.Artifact(t.Context(), a.Job.Ref(), "sum-of-another"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("another artifact: %v, want ErrNotFound", err)
	}
	w.end(a, pipeline.BuildSucceeded)
	w.end(b, pipeline.BuildSucceeded)
	w.pass() // finishes
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentSucceeded || !d.Told || !d.Closed {
		t.Errorf("the deployment is %s, told %t, closed %t, want Succeeded and both", d.Status, d.Told, d.Closed)
	}
	if diff := cmp.Diff([]pipeline.BuildStatus{pipeline.BuildSucceeded}, w.outcomes()); diff != "" {
		t.Errorf("what the pipeline was told (-want +got):\n%s", diff)
	}
	if b := w.builds["d-1"]; b.Status != pipeline.BuildSucceeded || len(b.Phases) != 3 || w.sealed["d-1"] != 0 {
		t.Errorf("the record is %s with %d phases, want SUCCEEDED with one for each instance and the end", b.Status, len(b.Phases))
	}
}

func TestFailureIsRolledBack(t *testing.T) {
	w := newFleetWorld(t, Group{Config: "AllAtOnce", AutoRollback: []string{pipeline.RollbackOnFailure}}, "a")
	for _, r := range []struct {
		id, content string
		status      pipeline.BuildStatus
	}{{"d-0", "none", pipeline.BuildFailed}, {"d-1", "one", pipeline.BuildSucceeded}, {"d-2", "two", pipeline.BuildFailed}} {
		w.push(r.id, r.content)
		w.pass()
		w.pass()
		w.end(w.take("a"), r.status)
		w.pass()
	}
	if d := w.deployment("d-0"); d.RollbackBy != "" || !strings.Contains(d.RollbackMessage, "nothing to go back to") {
		t.Errorf("the first failure is undone by %q (%q), want nothing, and why", d.RollbackBy, d.RollbackMessage)
	}
	d := w.deployment("d-2")
	w.pass() // begins the rollback
	a := w.take("a")
	if a.Deploy.ID != d.RollbackBy || a.Deploy.Revision.Digest != "sum-of-one" {
		t.Fatalf("the agent got %s of %s, want the rollback %s of the last good revision", a.Deploy.ID, a.Deploy.Revision.Digest, d.RollbackBy)
	}
	w.end(a, pipeline.BuildFailed)
	w.pass()
	if back := w.deployment(d.RollbackBy); back.Status != pipeline.DeploymentFailed || back.RollbackBy != "" {
		t.Errorf("the failed rollback is %s, undone by %q, want Failed and by nothing", back.Status, back.RollbackBy)
	}
	told := w.outcomes()
	if want := []pipeline.BuildStatus{pipeline.BuildFailed, pipeline.BuildSucceeded, pipeline.BuildFailed}; !slices.Equal(told, want) {
		t.Errorf("the pipeline was told %v, want %v: rollbacks are not its", told, want)
	}
}

// The server that claimed the job is away for longer than its lease. The
// pipeline's next attempt gets what the deployment came to.
func TestNextAttemptGoesOnWithTheDeployment(t *testing.T) {
	w := newFleetWorld(t, Group{Config: "AllAtOnce"}, "a")
	w.push("d-1", "one")
	w.pass()
	w.pass()
	a := w.take("a")
	w.held["d-1"] = 99 // lost
	w.end(a, pipeline.BuildSucceeded)
	w.pass()
	if len(w.outcomes()) != 0 {
		t.Fatalf("the pipeline was told %v of a job that was lost", w.outcomes())
	}
	x := w.executions["x"]
	x.Stages[0].Actions[0] = pipeline.ActionExecution{Name: "Build", Attempt: 2, Lost: 1, Earlier: []string{"d-1"}}
	w.push("d-9", "one")
	w.pass() // claims and finds the earlier one
	w.pass() // tells
	if diff := cmp.Diff([]pipeline.BuildStatus{pipeline.BuildSucceeded}, w.outcomes()); diff != "" {
		t.Errorf("what the pipeline was told (-want +got):\n%s", diff)
	}
	if d := w.deployment("d-9"); d.ID != "d-1" || !d.Told {
		t.Errorf("the second attempt's deployment is %s, told %t, want d-1, told", d.ID, d.Told)
	}
	if offers, err := w.fleet.store.Offers(t.Context(), "a"); err != nil || len(offers) != 0 {
		t.Errorf("the agent is offered %v (%v), want nothing: no event begins twice", offers, err)
	}
}

// A retry by a person is a deployment of its own.
func TestRetryIsANewDeployment(t *testing.T) {
	w := newFleetWorld(t, Group{Config: "AllAtOnce"}, "a")
	w.push("d-1", "one")
	w.pass()
	w.pass()
	w.end(w.take("a"), pipeline.BuildFailed)
	w.pass()
	x := w.executions["x"]
	x.Stages[0].Actions[0] = pipeline.ActionExecution{Name: "Build", Attempt: 2, Earlier: []string{"d-1"}}
	w.push("d-2", "one")
	w.pass()
	w.pass()
	if a := w.take("a"); a.Deploy.ID != "d-2" {
		t.Errorf("the agent got %s, want d-2", a.Deploy.ID)
	}
}

func TestRestartedAgent(t *testing.T) {
	w := newFleetWorld(t, Group{}, "a")
	w.push("d-1", "one")
	w.pass()
	w.pass()
	first, second := w.take("a"), w.take("a")
	if second.Deploy.ID != first.Deploy.ID || second.Job.Token != 2 || second.Job.ID == first.Job.ID {
		t.Fatalf("the second process got %+v, want the same deployment with a new token and log", second.Job)
	}
	if _, err := w.fleet.Renew(t.Context(), first.Job.Ref()); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("the first process renews: %v, want ErrStale", err)
	}
	if _, err := w.fleet.AppendLog(t.Context(), first.Job.Ref(), 0, []byte("x")); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("the first process writes: %v, want ErrStale", err)
	}
	w.end(second, pipeline.BuildSucceeded)
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentSucceeded {
		t.Errorf("the deployment is %s, want Succeeded", d.Status)
	}
}

func TestVanishedAgent(t *testing.T) {
	w := newFleetWorld(t, Group{}, "a")
	w.push("d-1", "one")
	w.pass()
	w.pass()
	a := w.take("a")
	w.now = w.now.Add(61 * time.Second)
	w.fleet.unwell() // the server was away: nobody could be heard
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentInProgress {
		t.Fatalf("the first thing that a server does is to end the deployment as %s", d.Status)
	}
	w.now = w.now.Add(61 * time.Second)
	w.pass()
	w.pass()
	d := w.deployment("d-1")
	if d.Status != pipeline.DeploymentFailed || d.Error.Code != pipeline.AgentOffline {
		t.Errorf("the deployment is %s (%v), want Failed, AGENT_OFFLINE", d.Status, d.Error)
	}
	if _, err := w.fleet.Renew(t.Context(), a.Job.Ref()); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("the agent comes back: %v, want ErrStale", err)
	}
}

// An agent that is busy with another group's deployment takes its part late.
func TestBusyAgent(t *testing.T) {
	w := newFleetWorld(t, Group{}, "a")
	w.push("d-1", "one")
	w.pass()
	w.pass()
	w.now = w.now.Add(5 * time.Minute)
	w.must(w.fleet.store.SawAgent(t.Context(), "a", w.now.Add(-time.Second)))
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentInProgress {
		t.Fatalf("the deployment is %s (%v), want InProgress", d.Status, d.Error)
	}
	w.now = w.now.Add(2 * time.Minute)
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentFailed || d.Error.Code != pipeline.AgentOffline {
		t.Errorf("once it is silent, the deployment is %s (%v), want Failed, AGENT_OFFLINE", d.Status, d.Error)
	}
}

func TestStoppedDeployment(t *testing.T) {
	w := newFleetWorld(t, Group{Config: "OneAtATime"}, "a", "b")
	w.push("d-1", "one")
	w.pass()
	w.pass()
	first := w.deployment("d-1").Instances[0].Agent
	a := w.take(first)
	w.must(w.fleet.StopDeployment(t.Context(), "d-1", "stopped by Ann"))
	if r, err := w.fleet.Renew(t.Context(), a.Job.Ref()); err != nil || !r.Stop || r.Reason != "stopped by Ann" {
		t.Errorf("the renewal is %+v (%v), want a stop by Ann", r, err)
	}
	w.end(a, pipeline.BuildStopped)
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentStopped || d.Instances[1].Status != pipeline.DeploymentSkipped {
		t.Errorf("the deployment is %s, its second instance %s, want Stopped and Skipped", d.Status, d.Instances[1].Status)
	}
	if err := w.fleet.StopDeployment(t.Context(), "d-1", ""); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("stopping it again: %v, want ErrConflict", err)
	}
	if got := w.outcomes(); len(got) != 1 || got[0] != pipeline.BuildStopped {
		t.Errorf("the pipeline was told %v, want STOPPED", got)
	}
}

func TestNobodyThere(t *testing.T) {
	w := newFleetWorld(t, Group{})
	w.push("d-1", "one")
	w.pass()
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentFailed || d.Error.Code != pipeline.NoInstances {
		t.Errorf("the deployment is %s (%v), want Failed, NO_INSTANCES", d.Status, d.Error)
	}
}

// Attacks: 10.
func TestPartsOfOthers(t *testing.T) {
	for _, ref := range []pipeline.JobRef{
		{ID: "d-1.a", Class: "deploy|d-2|a"}, {ID: "d-1", Class: "deploy|d-1|"}, {ID: "d-1", Class: "build|d-1|a"}, {ID: "d-1"}, {ID: "d-10", Class: "deploy|d-1|a"},
	} {
		if _, _, err := part(ref); !errors.Is(err, pipeline.ErrStale) {
			t.Errorf("%+v: %v, want ErrStale", ref, err)
		}
	}
}

// Attacks: 10.
func TestRegistration(t *testing.T) {
	w := newFleetWorld(t, Group{})
	in, err := w.admission.InviteAgent(t.Context(), map[string]string{"env": "prod"}, time.Hour)
	w.must(err)
	good := pipeline.AgentRegistration{Registration: in.Token, Name: "web-1", Token: NewAgentToken(), Tags: map[string]string{"env": "test", "role": "web"}}
	for name, change := range map[string]func(*pipeline.AgentRegistration){
		"no name":         func(r *pipeline.AgentRegistration) { r.Name = "" },
		"a path":          func(r *pipeline.AgentRegistration) { r.Name = "../x" },
		"a bar":           func(r *pipeline.AgentRegistration) { r.Name = "a|b" },
		"the local one":   func(r *pipeline.AgentRegistration) { r.Name = LocalAgent },
		"a short token":   func(r *pipeline.AgentRegistration) { r.Token = "sla_x" },
		"an admin's":      func(r *pipeline.AgentRegistration) { r.Token = "slp_" + strings.Repeat("x", 43) },
		"a guessed token": func(r *pipeline.AgentRegistration) { r.Registration = "slo_" + strings.Repeat("x", 43) },
	} {
		bad := good
		change(&bad)
		if _, err := w.admission.RegisterAgent(t.Context(), bad); err == nil {
			t.Errorf("%s: was let in", name)
		}
	}
	for range 2 { // the first answer may have been lost
		if _, err := w.admission.RegisterAgent(t.Context(), good); err != nil {
			t.Fatal(err)
		}
	}
	all, err := w.admission.Agents(t.Context())
	if err != nil || len(all) != 1 || all[0].Tags["env"] != "prod" || all[0].Tags["role"] != "web" || !all[0].Online {
		t.Errorf("the agents are %+v (%v), want web-1, online, with the invitation's env", all, err)
	}
	second := good
	second.Name, second.Token = "web-2", NewAgentToken()
	if _, err := w.admission.RegisterAgent(t.Context(), second); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a second agent by the same token: %v, want ErrNotFound", err)
	}
	another, err := w.admission.InviteAgent(t.Context(), nil, time.Hour)
	w.must(err)
	second.Registration, second.Name = another.Token, "web-1"
	if _, err := w.admission.RegisterAgent(t.Context(), second); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("a second agent of the same name: %v, want ErrConflict", err)
	}
	if name, err := w.admission.AgentOf(t.Context(), good.Token); err != nil || name != "web-1" {
		t.Errorf("the token is %q's (%v), want web-1's", name, err)
	}
	w.must(w.admission.RemoveAgent(t.Context(), "web-1"))
	if _, err := w.admission.AgentOf(t.Context(), good.Token); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a removed agent's token: %v, want ErrNotFound", err)
	}
}
