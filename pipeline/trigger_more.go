package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// several decides about a delivery that tells of several things, such as a
// Bitbucket push of several refs. Each counts as a delivery of its own for the
// IDs of what it starts, so that a repeat starts nothing twice.
func (o *Orchestrator) several(ctx context.Context, d Delivery, first forge.Event) (Decision, error) {
	all := append([]forge.Event{first}, first.More...)
	out := Decision{Decision: DecisionIgnored}
	var reasons []string
	for i, e := range all {
		part := d
		if i > 0 {
			part.ID = fmt.Sprintf("%s.%d", d.ID, i+1)
		}
		one, err := o.decide(ctx, part, e)
		if err != nil {
			return Decision{}, err
		}
		if one.Decision == DecisionStarted || out.Decision == DecisionIgnored {
			out.Decision = one.Decision
		}
		reasons = append(reasons, one.Reason)
		out.Executions = append(out.Executions, one.Executions...)
	}
	out.Reason = strings.Join(reasons, "; ")
	return out, nil
}

// knownHead says why an edit of a pull request starts nothing: the forge tells
// of every edit alike, and this head has run for this pull request (forges
// reference 6.1). A delivery that is handled again, or that somebody replays, isn't
// kept back by what it started itself.
func (o *Orchestrator) knownHead(ctx context.Context, d Delivery, e forge.Event) (string, error) {
	if e.Pull == nil || !e.Pull.HeadMayBeOld || e.Pull.Closed || d.Attempt > 0 {
		return "", nil
	}
	page, err := o.store.Executions(ctx, Query{Forge: e.Repo.Forge, Repo: e.Repo.FullName(), SHA: e.Pull.HeadSHA, Limit: 200})
	if err != nil {
		return "", fmt.Errorf("looking for executions of pull request #%d: %w", e.Pull.Number, err)
	}
	for _, s := range page.Items {
		if s.Trigger != "pr/"+itoa(e.Pull.Number) {
			continue
		}
		x, err := o.store.Execution(ctx, s.ID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", fmt.Errorf("loading execution %s: %w", s.ID, err)
		}
		if err == nil && x.Trigger.Delivery != e.Delivery {
			return fmt.Sprintf("the head of pull request #%d is still %s, which has run", e.Pull.Number, ShortSHA(e.Pull.HeadSHA)), nil
		}
	}
	return "", nil
}
