package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/slipway-ci/slipway/forge/github"
	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// recoveryInterval is how often one of the servers asks GitHub for what it
	// could not deliver (forges reference 2.3).
	recoveryInterval = 5 * time.Minute
	recoveryTime     = 4 * time.Minute
	// recoveryOverlap is how far before the look that ended well the next one
	// goes back: a delivery is asked for over 36 minutes.
	recoveryOverlap = time.Hour
	// recoveryKind is the kind under which that look's time is kept.
	recoveryKind = "recovery"
)

// recovery has GitHub deliver again what it could not deliver while no server
// was there. GitHub doesn't do so by itself.
type recovery struct {
	hooks interface {
		Recover(ctx context.Context, since time.Time) (github.Recovery, error)
	}
	state interface {
		Lease(ctx context.Context, name string, ttl time.Duration) (release func(), ok bool, err error)
		ReportState(ctx context.Context, key, kind string) ([]byte, error)
		SaveReportState(ctx context.Context, key, kind string, state []byte) error
	}
	log *slog.Logger
	now func() time.Time
}

// run looks at once and then every recoveryInterval, until ctx ends.
func (r *recovery) run(ctx context.Context) {
	tick := time.NewTicker(recoveryInterval)
	defer tick.Stop()
	for fresh := time.Duration(0); ; fresh = recoveryInterval / 2 {
		if err := r.turn(ctx, fresh); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "missed webhooks were not all asked for", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// turn looks, unless another server does or did so no longer ago than fresh.
func (r *recovery) turn(ctx context.Context, fresh time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recoveryTime, errors.New("GitHub takes too long to say what it delivered"))
	defer cancel()
	release, ok, err := r.state.Lease(ctx, "recovery", recoveryTime)
	if err != nil || !ok {
		return err
	}
	defer release()
	start := r.now().UTC()
	last, err := r.last(ctx)
	if err != nil || start.Sub(last) < fresh {
		return err
	}
	since := start.Add(-github.RecoverFor)
	if from := last.Add(-recoveryOverlap); from.After(since) {
		since = from
	}
	got, err := r.hooks.Recover(ctx, since)
	if got.Asked+got.Given > 0 || got.Unseen {
		r.log.WarnContext(ctx, "GitHub could not deliver webhooks", "asked_again", got.Asked, "given_up", got.Given,
			"deliveries", got.Seen, "some_unseen", got.Unseen, "since", since)
	}
	if err != nil {
		return err
	}
	return r.state.SaveReportState(ctx, githubForge, recoveryKind, []byte(start.Format(time.RFC3339)))
}

// last is when a look ended well; zero: never.
func (r *recovery) last(ctx context.Context) (time.Time, error) {
	data, err := r.state.ReportState(ctx, githubForge, recoveryKind)
	if errors.Is(err, pipeline.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	last, err := time.Parse(time.RFC3339, string(data))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when GitHub was asked for missed webhooks: %w", err)
	}
	return last, nil
}
