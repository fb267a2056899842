package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Backlog is how many deliveries and events the Inbox holds that were not
// handled, what waits for a retry aside, and the age of the oldest.
func (b *Inbox) Backlog(ctx context.Context) (waiting int64, oldest time.Duration, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	lengths, heads := make([]*redis.IntCmd, shards), make([]*redis.XMessageSliceCmd, shards)
	var now *redis.TimeCmd
	_, err = b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		now = p.Time(ctx)
		for i := range shards {
			lengths[i] = p.XLen(ctx, shard(i).events())
			heads[i] = p.XRangeN(ctx, shard(i).events(), "-", "+", 1)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, 0, fmt.Errorf("measuring the inbox: %w", err)
	}
	for i := range shards {
		waiting += lengths[i].Val()
		for _, m := range heads[i].Val() {
			oldest = max(oldest, now.Val().Sub(addedAt(m.ID)))
		}
	}
	return waiting, oldest, nil
}

// addedAt is when an entry of a stream was added, by its ID.
func addedAt(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{} // Redis made the ID
	}
	return time.UnixMilli(ms)
}
