package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// AddTimer keeps an event until its time, At. The same ID again replaces it.
func (s *Store) AddTimer(ctx context.Context, e pipeline.Event) error {
	e.V = version
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding timer %s: %w", e.ID, err)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, timersDataKey(), e.ID, data)
		p.ZAdd(ctx, timersKey(), redis.Z{Score: float64(e.At.UnixMilli()), Member: e.ID})
		return nil
	})
	if err != nil {
		return fmt.Errorf("adding timer %s: %w", e.ID, err)
	}
	return nil
}

// DueTimers are up to n events whose time has come, the oldest first. Each is
// listed until DropTimer.
func (s *Store) DueTimers(ctx context.Context, now time.Time, n int) ([]pipeline.Event, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	ids, err := s.rdb.ZRangeByScore(ctx, timersKey(), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10), Count: int64(n),
	}).Result()
	if err != nil || len(ids) == 0 {
		return nil, wrapped("listing timers", err)
	}
	data, err := s.rdb.HMGet(ctx, timersDataKey(), ids...).Result()
	if err != nil {
		return nil, fmt.Errorf("loading timers: %w", err)
	}
	var due []pipeline.Event
	for i, d := range data {
		text, ok := d.(string)
		if !ok {
			continue // dropped meanwhile
		}
		var e pipeline.Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, fmt.Errorf("decoding timer %s: %w", ids[i], err)
		}
		if e.V <= version {
			due = append(due, e)
		}
	}
	return due, nil
}

// DropTimer forgets a timer. It may be repeated.
func (s *Store) DropTimer(ctx context.Context, e pipeline.Event) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, timersKey(), e.ID)
		p.HDel(ctx, timersDataKey(), e.ID)
		return nil
	})
	return wrapped("dropping timer "+e.ID, err)
}

// wrapped says what was being done, if there is an error.
func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
