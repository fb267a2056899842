package queue_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/queue/queuetest"
)

// Attacks: 8.
func TestInbox(t *testing.T) {
	queuetest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		queuetest.TestInbox(t, func(t *testing.T) redis.UniversalClient {
			if err := rdb.FlushAll(context.Background()).Err(); err != nil {
				t.Fatal(err)
			}
			return rdb
		})
	})
}
