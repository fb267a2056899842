package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge/github"
	"github.com/slipway-ci/slipway/pipeline"
)

// recorder is what recovery needs, and where it asked from.
type recorder struct {
	leased bool
	kept   map[string][]byte
	asked  []time.Time
	fault  error
}

func (r *recorder) Recover(_ context.Context, since time.Time) (github.Recovery, error) {
	r.asked = append(r.asked, since)
	return github.Recovery{}, r.fault
}

func (r *recorder) Lease(context.Context, string, time.Duration) (func(), bool, error) {
	got := !r.leased
	r.leased = true
	return func() { r.leased = false }, got, nil
}

func (r *recorder) ReportState(_ context.Context, key, kind string) ([]byte, error) {
	if data, ok := r.kept[key+kind]; ok {
		return data, nil
	}
	return nil, pipeline.ErrNotFound
}

func (r *recorder) SaveReportState(_ context.Context, key, kind string, state []byte) error {
	r.kept[key+kind] = state
	return nil
}

// A look goes back to the one that ended well, and with none as far as GitHub
// remembers; one that failed is made again soon.
func TestRecoveryLooksBack(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	w := &recorder{kept: map[string][]byte{}}
	r := &recovery{hooks: w, state: w, log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	look := func(after, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		if err := r.turn(t.Context(), time.Minute); !errors.Is(err, w.fault) {
			t.Fatal(err)
		}
		if got := now.Sub(w.asked[len(w.asked)-1]); got != want || w.leased {
			t.Errorf("looked back %s, want %s; others are kept from looking: %v", got, want, w.leased)
		}
	}
	look(0, 72*time.Hour)
	look(5*time.Minute, 65*time.Minute)
	w.fault = errors.New("502")
	look(5*time.Minute, 65*time.Minute)
	w.fault = nil
	look(5*time.Minute, 70*time.Minute)
	look(100*time.Hour, 72*time.Hour)
}

// Two servers don't look at once, and one that another spared the look doesn't.
func TestRecoveryLooksOnce(t *testing.T) {
	w := &recorder{kept: map[string][]byte{}}
	r := &recovery{hooks: w, state: w, log: slog.New(slog.DiscardHandler), now: time.Now}
	for _, step := range []struct {
		leased bool
		fresh  time.Duration
		asked  int
	}{{true, 0, 0}, {false, 0, 1}, {false, time.Minute, 1}, {false, 0, 2}} {
		w.leased = step.leased
		if err := r.turn(t.Context(), step.fresh); err != nil || len(w.asked) != step.asked {
			t.Errorf("%+v: looked %d times, %v", step, len(w.asked), err)
		}
	}
}
