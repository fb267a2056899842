package main

import (
	"context"
	"time"
)

// benchPush is P3 from the outside: from a push's arrival to its command's
// first line and to the build's end, against the bare calls.
func benchPush(ctx context.Context, s settings) ([]result, error) {
	e := newEngine()
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = e.removeImage(context.WithoutCancel(ctx)) }()
	up, err := startUp(ctx, s, "push")
	if err != nil {
		return nil, err
	}
	defer up.stop()
	var ours, bare contender
	for i := range s.builds + 1 {
		took, err := up.pushed(ctx)
		if err != nil {
			return nil, err
		}
		floor, err := e.runBare(ctx, "echo "+marker)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first is a warm-up
			ours.first, ours.whole = append(ours.first, took.first), append(ours.whole, took.whole)
			bare.first, bare.whole = append(bare.first, floor.first), append(bare.whole, floor.whole)
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil { // what is prepared for the next one
			return nil, err
		}
	}
	return []result{
		against("P3", "push to the command's phase, bare calls", "ms", median(ours.first), median(bare.first), 1.15, true),
		against("P3", "push to the build's end, bare calls", "ms", median(ours.whole), median(bare.whole), 1.2, true),
	}, nil
}

// pushed is how long a push took from its arrival at the server.
func (u *server) pushed(ctx context.Context) (spans, error) {
	sha, err := u.push(ctx, "echo "+marker)
	if err != nil {
		return spans{}, err
	}
	b, err := u.built(ctx, sha, func() {})
	if err != nil {
		return spans{}, err
	}
	var list struct {
		Items []struct {
			ReceivedAt time.Time `json:"received_at"`
		}
	}
	if err := u.get(ctx, "/deliveries?forge=local&limit=1", &list); err != nil {
		return spans{}, err
	}
	arrived := list.Items[0].ReceivedAt
	return spans{first: b.began("BUILD").Sub(arrived), whole: b.EndedAt.Sub(arrived)}, nil
}
