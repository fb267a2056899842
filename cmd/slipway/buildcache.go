package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	blobstore "github.com/slipway-ci/slipway/store/blobs"
	"github.com/slipway-ci/slipway/store/caches"
)

// localCache keeps the cache of local builds in a folder, in the form in which
// a server keeps it in its blob store. A nil one keeps nothing.
type localCache struct {
	bucket *blobstore.Bucket
	store  *caches.Store
}

// openLocalCache opens a folder, which is made if missing; "" is none.
func openLocalCache(ctx context.Context, dir string) (*localCache, error) {
	if dir == "" {
		return nil, nil //nolint:nilnil // a nil cache is one that keeps nothing
	}
	path, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(path, 0o700)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--cache: %w", err))
	}
	b, err := blobstore.Open(ctx, "file://"+path, blobstore.Options{})
	if err != nil {
		return nil, fmt.Errorf("--cache: %w", err)
	}
	return &localCache{b, caches.New(b, time.Now)}, nil
}

func (c *localCache) close() {
	if c != nil {
		_ = c.bucket.Close() // a folder, of which every file is closed
	}
}

// runnerCache is the cache for builds; nil if there is none.
func (c *localCache) runnerCache() runner.Cache {
	if c == nil {
		return nil
	}
	return c
}

// localScope is that of every local build: a folder belongs to one person.
const localScope = "local"

// Restore implements runner.Cache.
func (c *localCache) Restore(ctx context.Context, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error) {
	return c.store.Restore(ctx, localScope, q)
}

// Save implements runner.Cache.
func (c *localCache) Save(ctx context.Context, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error) {
	return c.store.Save(ctx, localScope, q, r)
}
