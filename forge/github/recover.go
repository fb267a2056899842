package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-ci/slipway/forge"
)

// Recovery counts what one look at the App's deliveries found.
type Recovery struct {
	Seen  int // deliveries, each with all of its attempts
	Asked int // that GitHub was asked to deliver again
	Given int // up: none of four attempts reached us
	// Unseen: there were more deliveries than are looked at in one go, and the
	// oldest of them were not.
	Unseen bool
}

// RecoverFor is how far back GitHub keeps deliveries; an Enterprise Server
// keeps them longer (forges reference 2.3).
const RecoverFor = 72 * time.Hour

const (
	// recoverPages bounds the pages of 100 deliveries that are looked at.
	recoverPages = 200
	// tellTries is how often GitHub is asked for one delivery.
	tellTries = 3
)

// tellAfter is how long after an attempt the next one is asked for, by how many
// were asked for already.
var tellAfter = [tellTries]time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute}

// Recover asks GitHub, which never does so by itself, to deliver again what did
// not reach us since a time. What was tried is told by GitHub's own list, so
// that it doesn't matter which server asks, or how often. Without an App it is
// forge.ErrNoCredentials.
func (c *Client) Recover(ctx context.Context, since time.Time) (Recovery, error) {
	if c.app == nil {
		return Recovery{}, forge.ErrNoCredentials
	}
	var out Recovery
	attempts, err := c.attempts(ctx, since, &out)
	if err != nil {
		return out, err
	}
	for _, a := range attempts {
		out.Seen++
		switch {
		case a.reached:
		case a.asked >= tellTries:
			out.Given++
		case c.now().Sub(a.last) >= tellAfter[a.asked]:
			if err := c.redeliver(ctx, a.id); err != nil {
				return out, fmt.Errorf("asking for delivery %s again: %w", a.guid, err)
			}
			out.Asked++
		}
	}
	return out, nil
}

func (c *Client) redeliver(ctx context.Context, id int64) error {
	_, _, err := c.app.Apps.RedeliverHookDelivery(ctx, id)
	if _, ok := errors.AsType[*gh.AcceptedError](err); ok || err == nil { // to the library 202 is an error
		return nil
	}
	return refusal(ctx, err)
}

// attempted is one delivery with all of its attempts.
type attempted struct {
	guid    string
	id      int64     // of the newest attempt
	last    time.Time // when that was
	asked   int       // attempts that were asked for
	reached bool      // one of them was answered with 2xx
}

// attempts lists the deliveries since a time, the oldest first.
func (c *Client) attempts(ctx context.Context, since time.Time, out *Recovery) ([]*attempted, error) {
	var all []*attempted
	byGUID := map[string]*attempted{}
	opts := &gh.ListCursorOptions{PerPage: 100}
	for page := 0; ; page++ {
		if page == recoverPages {
			out.Unseen = true
			break
		}
		list, resp, err := c.app.Apps.ListHookDeliveries(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("listing the App's deliveries: %w", refusal(ctx, err))
		}
		old := false
		for _, d := range list { // the newest first
			if old = d.GetDeliveredAt().Before(since); old {
				break
			}
			a := byGUID[d.GetGUID()]
			if a == nil {
				a = &attempted{guid: d.GetGUID(), id: d.GetID(), last: d.GetDeliveredAt().Time}
				byGUID[a.guid] = a
				all = append(all, a)
			}
			a.reached = a.reached || d.GetStatusCode() >= 200 && d.GetStatusCode() < 300
			if d.GetRedelivery() {
				a.asked++
			}
		}
		if opts.Cursor = resp.Cursor; old || opts.Cursor == "" || len(list) == 0 {
			break
		}
	}
	slices.Reverse(all)
	return all, nil
}
