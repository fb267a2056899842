package handlerstest

import (
	"context"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/pipeline"
)

// The IDs of a Fleet's deployments: to the group web, the running one on the
// agents web-1 to web-3, the one that failed, and the one before it.
const (
	RunningRollout = "d-1"
	FailedRollout  = "d-9"
	GoodRollout    = "d-0"
)

// OneTime is the only registration token that a Fleet takes.
const OneTime = "slo_once"

// Fleet stands in for deployments and agents.
type Fleet struct {
	mu              sync.Mutex
	stopped, undone string
	all             []pipeline.Deployment // the newest first
	details         map[string][]pipeline.InstanceDetail
	agents          []pipeline.Agent
}

// NewFleet is a Fleet as if now were the present.
func NewFleet(now time.Time) *Fleet {
	f := &Fleet{details: map[string][]pipeline.InstanceDetail{}}
	f.addRunning(now.Add(-80 * time.Second))
	f.addFailed(now.Add(-2 * time.Hour))
	f.addGood(now.Add(-50 * time.Hour))
	tags := func(zone string) map[string]string { return map[string]string{"role": "web", "zone": zone} }
	f.agents = []pipeline.Agent{
		{Name: "web-1", Tags: tags("a"), Version: "1.4.0", RegisteredAt: now.Add(-900 * time.Hour), SeenAt: now.Add(-3 * time.Second), Online: true},
		{Name: "web-2", Tags: tags("b"), Version: "1.3.9", RegisteredAt: now.Add(-900 * time.Hour), SeenAt: now.Add(-26 * time.Hour)},
		{Name: "web-3", Tags: tags("b"), Version: "1.4.0", RegisteredAt: now.Add(-90 * time.Hour), SeenAt: now.Add(-9 * time.Second), Online: true},
	}
	return f
}

// With gives a server the fleet.
func (f *Fleet) With(o *handlers.Options) { o.Fleet, o.Agents = f, f }

// Said is why the running deployment was stopped, and who undid it.
func (f *Fleet) Said() (stopped, undone string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopped, f.undone
}

func rollout(id string, at time.Time, status pipeline.DeploymentStatus, sha string) pipeline.Deployment {
	return pipeline.Deployment{
		V: 1, ID: id, Application: "crane", Group: "web", Environment: "production", Creator: pipeline.CreatorUser, Status: status, Told: true, Job: &pipeline.Job{ID: id},
		Revision: pipeline.Revision{Repo: "github/harbour/crane", SHA: sha, Ref: "refs/heads/main", Artifact: pipeline.Artifact{Name: "BuildArtifact", Bytes: 3_412_889}},
		Config:   "TwoHealthy", MinimumHealthy: "2", AutoRollback: []string{pipeline.RollbackOnFailure}, CreatedAt: at, StartedAt: at.Add(time.Second),
	}
}

// lived makes lifecycle events that took the given seconds each.
func lived(at time.Time, last pipeline.DeploymentStatus, seconds ...float64) []pipeline.LifecycleEvent {
	names := []string{"ApplicationStop", "DownloadBundle", "BeforeInstall", "Install", "AfterInstall", "ApplicationStart", "ValidateService"}
	var out []pipeline.LifecycleEvent
	for i, s := range seconds {
		end := at.Add(time.Duration(s * float64(time.Second)))
		out = append(out, pipeline.LifecycleEvent{Name: names[i], Status: pipeline.DeploymentSucceeded, StartedAt: at, EndedAt: end, LogLine: int64(i + 1)})
		at = end
	}
	end := &out[len(out)-1]
	if end.Status = last; last == pipeline.DeploymentInProgress {
		end.EndedAt = time.Time{}
	}
	return out
}

func (f *Fleet) add(d pipeline.Deployment, details ...pipeline.InstanceDetail) {
	for _, i := range details {
		d.Instances = append(d.Instances, i.Instance)
	}
	f.all = append(f.all, d)
	f.details[d.ID] = details
}

func (f *Fleet) addRunning(at time.Time) {
	f.add(rollout(RunningRollout, at, pipeline.DeploymentInProgress, "41d0c1e5a9b2c3d4e5f60718293a4b5c6d7e8f90"),
		pipeline.InstanceDetail{
			Instance: pipeline.Instance{Agent: "web-1", Status: pipeline.DeploymentInProgress, StartedAt: at.Add(52 * time.Second)},
			Events:   lived(at.Add(52*time.Second), pipeline.DeploymentInProgress, 2, 1.4, 0.2, 0),
		},
		pipeline.InstanceDetail{Instance: pipeline.Instance{Agent: "web-2", Status: pipeline.DeploymentPending}, Events: []pipeline.LifecycleEvent{}},
		pipeline.InstanceDetail{
			Instance: pipeline.Instance{Agent: "web-3", Status: pipeline.DeploymentSucceeded, StartedAt: at.Add(time.Second), EndedAt: at.Add(50 * time.Second)},
			Events:   lived(at.Add(time.Second), pipeline.DeploymentSucceeded, 3, 1.5, 0.3, 9, 0.1, 30, 5.1),
		},
	)
}

