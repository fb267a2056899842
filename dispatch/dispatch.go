// Package dispatch stands between the engine and its workers: it gives jobs
// out with all that their workers need, and takes back what they say. It is
// the server's side of pipeline.Control; the same service answers calls in
// process and over HTTP.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Queue is the job queue.
type Queue interface {
	pipeline.Jobs
	Claim(ctx context.Context, w pipeline.Worker, wait time.Duration) (pipeline.Job, error)
	Renew(ctx context.Context, ref pipeline.JobRef) (pipeline.Renewal, error)
	Check(ctx context.Context, ref pipeline.JobRef) error
	Finish(ctx context.Context, ref pipeline.JobRef) error
}

// Records are what is kept of executions and builds.
type Records interface {
	Execution(ctx context.Context, id string) (pipeline.Execution, error)
	Build(ctx context.Context, id string) (pipeline.Build, error)
	SaveBuild(ctx context.Context, b pipeline.Build) error
	MarkReport(ctx context.Context, forgeName string, installation int64, execution string) error
}

// Logs hold the builds' output.
type Logs interface {
	// Append adds data at offset; what lies before the log's end is a repeat.
	Append(ctx context.Context, build string, token, offset int64, data []byte) (int64, error)
	// Seal ends the log.
	Seal(ctx context.Context, build string, token int64, phases []pipeline.Phase) error
}

// Artifacts hold bytes by their digest.
type Artifacts interface {
	Put(ctx context.Context, r io.Reader) (digest string, bytes int64, err error)
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
}

// Orders make what a worker needs of a job, credentials included. A
// *pipeline.UserError means that the job can never be given out.
type Orders interface {
	Build(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.BuildOrder, error)
	Deploy(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.DeployOrder, error)
	HTTP(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.HTTPOrder, error)
	Batch(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.BatchOrder, error)
	Fetch(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.FetchOrder, error)
}

// Service implements pipeline.Control for workers and pipeline.Jobs for the
// engine.
type Service struct {
	queue      Queue
	records    Records
	logs       Logs
	artifacts  Artifacts
	caches     CacheStore    // nil: none are kept
	history    ReportHistory // nil: none is kept
	debugging  DebugStore    // nil: nobody looks into builds
	debugLimit time.Duration
	orders     Orders
	events     pipeline.Events
	now        func() time.Time
	log        *slog.Logger
}

var (
	_ pipeline.Control = (*Service)(nil)
	_ pipeline.Jobs    = (*Service)(nil)
)

// New wires the service.
func New(q Queue, r Records, l Logs, a Artifacts, o Orders, e pipeline.Events, now func() time.Time, log *slog.Logger) *Service {
	return &Service{queue: q, records: r, logs: l, artifacts: a, orders: o, events: e, now: now, log: log}
}

// Claim waits for a job and makes its order. A job whose order can't be made
// is answered for here, and the wait goes on.
func (s *Service) Claim(ctx context.Context, w pipeline.Worker, wait time.Duration) (pipeline.Assignment, error) {
	if err := serves(w); err != nil {
		return pipeline.Assignment{}, err
	}
	until := s.now().Add(wait)
	for {
		j, err := s.queue.Claim(ctx, w, max(until.Sub(s.now()), time.Millisecond))
		if err != nil {
			return pipeline.Assignment{}, err
		}
		a, err := s.assign(ctx, j, w)
		if err == nil {
			return a, nil
		}
		if errors.Is(err, pipeline.ErrStale) {
			continue // it was lost meanwhile; the engine hears of it from the queue
		}
		s.log.WarnContext(ctx, "a job can't be given out", "job", j.ID, "execution", j.Execution, "error", err)
		if err := s.giveUp(ctx, j, err); err != nil {
			return pipeline.Assignment{}, err
		}
	}
}

// classesLimit bounds what a worker may ask for; each class is remembered.
const classesLimit = 1000

// serves checks that a worker asks for jobs of its own kind: whom a runner's
// token lets in must not get deployments.
func serves(w pipeline.Worker) error {
	if len(w.Classes) > classesLimit {
		return &pipeline.UserError{Msg: fmt.Sprintf("a worker serves at most %d classes", classesLimit)}
	}
	for _, c := range w.Classes {
		if !strings.HasPrefix(c, string(w.Kind)+"|") || strings.Count(c, "|") != 2 || strings.ContainsAny(c, "{}\r\n") || len(c) > 256 {
			return &pipeline.UserError{Msg: fmt.Sprintf("class %.300q isn't one of kind %q", c, w.Kind)}
		}
	}
	return nil
}

