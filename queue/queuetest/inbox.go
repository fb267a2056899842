package queuetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
)

// inboxBench is an Inbox and what its handlers saw.
type inboxBench struct {
	t     *testing.T
	rdb   redis.UniversalClient
	inbox *queue.Inbox

	mu         sync.Mutex
	deliveries []pipeline.Delivery
	events     []pipeline.Event
}

func newInboxBench(t *testing.T, rdb redis.UniversalClient) *inboxBench {
	return &inboxBench{t: t, rdb: rdb, inbox: newInbox(rdb)}
}

func newInbox(rdb redis.UniversalClient) *queue.Inbox {
	opts := queue.InboxOptions{Lease: time.Second, Tries: 3, Retry: 20 * time.Millisecond, KeepCount: 1600}
	return queue.NewInbox(rdb, opts, slog.New(slog.DiscardHandler))
}

// handler records and agrees.
func (b *inboxBench) handler() queue.Handler {
	return queue.Handler{
		Delivery: func(_ context.Context, d pipeline.Delivery) (pipeline.Decision, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.deliveries = append(b.deliveries, d)
			return pipeline.Decision{Decision: pipeline.DecisionStarted, Reason: "push", Executions: []string{"x1"}}, nil
		},
		Event: func(_ context.Context, e pipeline.Event) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
			return nil
		},
	}
}

func (b *inboxBench) seen() (deliveries, events int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.deliveries), len(b.events)
}

// run handles until the test, or stop, ends it.
func (b *inboxBench) run(in *queue.Inbox, h queue.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, h) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				b.t.Errorf("running: %v", err)
			}
		})
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *inboxBench) receive(d pipeline.Delivery) bool {
	b.t.Helper()
	fresh, err := b.inbox.Receive(b.t.Context(), d)
	if err != nil {
		b.t.Fatal(err)
	}
	return fresh
}

func delivery(id string) pipeline.Delivery {
	body := []byte(`{"zen":"` + strings.Repeat("Keep it logically awesome. ", 40) + `"}`)
	return pipeline.Delivery{
		Forge: "github", ID: id, Event: "push", Repo: "o/r", Body: body, Bytes: int64(len(body)),
		ReceivedAt: time.Now().UTC().Truncate(time.Microsecond), Headers: http.Header{"X-Github-Event": {"push"}},
	}
}

// TestInbox states what queue.Inbox promises on any Redis. The client must be
// of a server without data.
func TestInbox(t *testing.T, open func(t *testing.T) redis.UniversalClient) {
	tests := []struct {
		name string
		run  func(*testing.T, *inboxBench)
	}{
		{"case 8: one delivery fifty times at once is queued once", inboxOnce},
		{"a delivery is handled and its decision is in the ledger", inboxDecision},
		{"a delivery that is decided is not queued", inboxDecided},
		{"events of a board are handled in order", inboxOrder},
		{"case 31: a key that comes again with other contents is refused", inboxKeyed},
		{"what fails is tried again later", inboxRetry},
		{"a panic is a failure", inboxPanic},
		{"what fails too often is a dead letter and can be replayed", inboxDead},
		{"a delivery given up on may be delivered again", inboxDeadDelivery},
		{"what a forge asks to try later is not given up within a day", inboxPatience},
		{"a dead process's entry is taken over within the lease", inboxTakeover},
		{"a long handling is not taken over", inboxLong},
		{"several processes share the work and lose nothing", inboxShared},
		{"a recorded delivery is replayed", inboxReplay},
		{"the ledger is paged, newest first, with refused ones", inboxLedger},
		{"the ledger keeps so many", inboxKeep},
		{"a newer version's event is left for it", inboxNewer},
		{"scripts survive a flush", inboxFlush},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newInboxBench(t, open(t))) })
	}
}

func inboxOnce(t *testing.T, b *inboxBench) {
	var fresh atomic.Int32
	var g sync.WaitGroup
	for range 50 {
		g.Go(func() {
			if b.receive(delivery("d1")) {
				fresh.Add(1)
			}
		})
	}
	g.Wait()
	if fresh.Load() != 1 {
		t.Errorf("%d were fresh, want 1", fresh.Load())
	}
	b.receive(delivery("d2"))
	b.run(b.inbox, b.handler())
	await(t, "both deliveries", func() bool { n, _ := b.seen(); return n >= 2 })
	if n, _ := b.seen(); n != 2 {
		t.Errorf("%d were handled, want 2", n)
	}
}

