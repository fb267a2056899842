package dispatch

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/pipeline"
)

// Add puts a job into the queue. Its build has a record, and with it a page,
// from this moment on.
func (s *Service) Add(ctx context.Context, j pipeline.Job) error {
	_, err := s.records.Build(ctx, j.ID)
	if errors.Is(err, pipeline.ErrNotFound) {
		err = s.record(ctx, j)
	}
	if err != nil {
		return fmt.Errorf("recording build %s: %w", j.ID, err)
	}
	return s.queue.Add(ctx, j)
}

func (s *Service) record(ctx context.Context, j pipeline.Job) error {
	x, err := s.records.Execution(ctx, j.Execution)
	if err != nil {
		return err
	}
	return s.records.SaveBuild(ctx, queued(j, x))
}

// queued is the record of a build that waits for its runner.
func queued(j pipeline.Job, x pipeline.Execution) pipeline.Build {
	b := pipeline.Build{
		V: 1, ID: j.ID, Execution: x.ID, Pipeline: j.Pipeline, Stage: j.Stage, Action: j.Action, Attempt: j.Attempt,
		Project: x.Project, Repo: x.Repo.FullName(), SHA: x.Trigger.SHA, Ref: x.Trigger.Ref,
		Status: pipeline.BuildQueued, CurrentPhase: "QUEUED",
	}
	if st := x.Stage(j.Stage); st != nil {
		if a := st.Action(j.Action); a != nil {
			b.Number, b.CreatedAt = a.Number, a.QueuedAt
		}
	}
	if j.Kind == pipeline.DeployJob {
		b.Deployment = j.ID
		b.Group = x.Pipeline.Config(j.Stage, j.Action, pipeline.ConfigGroup)
		b.Inputs = x.Artifacts()
	}
	return b
}

// Cancel takes a waiting job out or has a running one's worker told.
func (s *Service) Cancel(ctx context.Context, ref pipeline.JobRef, reason string) (bool, error) {
	removed, err := s.queue.Cancel(ctx, ref, reason)
	if removed {
		s.closeRecord(ctx, ref.ID, pipeline.BuildStopped, "", reason)
	}
	return removed, err
}

// Lost are jobs whose worker is gone. The first that a worker reports is
// that it began its first phase, so nothing says that one without phases did.
func (s *Service) Lost(ctx context.Context, n int) ([]pipeline.Job, error) {
	jobs, err := s.queue.Lost(ctx, n)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		b, err := s.records.Build(ctx, jobs[i].ID)
		jobs[i].Unbegun = err == nil && len(b.Phases) == 0
	}
	return jobs, nil
}

// Drop ends a lost job.
func (s *Service) Drop(ctx context.Context, ref pipeline.JobRef) error {
	s.closeRecord(ctx, ref.ID, pipeline.BuildFault, pipeline.RunnerLost, "the worker of this attempt is gone")
	return s.queue.Drop(ctx, ref)
}

// closeRecord gives a build that nobody works on its last state. The engine's
// own state doesn't hang on it, so a failure is only logged.
func (s *Service) closeRecord(ctx context.Context, id string, status pipeline.BuildStatus, code, message string) {
	b, err := s.records.Build(ctx, id)
	if err == nil && !b.Status.Ended() {
		b.Close(status, code, message, s.now().UTC())
		err = s.records.SaveBuild(ctx, b)
	}
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		s.log.WarnContext(ctx, "a build's record is left open", "job", id, "error", err)
	}
}
