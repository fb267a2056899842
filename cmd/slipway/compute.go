package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

// everyCompute lets runners take builds of every compute type that the server
// knows. What a type means comes with the order, so a runner needs to know of
// none; labels say which runners a build is for.
type everyCompute struct {
	pipeline.Control
	types []string
}

func newEveryCompute(c pipeline.Control, cfg config.Config) everyCompute {
	return everyCompute{c, slices.Sorted(maps.Keys(cfg.ComputeTypes))}
}

// Claim waits for a job of the worker's labels, whatever its compute type.
func (e everyCompute) Claim(ctx context.Context, w pipeline.Worker, wait time.Duration) (pipeline.Assignment, error) {
	if w.Kind == pipeline.BuildJob {
		plain := w.Classes
		w.Classes = slices.Clone(plain)
		for _, c := range plain {
			for _, t := range e.types {
				w.Classes = append(w.Classes, c+t)
			}
		}
	}
	return e.Control.Claim(ctx, w, wait)
}
