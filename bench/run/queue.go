package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// queued is how many builds wait in line at once, and slots how many may run.
const (
	queued = 50
	slots  = 2
)

// benchQueue is P8: fifty one-command builds that one push asks for, two at a
// time, against the same containers started two at a time by a bare loop: each
// on a network of its own, as builds are, and on the one that all share.
func benchQueue(ctx context.Context, s settings) ([]result, error) {
	e := newEngine()
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = e.removeImage(context.WithoutCancel(ctx)) }()
	up, err := startUp(ctx, s, "queue")
	if err != nil {
		return nil, err
	}
	defer up.stop()
	sha, err := up.push(ctx, "echo "+marker) // a warm-up, and what the branches point to
	if err != nil {
		return nil, err
	}
	if _, err := up.built(ctx, sha, func() {}); err != nil {
		return nil, err
	}
	ours, err := up.line(ctx, sha)
	if err != nil {
		return nil, err
	}
	apart, err := loop(ctx, e.runApart)
	if err != nil {
		return nil, err
	}
	shared, err := loop(ctx, e.runBare)
	if err != nil {
		return nil, err
	}
	return []result{
		against("P8", "50 queued builds, two slots, own networks", "ms", milliseconds(ours), milliseconds(apart), 1.15, true),
		aimless("P8", "50 queued builds, two slots, shared one", "ms", milliseconds(ours), milliseconds(shared)),
	}, nil
}

// line pushes a branch for each build and answers how long they took together,
// from the push on.
func (u *server) line(ctx context.Context, sha string) (time.Duration, error) {
	refs := []string{"push", "-q", u.remote()}
	for i := range queued {
		refs = append(refs, fmt.Sprintf("%s:refs/heads/line-%d", sha, i))
	}
	begin := time.Now()
	if _, err := u.git(ctx, refs...); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		var list struct {
			Items []struct {
				Status string
			}
		}
		if err := u.get(ctx, "/executions?limit=200&sha="+url.QueryEscape(sha), &list); err != nil {
			return 0, err
		}
		ended := 0
		for _, x := range list.Items {
			switch x.Status {
			case "Succeeded":
				ended++
			case "Failed", "Stopped", "Superseded", "Cancelled":
				return 0, fmt.Errorf("an execution ended as %s", x.Status)
			}
		}
		if ended == queued+1 { // and the warm-up
			return time.Since(begin), nil
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// loop runs the same containers, as many at a time.
func loop(ctx context.Context, run func(context.Context, string) (spans, error)) (time.Duration, error) {
	begin := time.Now()
	errs := make([]error, slots)
	var g sync.WaitGroup
	for i := range errs {
		g.Go(func() {
			for range queued / slots {
				if _, err := run(ctx, "echo "+marker); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	g.Wait()
	return time.Since(begin), errors.Join(errs...)
}
