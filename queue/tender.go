package queue

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// tender keeps the entries that this process handles its own, takes over what
// dead processes left, and puts back what is to be tried again.
type tender struct {
	in *Inbox

	mu       sync.Mutex
	handling [shards]map[string]bool // entry IDs
}

func (t *tender) begin(s shard, entry string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handling[s] == nil {
		t.handling[s] = map[string]bool{}
	}
	t.handling[s][entry] = true
}

func (t *tender) end(s shard, entry string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.handling[s], entry)
}

// tendShard does all that one part needs.
//
//	KEYS  stream, retries, retriesData, dead
//	ARGV  group, consumer, ms after which an entry counts as left, deaths of its
//	      processes after which it is dead, base of seen marks, most dead letters, and then the
//	      entries being handled here
//	returns ms until the next retry is due, -1: none
var tendShard = redis.NewScript(`
local stream, group = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', stream) == 0 then redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM') end
for i = 7, #ARGV do
  if #redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1, ARGV[2]) > 0 then
    redis.call('XCLAIM', stream, group, ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
for _, p in ipairs(redis.call('XPENDING', stream, group, 'IDLE', ARGV[3], '-', '+', 100)) do
  redis.call('XACK', stream, group, p[1])
  local e = redis.call('XRANGE', stream, p[1], p[1])[1]
  if e then
    local f = {}
    for i = 1, #e[2], 2 do f[e[2][i]] = e[2][i + 1] end
    redis.call('XDEL', stream, p[1])
    local d = tonumber(f.d or '0') + 1
    if d >= tonumber(ARGV[4]) then
      redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', 'k', f.k, 'v', f.v, 'n', d, 'why', 'its process died each time', 'at', now)
      if f.k == 'delivery' and redis.call('EXISTS', ARGV[5] .. f.v) == 1 then redis.call('SET', ARGV[5] .. f.v, 'failed', 'KEEPTTL') end
    else
      redis.call('XADD', stream, '*', 'k', f.k, 'v', f.v, 'n', f.n, 'd', d)
    end
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
  local f = cjson.decode(redis.call('HGET', KEYS[3], id))
  redis.call('XADD', stream, '*', 'k', f[1], 'v', f[2], 'n', f[3])
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local f = {}
  for i = 1, #c, 2 do f[c[i]] = c[i + 1] end
  if f.pending == 0 and f.idle > 3600000 then redis.call('XGROUP', 'DELCONSUMER', stream, group, f.name) end
end
local due = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
return due and math.max(0, due - now) or -1`)

// run tends all parts in one round trip, five times a lease and whenever a
// retry is due.
func (t *tender) run(ctx context.Context) {
	tick := t.in.opts.Lease / 5
	for {
		next, err := t.tend(ctx)
		if ctx.Err() == nil {
			t.in.outage.note(ctx, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(tick, next)):
		}
	}
}

func (t *tender) tend(ctx context.Context) (next time.Duration, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	next = t.in.opts.Lease
	answers, err := t.send(ctx, tendShard.EvalSha)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		answers, err = t.send(ctx, tendShard.Eval)
	}
	if err != nil {
		return next, err
	}
	for _, a := range answers {
		due, err := a.Int64()
		if err != nil {
			return next, err
		}
		if due >= 0 {
			next = min(next, max(time.Duration(due+1)*time.Millisecond, 10*time.Millisecond))
		}
	}
	return next, nil
}

func (t *tender) send(ctx context.Context, run evaluate) ([]*redis.Cmd, error) {
	t.mu.Lock()
	var handling [shards][]any
	for s, entries := range t.handling {
		for id := range entries {
			handling[s] = append(handling[s], id)
		}
	}
	t.mu.Unlock()
	// A little less than the lease, so that with the time to the next look an
	// entry is taken over within it.
	left := t.in.opts.Lease - t.in.opts.Lease/5
	var answers []*redis.Cmd
	_, err := t.in.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for s := range shard(shards) {
			keys := []string{s.events(), s.retries(), s.retriesData(), s.dead()}
			args := []any{inboxGroup, t.in.consumer, left.Milliseconds(), t.in.opts.Deaths, s.seen(""), deadLimit}
			answers = append(answers, run(ctx, p, keys, append(args, handling[s]...)...))
		}
		return nil
	})
	return answers, err
}
