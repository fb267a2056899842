package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/deployer/fleet"
	"github.com/slipway-ci/slipway/pipeline"
)

// finish does what follows from a deployment's end, all of which may be
// repeated: the rollback is made, the pipeline told, the group freed.
func (f *Fleet) finish(ctx context.Context, d pipeline.Deployment) error {
	back, err := f.rollBackOf(ctx, d)
	if err != nil {
		return err
	}
	if back.RollbackBy != d.RollbackBy || back.RollbackMessage != d.RollbackMessage {
		err := f.change(ctx, d.ID, func(d pipeline.Deployment) (pipeline.Deployment, error) {
			d.RollbackBy, d.RollbackMessage = back.RollbackBy, back.RollbackMessage
			return d, nil
		})
		if err != nil {
			return err
		}
	}
	d = back
	if !d.Closed {
		if err := f.closeRecord(ctx, d); err != nil {
			return err
		}
	}
	if err := f.tellPipeline(ctx, d); err != nil {
		return err
	}
	if d.Closed { // only the pipeline's next attempt had to be told
		return f.store.EndActiveDeployment(ctx, pipeline.Deployment{ID: d.ID, Group: d.Group}, "", nil)
	}
	next := ""
	if fleet.RollsBack(d) {
		next = d.RollbackBy
	}
	f.log.InfoContext(ctx, "deployment ended", "job", d.ID, "execution", d.Execution, "group", d.Group, "status", string(d.Status))
	if err := f.store.EndActiveDeployment(ctx, d, next, healthAfter(d)); err != nil {
		return err
	}
	return f.change(ctx, d.ID, func(d pipeline.Deployment) (pipeline.Deployment, error) {
		d.Closed = true
		return d, nil
	})
}

// healthAfter is what a deployment's end says of its instances.
func healthAfter(d pipeline.Deployment) map[string]any {
	health := map[string]any{}
	for _, i := range d.Instances {
		if i.Fence > 0 || i.Status == pipeline.DeploymentFailed {
			health[i.Agent] = fleet.Health{Deployment: d.ID, Digest: d.Revision.Digest, Healthy: i.Status == pipeline.DeploymentSucceeded}
		}
	}
	return health
}

// rollBackOf makes the deployment that undoes d, if there is to be one.
func (f *Fleet) rollBackOf(ctx context.Context, d pipeline.Deployment) (pipeline.Deployment, error) {
	if d.RollbackBy != "" || d.RollbackMessage != "" || !fleet.RollsBack(d) {
		return d, nil
	}
	good, _, err := f.store.GroupState(ctx, d.Group)
	switch {
	case err != nil:
		return d, err
	case good == nil:
		d.RollbackMessage = "there is nothing to go back to: no deployment of this group has succeeded yet"
		return d, nil
	}
	back, err := f.again(ctx, *good, d, pipeline.FurtherDeploymentID(d.ID, "rollback"))
	if mistake, ok := errors.AsType[*pipeline.UserError](err); ok {
		d.RollbackMessage = mistake.Msg
		return d, nil
	}
	if err != nil {
		return d, err
	}
	back.Scope, back.KeepGoing = fleet.Touched(d), true
	err = f.store.SaveDeployment(ctx, back, pipeline.Deployment{}, 0, f.now())
	if err != nil && !errors.Is(err, pipeline.ErrConflict) { // it was made before
		return d, err
	}
	d.RollbackBy = back.ID
	return d, nil
}

