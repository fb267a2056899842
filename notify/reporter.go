package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// held is the most items that a Reporter has claimed at a time.
const held = 200

// Reporter carries the states of executions to the forges. Several may run,
// in one process or in many: the outbox gives each item to one of them.
type Reporter struct {
	opts    Options
	outbox  Outbox
	records Records

	mu    sync.Mutex
	began time.Time // Run
	lanes map[laneKey]*lane
	paces map[string]*Pace // of forges that brought none
}

// New is a Reporter that does nothing yet.
func New(outbox Outbox, records Records, o Options) *Reporter {
	return &Reporter{opts: o.withDefaults(), outbox: outbox, records: records, lanes: map[laneKey]*lane{}, paces: map[string]*Pace{}}
}

// pace is that of a forge; mu is held.
func (r *Reporter) pace(name string, to Forge) *Pace {
	if to.Pace != nil {
		return to.Pace
	}
	if r.paces[name] == nil {
		r.paces[name] = NewPace(to.Spacing)
	}
	return r.paces[name]
}

// Run reports until ctx is over, whose cause it returns. A write that is under
// way then is brought to its end, and what was claimed is given back.
func (r *Reporter) Run(ctx context.Context) error {
	r.mu.Lock()
	r.began = r.opts.Now()
	r.mu.Unlock()
	var lanes sync.WaitGroup
	defer lanes.Wait()
	slots := make(chan struct{}, held)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case slots <- struct{}{}:
		}
		item, err := r.outbox.ClaimReport(ctx, r.opts.Lease)
		if err == nil {
			r.accept(ctx, item, &lanes, func() { <-slots })
			continue
		}
		<-slots
		if errors.Is(err, pipeline.ErrNotFound) {
			err = r.outbox.Wait(ctx, fallback)
		}
		if err != nil && ctx.Err() == nil {
			r.opts.Log.WarnContext(ctx, "claiming a report", "error", err)
			pause(ctx, storeRetry)
		}
	}
}

// fallback is how often an outbox is looked at that says nothing: should its
// word be lost.
const fallback = 30 * time.Second

// accept puts a claimed item into its lane if there is something to send, else
// it is done with it at once. free is called when the item is let go.
func (r *Reporter) accept(ctx context.Context, item pipeline.ReportItem, lanes *sync.WaitGroup, free func()) {
	to, known := r.opts.Forges[item.Forge]
	if !known || to.Checks == nil && to.Statuses == nil {
		r.finish(ctx, item)
		free()
		return
	}
	l := r.lane(item, to)
	e := &entry{item: item, lease: r.opts.Now().Add(r.opts.Lease), free: free}
	p, ok := r.look(ctx, l, e)
	if !ok {
		return
	}
	e.priority = p.priority
	if l.put(e) {
		lanes.Go(func() { r.drain(ctx, l) })
	}
}

// look plans an entry; false if it needs no write now and was let go.
func (r *Reporter) look(ctx context.Context, l *lane, e *entry) (*plan, bool) {
	p, err := r.plan(ctx, l, e.item)
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		r.finish(ctx, e.item) // retention took the execution
	case err != nil:
		r.opts.Log.WarnContext(ctx, "planning a report", "execution", e.item.Execution, "error", err)
		r.later(ctx, e.item, r.opts.Now().Add(storeRetry))
	case p.send:
		return p, true
	case !p.until.IsZero():
		r.later(ctx, e.item, p.until)
	default:
		r.finish(ctx, e.item)
	}
	e.free()
	return nil, false
}

// storeRetry is how long after a fault of the store an item is due again.
const storeRetry = 2 * time.Second

// finish and later speak to the outbox even while the process is ending. What
// they can't say, the end of the lease says.
func (r *Reporter) finish(ctx context.Context, item pipeline.ReportItem) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.SendTimeout)
	defer cancel()
	if err := r.outbox.FinishReport(ctx, item); err != nil {
		r.opts.Log.WarnContext(ctx, "finishing a report", "execution", item.Execution, "error", err)
	}
}

func (r *Reporter) later(ctx context.Context, item pipeline.ReportItem, until time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.SendTimeout)
	defer cancel()
	// The outbox counts in milliseconds: it must not be due too early.
	until = until.Truncate(time.Millisecond).Add(time.Millisecond)
	if err := r.outbox.DeferReport(ctx, item, until); err != nil {
		r.opts.Log.WarnContext(ctx, "deferring a report", "execution", item.Execution, "error", err)
	}
}
