package queue

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// While Redis is away for an hour, sixteen readers and the tender that try once
// a second say so once a minute between them.
func TestOutageIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		o := outage{log: slog.New(slog.NewTextHandler(&said, nil))}
		o.note(t.Context(), nil)
		for range 60 * 60 {
			for range 17 {
				o.note(t.Context(), errors.New("connection refused"))
			}
			time.Sleep(time.Second) // of the bubble's clock
		}
		o.note(t.Context(), nil)
		o.note(t.Context(), nil)
		for what, want := range map[string]int{"can't be read": 60, "still can't be read": 59, "can be read again": 1, "duration=1h0m0s": 1} {
			if got := strings.Count(said.String(), what); got != want {
				t.Errorf("%q was said %d times, want %d", what, got, want)
			}
		}
	})
}
