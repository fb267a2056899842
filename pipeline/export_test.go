package pipeline

import "context"

// The three things that Run does at each look, for tests in pipeline_test.

func (r *Relay) Sweep(ctx context.Context) error      { return r.sweep(ctx) }
func (r *Relay) FireTimers(ctx context.Context) error { return r.fireTimers(ctx) }
func (r *Relay) FindLost(ctx context.Context) error   { return r.findLost(ctx) }
