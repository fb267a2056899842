package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// defineTries, definePause and defineTime bound how long an unreachable
// repository is waited for before its execution fails for all to see. The time
// is less than what the inbox gives a delivery, so that a repository that never
// answers ends in a check and not in a dead letter.
const (
	defineTries = 4
	definePause = time.Second
	defineTime  = 90 * time.Second
)

// define reads the pipelines at a commit. A commit that isn't there and a
// repository that stays out of reach are problems of one definition, which its
// execution reports; only what the forge asks us to try later is an error.
func (o *Orchestrator) define(ctx context.Context, repo forge.Repo, t Trigger) (defs []Definition, reason string, err error) {
	asking, cancel := context.WithTimeout(ctx, defineTime)
	defer cancel()
	for try := range defineTries {
		if try > 0 && !sleep(asking, definePause<<(try-1)) {
			break
		}
		defs, reason, err = o.definitions.Pipelines(asking, repo, t)
		if err == nil {
			return defs, reason, nil
		}
		if mistake, ok := errors.AsType[*UserError](err); ok {
			return []Definition{broken(repo, mistake)}, "", nil
		}
		if _, later := RetryAfter(err); later || ctx.Err() != nil {
			break
		}
		o.log.WarnContext(ctx, "a repository is out of reach", "repo", repo.FullName(), "sha", t.SHA, "error", err)
	}
	if _, later := RetryAfter(err); later || ctx.Err() != nil {
		return nil, "", fmt.Errorf("reading the pipelines of %s at %s: %w", repo.FullName(), ShortSHA(t.SHA), err)
	}
	return []Definition{broken(repo, &UserError{
		Code: SystemUnavailable,
		Msg:  "the repository " + repo.FullName() + " could not be reached; run this again when it can",
	})}, "", nil
}

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// broken stands in for definitions that can't be read, so that the mistake has
// an execution, and with it a check, to be reported in.
func broken(repo forge.Repo, problem *UserError) Definition {
	return Definition{
		Project: repo.Slug(), Pipeline: sourceOnly(DefaultPipeline), Problem: problem, Annotations: annotate(problem),
	}
}

// sourceOnly is a pipeline that does nothing.
func sourceOnly(name string) Pipeline {
	return Pipeline{
		Name: name, Mode: ParallelMode, Implied: true,
		Stages: []Stage{{Name: "Source", Actions: []Action{SourceAction()}}},
	}
}

// SourceAction is the action of the implied Source stage: the revision that
// the trigger pinned.
func SourceAction() Action {
	return Action{Name: "Source", Category: Source, Provider: "Git", RunOrder: 1, Outputs: []string{"SourceArtifact"}}
}

func annotate(p *UserError) []forge.Annotation {
	if p == nil || p.File == "" {
		return nil
	}
	return []forge.Annotation{{
		Path: p.File, StartLine: max(p.Line, 1), EndLine: max(p.Line, 1), Column: p.Column,
		Level: "failure", Title: p.Code, Message: p.Msg,
	}}
}
