package handlerstest

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/pipeline"
)

// AddJob lets a worker claim a.
func (s *State) AddJob(a pipeline.Assignment) { s.change(func() { s.jobs = append(s.jobs, a) }) }

// Take gives the job to another attempt: its holder's fencing token is stale.
func (s *State) Take(id string) { s.change(func() { delete(s.held, id) }) }

// StopJob makes the next renewal ask for the job's end.
func (s *State) StopJob(id, reason string) { s.change(func() { s.stopping[id] = reason }) }

// Outcome is how a job was completed.
func (s *State) Outcome(id string) (pipeline.Outcome, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.outcomes[id]
	return o, ok
}

var _ pipeline.Control = (*State)(nil)

// Claim waits for a job of the worker's kind.
func (s *State) Claim(ctx context.Context, w pipeline.Worker, wait time.Duration) (a pipeline.Assignment, err error) {
	s.change(func() { s.workers[w.ID] = handlers.Worker{Worker: w, SeenAt: time.Now(), Jobs: []string{}} })
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	find := func() int {
		return slices.IndexFunc(s.jobs, func(a pipeline.Assignment) bool { return a.Job.Kind == w.Kind })
	}
	if s.await(waiting, func() bool { return find() >= 0 }) != nil {
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		return a, pipeline.ErrNotFound
	}
	err = pipeline.ErrNotFound
	s.change(func() {
		if i := find(); i >= 0 {
			a, err = s.jobs[i], nil
			s.jobs = slices.Delete(s.jobs, i, i+1)
			s.held[a.Job.ID] = a.Job.Ref()
		}
	})
	return a, err
}

// holds runs do if ref is the job's present holder.
func (s *State) holds(ref pipeline.JobRef, do func() error) (err error) {
	s.change(func() {
		if s.held[ref.ID] != ref {
			err = pipeline.ErrStale
			return
		}
		err = do()
	})
	return err
}

// Renew extends nothing, but tells who is to stop.
func (s *State) Renew(_ context.Context, ref pipeline.JobRef) (r pipeline.Renewal, err error) {
	err = s.holds(ref, func() error {
		reason, stop := s.stopping[ref.ID]
		r = pipeline.Renewal{Lease: 15 * time.Second, Stop: stop, Reason: reason}
		return nil
	})
	return r, err
}

// AppendLog absorbs repeats.
func (s *State) AppendLog(_ context.Context, ref pipeline.JobRef, offset int64, data []byte) (length int64, err error) {
	var fresh []byte
	err = s.holds(ref, func() error {
		if l := s.logs[ref.ID]; l != nil {
			length = int64(len(l.text))
		}
		if offset > length {
			return &pipeline.UserError{Code: "GAP", Msg: "the append begins behind the log's end"}
		}
		if over := length - offset; over < int64(len(data)) {
			fresh = data[over:]
			length += int64(len(fresh))
		}
		return nil
	})
	if err == nil && len(fresh) > 0 {
		s.WriteLog(ref.ID, string(fresh), false)
	}
	return length, err
}

// Report keeps the build.
func (s *State) Report(_ context.Context, ref pipeline.JobRef, b pipeline.Build) error {
	return s.holds(ref, func() error { s.builds[b.ID] = b; return nil })
}

// PutArtifact keeps the bytes.
func (s *State) PutArtifact(_ context.Context, ref pipeline.JobRef, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	body, err := io.ReadAll(r)
	if err == nil {
		err = s.holds(ref, func() error { return nil })
	}
	if err != nil {
		return a, err
	}
	a.Digest, a.Bytes = s.AddArtifact(body), int64(len(body))
	return a, nil
}

// Artifact opens bytes for the holder of a job.
func (s *State) Artifact(ctx context.Context, ref pipeline.JobRef, digest string) (io.ReadCloser, error) {
	if err := s.holds(ref, func() error { return nil }); err != nil {
		return nil, err
	}
	return s.OpenArtifact(ctx, digest)
}

// Complete ends the job. A repeat of the same end is absorbed.
func (s *State) Complete(_ context.Context, ref pipeline.JobRef, b pipeline.Build, o pipeline.Outcome) error {
	return s.holds(ref, func() error {
		s.builds[b.ID] = b
		s.outcomes[ref.ID] = o
		if l := s.logs[ref.ID]; l != nil {
			l.sealed = true
		}
		return nil
	})
}
