package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// Chat does what a comment on a pull request asks for. It may be called again
// for the same delivery.
type Chat interface {
	Comment(ctx context.Context, on Steering, d Delivery, e forge.Event) (Decision, error)
	// MayRerun says why the sender of a click at the forge may not have things
	// run again; "" if they may.
	MayRerun(ctx context.Context, e forge.Event) (why string, err error)
}

// Steering is what Chat may do with pipelines. Its errors are a *Refusal where
// somebody asked for what can't be done.
type Steering interface {
	// StartPull runs pipelines for the head of a pull request, as pr says it.
	StartPull(ctx context.Context, d Delivery, e forge.Event, pr forge.PullRequest, want PullRun) (Decision, error)
	// Steer submits a person's event, after Check. One that was submitted before
	// is no mistake, and changes nothing.
	Steer(ctx context.Context, e Event) error
	// Rerun starts a new execution of the same commit and definition.
	Rerun(ctx context.Context, id, forgeName, delivery string, attempt int, by forge.User) (string, error)
}

var _ Steering = (*Orchestrator)(nil)

// PullRun says which pipelines of a pull request's head are wanted.
type PullRun struct {
	// Pipelines by name; empty: those whose triggers match; All: all of them.
	Pipelines []string
	All       bool
	// Environment, if set, asks for the stages that deploy to it and those
	// before that deploy nowhere.
	Environment string
	Variables   map[string]string
	// Comment, if set, is a line of the comment: the pipelines that it starts
	// are wanted. If there is none, the decision is to ignore it, for no reason.
	Comment string
}

// Listen has comments done by c; without it they are recorded and ignored. It
// is called before the orchestrator's first delivery.
func (o *Orchestrator) Listen(c Chat) { o.chat = c }

func (o *Orchestrator) comment(ctx context.Context, d Delivery, e forge.Event) (Decision, error) {
	if o.chat == nil || e.Repo.Archived {
		return Decision{Decision: DecisionIgnored, Reason: "comments are not read here"}, nil
	}
	return o.chat.Comment(ctx, o, d, e)
}

// StartPull starts what somebody asked for in a comment. Who may is the
// caller's to know. What comes from a fork takes its definition from the base
// branch and isn't trusted: it gets no secret (forges reference 4.3).
func (o *Orchestrator) StartPull(ctx context.Context, d Delivery, e forge.Event, pr forge.PullRequest, want PullRun) (Decision, error) {
	t := baseTrigger(e, "PULL_REQUEST_UPDATED")
	t.Type, t.Attempt = "Comment", d.Attempt
	t.SHA, t.Ref, t.FetchRef, t.Pull, t.Message = pr.HeadSHA, "refs/heads/"+pr.HeadRef, pr.FetchRef, &pr, pr.Title
	t.Trusted, t.DeployTo = pr.Internal(), want.Environment
	from := t
	if !t.Trusted {
		from.SHA, from.Ref, from.FetchRef = pr.BaseSHA, "refs/heads/"+pr.BaseRef, "refs/heads/"+pr.BaseRef
	}
	defs, reason, err := o.define(ctx, e.Repo, from)
	if err != nil {
		return Decision{}, err
	}
	e.Kind, e.Action, e.Pull = forge.Pull, "synchronize", &pr
	v := Verdict{Start: true, Trigger: t, Reason: fmt.Sprintf("asked for in a comment on pull request #%d", pr.Number)}
	chosen, reason, err := o.wanted(ctx, e, v, defs, want, reason)
	if err != nil || len(chosen) == 0 {
		return Decision{Decision: DecisionIgnored, Reason: reason}, err
	}
	if want.Comment != "" && !t.Trusted {
		return Decision{}, refuse(ValidationException, "the pull request is a stranger's; write `/ok-to-test %s`", ShortSHA(pr.HeadSHA))
	}
	out := Decision{Decision: DecisionStarted, Reason: v.Reason}
	for _, def := range chosen {
		if !t.Trusted {
			def.Pipeline.Stages = harmless(def.Pipeline.Stages)
		}
		key := BoardKey(e.Repo, def.Project, def.Pipeline.Name)
		cause := d.ID
		if want.Comment != "" { // of which a delivery may have several
			cause += " " + want.Comment
		}
		start := &Start{
			ID: ExecutionID(d.Forge, cause, key, d.Attempt), Pipeline: def.Pipeline, Project: def.Project, Repo: e.Repo, Trigger: t,
			Problem: def.Problem, Annotations: def.Annotations, Variables: want.variablesFor(def),
		}
		if err := o.submitStart(ctx, key, start); err != nil {
			return Decision{}, err
		}
		out.Executions = append(out.Executions, start.ID)
	}
	return out, nil
}