func (f *Fleet) addFailed(at time.Time) {
	d := rollout(FailedRollout, at, pipeline.DeploymentFailed, "9c0ffee1a9b2c3d4e5f60718293a4b5c6d7e8f90")
	d.EndedAt = at.Add(44 * time.Second)
	d.Error = &pipeline.DeploymentError{Code: pipeline.HealthConstraints, Message: "too few healthy instances are left: 1 of 3, want 2"}
	events := lived(at.Add(time.Second), pipeline.DeploymentFailed, 3, 1.5, 0.3, 9, 0.1, 28)
	events[5].Code, events[5].Message = "ScriptFailed", "scripts/start.sh exited with code 1"
	f.add(d, pipeline.InstanceDetail{
		Instance: pipeline.Instance{
			Agent: "web-1", Status: pipeline.DeploymentFailed, Job: "d-9.web-1", StartedAt: at.Add(time.Second), EndedAt: at.Add(43 * time.Second),
			Error: &pipeline.DeploymentError{Code: "ScriptFailed", Message: "ApplicationStart: scripts/start.sh exited with code 1"},
		},
		Events: events, Tail: []string{"starting crane", "bind: address already in use <b>8080</b>"},
	}, pipeline.InstanceDetail{Instance: pipeline.Instance{Agent: "web-2", Status: pipeline.DeploymentSkipped}, Events: []pipeline.LifecycleEvent{}})
}

func (f *Fleet) addGood(at time.Time) {
	d := rollout(GoodRollout, at, pipeline.DeploymentSucceeded, "0badcafea9b2c3d4e5f60718293a4b5c6d7e8f90")
	d.EndedAt = at.Add(95 * time.Second)
	f.add(d, pipeline.InstanceDetail{
		Instance: pipeline.Instance{Agent: "web-1", Status: pipeline.DeploymentSucceeded, StartedAt: at.Add(time.Second), EndedAt: at.Add(95 * time.Second)},
		Events:   lived(at.Add(time.Second), pipeline.DeploymentSucceeded, 3, 1.5, 0.3, 9, 0.1, 70, 5.1),
	})
}

// Deployments lists them.
func (f *Fleet) Deployments(_ context.Context, q pipeline.DeploymentQuery) (pipeline.Page[pipeline.Deployment], error) {
	var found []pipeline.Deployment
	for _, d := range f.all {
		if (q.Group == "" || d.Group == q.Group) && (q.Status == "" || d.Status == q.Status) {
			found = append(found, d)
		}
	}
	return cut(found, q.Limit, q.After), nil
}

// Deployment finds one.
func (f *Fleet) Deployment(_ context.Context, id string) (pipeline.Deployment, []pipeline.InstanceDetail, error) {
	for _, d := range f.all {
		if d.ID == id {
			return d, f.details[id], nil
		}
	}
	return pipeline.Deployment{}, nil, pipeline.ErrNotFound
}

// StopDeployment stops the running one.
func (f *Fleet) StopDeployment(_ context.Context, id, reason string) error {
	if id != RunningRollout {
		return pipeline.ErrConflict
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = reason
	return nil
}

// RollBack undoes the running one.
func (f *Fleet) RollBack(_ context.Context, id, by string) (pipeline.Deployment, error) {
	if id != RunningRollout {
		return pipeline.Deployment{}, &pipeline.UserError{Msg: "there is nothing to go back to"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.undone = by
	return pipeline.Deployment{ID: "d-2", RollbackOf: id, Status: pipeline.DeploymentQueued}, nil
}

// Agents lists them.
func (f *Fleet) Agents(context.Context) ([]pipeline.Agent, error) { return f.agents, nil }

// InviteAgent makes the one token, good from 1970 on.
func (f *Fleet) InviteAgent(_ context.Context, tags map[string]string, ttl time.Duration) (pipeline.AgentInvitation, error) {
	return pipeline.AgentInvitation{Token: OneTime, Tags: tags, ExpiresAt: time.Unix(0, 0).Add(ttl).UTC()}, nil
}

// RegisterAgent takes any new name with the one token.
func (f *Fleet) RegisterAgent(_ context.Context, r pipeline.AgentRegistration) (pipeline.Agent, error) {
	switch {
	case r.Registration != OneTime:
		return pipeline.Agent{}, pipeline.ErrNotFound
	case r.Name == "web-1":
		return pipeline.Agent{}, pipeline.ErrConflict
	}
	return pipeline.Agent{Name: r.Name}, nil
}

// RemoveAgent knows web-1 only.
func (f *Fleet) RemoveAgent(_ context.Context, name string) error {
	if name != "web-1" {
		return pipeline.ErrNotFound
	}
	return nil
}
