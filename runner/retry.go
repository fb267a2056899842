package runner

import (
	"context"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// retries asks for the build to be repeated if on-failure wants that for the
// phase that has just failed, and reports whether it did. The last attempt
// goes on as if on-failure were unset (CodeBuild reference 2.4: the build is
// retried, not the phase).
func (r *build) retries(f buildspec.OnFailure) bool {
	failed := r.record.Phases[len(r.record.Phases)-1].Contexts[0].Message
	if f.PhaseOnly || r.order.Retried >= f.Retries || !f.Pattern.MatchString(failed) {
		return false
	}
	r.outcome.Retry = true
	r.log.line("The build is to be retried: retry %d of %d", r.order.Retried+1, f.Retries)
	return true
}

// retriesItself asks for a failed build to be repeated if its project says so.
// A buildspec with a mistake in it would only fail once more.
func (r *build) retriesItself() {
	if r.outcome.Status != pipeline.BuildFailed || r.outcome.Retry || r.outcome.Code == codeYAML || r.order.Retried >= r.order.AutoRetry {
		return
	}
	r.outcome.Retry = true
	r.log.line("The build is to be retried: automatic retry %d of %d", r.order.Retried+1, r.order.AutoRetry)
}

// insistently runs a phase; with retry-scope: phase again where it failed, in
// the state that it left.
func (r *build) insistently(ctx context.Context, p buildspec.Phase) error {
	err := r.commandPhase(ctx, p)
	f := p.OnFailure
	if f.Action != buildspec.Retry || !f.PhaseOnly {
		return err
	}
	for n := 1; n <= f.Retries && err != nil; n++ {
		if statusOf(err) != pipeline.BuildFailed || context.Cause(ctx) != nil || !f.Pattern.MatchString(contextOf(err).Message) {
			break
		}
		r.log.line("Phase %s failed: %s", phaseType(p.Name), contextOf(err).Message)
		r.log.line("Phase %s is retried: retry %d of %d", phaseType(p.Name), n, f.Retries)
		err = r.commandPhase(ctx, p)
	}
	return err
}
