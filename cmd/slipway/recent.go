package main

import (
	"context"
	"time"
)

// recentTime is how long the answer of a check that writes is good.
const recentTime = 5 * time.Second

// recentLimit bounds such a check.
const recentLimit = 10 * time.Second

// recentCheck asks a check that costs something seldom: whoever asks meanwhile
// gets the last answer.
type recentCheck struct {
	check func(ctx context.Context) error
	turn  chan struct{} // holds one thing: the right to look at what follows
	at    time.Time
	err   error
}

func newRecentCheck(check func(ctx context.Context) error) *recentCheck {
	c := &recentCheck{check: check, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

func (c *recentCheck) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.turn:
	}
	defer func() { c.turn <- struct{}{} }()
	if time.Since(c.at) > recentTime {
		// That whoever asked went away says nothing to those who ask next.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recentLimit)
		defer cancel()
		c.err = c.check(ctx)
		c.at = time.Now()
	}
	return c.err
}
