package main

import (
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

// everyCompute lets runners take builds of every compute type that the server
// knows. What a type means comes with the order, so a runner needs to know of
// none; labels say which runners a build is for.
type everyCompute struct {
	workerControl
	types []string
}

// workerControl is all that the server has for workers.
type workerControl interface {
	pipeline.Control
	pipeline.Caches
	pipeline.Debugs
}

// inParts is a workerControl of several parts.
type inParts struct {
	pipeline.Control
	pipeline.Caches
	pipeline.Debugs
}

func newEveryCompute(c workerControl, cfg config.Config) everyCompute {
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
	return e.workerControl.Claim(ctx, w, wait)
}

// jobCache is the cache that one job has at its server.
type jobCache struct {
	caches pipeline.Caches
	ref    pipeline.JobRef
}

func (c jobCache) Restore(ctx context.Context, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error) {
	return c.caches.RestoreCache(ctx, c.ref, q)
}

func (c jobCache) Save(ctx context.Context, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error) {
	return c.caches.SaveCache(ctx, c.ref, q, r)
}

var _ runner.Cache = jobCache{}
