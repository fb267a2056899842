// Package blobs keeps objects in a folder, in memory or in an S3-compatible
// store, encrypted if there is a key. An object is written whole or not at all,
// and what was changed, cut or moved where it is kept is never read as if it
// were whole. Memory is bounded whatever an object's size; so is every wait.
package blobs

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/memblob"  // mem://
	_ "gocloud.dev/blob/s3blob"   // s3://
	"gocloud.dev/gcerrors"
)

const (
	// callTime bounds what takes one small request: a look at an object, its
	// removal, one page of a list.
	callTime = 30 * time.Second
	// stallTime bounds how long a reader or writer may make no progress.
	stallTime = time.Minute
	// uploadParts is how many parts of one upload are in memory at a time.
	uploadParts = 2
)

var (
	// ErrNotFound: there is no such object.
	ErrNotFound = errors.New("no such object in the blob store")
	// ErrExists: the object is there already.
	ErrExists = errors.New("the object is there already")
	// ErrKey: the object was encrypted with a key that isn't configured.
	ErrKey = errors.New("no configured key opens it")
	// ErrDamaged: the object isn't what was written under this name.
	ErrDamaged = errors.New("it was changed where it is kept")
	// ErrPlain: the object isn't encrypted although a key is configured.
	ErrPlain = errors.New("it isn't encrypted, and newer than encryption_plaintext_before allows")
	// ErrAddress: the bucket's or the KMS key's address isn't one.
	ErrAddress = errors.New("not an address that can be opened")
	errSlow    = errors.New("the blob store did not answer in time")
)

// Options are the settings of a Bucket. The zero value keeps objects as they
// are.
type Options struct {
	// Keys are local keys: the first encrypts, all decrypt.
	Keys [][32]byte
	// KMS is a key's address, such as awskms:///alias/slipway?region=eu-west-1.
	// It encrypts, also where there are local keys; those decrypt then.
	KMS string
	// PlainBefore is when encryption began: objects older than that may be
	// plain. Zero: every object must be encrypted. It means nothing without a
	// key.
	PlainBefore time.Time
	// Log hears of what an operator should know; nil: nobody.
	Log *slog.Logger
}

// Bucket is where objects are kept. It is safe for concurrent use.
type Bucket struct {
	b     *blob.Bucket
	keys  *keyring // nil: objects are kept as they are
	plain time.Time
	bound string
	// failed counts what the store could not do; Bound buckets share it.
	failed *atomic.Int64
}

// Object is what a list tells of an object.
type Object struct {
	Name    string
	Bytes   int64 // as kept: with encryption some more than what was written
	ModTime time.Time
}

