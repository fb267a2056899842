// Package worker is a worker's end of pipeline.Control: it claims jobs, keeps
// their leases, streams what they say, and tells how they ended until it was
// heard. What the jobs do is its caller's.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Options are all that Run needs.
type Options struct {
	Control pipeline.Control
	Worker  pipeline.Worker // Slots, at least 1, is how many jobs are done at a time
	// Do does one job. It returns soon after ctx ended; its cause says why:
	// pipeline.ErrStopped, ErrTimedOut, ErrStale or ErrDrained.
	Do func(ctx context.Context, a pipeline.Assignment, s *Stream) (pipeline.Build, pipeline.Outcome)
	// Ready is an error while no job can be done here, whichever it is: none is
	// claimed then, and one that was claimed a moment before waits for a minute.
	// nil: there is no such time.
	Ready func(ctx context.Context) error
	// Drain is how long jobs under way may go on after Run's ctx has ended.
	Drain time.Duration
	// Hurry, when it is closed after Run's ctx has ended, ends the drain; nil
	// means never.
	Hurry <-chan struct{}
	// Temp takes artifacts on their way to a server in another process, so that
	// an upload can be repeated; empty: they are streamed, once.
	Temp string
	// Retryable reports whether Control may be asked again after an error; nil:
	// always, but for ErrStale and ErrNotFound.
	Retryable func(error) bool
	Log       *slog.Logger
}

const (
	claimWait = 25 * time.Second
	// claimPause is the least time between two claims that found nothing.
	claimPause   = time.Second
	defaultLease = 15 * time.Second
	// readyTime is how long a job waits until it can be done here.
	readyTime = time.Minute
	// tellTime is how long a result is offered to a server that doesn't answer.
	tellTime = 10 * time.Minute
)

// Run claims and does jobs until ctx ends; then it takes no more, and returns
// when those under way have ended.
func Run(ctx context.Context, o Options) error {
	if o.Retryable == nil {
		o.Retryable = func(err error) bool { return !errors.Is(err, pipeline.ErrNotFound) }
	}
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	drain := context.AfterFunc(ctx, func() {
		o.drain(working)
		stop(pipeline.ErrDrained)
	})
	defer drain()
	var slots sync.WaitGroup
	for range max(o.Worker.Slots, 1) {
		slots.Go(func() { o.slot(ctx, working) })
	}
	slots.Wait()
	return nil
}

// drain waits until jobs under way must end.
func (o *Options) drain(working context.Context) {
	t := time.NewTimer(o.Drain)
	defer t.Stop()
	select {
	case <-working.Done():
	case <-o.Hurry:
	case <-t.C:
	}
}

// slot does one job after the other. Jobs live in working, which outlives the
// claims' ctx by the drain time.
func (o *Options) slot(ctx, working context.Context) {
	wait := firstPause
	for o.ready(ctx); ctx.Err() == nil; o.ready(ctx) {
		asked := time.Now()
		a, err := o.Control.Claim(ctx, o.Worker, claimWait)
		switch {
		case err == nil:
			wait = firstPause
			o.do(working, a)
		case ctx.Err() != nil:
		case errors.Is(err, pipeline.ErrNotFound):
			wait = firstPause
			// A server that has no patience must not be asked without pause.
			pause(ctx, claimPause-time.Since(asked))
		default:
			o.Log.WarnContext(ctx, "claiming a job", "error", err)
			pause(ctx, wait)
			wait = min(2*wait, lastPause)
		}
	}
}

// ready waits until jobs can be done here, or ctx has ended.
func (o *Options) ready(ctx context.Context) {
	if o.Ready == nil {
		return
	}
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := o.Ready(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		o.Log.WarnContext(ctx, "no job is taken for now", "error", err)
		pause(ctx, wait)
	}
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// do does one job and completes it.
func (o *Options) do(ctx context.Context, a pipeline.Assignment) {
	o.Log.InfoContext(ctx, "job begun", "job", a.Job.ID, "execution", a.Job.Execution, "attempt", a.Job.Attempt)
	began := time.Now()
	doing, quit := context.WithCancelCause(ctx)
	defer quit(nil)
	s := newStream(doing, o, a, quit)
	// The lease is kept until the end was told, also while the job is being
	// stopped.
	keeping, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var background sync.WaitGroup
	background.Go(func() { o.renew(keeping, a, quit) })
	waiting, enough := context.WithTimeout(doing, readyTime)
	o.ready(waiting)
	enough()
	b, outcome := o.safely(doing, a, s)
	s.close()
	if errors.Is(context.Cause(doing), pipeline.ErrStale) {
		o.Log.WarnContext(ctx, "job is another's now", "job", a.Job.ID)
	} else {
		o.tell(ctx, a, s.count(b), outcome)
	}
	release()
	background.Wait()
	o.Log.InfoContext(ctx, "job ended", "job", a.Job.ID, "execution", a.Job.Execution, "status", string(outcome.Status), "duration", time.Since(began))
}

// safely turns a panic into a fault: one job must not take the others along.
func (o *Options) safely(ctx context.Context, a pipeline.Assignment, s *Stream) (b pipeline.Build, out pipeline.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			o.Log.ErrorContext(ctx, "a job panicked", "job", a.Job.ID, "error", fmt.Sprint(p))
			b.Close(pipeline.BuildFault, "", "the worker failed", time.Now().UTC())
			out = pipeline.Outcome{Status: pipeline.BuildFault, Message: "the worker failed"}
		}
	}()
	return o.Do(ctx, a, s)
}

// renew keeps the lease, thrice in its length and sooner after a failure, and
// ends the job when the server says so. How long the server is away doesn't
// matter: whether the job is still ours is for it to say when it is back.
func (o *Options) renew(ctx context.Context, a pipeline.Assignment, quit context.CancelCauseFunc) {
	lease := a.Lease
	if lease <= 0 {
		lease = defaultLease
	}
	renewed, wait := time.Now(), lease/3
	for {
		pause(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, lease/3)
		asked := time.Now()
		answer, err := o.Control.Renew(attempt, a.Job.Ref())
		cancel()
		switch {
		case errors.Is(err, pipeline.ErrStale):
			quit(pipeline.ErrStale)
			return
		case err != nil:
			wait = lease / 15
			if ctx.Err() == nil {
				o.Log.WarnContext(ctx, "renewing a lease", "job", a.Job.ID, "since", time.Since(renewed), "error", err)
			}
		default:
			renewed, wait = asked, lease/3
			if answer.Stop {
				quit(fmt.Errorf("%w: %s", pipeline.ErrStopped, answer.Reason))
			}
		}
	}
}

// tell completes the job. Only the server can say that it is no longer ours,
// so it is asked until it answers.
func (o *Options) tell(ctx context.Context, a pipeline.Assignment, b pipeline.Build, out pipeline.Outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	err := o.retry(ctx, func(ctx context.Context) error { return o.Control.Complete(ctx, a.Job.Ref(), b, out) })
	if err != nil && !errors.Is(err, pipeline.ErrStale) {
		o.Log.ErrorContext(ctx, "a result was not heard", "job", a.Job.ID, "status", string(out.Status), "error", err)
	}
}

// retry asks until there is an answer, or an error that a repeat can't mend.
func (o *Options) retry(ctx context.Context, ask func(context.Context) error) error {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := ask(ctx)
		if err == nil || errors.Is(err, pipeline.ErrStale) || !o.Retryable(err) {
			return err
		}
		pause(ctx, wait)
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
