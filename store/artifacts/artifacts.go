// Package artifacts keeps bytes in a blob store, named by their SHA-256 digest.
// The same bytes are kept once; nothing is ever changed.
package artifacts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/store/blobs"
)

var (
	// ErrNotFound: there are no bytes of that digest or name.
	ErrNotFound = errors.New("no such bytes in the blob store")
	// ErrDigest: the bytes aren't what their digest says.
	ErrDigest = errors.New("the bytes don't have that digest")
)

const (
	incoming = "incoming/" // bytes whose digest isn't known yet
	final    = "blobs/sha256/"
	bodies   = "bodies/"
	// bodyLimitBytes bounds what Body holds in memory.
	bodyLimitBytes = 32 << 20
)

// Removals says what is being removed right now, to all who share a bucket.
// It is safe for concurrent use.
type Removals interface {
	// Begin notes that an object may be removed until End, or for a while if
	// End isn't called.
	Begin(ctx context.Context, object string) error
	End(ctx context.Context, object string) error
	// Pending says whether an object may be removed now.
	Pending(ctx context.Context, object string) (bool, error)
}

// Store keeps bytes in a bucket. It is safe for concurrent use.
type Store struct {
	bucket *blobs.Bucket
	// content is the bucket for what is named by its digest: an upload keeps its
	// key when it gets its name.
	content  *blobs.Bucket
	removals Removals
}

// New makes a Store over a bucket that the caller closes.
func New(bucket *blobs.Bucket, r Removals) *Store {
	return &Store{bucket: bucket, content: bucket.Bound("content"), removals: r}
}

// Put reads r to its end and keeps its bytes. The digest is hex SHA-256. An
// error of r, or of the store, leaves nothing behind that could be opened.
func (s *Store) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	name := incoming + rand.Text()
	digest, size, err = write(ctx, s.content, name, r)
	if err == nil {
		err = s.adopt(ctx, name, digest)
	}
	if err != nil {
		return "", 0, fmt.Errorf("storing bytes: %w", err)
	}
	return digest, size, nil
}

// write writes an object whole or not at all.
func write(ctx context.Context, to *blobs.Bucket, name string, r io.Reader) (digest string, size int64, err error) {
	w, err := to.NewWriter(ctx, name)
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	if size, err = io.Copy(io.MultiWriter(w, hash), r); err != nil {
		w.Abort()
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), size, w.Close()
}

// freshAge is how old bytes may be that are put again and still not written
// again. Retention takes nothing that is much older.
const freshAge = time.Hour

// adopt gives complete bytes their final name. Bytes that are there already
// begin their life anew.
func (s *Store) adopt(ctx context.Context, name, digest string) error {
	err := s.place(ctx, name, digest)
	// What stays behind is removed by Sweep.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, known(s.content.Delete(ctx, name)))
}

func (s *Store) place(ctx context.Context, name, digest string) error {
	o, err := s.content.Stat(ctx, final+digest)
	if err == nil && time.Since(o.ModTime) < freshAge {
		return nil
	}
	if err != nil && !errors.Is(err, blobs.ErrNotFound) {
		return err
	}
	return s.lasting(ctx, final+digest, func() error { return s.content.Copy(ctx, final+digest, name) })
}

// lasting writes an object that may be there already, and old, and being
// removed at this moment: once nobody is about to remove it any more it is
// either there or written again.
func (s *Store) lasting(ctx context.Context, object string, write func() error) error {
	for range removalTries {
		if err := write(); err != nil {
			return err
		}
		if err := s.undisturbed(ctx, object); err != nil {
			return err
		}
		if there, err := s.bucket.Exists(ctx, object); there || err != nil {
			return err
		}
	}
	return errors.New("it is removed as fast as it is written")
}

const (
	removalTries = 3
	removalPoll  = 100 * time.Millisecond
)

// undisturbed waits while an object may be removed.
func (s *Store) undisturbed(ctx context.Context, object string) error {
	for {
		pending, err := s.removals.Pending(ctx, object)
		if err != nil || !pending {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(removalPoll):
		}
	}
}

// nameOf checks a digest, which may come from outside.
func nameOf(digest string) (string, error) {
	if len(digest) != hex.EncodedLen(sha256.Size) || strings.Trim(digest, "0123456789abcdef") != "" {
		return "", fmt.Errorf("digest %q: want 64 lower-case hex digits: %w", digest[:min(len(digest), 80)], ErrNotFound)
	}
	return final + digest, nil
}

// Open reads the bytes of a digest; the caller closes it. It fails at the end
// of the bytes with ErrDigest if they aren't what was put. ErrNotFound: there
// are none.
func (s *Store) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	name, err := nameOf(digest)
	if err != nil {
		return nil, fmt.Errorf("opening bytes: %w", err)
	}
	r, err := s.content.NewReader(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", digest, known(err))
	}
	return &checked{r: r, hash: sha256.New(), want: digest}, nil
}

// OpenArtifact is Open.
func (s *Store) OpenArtifact(ctx context.Context, digest string) (io.ReadCloser, error) {
	return s.Open(ctx, digest)
}

func known(err error) error {
	if errors.Is(err, blobs.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// PutBody keeps a webhook's body under a key of the caller's.
func (s *Store) PutBody(ctx context.Context, key string, body []byte) error {
	name := bodyName(key)
	err := s.lasting(ctx, name, func() error { return s.bucket.WriteAll(ctx, name, body) })
	if err != nil {
		return fmt.Errorf("storing body %s: %w", key, err)
	}
	return nil
}

// Body is what PutBody kept. ErrNotFound: nothing. A body over 32 MiB is an
// error.
func (s *Store) Body(ctx context.Context, key string) ([]byte, error) {
	body, err := s.bucket.ReadAll(ctx, bodyName(key), bodyLimitBytes)
	if err != nil {
		return nil, fmt.Errorf("loading body %s: %w", key, known(err))
	}
	return body, nil
}

// bodyName keeps a key, which holds a forge's delivery ID, from naming anything
// else.
func bodyName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return bodies + hex.EncodeToString(sum[:])
}
