package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/deployer/fleet"
	"github.com/slipway-ci/slipway/pipeline"
)

// pollInterval is how often a waiting agent's work is looked for, whatever is
// announced.
const pollInterval = 5 * time.Second

// renewWithin bounds what agents are told of their lease: they renew thrice in
// it, and hear then that they are to stop.
const renewWithin = 15 * time.Second

// Claim waits for a deployment in which the agent w.Name has a part. An agent
// that holds one and asks again has been started again: it gets the same one
// with a new fencing token.
func (f *Fleet) Claim(ctx context.Context, w pipeline.Worker, wait time.Duration) (pipeline.Assignment, error) {
	if err := f.store.SawAgent(ctx, w.Name, f.now()); err != nil {
		return pipeline.Assignment{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, pipeline.ErrNotFound)
	defer cancel()
	for {
		var a pipeline.Assignment
		err := pipeline.ErrNotFound
		f.wait(ctx, w.Name, pollInterval, func() bool {
			a, err = f.take(ctx, w.Name)
			return !errors.Is(err, pipeline.ErrNotFound)
		})
		switch {
		case err == nil:
			return a, nil
		case ctx.Err() != nil:
			return a, context.Cause(ctx)
		case !errors.Is(err, pipeline.ErrNotFound):
			return a, err
		}
	}
}

// take takes the first deployment that the agent has a part in.
func (f *Fleet) take(ctx context.Context, agent string) (pipeline.Assignment, error) {
	ids, err := f.store.Offers(ctx, agent)
	if err != nil {
		return pipeline.Assignment{}, err
	}
	for _, id := range ids {
		d, err := f.apply(ctx, id, fleet.Event{Type: fleet.Take, Agent: agent})
		if errors.Is(err, pipeline.ErrNotFound) {
			if err := f.store.DropOffer(ctx, id, agent); err != nil {
				return pipeline.Assignment{}, err
			}
			continue
		}
		if err != nil {
			return pipeline.Assignment{}, err
		}
		return f.assign(ctx, d, *d.Instance(agent))
	}
	return pipeline.Assignment{}, pipeline.ErrNotFound
}

// assign says what an agent is to do, and makes the record of it.
func (f *Fleet) assign(ctx context.Context, d pipeline.Deployment, in pipeline.Instance) (pipeline.Assignment, error) {
	b, err := f.service.records.Build(ctx, in.Job)
	if errors.Is(err, pipeline.ErrNotFound) {
		b, err = shown(d, in.Job), nil
		b.Execution = "" // the deployment's own record stands for it there
		if in.Job == d.ID {
			b.Execution = d.Execution
		}
	}
	if err != nil {
		return pipeline.Assignment{}, err
	}
	b.Status, b.Runner, b.StartedAt = pipeline.BuildInProgress, in.Agent, f.now().UTC()
	if err := f.service.records.SaveBuild(ctx, b); err != nil {
		return pipeline.Assignment{}, err
	}
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = 8 * time.Hour
	}
	return pipeline.Assignment{
		Lease: min(d.Lease, renewWithin),
		Job: pipeline.Job{
			V: 1, ID: in.Job, Kind: pipeline.DeployJob, Execution: d.Execution, Stage: d.Stage, Action: d.Action,
			Attempt: int(in.Fence), Token: in.Fence, Labels: d.ID, Compute: in.Agent, Timeout: timeout,
		},
		Deploy: &pipeline.DeployOrder{
			ID: d.ID, Application: d.Application, Group: d.Group, Revision: d.Revision.Artifact,
			FileExistsBehavior: d.FileExistsBehavior, OnDrift: d.OnDrift, IgnoreStopFailures: d.IgnoreStopFailures,
			Commit: d.Revision.SHA, Variables: variables(d, in),
		},
	}, nil
}

// variables are what scripts know of the deployment beside what every agent
// tells them (CodeDeploy reference 2.5).
func variables(d pipeline.Deployment, in pipeline.Instance) []pipeline.Variable {
	out := []pipeline.Variable{
		{Name: "SLIPWAY_INSTANCE_ID", Value: in.Agent},
		{Name: "SLIPWAY_REVISION", Value: d.Revision.Digest},
		{Name: "SLIPWAY_REPOSITORY", Value: d.Revision.Repo},
	}
	if d.Environment != "" {
		out = append(out, pipeline.Variable{Name: "SLIPWAY_ENVIRONMENT", Value: d.Environment})
	}
	if d.RollbackOf != "" {
		out = append(out, pipeline.Variable{Name: "SLIPWAY_ROLLBACK_OF", Value: d.RollbackOf})
	}
	return out
}

