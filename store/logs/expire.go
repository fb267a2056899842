package logs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/store/blobs"
)

// Old are up to limit logs to which nothing was added since a time, and what
// they take as kept. from is the ID to go on after; next is empty at the end.
func (s *Store) Old(ctx context.Context, before time.Time, from string, limit int) (old map[string]int64, next string, err error) {
	old = map[string]int64{}
	var id string // of the objects that come now, one log after the other
	var bytes int64
	add := func() {
		if id > from && bytes >= 0 {
			old[id], next = bytes, id
		}
	}
	for o, err := range s.bucket.List(ctx, "logs/") {
		if err != nil {
			return nil, "", err
		}
		of, _, _ := strings.Cut(strings.TrimPrefix(o.Name, "logs/"), "/")
		if of != id {
			if add(); len(old) == limit {
				return old, next, nil
			}
			id, bytes = of, 0
		}
		switch {
		case !o.ModTime.Before(before):
			bytes = -1
		case bytes >= 0:
			bytes += o.Bytes
		}
	}
	add()
	return old, "", nil
}

// Remove deletes a log that was sealed, its manifest last, so that a removal
// that was interrupted is taken up again. It may be repeated.
func (s *Store) Remove(ctx context.Context, id string) error {
	for o, err := range s.bucket.List(ctx, "logs/"+id+"/") {
		if err == nil && o.Name != manifestName(id) {
			err = s.bucket.Delete(ctx, o.Name)
		}
		if err != nil && !errors.Is(err, blobs.ErrNotFound) {
			return fmt.Errorf("removing log %s: %w", id, err)
		}
	}
	if err := s.bucket.Delete(ctx, manifestName(id)); err != nil && !errors.Is(err, blobs.ErrNotFound) {
		return fmt.Errorf("removing log %s: %w", id, err)
	}
	return nil
}
