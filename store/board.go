package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// Board loads a Board with its live executions, and its version for Commit.
// ErrNotFound: there is none yet.
func (s *Store) Board(ctx context.Context, key string) (*pipeline.Board, int64, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	fields, err := s.rdb.HGetAll(ctx, boardKeys(key).board()).Result()
	if err == nil && len(fields) == 0 {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return nil, 0, fmt.Errorf("loading board %s: %w", key, err)
	}
	b, n, err := boardOf(fields)
	if err != nil {
		return nil, 0, fmt.Errorf("decoding board %s: %w", key, err)
	}
	return b, n, nil
}

func boardOf(fields map[string]string) (*pipeline.Board, int64, error) {
	b := &pipeline.Board{}
	if err := json.Unmarshal([]byte(fields["head"]), b); err != nil {
		return nil, 0, err
	}
	if b.V > version {
		return nil, 0, errNewer
	}
	n, err := strconv.ParseInt(fields["version"], 10, 64)
	if err != nil {
		return nil, 0, err
	}
	// A Board's maps are never nil; see pipeline.NewBoard.
	if b.Stages == nil {
		b.Stages = map[string]*pipeline.StageState{}
	}
	if b.Pulls == nil {
		b.Pulls = map[string]pipeline.OpenPull{}
	}
	b.Live = map[string]*pipeline.Execution{}
	for name, data := range fields {
		id, live := strings.CutPrefix(name, liveField(""))
		if !live {
			continue
		}
		x, err := executionOf(data)
		if err != nil {
			return nil, 0, fmt.Errorf("execution %s: %w", id, err)
		}
		b.Live[id] = &x
	}
	return b, n, nil
}

func executionOf(data string) (pipeline.Execution, error) {
	var x pipeline.Execution
	if err := json.Unmarshal([]byte(data), &x); err != nil {
		return x, err
	}
	if x.V > version {
		return x, errNewer
	}
	return x, nil
}

// commit writes a step of a Board, or nothing.
//
//	KEYS  board, consumed, outbox, one for each execution written
//	ARGV  version, event ID, ms to remember it, ms to keep ended executions,
//	      head, how many executions, then for each field, JSON and 1 if it has
//	      ended, then how many IDs to take off and their fields, then effects
//	returns 1, 0 if the version is another one, -1 if the event was consumed
var commit = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZSCORE', KEYS[2], ARGV[2]) then return -1 end
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1] + 1, 'head', ARGV[5])
local at = 7
for i = 1, tonumber(ARGV[6]) do
  if ARGV[at + 2] == '1' then
    redis.call('HDEL', KEYS[1], ARGV[at])
    redis.call('SET', KEYS[3 + i], ARGV[at + 1], 'PX', ARGV[4])
  else
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
  at = at + 3
