package notify

import (
	"sync"
	"time"
)

// Pace keeps the writes for each installation of one forge apart, also those
// of several reporters that share it. It is safe for concurrent use.
type Pace struct {
	spacing time.Duration

	mu    sync.Mutex
	gates map[int64]*gate
}

// NewPace is a Pace with that least time between two writes; see Spacing.
func NewPace(spacing time.Duration) *Pace {
	return &Pace{spacing: spacing, gates: map[int64]*gate{}}
}

// gate lets one write through at a time.
type gate struct {
	spacing time.Duration

	mu   sync.Mutex
	busy bool
	open time.Time // no write before
}

// gate is that of an installation. What it was like before this process is
// unknown: the one before may just have written when this one began.
func (p *Pace) gate(installation int64, began time.Time) *gate {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, ok := p.gates[installation]
	if !ok {
		g = &gate{spacing: p.spacing, open: began.Add(p.spacing)}
		p.gates[installation] = g
	}
	return g
}

// busyWait is how soon a gate is tried again through which a write is going.
const busyWait = 100 * time.Millisecond

// take lets the caller write, who then calls release; otherwise it says how
// long to wait.
func (g *gate) take(now time.Time) (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.busy:
		return busyWait, false
	case now.Before(g.open):
		return g.open.Sub(now), false
	}
	g.busy = true
	return 0, true
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
}

// wrote keeps the gate shut for the spacing.
func (g *gate) wrote(now time.Time) { g.closeUntil(now.Add(g.spacing)) }

// closeUntil keeps the gate shut; it never opens earlier than it was to.
func (g *gate) closeUntil(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.After(g.open) {
		g.open = t
	}
}
