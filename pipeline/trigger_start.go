package pipeline

import (
	"cmp"
	"context"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// startAll starts every pipeline that the commit defines and whose triggers
// match.
func (o *Orchestrator) startAll(ctx context.Context, d Delivery, e forge.Event, v Verdict) (Decision, error) {
	v.Trigger.Attempt = d.Attempt
	if v.Gate != "" {
		return o.gate(ctx, d, e, v)
	}
	if why, err := o.pinRelease(ctx, e, &v.Trigger); err != nil || why != "" {
		return Decision{Decision: DecisionIgnored, Reason: why}, err
	}
	defs, reason, err := o.define(ctx, e.Repo, v.Trigger)
	switch {
	case err != nil:
		return Decision{}, err
	case len(defs) == 0:
		return Decision{Decision: DecisionIgnored, Reason: cmp.Or(v.NotImplied, reason)}, nil
	}
	if err := o.timetables(ctx, d, e, defs); err != nil {
		return Decision{}, err
	}
	chosen, reason, err := o.choose(ctx, e, v, defs)
	switch {
	case err != nil:
		return Decision{}, err
	case len(chosen) == 0:
		return Decision{Decision: DecisionIgnored, Reason: reason}, nil
	case v.Skip != "":
		return o.remark(ctx, d, e, v, v.Skip, chosen)
	}
	out := Decision{Decision: DecisionStarted, Reason: reason}
	for _, def := range chosen {
		id, err := o.startOne(ctx, d, e, v, def)
		if err != nil {
			return Decision{}, err
		}
		out.Executions = append(out.Executions, id)
	}
	return out, nil
}

// choose finds the definitions that an event starts. The reason says for each
// why, or why not.
func (o *Orchestrator) choose(ctx context.Context, e forge.Event, v Verdict, defs []Definition) (chosen []Definition, reason string, err error) {
	c := chooser{o: o, e: e, v: v}
	var reasons []string
	for _, def := range defs {
		start, why, err := c.starts(ctx, def)
		if err != nil {
			return nil, "", err
		}
		if start {
			chosen = append(chosen, def)
		}
		if def.Triggers != nil {
			why = def.Pipeline.Name + ": " + why
		}
		reasons = append(reasons, why)
	}
	return chosen, strings.Join(reasons, "; "), nil
}

// chooser asks the forge at most once for what several definitions need.
type chooser struct {
	o       *Orchestrator
	e       forge.Event
	v       Verdict
	changed *forge.Changes
}

func (c *chooser) starts(ctx context.Context, def Definition) (bool, string, error) {
	tag := c.e.Push != nil && strings.HasPrefix(c.e.Push.Ref, "refs/tags/")
	switch {
	case def.Problem == nil && def.Triggers != nil:
		return def.Triggers.Match(c.e, func() (forge.Changes, error) { return c.files(ctx) })
	case def.Problem == nil && len(def.Filters) > 0:
		return def.Filters.Match(c.e, c.v.Trigger.Event, func() (forge.Changes, error) { return c.files(ctx) })
	case def.Problem == nil && c.v.NotImplied != "":
		return false, c.v.NotImplied, nil
	case def.Problem != nil && c.v.NotImplied != "" && !tag: // an event that almost nobody waits for
		return false, "its definition is not valid: " + def.Problem.Error(), nil
	}
	covered, err := c.o.coveredByPull(ctx, c.e, c.v)
	if err != nil || covered != "" {
		return false, covered, err
	}
	if def.Problem != nil && def.Triggers != nil {
		return true, "its definition is not valid", nil
	}
	return true, c.v.Reason, nil
}

func (c *chooser) files(ctx context.Context) (forge.Changes, error) {
	if c.changed != nil {
		return *c.changed, nil
	}
	known, err := c.o.deliveries.Changed(ctx, c.e)
	if _, later := RetryAfter(err); later {
		return known, err
	}
	if err != nil {
		known = forge.Changes{Unknown: err.Error()}
	}
	c.changed = &known
	return known, nil
}

func (o *Orchestrator) startOne(ctx context.Context, d Delivery, e forge.Event, v Verdict, def Definition) (string, error) {
	key := BoardKey(e.Repo, def.Project, def.Pipeline.Name)
	start := &Start{
		ID: ExecutionID(d.Forge, d.ID, key, d.Attempt), Pipeline: def.Pipeline, Project: def.Project,
		Repo: e.Repo, Trigger: v.Trigger, Problem: def.Problem, Annotations: def.Annotations,
	}
	return start.ID, o.submitStart(ctx, key, start)
}

func (o *Orchestrator) submitStart(ctx context.Context, key string, start *Start) error {
	e := Event{V: 1, ID: "start:" + start.ID, Type: StartRequested, Board: key, At: o.now().UTC(), Start: start}
	return o.step(ctx, e, NewBoard(key, start.Repo, start.Project, start.Pipeline.Name))
}

// gate holds what an outsider sent. The base branch says what there would be to
// run; in doubt the author is told.
func (o *Orchestrator) gate(ctx context.Context, d Delivery, e forge.Event, v Verdict) (Decision, error) {
	base := v.Trigger
	base.SHA, base.Ref, base.FetchRef = e.Pull.BaseSHA, "refs/heads/"+e.Pull.BaseRef, "refs/heads/"+e.Pull.BaseRef
	defs, reason, err := o.definitions.Pipelines(ctx, e.Repo, base)
	switch {
	case err != nil:
		return o.remark(ctx, d, e, v, v.Gate, []Definition{broken(e.Repo, nil)})
	case len(defs) == 0:
		return Decision{Decision: DecisionIgnored, Reason: v.Gate + " Besides, " + reason + "."}, nil
	}
	chosen, reason, err := o.choose(ctx, e, v, defs)
	switch {
	case err != nil:
		return Decision{}, err
	case len(chosen) == 0:
		return Decision{Decision: DecisionIgnored, Reason: reason}, nil
	}
	return o.remark(ctx, d, e, v, v.Gate, chosen)
}

// remark tells the forge, in the check of each pipeline that would have run,
// why nothing runs. It leaves records for the reporter but no execution in any
// list.
func (o *Orchestrator) remark(ctx context.Context, d Delivery, e forge.Event, v Verdict, why string, defs []Definition) (Decision, error) {
	for _, def := range defs {
		check := def.Pipeline.Check
		if def.Triggers == nil {
			def = broken(e.Repo, nil)
		}
		key := BoardKey(e.Repo, def.Project, def.Pipeline.Name)
		remark := sourceOnly(def.Pipeline.Name)
		remark.Check = check
		start := &Start{
			ID: ExecutionID(d.Forge, d.ID, key, d.Attempt), Pipeline: remark, Project: def.Project,
			Repo: e.Repo, Trigger: v.Trigger, Gate: why, Skip: v.Skip != "",
		}
		if err := o.submitStart(ctx, key, start); err != nil {
			return Decision{}, err
		}
	}
	return Decision{Decision: DecisionIgnored, Reason: why}, nil
}
