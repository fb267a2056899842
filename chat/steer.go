package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Fleet carries out deployments.
type Fleet interface {
	Deployments(ctx context.Context, q pipeline.DeploymentQuery) (pipeline.Page[pipeline.Deployment], error)
	// StopDeployment ends a deployment; pipeline.ErrConflict: it has ended.
	StopDeployment(ctx context.Context, id, reason string) error
	// RollBack ends a deployment and deploys what was good before it; a
	// *pipeline.UserError: nothing was.
	RollBack(ctx context.Context, id, by string) (pipeline.Deployment, error)
}

// runOne runs a pipeline for the head, whatever its own triggers.
func runOne(ctx context.Context, t *talk, c Command) (outcome, error) {
	if !t.pr.Internal() {
		return outcome{}, refuse("the pull request is a stranger's; write `/ok-to-test %s`", pipeline.ShortSHA(t.pr.HeadSHA))
	}
	return t.start(ctx, pipeline.PullRun{Pipelines: c.Args, Variables: c.Variables}, "eyes")
}

// retry runs a stage that failed again, within its execution.
func retry(ctx context.Context, t *talk, c Command) (outcome, error) {
	list, err := t.latest(ctx)
	if err != nil {
		return outcome{}, err
	}
	for _, sum := range list {
		x, err := t.Records.Execution(ctx, sum.ID)
		if err != nil {
			return outcome{}, err
		}
		i := slices.IndexFunc(x.Stages, func(st pipeline.StageExecution) bool {
			return strings.EqualFold(st.Name, c.Args[0]) && st.Status == pipeline.Failed
		})
		if i < 0 {
			continue
		}
		stage := x.Stages[i].Name
		if env := x.Pipeline.EnvironmentOf(stage); env != "" {
			if err := t.mayDeploy(ctx, env); err != nil {
				return outcome{}, err
			}
		}
		mode := pipeline.FailedActions
		if c.Flags["all"] != "" {
			mode = pipeline.AllActions
		}
		e := t.event(pipeline.RetryRequested, x, func(e *pipeline.Event) { e.Stage, e.Retry = stage, mode })
		return outcome{reaction: "rocket", events: []pipeline.Event{e}, text: fmt.Sprintf("Running %s of %s again.", stage, t.link(sum))}, nil
	}
	return outcome{}, refuse("no stage of that name has failed for %s", pipeline.ShortSHA(t.pr.HeadSHA))
}

// override lets a failed check pass. What counts is what its author can have
// seen: a check that failed at the head before the comment was written.
func override(ctx context.Context, t *talk, c Command) (outcome, error) {
	if t.c.Review && t.c.SHA != t.pr.HeadSHA {
		return outcome{}, t.moved(t.c.SHA)
	}
	if strings.TrimSpace(c.Flags["m"]) == "" {
		return outcome{}, refuse("say why: `/override %s -m \"...\"`", checkName(c.Args[0]))
	}
	list, err := t.latest(ctx)
	if err != nil {
		return outcome{}, err
	}
	x, sum, err := t.checked(ctx, list, c.Args[0])
	if err != nil {
		return outcome{}, err
	}
	if !t.c.CreatedAt.IsZero() && x.EndedAt.Truncate(time.Second).After(t.c.CreatedAt) {
		return outcome{}, refuse("%s at %s ended after the comment was written; look at it first", x.Pipeline.Name, pipeline.ShortSHA(x.Trigger.SHA))
	}
	e := t.event(pipeline.CheckOverridden, x, func(e *pipeline.Event) { e.Reason = strings.TrimSpace(c.Flags["m"]) })
	return outcome{reaction: "+1", events: []pipeline.Event{e}, text: fmt.Sprintf("The check of %s passes for %s.", t.link(sum), pipeline.ShortSHA(x.Trigger.SHA))}, nil
}

// checked is the execution whose check has the name.
func (t *talk) checked(ctx context.Context, list []pipeline.Summary, name string) (x pipeline.Execution, sum pipeline.Summary, err error) {
	for _, sum := range list {
		x, err := t.Records.Execution(ctx, sum.ID)
		if err != nil {
			return x, sum, err
		}
		if check, _ := x.CheckName(); strings.EqualFold(sum.Pipeline, checkName(name)) || strings.EqualFold(check, name) {
			return x, sum, nil
		}
	}
	return x, sum, refuse("no check of ours at %s has that name", pipeline.ShortSHA(t.pr.HeadSHA))
}

// checkName is the pipeline whose check somebody names: as it is, or as forges
// show it, "slipway / ci" and "slipway/ci".
func checkName(given string) string {
	if rest, ok := strings.CutPrefix(given, "slipway"); ok {
		if name, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), "/"); ok {
			return strings.TrimLeft(name, " ")
		}
	}
	return given
}

