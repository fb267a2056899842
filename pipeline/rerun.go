package pipeline

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/forge"
)

// rerun starts again what somebody asked for at the forge: the same commit and
// definition in a new execution (forges reference 3.4). Whoever clicked needs
// the right that the command in a comment asks for.
func (o *Orchestrator) rerun(ctx context.Context, d Delivery, e forge.Event) (Decision, error) {
	ids, err := o.rerunTargets(ctx, e)
	if err != nil {
		return Decision{}, err
	}
	if len(ids) > 0 && o.chat != nil {
		why, err := o.chat.MayRerun(ctx, e)
		if err != nil || why != "" {
			return Decision{Decision: DecisionIgnored, Reason: why}, err
		}
	}
	out := Decision{Decision: DecisionStarted, Reason: rerunReason}
	for _, id := range ids {
		x, err := o.store.Execution(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return Decision{}, err
		}
		again, err := o.Rerun(ctx, id, d.Forge, d.ID, d.Attempt, e.Sender)
		switch {
		case err != nil:
			return Decision{}, err
		case x.Gate != "": // asking again approves nothing; the remark is repeated
			out.Reason = x.Gate
		default:
			out.Executions = append(out.Executions, again)
		}
	}
	switch {
	case len(out.Executions) > 0:
		return out, nil
	case out.Reason != rerunReason:
		return Decision{Decision: DecisionIgnored, Reason: out.Reason}, nil
	default:
		return Decision{Decision: DecisionIgnored, Reason: "no execution of ours is known for commit " + ShortSHA(e.Check.SHA)}, nil
	}
}

// rerunReason is why an execution that repeats another one was started.
const rerunReason = "asked to run again"

// The buttons that a completed check shows.
const (
	ButtonRerunFailed = "rerun_failed"
	ButtonRerunAll    = "rerun_all"
)

// button does what a check's button says.
func (o *Orchestrator) button(ctx context.Context, d Delivery, e forge.Event) (Decision, error) {
	if e.Check == nil || (e.Check.Identifier != ButtonRerunFailed && e.Check.Identifier != ButtonRerunAll) {
		return Decision{Decision: DecisionIgnored, Reason: "the button isn't one of ours"}, nil
	}
	return o.rerun(ctx, d, e)
}

// rerunTargets are the executions that a re-run names: one by its check's
// external ID, or the latest of each pipeline for the suite's commit.
func (o *Orchestrator) rerunTargets(ctx context.Context, e forge.Event) ([]string, error) {
	if e.Check == nil {
		return nil, nil
	}
	if id, ok := executionOf(e.Check.ExternalID); ok {
		x, err := o.store.Execution(ctx, id)
		if errors.Is(err, ErrNotFound) || (err == nil && (x.Repo.Forge != e.Repo.Forge || x.Repo.ID != e.Repo.ID)) {
			return nil, nil
		}
		return []string{id}, err
	}
	if e.Kind != forge.SuiteRerun {
		return nil, nil
	}
	page, err := o.store.Executions(ctx, Query{Forge: e.Repo.Forge, Repo: e.Repo.FullName(), SHA: e.Check.SHA, Limit: 200})
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var ids []string
	for _, s := range page.Items { // newest first
		if !seen[s.Pipeline] {
			seen[s.Pipeline] = true
			ids = append(ids, s.ID)
		}
	}
	return ids, nil
}

// Rerun starts a new execution of the same commit, definition and trigger as
// an earlier one. The key (forgeName, delivery, attempt) makes it happen once.
func (o *Orchestrator) Rerun(ctx context.Context, id, forgeName, delivery string, attempt int, by forge.User) (string, error) {
	x, err := o.store.Execution(ctx, id)
	if err != nil {
		return "", err
	}
	t := x.Trigger
	t.Type, t.Rerun, t.Actor, t.Delivery, t.Attempt = "Rerun", x.ID, by, delivery, attempt
	t.DeployTo = "" // that was somebody else's to ask for
	start := &Start{
		ID: ExecutionID(forgeName, delivery, x.Board, attempt), Pipeline: x.Pipeline.withoutTasks(), Project: x.Project,
		Repo: x.Repo, Trigger: t, Gate: x.Gate, Skip: x.Status == Skipped,
	}
	if x.Problem == nil {
		start.Variables = x.Variables
	}
	if x.Problem != nil {
		if err := o.redefine(ctx, start); err != nil {
			return "", err
		}
	}
	return start.ID, o.submitStart(ctx, x.Board, start)
}

// redefine reads again what could not be read the first time.
func (o *Orchestrator) redefine(ctx context.Context, start *Start) error {
	defs, reason, err := o.define(ctx, start.Repo, start.Trigger)
	if err != nil {
		return err
	}
	if reason == "" {
		reason = "the commit defines no pipeline " + start.Pipeline.Name
	}
	start.Problem, start.Annotations = &UserError{Code: ConfigurationError, Msg: reason}, nil
	for _, def := range defs {
		switch {
		case def.Pipeline.Name == start.Pipeline.Name:
			start.Pipeline, start.Problem, start.Annotations = def.Pipeline, def.Problem, def.Annotations
			return nil
		case def.Triggers == nil: // nothing could be read
			start.Problem, start.Annotations = def.Problem, def.Annotations
		}
	}
	return nil
}

// executionOf reads a check run's external ID, {execution}:{attempt}.
func executionOf(external string) (string, bool) {
	for i := range external {
		if external[i] == ':' {
			return external[:i], i > 0
		}
	}
	return external, external != ""
}
