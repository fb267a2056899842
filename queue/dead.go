package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// deadLimit bounds the dead letters of one part; the oldest go first.
const deadLimit = 10_000

// DeadLetter is an entry of the inbox that failed too often.
type DeadLetter struct {
	ID       string          `json:"id"`
	Queue    string          `json:"queue"` // delivery or event
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	FailedAt time.Time       `json:"failed_at"`
	Entry    json.RawMessage `json:"entry,omitempty"` // the event, or the delivery's forge/ID
}

// buryEntry moves an entry to the dead letters.
//
//	KEYS  stream, dead, seen, record
//	ARGV  group, entry, kind, value, tries, why, most dead letters, decision, now in ms
var buryEntry = redis.NewScript(`
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if redis.call('XDEL', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], '*', 'k', ARGV[3], 'v', ARGV[4], 'n', ARGV[5], 'why', ARGV[6], 'at', ARGV[9])
if ARGV[3] == 'delivery' then
  if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('SET', KEYS[3], 'failed', 'KEEPTTL') end
  if redis.call('EXISTS', KEYS[4]) == 1 then redis.call('HSET', KEYS[4], 'decision', ARGV[8]) end
end
return 1`)

func (in *Inbox) bury(ctx context.Context, s shard, it item, why string) error {
	now := time.Now().UTC()
	why = why[:min(len(why), 2000)]
	decision, err := json.Marshal(record{V: 1, Decision: pipeline.DecisionFailed, Reason: why, DecidedAt: now})
	if err != nil {
		return fmt.Errorf("encoding a decision: %w", err)
	}
	keys := []string{s.events(), s.dead(), s.seen(it.value), s.record(it.value)}
	if it.kind != "delivery" { // its value is no name
		keys[2], keys[3] = s.seen(""), s.record("")
	}
	return buryEntry.Run(ctx, in.rdb, keys, inboxGroup, it.id, it.kind, it.value, it.tries, why, deadLimit, decision, now.UnixMilli()).Err()
}

// DeadLetters lists what failed too often, the newest first. limit is 1 to 200,
// 0 means 50; after is the page before's Next.
func (in *Inbox) DeadLetters(ctx context.Context, limit int, after string) (pipeline.Page[DeadLetter], error) {
	var page pipeline.Page[DeadLetter]
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, pageLimit)
	from, err := parseAfter(after)
	if err != nil {
		return page, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	var all []deadLine
	for s := range shard(shards) {
		got, err := in.rdb.XRevRangeN(ctx, s.dead(), strconv.FormatInt(from.at, 10), "-", int64(limit+pageLimit)).Result()
		if err != nil {
			return page, fmt.Errorf("listing dead letters: %w", err)
		}
		for _, m := range got {
			if l := deadLineOf(s, m); newer(l.line, from) > 0 {
				all = append(all, l)
			}
		}
	}
	slices.SortFunc(all, func(a, b deadLine) int { return newer(a.line, b.line) })
	if len(all) > limit {
		all = all[:limit]
		page.Next = nextToken(all[limit-1].line)
	}
	for _, l := range all {
		page.Items = append(page.Items, l.letter)
	}
	return page, nil
}

// deadLine is a dead letter and its place in the list: by the time in its
// entry's ID, in ms, and by its own ID.
type deadLine struct {
	line
	letter DeadLetter
}

func deadLineOf(s shard, m redis.XMessage) deadLine {
	it := itemOf(m)
	text := func(name string) string { v, _ := m.Values[name].(string); return v }
	ms, _, _ := strings.Cut(m.ID, "-")
	at, _ := strconv.ParseInt(ms, 10, 64)             // Redis made it
	failed, _ := strconv.ParseInt(text("at"), 10, 64) // we made it
	l := DeadLetter{
		ID: strconv.Itoa(int(s)) + "." + m.ID, Queue: it.kind, Reason: text("why"), Attempts: it.tries,
		FailedAt: time.UnixMilli(cmp.Or(failed, at)).UTC(),
	}
	if it.kind == "event" && json.Valid([]byte(it.value)) {
		l.Entry = json.RawMessage(it.value)
	} else {
		l.Entry, _ = json.Marshal(it.value) // a string always encodes
	}
	return deadLine{line{at: at, member: l.ID}, l}
}

// replayDead queues a dead letter again, with all its tries before it.
//
//	KEYS  dead, stream
//	ARGV  entry, base of seen marks
//	returns 1, or 0 if there is no such entry
var replayDead = redis.NewScript(`
local e = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not e then return 0 end
local f = {}
for i = 1, #e[2], 2 do f[e[2][i]] = e[2][i + 1] end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[2], '*', 'k', f.k, 'v', f.v, 'n', '0')
if f.k == 'delivery' and redis.call('EXISTS', ARGV[2] .. f.v) == 1 then
  redis.call('SET', ARGV[2] .. f.v, 'queued', 'KEEPTTL')
end
return 1`)

// ReplayDead queues a dead letter again. ErrNotFound: there is none of that ID.
func (in *Inbox) ReplayDead(ctx context.Context, id string) error {
	number, entry, _ := strings.Cut(id, ".")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= shards || !entryID(entry) {
		return fmt.Errorf("replaying dead letter %q: %w", id, pipeline.ErrNotFound)
	}
	s := shard(n)
	found, err := in.durably(ctx, replayDead, []string{s.dead(), s.events()}, entry, s.seen(""))
	if err == nil && found == 0 {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("replaying dead letter %q: %w", id, err)
	}
	return nil
}

// entryID says whether Redis could have given that ID to an entry.
func entryID(s string) bool {
	ms, n, found := strings.Cut(s, "-")
	_, err := strconv.ParseUint(ms, 10, 64)
	_, err2 := strconv.ParseUint(n, 10, 64)
	return found && err == nil && err2 == nil
}
