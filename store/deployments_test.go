package store_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue/queuetest"
	"github.com/slipway-ci/slipway/store"
)

func TestDeployments(t *testing.T) {
	queuetest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Run("two who change it can't both win", func(t *testing.T) { deploymentVersions(t, newStore(rdb)) })
		t.Run("a part has one holder", func(t *testing.T) { instanceLeases(t, newStore(rdb)) })
		t.Run("a group has one active deployment", func(t *testing.T) { groupOrder(t, newStore(rdb)) })
		t.Run("an agent registers once", func(t *testing.T) { agents(t, newStore(rdb)) })
	})
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func deployment(id string, at time.Duration) pipeline.Deployment {
	return pipeline.Deployment{
		ID: id, Group: "web", Status: pipeline.DeploymentInProgress, CreatedAt: noon.Add(at), Lease: time.Minute,
		Instances: []pipeline.Instance{{Agent: "a", Status: pipeline.DeploymentInProgress}},
	}
}

func deploymentVersions(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for i, id := range []string{"d-1", "d-2", "d-3"} {
		must(t, s.SaveDeployment(ctx, deployment(id, time.Duration(i)*time.Second), pipeline.Deployment{}, 0, noon))
	}
	if err := s.SaveDeployment(ctx, deployment("d-1", 0), pipeline.Deployment{}, 0, noon); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("making it again: %v, want ErrConflict", err)
	}
	d, at, err := s.Deployment(ctx, "d-1")
	must(t, err)
	d.Status = pipeline.DeploymentSucceeded
	must(t, s.SaveDeployment(ctx, d, d, at, noon))
	if err := s.SaveDeployment(ctx, d, d, at, noon); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("the second one: %v, want ErrConflict", err)
	}
	must(t, s.AliasDeployment(ctx, "d-9", "d-1"))
	if other, _, err := s.Deployment(ctx, "d-9"); err != nil || other.ID != "d-1" {
		t.Errorf("by its other name it is %s (%v), want d-1", other.ID, err)
	}
	if _, _, err := s.Deployment(ctx, "d-8"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("one that isn't there: %v, want ErrNotFound", err)
	}
	var got []string
	q := pipeline.DeploymentQuery{Group: "web", Limit: 2}
	for range 3 {
		page, err := s.Deployments(ctx, q)
		must(t, err)
		for _, d := range page.Items {
			got = append(got, d.ID)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if len(got) != 3 || got[0] != "d-3" || got[2] != "d-1" {
		t.Errorf("the pages have %v, want d-3, d-2, d-1", got)
	}
	page, err := s.Deployments(ctx, pipeline.DeploymentQuery{Status: pipeline.DeploymentSucceeded})
	if err != nil || len(page.Items) != 1 || page.Items[0].ID != "d-1" {
		t.Errorf("those that succeeded are %v (%v), want d-1", page.Items, err)
	}
}

func instanceLeases(t *testing.T, s *store.Store) {
	ctx := t.Context()
	before := deployment("d-lease", 0)
	must(t, s.SaveDeployment(ctx, before, pipeline.Deployment{}, 0, noon))
	if _, err := s.TouchInstance(ctx, "d-lease", "a", 0, noon); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("before anybody took it: %v, want ErrStale", err)
	}
	taken := deployment("d-lease", 0)
	taken.Instances[0].Fence = 2
	must(t, s.SaveDeployment(ctx, taken, before, 1, noon))
	if _, err := s.TouchInstance(ctx, "d-lease", "a", 1, noon); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("by an old token: %v, want ErrStale", err)
	}
	stop, err := s.TouchInstance(ctx, "d-lease", "a", 2, noon.Add(time.Hour))
	if err != nil || stop != "" {
		t.Errorf("by its holder: %q, %v, want neither", stop, err)
	}
	stopped := deployment("d-lease", 0)
	stopped.Instances[0].Fence, stopped.StopReason = 2, "enough"
	must(t, s.SaveDeployment(ctx, stopped, taken, 2, noon))
	leases, err := s.InstanceLeases(ctx, "d-lease")
	if err != nil || len(leases) != 1 || !leases["a"].Equal(noon.Add(time.Hour)) {
		t.Errorf("the leases are %v (%v), want a's for an hour", leases, err)
	}
	if stop, err = s.TouchInstance(ctx, "d-lease", "a", 2, noon); err != nil || stop != "enough" {
		t.Errorf("once it is stopped: %q, %v, want enough", stop, err)
	}
	ended := deployment("d-lease", 0)
	ended.Instances[0].Fence, ended.Instances[0].Status = 2, pipeline.DeploymentFailed
	must(t, s.SaveDeployment(ctx, ended, stopped, 3, noon))
	if _, err := s.TouchInstance(ctx, "d-lease", "a", 2, noon); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("once it ended: %v, want ErrStale", err)
	}
}

