package dispatch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/deployer/fleet"
	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// passInterval is how often a group's deployment is looked at.
	passInterval = 500 * time.Millisecond
	// passLease is how long a server that died in a pass keeps others away.
	passLease = 15 * time.Second
	// jobWait is how long a pass waits for a job of the pipeline.
	jobWait = 2 * time.Second
)

// coordinate looks after one group until ctx ends.
func (f *Fleet) coordinate(ctx context.Context, g Group) {
	worker := pipeline.Worker{
		ID: uuid.NewString(), Name: "fleet", Kind: pipeline.DeployJob, Slots: 1,
		Classes: []string{pipeline.ClassOf(pipeline.DeployJob, g.Name, "")},
	}
	for ctx.Err() == nil {
		again, err := f.pass(ctx, g, worker)
		if err != nil && ctx.Err() == nil {
			f.unwell()
			f.log.WarnContext(ctx, "coordinating deployments", "group", g.Name, "error", err)
		}
		if !again || err != nil {
			f.wait(ctx, "group:"+g.Name, passInterval, func() bool { return false })
		}
	}
}

// pass does what is to be done for a group now, if no other server does;
// again: there may be more at once.
func (f *Fleet) pass(ctx context.Context, g Group, w pipeline.Worker) (again bool, err error) {
	release, ok, err := f.store.Lease(ctx, "fleet:"+g.Name, passLease)
	if err != nil || !ok {
		return false, err
	}
	defer release()
	id, err := f.store.ActiveDeployment(ctx, g.Name, "")
	if err != nil {
		return false, err
	}
	if id == "" {
		if err := f.catchUp(ctx, g); err != nil {
			return false, err
		}
		return true, f.claim(ctx, g, w)
	}
	d, _, err := f.store.Deployment(ctx, id)
	if errors.Is(err, pipeline.ErrNotFound) { // its server died before it was kept
		return true, f.store.EndActiveDeployment(ctx, pipeline.Deployment{ID: id, Group: g.Name}, "", nil)
	}
	if err == nil && !d.Status.Ended() {
		d, err = f.drive(ctx, g, d)
	}
	if err != nil {
		return false, err
	}
	if d.Status.Ended() {
		return true, f.finish(ctx, d)
	}
	return false, f.record(ctx, d)
}

// claim waits a moment for a job and makes its deployment the active one.
func (f *Fleet) claim(ctx context.Context, g Group, w pipeline.Worker) error {
	a, err := f.service.Claim(ctx, w, jobWait)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	keeping, release := f.service.keep(ctx, a.Job.Ref(), a.Lease)
	d, err := f.open(keeping, g, a)
	if err == nil {
		err = f.activate(keeping, g.Name, d.ID)
	}
	if _, mistake := errors.AsType[*pipeline.UserError](err); mistake {
		err = f.service.giveUp(keeping, a.Job, err)
	}
	return cmp.Or(release(), err)
}

// activate makes the deployment the active one of its group, or lets it wait
// behind one that another server made so a moment ago.
func (f *Fleet) activate(ctx context.Context, group, id string) error {
	active, err := f.store.ActiveDeployment(ctx, group, id)
	if err != nil || active == id {
		return err
	}
	return f.store.QueueDeployment(ctx, group, id)
}

