package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// InboxOptions are the settings of an Inbox. The zero value is the default.
type InboxOptions struct {
	// Lease is how long an entry stays with a process that has died; 0 means
	// 15 s, and less than a second a second.
	Lease time.Duration
	// Tries is how often an entry is handled before it is a dead letter; 0
	// means 8.
	Tries int
	// Deaths is how many processes may die over an entry before it is a dead
	// letter; 0 means 30. A process that was killed says nothing against what it
	// had in hand; thirty of them do.
	Deaths int
	// Retry is how long the first retry waits, and each next one twice as long
	// up to MaxRetry, with jitter; 0 means 1 s and 5 min.
	Retry, MaxRetry time.Duration
	// Patience is for how long a delivery is tried again when its forge asks to
	// be left alone or is away, which doesn't count as a try; 0 means 24 h.
	Patience time.Duration
	// Handle bounds the handling of one entry; 0 means 2 min.
	Handle time.Duration
	// Remember is how long a repeated delivery is known as such; 0 means 8 days.
	Remember time.Duration
	// Keep and KeepCount are how long the ledger keeps a delivery, and about
	// how many it keeps at most; 0 means 30 days and 100,000.
	Keep      time.Duration
	KeepCount int
}

func (o InboxOptions) withDefaults() InboxOptions {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	const day = 24 * time.Hour
	set(&o.Lease, 15*time.Second)
	set(&o.Retry, time.Second)
	set(&o.MaxRetry, 5*time.Minute)
	set(&o.Handle, 2*time.Minute)
	set(&o.Patience, day)
	set(&o.Remember, 8*day)
	set(&o.Keep, 30*day)
	o.Lease = max(o.Lease, time.Second)
	if o.Tries == 0 {
		o.Tries = 8
	}
	if o.Deaths == 0 {
		o.Deaths = 30
	}
	if o.KeepCount == 0 {
		o.KeepCount = 100_000
	}
	return o
}

// Inbox takes deliveries and events for the orchestrators, and keeps the
// ledger of deliveries. It is safe for concurrent use.
type Inbox struct {
	rdb      redis.UniversalClient
	opts     InboxOptions
	consumer string
	log      *slog.Logger
	packer   func() (*zstd.Encoder, error)
	outage   outage

	mu         sync.Mutex
	durability Durability // as last found
	inspected  bool
}

// NewInbox makes an Inbox over a client that the caller closes.
func NewInbox(rdb redis.UniversalClient, opts InboxOptions, log *slog.Logger) *Inbox {
	return &Inbox{
		rdb: rdb, opts: opts.withDefaults(), consumer: uuid.NewString(), log: log, outage: outage{log: log},
		packer: sync.OnceValues(func() (*zstd.Encoder, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
		}),
	}
}

// receive records a delivery and queues it, unless it was received before. A
// delivery that was given up on may be received again.
//
//	KEYS  seen, record, ledger of all, ledger of the forge, stream
//	ARGV  member, head, body, decision (empty: queue it), arrival in us, ms to
//	      remember, ms to keep, how many to keep, oldest arrival to keep in us,
//	      base of records
//	returns 1, or 0 if it is a repeat
var receive = redis.NewScript(`
local seen = redis.call('GET', KEYS[1])
if seen and seen ~= 'failed' then return 0 end
redis.call('SET', KEYS[1], 'queued', 'PX', ARGV[6])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'head', ARGV[2], 'body', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
for i = 3, 4 do
  redis.call('ZADD', KEYS[i], ARGV[5], ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', ARGV[9])
end
if redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[8]) then
  local old = redis.call('ZPOPMIN', KEYS[3])[1]
  redis.call('DEL', ARGV[10] .. old)
end
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[8] - 1)
if ARGV[4] == '' then
  redis.call('XADD', KEYS[5], '*', 'k', 'delivery', 'v', ARGV[1], 'n', '0')
else
  redis.call('HSET', KEYS[2], 'decision', ARGV[4])
end
return 1`)

// Receive records a delivery in the ledger and queues it in one step, once for
// each forge and ID: for a repeat fresh is false and nothing changes. When it
// returns, the delivery is as durable as the server allows; see Durability. A
// delivery that has a Decision is recorded and not queued.
func (in *Inbox) Receive(ctx context.Context, d pipeline.Delivery) (fresh bool, err error) {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now().UTC()
	}
	d.V, d.Verdict = 1, pipeline.Accepted
	body, decision := d.Body, ""
	if d.Decision != "" {
		data, err := json.Marshal(decisionOf(d))
		if err != nil {
			return false, fmt.Errorf("encoding the decision on delivery %s: %w", d.ID, err)
		}
		decision = string(data)
	}
	d.Body, d.Decision, d.Reason, d.Executions = nil, "", "", nil
	head, err := json.Marshal(d)
	if err != nil {
		return false, fmt.Errorf("encoding delivery %s: %w", d.ID, err)
	}
	m := member(d.Forge, d.ID)
	s := shardOf(m)
	keys := []string{s.seen(m), s.record(m), s.ledger(""), s.ledger(d.Forge), s.events()}
	answer, err := in.durably(ctx, receive, keys, m, head, body, decision, d.ReceivedAt.UnixMicro(),
		in.opts.Remember.Milliseconds(), in.opts.Keep.Milliseconds(), (in.opts.KeepCount+shards-1)/shards,
		d.ReceivedAt.Add(-in.opts.Keep).UnixMicro(), s.recordBase())
	if err != nil {
		return false, fmt.Errorf("receiving delivery %s: %w", d.ID, err)
	}
	return answer == 1, nil
}

