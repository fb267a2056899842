package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// repeatsTime is for how long a line that was logged is not logged again, and
// repeatsMax how many lines are remembered at a time.
const (
	repeatsTime = time.Minute
	repeatsMax  = 1000
)

// repeats is a log that says the same warning once a minute, with how often it
// came since: a Redis that is away for an hour would else fill a disk with what
// every loop has to say about it. Lines that differ in anything but a duration
// are not the same.
type repeats struct {
	slog.Handler
	said *said
	with string // of the logger: its groups and attributes
}

// said is what was logged lately, by its text.
type said struct {
	mu   sync.Mutex
	line map[string]*repeated
}

type repeated struct {
	at   time.Time
	left int // how often it was left out since
}

func newRepeats(h slog.Handler) *repeats {
	return &repeats{Handler: h, said: &said{line: map[string]*repeated{}}}
}

// Handle logs the record unless it is a warning or error that was logged less
// than a minute before.
func (h *repeats) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		left, again := h.said.again(h.key(r), r.Time)
		if again {
			return nil
		}
		if left > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("repeated", left))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// key is all of a record but its time and its durations.
func (h *repeats) key(r slog.Record) string {
	var b strings.Builder
	b.WriteString(h.with + r.Level.String() + " " + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() != slog.KindDuration {
			b.WriteString(" " + a.String())
		}
		return true
	})
	return b.String()
}

// again reports whether a line was logged a moment ago, and else how often it
// was left out since it was.
func (s *said) again(key string, now time.Time) (left int, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.line[key]; known != nil {
		if now.Sub(known.at) < repeatsTime {
			known.left++
			return 0, true
		}
		left = known.left
	} else if len(s.line) >= repeatsMax {
		clear(s.line)
	}
	s.line[key] = &repeated{at: now}
	return left, false
}

// WithAttrs and WithGroup keep what a logger has apart from others.
func (h *repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := h.with
	for _, a := range attrs {
		with += a.String() + " "
	}
	return &repeats{h.Handler.WithAttrs(attrs), h.said, with}
}

func (h *repeats) WithGroup(name string) slog.Handler {
	return &repeats{h.Handler.WithGroup(name), h.said, h.with + name + "."}
}
