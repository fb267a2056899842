package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// markReport makes a report due at once, unless it is claimed: then it is due
// when the claim ends.
//
//	KEYS  installations, due, marks, claims
//	ARGV  installation, execution
var markReport = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local name = ARGV[1] .. '/' .. ARGV[2]
redis.call('HINCRBY', KEYS[3], name, 1)
if redis.call('HEXISTS', KEYS[4], name) == 1 then return 0 end
redis.call('ZADD', KEYS[2], 'LT', now, ARGV[2])
redis.call('ZADD', KEYS[1], 'LT', now, ARGV[1])
return 1`)

// claimReport hands out the report that is due the longest. One whose claim
// ran out is due again.
//
//	KEYS  installations, marks, claims
//	ARGV  base of due, claim, ms of the lease
//	returns {installation, execution, mark}, or {}
var claimReport = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, installation in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)) do
  local due = ARGV[1] .. installation
  local execution = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 1)[1]
  if execution then
    redis.call('HSET', KEYS[3], installation .. '/' .. execution, ARGV[2])
    redis.call('ZADD', due, now + ARGV[3], execution)
  end
  local next = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  if next then redis.call('ZADD', KEYS[1], next, installation) else redis.call('ZREM', KEYS[1], installation) end
  if execution then
    return {installation, execution, redis.call('HGET', KEYS[2], installation .. '/' .. execution) or '0'}
  end
end
return {}`)

// endClaim takes a report off the list, or makes it due again.
//
//	KEYS  installations, due, marks, claims
//	ARGV  installation, execution, claim, mark, when it is due in ms if it was
//	      not marked meanwhile (0: never)
//	returns 1, or 0 if the claim has run out
var endClaim = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local name = ARGV[1] .. '/' .. ARGV[2]
if redis.call('HGET', KEYS[4], name) ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[4], name)
local due = tonumber(ARGV[5])
if redis.call('HGET', KEYS[3], name) ~= ARGV[4] then due = now end
if due == 0 then
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('HDEL', KEYS[3], name)
else
  redis.call('ZADD', KEYS[2], due, ARGV[2])
end
local next = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if next then redis.call('ZADD', KEYS[1], next, ARGV[1]) else redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1`)

// MarkReport notes that a forge is to hear of an execution's present state, at
// once. Marks that come before the report is made are one report.
func (s *Store) MarkReport(ctx context.Context, forge string, installation int64, execution string) error {
	k := reportKeys(forge)
	keys := []string{k.installations(), k.due(installation), k.marks(), k.claims()}
	if err := s.run(ctx, markReport, keys, installation, execution).Err(); err != nil {
		return fmt.Errorf("marking the report of %s: %w", execution, err)
	}
	s.publish(ctx, k.channel(), execution)
	return nil
}

// Reports are what one forge is to hear.
type Reports struct {
	store *Store
	forge string
}

// Reports are the reports that wait for a forge.
func (s *Store) Reports(forge string) *Reports { return &Reports{store: s, forge: forge} }

// ClaimReport hands out an item that is due and hides it for the lease.
// ErrNotFound: none is due. Installations take turns.
func (r *Reports) ClaimReport(ctx context.Context, lease time.Duration) (pipeline.ReportItem, error) {
	k, claim := reportKeys(r.forge), uuid.NewString()
	got, err := r.store.run(ctx, claimReport, []string{k.installations(), k.marks(), k.claims()}, k.dueBase(), claim, lease.Milliseconds()).StringSlice()
	if err == nil && len(got) != 3 {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return pipeline.ReportItem{}, fmt.Errorf("claiming a report: %w", err)
	}
	installation, err := strconv.ParseInt(got[0], 10, 64)
	if err != nil {
		return pipeline.ReportItem{}, fmt.Errorf("claiming a report: %w", err)
	}
	return pipeline.ReportItem{Forge: r.forge, Installation: installation, Execution: got[1], Claim: claim + " " + got[2]}, nil
}

// FinishReport takes the item off the list, unless it was marked again since
// the claim: then it is due at once. A claim that has run out and was made
// again by somebody else changes nothing.
func (r *Reports) FinishReport(ctx context.Context, item pipeline.ReportItem) error {
	return r.end(ctx, "finishing", item, 0)
}

// DeferReport gives the item back, due at until, or at once if it was marked
// again since the claim.
func (r *Reports) DeferReport(ctx context.Context, item pipeline.ReportItem, until time.Time) error {
	return r.end(ctx, "deferring", item, max(1, until.UnixMilli()))
}

func (r *Reports) end(ctx context.Context, doing string, item pipeline.ReportItem, due int64) error {
	claim, mark, _ := strings.Cut(item.Claim, " ")
	k := reportKeys(r.forge)
	keys := []string{k.installations(), k.due(item.Installation), k.marks(), k.claims()}
	n, err := r.store.run(ctx, endClaim, keys, item.Installation, item.Execution, claim, mark, due).Int()
	if err != nil {
		return fmt.Errorf("%s the report of %s: %w", doing, item.Execution, err)
	}
	if n == 1 && due > 1 {
		return nil
	}
	r.store.publish(ctx, k.channel(), item.Execution)
	return nil
}

// Wait returns when a report may be due: one was marked, one that was deferred
// is due, fallback is over, or ctx ended.
func (r *Reports) Wait(ctx context.Context, fallback time.Duration) error {
	k := reportKeys(r.forge)
	next, err := r.next(ctx, k)
	if err != nil {
		return err
	}
	return r.store.wait(ctx, k.channel(), min(next, fallback), func(ctx context.Context) (bool, error) {
		next, err := r.next(ctx, k)
		return next <= 0, err
	})
}

// next is how long it is until the first report is due.
func (r *Reports) next(ctx context.Context, k reportKeys) (time.Duration, error) {
	first, err := r.store.rdb.ZRangeWithScores(ctx, k.installations(), 0, 0).Result()
	if err != nil {
		if ctx.Err() != nil {
			return time.Hour, nil
		}
		return 0, fmt.Errorf("looking for reports: %w", err)
	}
	if len(first) == 0 {
		return time.Hour, nil
	}
	return time.Until(time.UnixMilli(int64(first[0].Score))), nil
}

// ReportState is what SaveReportState stored for the execution and kind.
// ErrNotFound: nothing.
func (s *Store) ReportState(ctx context.Context, execution, kind string) ([]byte, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	state, err := s.rdb.Get(ctx, reportStateKey(execution, kind)).Bytes()
	if errors.Is(err, redis.Nil) {
		err = pipeline.ErrNotFound
	}
	return state, wrapped("loading what was reported of "+execution, err)
}

// SaveReportState keeps what was reported of an execution as long as the
// execution. The state is the caller's own JSON.
func (s *Store) SaveReportState(ctx context.Context, execution, kind string, state []byte) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("saving what was reported of "+execution, s.rdb.Set(ctx, reportStateKey(execution, kind), state, s.keep).Err())
}
