package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue/queuetest"
	"github.com/slipway-ci/slipway/store/logs"
)

// TestDeadServer: every call fails within its time limit, and what was committed
// before is there after a restart.
func TestDeadServer(t *testing.T) {
	server := queuetest.Start(t)
	s, ctx := newStore(server.Client), t.Context()
	c := change("e1", 0, execution("x1"))
	c.Effects = []pipeline.Effect{{Type: pipeline.ReportExec, Execution: "x1"}}
	must(t, s.Commit(ctx, c))
	if _, err := s.LogTail().Append(ctx, "b1", 1, 0, []byte("line\n")); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	calls := map[string]func() error{
		"board":   func() error { _, _, err := s.Board(ctx, boardKey); return err },
		"commit":  func() error { return s.Commit(ctx, change("e2", 1)) },
		"outbox":  func() error { _, err := s.Outbox(ctx, boardKey, 1); return err },
		"dirty":   func() error { _, err := s.Dirty(ctx, 0); return err },
		"backlog": func() error { _, _, err := s.OutboxBacklog(ctx); return err },
		"counts":  func() error { _, err := s.ExecutionCounts(ctx, pipeline.Failed); return err },
		"list":    func() error { _, err := s.Executions(ctx, pipeline.Query{}); return err },
		"one":     func() error { _, err := s.Execution(ctx, "x1"); return err },
		"build":   func() error { return s.SaveBuild(ctx, pipeline.Build{ID: "b"}) },
		"timer":   func() error { return s.AddTimer(ctx, pipeline.Event{ID: "t"}) },
		"mark":    func() error { return s.MarkReport(ctx, "github", 1, "x1") },
		"claim":   func() error { _, err := s.Reports("github").ClaimReport(ctx, time.Second); return err },
		"log":     func() error { _, err := s.LogTail().Append(ctx, "b1", 1, 5, []byte("x")); return err },
		"lease":   func() error { _, _, err := s.Lease(ctx, "l", time.Second); return err },
		"waiting": func() error { return s.Reports("github").Wait(ctx, time.Second) },
	}
	for name, call := range calls {
		began := time.Now()
		err := call()
		if took := time.Since(began); err == nil || took > 7*time.Second {
			t.Errorf("%s: got %v after %v, want an error within 5 s", name, err, took)
		}
		if errors.Is(err, pipeline.ErrNotFound) || errors.Is(err, pipeline.ErrConflict) || errors.Is(err, logs.ErrNotFound) {
			t.Errorf("%s: %v is an answer", name, err)
		}
	}
	server.Restart()
	if b, version, err := s.Board(ctx, boardKey); err != nil || version != 1 || b.Live["x1"] == nil {
		t.Errorf("after the restart: version %d, %v", version, err)
	}
	if e, err := s.Outbox(ctx, boardKey, 10); err != nil || len(e) != 1 {
		t.Errorf("after the restart: %d effects, %v, want 1", len(e), err)
	}
	if state, tail, _, err := s.LogTail().Load(ctx, "b1", logs.WithTail); err != nil || state.Length != 5 || string(tail) != "line\n" {
		t.Errorf("after the restart: the log has %q, %v", tail, err)
	}
}
