package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/store/logs"
)

const (
	// keepLog is how long a log that nothing is added to stays in Redis.
	keepLog = 30 * 24 * time.Hour
	// keepSealed is how long a sealed one does, so that a late repeat of its
	// last append is known as such.
	keepSealed = time.Hour
	// logWait bounds one wait for a log to grow.
	logWait = 5 * time.Second
)

// LogTail keeps the growing ends of logs in Redis: what it acknowledged outlives
// any server. It implements logs.Tail.
type LogTail struct {
	store *Store
}

var _ logs.Tail = LogTail{}

// LogTail is the Store's place for the growing ends of logs.
func (s *Store) LogTail() LogTail { return LogTail{s} }

// logState are the fields of a log's state, in the order of parseState.
var logState = []string{"token", "start", "length", "lines", "sealed", "since"}

// loadLog loads a log in one step.
//
//	KEYS  state, tail, chunks
//	ARGV  1: with the tail, 1: with the chunks
//	returns {state fields..., tail, chunks...}, or {} if there is no log
var loadLog = redis.NewScript(`
local state = redis.call('HMGET', KEYS[1], 'token', 'start', 'length', 'lines', 'sealed', 'since')
if not state[1] then return {} end
for i = 1, 6 do state[i] = state[i] or '0' end
state[7] = ARGV[1] == '1' and redis.call('GET', KEYS[2]) or ''
if ARGV[2] == '1' then
  for i, c in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do state[7 + i] = c end
end
return state`)

// Load implements logs.Tail.
func (t LogTail) Load(ctx context.Context, id string, what logs.Parts) (logs.State, []byte, []logs.Chunk, error) {
	k := logKeys(id)
	got, err := t.store.run(ctx, loadLog, []string{k.state(), k.tail(), k.chunks()}, flag(what&logs.WithTail != 0), flag(what&logs.WithChunks != 0)).StringSlice()
	if err == nil && len(got) == 0 {
		err = logs.ErrNotFound
	}
	if err != nil {
		return logs.State{}, nil, nil, wrapped("loading a log's state", err)
	}
	state, err := parseState(got)
	if err != nil {
		return state, nil, nil, err
	}
	chunks := make([]logs.Chunk, len(got)-7)
	for i, data := range got[7:] {
		if err := json.Unmarshal([]byte(data), &chunks[i]); err != nil {
			return state, nil, nil, fmt.Errorf("decoding a chunk of a log: %w", err)
		}
	}
	return state, []byte(got[6]), chunks, nil
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func parseState(fields []string) (logs.State, error) {
	var n [6]int64
	if len(fields) < len(n) {
		return logs.State{}, errors.New("a log's state is incomplete")
	}
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return logs.State{}, fmt.Errorf("decoding a log's %s: %w", logState[i], err)
		}
	}
	s := logs.State{Token: n[0], Start: n[1], Length: n[2], Lines: n[3], Sealed: n[4] == 1}
	if n[5] > 0 {
		s.Since = time.UnixMilli(n[5])
	}
	return s, nil
}

// growLog adds to a log's tail.
//
//	KEYS  state, tail, chunks
//	ARGV  token, length that it must have, data, ms to keep it, channel
//	returns the state fields, or {} if the log is another one by now
var growLog = redis.NewScript(`
local time = redis.call('TIME')
local was = redis.call('HMGET', KEYS[1], 'token', 'length', 'sealed', 'since')
if (was[1] or ARGV[1]) ~= ARGV[1] or (was[2] or '0') ~= ARGV[2] or was[3] == '1' then return {} end
if not was[1] then redis.call('HSET', KEYS[1], 'v', 1, 'token', ARGV[1], 'start', 0, 'lines', 0, 'sealed', 0) end
local length = redis.call('HINCRBY', KEYS[1], 'length', #ARGV[3])
if (was[4] or '0') == '0' then redis.call('HSET', KEYS[1], 'since', time[1] * 1000 + math.floor(time[2] / 1000)) end
redis.call('APPEND', KEYS[2], ARGV[3])
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
redis.call('PUBLISH', ARGV[5], length)
return redis.call('HMGET', KEYS[1], 'token', 'start', 'length', 'lines', 'sealed', 'since')`)

