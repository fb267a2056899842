package queue_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/queue/queuetest"
)

// TestKilledProcessesAreNoTries: an entry whose processes were killed more
// often than it may fail is still handled; being killed says nothing against
// it.
func TestKilledProcessesAreNoTries(t *testing.T) {
	rdb := queuetest.New(t)
	in := queue.NewInbox(rdb, queue.InboxOptions{Lease: time.Second, Tries: 2}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := pipeline.Delivery{Forge: "github", ID: "d1", Event: "push", Body: []byte("{}")}
	if _, err := in.Receive(ctx, d); err != nil {
		t.Fatal(err)
	}
	stream := streamOf(ctx, t, rdb)
	handled := make(chan struct{})
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	killed := 0
	// Each process takes the entry and is never heard of again. The inbox under
	// test takes it over and hands it out, to the next one that is killed.
	for range 3 {
		got, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "orchestrator", Consumer: "killed", Streams: []string{stream, ">"}, Count: 1, Block: 10 * time.Second}).Result()
		if err != nil || len(got) == 0 {
			t.Fatalf("process %d got nothing: %v", killed, err)
		}
		killed++
		if killed < 3 {
			tendUntilBack(ctx, t, rdb, stream)
		}
	}
	go func() {
		done <- in.Run(running, queue.Handler{Delivery: func(context.Context, pipeline.Delivery) (pipeline.Decision, error) {
			close(handled)
			return pipeline.Decision{Decision: pipeline.DecisionIgnored}, nil
		}})
	}()
	select {
	case <-handled:
	case <-ctx.Done():
		t.Error("the entry was given up on")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// streamOf is the one stream that has an entry; its group is made.
func streamOf(ctx context.Context, t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	keys, err := rdb.Keys(ctx, "*:events").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if n, err := rdb.XLen(ctx, k).Result(); err == nil && n == 1 {
			if err := rdb.XGroupCreate(ctx, k, "orchestrator", "0").Err(); err != nil {
				t.Fatal(err)
			}
			return k
		}
	}
	t.Fatalf("no stream has the delivery: %q", keys)
	return ""
}

// tendUntilBack lets an inbox that handles nothing put the entry back in line.
func tendUntilBack(ctx context.Context, t *testing.T, rdb redis.UniversalClient, stream string) {
	t.Helper()
	for ctx.Err() == nil {
		if err := queue.Tend(ctx, queue.NewInbox(rdb, queue.InboxOptions{Lease: time.Second, Tries: 2}, slog.New(slog.DiscardHandler))); err != nil {
			t.Fatal(err)
		}
		pending, err := rdb.XPending(ctx, stream, "orchestrator").Result()
		if err != nil {
			t.Fatal(err)
		}
		if pending.Count == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("the entry was not put back")
}
