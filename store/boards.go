package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// noteBoard puts a Board at the head of the list of Boards, which forgets those
// that nothing happened to for as long as executions are kept.
func (s *Store) noteBoard(ctx context.Context, board string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	now := time.Now()
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, boardsKey(), redis.Z{Score: float64(now.UnixMicro()), Member: board})
		p.ZRemRangeByScore(ctx, boardsKey(), "-inf", strconv.FormatInt(now.Add(-s.keep).UnixMicro(), 10))
		return nil
	})
	return wrapped("listing board "+board, err)
}

// Boards lists the keys of Boards that have had executions, the one that
// changed last first. A limit of 0 means 50; at most 200 are listed. A Board
// that changes while pages are turned may be listed twice.
func (s *Store) Boards(ctx context.Context, limit int, after string) (pipeline.Page[string], error) {
	var page pipeline.Page[string]
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 200)
	from, err := parseAfter(after)
	if err != nil {
		return page, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	var last place
	for offset := 0; ; offset += limit + 1 {
		got, err := s.rdb.ZRevRangeByScoreWithScores(ctx, boardsKey(), &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(from.at, 10), Offset: int64(offset), Count: int64(limit + 1),
		}).Result()
		if err != nil {
			return page, fmt.Errorf("listing boards: %w", err)
		}
		for _, z := range got {
			key, _ := z.Member.(string)
			p := place{at: int64(z.Score), id: key}
			if !p.follows(from) {
				continue
			}
			if len(page.Items) == limit {
				page.Next = last.token()
				return page, nil
			}
			page.Items = append(page.Items, key)
			last = p
		}
		if len(got) <= limit {
			return page, nil
		}
	}
}
