// Package caches keeps the caches of builds in a blob store. Scopes never see
// each other's entries: what an untrusted build saves lies in another scope
// than what a trusted one restores.
package caches

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store/blobs"
)

const (
	folder = "caches/"
	// KeyLimitBytes is the most that a key may have.
	KeyLimitBytes = 512
	// entryLimitBytes bounds one entry.
	entryLimitBytes = 10 << 30
	// listLimit bounds how many entries one lookup of a prefix looks at.
	listLimit = 10_000
)

// Store keeps entries in a bucket. It is safe for concurrent use.
type Store struct {
	bucket *blobs.Bucket
	now    func() time.Time
}

// New makes a Store over a bucket that the caller closes.
func New(bucket *blobs.Bucket, now func() time.Time) *Store { return &Store{bucket, now} }

// Restore opens the entry of the query's key, else the newest one whose key
// begins with the first fallback that has any. The caller closes it.
// pipeline.ErrNotFound: there is none.
func (s *Store) Restore(ctx context.Context, scope string, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error) {
	if err := check(q); err != nil {
		return pipeline.CacheEntry{}, nil, err
	}
	e, r, err := s.open(ctx, nameOf(scope, q.Version, q.Key), q.Key)
	if err == nil || !errors.Is(err, pipeline.ErrNotFound) || q.Key == "" {
		e.Exact = err == nil
		return e, r, err
	}
	for _, prefix := range q.Fallbacks {
		name, key, err := s.newest(ctx, scope, q.Version, prefix)
		if err != nil {
			return pipeline.CacheEntry{}, nil, err
		}
		if name != "" {
			return s.open(ctx, name, key)
		}
	}
	return pipeline.CacheEntry{}, nil, fmt.Errorf("cache key %q: %w", q.Key, pipeline.ErrNotFound)
}

func (s *Store) open(ctx context.Context, name, key string) (pipeline.CacheEntry, io.ReadCloser, error) {
	r, err := s.bucket.NewReader(ctx, name)
	if errors.Is(err, blobs.ErrNotFound) {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return pipeline.CacheEntry{}, nil, fmt.Errorf("opening cache entry %q: %w", key, err)
	}
	return pipeline.CacheEntry{Key: key, Bytes: r.Size, SavedAt: r.ModTime.UTC()}, r, nil
}

// newest finds the entry of the latest time whose key begins with prefix;
// empty if there is none.
func (s *Store) newest(ctx context.Context, scope, version, prefix string) (name, key string, err error) {
	base := baseOf(scope, version)
	var latest time.Time
	seen := 0
	for o, err := range s.bucket.List(ctx, base+"k"+encode(prefix)) {
		if err != nil {
			return "", "", fmt.Errorf("listing cache entries: %w", err)
		}
		if k, ok := decode(strings.TrimPrefix(o.Name, base+"k")); ok && (name == "" || o.ModTime.After(latest)) {
			name, key, latest = o.Name, k, o.ModTime
		}
		if seen++; seen == listLimit {
			break
		}
	}
	return name, key, nil
}

// Save keeps the bytes of r. An entry that has a key is never changed: if it
// is there, r isn't read. An error of r leaves nothing.
func (s *Store) Save(ctx context.Context, scope string, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error) {
	e := pipeline.CacheEntry{Key: q.Key, SavedAt: s.now().UTC(), Exact: true}
	if err := check(q); err != nil {
		return e, err
	}
	name := nameOf(scope, q.Version, q.Key)
	if q.Key != "" {
		there, err := s.bucket.Exists(ctx, name)
		if there || err != nil {
			return e, err
		}
	}
	n, err := s.write(ctx, name, q.Key != "", r)
	if err != nil {
		return e, fmt.Errorf("saving cache entry %q: %w", q.Key, err)
	}
	e.Bytes = n
	return e, nil
}

func (s *Store) write(ctx context.Context, name string, once bool, r io.Reader) (int64, error) {
	begin := s.bucket.NewWriter
	if once {
		begin = s.bucket.NewWriterOnce
	}
	w, err := begin(ctx, name)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, io.LimitReader(r, entryLimitBytes+1))
	if err == nil && n > entryLimitBytes {
		err = &pipeline.UserError{Msg: fmt.Sprintf("a cache entry has at most %d bytes", int64(entryLimitBytes))}
	}
	if err != nil {
		w.Abort()
		return 0, err
	}
	err = w.Close()
	if once && errors.Is(err, blobs.ErrExists) {
		err = nil // another build was first
	}
	return n, err
}

// Sweep removes entries that were saved before a time, and answers with how
// many those were.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	n := 0
	for o, err := range s.bucket.List(ctx, folder) {
		if err == nil && o.ModTime.Before(before) {
			err = s.bucket.Delete(ctx, o.Name)
			n++
		}
		if err != nil && !errors.Is(err, blobs.ErrNotFound) {
			return n, fmt.Errorf("sweeping caches: %w", err)
		}
	}
	return n, nil
}

func check(q pipeline.CacheQuery) error {
	sum, err := hex.DecodeString(q.Version)
	if err != nil || len(sum) != sha256.Size {
		return &pipeline.UserError{Msg: "a cache version is a SHA-256 in hex"}
	}
	for _, key := range append([]string{q.Key}, q.Fallbacks...) {
		if len(key) > KeyLimitBytes {
			return &pipeline.UserError{Msg: fmt.Sprintf("a cache key has at most %d bytes", KeyLimitBytes)}
		}
	}
	return nil
}

func baseOf(scope, version string) string {
	sum := sha256.Sum256([]byte(scope))
	return folder + hex.EncodeToString(sum[:]) + "/" + version + "/"
}

func nameOf(scope, version, key string) string {
	if key == "" {
		return baseOf(scope, version) + "project"
	}
	return baseOf(scope, version) + "k" + encode(key) + end
}

const (
	// end keeps a key apart from those that it begins.
	end = "=.tar.zst"
	// segment is the length of a part of an encoded key: file systems take no
	// longer names.
	segment = 200
)

// encode makes a key part of an object's name, so that the encoded form of a
// prefix is a prefix of the encoded form.
func encode(key string) string {
	text := hex.EncodeToString([]byte(key))
	var b strings.Builder
	for len(text) > segment {
		b.WriteString(text[:segment] + "/")
		text = text[segment:]
	}
	return b.String() + text
}

func decode(name string) (string, bool) {
	text, ok := strings.CutSuffix(name, end)
	key, err := hex.DecodeString(strings.ReplaceAll(text, "/", ""))
	return string(key), ok && err == nil
}
