package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// Handler is what orchestrators do with what comes in. Both may be called
// again for the same thing. An error, or a panic, means that it is tried again
// later, and given up after too many tries.
type Handler struct {
	Delivery func(ctx context.Context, d pipeline.Delivery) (pipeline.Decision, error)
	Event    func(ctx context.Context, e pipeline.Event) error
}

const (
	inboxGroup = "orchestrator"
	// inboxBlock bounds one blocking read. Cancelling closes the connection.
	inboxBlock = 30 * time.Second
	// errorPause is how long a reader rests when Redis doesn't answer.
	errorPause = time.Second
)

// Run handles what comes in until ctx ends: events one at a time in each of 16
// parts, deliveries beside them in any order. Any number of processes may run one; they share the work, and take
// over what a dead one left within the lease. What was being handled when ctx
// ended is handled to its end, or again by another process.
func (in *Inbox) Run(ctx context.Context, h Handler) error {
	waiting := blocking(in.rdb)
	stop := context.AfterFunc(ctx, func() {
		if err := closeBlocking(waiting, in.rdb); err != nil {
			in.log.WarnContext(ctx, "connections left open", "error", err)
		}
	})
	defer stop()
	t := &tender{in: in}
	var g sync.WaitGroup
	r := &reader{in: in, waiting: waiting, handler: h, tender: t, aside: make(chan struct{}, deliveriesAtOnce)}
	for s := range shard(shards) {
		g.Go(func() { r.read(ctx, s) })
	}
	g.Go(func() { t.run(ctx) })
	g.Wait()
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx)
	}
	return nil
}

const (
	// deliveriesAtOnce is how many deliveries a process handles at a time. More
	// would get no more done and take processor and disk from answering webhooks.
	deliveriesAtOnce = 8
	// roomWait is how long a delivery waits for room. One that finds none makes
	// way for what comes behind it, and is looked at again after busyPause.
	roomWait  = time.Second
	busyPause = 3 * time.Second
)

// errBusy: all deliveries in hand wait for their forges.
var errBusy = errors.New("too many deliveries wait for their forges")

// reader reads the parts. Events are handled in their order within a part.
// Deliveries ask forges and repositories, which may take long or never answer,
// so they are handled aside: no execution waits for another one's forge.
type reader struct {
	in      *Inbox
	waiting redis.UniversalClient
	handler Handler
	tender  *tender
	aside   chan struct{}
}

func (r *reader) read(ctx context.Context, s shard) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	for ctx.Err() == nil {
		entry, err := readOne(ctx, r.waiting, s.events(), inboxGroup, r.in.consumer, inboxBlock)
		switch {
		case err == nil:
			r.in.outage.note(ctx, nil)
			r.take(context.WithoutCancel(ctx), s, entry, &deliveries)
		case errors.Is(err, redis.Nil):
			r.in.outage.note(ctx, nil)
		case ctx.Err() != nil:
		case isNoGroup(err):
			err = r.in.makeGroup(ctx, s)
			fallthrough
		default:
			r.in.rest(ctx, err)
		}
	}
}

// take handles an entry, has it handled aside if there is room, or puts it off.
func (r *reader) take(ctx context.Context, s shard, m redis.XMessage, deliveries *sync.WaitGroup) {
	it := itemOf(m)
	r.tender.begin(s, it.id)
	handle := func() {
		defer r.tender.end(s, it.id)
		r.in.handle(ctx, s, it, r.handler)
	}
	if it.kind != "delivery" {
		handle()
		return
	}
	wait := time.NewTimer(roomWait)
	defer wait.Stop()
	select {
	case r.aside <- struct{}{}:
		deliveries.Go(func() {
			defer func() { <-r.aside }()
			handle()
		})
	case <-wait.C:
		defer r.tender.end(s, it.id)
		if err := r.in.failed(ctx, s, it, &postponed{errBusy, busyPause + rand.N(busyPause)}); err != nil {
			r.in.log.WarnContext(ctx, "an entry of the inbox is left to be taken over", "error", err)
		}
	}
}

func (in *Inbox) makeGroup(ctx context.Context, s shard) error {
	err := in.rdb.XGroupCreateMkStream(ctx, s.events(), inboxGroup, "0").Err()
	if redis.HasErrorPrefix(err, "BUSYGROUP") {
		return nil
	}
	return err
}

// rest waits a little if there was an error.
func (in *Inbox) rest(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	in.outage.note(ctx, err)
	select {
	case <-ctx.Done():
	case <-time.After(errorPause/2 + rand.N(errorPause)):
	}
}

// item is an entry of an inbox stream.
type item struct {
	id    string // of the entry
	kind  string // delivery, event
	value string
	tries int // failed ones
}

func itemOf(m redis.XMessage) item {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	tries, _ := strconv.Atoi(text("n")) // a broken entry begins anew and dies soon
	return item{id: m.ID, kind: text("k"), value: text("v"), tries: tries}
}

