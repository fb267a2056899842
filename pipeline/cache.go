package pipeline

import (
	"context"
	"io"
	"time"
)

// CacheQuery names an entry of a project's cache. Whose entries are looked at
// is the server's to say, never the worker's.
type CacheQuery struct {
	// Version is a digest of the list of paths: entries of other paths never
	// match (CodeBuild reference 5.2).
	Version string
	// Key is empty for the one entry of a project whose buildspec names no key,
	// which every save replaces. Any other key is written once.
	Key string
	// Fallbacks are prefixes of keys, tried in order after Key; of several
	// entries the newest counts.
	Fallbacks []string
}

// CacheEntry is what was found or saved.
type CacheEntry struct {
	Key     string    `json:"key"`
	Bytes   int64     `json:"bytes"`
	SavedAt time.Time `json:"saved_at"`
	// Exact says that the entry's key is the query's, not one that begins with a
	// fallback.
	Exact bool `json:"exact,omitempty"`
}

// Caches are the caches of projects as a worker sees them, in process or over
// HTTPS, beside Control.
type Caches interface {
	// RestoreCache opens an entry; the caller closes it. ErrNotFound: there is
	// none.
	RestoreCache(ctx context.Context, ref JobRef, q CacheQuery) (CacheEntry, io.ReadCloser, error)
	// SaveCache keeps the bytes of r under the query's key. If the key is taken
	// what is there stays, and r need not be read.
	SaveCache(ctx context.Context, ref JobRef, q CacheQuery, r io.Reader) (CacheEntry, error)
}
