package queuetest

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
)

func inboxLedger(t *testing.T, b *inboxBench) {
	ctx := t.Context()
	at := time.Now().UTC().Truncate(time.Second)
	var want []string
	for i := range 30 {
		d := delivery("d" + strconv.Itoa(i))
		d.ReceivedAt = at.Add(time.Duration(i/3) * time.Millisecond) // three at a time
		if i%3 == 1 {
			d.Forge = "local"
		}
		if i%3 == 2 {
			d.Reason = "bad signature"
			d.Headers.Set("Authorization", "secret")
			if err := b.inbox.Refuse(ctx, d); err != nil {
				t.Fatal(err)
			}
		} else {
			b.receive(d)
		}
		want = append(want, d.ID)
	}
	var got []string
	var last time.Time
	for after := ""; ; {
		page, err := b.inbox.Deliveries(ctx, "", 7, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Items {
			got = append(got, d.ID)
			if !last.IsZero() && d.ReceivedAt.After(last) {
				t.Errorf("%s is newer than the one before it", d.ID)
			}
			last = d.ReceivedAt
			if len(d.Body) > 0 || d.Headers.Get("Authorization") != "" || (d.Verdict == pipeline.Refused) != (d.Reason != "") {
				t.Errorf("got %+v", d)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	sorted := cmp.Transformer("set", func(ids []string) map[string]int {
		m := map[string]int{}
		for _, id := range ids {
			m[id]++
		}
		return m
	})
	if diff := cmp.Diff(want, got, sorted); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
	local, err := b.inbox.Deliveries(ctx, "local", 0, "")
	if err != nil || len(local.Items) != 10 {
		t.Errorf("of one forge: %d, %v, want 10", len(local.Items), err)
	}
	if _, err := b.inbox.Deliveries(ctx, "", 0, "nonsense!"); err == nil {
		t.Error("a broken page token: want an error")
	}
	if _, err := b.inbox.Delivery(ctx, "github", "d2"); err != nil {
		t.Errorf("a refused one by its ID: %v", err)
	}
}

func inboxKeep(t *testing.T, b *inboxBench) {
	for i := range 2000 { // 1,600 are to be kept
		d := delivery("d" + strconv.Itoa(i))
		d.Decision = pipeline.DecisionIgnored
		b.receive(d)
	}
	n := 0
	for after := ""; ; {
		page, err := b.inbox.Deliveries(t.Context(), "", 200, after)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Items)
		if after = page.Next; after == "" {
			break
		}
	}
	if n > 1600 || n < 1400 {
		t.Errorf("%d are kept, want about 1600 and no more", n)
	}
}

func inboxReplay(t *testing.T, b *inboxBench) {
	ctx := t.Context()
	b.receive(delivery("d1"))
	b.run(b.inbox, b.handler())
	await(t, "the delivery", func() bool { n, _ := b.seen(); return n == 1 })
	if n, err := b.inbox.Replay(ctx, "github", "d1", "me"); err != nil || n != 1 {
		t.Fatalf("got %d, %v, want attempt 1", n, err)
	}
	await(t, "the replay", func() bool { n, _ := b.seen(); return n == 2 })
	b.mu.Lock()
	if d := b.deliveries[1]; d.Attempt != 1 || string(d.Body) != string(delivery("d1").Body) {
		t.Errorf("got attempt %d and %d bytes", d.Attempt, len(d.Body))
	}
	b.mu.Unlock()
	if err := b.inbox.Refuse(ctx, delivery("bad")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.inbox.Replay(ctx, "github", "bad", "me"); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("a refused one: got %v, want ErrConflict", err)
	}
	if _, err := b.inbox.Replay(ctx, "github", "none", "me"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("an unknown one: got %v, want ErrNotFound", err)
	}
}
