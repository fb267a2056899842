package dispatch

import (
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
)

// deployGood deploys a first revision to the agents.
func (w *fleetWorld) deployGood(agents ...string) {
	w.Helper()
	w.push("d-1", "good")
	w.pass()
	w.pass()
	for _, name := range agents {
		w.end(w.take(name), pipeline.BuildSucceeded)
	}
	w.pass()
}

func TestLateAgentCatchesUp(t *testing.T) {
	w := newFleetWorld(t, Group{Config: "AllAtOnce", CatchUp: true}, "a")
	w.deployGood("a")
	w.register("late")
	_, err := w.fleet.Claim(t.Context(), pipeline.Worker{Name: "late"}, 0) // it is heard of
	if err == nil {
		t.Fatal("the late agent got something before its group was looked at")
	}
	w.later() // queued
	w.pass()  // active
	w.pass()
	got := w.take("late")
	if got.Deploy.Revision.Digest != "sum-of-good" {
		t.Errorf("the late agent gets %s", got.Deploy.Revision.Digest)
	}
	w.end(got, pipeline.BuildFailed)
	w.pass()
	w.pass()
	page, err := w.fleet.store.Deployments(t.Context(), pipeline.DeploymentQuery{Group: "web", Limit: 10})
	w.must(err)
	if len(page.Items) != 2 || page.Items[0].Creator != pipeline.CreatorCatchUp || page.Items[0].Status != pipeline.DeploymentFailed || len(page.Items[0].Scope) != 1 {
		t.Fatalf("got %+v", page.Items)
	}
	for range 3 {
		w.later()
	}
	page, err = w.fleet.store.Deployments(t.Context(), pipeline.DeploymentQuery{Group: "web", Limit: 10})
	w.must(err)
	if len(page.Items) != 2 {
		t.Errorf("there are %d deployments, want no further try", len(page.Items))
	}
}

func TestLateAgentsOnlyWhereWanted(t *testing.T) {
	for name, g := range map[string]Group{"not asked for": {Config: "AllAtOnce"}, "nobody is late": {Config: "AllAtOnce", CatchUp: true}} {
		w := newFleetWorld(t, g, "a")
		w.deployGood("a")
		if !g.CatchUp {
			w.register("late")
			_, _ = w.fleet.Claim(t.Context(), pipeline.Worker{Name: "late"}, 0) // it is heard of
		}
		w.later()
		w.pass()
		page, err := w.fleet.store.Deployments(t.Context(), pipeline.DeploymentQuery{Group: "web", Limit: 10})
		w.must(err)
		if len(page.Items) != 1 {
			t.Errorf("%s: there are %d deployments, want the first one alone", name, len(page.Items))
		}
	}
}
