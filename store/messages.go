package store

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// DeadMessage is a message to the outside that was given up. Its data is the
// caller's own JSON.
type DeadMessage struct {
	ID   string
	Data []byte
}

// deadMessages bounds how many are kept; the oldest go first.
const deadMessages = 1000

// AddDeadMessage keeps a message that was given up.
func (s *Store) AddDeadMessage(ctx context.Context, data []byte) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("keeping a dead message", s.rdb.XAdd(ctx, &redis.XAddArgs{
		Stream: deadMessagesKey(), MaxLen: deadMessages, Approx: true, Values: []any{"v", data},
	}).Err())
}

// DeadMessages lists up to limit of them, the newest first, from the one after
// the ID after; empty: from the newest.
func (s *Store) DeadMessages(ctx context.Context, limit int, after string) ([]DeadMessage, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	from := "+"
	if after != "" && !streamID.MatchString(after) {
		return nil, &pipeline.UserError{Code: "INVALID_PAGE", Msg: "after: not a place in this list"}
	}
	if after != "" {
		from = "(" + after
	}
	found, err := s.rdb.XRevRangeN(ctx, deadMessagesKey(), from, "-", int64(limit)).Result()
	if err != nil {
		return nil, fmt.Errorf("listing dead messages: %w", err)
	}
	out := make([]DeadMessage, 0, len(found))
	for _, m := range found {
		out = append(out, deadMessageOf(m))
	}
	return out, nil
}

// DeadMessage is one of them. ErrNotFound: there is none.
func (s *Store) DeadMessage(ctx context.Context, id string) (DeadMessage, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	if !streamID.MatchString(id) {
		return DeadMessage{}, fmt.Errorf("dead message %q: %w", id, pipeline.ErrNotFound)
	}
	found, err := s.rdb.XRangeN(ctx, deadMessagesKey(), id, id, 1).Result()
	if err == nil && len(found) == 0 {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return DeadMessage{}, fmt.Errorf("dead message %s: %w", id, err)
	}
	return deadMessageOf(found[0]), nil
}

func deadMessageOf(m redis.XMessage) DeadMessage {
	data, _ := m.Values["v"].(string)
	return DeadMessage{ID: m.ID, Data: []byte(data)}
}

// DropDeadMessage takes one off the list; twice is once.
func (s *Store) DropDeadMessage(ctx context.Context, id string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("dropping dead message "+id, s.rdb.XDel(ctx, deadMessagesKey(), id).Err())
}