// open makes the deployment that a job asks for. A job that follows one whose
// server is gone goes on with that one's deployment: its lifecycle events are
// never started again.
func (f *Fleet) open(ctx context.Context, g Group, a pipeline.Assignment) (pipeline.Deployment, error) {
	if a.Deploy == nil || a.Deploy.Group != g.Name {
		return pipeline.Deployment{}, &pipeline.UserError{Msg: "the job's order is for another deployment group than its queue"}
	}
	x, err := f.service.records.Execution(ctx, a.Job.Execution)
	if err != nil {
		return pipeline.Deployment{}, err
	}
	job := a.Job
	if d, ok, err := f.earlier(ctx, x, job); err != nil || ok {
		if err == nil {
			err = f.store.AliasDeployment(ctx, job.ID, d.ID)
		}
		if err == nil {
			err = f.change(ctx, d.ID, func(d pipeline.Deployment) (pipeline.Deployment, error) {
				d.Job, d.Told = &job, false
				return d, nil
			})
		}
		return d, err
	}
	o := a.Deploy
	d := pipeline.Deployment{
		ID: job.ID, Application: o.Application, Group: g.Name, Creator: pipeline.CreatorUser, By: x.Trigger.Actor.Login,
		Status:             pipeline.DeploymentCreated,
		Revision:           pipeline.Revision{Artifact: o.Revision, Repo: x.Repo.Forge + "/" + x.Repo.FullName(), SHA: x.Trigger.SHA, Ref: x.Trigger.Ref},
		FileExistsBehavior: o.FileExistsBehavior, OnDrift: o.OnDrift, IgnoreStopFailures: o.IgnoreStopFailures,
		Execution: x.ID, Stage: job.Stage, Action: job.Action,
		CreatedAt: f.now().UTC(), Instances: []pipeline.Instance{}, Lease: f.lease, Timeout: job.Timeout, Job: &job,
	}
	d = configured(d, g)
	err = f.store.SaveDeployment(ctx, d, pipeline.Deployment{}, 0, f.now())
	if errors.Is(err, pipeline.ErrConflict) { // this job was claimed before
		err = f.change(ctx, d.ID, func(d pipeline.Deployment) (pipeline.Deployment, error) {
			d.Job = &job
			return d, nil
		})
	}
	return d, err
}

func configured(d pipeline.Deployment, g Group) pipeline.Deployment {
	d.Environment, d.Config, d.MinimumHealthy, d.AutoRollback = g.Environment, g.Config, g.MinimumHealthy, g.AutoRollback
	d.Alarms, d.Bake, d.Zones = g.Alarms, g.Bake, g.Zones
	if c, err := fleet.ParseConfig(g.Config, g.MinimumHealthy); err == nil {
		d.Config = c.Name()
	}
	return d
}

// earlier is the deployment of the attempt before, if that lost its server
// before the pipeline heard how it ended.
func (f *Fleet) earlier(ctx context.Context, x pipeline.Execution, j pipeline.Job) (pipeline.Deployment, bool, error) {
	var a *pipeline.ActionExecution
	if st := x.Stage(j.Stage); st != nil {
		a = st.Action(j.Action)
	}
	if a == nil || a.Lost+a.Unbegun == 0 || len(a.Earlier) == 0 {
		return pipeline.Deployment{}, false, nil
	}
	d, _, err := f.store.Deployment(ctx, a.Earlier[len(a.Earlier)-1])
	if errors.Is(err, pipeline.ErrNotFound) {
		return d, false, nil
	}
	return d, err == nil && !d.Told, err
}

// drive moves an active deployment on.
func (f *Fleet) drive(ctx context.Context, g Group, d pipeline.Deployment) (pipeline.Deployment, error) {
	patient := f.wellFor() < d.Lease
	if d.Job != nil && !d.Told {
		r, err := f.service.queue.Renew(ctx, d.Job.Ref())
		switch {
		case errors.Is(err, pipeline.ErrStale):
			// The pipeline's next attempt takes what this deployment comes to.
		case err != nil:
			return d, err
		case r.Stop && d.StopReason == "":
			if d, err = f.apply(ctx, d.ID, fleet.Event{Type: fleet.Stop, Reason: r.Reason}); err != nil {
				return d, err
			}
		}
	}
	reason, quiet := f.alarmed(ctx, g, d)
	if reason != "" {
		return f.apply(ctx, d.ID, fleet.Event{Type: fleet.Stop, Reason: reason, Code: pipeline.AlarmActive})
	}
	switch d.Status {
	case pipeline.DeploymentCreated, pipeline.DeploymentQueued:
		if !quiet {
			return d, nil
		}
		return f.begin(ctx, g, d)
	}
	leases, err := f.store.InstanceLeases(ctx, d.ID)
	if err != nil {
		return d, err
	}
	if err := f.reoffer(ctx, d); err != nil {
		return d, err
	}
	seen, err := f.seen(ctx, d)
	if err != nil {
		return d, err
	}
	return f.apply(ctx, d.ID, fleet.Event{Type: fleet.Tick, Leases: leases, Seen: seen, Patient: patient})
}

// wellFor is how long this server has looked after deployments without a break.
// Before that is the length of a lease, agents may be silent because there was
// nobody to talk to.
func (f *Fleet) wellFor() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.well.IsZero() {
		f.well = f.now()
	}
	return f.now().Sub(f.well)
}