end
local off = tonumber(ARGV[at])
for i = 1, off do redis.call('HDEL', KEYS[1], ARGV[at + i]) end
at = at + off + 1
for i = at, #ARGV do redis.call('XADD', KEYS[3], '*', 'e', ARGV[i]) end
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
return 1`)

// Commit writes all of the change in one step, or nothing: ErrConflict if the
// Board has another version by now, ErrConsumed if the event was committed
// within the last 8 days. An execution that ended is kept apart from the Board.
func (s *Store) Commit(ctx context.Context, c pipeline.Change) error {
	k := boardKeys(c.Board.Key)
	keys, args, err := s.commitArgs(k, c)
	if err != nil {
		return fmt.Errorf("encoding board %s: %w", c.Board.Key, err)
	}
	n, err := s.marked(ctx, c, keys, args)
	switch {
	case err != nil:
	case n == 0:
		err = pipeline.ErrConflict
	case n < 0:
		err = pipeline.ErrConsumed
	}
	if err != nil {
		return fmt.Errorf("committing board %s: %w", c.Board.Key, err)
	}
	return nil
}

// Consumed reports whether an event was committed within the last 8 days.
func (s *Store) Consumed(ctx context.Context, board, event string) (bool, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	err := s.rdb.ZScore(ctx, boardKeys(board).consumed(), event).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, wrapped("looking for an event", err)
}

func (s *Store) commitArgs(k boardKeys, c pipeline.Change) (keys []string, args []any, err error) {
	ended := map[string]bool{}
	for _, id := range c.Ended {
		ended[id] = true
	}
	head := *c.Board
	head.V = version
	data, err := json.Marshal(head)
	if err != nil {
		return nil, nil, err
	}
	keys = []string{k.board(), k.consumed(), k.outbox()}
	args = []any{c.Version, c.EventID, rememberEvents.Milliseconds(), s.keep.Milliseconds(), data, len(c.Touched)}
	for _, x := range c.Touched {
		written := *x
		written.V = version
		data, err := json.Marshal(written)
		if err != nil {
			return nil, nil, err
		}
		mark := "0"
		if ended[x.ID] {
			mark = "1"
			delete(ended, x.ID)
		}
		keys = append(keys, k.execution(x.ID))
		args = append(args, liveField(x.ID), data, mark)
	}
	args = append(args, len(ended)) // those that were not touched as well
	for id := range ended {
		args = append(args, liveField(id))
	}
	for _, e := range c.Effects {
		e.V = version
		data, err := json.Marshal(e)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, data)
	}
	return keys, args, nil
}

// marked notes that the Board's outbox will hold something, and where its
// executions are, and runs the commit. Where one server holds all keys that is
// one transaction; in a cluster the notes come first, and a commit that comes
// too late after them is given up, since they may have been cleared by then.
func (s *Store) marked(ctx context.Context, c pipeline.Change, keys []string, args []any) (int64, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	if !s.single {
		began := time.Now()
		if err := s.noteInCluster(ctx, c); err != nil {
			return 0, err
		}
		if time.Since(began) > callTimeout {
			return 0, errSlow
		}
		return commit.Run(ctx, s.rdb, keys, args...).Int64()
	}
	n, err := s.markedAtOnce(ctx, c, keys, args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		for _, script := range []*redis.Script{markDirty, commit} {
			if err := script.Load(ctx, s.rdb).Err(); err != nil {
				return 0, err
			}
		}
		n, err = s.markedAtOnce(ctx, c, keys, args)
	}
	return n, err
}

func (s *Store) noteInCluster(ctx context.Context, c pipeline.Change) error {
	if _, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error { s.noteExecutions(ctx, p, c); return nil }); err != nil {
		return err
	}
	if len(c.Effects) == 0 {
		return nil
	}
	return markDirty.Run(ctx, s.rdb, []string{dirtyKey()}, c.Board.Key).Err()
}

// noteExecutions notes where new and ended executions are.
func (s *Store) noteExecutions(ctx context.Context, p redis.Pipeliner, c pipeline.Change) {
	for _, x := range c.Touched {
		if x.Revision <= 1 || x.Status.Ended() {
			p.Set(ctx, lookupKey(x.ID), c.Board.Key, s.keep)
		}
	}
}

func (s *Store) markedAtOnce(ctx context.Context, c pipeline.Change, keys []string, args []any) (int64, error) {
	var answer *redis.Cmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		s.noteExecutions(ctx, p, c)
		if len(c.Effects) > 0 {
			markDirty.EvalSha(ctx, p, []string{dirtyKey()}, c.Board.Key)
		}
		answer = commit.EvalSha(ctx, p, keys, args...)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return answer.Int64()
}

// Execution is an execution's present state. ErrNotFound: there is none of
// that ID, or retention has taken it.
func (s *Store) Execution(ctx context.Context, id string) (pipeline.Execution, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	data, err := s.execution(ctx, id)
	if errors.Is(err, redis.Nil) {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return pipeline.Execution{}, fmt.Errorf("loading execution %s: %w", id, err)
	}
	x, err := executionOf(data)
	if err != nil {
		return pipeline.Execution{}, fmt.Errorf("decoding execution %s: %w", id, err)
	}
	return x, nil
}

func (s *Store) execution(ctx context.Context, id string) (string, error) {
	board, err := s.rdb.Get(ctx, lookupKey(id)).Result()
	if err != nil {
		return "", err
	}
	k := boardKeys(board)
	data, err := s.rdb.HGet(ctx, k.board(), liveField(id)).Result()
	if errors.Is(err, redis.Nil) {
		return s.rdb.Get(ctx, k.execution(id)).Result()
	}
	return data, err
}
