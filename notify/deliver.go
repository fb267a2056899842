package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// deliver makes one write for an entry and keeps what came of it.
func (r *Reporter) deliver(ctx context.Context, l *lane, e *entry) {
	if e.lease.Sub(r.opts.Now()) < r.opts.SendTimeout+leaseMargin {
		// It waited too long in the lane: whoever claims it next sends it.
		r.later(ctx, e.item, r.opts.Now())
		e.free()
		return
	}
	p, ok := r.look(ctx, l, e)
	if !ok {
		return
	}
	// A write that has begun is brought to its end, so that the forge and the
	// state agree.
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.SendTimeout)
	defer cancel()
	err := r.write(sending, l, p)
	l.gate.wrote(r.opts.Now())
	r.settle(ctx, l, e, p, err)
}

// leaseMargin is what is left of a lease for the store's part of a write.
const leaseMargin = 5 * time.Second

// write sends the plan's check run or commit status, and notes in the plan's
// state what is known of it then.
func (r *Reporter) write(ctx context.Context, l *lane, p *plan) error {
	if p.st.Statuses {
		if l.to.Statuses == nil {
			return forge.ErrForbidden
		}
		err := l.to.Statuses.SetStatus(ctx, p.x.Repo, l.key.installation, p.want.status)
		if err == nil && l.to.Reports != nil && p.priority == final {
			err = r.report(ctx, l, p)
		}
		return err
	}
	ahead := p.st
	ahead.Unsure = true
	if err := r.saveState(ctx, p.x.ID, ahead); err != nil {
		return err
	}
	c := p.check()
	err := l.to.Checks.PutCheckRun(ctx, p.x.Repo, l.key.installation, &c)
	p.st.CheckID, p.st.Sent, p.st.Unsure = c.ID, c.Sent, c.Unsure
	return err
}

// report adds to a final commit status what that has no room for. A forge that
// won't have it has the status all the same.
func (r *Reporter) report(ctx context.Context, l *lane, p *plan) error {
	err := l.to.Reports.PutReport(ctx, p.x.Repo, l.key.installation, p.want.check)
	if errors.Is(err, forge.ErrForbidden) || errors.Is(err, forge.ErrNotFound) || errors.Is(err, forge.ErrRejected) {
		r.opts.Log.WarnContext(ctx, "a report was refused", "execution", p.x.ID, "repo", p.x.Repo.FullName(), "error", err)
		return nil
	}
	return err
}

// What may happen to an entry after a write.
type fate int

const (
	again  fate = iota // there is more to send, now
	defers             // the entry is due later
	done
)

// settle keeps what came of a write, and lets the entry go unless there is
// more to send for it.
func (r *Reporter) settle(ctx context.Context, l *lane, e *entry, p *plan, err error) {
	next, until := r.judge(l, p, err)
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.SendTimeout)
	defer cancel()
	if err := r.saveState(saving, e.item.Execution, p.st); err != nil {
		r.opts.Log.WarnContext(ctx, "keeping what was reported", "execution", e.item.Execution, "error", err)
		next, until = defers, r.opts.Now().Add(storeRetry)
	}
	switch next {
	case again:
		l.put(e)
		return
	case defers:
		r.later(ctx, e.item, until)
	case done:
		r.finish(ctx, e.item)
	}
	e.free()
}

