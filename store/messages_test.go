package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue/queuetest"
)

// Dead messages are listed newest first, paged, and go when they are dropped.
func TestDeadMessages(t *testing.T) {
	queuetest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(rdb)
		for i := range 3 {
			if err := s.AddDeadMessage(t.Context(), fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
				t.Fatal(err)
			}
		}
		first, err := s.DeadMessages(t.Context(), 2, "")
		if err != nil || len(first) != 2 || string(first[0].Data) != `{"n":2}` {
			t.Fatalf("%v, %v", first, err)
		}
		rest, err := s.DeadMessages(t.Context(), 2, first[1].ID)
		if err != nil || len(rest) != 1 || string(rest[0].Data) != `{"n":0}` {
			t.Fatalf("%v, %v", rest, err)
		}
		if one, err := s.DeadMessage(t.Context(), rest[0].ID); err != nil || string(one.Data) != `{"n":0}` {
			t.Errorf("%v, %v", one, err)
		}
		for range 2 {
			if err := s.DropDeadMessage(t.Context(), rest[0].ID); err != nil {
				t.Error(err)
			}
		}
		for _, id := range []string{rest[0].ID, "x", ""} {
			if _, err := s.DeadMessage(t.Context(), id); !errors.Is(err, pipeline.ErrNotFound) {
				t.Errorf("%q is found: %v", id, err)
			}
		}
	})
}
