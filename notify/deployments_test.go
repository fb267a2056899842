package notify

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// fakeDeployments keeps deployments as GitHub does, by key.
type fakeDeployments struct {
	mu     sync.Mutex
	made   []forge.Deployment
	states map[string][]string
	script []fault
}

func (f *fakeDeployments) PutDeployment(_ context.Context, _ forge.Repo, _ int64, d *forge.Deployment, s forge.DeploymentState) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var now fault
	if len(f.script) > 0 {
		now, f.script = f.script[0], f.script[1:]
	}
	if d.Unsure {
		for i, o := range f.made {
			if o.Key == d.Key {
				d.ID = int64(i + 1)
			}
		}
	}
	if now.err != nil && !now.done {
		return now.err
	}
	if d.ID == 0 {
		f.made = append(f.made, *d)
		d.ID = int64(len(f.made))
	}
	if now.err != nil {
		d.ID, d.Unsure = 0, true
		return now.err
	}
	d.Unsure = false
	if f.states == nil {
		f.states = map[string][]string{}
	}
	f.states[d.Key] = append(f.states[d.Key], s.State+": "+s.Description)
	return nil
}

func startDeployments(t testing.TB, s *fakeStore, f *fakeDeployments) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	d := NewDeployments(s, s, f, DeploymentsOptions{BaseURL: "https://ci.example.com", Environment: func(pipeline.Execution, pipeline.Stage, pipeline.Action, map[string]string) Environment {
		return Environment{Name: "staging", URL: "https://staging.example.com"}
	}})
	go func() {
		defer close(ended)
		_ = d.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// inProd is a sample whose Prod stage was entered.
func inProd(id string, approval, rollOut func(a *pipeline.ActionExecution)) pipeline.Execution {
	x := act(sample(id), 1, 0, func(a *pipeline.ActionExecution) { a.Status = pipeline.Succeeded })
	x = act(x, 2, 0, approval)
	x = act(x, 2, 1, rollOut)
	x.Stages[1].Status, x.Stages[2].Status = pipeline.Succeeded, pipeline.InProgress
	return x
}

func asks(a *pipeline.ActionExecution) {
	a.Status, a.Attempt, a.Approval = pipeline.InProgress, 1, &pipeline.ApprovalState{Token: "t"}
}

func agreed(a *pipeline.ActionExecution) { asks(a); a.Status = pipeline.Succeeded }

// C33: queued, in_progress, success; while an approval is waited for, queued.
func TestC33DeploymentIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeDeployments{script: []fault{serverError, {err: context.DeadlineExceeded, done: true}}}
		defer startDeployments(t, s, f)()
		rolls := func(status pipeline.Status, worker string) func(a *pipeline.ActionExecution) {
			return func(a *pipeline.ActionExecution) {
				a.Status, a.Attempt, a.Job, a.Kind, a.Worker = status, 1, "d-1", pipeline.DeployJob, worker
				a.StartedAt, a.EndedAt = start, start.Add(42*time.Second)
			}
		}
		for _, x := range []pipeline.Execution{
			inProd("x1", asks, func(*pipeline.ActionExecution) {}),
			inProd("x1", agreed, rolls(pipeline.InProgress, "")),
			inProd("x1", agreed, rolls(pipeline.InProgress, "w")),
			inProd("x1", agreed, rolls(pipeline.Succeeded, "w")),
		} {
			s.commit(x)
			settled(t, s, time.Minute)
		}
		want := map[string][]string{"x1/Prod/roll-out/1": {
			"queued: Waiting for approval: deploy-prod", "queued: Waiting for its turn", "in_progress: Deploying", "success: Deployed in 42s",
		}}
		if diff := cmp.Diff(want, f.states); diff != "" || len(f.made) != 1 {
			t.Errorf("%d made (-want +got)\n%s", len(f.made), diff)
		}
		if d := f.made[0]; d.Task != "deploy" || d.Environment != "staging" || d.SHA != sample("x1").Trigger.SHA {
			t.Errorf("%+v", d)
		}
	})
}

// A rejected approval leaves an inactive deployment, not one that waits forever;
// what was never shown stays so.
func TestDeploymentThatNeverBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeDeployments{}
		defer startDeployments(t, s, f)()
		nothing := func(*pipeline.ActionExecution) {}
		over := func(id string) pipeline.Execution {
			x := ended(inProd(id, func(a *pipeline.ActionExecution) { asks(a); a.Status = pipeline.Failed }, nothing), pipeline.Failed, "rejected by ann")
			x.Stages[2].Status = pipeline.Failed
			return x
		}
		s.commit(inProd("x1", asks, nothing))
		settled(t, s, time.Minute)
		s.commit(over("x1"))
		s.commit(over("x2"))
		settled(t, s, time.Minute)
		want := map[string][]string{"x1/Prod/roll-out/1": {"queued: Waiting for approval: deploy-prod", "inactive: rejected by ann"}}
		if diff := cmp.Diff(want, f.states); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// A rollback is a new deployment of the old commit.
func TestRollbackIsADeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeDeployments{}
		defer startDeployments(t, s, f)()
		x := inProd("x9", agreed, func(a *pipeline.ActionExecution) { a.Status, a.Attempt, a.Worker = pipeline.InProgress, 1, "w" })
		x.Target = "x1"
		s.commit(x)
		settled(t, s, time.Minute)
		if len(f.made) != 1 || f.made[0].Task != "rollback" {
			t.Errorf("%+v", f.made)
		}
	})
}

// Without the permission nothing is tried twice.
func TestDeploymentRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeDeployments{script: []fault{refused, {err: errors.New("a second try")}}}
		defer startDeployments(t, s, f)()
		for range 3 {
			s.commit(inProd("x1", agreed, func(a *pipeline.ActionExecution) { a.Status, a.Attempt, a.Worker = pipeline.InProgress, 1, "w" }))
			settled(t, s, time.Minute)
		}
		if len(f.script) != 1 {
			t.Error("it was tried again")
		}
	})
}
