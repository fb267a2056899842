package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A loop that can't do its work says so once a minute.
func TestRepeatedWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := slog.New(newRepeats(slog.NewTextHandler(&out, nil)))
		away := errors.New("connection refused")
		for i := range 150 {
			log.Warn("looking for jobs", "error", away)
			log.Warn("renewing a lease", "since", time.Duration(i)*time.Second, "error", away)
			log.With("worker", 2).Warn("looking for jobs", "error", away)
			log.Info("a build has begun")
			time.Sleep(time.Second)
		}
		log.Warn("looking for jobs", "error", io.EOF)
		for want, times := range map[string]int{
			`msg="looking for jobs" error="connection refused"`:             3,
			`msg="looking for jobs" error="connection refused" repeated=59`: 2,
			`msg="looking for jobs" worker=2 error="connection refused"`:    3,
			`msg="renewing a lease" since=`:                                 3,
			`msg="looking for jobs" error=EOF`:                              1,
			`msg="a build has begun"`:                                       150,
		} {
			if n := strings.Count(out.String(), want); n != times {
				t.Errorf("got %d times %s, want %d", n, want, times)
			}
		}
	})
}

// What is remembered is bounded, whatever is logged.
func TestRepeatedWarningsAreBounded(t *testing.T) {
	h := newRepeats(slog.DiscardHandler)
	log := slog.New(h)
	for i := range 3 * repeatsMax {
		log.Warn(fmt.Sprint("line ", i))
	}
	if n := len(h.said.line); n > repeatsMax {
		t.Errorf("%d lines are remembered, want at most %d", n, repeatsMax)
	}
}
