package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Outbox holds the effects that were committed with a Board's changes.
type Outbox interface {
	// Outbox is the oldest n effects of a Board that were not relayed.
	Outbox(ctx context.Context, board string, n int) ([]OutboxEntry, error)
	Relayed(ctx context.Context, board string, ids ...string) error
	// Dirty are Boards whose last commit is older than age and whose outbox may
	// not be empty.
	Dirty(ctx context.Context, age time.Duration) ([]string, error)
	Index(ctx context.Context, board string, s Summary) error
	AddTimer(ctx context.Context, e Event) error
	DueTimers(ctx context.Context, now time.Time, n int) ([]Event, error)
	DropTimer(ctx context.Context, e Event) error
	MarkReport(ctx context.Context, forgeName string, installation int64, execution string) error
}

// Jobs is the queue as the engine uses it.
type Jobs interface {
	Add(ctx context.Context, j Job) error
	// Cancel takes a waiting job out, and answers true then; a running one's
	// worker is told at its next renewal.
	Cancel(ctx context.Context, ref JobRef, reason string) (removed bool, err error)
	// Lost are up to n jobs whose worker let the lease run out, and takes them
	// from it. With n = 0 it only says whether the queue answers.
	Lost(ctx context.Context, n int) ([]Job, error)
	// Drop ends a lost job, freeing its place.
	Drop(ctx context.Context, ref JobRef) error
}

// Events takes events for the orchestrators.
type Events interface {
	Submit(ctx context.Context, e Event) error
}

// Relay carries out committed effects, and watches what no event announces:
// timers that are due, workers that are gone, effects that a crash left
// behind. Any number of servers run one; everything it does may be repeated.
type Relay struct {
	outbox Outbox
	jobs   Jobs
	events Events
	lease  time.Duration
	now    func() time.Time
	log    *slog.Logger
	// well is since when the queue has answered without a break.
	well time.Time
	// swept is when the outboxes were looked at last.
	swept time.Time
}

// NewRelay wires one. lease is that of the jobs.
func NewRelay(o Outbox, j Jobs, e Events, lease time.Duration, now func() time.Time, log *slog.Logger) *Relay {
	return &Relay{outbox: o, jobs: j, events: e, lease: lease, now: now, log: log}
}

// batch bounds how much of an outbox or a list is held at a time.
const batch = 100

// Relay carries out the Board's waiting effects, oldest first. One that fails
// stays, and with it what is asked of the same execution's jobs later; all else
// goes on, so that no execution is held up by another's trouble.
func (r *Relay) Relay(ctx context.Context, board string) error {
	for {
		entries, err := r.outbox.Outbox(ctx, board, batch)
		if err != nil {
			return fmt.Errorf("reading the outbox: %w", err)
		}
		done, failed := r.carryOutAll(ctx, board, entries)
		if err := r.outbox.Relayed(ctx, board, done...); err != nil {
			return errors.Join(failed, fmt.Errorf("clearing the outbox: %w", err))
		}
		if failed != nil || len(entries) < batch {
			return failed
		}
	}
}

func (r *Relay) carryOutAll(ctx context.Context, board string, entries []OutboxEntry) (done []string, failed error) {
	var errs []error
	held := map[string]bool{} // executions with a job effect that failed
	for _, e := range entries {
		ofJob := e.Effect.Type == AddJob || e.Effect.Type == CancelJob
		if ofJob && held[e.Effect.Execution] {
			continue
		}
		if err := r.carryOut(ctx, board, e.Effect); err != nil {
			errs = append(errs, fmt.Errorf("carrying out %s: %w", e.Effect.Type, err))
			held[e.Effect.Execution] = held[e.Effect.Execution] || ofJob
			continue
		}
		done = append(done, e.ID)
	}
	return done, errors.Join(errs...)
}

func (r *Relay) carryOut(ctx context.Context, board string, e Effect) error {
	switch e.Type {
	case AddJob:
		return r.jobs.Add(ctx, *e.Job)
	case CancelJob:
		return r.cancel(ctx, board, e)
	case ReportExec:
		return r.outbox.MarkReport(ctx, e.Forge, e.Installation, e.Execution)
	case SetTimer:
		return r.outbox.AddTimer(ctx, *e.Timer)
	case IndexExec:
		return r.outbox.Index(ctx, board, *e.Summary)
	}
	r.log.ErrorContext(ctx, "unknown effect left out", "type", string(e.Type), "board", board)
	return nil
}

// cancel speaks for a job that no worker had: nobody else would say that it
// has ended.
func (r *Relay) cancel(ctx context.Context, board string, e Effect) error {
	removed, err := r.jobs.Cancel(ctx, *e.Ref, e.Reason)
	if err != nil || !removed {
		return err
	}
	return r.events.Submit(ctx, Event{
		V: 1, ID: "cancelled:" + e.Job.ID, Type: JobEnded, Board: board, At: r.now().UTC(),
		Execution: e.Job.Execution, Stage: e.Job.Stage, Action: e.Job.Action, Attempt: e.Job.Attempt,
		Outcome: &Outcome{Status: BuildStopped, Message: e.Reason},
	})
}

// Run watches until ctx ends, looking every interval.
func (r *Relay) Run(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		for what, look := range map[string]func(context.Context) error{
			"outboxes": r.sweep, "timers": r.fireTimers, "lost jobs": r.findLost,
		} {
			if err := look(ctx); err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "the watch is interrupted and goes on", "what", what, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweepAge leaves a Board to the server that has just committed to it. To look
// more often than that would find nothing more.
const sweepAge = 2 * time.Second

func (r *Relay) sweep(ctx context.Context) error {
	if r.now().Sub(r.swept) < sweepAge {
		return nil
	}
	r.swept = r.now()
	boards, err := r.outbox.Dirty(ctx, sweepAge)
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range boards {
		if err := r.Relay(ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("board %s: %w", b, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Relay) fireTimers(ctx context.Context) error {
	due, err := r.outbox.DueTimers(ctx, r.now(), batch)
	if err != nil {
		return err
	}
	for _, e := range due {
		if err := r.events.Submit(ctx, e); err != nil {
			return err
		}
		if err := r.outbox.DropTimer(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// findLost ends the attempts of workers that are gone. While this server or
// Redis was away no worker could keep its lease, so after a break each gets the
// length of a lease to say that it is still there: a job is never given to a
// second worker because of our own absence.
func (r *Relay) findLost(ctx context.Context) error {
	n := batch
	if r.well.IsZero() || r.now().Sub(r.well) < r.lease {
		n = 0 // asking for them would take the jobs from their workers
	}
	lost, err := r.jobs.Lost(ctx, n)
	if err != nil {
		r.well = time.Time{}
		return err
	}
	if r.well.IsZero() {
		r.well = r.now()
	}
	var errs []error
	for _, j := range lost {
		if err := r.endLost(ctx, j); err != nil {
			errs = append(errs, fmt.Errorf("job %s: %w", j.ID, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Relay) endLost(ctx context.Context, j Job) error {
	r.log.WarnContext(ctx, "a worker is gone", "job", j.ID, "attempt", j.Attempt, "execution", j.Execution)
	e := Event{
		V: 1, ID: fmt.Sprintf("lost:%s:%d", j.ID, j.Token), Type: JobLost, Board: j.Pipeline, At: r.now().UTC(),
		Execution: j.Execution, Stage: j.Stage, Action: j.Action, Attempt: j.Attempt, Unbegun: j.Unbegun,
	}
	if err := r.events.Submit(ctx, e); err != nil {
		return err
	}
	return r.jobs.Drop(ctx, j.Ref())
}