// Open opens the bucket at an address: file:///FOLDER, which is made if it is
// missing, s3://BUCKET, mem://. It finds out whether the keys are those that the
// bucket was encrypted with; ErrKey if not.
func Open(ctx context.Context, address string, o Options) (*Bucket, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	under, err := blob.OpenBucket(ctx, complete(address))
	if err != nil {
		return nil, fmt.Errorf("opening the blob store: %w: %w", ErrAddress, err)
	}
	b := &Bucket{b: under, plain: o.PlainBefore, failed: &atomic.Int64{}}
	if b.keys, err = newKeyring(ctx, o); err == nil {
		err = b.checkKeys(ctx, o.Log)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// complete adds what an address leaves out. A server of one's own is seldom
// reached by a host name for each bucket.
func complete(address string) string {
	if path, ok := strings.CutPrefix(address, "file://"); ok && !strings.Contains(path, "?") {
		return "file://" + (&url.URL{Path: path}).EscapedPath() + "?create_dir=true&no_tmp_dir=true&metadata=skip"
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "s3" {
		return address
	}
	q := u.Query()
	if q.Has("endpoint") && !q.Has("use_path_style") {
		q.Set("use_path_style", "true")
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// Close ends the use of the bucket.
func (b *Bucket) Close() error {
	err := b.b.Close()
	if b.keys != nil {
		err = errors.Join(err, b.keys.close())
	}
	return err
}

// Bound is the same bucket for objects that belong together by something else
// than their names: an encrypted object is bound to its name and can't be read
// under another one, those of the result are bound to this word. It is for
// objects whose content is checked in another way.
func (b *Bucket) Bound(to string) *Bucket {
	c := *b
	c.bound = to
	return &c
}

// binding is what an object is bound to. No name can be mistaken for a word.
func (b *Bucket) binding(name string) []byte {
	if b.bound != "" {
		return []byte("word " + b.bound)
	}
	return []byte("name " + name)
}

func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callTime, errSlow)
}

// known says the driver's errors in our words.
func known(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.NotFound:
		return ErrNotFound
	case gcerrors.Code(err) == gcerrors.FailedPrecondition:
		return ErrExists
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// known says the driver's errors in our words and counts those that are the
// store's fault.
func (b *Bucket) known(ctx context.Context, err error) error {
	err = known(ctx, err)
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.Is(err, context.Canceled):
	default:
		b.failed.Add(1)
	}
	return err
}

// Failures is how often the store could not do what it was asked since it was
// opened. That there is no such object is no failure.
func (b *Bucket) Failures() int64 { return b.failed.Load() }

// Exists says whether there is an object.
func (b *Bucket) Exists(ctx context.Context, name string) (bool, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	ok, err := b.b.Exists(ctx, name)
	return ok, b.known(ctx, err)
}

// Stat is what is known of an object. ErrNotFound: there is none.
func (b *Bucket) Stat(ctx context.Context, name string) (Object, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	a, err := b.b.Attributes(ctx, name)
	if err != nil {
		return Object{}, b.known(ctx, err)
	}
	return Object{Name: name, Bytes: a.Size, ModTime: a.ModTime}, nil
}

// Delete removes an object. ErrNotFound: there is none; not every store says so.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return b.known(ctx, b.b.Delete(ctx, name))
}

// copyTime bounds a copy, which the store makes by itself.
const copyTime = 10 * time.Minute

// Copy gives an object a second name. An encrypted one must be of a Bound
// bucket.
func (b *Bucket) Copy(ctx context.Context, to, from string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, copyTime, errSlow)
	defer cancel()
	return b.known(ctx, b.b.Copy(ctx, to, from, nil))
}

// List is all objects whose names begin with prefix, by name.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		list := b.b.List(&blob.ListOptions{Prefix: prefix})
		for {
			call, cancel := limited(ctx)
			o, err := list.Next(call)
			err = b.known(call, err)
			cancel()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Object{}, fmt.Errorf("listing %s: %w", prefix, err))
				return
			}
			if !yield(Object{Name: o.Key, Bytes: o.Size, ModTime: o.ModTime}, nil) {
				return
			}
		}
	}
}

// WriteAll writes a small object.
func (b *Bucket) WriteAll(ctx context.Context, name string, data []byte) error {
	w, err := b.NewWriter(ctx, name)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		w.Abort()
		return err
	}
	return w.Close()
}

// ReadAll reads an object of at most limit bytes. ErrNotFound: there is none.
func (b *Bucket) ReadAll(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := b.NewReader(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was read to its end, or the error counts
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return data, err
}

const (
	// probes is where Check writes.
	probes = "probes/"
	// probeBytes is more than a full disk takes by chance.
	probeBytes = 64 << 10
)

// Check writes an object, reads it and takes it away again: a store that is
// full, read-only or has lost its key fails.
func (b *Bucket) Check(ctx context.Context) error {
	name, data := probes+rand.Text(), make([]byte, probeBytes)
	rand.Read(data)
	if err := b.WriteAll(ctx, name, data); err != nil {
		return fmt.Errorf("writing to the blob store: %w", err)
	}
	got, err := b.ReadAll(ctx, name, probeBytes)
	if err == nil && !bytes.Equal(got, data) {
		err = ErrDamaged
	}
	if err != nil {
		err = fmt.Errorf("reading from the blob store: %w", err)
	}
	// The caller's time may be over.
	ctx, cancel := limited(context.WithoutCancel(ctx))
	defer cancel()
	return errors.Join(err, b.Delete(ctx, name))
}

// SweepProbes removes what a Check that was killed left behind before a time.
func (b *Bucket) SweepProbes(ctx context.Context, before time.Time) error {
	for o, err := range b.List(ctx, probes) {
		if err == nil && o.ModTime.Before(before) {
			err = b.Delete(ctx, o.Name)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("sweeping probes: %w", err)
		}
	}
	return nil
}