// eventLimitBytes bounds one event in the queue.
const eventLimitBytes = 4 << 20

// keyMemory is for how long an event's contents are known, where it has some (CodePipeline
// reference 3.2).
const keyMemory = 24 * time.Hour

// addEvent queues an event. One with contents is queued once for its mark.
//
//	KEYS  stream, mark
//	ARGV  event as JSON, digest of its contents (empty: no mark), ms to remember
//	returns 1, 0 if it is a repeat, or -1 if the mark is that of other contents
var addEvent = redis.NewScript(`
if ARGV[2] ~= '' then
  local known = redis.call('GET', KEYS[2])
  if known then return known == ARGV[2] and 0 or -1 end
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
redis.call('XADD', KEYS[1], '*', 'k', 'event', 'v', ARGV[1], 'n', '0')
return 1`)

// Submit queues an event. Events of one Board are handled in order, unless one
// fails and is tried again later. When it returns, the event is as durable as
// the server allows. One that has Contents and comes again within a day changes
// nothing; with others it is refused.
func (in *Inbox) Submit(ctx context.Context, e pipeline.Event) error {
	if e.V == 0 {
		e.V = 1
	}
	data, err := json.Marshal(e)
	if err == nil && len(data) > eventLimitBytes {
		err = fmt.Errorf("it takes %d bytes, the limit is %d", len(data), eventLimitBytes)
	}
	if err != nil {
		return fmt.Errorf("encoding event %s: %w", e.ID, err)
	}
	s := shardOf(e.Board)
	added, err := in.durably(ctx, addEvent, []string{s.events(), s.keyed(e.ID)}, data, e.Contents, keyMemory.Milliseconds())
	if err != nil {
		return fmt.Errorf("submitting event %s: %w", e.ID, err)
	}
	if added < 0 {
		return pipeline.OtherContents()
	}
	return nil
}

// Submitted reports whether an event with Contents was submitted in the last
// day; as Submit does, it refuses one that had others.
func (in *Inbox) Submitted(ctx context.Context, e pipeline.Event) (bool, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	known, err := in.rdb.Get(ctx, shardOf(e.Board).keyed(e.ID)).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for event %s: %w", e.ID, err)
	case known != e.Contents:
		return false, pipeline.OtherContents()
	}
	return true, nil
}

// durably runs a script that answers with a number and waits, where the server
// can say so, until what it wrote is on disk.
func (in *Inbox) durably(ctx context.Context, s *redis.Script, keys []string, args ...any) (int64, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	mode, err := in.mode(ctx)
	if err != nil {
		return 0, err
	}
	if mode != DurableByAcknowledgement {
		return s.Run(ctx, in.rdb, keys, args...).Int64()
	}
	// The acknowledgement counts for the connection that wrote.
	node, err := nodeOf(ctx, in.rdb, keys[0])
	if err != nil {
		return 0, err
	}
	answer, err := acknowledged(ctx, node, s.EvalSha, keys, args)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		answer, err = acknowledged(ctx, node, s.Eval, keys, args)
	}
	return answer, err
}

// evaluate is EvalSha or Eval of a script.
type evaluate func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// errNotOnDisk: the entry is queued, but may be lost if the server dies now.
var errNotOnDisk = errors.New("the server did not write it to disk in time")

func acknowledged(ctx context.Context, node redis.UniversalClient, run evaluate, keys []string, args []any) (int64, error) {
	var answer, wait *redis.Cmd
	_, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		answer = run(ctx, p, keys, args...)
		wait = p.Do(ctx, "WAITAOF", 1, 0, (callTimeout / 2).Milliseconds())
		return nil
	})
	if answer.Err() != nil {
		return 0, answer.Err()
	}
	if err != nil {
		return 0, err
	}
	if local, err := wait.Int64Slice(); err != nil || len(local) == 0 || local[0] < 1 {
		return 0, errors.Join(errNotOnDisk, err)
	}
	return answer.Int64()
}

func decisionOf(d pipeline.Delivery) record {
	return record{V: 1, Decision: d.Decision, Reason: d.Reason, Executions: d.Executions, DecidedAt: d.DecidedAt}
}
