package chat

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/pipeline"
)

// custom runs the pipelines of the repository that say a line starts them
// (on.comment). A line that none of them knows is somebody else's, and so is
// one of an author who may start nothing, or of a review of another commit:
// they aren't answered.
func (t *talk) custom(ctx context.Context, c Command) (result, error) {
	stale := t.c.Review && t.c.SHA != t.pr.HeadSHA
	if t.pr.Closed || stale || t.may(c.Spec) != nil {
		return passOver(c), nil
	}
	d, err := t.on.StartPull(ctx, t.d, t.e, t.pr, pipeline.PullRun{Comment: c.Custom})
	if no, ok := errors.AsType[*pipeline.Refusal](err); ok {
		return t.refused(c, no.Msg), nil
	}
	if err != nil || d.Decision != pipeline.DecisionStarted {
		return passOver(c), err
	}
	out := t.running(d, "eyes")
	return result{
		Acted: true, Said: out.text, Reason: "/" + c.Spec.Name, Reaction: out.reaction, Executions: out.executions,
		Note: t.entry(c, access.Done, out.text),
	}, nil
}

// ours reports whether a line is meant for Slipway, known or not.
func ours(c Command) bool { return c.Custom == "" || c.Unknown != nil }

func passOver(c Command) result {
	if c.Unknown != nil {
		return notUnderstood(c.Text, c.Unknown.Error())
	}
	return result{Passed: true}
}