// part is which agent's part of which deployment a reference names.
func part(ref pipeline.JobRef) (deployment, agent string, err error) {
	kind, rest, _ := strings.Cut(ref.Class, "|")
	deployment, agent, ok := strings.Cut(rest, "|")
	if kind != string(pipeline.DeployJob) || !ok || deployment == "" || agent == "" || ref.ID != deployment && !strings.HasPrefix(ref.ID, deployment+".") {
		return "", "", fmt.Errorf("job %s: %w", ref.ID, pipeline.ErrStale)
	}
	return deployment, agent, nil
}

// touch makes sure that the reference's token holds its part, and keeps it.
func (f *Fleet) touch(ctx context.Context, ref pipeline.JobRef) (deployment, agent, stop string, err error) {
	if deployment, agent, err = part(ref); err != nil {
		return "", "", "", err
	}
	now := f.now()
	stop, err = f.store.TouchInstance(ctx, deployment, agent, ref.Token, now.Add(f.lease))
	return deployment, agent, stop, err
}

// Renew extends the lease and says whether the deployment is to be stopped.
func (f *Fleet) Renew(ctx context.Context, ref pipeline.JobRef) (pipeline.Renewal, error) {
	_, agent, stop, err := f.touch(ctx, ref)
	if err != nil {
		return pipeline.Renewal{}, err
	}
	return pipeline.Renewal{Lease: f.lease, Stop: stop != "", Reason: stop}, f.store.SawAgent(ctx, agent, f.now())
}

// AppendLog adds to the log of the agent's part.
func (f *Fleet) AppendLog(ctx context.Context, ref pipeline.JobRef, offset int64, data []byte) (int64, error) {
	if _, _, _, err := f.touch(ctx, ref); err != nil {
		return 0, err
	}
	return f.service.logs.Append(ctx, ref.ID, ref.Token, offset, data)
}

// Report replaces what is known of the agent's part: its lifecycle events so
// far.
func (f *Fleet) Report(ctx context.Context, ref pipeline.JobRef, b pipeline.Build) error {
	if _, _, _, err := f.touch(ctx, ref); err != nil {
		return err
	}
	known, err := f.service.merge(ctx, ref, b)
	if err != nil {
		return err
	}
	return f.markReport(ctx, known.Execution)
}

// PutArtifact is refused: agents make nothing.
func (f *Fleet) PutArtifact(context.Context, pipeline.JobRef, pipeline.Artifact, io.Reader) (pipeline.Artifact, error) {
	return pipeline.Artifact{}, &pipeline.UserError{Msg: "a deployment has no artifacts"}
}

// Artifact opens the revision of the agent's deployment, and nothing else.
func (f *Fleet) Artifact(ctx context.Context, ref pipeline.JobRef, digest string) (io.ReadCloser, error) {
	deployment, _, _, err := f.touch(ctx, ref)
	if err != nil {
		return nil, err
	}
	d, _, err := f.store.Deployment(ctx, deployment)
	if err != nil {
		return nil, err
	}
	if d.Revision.Digest != digest {
		return nil, fmt.Errorf("artifact %s of deployment %s: %w", digest, deployment, pipeline.ErrNotFound)
	}
	return f.service.artifacts.Open(ctx, digest)
}

// Complete ends the agent's part. What is known of it is kept first, so that
// it is there when the deployment ends by it.
func (f *Fleet) Complete(ctx context.Context, ref pipeline.JobRef, b pipeline.Build, o pipeline.Outcome) error {
	deployment, agent, _, err := f.touch(ctx, ref)
	if err != nil {
		return err
	}
	if !o.Status.Ended() {
		o = pipeline.Outcome{Status: pipeline.BuildFault, Message: "the agent did not say how the deployment ended"}
	}
	if !b.Status.Ended() {
		b.Close(o.Status, o.Code, o.Message, f.now().UTC())
	}
	if _, err := f.service.merge(ctx, ref, b); err != nil {
		return err
	}
	if err := f.service.logs.Seal(ctx, ref.ID, ref.Token, b.Phases); err != nil {
		return fmt.Errorf("sealing the log: %w", err)
	}
	e := fleet.Event{Type: fleet.Finish, Agent: agent, Fence: ref.Token, Status: pipeline.DeploymentFailed, Annotations: o.Annotations}
	switch o.Status {
	case pipeline.BuildSucceeded:
		e.Status = pipeline.DeploymentSucceeded
	case pipeline.BuildStopped:
		e.Status = pipeline.DeploymentStopped
	}
	if e.Status != pipeline.DeploymentSucceeded {
		e.Error = &pipeline.DeploymentError{Code: orText(o.Code, string(o.Status)), Message: orText(o.Message, "the deployment failed")}
	}
	if _, err := f.apply(ctx, deployment, e); err != nil {
		return err
	}
	if err := f.store.DropOffer(ctx, deployment, agent); err != nil {
		f.log.WarnContext(ctx, "an offer is left", "job", deployment, "error", err) // a claim drops it
	}
	return nil
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
