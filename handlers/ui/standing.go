package ui

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// record is how a repository's executions on one page of its list went.
type record struct {
	// Good of Ended succeeded; those that were superseded, stopped or cancelled
	// say nothing about the code.
	Good, Ended, Percent int
	Median, Longest      string
	// Flaky are executions that failed on a commit on which the same pipeline
	// succeeded, too, one of each commit.
	Flaky []pipeline.Summary
}

// recordOf sums up executions.
func recordOf(items []pipeline.Summary) record {
	type run struct{ pipeline, sha string }
	var r record
	var took []time.Duration
	good := map[run]bool{}
	for _, x := range items {
		if x.Status != pipeline.Succeeded && x.Status != pipeline.Failed {
			continue
		}
		r.Ended++
		if x.Status == pipeline.Succeeded {
			r.Good++
			good[run{x.Pipeline, x.SHA}] = true
			took = append(took, x.EndedAt.Sub(x.StartedAt))
		}
	}
	if r.Ended > 0 {
		r.Percent = r.Good * 100 / r.Ended
	}
	if len(took) > 0 {
		slices.Sort(took)
		r.Median, r.Longest = duration(took[len(took)/2]), duration(took[len(took)-1])
	}
	for _, x := range items {
		if at := (run{x.Pipeline, x.SHA}); x.Status == pipeline.Failed && good[at] {
			r.Flaky = append(r.Flaky, x)
			delete(good, at)
		}
	}
	return r
}
