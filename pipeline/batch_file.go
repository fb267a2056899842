package pipeline

import "github.com/slipway-ci/slipway/internal/specfile"

// batch reads the flag that makes a build a batch (CodePipeline reference 1.4,
// BatchEnabled).
func (r *reader) batch(x *actionAt, a *Action, e specfile.Entry) {
	if on := r.f.Flag(e.Value, e.Path); on && a.Batch == nil {
		a.Batch = &BatchSettings{}
	}
}

// combine reads CombineArtifacts, whichever of the two comes first.
func (r *reader) combine(x *actionAt, a *Action, e specfile.Entry) {
	x.combine = r.f.Flag(e.Value, e.Path)
	x.combineAt = orKey(e)
}

// checkBatch holds the two together (CodePipeline reference 2.3, SP209).
func (r *reader) checkBatch(a *Action, x *actionAt) {
	switch {
	case !x.combine:
	case a.Batch == nil:
		r.f.Errorf(x.combineAt, spBatch, "%s: combine is for batches: want batch: true beside it", x.where)
	case len(x.outputs) > 1:
		r.f.Errorf(x.combineAt, spBatch, "%s: combine makes one artifact, and out has %d", x.where, len(x.outputs))
	default:
		a.Batch.Combine = true
	}
}
