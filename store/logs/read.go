package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// view is a log as it was at one moment.
type view struct {
	State
	tail   []byte
	chunks []Chunk
	marks  []Mark
}

func (s *Store) view(ctx context.Context, id string) (view, error) {
	state, tail, chunks, err := s.tail.Load(ctx, id, WithTail|WithChunks)
	if err == nil {
		return view{State: state, tail: tail, chunks: chunks}, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return view{}, err
	}
	m, err := s.readManifest(ctx, id)
	if err != nil {
		return view{}, err
	}
	return view{
		State:  State{Token: m.Token, Start: m.Bytes, Length: m.Bytes, Lines: m.Lines, Sealed: true},
		chunks: m.Chunks, marks: m.Marks,
	}, nil
}

// Stat is the log's length in bytes and in lines that have ended, and whether
// it is sealed: nothing will be added any more. ErrNotFound: no log yet.
func (s *Store) Stat(ctx context.Context, id string) (length, lines int64, sealed bool, err error) {
	state, tail, _, err := s.tail.Load(ctx, id, WithTail)
	if errors.Is(err, ErrNotFound) {
		var v view
		v, err = s.view(ctx, id)
		state = v.State
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("looking at log %s: %w", id, err)
	}
	return state.Length, state.Lines + int64(bytes.Count(tail, newline)), state.Sealed, nil
}

// Marks are the lines that were named when the log was sealed.
func (s *Store) Marks(ctx context.Context, id string) ([]Mark, error) {
	m, err := s.readManifest(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading the marks of log %s: %w", id, err)
	}
	return m.Marks, nil
}

// Read writes the bytes from offset on up to limit bytes (negative: all that
// there are now) to w, one chunk at a time, and answers with how many it wrote.
func (s *Store) Read(ctx context.Context, id string, offset, limit int64, w io.Writer) (int64, error) {
	v, err := s.view(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("reading log %s: %w", id, err)
	}
	n, err := s.read(ctx, v, offset, limit, w)
	if err != nil {
		return n, fmt.Errorf("reading log %s: %w", id, err)
	}
	return n, nil
}

func (s *Store) read(ctx context.Context, v view, offset, limit int64, w io.Writer) (int64, error) {
	if limit < 0 {
		limit = math.MaxInt64 - max(offset, 0)
	}
	offset = max(offset, 0)
	end := min(offset+limit, v.Length)
	first := chunkAt(v.chunks, offset)
	var written int64
	for _, c := range v.chunks[first:] {
		if c.Start >= end {
			break
		}
		data, err := s.chunk(ctx, c)
		if err != nil {
			return written, err
		}
		n, err := w.Write(cut(data, c.Start, offset, end))
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	n, err := w.Write(cut(v.tail, v.Start, offset, end))
	return written + int64(n), err
}

// chunkAt is the index of the chunk that holds a byte, or of none.
func chunkAt(chunks []Chunk, offset int64) int {
	i, _ := slices.BinarySearchFunc(chunks, offset, func(c Chunk, at int64) int {
		if c.Start+c.Bytes <= at {
			return -1
		}
		return 1
	})
	return i
}

// cut is what data, which begins at start, holds of the bytes from first to end.
func cut(data []byte, start, first, end int64) []byte {
	size := int64(len(data))
	from := min(max(first-start, 0), size)
	return data[from:max(from, min(end-start, size))]
}

func (s *Store) chunk(ctx context.Context, c Chunk) ([]byte, error) {
	z, err := s.codec()
	if err != nil {
		return nil, err
	}
	packed, err := s.bucket.ReadAll(ctx, c.Name, 2*chunkLimitBytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.Name, err)
	}
	data, err := z.DecodeAll(packed, make([]byte, 0, min(c.Bytes, chunkLimitBytes)))
	if err == nil && int64(len(data)) != c.Bytes {
		err = fmt.Errorf("it holds %d bytes, want %d", len(data), c.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", c.Name, err)
	}
	return data, nil
}

// ReadAt is at most limit bytes from offset on, fewer or none at the end.
func (s *Store) ReadAt(ctx context.Context, id string, offset int64, limit int) ([]byte, error) {
	var b bytes.Buffer
	_, err := s.Read(ctx, id, offset, int64(max(limit, 0)), &b)
	return b.Bytes(), err
}

// LineOffset is the byte at which line n begins, counting from 1; the log's
// length if it has fewer lines. It reads one chunk.
func (s *Store) LineOffset(ctx context.Context, id string, line int64) (int64, error) {
	v, err := s.view(ctx, id)
	if err == nil {
		line, err = s.lineOffset(ctx, v, line-1)
	}
	if err != nil {
		return 0, fmt.Errorf("finding a line of log %s: %w", id, err)
	}
	return line, nil
}

// lineOffset is where the line begins that has so many ends of lines before it.
func (s *Store) lineOffset(ctx context.Context, v view, before int64) (int64, error) {
	if before <= 0 {
		return 0, nil
	}
	i, _ := slices.BinarySearchFunc(v.chunks, before, func(c Chunk, n int64) int {
		if c.Line+c.Lines < n {
			return -1
		}
		return 1
	})
	data, start, line := v.tail, v.Start, v.Lines
	if i < len(v.chunks) {
		c := v.chunks[i]
		var err error
		if data, err = s.chunk(ctx, c); err != nil {
			return 0, err
		}
		start, line = c.Start, c.Line
	}
	at := start
	for ; line < before; line++ {
		n := bytes.IndexByte(data[at-start:], '\n')
		if n < 0 {
			return v.Length, nil
		}
		at += int64(n) + 1
	}
	return at, nil
}

// Lines writes up to n lines to w, from a line that counts from 1, and answers
// with the byte at which the first of them begins.
func (s *Store) Lines(ctx context.Context, id string, from, n int64, w io.Writer) (offset int64, err error) {
	v, err := s.view(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("reading lines of log %s: %w", id, err)
	}
	from = max(from, 1)
	offset, err = s.lineOffset(ctx, v, from-1)
	if err != nil {
		return 0, fmt.Errorf("reading lines of log %s: %w", id, err)
	}
	end, err := s.lineOffset(ctx, v, from-1+max(n, 0))
	if err == nil {
		_, err = s.read(ctx, v, offset, end-offset, w)
	}
	if err != nil {
		return offset, fmt.Errorf("reading lines of log %s: %w", id, err)
	}
	return offset, nil
}

// Wait returns when the log is longer than offset or sealed, or with ctx's
// cause when ctx ends. It also waits for a log to begin.
func (s *Store) Wait(ctx context.Context, id string, offset int64) error {
	for {
		state, _, _, err := s.tail.Load(ctx, id, 0)
		if errors.Is(err, ErrNotFound) {
			var v view
			v, err = s.view(ctx, id)
			state = v.State
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && (state.Sealed || state.Length > offset):
			return nil
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		}
		if err := s.tail.Wait(ctx, id, max(offset, 0)); err != nil {
			return fmt.Errorf("waiting for log %s: %w", id, err)
		}
	}
}

// Follow writes the log from offset on to w while it grows, until it is sealed
// or ctx ends.
func (s *Store) Follow(ctx context.Context, id string, offset int64, w io.Writer) error {
	for {
		if err := s.Wait(ctx, id, offset); err != nil {
			return err
		}
		_, _, sealed, err := s.Stat(ctx, id) // before reading, so that nothing is missed
		if err != nil {
			return err
		}
		n, err := s.Read(ctx, id, offset, -1, w)
		if err != nil {
			return err
		}
		offset += n
		if sealed {
			return nil
		}
	}
}
