package dispatch

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// wishes are debugging sessions by build, and what was said in them.
type wishes struct {
	by   map[string]pipeline.Debugging
	said map[string][]pipeline.DebugFrame
}

func (w wishes) Debugging(_ context.Context, build string) (pipeline.Debugging, error) {
	if d, ok := w.by[build]; ok {
		return d, nil
	}
	return pipeline.Debugging{}, pipeline.ErrNotFound
}

func (w wishes) AddDebugFrames(_ context.Context, build string, side pipeline.DebugSide, frames []pipeline.DebugFrame) error {
	w.said[build+string(side)] = append(w.said[build+string(side)], frames...)
	return nil
}

func (w wishes) DebugFrames(_ context.Context, build string, side pipeline.DebugSide, _ string, _ time.Duration) (pipeline.DebugFrames, error) {
	return pipeline.DebugFrames{Frames: w.said[build+string(side)]}, nil
}

// Only the build that somebody asked for waits, and never one of a stranger.
func TestOrdersOfBuildsThatAreDebugged(t *testing.T) {
	tests := []struct {
		name    string
		id      string
		trusted bool
		off     bool
		want    *pipeline.DebugOrder
	}{
		{"wished for", "wanted", true, false, &pipeline.DebugOrder{By: "ann", TTY: true, Limit: time.Hour}},
		{"another build", "other", true, false, nil},
		{"a stranger's", "wanted", false, false, nil},
		{"switched off", "wanted", true, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			s := w.service()
			if !tt.off {
				s.KeepDebugging(wishes{by: map[string]pipeline.Debugging{"wanted": {By: "ann", TTY: true}}}, time.Hour)
			}
			j := job(tt.id, pipeline.BuildJob)
			j.Trusted = tt.trusted
			w.add(j)
			a, err := s.Claim(t.Context(), pipeline.Worker{ID: "w", Kind: pipeline.BuildJob}, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			got := a.Build.Debug
			if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Who has lost a build reads and says nothing in its session any more.
func TestOnlyTheHolderSpeaksInASession(t *testing.T) {
	w := newWorld()
	s := w.service()
	said := wishes{map[string]pipeline.Debugging{"b": {By: "ann"}}, map[string][]pipeline.DebugFrame{"bin": {{Data: []byte("ls\n")}}}}
	s.KeepDebugging(said, time.Hour)
	w.add(job("b", pipeline.BuildJob))
	a, err := s.Claim(t.Context(), pipeline.Worker{ID: "w", Kind: pipeline.BuildJob}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	ref := a.Job.Ref()
	if err := s.DebugOutput(t.Context(), ref, []pipeline.DebugFrame{{Data: []byte("file\n")}}); err != nil || len(said.said["bout"]) != 1 {
		t.Errorf("saying something: %v, said %v", err, said.said)
	}
	if got, err := s.DebugInput(t.Context(), ref, "", 0); err != nil || len(got.Frames) != 1 {
		t.Errorf("what was typed: %+v, %v", got, err)
	}
	ref.Token++
	if err := s.DebugOutput(t.Context(), ref, nil); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("saying something in another's: got %v", err)
	}
	if _, err := s.DebugInput(t.Context(), ref, "", 0); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("reading another's: got %v", err)
	}
	if err := w.service().DebugOutput(t.Context(), a.Job.Ref(), nil); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("where nobody debugs: got %v", err)
	}
}
