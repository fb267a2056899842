// Package logs keeps the output of builds: immutable compressed chunks in a
// blob store, and before them a short tail that grows. Neither a server nor the
// tail ever holds a whole log. What Append acknowledged is as durable as the
// tail and the blob store are.
package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-ci/slipway/store/blobs"
)

const (
	// tailLimitBytes is what a tail may hold; an append that would go over it
	// goes to the blob store together with the tail.
	tailLimitBytes = 256 << 10
	// chunkLimitBytes is the most that one object holds, uncompressed.
	chunkLimitBytes = 1 << 20
	// manifestLimitBytes bounds what is read of a manifest: a line for each chunk.
	manifestLimitBytes = 64 << 20
	// flushAge is how old a tail of flushBytes may be before it is written.
	flushAge   = 2 * time.Second
	flushBytes = 64 << 10
	// commitTries bounds how often an append starts over because another one
	// was faster.
	commitTries = 10
)

var (
	// ErrNotFound: there is no log of that ID.
	ErrNotFound = errors.New("no such log")
	// ErrSealed: nothing may be added any more.
	ErrSealed = errors.New("the log is sealed")
	// ErrStale: another token writes this log.
	ErrStale = errors.New("the log belongs to another token")
	// ErrGap: the append begins behind the log's end; the length that comes
	// with it is where to go on.
	ErrGap = errors.New("the append leaves a gap")
	// ErrMoved: the log was changed meanwhile. A Tail's word to this package.
	ErrMoved = errors.New("the log was changed meanwhile")
)

// State is where a live log stands.
type State struct {
	Token  int64
	Start  int64 // byte at which the tail begins; what is before it is in chunks
	Length int64 // bytes in all
	Lines  int64 // ends of lines before Start
	Sealed bool
	// Since is when the tail's first byte came; zero if the tail is empty.
	Since time.Time
}

// Chunk is one object of a log.
type Chunk struct {
	Name  string    `json:"name"`
	Start int64     `json:"start"` // its first byte
	Bytes int64     `json:"bytes"` // uncompressed
	Line  int64     `json:"line"`  // ends of lines before it
	Lines int64     `json:"lines"` // ends of lines in it
	At    time.Time `json:"at"`    // of its last byte
}

// Tail keeps what is not in the blob store yet, and the list of what is. All
// its methods are atomic and safe for concurrent use.
type Tail interface {
	// Load is the state and, if asked for, the tail's bytes and the chunks.
	// ErrNotFound: nothing is known of the log.
	Load(ctx context.Context, id string, what Parts) (State, []byte, []Chunk, error)
	// Append adds data to the tail and begins the log if need be. ErrMoved: the
	// log's length isn't at, or the token isn't the log's, or it is sealed.
	Append(ctx context.Context, id string, token, at int64, data []byte) (State, error)
	// Flush replaces the whole tail and what follows it by chunks. ErrMoved:
	// the state isn't was any more.
	Flush(ctx context.Context, id string, was State, token int64, chunks []Chunk) error
	// Seal marks a log with an empty tail as ended. It may be forgotten a while
	// later; its manifest is in the blob store. ErrMoved as in Flush.
	Seal(ctx context.Context, id string, was State) error
	// Wait returns when the log may be longer than at or sealed, after a while
	// in any case, or when ctx ends.
	Wait(ctx context.Context, id string, at int64) error
}

// Parts are what Load loads beside the state.
type Parts int

// The parts.
const (
	WithTail Parts = 1 << iota
	WithChunks
)

// Mark names a line, such as the first one of a phase.
type Mark struct {
	Name string    `json:"name"`
	Line int64     `json:"line"` // counts from 1
	At   time.Time `json:"at,omitzero"`
}

// Store keeps logs. It is safe for concurrent use.
type Store struct {
	bucket *blobs.Bucket
	tail   Tail
	now    func() time.Time
	codec  func() (codec, error)
}