// harmless are the stages before the first that deploys or asks others for
// something: a stranger's commit goes no further, whoever lets it be built.
func harmless(stages []Stage) []Stage {
	at := slices.IndexFunc(stages, func(s Stage) bool {
		return s.Environment != "" || slices.ContainsFunc(s.Tasks(), func(a Action) bool {
			return a.Category == Deploy || a.Category == Approval || a.kind() == HTTPJob
		})
	})
	if at < 0 {
		return stages
	}
	return slices.Clone(stages[:at])
}

// wanted are the definitions that a comment asks for.
func (o *Orchestrator) wanted(ctx context.Context, e forge.Event, v Verdict, defs []Definition, want PullRun, none string) ([]Definition, string, error) {
	switch {
	case want.Comment != "":
		return commented(defs, want.Comment), "", nil
	case len(defs) == 0:
		return nil, none, nil
	case want.Environment != "":
		return deploying(defs, want)
	case want.All:
		return defs, "", nil
	case len(want.Pipelines) == 0:
		return o.choose(ctx, e, v, defs)
	}
	var chosen []Definition
	for _, name := range want.Pipelines {
		i := slices.IndexFunc(defs, func(d Definition) bool { return d.Pipeline.Name == name })
		if i < 0 {
			i = slices.IndexFunc(defs, func(d Definition) bool { return strings.EqualFold(d.Pipeline.Name, name) })
		}
		if i < 0 {
			return nil, "", refuse(ValidationException, "there is no pipeline %q here; there is %s", name, pipelineNames(defs))
		}
		chosen = append(chosen, defs[i])
	}
	return chosen, "", nil
}

func pipelineNames(defs []Definition) string {
	var names []string
	for _, d := range defs {
		names = append(names, d.Pipeline.Name)
	}
	return strings.Join(names, ", ")
}

// deploying is the one definition with a stage for the environment, without
// what lies after it and what deploys elsewhere.
func deploying(defs []Definition, want PullRun) ([]Definition, string, error) {
	var found []Definition
	for _, def := range defs {
		if len(want.Pipelines) > 0 && !slices.Contains(want.Pipelines, def.Pipeline.Name) {
			continue
		}
		at := slices.IndexFunc(def.Pipeline.Stages, func(s Stage) bool { return s.Environment == want.Environment })
		if at < 0 || def.Problem != nil {
			continue
		}
		def.Pipeline.Stages = slices.DeleteFunc(slices.Clone(def.Pipeline.Stages[:at+1]), func(s Stage) bool {
			return s.Environment != "" && s.Environment != want.Environment
		})
		found = append(found, def)
	}
	switch len(found) {
	case 1:
		return found, "", nil
	case 0:
		return nil, "", refuse(ValidationException, "no pipeline here has a stage for environment %q", want.Environment)
	}
	return nil, "", refuse(ValidationException, "several pipelines have a stage for environment %q; name one with --pipeline: %s", want.Environment, pipelineNames(found))
}

// Steer takes a person's event, and says at once why it changes nothing.
func (o *Orchestrator) Steer(ctx context.Context, e Event) error {
	if done, err := o.store.Consumed(ctx, e.Board, e.ID); err != nil || done {
		return err
	}
	b, _, err := o.store.Board(ctx, e.Board)
	if errors.Is(err, ErrNotFound) {
		return refuse(ValidationException, "the pipeline has no executions")
	}
	if err != nil {
		return fmt.Errorf("loading board %s: %w", e.Board, err)
	}
	if e.Revive, err = o.spokenOf(ctx, b, e.Execution); err != nil {
		return err
	}
	if target := cmp.Or(e.Target, e.Execution); e.Type == RollbackWanted {
		if e.Found, err = o.spokenOf(ctx, b, target); err != nil {
			return err
		}
	}
	if err := Check(b, e); err != nil {
		return err
	}
	return o.step(ctx, e, nil)
}