func (s *Service) assign(ctx context.Context, j pipeline.Job, w pipeline.Worker) (pipeline.Assignment, error) {
	x, err := s.records.Execution(ctx, j.Execution)
	if err != nil {
		return pipeline.Assignment{}, fmt.Errorf("loading execution %s: %w", j.Execution, err)
	}
	renewal, err := s.queue.Renew(ctx, j.Ref())
	if err != nil {
		return pipeline.Assignment{}, err
	}
	a := pipeline.Assignment{Job: j, Lease: renewal.Lease}
	keeping, release := s.keep(ctx, j.Ref(), renewal.Lease)
	err = s.order(keeping, &a, x)
	if err := cmp.Or(release(), err); err != nil {
		return pipeline.Assignment{}, err
	}
	b := queued(j, x)
	b.Status, b.Runner, b.StartedAt = pipeline.BuildInProgress, w.Name, s.now().UTC()
	if a.Build != nil {
		b.Image = a.Build.Image
	}
	b.Inputs = append(b.Inputs, a.Inputs()...)
	if err := s.records.SaveBuild(ctx, b); err != nil {
		return pipeline.Assignment{}, fmt.Errorf("saving the build: %w", err)
	}
	e := event(j, pipeline.JobClaimed, s.now())
	e.Worker = w.Name
	return a, s.events.Submit(ctx, e)
}

// keep renews a job's lease until release is called: an order may take longer
// than a lease, as that of a large revision does. The context ends with
// ErrStale when the job is lost, and release says so.
func (s *Service) keep(ctx context.Context, ref pipeline.JobRef, lease time.Duration) (keeping context.Context, release func() error) {
	keeping, lose := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var renewals sync.WaitGroup
	renewals.Go(func() {
		tick := time.NewTicker(max(lease/3, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-keeping.Done():
				return
			case <-tick.C:
			}
			if _, err := s.queue.Renew(keeping, ref); errors.Is(err, pipeline.ErrStale) {
				lose(err)
				return
			}
		}
	})
	return keeping, func() error {
		close(over)
		renewals.Wait()
		defer lose(nil)
		return context.Cause(keeping)
	}
}

// orderTries and orderPause bound how often an order is tried that a forge refuses for the
// moment; the pauses between add up to less than two minutes.
const (
	orderTries = 8
	orderPause = 10 * time.Second
)

// order makes the job's order.
func (s *Service) order(ctx context.Context, a *pipeline.Assignment, x pipeline.Execution) (err error) {
	for try := range orderTries {
		switch a.Job.Kind {
		case pipeline.DeployJob:
			a.Deploy, err = s.orders.Deploy(ctx, a.Job, x)
		case pipeline.HTTPJob:
			a.HTTP, err = s.orders.HTTP(ctx, a.Job, x)
		case pipeline.BatchJob:
			a.Batch, err = s.orders.Batch(ctx, a.Job, x)
		case pipeline.SourceJob:
			a.Fetch, err = s.orders.Fetch(ctx, a.Job, x)
		case pipeline.BuildJob:
			if a.Build, err = s.orders.Build(ctx, a.Job, x); err == nil {
				err = s.debug(ctx, a.Job, a.Build)
			}
		}
		later, ok := errors.AsType[*forge.RetryError](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(max(later.After, time.Second<<min(try, 4)), orderPause)):
		}
	}
	return err
}

// giveUp answers for a job that no worker was given: a mistake of its author
// ends the action, a fault of ours is tried again by the engine.
func (s *Service) giveUp(ctx context.Context, j pipeline.Job, cause error) error {
	e := event(j, pipeline.JobEnded, s.now())
	e.Outcome = &pipeline.Outcome{Status: pipeline.BuildFault, Message: "preparing the job failed"}
	if mistake, ok := errors.AsType[*pipeline.UserError](cause); ok {
		e.Type, e.Outcome, e.Reason = pipeline.JobRefused, nil, mistake.Error()
	}
	s.closeRecord(ctx, j.ID, pipeline.BuildFault, "SystemUnavailable", "preparing the job failed")
	if err := s.events.Submit(ctx, e); err != nil {
		return err
	}
	return s.queue.Finish(ctx, j.Ref())
}

// Renew extends the lease.
func (s *Service) Renew(ctx context.Context, ref pipeline.JobRef) (pipeline.Renewal, error) {
	return s.queue.Renew(ctx, ref)
}

// AppendLog adds to the job's log.
func (s *Service) AppendLog(ctx context.Context, ref pipeline.JobRef, offset int64, data []byte) (int64, error) {
	if err := s.queue.Check(ctx, ref); err != nil {
		return 0, err
	}
	return s.logs.Append(ctx, ref.ID, ref.Token, offset, data)
}

