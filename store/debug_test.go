package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue/queuetest"
)

func TestDebugging(t *testing.T) {
	queuetest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, ctx := newStore(rdb), t.Context()
		typed := func(text string) []pipeline.DebugFrame { return []pipeline.DebugFrame{{Data: []byte(text)}} }
		if err := s.AddDebugFrames(ctx, "b", pipeline.FromPerson, typed("ls\n")); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("before it was opened: got %v", err)
		}
		want := pipeline.Debugging{By: "alice", TTY: true, At: time.Unix(1_700_000_000, 0).UTC()}
		if err := s.OpenDebugging(ctx, "b", want); err != nil {
			t.Fatal(err)
		}
		if err := s.OpenDebugging(ctx, "b", want); !errors.Is(err, pipeline.ErrConflict) {
			t.Errorf("opened twice: got %v", err)
		}
		if got, err := s.Debugging(ctx, "b"); err != nil || got != want {
			t.Errorf("got %+v (%v), want %+v", got, err, want)
		}

		hear := func(side pipeline.DebugSide, after string, wait time.Duration) pipeline.DebugFrames {
			t.Helper()
			got, err := s.DebugFrames(ctx, "b", side, after, wait)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := hear(pipeline.FromPerson, "", 0); len(got.Frames) > 0 || got.Watched {
			t.Errorf("nobody said anything: got %+v", got)
		}
		heard := make(chan pipeline.DebugFrames)
		go func() {
			got, _ := s.DebugFrames(ctx, "b", pipeline.FromBuild, "", time.Minute)
			heard <- got
		}()
		paused := pipeline.DebugFrame{Pause: &pipeline.DebugPause{Phase: "BUILD", Command: "make", Exit: 2}}
		if err := s.AddDebugFrames(ctx, "b", pipeline.FromBuild, []pipeline.DebugFrame{paused, {Data: []byte("$ ")}}); err != nil {
			t.Fatal(err)
		}
		first := <-heard // one or both, as it was woken
		if diff := cmp.Diff(paused, first.Frames[0]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if again := hear(pipeline.FromBuild, "", 0); len(again.Frames) != 2 || string(again.Frames[1].Data) != "$ " {
			t.Errorf("what nobody went on from is told again: got %+v", again)
		} else if rest := hear(pipeline.FromBuild, again.Next, 0); len(rest.Frames) != 0 || rest.Next != again.Next {
			t.Errorf("the rest: got %+v", rest)
		}
		if got := hear(pipeline.FromBuild, "", 0); len(got.Frames) != 0 {
			t.Errorf("what was read is still there: %+v", got)
		}
		if got := hear(pipeline.FromPerson, "", 0); !got.Watched {
			t.Error("the person has asked, and doesn't count as there")
		}
		if _, err := s.DebugFrames(ctx, "b", pipeline.FromBuild, "x", 0); err == nil {
			t.Error("a place that is none is taken")
		}

		if err := s.CloseDebugging(ctx, "b"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.DebugFrames(ctx, "b", pipeline.FromBuild, "", 0); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("after it was closed: got %v", err)
		}
		if keys, err := rdb.Keys(ctx, "*debug*").Result(); err != nil || len(keys) > 0 {
			t.Errorf("left behind: %v (%v)", keys, err)
		}
	})
}

// A side that is behind holds the other one up, and loses nothing.
func TestDebuggingHasBounds(t *testing.T) {
	s, ctx := newStore(queuetest.Start(t).Client), t.Context()
	if err := s.OpenDebugging(ctx, "b", pipeline.Debugging{}); err != nil {
		t.Fatal(err)
	}
	const frames = 1000
	wrote := make(chan error)
	go func() {
		for i := range frames {
			if err := s.AddDebugFrames(ctx, "b", pipeline.FromBuild, []pipeline.DebugFrame{{Rows: uint(i)}}); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	next, seen := "", 0
	for seen < frames {
		got, err := s.DebugFrames(ctx, "b", pipeline.FromBuild, next, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got.Frames {
			if f.Rows != uint(seen) {
				t.Fatalf("frame %d came as number %d", f.Rows, seen)
			}
			seen++
		}
		next = got.Next
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