type codec struct {
	*zstd.Encoder
	*zstd.Decoder
}

// New makes a Store over a bucket that the caller closes. Objects are named
// logs/<id>/...
func New(bucket *blobs.Bucket, tail Tail, now func() time.Time) *Store {
	return &Store{bucket: bucket, tail: tail, now: now, codec: sync.OnceValues(newCodec)}
}

func newCodec() (codec, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(chunkLimitBytes))
	if err != nil {
		return codec{}, fmt.Errorf("preparing compression: %w", err)
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(2*chunkLimitBytes))
	if err != nil {
		return codec{}, fmt.Errorf("preparing decompression: %w", err)
	}
	return codec{w, r}, nil
}

// manifest is what is kept of a sealed log beside its chunks.
type manifest struct {
	V      int       `json:"v"`
	Token  int64     `json:"token"`
	Bytes  int64     `json:"bytes"`
	Lines  int64     `json:"lines"`
	Ended  time.Time `json:"ended"`
	Chunks []Chunk   `json:"chunks"`
	Marks  []Mark    `json:"marks,omitempty"`
}

func manifestName(id string) string { return "logs/" + id + "/manifest" }

// chunkName names a chunk by what it holds, so that writing it twice writes the
// same.
func chunkName(id string, token, start, size int64) string {
	return fmt.Sprintf("logs/%s/%d/%012d-%d", id, token, start, size)
}

// Append adds data at offset and answers with the log's new length. Bytes
// before the log's end are a repeat and are not added again. Only the
// token that began the log may append: ErrStale. ErrGap comes with the length to go on from.
// Large appends cost least: from 256 KiB on they go to the blob store at once.
func (s *Store) Append(ctx context.Context, id string, token, offset int64, data []byte) (int64, error) {
	for range commitTries {
		n, err := s.append(ctx, id, token, offset, data)
		if !errors.Is(err, ErrMoved) {
			if err != nil {
				err = fmt.Errorf("appending to log %s: %w", id, err)
			}
			return n, err
		}
	}
	return 0, fmt.Errorf("appending to log %s: %w", id, ErrMoved)
}

func (s *Store) append(ctx context.Context, id string, token, offset int64, data []byte) (int64, error) {
	state, _, _, err := s.tail.Load(ctx, id, 0)
	if errors.Is(err, ErrNotFound) {
		if err := s.notSealed(ctx, id); err != nil {
			return 0, err
		}
		state = State{Token: token}
	} else if err != nil {
		return 0, err
	}
	switch {
	case token != state.Token:
		return state.Length, ErrStale // a job names one attempt, and is held once
	case state.Sealed && offset+int64(len(data)) <= state.Length:
		return state.Length, nil
	case state.Sealed:
		return state.Length, ErrSealed
	case offset > state.Length:
		return state.Length, ErrGap
	}
	data = data[min(state.Length-offset, int64(len(data))):]
	if len(data) == 0 {
		return state.Length, nil
	}
	if !s.full(state, len(data)) {
		state, err = s.tail.Append(ctx, id, token, state.Length, data)
		return state.Length, err
	}
	if data, err = s.withTail(ctx, id, state, data); err != nil {
		return 0, err
	}
	if err := s.flush(ctx, id, state, data); err != nil {
		return 0, err
	}
	return state.Start + int64(len(data)), nil
}

// withTail is the tail, which must be that of state, and data behind it.
func (s *Store) withTail(ctx context.Context, id string, state State, data []byte) ([]byte, error) {
	if state.Length == state.Start {
		return data, nil
	}
	is, tail, _, err := s.tail.Load(ctx, id, WithTail)
	if err != nil {
		return nil, err
	}
	if is.Start != state.Start || is.Length != state.Length || int64(len(tail)) != state.Length-state.Start {
		return nil, ErrMoved
	}
	return append(tail, data...), nil
}