func (f *Fleet) unwell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.well = time.Time{}
}

// seen is when agents were heard of that should have taken their part by now.
func (f *Fleet) seen(ctx context.Context, d pipeline.Deployment) (map[string]time.Time, error) {
	if !slices.ContainsFunc(d.Instances, func(i pipeline.Instance) bool { return startable(i) && f.now().After(i.TakeBy) }) {
		return nil, nil
	}
	all, err := f.store.Agents(ctx)
	seen := map[string]time.Time{}
	for _, a := range all {
		seen[a.Name] = a.SeenAt
	}
	return seen, err
}

// reoffer tells agents again that were not heard of for a third of the time
// that they have: the server that was to tell them may have died.
func (f *Fleet) reoffer(ctx context.Context, d pipeline.Deployment) error {
	var names []string
	for _, i := range d.Instances {
		if startable(i) && i.TakeBy.Sub(f.now()) < d.Lease*2/3 {
			names = append(names, i.Agent)
		}
	}
	return f.store.Offer(ctx, d.ID, names)
}

// begin finds the instances of a deployment and starts the first of them.
func (f *Fleet) begin(ctx context.Context, g Group, d pipeline.Deployment) (pipeline.Deployment, error) {
	agents, err := f.members(ctx, g)
	if err != nil {
		return d, err
	}
	if len(d.Scope) > 0 {
		agents = slices.DeleteFunc(agents, func(a pipeline.Agent) bool { return !slices.Contains(d.Scope, a.Name) })
	}
	good, raw, err := f.store.GroupState(ctx, g.Name)
	if err != nil {
		return d, err
	}
	health := map[string]fleet.Health{}
	for agent, data := range raw {
		var h fleet.Health
		if err := json.Unmarshal(data, &h); err != nil {
			return d, fmt.Errorf("decoding the health of %s: %w", agent, err)
		}
		health[agent] = h
	}
	target := ""
	if good != nil {
		target = good.Revision.Digest
	}
	instances := fleet.Instances(d, agents, health, target, f.now())
	err = f.change(ctx, d.ID, func(d pipeline.Deployment) (pipeline.Deployment, error) {
		if len(d.Instances) == 0 && !d.Status.Ended() {
			d.Instances = instances
		}
		return d, nil
	})
	if err != nil {
		return d, err
	}
	if len(instances) > fleet.MaxInstances {
		return f.refuse(ctx, d.ID, "OVER_MAX_INSTANCES", fmt.Sprintf("the group has %d instances, the limit is %d", len(instances), fleet.MaxInstances))
	}
	f.log.InfoContext(ctx, "deployment begun", "job", d.ID, "execution", d.Execution, "group", d.Group, "instances", len(instances))
	return f.apply(ctx, d.ID, fleet.Event{Type: fleet.Begin})
}

func (f *Fleet) refuse(ctx context.Context, id, code, message string) (pipeline.Deployment, error) {
	var out pipeline.Deployment
	err := f.change(ctx, id, func(d pipeline.Deployment) (pipeline.Deployment, error) {
		d.Status, d.EndedAt, d.Instances = pipeline.DeploymentFailed, f.now().UTC(), nil
		d.Error = &pipeline.DeploymentError{Code: code, Message: message}
		out = d
		return d, nil
	})
	return out, err
}

// members are the agents of a group.
func (f *Fleet) members(ctx context.Context, g Group) ([]pipeline.Agent, error) {
	all, err := f.store.Agents(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(a pipeline.Agent) bool {
		if len(g.Tags) == 0 || a.Name == LocalAgent {
			return len(g.Tags) != 0 || a.Name != LocalAgent
		}
		return !fleet.Matches(g.Tags, a.Tags)
	}), nil
}

// record shows a deployment where builds are shown. Of one instance that
// record is the instance's own.
func (f *Fleet) record(ctx context.Context, d pipeline.Deployment) error {
	if len(d.Instances) == 1 && d.Instances[0].Fence > 0 {
		return nil
	}
	b, err := f.buildOf(ctx, d)
	if err != nil || b.Status.Ended() {
		return err
	}
	before, _ := json.Marshal(b) // compared only
	b.Status, b.StartedAt, b.Phases, b.CurrentPhase = pipeline.BuildInProgress, d.StartedAt, instancePhases(d), "PENDING"
	if n := len(b.Phases); n > 0 {
		b.CurrentPhase = b.Phases[n-1].Type
	}
	if after, err := json.Marshal(b); err != nil || string(before) == string(after) {
		return err
	}
	if err := f.say(ctx, d); err != nil {
		return err
	}
	if err := f.service.records.SaveBuild(ctx, b); err != nil {
		return err
	}
	return f.markReport(ctx, d.Execution)
}