// Report replaces what is known of the build, and lets the forge know.
func (s *Service) Report(ctx context.Context, ref pipeline.JobRef, b pipeline.Build) error {
	if err := s.queue.Check(ctx, ref); err != nil {
		return err
	}
	known, err := s.merge(ctx, ref, b)
	if err != nil {
		return err
	}
	x, err := s.records.Execution(ctx, known.Execution)
	if err != nil {
		return err
	}
	return s.records.MarkReport(ctx, x.Repo.Forge, x.Trigger.Installation, x.ID)
}

// merge writes what the worker knows over what the server knew, but for the
// facts that only the server may say.
func (s *Service) merge(ctx context.Context, ref pipeline.JobRef, b pipeline.Build) (pipeline.Build, error) {
	known, err := s.records.Build(ctx, ref.ID)
	if err != nil {
		return known, fmt.Errorf("loading build %s: %w", ref.ID, err)
	}
	known.Status, known.Phases, known.CurrentPhase = b.Status, b.Phases, b.CurrentPhase
	known.Artifacts, known.Manifest, known.Exported, known.Failure = b.Artifacts, b.Manifest, b.Exported, b.Failure
	known.Reports = b.Reports
	known.LogBytes, known.LogLines, known.EndedAt = b.LogBytes, b.LogLines, b.EndedAt
	if b.Image != "" {
		known.Image = b.Image
	}
	return known, s.records.SaveBuild(ctx, known)
}

// PutArtifact stores the bytes of one artifact.
func (s *Service) PutArtifact(ctx context.Context, ref pipeline.JobRef, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	if err := s.queue.Check(ctx, ref); err != nil {
		return a, err
	}
	digest, n, err := s.artifacts.Put(ctx, r)
	if err != nil {
		return a, fmt.Errorf("storing artifact %s: %w", a.Name, err)
	}
	if a.Digest != "" && a.Digest != digest {
		return a, fmt.Errorf("storing artifact %s: it arrived changed: want sha256 %s, have %s", a.Name, a.Digest, digest)
	}
	a.Digest, a.Bytes = digest, n
	return a, nil
}

// Artifact opens an artifact that the job was given, and no other. What the
// worker itself says of its artifacts gives it no right to read them.
func (s *Service) Artifact(ctx context.Context, ref pipeline.JobRef, digest string) (io.ReadCloser, error) {
	if err := s.queue.Check(ctx, ref); err != nil {
		return nil, err
	}
	b, err := s.records.Build(ctx, ref.ID)
	if err != nil {
		return nil, err
	}
	if !b.Names(digest) {
		return nil, fmt.Errorf("artifact %s of job %s: %w", digest, ref.ID, pipeline.ErrNotFound)
	}
	return s.artifacts.Open(ctx, digest)
}

// Complete ends the job. The engine hears of it before the place is freed, so
// that a crash in between repeats the ending and never loses it.
func (s *Service) Complete(ctx context.Context, ref pipeline.JobRef, b pipeline.Build, o pipeline.Outcome) error {
	if err := s.queue.Check(ctx, ref); err != nil {
		return err
	}
	if !o.Status.Ended() {
		o = pipeline.Outcome{Status: pipeline.BuildFault, Message: "the worker did not say how the job ended"}
	}
	if !b.Status.Ended() {
		b.Close(o.Status, o.Code, o.Message, s.now().UTC())
	}
	b.Reports = s.weighed(ctx, ref.ID, b.Reports)
	known, err := s.merge(ctx, ref, b)
	if err != nil {
		return err
	}
	if err := s.logs.Seal(ctx, ref.ID, ref.Token, b.Phases); err != nil {
		return fmt.Errorf("sealing the log: %w", err)
	}
	e := pipeline.Event{
		V: 1, ID: fmt.Sprintf("ended:%s:%d", ref.ID, ref.Token), Type: pipeline.JobEnded, Board: known.Pipeline, At: s.now().UTC(),
		Execution: known.Execution, Stage: known.Stage, Action: known.Action, Attempt: known.Attempt,
		Worker: known.Runner, Outcome: &o,
	}
	if err := s.events.Submit(ctx, e); err != nil {
		return err
	}
	return s.queue.Finish(ctx, ref)
}

func event(j pipeline.Job, what pipeline.EventType, now time.Time) pipeline.Event {
	return pipeline.Event{
		V: 1, ID: fmt.Sprintf("%s:%s:%d", what, j.ID, j.Token), Type: what, Board: j.Pipeline, At: now.UTC(),
		Execution: j.Execution, Stage: j.Stage, Action: j.Action, Attempt: j.Attempt,
	}
}
