package chat

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

// gate is an approval that waits.
type gate struct {
	x      pipeline.Execution
	stage  string
	action pipeline.ActionExecution
}

// approve answers the one gate that waits, or the one that is named.
func approve(ctx context.Context, t *talk, c Command) (outcome, error) {
	waiting, err := t.gates(ctx, c)
	if err != nil {
		return outcome{}, err
	}
	switch len(waiting) {
	case 0:
		return outcome{}, refuse("no such gate waits for an answer")
	case 1:
	default:
		var names []string
		for _, g := range waiting {
			names = append(names, fmt.Sprintf("`%s` (%s, `--run %s`)", g.action.Name, g.x.Pipeline.Name, g.x.ID[:min(8, len(g.x.ID))]))
		}
		return outcome{}, refuse("several gates wait, name one: %s", strings.Join(names, ", "))
	}
	g := waiting[0]
	if err := t.mayAnswer(ctx, c, g); err != nil {
		return outcome{}, err
	}
	yes := c.Spec.Name == "approve"
	answer := t.event(pipeline.ApprovalGiven, g.x, func(e *pipeline.Event) {
		e.Stage, e.Action, e.Enable, e.Token, e.Reason = g.stage, g.action.Name, yes, g.action.Approval.Token, c.Flags["m"]
		e.Fields = c.Variables
		e.Voter = pipeline.VoterOf(t.e.Repo.Forge, t.c.Author)
	})
	word, reaction := "Rejected", "+1"
	if yes {
		word, reaction = "Approved", "rocket"
		if more := g.action.Approval.Missing() - 1; more > 0 {
			word, reaction = fmt.Sprintf("Approved, %d more must", more), "+1"
		}
	}
	return outcome{reaction: reaction, events: []pipeline.Event{answer}, text: fmt.Sprintf("%s: %s of [%s #%d](%s) at %s.", word, g.action.Name, g.x.Pipeline.Name, g.x.Number, t.Link(g.x.ID), pipeline.ShortSHA(g.x.Trigger.SHA))}, nil
}

func (t *talk) gates(ctx context.Context, c Command) ([]gate, error) {
	list, err := t.executions(ctx)
	if err != nil {
		return nil, err
	}
	var found []gate
	for _, sum := range list {
		if sum.Status.Ended() || c.Flags["run"] != "" && !strings.HasPrefix(sum.ID, c.Flags["run"]) && c.Flags["run"] != strconv.Itoa(sum.Number) {
			continue
		}
		x, err := t.Records.Execution(ctx, sum.ID)
		if err != nil {
			return nil, err
		}
		for _, st := range x.Stages {
			for _, a := range st.Actions {
				named := len(c.Args) == 0 || strings.EqualFold(c.Args[0], a.Name) || strings.EqualFold(c.Args[0], st.Name)
				if a.Approval != nil && a.Status == pipeline.InProgress && named {
					found = append(found, gate{x, st.Name, a})
				}
			}
		}
	}
	return found, nil
}

// mayAnswer checks who answers a gate, and that what waits is what the author
// has seen: the head, and a gate that was there before the comment.
func (t *talk) mayAnswer(ctx context.Context, c Command, g gate) error {
	sha := g.x.Trigger.SHA
	switch {
	case c.Flags["sha"] != "" && !strings.HasPrefix(sha, strings.ToLower(c.Flags["sha"])):
		return refuse("the gate waits at %s", pipeline.ShortSHA(sha))
	case t.c.Review && t.c.SHA != sha:
		return refuse("the review is of %s, the gate waits at %s", pipeline.ShortSHA(t.c.SHA), pipeline.ShortSHA(sha))
	case !t.pr.Closed && sha != t.pr.HeadSHA:
		return t.moved(sha)
	case !t.c.CreatedAt.IsZero() && g.action.StartedAt.Truncate(1e9).After(t.c.CreatedAt):
		return refuse("the gate was not there yet when you wrote this; look at %s and say it again", pipeline.ShortSHA(sha))
	}
	env := t.environment(g.x.Pipeline.EnvironmentOf(g.stage))
	if env.PreventSelfReview && g.x.Trigger.Actor.ID == t.c.Author.ID {
		return refuse("who started an execution may not approve it here")
	}
	ok, err := t.approves(ctx, env.ApproversOver(g.action.Approval.Approvers))
	if err == nil && !ok {
		err = refuse("you are not one of the gate's approvers")
	}
	if err != nil || c.Spec.Name != "approve" {
		return err
	}
	if why := g.x.Barred(g.action.Approval, pipeline.VoterOf(t.e.Repo.Forge, t.c.Author)); why != "" {
		return refuse("%s", why)
	}
	if _, err := g.action.Approval.Fill(c.Variables); err != nil {
		return refuse("%s", err)
	}
	return nil
}

func (t *talk) environment(name string) pipeline.Environment {
	if name == "" {
		return pipeline.Environment{}
	}
	return t.Environment(t.e.Repo, name)
}