func inboxDecision(t *testing.T, b *inboxBench) {
	want := delivery("d1")
	b.receive(want)
	if n, oldest, err := b.inbox.Backlog(t.Context()); n != 1 || oldest < 0 || oldest > time.Minute || err != nil {
		t.Errorf("before it is handled: backlog %d, %v, %v", n, oldest, err)
	}
	b.run(b.inbox, b.handler())
	var got pipeline.Delivery
	await(t, "the decision", func() bool {
		var err error
		got, err = b.inbox.Delivery(t.Context(), "github", "d1")
		return err == nil && got.Decision != ""
	})
	want.V, want.Verdict, want.Decision, want.Reason, want.Executions = 1, pipeline.Accepted, pipeline.DecisionStarted, "push", []string{"x1"}
	want.DecidedAt = got.DecidedAt
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	if got.DecidedAt.IsZero() {
		t.Error("no time of the decision")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if string(b.deliveries[0].Body) != string(want.Body) {
		t.Error("the handler got another body")
	}
}

func inboxDecided(t *testing.T, b *inboxBench) {
	d := delivery("d1")
	d.Decision, d.Reason = pipeline.DecisionIgnored, "unknown event"
	if !b.receive(d) || b.receive(d) {
		t.Error("want it fresh once")
	}
	got, err := b.inbox.Delivery(t.Context(), "github", "d1")
	if err != nil || got.Decision != pipeline.DecisionIgnored || got.Reason != d.Reason {
		t.Errorf("got %+v, %v", got, err)
	}
	b.receive(delivery("d2"))
	b.run(b.inbox, b.handler())
	await(t, "d2", func() bool { n, _ := b.seen(); return n > 0 })
	if n, _ := b.seen(); n != 1 {
		t.Errorf("%d were handled, want 1", n)
	}
}

func (b *inboxBench) submit(ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		if err := b.inbox.Submit(b.t.Context(), pipeline.Event{ID: id, Type: pipeline.StopRequested, Board: "board"}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *inboxBench) eventIDs() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for _, e := range b.events {
		ids = append(ids, e.ID)
	}
	return ids
}

func inboxOrder(t *testing.T, b *inboxBench) {
	var want []string
	for i := range 30 {
		want = append(want, strconv.Itoa(i))
	}
	b.submit(want[:15]...)
	b.run(b.inbox, b.handler())
	b.submit(want[15:]...)
	await(t, "all events", func() bool { _, n := b.seen(); return n >= 30 })
	if diff := cmp.Diff(want, b.eventIDs()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// failing lets the first n events fail.
func (b *inboxBench) failing(n int32, fail func() error) (queue.Handler, *atomic.Int32) {
	var calls atomic.Int32
	h := b.handler()
	agree := h.Event
	h.Event = func(ctx context.Context, e pipeline.Event) error {
		if calls.Add(1) <= n {
			return fail()
		}
		return agree(ctx, e)
	}
	return h, &calls
}

func inboxRetry(t *testing.T, b *inboxBench) {
	b.submit("e1")
	h, calls := b.failing(2, func() error { return errors.New("not now") })
	b.run(b.inbox, h)
	await(t, "the event", func() bool { _, n := b.seen(); return n == 1 })
	if calls.Load() != 3 {
		t.Errorf("%d calls, want 3", calls.Load())
	}
}

func inboxPanic(t *testing.T, b *inboxBench) {
	b.submit("e1")
	h, _ := b.failing(1, func() error { panic("poison") })
	b.run(b.inbox, h)
	await(t, "the event", func() bool { _, n := b.seen(); return n == 1 })
}

func (b *inboxBench) deadLetters(n int) []queue.DeadLetter {
	b.t.Helper()
	var page pipeline.Page[queue.DeadLetter]
	await(b.t, fmt.Sprintf("%d dead letters", n), func() bool {
		var err error
		page, err = b.inbox.DeadLetters(b.t.Context(), 0, "")
		if err != nil {
			b.t.Fatal(err)
		}
		return len(page.Items) == n
	})
	return page.Items
}

func inboxDead(t *testing.T, b *inboxBench) {
	b.submit("e1", "e2")
	h, calls := b.failing(6, func() error { return errors.New("it is broken") })
	b.run(b.inbox, h)
	dead := b.deadLetters(2)
	if calls.Load() != 6 {
		t.Errorf("%d calls, want three each", calls.Load())
	}
	if d := dead[0]; d.Queue != "event" || d.Reason != "it is broken" || d.Attempts != 3 || d.FailedAt.IsZero() {
		t.Errorf("got %+v", d)
	}
	first, err := b.inbox.DeadLetters(t.Context(), 1, "")
	if err != nil || len(first.Items) != 1 || first.Next == "" {
		t.Fatalf("first page: %+v, %v", first, err)
	}
	second, err := b.inbox.DeadLetters(t.Context(), 1, first.Next)
	if err != nil || len(second.Items) != 1 || second.Next != "" || second.Items[0].ID == first.Items[0].ID {
		t.Fatalf("second page: %+v, %v", second, err)
	}
	if err := b.inbox.ReplayDead(t.Context(), dead[0].ID); err != nil {
		t.Fatal(err)
	}
	await(t, "the replayed event", func() bool { _, n := b.seen(); return n == 1 })
	for _, id := range []string{dead[0].ID, "", "17.1-1", "3.x", "3.1-1"} {
		if err := b.inbox.ReplayDead(t.Context(), id); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("replaying %q: got %v, want ErrNotFound", id, err)
		}
	}
	b.deadLetters(1)
}

func inboxDeadDelivery(t *testing.T, b *inboxBench) {
	b.receive(delivery("d1"))
	h := b.handler()
	agree := h.Delivery
	var broken atomic.Bool
	broken.Store(true)
	h.Delivery = func(ctx context.Context, d pipeline.Delivery) (pipeline.Decision, error) {
		if broken.Load() {
			return pipeline.Decision{}, errors.New("no pipeline")
		}
		return agree(ctx, d)
	}
	b.run(b.inbox, h)
	b.deadLetters(1)
	got, err := b.inbox.Delivery(t.Context(), "github", "d1")
	if err != nil || got.Decision != pipeline.DecisionFailed || got.Reason != "no pipeline" {
		t.Errorf("got %+v, %v, want it failed", got, err)
	}
	broken.Store(false)
	if !b.receive(delivery("d1")) {
		t.Error("a redelivery of a failed one is refused")
	}
	await(t, "the delivery", func() bool { n, _ := b.seen(); return n == 1 })
	if b.receive(delivery("d1")) {
		t.Error("a redelivery of a handled one is fresh")
	}
}

func inboxPatience(t *testing.T, b *inboxBench) {
	var fresh, old atomic.Int32
	h := b.handler()
	agree := h.Delivery
	h.Delivery = func(ctx context.Context, d pipeline.Delivery) (pipeline.Decision, error) {
		calls := &fresh
		if d.ID == "old" {
			calls = &old
		}
		if calls.Add(1) <= 6 {
			return pipeline.Decision{}, fmt.Errorf("asking: %w", &forge.RetryError{After: time.Millisecond, Err: errors.New("503")})
		}
		return agree(ctx, d)
	}
	late := delivery("old")
	late.ReceivedAt = late.ReceivedAt.Add(-25 * time.Hour)
	b.receive(late)
	b.receive(delivery("fresh"))
	b.run(b.inbox, h)
	await(t, "the delivery", func() bool { n, _ := b.seen(); return n == 1 })
	b.deadLetters(1)
	if fresh.Load() != 7 || old.Load() != 3 {
		t.Errorf("%d tries of the fresh delivery, want 7; %d of the old one, want 3", fresh.Load(), old.Load())
	}
}

// abandon reads one entry of every part and never answers, as a process that
// dies does.
func (b *inboxBench) abandon() {
	b.t.Helper()
	n := 0
	for shard := range 16 {
		stream := "slipway:{in:" + strconv.Itoa(shard) + "}:events"
		ctx := context.Background()
		_ = b.rdb.XGroupCreateMkStream(ctx, stream, "orchestrator", "0").Err() // may be there
		got, err := b.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "orchestrator", Consumer: "dead", Streams: []string{stream, ">"}, Block: -1}).Result()
		if err == nil {
			n += len(got[0].Messages)
		}
	}
	if n == 0 {
		b.t.Fatal("nothing was read")
	}
}

