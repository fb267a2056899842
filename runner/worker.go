package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// WorkerOptions configure a Worker. Control, Worker and Build are required.
type WorkerOptions struct {
	Control pipeline.Control
	// Worker is how this process presents itself; Slots is how many builds it
	// runs at a time (0 means 1), Kind is set to builds.
	Worker pipeline.Worker
	// Build are the options of every build.
	Build Options
	// Wait is how long one claim waits for a job; 0 means 30 seconds.
	Wait time.Duration
	// Drain is how long running builds have to end once Run's context is over;
	// 0 means 10 minutes, less means none.
	Drain time.Duration
	Log   *slog.Logger // nil means none
}

const (
	defaultWait  = 30 * time.Second
	defaultDrain = 10 * time.Minute
	defaultLease = 15 * time.Second
	// renewals is how often a lease is renewed before it would end.
	renewals = 3
	// callTime limits one short call to the server.
	callTime = 10 * time.Second
	minDelay = 100 * time.Millisecond
	maxDelay = 5 * time.Second
)

// Worker is the runner process: it claims builds and runs them.
type Worker struct {
	options WorkerOptions
}

// NewWorker starts nothing.
func NewWorker(o WorkerOptions) *Worker {
	o.Wait = cmp.Or(o.Wait, defaultWait)
	o.Drain = cmp.Or(o.Drain, defaultDrain)
	o.Worker.Slots = max(1, o.Worker.Slots)
	o.Worker.Kind = pipeline.BuildJob
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Build.Name = cmp.Or(o.Build.Name, o.Worker.Name)
	if o.Build.Log == nil {
		o.Build.Log = o.Log
	}
	return &Worker{options: o}
}

// Run claims and runs builds until ctx is over. It takes no new ones then and
// waits for those running up to the Drain limit, after which it ends them and
// lets their leases pass, so that the server starts them again elsewhere. It
// returns nil after that.
func (w *Worker) Run(ctx context.Context) error {
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var builds sync.WaitGroup
	slots := make(chan struct{}, w.options.Worker.Slots)
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		a, err := w.claim(ctx)
		if err != nil {
			<-slots
			break
		}
		builds.Go(func() {
			defer func() { <-slots }()
			w.build(running, a)
		})
	}
	limit := time.AfterFunc(max(0, w.options.Drain), func() { stop(pipeline.ErrDrained) })
	defer limit.Stop()
	builds.Wait()
	return nil
}

// claim waits until there is a job; it fails only when ctx is over.
func (w *Worker) claim(ctx context.Context) (pipeline.Assignment, error) {
	delay := minDelay
	for {
		a, err := w.options.Control.Claim(ctx, w.options.Worker, w.options.Wait)
		switch {
		case err == nil && a.Build != nil:
			return a, nil
		case ctx.Err() != nil:
			return a, context.Cause(ctx)
		case errors.Is(err, pipeline.ErrNotFound):
			delay = minDelay
			continue
		case err == nil:
			w.options.Log.Error("claimed job is no build", "job", a.Job.ID)
		default:
			w.options.Log.Warn("no answer to claim", "error", err)
		}
		if !pause(ctx, &delay) {
			return a, context.Cause(ctx)
		}
	}
}

// pause waits, longer each time and never as long as another worker; false
// means that ctx is over.
func pause(ctx context.Context, delay *time.Duration) bool {
	t := time.NewTimer(*delay/2 + rand.N(*delay/2))
	defer t.Stop()
	*delay = min(*delay*2, maxDelay)
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retry calls until it works, the job is lost or ctx is over.
func retry(ctx context.Context, call func(context.Context) error) error {
	delay := minDelay
	for {
		err := call(ctx)
		if err == nil || errors.Is(err, pipeline.ErrStale) {
			return err
		}
		if !pause(ctx, &delay) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// build runs one build from its claim to its completion.
func (w *Worker) build(ctx context.Context, a pipeline.Assignment) {
	log := w.options.Log.With("job", a.Job.ID, "execution", a.Job.Execution, "attempt", a.Job.Attempt)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &claimSink{control: w.options.Control, ref: a.Job.Ref(), temp: w.options.Build.Temp, job: a.Job, lost: cancel, log: log}
	s.stream = newLogStream(func(ctx context.Context, offset int64, p []byte) (int64, error) {
		return w.options.Control.AppendLog(ctx, s.ref, offset, p)
	})
	reporting, stopReporting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReporting()
	s.reports = make(chan pipeline.Build, 1)
	var sending sync.WaitGroup
	sending.Go(func() { s.renew(ctx, reporting, a.Lease) })
	sending.Go(func() {
		if err := s.stream.send(reporting); err != nil {
			cancel(err)
		}
	})
	sending.Go(func() { s.report(reporting) })

	log.Info("build begins")
	stopping := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); errors.Is(cause, pipeline.ErrStale) || errors.Is(cause, pipeline.ErrDrained) {
			s.stream.fail(cause)
		}
	})
	defer stopping()
	b, outcome := Run(ctx, w.options.Build, *a.Build, s)
	w.finish(ctx, s, b, outcome, log)
	stopReporting()
	sending.Wait()
}

