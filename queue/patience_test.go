package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/queue/queuetest"
)

// A forge that is away, or counts our requests, for longer than all tries
// together take, loses no delivery: only what is too old to wait for is given
// up.
func TestForgeAsksForPatience(t *testing.T) {
	rdb, ctx := queuetest.New(t), t.Context()
	in := queue.NewInbox(rdb, queue.InboxOptions{Lease: time.Second, Tries: 2, Retry: time.Millisecond, MaxRetry: time.Millisecond}, discard)
	refuse := fmt.Errorf("reading the pipelines: %w", &forge.RetryError{After: time.Millisecond, Err: errors.New("503")})
	done, old := make(chan struct{}), time.Now().Add(-25*time.Hour)
	for id, at := range map[string]time.Time{"fresh": time.Now(), "old": old} {
		if _, err := in.Receive(ctx, pipeline.Delivery{Forge: "github", ID: id, ReceivedAt: at}); err != nil {
			t.Fatal(err)
		}
	}
	calls := map[string]int{}
	seen := make(chan string)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- in.Run(running, queue.Handler{Delivery: func(_ context.Context, d pipeline.Delivery) (pipeline.Decision, error) {
			select {
			case seen <- d.ID:
			case <-done:
				return pipeline.Decision{Decision: pipeline.DecisionStarted}, nil
			}
			return pipeline.Decision{}, refuse
		}})
	}()
	for calls["fresh"] < 8 || calls["old"] < 2 {
		select {
		case id := <-seen:
			calls[id]++
		case <-time.After(20 * time.Second):
			t.Fatalf("no more tries after %v", calls)
		}
	}
	close(done)
	for id, want := range map[string]string{"fresh": pipeline.DecisionStarted, "old": pipeline.DecisionFailed} {
		d := decided(t, in, id)
		if d.Decision != want {
			t.Errorf("%s: got %s: %s, want %s", id, d.Decision, d.Reason, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// decided waits for the decision on a delivery.
func decided(t *testing.T, in *queue.Inbox, id string) pipeline.Delivery {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); ; {
		d, err := in.Delivery(t.Context(), "github", id)
		if err != nil {
			t.Fatal(err)
		}
		if d.Decision != "" {
			return d
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("delivery %s is not decided", id)
		}
	}
}