func inboxTakeover(t *testing.T, b *inboxBench) {
	b.submit("e1")
	b.receive(delivery("d1"))
	b.abandon()
	began := time.Now()
	b.run(b.inbox, b.handler())
	await(t, "the dead process's entries", func() bool { d, e := b.seen(); return d == 1 && e == 1 })
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("it took %v, want about the lease of 1 s", took)
	}
}

func inboxLong(t *testing.T, b *inboxBench) {
	b.submit("e1")
	var calls atomic.Int32
	h := b.handler()
	agree := h.Event
	release := make(chan struct{})
	h.Event = func(ctx context.Context, e pipeline.Event) error {
		calls.Add(1)
		<-release
		return agree(ctx, e)
	}
	b.run(b.inbox, h)
	await(t, "the first call", func() bool { return calls.Load() > 0 })
	other := newInbox(b.rdb)
	b.run(other, h)
	// Longer than the lease of one second.
	end := time.Now().Add(1500 * time.Millisecond)
	await(t, "the lease to pass", func() bool { return time.Now().After(end) })
	close(release)
	await(t, "the event", func() bool { _, n := b.seen(); return n > 0 })
	if calls.Load() != 1 {
		t.Errorf("%d calls, want 1", calls.Load())
	}
}

func inboxShared(t *testing.T, b *inboxBench) {
	const n = 200
	stop := b.run(b.inbox, b.handler())
	b.run(newInbox(b.rdb), b.handler())
	for i := range n {
		e := pipeline.Event{ID: strconv.Itoa(i), Board: "board" + strconv.Itoa(i%20)}
		if err := newInbox(b.rdb).Submit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if i == n/2 {
			stop()
		}
	}
	await(t, "all events", func() bool { _, n2 := b.seen(); return n2 >= n })
	ids := map[string]bool{}
	for _, id := range b.eventIDs() {
		ids[id] = true
	}
	if len(ids) != n {
		t.Errorf("%d of %d events were handled", len(ids), n)
	}
}

