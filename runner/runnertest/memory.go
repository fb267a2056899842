package runnertest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Cache is a cache in memory. It is safe for concurrent use.
type Cache struct {
	mu      sync.Mutex
	entries []cacheEntry // the newest last
}

type cacheEntry struct {
	version, key string
	data         []byte
}

// Restore finds an entry as store/caches does.
func (c *Cache) Restore(_ context.Context, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := func(match func(key string) bool) *cacheEntry {
		for i := len(c.entries) - 1; i >= 0; i-- {
			if e := &c.entries[i]; e.version == q.Version && match(e.key) {
				return e
			}
		}
		return nil
	}
	e, exact := found(func(key string) bool { return key == q.Key }), true
	for _, prefix := range q.Fallbacks {
		if e == nil {
			e, exact = found(func(key string) bool { return strings.HasPrefix(key, prefix) }), false
		}
	}
	if e == nil {
		return pipeline.CacheEntry{}, nil, pipeline.ErrNotFound
	}
	return pipeline.CacheEntry{Key: e.key, Exact: exact, Bytes: int64(len(e.data))}, io.NopCloser(bytes.NewReader(e.data)), nil
}

// Save adds an entry.
func (c *Cache) Save(_ context.Context, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return pipeline.CacheEntry{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = append(c.entries, cacheEntry{q.Version, q.Key, data})
	return pipeline.CacheEntry{Key: q.Key, Bytes: int64(len(data)), SavedAt: time.Now()}, nil
}

// Keys are the keys saved so far, the oldest first.
func (c *Cache) Keys() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for _, e := range c.entries {
		keys = append(keys, e.key)
	}
	return keys
}
