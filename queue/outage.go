package queue

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outageNews is how often it is said that Redis still can't be used.
const outageNews = time.Minute

// outage says once for all of a process's readers that Redis can't be used,
// and that it can again, with a reminder every minute between.
type outage struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time // zero: all is well
	told  time.Time
}

// note takes one call's result.
func (o *outage) note(ctx context.Context, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && !o.since.IsZero():
		o.log.InfoContext(ctx, "the inbox can be read again", "duration", now.Sub(o.since).Round(time.Millisecond))
		o.since = time.Time{}
	case err == nil:
	case o.since.IsZero():
		o.since, o.told = now, now
		o.log.WarnContext(ctx, "the inbox can't be read", "error", err)
	case now.Sub(o.told) >= outageNews:
		o.told = now
		o.log.WarnContext(ctx, "the inbox still can't be read", "duration", now.Sub(o.since).Round(time.Second), "error", err)
	}
}
