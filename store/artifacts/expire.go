package artifacts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/store/blobs"
)

// Removed is what retention took.
type Removed struct {
	Objects int
	Bytes   int64 // as kept
}

// Sweep removes what interrupted calls of Put left behind before a time, and
// answers with how many objects that were.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	n := 0
	for o, err := range s.content.List(ctx, incoming) {
		if err == nil && o.ModTime.Before(before) {
			err = s.content.Delete(ctx, o.Name)
			n++
		}
		if err != nil && !errors.Is(err, blobs.ErrNotFound) {
			return n, fmt.Errorf("sweeping incoming bytes: %w", err)
		}
	}
	return n, nil
}

// Old are up to limit digests that were put last before a time, and what they
// take. from is the digest to go on after; next is empty at the end.
func (s *Store) Old(ctx context.Context, before time.Time, from string, limit int) (old map[string]int64, next string, err error) {
	old = map[string]int64{}
	for o, err := range s.content.List(ctx, final) {
		if err != nil {
			return nil, "", err
		}
		digest := strings.TrimPrefix(o.Name, final)
		if digest <= from || !o.ModTime.Before(before) {
			continue
		}
		if _, err := nameOf(digest); err != nil {
			continue // not ours
		}
		if len(old) == limit {
			return old, next, nil
		}
		old[digest], next = o.Bytes, digest
	}
	return old, "", nil
}

// Expire removes the bytes of a digest unless they were put again since before.
// It may be repeated.
func (s *Store) Expire(ctx context.Context, digest string, before time.Time) (removed bool, err error) {
	name, err := nameOf(digest)
	if err == nil {
		removed, err = s.expire(ctx, name, before)
	}
	if err != nil {
		return false, fmt.Errorf("removing %s: %w", digest, err)
	}
	return removed, nil
}

// expire looks at the object's age only once everybody who writes it knows that
// it may go.
func (s *Store) expire(ctx context.Context, name string, before time.Time) (removed bool, err error) {
	if err := s.removals.Begin(ctx, name); err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, s.removals.End(ctx, name))
	}()
	// What takes longer than the note lasts is given up.
	ctx, cancel := context.WithTimeout(ctx, RemovalTime/2)
	defer cancel()
	o, err := s.bucket.Stat(ctx, name)
	if err == nil && o.ModTime.Before(before) {
		removed = true
		err = s.bucket.Delete(ctx, name)
	}
	if errors.Is(err, blobs.ErrNotFound) {
		return false, nil
	}
	return removed && err == nil, err
}

// RemovalTime is how long Removals keeps a note whose maker has died.
const RemovalTime = time.Minute

// ExpireBodies removes the bodies that were kept last before a time; dry only
// counts them.
func (s *Store) ExpireBodies(ctx context.Context, before time.Time, dry bool) (Removed, error) {
	var sum Removed
	for o, err := range s.bucket.List(ctx, bodies) {
		if err != nil {
			return sum, err
		}
		if !o.ModTime.Before(before) {
			continue
		}
		removed := true
		if !dry {
			if removed, err = s.expire(ctx, o.Name, before); err != nil {
				return sum, fmt.Errorf("removing a body: %w", err)
			}
		}
		if removed {
			sum.Objects++
			sum.Bytes += o.Bytes
		}
	}
	return sum, nil
}
