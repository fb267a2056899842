package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// refresh is how often the running time alone is reported anew.
const refresh = time.Minute

// priority orders what waits for the same installation.
type priority int

const (
	progress priority = iota
	needsHuman
	final
)

// plan is what is to be done about one item now: send, or if not, wait until
// a time, or if that is zero nothing.
type plan struct {
	send     bool
	until    time.Time
	priority priority

	x    pipeline.Execution
	st   state
	want rendering
	dig  string
	line bool // it waits in a queue whose state is known
}

// plan loads what is known of an item and decides.
func (r *Reporter) plan(ctx context.Context, l *lane, item pipeline.ReportItem) (*plan, error) {
	x, err := r.records.Execution(ctx, item.Execution)
	if err != nil {
		return nil, fmt.Errorf("loading execution: %w", err)
	}
	builds, err := r.records.Builds(ctx, item.Execution)
	if err != nil {
		return nil, fmt.Errorf("loading builds: %w", err)
	}
	st, err := r.loadState(ctx, item.Execution)
	if err != nil {
		return nil, err
	}
	now := r.opts.Now()
	st = st.forAttempt(x)
	if l.to.Checks == nil || l.to.Statuses != nil && st.CheckID == 0 && l.isForbidden(x.Repo.ID, now) {
		st.Statuses = true
	}
	o := RenderOptions{BaseURL: r.opts.BaseURL, Now: now, Attempt: st.Attempt}
	if r.opts.Line != nil {
		o.Line = r.opts.Line(ctx, x)
	}
	list := works(x, builds)
	p := plan{x: x, st: st, want: render(x, list, o)}
	o.Now = time.Time{}
	p.dig = render(x, list, o).digest(st.Statuses)
	p.priority = p.want.verdict.priority()
	p.line = r.opts.Line != nil && p.want.verdict.status == queued
	p.decide(now, l.interval(r.opts.Progress))
	return &p, nil
}

func (v verdict) priority() priority {
	switch {
	case v.status == completed && v.asks == nil:
		return final
	case v.human:
		return needsHuman
	}
	return progress
}

// decide says whether the wanted state is to be sent, and when.
func (p *plan) decide(now time.Time, interval time.Duration) {
	trouble := p.st.Trouble
	switch {
	case p.st.Ended:
		// The final state is there, or was given up.
	case p.x.Revision < p.st.Revision:
		// An older state than the forge has: never sent.
	case now.Before(trouble.Until) && trouble.Final == (p.priority == final):
		p.until = trouble.Until
	case p.priority == final:
		p.send = true
	case p.dig == p.st.Digest:
		// No news, but the running time goes on.
		if p.want.verdict.running && !p.st.Statuses {
			p.notBefore(now, p.st.SentAt.Add(max(interval, refresh)))
		}
		if p.line {
			p.until = now.Add(max(interval, refresh)) // the queue moves without a word
		}
	case p.want.verdict.status == p.st.Status && !p.want.verdict.human && !p.st.Statuses:
		p.notBefore(now, p.st.SentAt.Add(interval))
	default:
		p.send = true
	}
}

func (p *plan) notBefore(now, at time.Time) {
	p.send = !now.Before(at)
	if !p.send {
		p.until = at
	}
}

// check is the write to make: the wanted check run, or what a forge takes that
// refused the whole.
func (p *plan) check() forge.CheckRun {
	c := p.want.check
	c.ID, c.Sent, c.Unsure = p.st.CheckID, p.st.Sent, p.st.Unsure
	if p.st.Minimal {
		c.Annotations, c.Actions, c.Text = nil, nil, ""
		c.Title = cut(c.Title, 100)
		c.Summary = "The full report was refused by the forge."
		if c.DetailsURL != "" {
			c.Summary = fmt.Sprintf("See [the execution](%s).", c.DetailsURL)
		}
	}
	return c
}

// digest names the content of a report. It is taken of a rendering at no
// time, in which nothing has been running for a while.
func (d rendering) digest(statuses bool) string {
	var content any = d.check
	if statuses {
		content = d.status
	}
	data, err := json.Marshal(content)
	if err != nil {
		panic(err) // strings, numbers and times only
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
