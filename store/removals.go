package store

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/store/artifacts"
)

// Removals are notes of what retention is removing from the blob store. They
// implement artifacts.Removals.
type Removals struct {
	store *Store
}

var _ artifacts.Removals = Removals{}

// Removals is the Store's place for such notes.
func (s *Store) Removals() Removals { return Removals{s} }

// Begin implements artifacts.Removals.
func (r Removals) Begin(ctx context.Context, object string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("noting a removal", r.store.rdb.Set(ctx, removalKey(object), time.Now().UnixMilli(), artifacts.RemovalTime).Err())
}

// End implements artifacts.Removals.
func (r Removals) End(ctx context.Context, object string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return wrapped("ending a removal", r.store.rdb.Del(ctx, removalKey(object)).Err())
}

// Pending implements artifacts.Removals.
func (r Removals) Pending(ctx context.Context, object string) (bool, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	n, err := r.store.rdb.Exists(ctx, removalKey(object)).Result()
	return n > 0, wrapped("looking for a removal", err)
}