// full says whether the tail is to be written now.
func (s *Store) full(state State, more int) bool {
	tail := state.Length - state.Start
	size := tail + int64(more)
	return size >= tailLimitBytes || size >= flushBytes && tail > 0 && s.now().Sub(state.Since) >= flushAge
}

// flush writes data, which begins where the tail does, as chunks.
func (s *Store) flush(ctx context.Context, id string, state State, data []byte) error {
	var chunks []Chunk
	c := Chunk{Start: state.Start, Line: state.Lines}
	for len(data) > 0 {
		part := data[:min(len(data), chunkLimitBytes)]
		data = data[len(part):]
		c.Bytes, c.Lines, c.At = int64(len(part)), int64(bytes.Count(part, newline)), s.now().UTC()
		c.Name = chunkName(id, state.Token, c.Start, c.Bytes)
		if err := s.write(ctx, c.Name, part); err != nil {
			return err
		}
		chunks = append(chunks, c)
		c.Start += c.Bytes
		c.Line += c.Lines
	}
	return s.tail.Flush(ctx, id, state, state.Token, chunks)
}

var newline = []byte{'\n'}

func (s *Store) write(ctx context.Context, name string, data []byte) error {
	z, err := s.codec()
	if err != nil {
		return err
	}
	if err := s.bucket.WriteAll(ctx, name, z.EncodeAll(data, make([]byte, 0, len(data)/4))); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// notSealed finds a log that ended so long ago that its tail is forgotten.
func (s *Store) notSealed(ctx context.Context, id string) error {
	found, err := s.bucket.Exists(ctx, manifestName(id))
	if err == nil && found {
		err = ErrSealed
	}
	return err
}

// Seal ends a log: what is left of the tail is written, then the manifest. It
// may be repeated. A log that nothing was appended to becomes an empty one.
// token 0 seals whatever the log's token is.
func (s *Store) Seal(ctx context.Context, id string, token int64, marks []Mark) error {
	for range commitTries {
		err := s.seal(ctx, id, token, marks)
		if !errors.Is(err, ErrMoved) {
			if err != nil {
				err = fmt.Errorf("sealing log %s: %w", id, err)
			}
			return err
		}
	}
	return fmt.Errorf("sealing log %s: %w", id, ErrMoved)
}

func (s *Store) seal(ctx context.Context, id string, token int64, marks []Mark) error {
	state, tail, chunks, err := s.tail.Load(ctx, id, WithTail|WithChunks)
	switch {
	case errors.Is(err, ErrNotFound):
		if err := s.notSealed(ctx, id); errors.Is(err, ErrSealed) {
			return nil
		} else if err != nil {
			return err
		}
		return s.writeManifest(ctx, id, manifest{V: 1, Token: token, Ended: s.now().UTC(), Marks: marks})
	case err != nil:
		return err
	case token != 0 && token != state.Token:
		return ErrStale
	case state.Sealed:
		return nil
	}
	if len(tail) > 0 {
		if err := s.flush(ctx, id, state, tail); err != nil {
			return err
		}
		return ErrMoved // by us; now load it anew
	}
	m := manifest{V: 1, Token: state.Token, Bytes: state.Length, Lines: state.Lines, Ended: s.now().UTC(), Chunks: chunks, Marks: marks}
	if err := s.writeManifest(ctx, id, m); err != nil {
		return err
	}
	return s.tail.Seal(ctx, id, state)
}

func (s *Store) writeManifest(ctx context.Context, id string, m manifest) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding the manifest: %w", err)
	}
	if err := s.bucket.WriteAll(ctx, manifestName(id), data); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

func (s *Store) readManifest(ctx context.Context, id string) (manifest, error) {
	var m manifest
	data, err := s.bucket.ReadAll(ctx, manifestName(id), manifestLimitBytes)
	if errors.Is(err, blobs.ErrNotFound) {
		return m, ErrNotFound
	}
	if err != nil {
		return m, fmt.Errorf("reading the manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("decoding the manifest: %w", err)
	}
	return m, nil
}