// again is a new deployment of an earlier one's revision, which undoes d. What
// was changed on a host keeps none from going back: a copy is kept.
func (f *Fleet) again(ctx context.Context, good, d pipeline.Deployment, id string) (pipeline.Deployment, error) {
	bundle, err := f.service.artifacts.Open(ctx, good.Revision.Digest)
	if errors.Is(err, pipeline.ErrNotFound) {
		return good, &pipeline.UserError{Msg: "the revision of deployment " + good.ID + " is no longer stored"}
	}
	if err != nil {
		return good, err
	}
	if err := bundle.Close(); err != nil {
		return good, err
	}
	return pipeline.Deployment{
		ID: id, Application: good.Application, Group: d.Group, Environment: d.Environment,
		Creator: pipeline.CreatorRollback, Status: pipeline.DeploymentQueued, Revision: good.Revision,
		Config: d.Config, MinimumHealthy: d.MinimumHealthy, RollbackOf: d.ID,
		FileExistsBehavior: good.FileExistsBehavior, IgnoreStopFailures: d.IgnoreStopFailures,
		Execution: d.Execution, Stage: d.Stage, Action: d.Action,
		CreatedAt: f.now().UTC(), Instances: []pipeline.Instance{}, Lease: f.lease, Timeout: d.Timeout,
	}, nil
}

// closeRecord ends the deployment's record as a build, and its log.
func (f *Fleet) closeRecord(ctx context.Context, d pipeline.Deployment) error {
	if err := f.say(ctx, d); err != nil {
		return err
	}
	b, err := f.buildOf(ctx, d)
	if err != nil {
		return err
	}
	if !b.Status.Ended() {
		if b.Phases, err = f.phases(ctx, d, b); err != nil {
			return err
		}
		b.StartedAt = d.StartedAt
		code, message := "", ""
		if d.Error != nil {
			code, message = d.Error.Code, d.Error.Message
		}
		b.Close(buildStatus(d.Status), code, message, d.EndedAt)
		if err := f.service.records.SaveBuild(ctx, b); err != nil {
			return err
		}
	}
	return f.service.logs.Seal(ctx, d.ID, 0, b.Phases)
}

// phases are those of the deployment's record: its instances or, of one
// instance, its lifecycle events.
func (f *Fleet) phases(ctx context.Context, d pipeline.Deployment, b pipeline.Build) ([]pipeline.Phase, error) {
	switch {
	case len(d.Instances) != 1 || d.Instances[0].Fence == 0:
		return instancePhases(d), nil
	case d.Instances[0].Job == d.ID:
		return b.Phases, nil
	}
	last, err := f.service.records.Build(ctx, d.Instances[0].Job) // of the agent's last process
	if errors.Is(err, pipeline.ErrNotFound) {
		return b.Phases, nil
	}
	return slices.DeleteFunc(last.Phases, func(p pipeline.Phase) bool { return p.Type == "COMPLETED" }), err
}

// tellPipeline completes the job that waits for the deployment. A job that was
// lost meanwhile is not ours any more: its next attempt is told.
func (f *Fleet) tellPipeline(ctx context.Context, d pipeline.Deployment) error {
	if d.Job == nil || d.Told {
		return nil
	}
	ref := d.Job.Ref()
	err := f.service.queue.Check(ctx, ref)
	if errors.Is(err, pipeline.ErrStale) {
		return nil
	}
	if err != nil {
		return err
	}
	if d.Job.ID != d.ID {
		f.service.closeRecord(ctx, d.Job.ID, buildStatus(d.Status), "", "this attempt went on with deployment "+d.ID)
	}
	o := outcomeOf(d)
	e := event(*d.Job, pipeline.JobEnded, f.now())
	e.ID, e.Outcome, e.Worker = fmt.Sprintf("ended:%s:%d", ref.ID, ref.Token), &o, "fleet"
	if err := f.service.events.Submit(ctx, e); err != nil {
		return err
	}
	if err := f.change(ctx, d.ID, func(d pipeline.Deployment) (pipeline.Deployment, error) {
		d.Told = true
		return d, nil
	}); err != nil {
		return err
	}
	err = f.service.queue.Finish(ctx, ref)
	if errors.Is(err, pipeline.ErrStale) {
		return nil
	}
	return err
}

