package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/deployer/fleet"
	"github.com/slipway-ci/slipway/pipeline"
)

// lateInterval is how often agents are looked for that came after the last
// deployment of their group.
const lateInterval = 10 * time.Second

// catchUp lets a deployment of the group's present revision wait for agents
// that no deployment of the group has ever been for, if the group wants that
// (CodeDeploy reference 5.1). There is one try for each of them and revision.
func (f *Fleet) catchUp(ctx context.Context, g Group) error {
	if !g.CatchUp || !f.lookForLate(g.Name) {
		return nil
	}
	good, known, err := f.store.GroupState(ctx, g.Name)
	if err != nil || good == nil {
		return err
	}
	agents, err := f.members(ctx, g)
	if err != nil {
		return err
	}
	var late []string
	for _, a := range agents {
		if _, had := known[a.Name]; !had && f.now().Sub(a.SeenAt) < f.lease {
			late = append(late, a.Name)
		}
	}
	if len(late) == 0 {
		return nil
	}
	slices.Sort(late)
	late = late[:min(len(late), fleet.MaxInstances)]
	d, err := f.again(ctx, *good, *good, pipeline.FurtherDeploymentID(good.ID, "catch up", strings.Join(late, " ")))
	if mistake, ok := errors.AsType[*pipeline.UserError](err); ok {
		f.log.WarnContext(ctx, "late agents get nothing", "group", g.Name, "error", mistake)
		return nil
	}
	if err != nil {
		return err
	}
	d.Creator, d.RollbackOf = pipeline.CreatorCatchUp, ""
	d.Execution, d.Stage, d.Action = "", "", ""
	d.Scope, d.KeepGoing = late, true
	err = f.store.SaveDeployment(ctx, d, pipeline.Deployment{}, 0, f.now())
	if errors.Is(err, pipeline.ErrConflict) { // it was tried before
		return nil
	}
	if err != nil {
		return err
	}
	return f.store.QueueDeployment(ctx, g.Name, d.ID)
}

// lookForLate reports whether it is time to look for late agents of a group.
func (f *Fleet) lookForLate(group string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.looked[group]) < lateInterval {
		return false
	}
	f.looked[group] = now
	return true
}