func inboxKeyed(t *testing.T, b *inboxBench) {
	submit := func(contents string) error {
		return newInbox(b.rdb).Submit(t.Context(), pipeline.Event{ID: "key", Contents: contents, Type: pipeline.StopRequested, Board: "board"})
	}
	if err := errors.Join(submit("one"), submit("one")); err != nil {
		t.Fatal(err)
	}
	if refusal, ok := errors.AsType[*pipeline.Refusal](submit("two")); !ok || refusal.Code != pipeline.ValidationException {
		t.Errorf("other contents: got %v", refusal)
	}
	for contents, want := range map[string]bool{"one": true, "two": false} {
		known, err := newInbox(b.rdb).Submitted(t.Context(), pipeline.Event{ID: "key", Contents: contents, Board: "board"})
		if known != want || (err == nil) != want {
			t.Errorf("%s was submitted: %v, %v", contents, known, err)
		}
	}
	if known, err := newInbox(b.rdb).Submitted(t.Context(), pipeline.Event{ID: "other", Contents: "one", Board: "board"}); known || err != nil {
		t.Errorf("another key is known: %v, %v", known, err)
	}
	b.submit("last")
	b.run(b.inbox, b.handler())
	await(t, "the events", func() bool { _, n := b.seen(); return n == 2 })
	if got := strings.Join(b.eventIDs(), " "); got != "key last" {
		t.Errorf("handled %s, want each once", got)
	}
}

func inboxNewer(t *testing.T, b *inboxBench) {
	if err := b.inbox.Submit(t.Context(), pipeline.Event{V: 2, ID: "new", Board: "board"}); err != nil {
		t.Fatal(err)
	}
	b.submit("old")
	b.run(b.inbox, b.handler())
	await(t, "the old event", func() bool { _, n := b.seen(); return n == 1 })
	if got := b.eventIDs(); got[0] != "old" {
		t.Errorf("got %v", got)
	}
	b.deadLetters(0)
}

func inboxFlush(t *testing.T, b *inboxBench) {
	b.run(b.inbox, b.handler())
	b.receive(delivery("d1"))
	if err := b.rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	b.receive(delivery("d2"))
	b.submit("e1")
	await(t, "all", func() bool { d, e := b.seen(); return d == 2 && e == 1 })
}