// stopDeployments ends those that run to an environment.
func stopDeployments(ctx context.Context, t *talk, c Command) (outcome, error) {
	if err := t.mayDeploy(ctx, c.Args[0]); err != nil {
		return outcome{}, err
	}
	if t.Fleet == nil {
		return outcome{}, refuse("this server has no deployments")
	}
	var links []string
	for _, status := range []pipeline.DeploymentStatus{pipeline.DeploymentInProgress, pipeline.DeploymentBaking, pipeline.DeploymentQueued, pipeline.DeploymentCreated} {
		page, err := t.Fleet.Deployments(ctx, pipeline.DeploymentQuery{Status: status, Limit: 200})
		if err != nil {
			return outcome{}, err
		}
		for _, d := range page.Items {
			if d.Environment != c.Args[0] || !strings.EqualFold(d.Revision.Repo, t.e.Repo.Forge+"/"+t.e.Repo.FullName()) {
				continue
			}
			said, err := t.stopDeployment(ctx, d, c.Flags["rollback"] != "")
			if errors.Is(err, pipeline.ErrConflict) {
				continue
			}
			if err != nil {
				return outcome{}, err
			}
			links = append(links, said)
		}
	}
	if len(links) == 0 {
		return outcome{}, refuse("nothing of this repository is being deployed to %s", c.Args[0])
	}
	return outcome{reaction: "+1", text: fmt.Sprintf("Stopping what is deployed to %s: %s.", c.Args[0], strings.Join(links, ", "))}, nil
}

// stopDeployment ends one deployment and says so. One that goes back itself, or
// has not begun, leaves nothing to undo.
func (t *talk) stopDeployment(ctx context.Context, d pipeline.Deployment, undo bool) (said string, err error) {
	said = "`" + d.ID + "`"
	if undo && d.Status.UnderWay() && d.Creator != pipeline.CreatorRollback {
		back, err := t.Fleet.RollBack(ctx, d.ID, t.c.Author.Login)
		none, ok := errors.AsType[*pipeline.UserError](err)
		if !ok {
			return said + ", undone by `" + back.ID + "`", err
		}
		said += " (" + none.Msg + ")"
	}
	return said, t.Fleet.StopDeployment(ctx, d.ID, "stopped by "+t.c.Author.Login)
}

// held is a stage in front of which executions can be held.
type held struct {
	board, pipeline, stage string
	example                pipeline.Execution // one that has the stage
}

// holdable are the stages of the repository's pipelines, as their newest
// executions have them, that bear the name or are the environment's.
func (t *talk) holdable(ctx context.Context, c Command) ([]held, error) {
	page, err := t.Records.Executions(ctx, pipeline.Query{Forge: t.e.Repo.Forge, Repo: t.e.Repo.FullName(), Limit: 200})
	if err != nil {
		return nil, err
	}
	var found []held
	seen := map[string]bool{}
	for _, sum := range page.Items {
		if seen[sum.Pipeline] || c.Flags["pipeline"] != "" && !strings.EqualFold(sum.Pipeline, c.Flags["pipeline"]) {
			continue
		}
		x, err := t.Records.Execution(ctx, sum.ID)
		if errors.Is(err, pipeline.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		seen[sum.Pipeline] = true
		for _, st := range x.Pipeline.Stages {
			if strings.EqualFold(st.Name, c.Args[0]) || st.Environment == c.Args[0] {
				found = append(found, held{x.Board, sum.Pipeline, st.Name, x})
			}
		}
	}
	if len(found) == 0 {
		return nil, refuse("no pipeline here has a stage or environment of that name")
	}
	return found, nil
}

// hold disables the way into stages, and unhold enables it: for all executions
// of the pipeline, as CodePipeline's transitions do.
func hold(ctx context.Context, t *talk, c Command) (outcome, error) {
	open := c.Spec.Name == "unhold"
	stages, err := t.holdable(ctx, c)
	if err != nil {
		return outcome{}, err
	}
	var done []string
	var events []pipeline.Event
	for _, h := range stages {
		b, _, err := t.Records.Board(ctx, h.board)
		if err != nil {
			return outcome{}, err
		}
		st := b.Stages[h.stage]
		isHeld := st != nil && st.Disabled != ""
		if isHeld != open {
			continue // it is as asked for
		}
		if open && st.ChangedBy != t.c.Author.Login && !t.level.AtLeast(forge.Maintain) {
			return outcome{}, refuse("%s of %s is held by %s; it needs them, or the permission to maintain", h.stage, h.pipeline, shown(st.ChangedBy))
		}
		reason := c.Flags["m"]
		if reason == "" {
			reason = fmt.Sprintf("held by %s in #%d", t.c.Author.Login, t.c.Pull)
		}
		e := t.event(pipeline.TransitionFlips, h.example, func(e *pipeline.Event) {
			e.ID += ":" + h.stage
			e.Execution, e.Stage, e.Enable, e.Reason = "", h.stage, open, reason
		})
		events = append(events, e)
		done = append(done, h.stage+" of "+h.pipeline)
	}
	word := "Held"
	if open {
		word = "Open again"
	}
	if len(done) == 0 {
		return outcome{}, refuse("nothing changes: it is as you want it already")
	}
	return outcome{reaction: "+1", events: events, text: fmt.Sprintf("%s: %s.", word, strings.Join(done, ", "))}, nil
}
