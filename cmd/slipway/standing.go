package main

import (
	"context"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/pipeline"
)

// removals adds up what this process's passes of retention removed. It is safe
// for concurrent use.
type removals struct {
	mu   sync.Mutex
	sum  pipeline.Removal
	last time.Time
}

func (r *removals) add(p pipeline.Removal, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for to, from := range map[*pipeline.Removed]pipeline.Removed{&r.sum.Logs: p.Logs, &r.sum.Artifacts: p.Artifacts, &r.sum.Bodies: p.Bodies} {
		to.Count += from.Count
		to.Bytes += from.Bytes
	}
	r.last = at
}

func (r *removals) so() (sum pipeline.Removal, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum, r.last
}

// standing counts what the metrics tell of the server's own parts.
func (p *platform) standing(ctx context.Context) (handlers.Standing, error) {
	out := handlers.Standing{BlobErrors: p.bucket.Failures()}
	out.Removed, out.LastPass = p.removed.so()
	var err error
	out.Executions, err = p.store.ExecutionCounts(ctx,
		pipeline.InProgress, pipeline.Stopping, pipeline.Stopped, pipeline.Succeeded, pipeline.Superseded, pipeline.Failed, pipeline.Cancelled)
	if err != nil {
		return out, err
	}
	if out.Inbox.Waiting, out.Inbox.Oldest, err = p.inbox.Backlog(ctx); err != nil {
		return out, err
	}
	out.Outbox.Waiting, out.Outbox.Oldest, err = p.store.OutboxBacklog(ctx)
	return out, err
}
