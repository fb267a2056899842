package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// DebugStore keeps debugging sessions (decision 015).
type DebugStore interface {
	// Debugging is a build's session; ErrNotFound: there is none.
	Debugging(ctx context.Context, build string) (pipeline.Debugging, error)
	AddDebugFrames(ctx context.Context, build string, side pipeline.DebugSide, frames []pipeline.DebugFrame) error
	DebugFrames(ctx context.Context, build string, side pipeline.DebugSide, after string, wait time.Duration) (pipeline.DebugFrames, error)
}

var _ pipeline.Debugs = (*Service)(nil)

// KeepDebugging lets people look into failed builds, for limit each. Without it
// nobody does. It is called before the service is used.
func (s *Service) KeepDebugging(d DebugStore, limit time.Duration) {
	s.debugging, s.debugLimit = d, limit
}

// debug adds to a build's order that somebody wants to look into it. A
// stranger's commit is never debugged, whatever was asked for.
func (s *Service) debug(ctx context.Context, j pipeline.Job, o *pipeline.BuildOrder) error {
	if o == nil || s.debugging == nil || !j.Trusted {
		return nil
	}
	d, err := s.debugging.Debugging(ctx, j.ID)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	o.Debug = &pipeline.DebugOrder{By: d.By, TTY: d.TTY, Limit: s.debugLimit}
	return nil
}

// DebugInput is what a person said to the job's build.
func (s *Service) DebugInput(ctx context.Context, ref pipeline.JobRef, after string, wait time.Duration) (pipeline.DebugFrames, error) {
	if err := s.mayDebug(ctx, ref); err != nil {
		return pipeline.DebugFrames{}, err
	}
	return s.debugging.DebugFrames(ctx, ref.ID, pipeline.FromPerson, after, wait)
}

// DebugOutput says something to that person.
func (s *Service) DebugOutput(ctx context.Context, ref pipeline.JobRef, frames []pipeline.DebugFrame) error {
	if err := s.mayDebug(ctx, ref); err != nil {
		return err
	}
	return s.debugging.AddDebugFrames(ctx, ref.ID, pipeline.FromBuild, frames)
}

func (s *Service) mayDebug(ctx context.Context, ref pipeline.JobRef) error {
	if s.debugging == nil {
		return fmt.Errorf("debugging: %w", pipeline.ErrNotFound)
	}
	return s.queue.Check(ctx, ref)
}