// buildOf is the deployment's record as a build.
func (f *Fleet) buildOf(ctx context.Context, d pipeline.Deployment) (pipeline.Build, error) {
	b, err := f.service.records.Build(ctx, d.ID)
	if !errors.Is(err, pipeline.ErrNotFound) {
		return b, err
	}
	return shown(d, d.ID), nil
}

// shown is a new record of a deployment or of an instance's part.
func shown(d pipeline.Deployment, id string) pipeline.Build {
	_, repo, _ := strings.Cut(d.Revision.Repo, "/")
	return pipeline.Build{
		ID: id, Execution: d.Execution, Stage: d.Stage, Action: d.Action, Attempt: 1, Repo: repo, SHA: d.Revision.SHA, Ref: d.Revision.Ref,
		Status: pipeline.BuildInProgress, CurrentPhase: "PENDING", CreatedAt: d.CreatedAt, StartedAt: d.StartedAt,
		Inputs: []pipeline.Artifact{d.Revision.Artifact}, Deployment: d.ID, Group: d.Group,
	}
}

// instancePhases are the instances of a deployment, as phases of its record.
func instancePhases(d pipeline.Deployment) []pipeline.Phase {
	var phases []pipeline.Phase
	for _, i := range d.Instances {
		if i.Fence == 0 && i.Status != pipeline.DeploymentFailed {
			continue
		}
		p := pipeline.Phase{Type: i.Agent, Status: buildStatus(i.Status), StartTime: i.StartedAt, EndTime: i.EndedAt}
		if p.StartTime.IsZero() {
			p.StartTime = i.EndedAt
		}
		if i.Error != nil {
			p.Contexts = []pipeline.Context{{StatusCode: i.Error.Code, Message: i.Error.Message}}
		} else if i.Status.Ended() {
			p.Contexts = []pipeline.Context{{}}
		}
		phases = append(phases, p)
	}
	slices.SortStableFunc(phases, func(a, b pipeline.Phase) int { return a.StartTime.Compare(b.StartTime) })
	return phases
}

func buildStatus(s pipeline.DeploymentStatus) pipeline.BuildStatus {
	switch s {
	case pipeline.DeploymentSucceeded:
		return pipeline.BuildSucceeded
	case pipeline.DeploymentFailed:
		return pipeline.BuildFailed
	case pipeline.DeploymentStopped, pipeline.DeploymentSkipped:
		return pipeline.BuildStopped
	}
	return pipeline.BuildInProgress
}

func (f *Fleet) markReport(ctx context.Context, execution string) error {
	if execution == "" {
		return nil
	}
	x, err := f.service.records.Execution(ctx, execution)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.service.records.MarkReport(ctx, x.Repo.Forge, x.Trigger.Installation, x.ID)
}

// logToken is the one writer's of a deployment's own log.
const logToken = 1

// say writes the deployment's own log: what its instances came to. The text
// only grows, so that what was written before is a repeat of its beginning.
func (f *Fleet) say(ctx context.Context, d pipeline.Deployment) error {
	if len(d.Instances) == 1 && d.Instances[0].Fence > 0 {
		return nil
	}
	_, err := f.service.logs.Append(ctx, d.ID, logToken, 0, []byte(story(d)))
	return err
}

func story(d pipeline.Deployment) string {
	type line struct {
		at   time.Time
		text string
	}
	lines := []line{}
	for _, i := range d.Instances {
		if i.Fence > 0 {
			lines = append(lines, line{i.StartedAt, i.Agent + ": began; its log is that of " + cmp.Or(append(slices.Clone(i.Earlier), i.Job)[0], i.Job)})
		}
		if i.Status.Ended() && !i.EndedAt.IsZero() {
			text := i.Agent + ": " + string(i.Status)
			if i.Error != nil {
				text += ": " + i.Error.Message
			}
			lines = append(lines, line{i.EndedAt, text})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var out strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&out, "[Fleet] %s\n", l.text)
	}
	return out.String()
}
