package notify

import (
	"context"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// laneKey names what forges count rate limits by.
type laneKey struct {
	forge        string
	installation int64
}

// lane is the serial way to one installation of one forge.
type lane struct {
	key  laneKey
	to   Forge
	gate *gate

	mu       sync.Mutex
	waiting  []*entry
	draining bool
	// forbidden are the repositories whose checks may not be written, until
	// when that is believed.
	forbidden map[string]time.Time
	running   map[string]struct{} // executions last reported as in progress
}

// entry is a claimed item that has something to send.
type entry struct {
	item     pipeline.ReportItem
	priority priority
	lease    time.Time // when the claim runs out
	free     func()
}

func (r *Reporter) lane(item pipeline.ReportItem, to Forge) *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := laneKey{item.Forge, item.Installation}
	l, ok := r.lanes[key]
	if !ok {
		l = &lane{
			key: key, to: to, gate: r.pace(item.Forge, to).gate(item.Installation, r.began),
			forbidden: map[string]time.Time{}, running: map[string]struct{}{},
		}
		r.lanes[key] = l
	}
	return l
}

// put adds an entry, in the place of an older claim of the same item. It
// reports whether nobody drains the lane, so that the caller has to see to it.
func (l *lane) put(e *entry) (idle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, o := range l.waiting {
		if o.item.Execution == e.item.Execution {
			l.waiting[i] = e
			o.free()
			return false
		}
	}
	l.waiting = append(l.waiting, e)
	idle, l.draining = !l.draining, true
	return idle
}

// next takes the entry to send now: the highest priority, the oldest of these.
// Its gate is taken then. If the gate isn't open yet it says how long to wait,
// unless hurry is set: then the gate is left alone; if nothing waits it gives
// the drain up.
func (l *lane) next(now time.Time, hurry bool) (e *entry, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.draining = false
		return nil, 0
	}
	if !hurry {
		if wait, ok := l.gate.take(now); !ok {
			return nil, wait
		}
	}
	best := 0
	for i, o := range l.waiting {
		if o.priority > l.waiting[best].priority {
			best = i
		}
	}
	e = l.waiting[best]
	l.waiting = append(l.waiting[:best], l.waiting[best+1:]...)
	return e, 0
}

// interval is how often the progress of one execution is reported: so that all
// that run together leave room for final states (forges reference 3.10).
func (l *lane) interval(least time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(least, time.Duration(len(l.running))*l.to.Spacing*3/2)
}

func (l *lane) note(execution string, status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if status == inProgress {
		l.running[execution] = struct{}{}
	} else {
		delete(l.running, execution)
	}
}

// forbid remembers for an hour that checks of the repository can't be written.
func (l *lane) forbid(repo string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r, until := range l.forbidden {
		if now.After(until) {
			delete(l.forbidden, r)
		}
	}
	l.forbidden[repo] = now.Add(time.Hour)
}

func (l *lane) isForbidden(repo string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.forbidden[repo])
}

// drain sends what waits in the lane until nothing does, or ctx is over: then
// the rest is given back.
func (r *Reporter) drain(ctx context.Context, l *lane) {
	for {
		over := ctx.Err() != nil
		e, wait := l.next(r.opts.Now(), over)
		switch {
		case e != nil && over:
			r.later(ctx, e.item, r.opts.Now())
			e.free()
		case e != nil:
			r.deliver(ctx, l, e)
			l.gate.release()
		case wait > 0:
			pause(ctx, wait)
		default:
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
