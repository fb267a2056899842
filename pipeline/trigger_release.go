package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/forge"
)

// The events of triggers by releases (CodeBuild reference 8.2).
const (
	Released    = "RELEASED"
	Prereleased = "PRERELEASED"
)

// decideRelease starts what asks for releases: filter groups and pipeline files,
// never the implied triggers, for which the push of the tag was no event either.
// Only who may write can release.
func decideRelease(e forge.Event) Verdict {
	event := Released
	if e.Release.Prerelease {
		event = Prereleased
	}
	t := baseTrigger(e, event)
	t.Ref = "refs/tags/" + e.Release.Tag
	t.FetchRef, t.Message, t.Trusted = t.Ref, e.Release.Name, true
	missed := "no trigger matched: releases start no implied pipeline, got " + e.Release.Tag
	return Verdict{Start: true, Trigger: t, NotImplied: missed, Reason: missed}
}

// pinRelease finds the commit of a release, which the forge doesn't tell. why
// says that there is none.
func (o *Orchestrator) pinRelease(ctx context.Context, e forge.Event, t *Trigger) (why string, err error) {
	if e.Kind != forge.Release {
		return "", nil
	}
	if o.revisions == nil {
		return "this server finds no commits by their tag", nil
	}
	asking, cancel := context.WithTimeout(ctx, defineTime)
	defer cancel()
	sha, _, err := o.revisions.Resolve(asking, e.Repo, e.Installation, t.Ref)
	if mistake, ok := errors.AsType[*UserError](err); ok {
		return mistake.Msg, nil
	}
	if err != nil {
		return "", fmt.Errorf("finding the commit of %s: %w", t.Ref, err)
	}
	t.SHA = sha
	return "", nil
}
