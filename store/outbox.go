package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// clearAfter is how old a note must be before an empty outbox clears it. A
// commit that noted its Board has ended by then, so that none is missed.
const clearAfter = 2 * callTimeout

// dirtyLimit bounds one answer of Dirty.
const dirtyLimit = 1000

// markDirty notes a Board at the server's time.
//
//	KEYS  dirty
//	ARGV  board
var markDirty = redis.NewScript(`
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
return 1`)

// clearDirty takes a Board's note away if it is old enough.
//
//	KEYS  dirty
//	ARGV  board, ms
var clearDirty = redis.NewScript(`
local time = redis.call('TIME')
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if noted and tonumber(noted) <= time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2] then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0`)

// listDirty lists the Boards that were noted before an age.
//
//	KEYS  dirty
//	ARGV  ms, limit
var listDirty = redis.NewScript(`
local time = redis.call('TIME')
local before = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, ARGV[2])`)

// Outbox is the oldest n effects of a Board that were not relayed, in the order
// in which they were committed.
func (s *Store) Outbox(ctx context.Context, board string, n int) ([]pipeline.OutboxEntry, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	got, err := s.rdb.XRangeN(ctx, boardKeys(board).outbox(), "-", "+", int64(n)).Result()
	if err != nil {
		return nil, fmt.Errorf("reading the outbox of %s: %w", board, err)
	}
	var entries []pipeline.OutboxEntry
	for _, m := range got {
		e := pipeline.OutboxEntry{ID: m.ID}
		data, _ := m.Values["e"].(string)
		if err := json.Unmarshal([]byte(data), &e.Effect); err != nil {
			return nil, fmt.Errorf("decoding effect %s of %s: %w", m.ID, board, err)
		}
		if e.Effect.V > version {
			return nil, fmt.Errorf("effect %s of %s: %w", m.ID, board, errNewer)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// drain takes entries off an outbox.
//
//	KEYS  outbox
//	ARGV  IDs
//	returns how many are left
var drain = redis.NewScript(`
for i = 1, #ARGV do redis.call('XDEL', KEYS[1], ARGV[i]) end
local left = redis.call('XLEN', KEYS[1])
if left == 0 then redis.call('DEL', KEYS[1]) end
return left`)

// Relayed takes effects off a Board's outbox. It may be repeated. Called with
// no IDs it sees to it that Dirty no longer lists a Board whose outbox is empty.
func (s *Store) Relayed(ctx context.Context, board string, ids ...string) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	left, err := s.run(ctx, drain, []string{boardKeys(board).outbox()}, args...).Int()
	if err == nil && left == 0 {
		err = s.run(ctx, clearDirty, []string{dirtyKey()}, board, clearAfter.Milliseconds()).Err()
	}
	if err != nil {
		return fmt.Errorf("clearing the outbox of %s: %w", board, err)
	}
	return nil
}

// Dirty lists Boards whose last commit is older than age and whose outbox may
// not be empty, the oldest first, at most 1,000. A Board is listed until
// Relayed finds its outbox empty ten seconds after its last commit.
func (s *Store) Dirty(ctx context.Context, age time.Duration) ([]string, error) {
	boards, err := s.run(ctx, listDirty, []string{dirtyKey()}, age.Milliseconds(), dirtyLimit).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("listing boards with effects: %w", err)
	}
	return boards, nil
}

// outboxLate is the age from which a Board's unrelayed effects are a backlog;
// below that, a note may only not have been cleared yet.
const outboxLate = 15 * time.Second

// countLate counts the Boards that were noted before an age.
//
//	KEYS  dirty
//	ARGV  ms
//	returns how many, and the age of the oldest in ms
var countLate = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not oldest[2] or now - tonumber(oldest[2]) < tonumber(ARGV[1]) then return {0, 0} end
return {redis.call('ZCOUNT', KEYS[1], '-inf', now - ARGV[1]), now - tonumber(oldest[2])}`)

// OutboxBacklog is how many Boards have effects that were not relayed for 15
// seconds, and since when the oldest has.
func (s *Store) OutboxBacklog(ctx context.Context) (boards int64, oldest time.Duration, err error) {
	n, err := s.run(ctx, countLate, []string{dirtyKey()}, outboxLate.Milliseconds()).Int64Slice()
	if err == nil && len(n) != 2 {
		err = fmt.Errorf("the answer has %d numbers", len(n))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("counting boards with effects: %w", err)
	}
	return n[0], time.Duration(n[1]) * time.Millisecond, nil
}

// takeLease takes a lease that nobody holds.
//
//	KEYS  lease, fence
//	ARGV  ms
//	returns its token, or 0
var takeLease = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token`)

// releaseLease gives back a lease that is still held.
//
//	KEYS  lease
//	ARGV  token
var releaseLease = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`)

// Lease takes a named lease for ttl; ok is false while somebody else has it.
// release gives it back early and does nothing once it has run out.
func (s *Store) Lease(ctx context.Context, name string, ttl time.Duration) (release func(), ok bool, err error) {
	token, err := s.run(ctx, takeLease, []string{leaseKey(name), fenceKey(name)}, ttl.Milliseconds()).Int64()
	if err != nil {
		return func() {}, false, fmt.Errorf("taking lease %s: %w", name, err)
	}
	if token == 0 {
		return func() {}, false, nil
	}
	// The caller's context may be over when it lets go.
	ctx = context.WithoutCancel(ctx)
	return func() {
		if err := s.run(ctx, releaseLease, []string{leaseKey(name)}, token).Err(); err != nil {
			s.log.WarnContext(ctx, "a lease is left to run out", "lease", name, "error", err)
		}
	}, true, nil
}