// Append implements logs.Tail.
func (t LogTail) Append(ctx context.Context, id string, token, at int64, data []byte) (logs.State, error) {
	k := logKeys(id)
	got, err := t.store.run(ctx, growLog, []string{k.state(), k.tail(), k.chunks()}, token, at, data, keepLog.Milliseconds(), k.channel()).StringSlice()
	if err == nil && len(got) == 0 {
		err = logs.ErrMoved
	}
	if err != nil {
		return logs.State{}, wrapped("adding to a log's tail", err)
	}
	return parseState(got)
}

// flushLog replaces a log's tail by chunks.
//
//	KEYS  state, tail, chunks
//	ARGV  token, start and length that it must have, new start, new lines,
//	      ms to keep it, channel, chunks as JSON
//	returns 1, or 0 if the log is another one by now
var flushLog = redis.NewScript(`
local was = redis.call('HMGET', KEYS[1], 'token', 'start', 'length', 'sealed')
if (was[1] or ARGV[1]) ~= ARGV[1] or (was[2] or '0') ~= ARGV[2] or (was[3] or '0') ~= ARGV[3] or was[4] == '1' then return 0 end
redis.call('HSET', KEYS[1], 'v', 1, 'token', ARGV[1], 'start', ARGV[4], 'length', ARGV[4], 'lines', ARGV[5], 'sealed', 0, 'since', 0)
redis.call('DEL', KEYS[2])
for i = 8, #ARGV do redis.call('RPUSH', KEYS[3], ARGV[i]) end
for i = 1, 3, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[6]) end
redis.call('PUBLISH', ARGV[7], ARGV[4])
return 1`)

// Flush implements logs.Tail.
func (t LogTail) Flush(ctx context.Context, id string, was logs.State, token int64, chunks []logs.Chunk) error {
	k, last := logKeys(id), chunks[len(chunks)-1]
	args := []any{token, was.Start, was.Length, last.Start + last.Bytes, last.Line + last.Lines, keepLog.Milliseconds(), k.channel()}
	for _, c := range chunks {
		data, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encoding a chunk of a log: %w", err)
		}
		args = append(args, data)
	}
	return t.changed("flushing a log's tail", t.store.run(ctx, flushLog, []string{k.state(), k.tail(), k.chunks()}, args...))
}

func (t LogTail) changed(doing string, answer *redis.Cmd) error {
	n, err := answer.Int()
	if err == nil && n == 0 {
		err = logs.ErrMoved
	}
	return wrapped(doing, err)
}

// sealLog ends a log.
//
//	KEYS  state, tail, chunks
//	ARGV  start and length that it must have, ms to keep it, channel
//	returns 1, or 0 if the log is another one by now
var sealLog = redis.NewScript(`
local was = redis.call('HMGET', KEYS[1], 'start', 'length')
if was[1] ~= ARGV[1] or was[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'sealed', 1)
redis.call('DEL', KEYS[2])
for i = 1, 3, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
redis.call('PUBLISH', ARGV[4], ARGV[2])
return 1`)

// Seal implements logs.Tail.
func (t LogTail) Seal(ctx context.Context, id string, was logs.State) error {
	k := logKeys(id)
	keys := []string{k.state(), k.tail(), k.chunks()}
	return t.changed("sealing a log", t.store.run(ctx, sealLog, keys, was.Start, was.Length, keepSealed.Milliseconds(), k.channel()))
}

// Wait implements logs.Tail.
func (t LogTail) Wait(ctx context.Context, id string, at int64) error {
	return t.store.wait(ctx, logKeys(id).channel(), logWait, func(ctx context.Context) (bool, error) {
		state, _, _, err := t.Load(ctx, id, 0)
		if errors.Is(err, logs.ErrNotFound) {
			return false, nil
		}
		return state.Length > at || state.Sealed, err
	})
}
