package blobs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
)

// magic is how an encrypted object begins.
const magic = "age-encryption.org/v1\n-> " + stanzaType + " "

// watch cancels a context when one step takes longer than stallTime.
type watch struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context // of this one stream
	known  func(ctx context.Context, err error) error
}

func (b *Bucket) newWatch(ctx context.Context) *watch {
	w := &watch{known: b.known}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stallTime, func() { w.cancel(errSlow) })
	return w
}

// step runs one step, and says an error of the driver in our words.
func (w *watch) step(do func() error) error {
	w.timer.Reset(stallTime)
	err := do()
	w.timer.Stop()
	if err == nil || err == io.EOF {
		return err
	}
	return w.known(w.ctx, err)
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// Writer writes one object, which is there once Close has succeeded. Call
// either Close or Abort.
type Writer struct {
	watch *watch
	under *blob.Writer
	seal  io.WriteCloser // nil: not encrypted
}

// NewWriter begins an object. If ctx ends before Close there is none.
func (b *Bucket) NewWriter(ctx context.Context, name string) (*Writer, error) {
	return b.newWriter(ctx, name, false)
}

// NewWriterOnce is NewWriter for an object that must not be there yet: Close
// says ErrExists if it is.
func (b *Bucket) NewWriterOnce(ctx context.Context, name string) (*Writer, error) {
	return b.newWriter(ctx, name, true)
}

func (b *Bucket) newWriter(ctx context.Context, name string, once bool) (*Writer, error) {
	w := &Writer{watch: b.newWatch(ctx)}
	err := w.watch.step(func() (err error) {
		w.under, err = b.b.NewWriter(w.watch.ctx, name, &blob.WriterOptions{
			ContentType: "application/octet-stream", DisableContentTypeDetection: true, MaxConcurrency: uploadParts, IfNotExist: once,
		})
		return err
	})
	if err == nil && b.keys != nil {
		err = w.encrypt(b.keys, b.binding(name))
	}
	if err != nil {
		w.Abort()
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return w, nil
}

func (w *Writer) encrypt(keys *keyring, binding []byte) error {
	k, err := keys.writing(w.watch.ctx)
	if err != nil {
		return err
	}
	return w.watch.step(func() (err error) {
		w.seal, err = age.Encrypt(w.under, wrapper{k, binding})
		return err
	})
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (n int, err error) {
	err = w.watch.step(func() (err error) {
		if w.seal != nil {
			n, err = w.seal.Write(p)
		} else {
			n, err = w.under.Write(p)
		}
		return err
	})
	return n, err
}

// Close makes the object appear.
func (w *Writer) Close() error {
	if w.seal != nil {
		if err := w.watch.step(w.seal.Close); err != nil {
			w.Abort()
			return err
		}
	}
	err := w.watch.step(w.under.Close)
	w.watch.end()
	return err
}

// Abort drops what was written.
func (w *Writer) Abort() {
	w.watch.end()
	if w.under != nil {
		_ = w.under.Close() // it says that it was cancelled
	}
}

// Reader reads one object. The caller closes it.
type Reader struct {
	// Size is how many bytes were written, and ModTime when.
	Size    int64
	ModTime time.Time

	watch *watch
	under *blob.Reader
	from  io.Reader // what was written
	// failed is what went wrong below or beside the decryption.
	failed error
}

// NewReader begins to read an object; the caller closes it. ErrNotFound: there
// is none. ErrKey, ErrDamaged, ErrPlain: it can't be trusted; ErrDamaged may
// come as late as the object's end.
func (b *Bucket) NewReader(ctx context.Context, name string) (*Reader, error) {
	r := &Reader{watch: b.newWatch(ctx)}
	err := r.watch.step(func() (err error) {
		r.under, err = b.b.NewReader(r.watch.ctx, name, nil)
		return err
	})
	if err == nil {
		r.from, r.Size, r.ModTime = (*source)(r), r.under.Size(), r.under.ModTime()
		if b.keys != nil {
			err = r.watch.step(func() error { return r.decrypt(b, name) })
		}
	}
	if err != nil {
		_ = r.Close() // the error counts
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return r, nil
}

// Version says which bytes an object had: ID is empty where the bucket keeps
// no versions.
type Version struct{ ID, ETag string }

// NewVersionReader begins to read the newest version of an object that others
// write, and says which one that is.
func (b *Bucket) NewVersionReader(ctx context.Context, name string) (*Reader, Version, error) {
	var v Version
	r := &Reader{watch: b.newWatch(ctx)}
	err := r.watch.step(func() error {
		a, err := b.b.Attributes(r.watch.ctx, name)
		if err != nil {
			return err
		}
		v.ETag = strings.Trim(a.ETag, `"`)
		var head s3.HeadObjectOutput
		if a.As(&head) {
			v.ID = aws.ToString(head.VersionId)
		}
		r.under, err = b.b.NewReader(r.watch.ctx, name, &blob.ReaderOptions{BeforeRead: func(as func(any) bool) error {
			var get *s3.GetObjectInput
			if as(&get) && v.ID != "" {
				get.VersionId = &v.ID
			} else if get != nil {
				get.IfMatch = &a.ETag
			}
			return nil
		}})
		return err
	})
	if err != nil {
		_ = r.Close() // the error counts
		return nil, v, fmt.Errorf("reading %s: %w", name, err)
	}
	r.from, r.Size, r.ModTime = (*source)(r), r.under.Size(), r.under.ModTime()
	return r, v, nil
}

func (r *Reader) decrypt(b *Bucket, name string) error {
	buffered := bufio.NewReaderSize(r.from, headerLimitBytes)
	r.from = buffered
	begin, _ := buffered.Peek(headerLimitBytes) // most objects are shorter; what went wrong is in failed
	if r.failed != nil {
		return r.failed
	}
	if !bytes.HasPrefix(begin, []byte(magic)) {
		if r.ModTime.Before(b.plain) {
			return nil
		}
		return ErrPlain
	}
	header, err := age.ExtractHeader(bytes.NewReader(begin))
	if err != nil {
		return r.judge(err)
	}
	r.Size = plainSize(r.Size - int64(len(header)))
	r.from, err = age.Decrypt(buffered, unwrapper(func(stanzas []*age.Stanza) ([]byte, error) {
		key, err := b.keys.unwrap(r.watch.ctx, stanzas, b.binding(name))
		r.failed = err
		return key, err
	}))
	return r.judge(err)
}

const (
	// headerLimitBytes is more than a header of ours has.
	headerLimitBytes = 8 << 10
	// After the header age has a nonce, and then chunks, each with a tag.
	ageNonceBytes, ageChunkBytes, ageTagBytes = 16, 64 << 10, 16
)

// plainSize is what was written of so many bytes after the header.
func plainSize(kept int64) int64 {
	kept -= ageNonceBytes
	chunks := (kept + ageChunkBytes + ageTagBytes - 1) / (ageChunkBytes + ageTagBytes)
	return max(kept-chunks*ageTagBytes, 0)
}

// judge tells a store that fails from an object that was changed.
func (r *Reader) judge(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case r.failed != nil:
		return r.failed
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (n int, err error) {
	err = r.watch.step(func() (err error) {
		n, err = r.from.Read(p)
		return r.judge(err)
	})
	return n, err
}

// Close implements io.Closer.
func (r *Reader) Close() error {
	defer r.watch.end()
	if r.under == nil {
		return nil
	}
	return r.under.Close()
}

// source is the object as it is kept.
type source Reader

func (s *source) Read(p []byte) (int, error) {
	n, err := s.under.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}