// outcomeOf is a deployment's end in the engine's words.
func outcomeOf(d pipeline.Deployment) pipeline.Outcome {
	o := pipeline.Outcome{Status: buildStatus(d.Status), Annotations: d.Annotations}
	if d.Error != nil {
		o.Code, o.Message = d.Error.Code, d.Error.Message
	}
	if d.Error != nil && d.Error.Code == pipeline.DeploymentTimeout {
		o.Status = pipeline.BuildTimedOut
	}
	if d.Error != nil && d.Error.Code == pipeline.AlarmActive {
		o.Status = pipeline.BuildFailed // nobody asked for a stop
	}
	switch {
	case d.RollbackBy != "":
		o.Message += "; deployment " + d.RollbackBy + " goes back to the last good revision"
	case d.RollbackMessage != "":
		o.Message += "; " + d.RollbackMessage
	}
	return o
}

// StopDeployment ends a deployment: what was not begun is left out, and the
// scripts that run are ended. A deployment that has ended is ErrConflict.
func (f *Fleet) StopDeployment(ctx context.Context, id, reason string) error {
	d, _, err := f.store.Deployment(ctx, id)
	if err != nil {
		return err
	}
	if d.Status.Ended() {
		return fmt.Errorf("stopping deployment %s, which has ended: %w", id, pipeline.ErrConflict)
	}
	d, err = f.apply(ctx, d.ID, fleet.Event{Type: fleet.Stop, Reason: reason})
	f.store.WakeGroup(ctx, d.Group)
	return err
}

// historyLimit bounds how far back a revision to return to is looked for.
const historyLimit = 1000

// RollBack undoes a deployment: it ends it, if it runs, and deploys the newest
// revision that succeeded in its group before it to all of the group's
// instances. It answers with that deployment. A *pipeline.UserError: there is
// nothing to go back to.
func (f *Fleet) RollBack(ctx context.Context, id, by string) (pipeline.Deployment, error) {
	d, _, err := f.store.Deployment(ctx, id)
	if err != nil {
		return d, err
	}
	good, err := f.goodBefore(ctx, d)
	if err != nil {
		return d, err
	}
	back, err := f.again(ctx, good, d, pipeline.FurtherDeploymentID(d.ID, "rollback by hand", f.now().UTC().Format(time.RFC3339Nano)))
	if err != nil {
		return back, err
	}
	back.By, back.KeepGoing = by, true
	back.Execution, back.Stage, back.Action = "", "", ""
	if err := f.store.SaveDeployment(ctx, back, pipeline.Deployment{}, 0, f.now()); err != nil {
		return back, err
	}
	// Known to be undone, it isn't rolled back by itself, too.
	err = f.change(ctx, d.ID, func(d pipeline.Deployment) (pipeline.Deployment, error) {
		d.RollbackBy = back.ID
		return d, nil
	})
	if err == nil && !d.Status.Ended() {
		_, err = f.apply(ctx, d.ID, fleet.Event{Type: fleet.Stop, Reason: "rolled back by " + by})
	}
	if err == nil {
		err = f.store.QueueDeployment(ctx, d.Group, back.ID)
	}
	f.store.WakeGroup(ctx, d.Group)
	return back, err
}

// goodBefore is the newest deployment before d that succeeded with another
// revision.
func (f *Fleet) goodBefore(ctx context.Context, d pipeline.Deployment) (pipeline.Deployment, error) {
	q := pipeline.DeploymentQuery{Group: d.Group, Limit: 200}
	for seen := 0; seen < historyLimit; {
		page, err := f.store.Deployments(ctx, q)
		if err != nil {
			return d, err
		}
		for _, past := range page.Items {
			if past.CreatedAt.Before(d.CreatedAt) && past.Status == pipeline.DeploymentSucceeded && past.Revision.Digest != d.Revision.Digest {
				return past, nil
			}
		}
		if seen += len(page.Items); page.Next == "" || len(page.Items) == 0 {
			break
		}
		q.After = page.Next
	}
	return d, &pipeline.UserError{Msg: "there is nothing to go back to: no other revision has succeeded in deployment group " + d.Group + " before"}
}
