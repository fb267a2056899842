package notify

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// carrier takes marked executions off one list and has each told, at most once
// at a time. Several may run over the same list, also in many processes.
type carrier struct {
	outbox Outbox
	log    *slog.Logger
	now    func() time.Time
	lease  time.Duration
	// workers is how many executions are told side by side.
	workers  int
	deferred chan struct{} // has one when an execution was let go
	// tell makes at most one write and says when the execution is due again;
	// zero: when it changes. Its error is a fault of the store.
	tell func(ctx context.Context, item pipeline.ReportItem) (due time.Time, err error)
}

// run carries until ctx is over, whose cause it returns. Writes that are under
// way are brought to their end.
func (c *carrier) run(ctx context.Context) error {
	var tellers sync.WaitGroup
	defer tellers.Wait()
	slots := make(chan struct{}, c.workers)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case slots <- struct{}{}:
		}
		item, err := c.outbox.ClaimReport(ctx, c.lease)
		if err == nil {
			tellers.Go(func() {
				defer func() { <-slots }()
				c.carry(ctx, item)
			})
			continue
		}
		<-slots
		if errors.Is(err, pipeline.ErrNotFound) {
			err = c.wait(ctx)
		}
		if err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "claiming what is to be told", "error", err)
			pause(ctx, storeRetry)
		}
	}
}

// wait returns when an execution may be due, also one that was let go in the
// meantime.
func (c *carrier) wait(ctx context.Context) error {
	waiting, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		select {
		case <-c.deferred:
			stop()
		case <-waiting.Done():
		}
	})
	return c.outbox.Wait(waiting, fallback)
}

// carry tells one execution and lets it go. What it can't say to the outbox,
// the end of the lease says.
func (c *carrier) carry(ctx context.Context, item pipeline.ReportItem) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.lease)
	defer cancel()
	due, err := c.tell(ctx, item)
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		due = time.Time{} // retention took the execution
	case err != nil:
		c.log.WarnContext(ctx, "telling how an execution stands", "execution", item.Execution, "error", err)
		due = c.now().Add(storeRetry)
	}
	if due.IsZero() {
		err = c.outbox.FinishReport(ctx, item)
	} else {
		// The outbox counts in milliseconds: it must not be due too early.
		err = c.outbox.DeferReport(ctx, item, due.Truncate(time.Millisecond).Add(time.Millisecond))
	}
	select {
	case c.deferred <- struct{}{}:
	default:
	}
	if err != nil {
		c.log.WarnContext(ctx, "letting a told execution go", "execution", item.Execution, "error", err)
	}
}

// newCarrier fills in what all carriers have in common. Its lease holds two
// writes.
func newCarrier(outbox Outbox, log *slog.Logger, now func() time.Time, sendTimeout time.Duration) carrier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	return carrier{outbox: outbox, log: log, now: now, lease: max(10*time.Second, 3*cmp.Or(sendTimeout, 10*time.Second)), workers: 4, deferred: make(chan struct{}, 1)}
}
