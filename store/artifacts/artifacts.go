// Package artifacts keeps bytes in a blob store, named by their SHA-256 digest.
// The same bytes are kept once; nothing is ever changed.
package artifacts

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
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

// Store keeps bytes in a bucket. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
}

// New makes a Store over a bucket that the caller closes.
func New(bucket *blob.Bucket) *Store { return &Store{bucket: bucket} }

// Put reads r to its end and keeps its bytes. The digest is hex SHA-256. An
// error of r, or of the store, leaves nothing behind that could be opened.
func (s *Store) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	name := incoming + rand.Text()
	digest, size, err = s.write(ctx, name, r, "")
	if err == nil {
		err = s.adopt(ctx, name, digest)
	}
	if err != nil {
		return "", 0, fmt.Errorf("storing bytes: %w", err)
	}
	return digest, size, nil
}

// PutDigest keeps bytes whose digest is known beforehand; that is cheaper than
// Put. ErrDigest: r has others, and nothing was kept. If they are there already
// r isn't read.
func (s *Store) PutDigest(ctx context.Context, digest string, r io.Reader) (size int64, err error) {
	name, err := nameOf(digest)
	if err == nil {
		size, err = s.size(ctx, name)
	}
	if errors.Is(err, ErrNotFound) {
		_, size, err = s.write(ctx, name, r, digest)
	}
	if err != nil {
		return 0, fmt.Errorf("storing %s: %w", digest, err)
	}
	return size, nil
}

// write writes an object whole or not at all. want, if set, is the digest that
// the bytes must have.
func (s *Store) write(ctx context.Context, name string, r io.Reader, want string) (digest string, size int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close, it drops what was written
	w, err := s.bucket.NewWriter(ctx, name, &blob.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	size, err = io.Copy(io.MultiWriter(w, hash), r)
	digest = hex.EncodeToString(hash.Sum(nil))
	if err == nil && want != "" && digest != want {
		err = ErrDigest
	}
	if err != nil {
		cancel()
		_ = w.Close() // it says that it was cancelled
		return "", 0, err
	}
	return digest, size, w.Close()
}

// adopt gives complete bytes their final name.
func (s *Store) adopt(ctx context.Context, name, digest string) error {
	there, err := s.bucket.Exists(ctx, final+digest)
	if err == nil && !there {
		err = s.bucket.Copy(ctx, final+digest, name, nil)
	}
	// What stays behind is removed by Sweep.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, s.bucket.Delete(ctx, name))
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
	r, err := s.bucket.NewReader(ctx, name, nil)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", digest, known(err))
	}
	return &checked{r: r, hash: sha256.New(), want: digest}, nil
}

// OpenArtifact is Open.
func (s *Store) OpenArtifact(ctx context.Context, digest string) (io.ReadCloser, error) {
	return s.Open(ctx, digest)
}

// Exists says whether there are bytes of a digest.
func (s *Store) Exists(ctx context.Context, digest string) (bool, error) {
	name, err := nameOf(digest)
	if err == nil {
		_, err = s.size(ctx, name)
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", digest, err)
	}
	return true, nil
}

func (s *Store) size(ctx context.Context, name string) (int64, error) {
	a, err := s.bucket.Attributes(ctx, name)
	if err != nil {
		return 0, known(err)
	}
	return a.Size, nil
}

func known(err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return ErrNotFound
	}
	return err
}

// Remove deletes the bytes of a digest. It may be repeated.
func (s *Store) Remove(ctx context.Context, digest string) error {
	name, err := nameOf(digest)
	if err == nil {
		err = known(s.bucket.Delete(ctx, name))
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("removing %s: %w", digest, err)
	}
	return nil
}

// PutBody keeps a webhook's body under a key of the caller's.
func (s *Store) PutBody(ctx context.Context, key string, body []byte) error {
	if _, _, err := s.write(ctx, bodyName(key), bytes.NewReader(body), ""); err != nil {
		return fmt.Errorf("storing body %s: %w", key, err)
	}
	return nil
}

// Body is what PutBody kept. ErrNotFound: nothing. A body over 32 MiB is an
// error.
func (s *Store) Body(ctx context.Context, key string) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, bodyName(key), nil)
	if err != nil {
		return nil, fmt.Errorf("loading body %s: %w", key, known(err))
	}
	defer func() { _ = r.Close() }() // it was read to its end, or the error counts
	body, err := io.ReadAll(io.LimitReader(r, bodyLimitBytes+1))
	if err == nil && len(body) > bodyLimitBytes {
		err = fmt.Errorf("it is larger than %d bytes", bodyLimitBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("loading body %s: %w", key, err)
	}
	return body, nil
}

// bodyName keeps a key, which holds a forge's delivery ID, from naming anything
// else.
func bodyName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return bodies + hex.EncodeToString(sum[:])
}

// Sweep removes what interrupted calls of Put left behind before a time, and
// answers with how many objects that were.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	list, n := s.bucket.List(&blob.ListOptions{Prefix: incoming}), 0
	for {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil && o.ModTime.Before(before) {
			err = known(s.bucket.Delete(ctx, o.Key))
			n++
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return n, fmt.Errorf("sweeping incoming bytes: %w", err)
		}
	}
}