// judge changes the plan's state by the answer to its write (forges reference
// 3.11).
func (r *Reporter) judge(l *lane, p *plan, err error) (fate, time.Time) {
	var retry *forge.RetryError
	switch st := &p.st; {
	case err == nil:
		return r.arrived(l, p)
	case errors.As(err, &retry):
		return r.retry(l, p, err, retry.After)
	case errors.Is(err, forge.ErrNoCredentials):
		r.opts.Log.Debug("no credentials to report with", "execution", p.x.ID, "repo", p.x.Repo.FullName())
		return done, time.Time{}
	case errors.Is(err, forge.ErrForbidden) && !st.Statuses && l.to.Statuses != nil:
		r.opts.Log.Warn("checks may not be written, commit statuses serve instead", "repo", p.x.Repo.FullName(), "error", err)
		l.forbid(p.x.Repo.ID, r.opts.Now())
		st.Statuses = true
		return again, time.Time{}
	case errors.Is(err, forge.ErrRejected) && !st.Statuses && !st.Minimal:
		r.opts.Log.Warn("the forge refuses a check run, trying its minimum", "execution", p.x.ID, "error", err)
		st.Minimal = true
		return again, time.Time{}
	case errors.Is(err, forge.ErrNotFound) && !st.Trouble.Missing:
		// Renamed, moved, or the check run's data has expired: once more, from
		// the beginning.
		until := r.opts.Now().Add(missingRetry)
		st.CheckID, st.Unsure = 0, true
		st.Trouble = trouble{Final: p.priority == final, Missing: true, Since: r.opts.Now(), Until: until}
		return defers, until
	case errors.Is(err, forge.ErrForbidden), errors.Is(err, forge.ErrRejected), errors.Is(err, forge.ErrNotFound):
		return r.drop(p, err)
	}
	return r.retry(l, p, err, 0)
}

// missingRetry is how long after "not found" a report is tried once more.
const missingRetry = 5 * time.Second

func (r *Reporter) arrived(l *lane, p *plan) (fate, time.Time) {
	st := &p.st
	r.keep(p)
	st.Trouble, st.Note = trouble{}, ""
	l.note(p.x.ID, st.Status)
	if (p.want.verdict.running || p.line) && !st.Statuses {
		return defers, st.SentAt.Add(l.interval(r.opts.Progress))
	}
	return done, time.Time{}
}

// keep notes the plan's state as the last one that was dealt with.
func (r *Reporter) keep(p *plan) {
	st := &p.st
	st.Revision, st.Status, st.Digest, st.SentAt = p.x.Revision, p.want.verdict.status, p.dig, r.opts.Now()
	if p.priority == final {
		st.Ended, st.EndedAt = true, settledAt(p.x)
	}
}

// progressTries is how often the report of a passing state is tried.
const progressTries = 6

// longestWait bounds the time between two tries, whatever the forge asks.
const longestWait = 15 * time.Minute

// retry has the write made again later. If the forge named the time, nothing
// is written for the whole installation until then.
func (r *Reporter) retry(l *lane, p *plan, err error, after time.Duration) (fate, time.Time) {
	now, t := r.opts.Now(), &p.st.Trouble
	if t.Since.IsZero() || t.Final != (p.priority == final) {
		*t = trouble{Final: p.priority == final, Since: now}
	}
	t.Tries++
	if p.priority == progress && t.Tries >= progressTries || now.Sub(t.Since) >= r.opts.KeepTrying {
		return r.drop(p, err)
	}
	wait := min(after, longestWait)
	if wait > 0 {
		l.gate.closeUntil(now.Add(wait))
	} else {
		wait = backoff(t.Tries)
	}
	t.Until = now.Add(wait)
	r.opts.Log.Info("a report will be sent again", "execution", p.x.ID, "attempt", t.Tries, "duration", wait, "error", err)
	return defers, t.Until
}

// backoff is 1, 2, 4, ... seconds, give or take a fifth.
func backoff(tries int) time.Duration {
	d := longestWait
	if tries <= 10 {
		d = min(d, time.Second<<(tries-1))
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// drop gives a state up; a later one is tried anew.
func (r *Reporter) drop(p *plan, err error) (fate, time.Time) {
	r.keep(p)
	p.st.Trouble = trouble{}
	p.st.Note = fmt.Sprintf("%s was given up: %v", p.want.verdict.status, err)
	report := r.opts.Log.Warn
	if p.priority == final {
		report = r.opts.Log.Error
	}
	report("a report was given up", "execution", p.x.ID, "repo", p.x.Repo.FullName(), "error", err)
	return done, time.Time{}
}