func groupOrder(t *testing.T, s *store.Store) {
	ctx := t.Context()
	active := func(next, want string) {
		t.Helper()
		if id, err := s.ActiveDeployment(ctx, "g", next); err != nil || id != want {
			t.Errorf("with %q next, %q is active (%v), want %q", next, id, err, want)
		}
	}
	active("", "")
	must(t, s.QueueDeployment(ctx, "g", "d-2"))
	active("d-1", "d-1")
	active("", "d-1")
	good := pipeline.Deployment{ID: "d-1", Group: "g", Status: pipeline.DeploymentSucceeded}
	must(t, s.EndActiveDeployment(ctx, good, "d-3", map[string]any{"a": map[string]bool{"healthy": true}}))
	must(t, s.EndActiveDeployment(ctx, good, "d-3", nil)) // a repeat
	active("", "d-3")
	must(t, s.EndActiveDeployment(ctx, pipeline.Deployment{ID: "d-3", Group: "g", Status: pipeline.DeploymentFailed}, "", nil))
	active("", "d-2")
	last, health, err := s.GroupState(ctx, "g")
	if err != nil || last == nil || last.ID != "d-1" || !json.Valid(health["a"]) {
		t.Errorf("the last good one is %v, the health %v (%v), want d-1 and a's", last, health, err)
	}
}

func agents(t *testing.T, s *store.Store) {
	ctx := t.Context()
	must(t, s.AddRegistration(ctx, "r1", map[string]string{"env": "prod"}, time.Hour))
	if tags, err := s.Registration(ctx, "r1"); err != nil || tags["env"] != "prod" {
		t.Errorf("the registration gives %v (%v), want env=prod", tags, err)
	}
	a := pipeline.Agent{Name: "web-1", Tags: map[string]string{"role": "web"}}
	must(t, s.AddAgent(ctx, a, "t1", "r1"))
	must(t, s.AddAgent(ctx, a, "t1", "r1")) // its answer was lost
	if err := s.AddAgent(ctx, pipeline.Agent{Name: "web-2"}, "t2", "r1"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a used registration: %v, want ErrNotFound", err)
	}
	must(t, s.AddRegistration(ctx, "r2", nil, time.Hour))
	if err := s.AddAgent(ctx, a, "t2", "r2"); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("a name that is taken: %v, want ErrConflict", err)
	}
	must(t, s.SawAgent(ctx, "web-1", noon))
	all, err := s.Agents(ctx)
	if err != nil || len(all) != 1 || !all[0].SeenAt.Equal(noon) || all[0].Tags["role"] != "web" {
		t.Errorf("the agents are %+v (%v), want web-1, seen at noon", all, err)
	}
	must(t, s.Offer(ctx, "d-1", []string{"web-1"}))
	if ids, err := s.Offers(ctx, "web-1"); err != nil || len(ids) != 1 {
		t.Errorf("web-1 is offered %v (%v), want d-1", ids, err)
	}
	must(t, s.DropOffer(ctx, "d-1", "web-1"))
	must(t, s.RemoveAgent(ctx, "web-1"))
	if _, err := s.AgentOf(ctx, "t1"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a removed agent's token: %v, want ErrNotFound", err)
	}
	if err := s.RemoveAgent(ctx, "web-1"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("removing it again: %v, want ErrNotFound", err)
	}
}