// finish hands over what is left, unless the job is no longer ours.
func (w *Worker) finish(ctx context.Context, s *claimSink, b pipeline.Build, o pipeline.Outcome, log *slog.Logger) {
	if cause := context.Cause(ctx); errors.Is(cause, pipeline.ErrStale) || errors.Is(cause, pipeline.ErrDrained) {
		log.Warn("build given up", "error", cause)
		return
	}
	s.identify(&b)
	// A stop has ended ctx; its result is to be told all the same.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.onLost(cancel)
	if err := s.stream.close(); err != nil {
		log.Warn("end of the log lost", "error", err)
	}
	err := retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return s.control.Complete(ctx, s.ref, b, o)
	})
	if err != nil {
		log.Warn("build not completed", "error", err)
		return
	}
	log.Info("build ended", "status", string(o.Status), "duration", b.Duration(b.EndedAt))
}

// claimSink hands a claimed build's results to the server.
type claimSink struct {
	control pipeline.Control
	ref     pipeline.JobRef
	job     pipeline.Job
	temp    string
	stream  *logStream
	reports chan pipeline.Build // holds the newest that was not sent
	log     *slog.Logger

	mu   sync.Mutex
	lost func(error)
}

// onLost changes what is done when the job is lost.
func (s *claimSink) onLost(cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.lost
	s.lost = func(err error) {
		before(err)
		if errors.Is(err, pipeline.ErrStale) {
			s.stream.fail(err)
			cancel()
		}
	}
}

func (s *claimSink) end(err error) {
	s.mu.Lock()
	lost := s.lost
	s.mu.Unlock()
	lost(err)
}

// identify fills in what only the job knows.
func (s *claimSink) identify(b *pipeline.Build) {
	b.Execution, b.Pipeline, b.Stage, b.Action, b.Attempt = s.job.Execution, s.job.Pipeline, s.job.Stage, s.job.Action, s.job.Attempt
}

// renew keeps the lease until the build has been completed. A server that is
// away is no reason to stop; one that refuses is.
func (s *claimSink) renew(build, until context.Context, lease time.Duration) {
	t := time.NewTicker(cmp.Or(lease, defaultLease) / renewals)
	defer t.Stop()
	for {
		select {
		case <-until.Done():
			return
		case <-t.C:
		}
		ctx, cancel := context.WithTimeout(until, callTime)
		answer, err := s.control.Renew(ctx, s.ref)
		cancel()
		switch {
		case until.Err() != nil:
			return
		case errors.Is(err, pipeline.ErrStale):
			s.end(pipeline.ErrStale)
			return
		case err != nil:
			s.log.Warn("lease not renewed", "error", err)
		case answer.Stop && build.Err() == nil:
			s.log.Info("build is to stop", "reason", answer.Reason)
			s.end(pipeline.ErrStopped)
		}
	}
}

// Log hands masked bytes on; it blocks while too many wait.
func (s *claimSink) Log(p []byte) error { return s.stream.write(p) }

// Report keeps the newest state for the next call to the server.
func (s *claimSink) Report(b pipeline.Build) {
	s.identify(&b)
	select {
	case <-s.reports:
	default:
	}
	s.reports <- b // there is room: only this goroutine adds
}

func (s *claimSink) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-s.reports:
			call, cancel := context.WithTimeout(ctx, callTime)
			err := s.control.Report(call, s.ref, b)
			cancel()
			switch {
			case errors.Is(err, pipeline.ErrStale):
				s.end(pipeline.ErrStale)
			case err != nil && ctx.Err() == nil:
				s.log.Warn("state of build not reported", "error", err) // the next one says it all
			}
		}
	}
}

// Artifact spools the bytes, so that an upload can be tried again.
func (s *claimSink) Artifact(ctx context.Context, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	f, err := os.CreateTemp(s.temp, "artifact-")
	if err != nil {
		return a, fmt.Errorf("making spool file: %w", err)
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // Temp is swept at the next start
	if _, err := io.Copy(f, r); err != nil {
		return a, fmt.Errorf("spooling: %w", err)
	}
	stored := a
	err = retry(ctx, func(ctx context.Context) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		stored, err = s.control.PutArtifact(ctx, s.ref, a, io.NopCloser(f))
		return err
	})
	return stored, err
}