// handle handles one entry and records what came of it. What can't be recorded
// is taken over and handled again.
func (in *Inbox) handle(ctx context.Context, s shard, it item, h Handler) {
	decision, err := in.guarded(ctx, s, it, h)
	if err == nil {
		err = in.settle(ctx, s, it, decision)
	} else {
		in.log.WarnContext(ctx, "an entry of the inbox failed", "kind", it.kind, "attempt", it.tries+1, "error", err)
		err = in.failed(ctx, s, it, err)
	}
	if err != nil {
		in.log.WarnContext(ctx, "an entry of the inbox is left to be taken over", "error", err)
	}
}

// guarded calls the handler with a time limit and turns a panic into an error.
func (in *Inbox) guarded(ctx context.Context, s shard, it item, h Handler) (d *pipeline.Decision, err error) {
	defer func() {
		if p := recover(); p != nil {
			in.log.ErrorContext(ctx, "a handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, in.opts.Handle, pipeline.ErrTimedOut)
	defer cancel()
	switch it.kind {
	case "event":
		var e pipeline.Event
		if err := json.Unmarshal([]byte(it.value), &e); err != nil {
			return nil, fmt.Errorf("decoding an event: %w", err)
		}
		if e.V > 1 {
			return nil, fmt.Errorf("event %s: %w", e.ID, errNewer)
		}
		return nil, in.postpone(e.At, h.Event(ctx, e))
	case "delivery":
		delivery, err := in.load(ctx, s, it.value)
		if err != nil {
			return nil, in.postpone(time.Now(), err)
		}
		decision, err := h.Delivery(ctx, delivery)
		return &decision, in.postpone(delivery.ReceivedAt, err)
	}
	return nil, fmt.Errorf("an entry of unknown kind %q", it.kind)
}

// postponed is a failure that says nothing against its entry: a forge asks to
// be left alone or is away, or Redis is.
type postponed struct {
	error
	wait time.Duration
}

func (p *postponed) Unwrap() error { return p.error }

// longestPostponement bounds what a forge may ask for; GitHub's limits last an
// hour.
const longestPostponement = time.Hour

// postpone marks a failure as postponed while what came in at since isn't too
// old for that. The pauses grow with its age.
func (in *Inbox) postpone(since time.Time, err error) error {
	after, later := pipeline.RetryAfter(err)
	later = later || away(err)
	age := time.Since(since)
	if !later || age > in.opts.Patience {
		return err
	}
	pause := max(in.opts.Retry, min(age/4, in.opts.MaxRetry), min(after, longestPostponement))
	return &postponed{err, pause + rand.N(pause/4+1)}
}

// away reports whether err says that Redis could not be reached, or is not
// ready yet.
func away(err error) bool {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, errSlow) {
		return true
	}
	for _, prefix := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// settleEntry takes an entry off and records the decision on its delivery. The
// body is kept packed from then on.
//
//	KEYS  stream, record
//	ARGV  group, entry, decision (empty: none), packed body (empty: leave it)
var settleEntry = redis.NewScript(`
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if ARGV[3] == '' or redis.call('EXISTS', KEYS[2]) == 0 then return 1 end
redis.call('HSET', KEYS[2], 'decision', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'zbody', ARGV[4])
  redis.call('HDEL', KEYS[2], 'body')
end
return 1`)

func (in *Inbox) settle(ctx context.Context, s shard, it item, d *pipeline.Decision) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	var decision, body []byte
	if d != nil {
		var err error
		decision, err = json.Marshal(record{V: 1, Decision: d.Decision, Reason: d.Reason, Executions: d.Executions, DecidedAt: time.Now().UTC()})
		if err != nil {
			return fmt.Errorf("encoding a decision: %w", err)
		}
		if body, err = in.packedBody(ctx, s, it.value); err != nil {
			return err
		}
	}
	return settleEntry.Run(ctx, in.rdb, []string{s.events(), s.record(it.value)}, inboxGroup, it.id, decision, body).Err()
}

// delayEntry takes an entry off to put it back later.
//
//	KEYS  stream, retries, retriesData
//	ARGV  group, entry, ms from now, {kind, value, failed tries} as JSON
var delayEntry = redis.NewScript(`
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if redis.call('XDEL', KEYS[1], ARGV[2]) == 0 then return 0 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[4])
return 1`)

// failed puts an entry off, or gives up on it.
func (in *Inbox) failed(ctx context.Context, s shard, it item, why error) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	pause := in.pause(it.tries + 1)
	if p, ok := errors.AsType[*postponed](why); ok {
		pause = p.wait
	} else if !errors.Is(why, errNewer) {
		it.tries++
	}
	if it.tries >= in.opts.Tries {
		return in.bury(ctx, s, it, why.Error())
	}
	data, err := json.Marshal([]string{it.kind, it.value, strconv.Itoa(it.tries)})
	if err != nil {
		return fmt.Errorf("encoding an entry: %w", err)
	}
	keys := []string{s.events(), s.retries(), s.retriesData()}
	return delayEntry.Run(ctx, in.rdb, keys, inboxGroup, it.id, pause.Milliseconds(), data).Err()
}

// pause is how long the next try waits: twice as long after each failure, and
// between half and all of that by chance.
func (in *Inbox) pause(tries int) time.Duration {
	d := in.opts.Retry
	for range min(tries, 30) - 1 {
		d = min(2*d, in.opts.MaxRetry)
	}
	return d/2 + rand.N(d/2+1)
}
