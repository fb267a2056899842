package logs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/store/blobs"
	"github.com/slipway-ci/slipway/store/logs"
)

func open(t testing.TB, address string) *blobs.Bucket {
	t.Helper()
	bucket, err := blobs.Open(t.Context(), address, blobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	return bucket
}

func newStore(t testing.TB, bucket *blobs.Bucket) *logs.Store {
	t.Helper()
	return logs.New(bucket, logs.NewMemory(), time.Now)
}

func mustAppend(t testing.TB, s *logs.Store, id string, offset int64, data string) int64 {
	t.Helper()
	n, err := s.Append(t.Context(), id, 1, offset, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func content(t testing.TB, s *logs.Store, id string) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.Read(t.Context(), id, 0, -1, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAppend(t *testing.T) {
	s := newStore(t, open(t, "mem://"))
	ctx := t.Context()
	if n := mustAppend(t, s, "b", 0, "one\ntwo\n"); n != 8 {
		t.Errorf("got length %d, want 8", n)
	}
	if n := mustAppend(t, s, "b", 4, "two\nthree\n"); n != 14 { // half a repeat
		t.Errorf("got length %d, want 14", n)
	}
	if n := mustAppend(t, s, "b", 0, "one\n"); n != 14 { // a repeat
		t.Errorf("got length %d, want 14", n)
	}
	if n, err := s.Append(ctx, "b", 1, 20, []byte("x")); !errors.Is(err, logs.ErrGap) || n != 14 {
		t.Errorf("a gap: got %d, %v, want 14 and ErrGap", n, err)
	}
	if _, err := s.Append(ctx, "b", 2, 14, []byte("x")); !errors.Is(err, logs.ErrStale) {
		t.Errorf("another token: got %v, want ErrStale", err)
	}
	for range 2 {
		if err := s.Seal(ctx, "b", 1, []logs.Mark{{Name: "BUILD", Line: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(ctx, "b", 1, 14, []byte("x")); !errors.Is(err, logs.ErrSealed) {
		t.Errorf("after the end: got %v, want ErrSealed", err)
	}
	if got := content(t, s, "b"); got != "one\ntwo\nthree\n" {
		t.Errorf("got %q", got)
	}
	if n, lines, sealed, err := s.Stat(ctx, "b"); n != 14 || lines != 3 || !sealed || err != nil {
		t.Errorf("got %d bytes, %d lines, %v, %v", n, lines, sealed, err)
	}
	if marks, err := s.Marks(ctx, "b"); err != nil || len(marks) != 1 || marks[0].Line != 2 {
		t.Errorf("got %+v, %v", marks, err)
	}
	if _, err := s.Read(ctx, "none", 0, -1, &bytes.Buffer{}); !errors.Is(err, logs.ErrNotFound) {
		t.Errorf("no log: got %v, want ErrNotFound", err)
	}
	if err := s.Remove(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Stat(ctx, "b"); !errors.Is(err, logs.ErrNotFound) {
		t.Errorf("removed: got %v, want ErrNotFound", err)
	}
}

// TestModel compares a log with a string, over random appends, repeats, reads
// and seals, with sizes around those at which chunks begin.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		bucket := open(t, "mem://")
		defer func() { _ = bucket.Close() }()
		s := logs.New(bucket, logs.NewMemory(), time.Now)
		ctx := context.Background()
		want := ""
		for i := range rapid.IntRange(1, 8).Draw(r, "appends") {
			size := rapid.SampledFrom([]int{1, 10, 200, 70_000, 256 << 10, 300_000, 1 << 20, 2_500_000}).Draw(r, "size")
			line := fmt.Sprintf("line of append %d\n", i)
			data := strings.Repeat(line, size/len(line)+1)[:size]
			back := rapid.IntRange(0, min(len(want), 100_000)).Draw(r, "repeated")
			offset := len(want) - back
			n, err := s.Append(ctx, "b", 1, int64(offset), []byte(want[offset:]+data))
			want += data
			if err != nil || n != int64(len(want)) {
				r.Fatalf("got %d, %v, want %d", n, err, len(want))
			}
		}
		if rapid.Bool().Draw(r, "seal") {
			if err := s.Seal(ctx, "b", 1, nil); err != nil {
				r.Fatal(err)
			}
		}
		offset := rapid.IntRange(0, len(want)).Draw(r, "offset")
		limit := rapid.IntRange(0, 2_000_000).Draw(r, "limit")
		got, err := s.ReadAt(ctx, "b", int64(offset), limit)
		if err != nil || string(got) != want[offset:min(len(want), offset+limit)] {
			r.Fatalf("read at %d: got %d bytes, %v", offset, len(got), err)
		}
		lines := strings.SplitAfter(want, "\n")
		line := rapid.IntRange(1, len(lines)+2).Draw(r, "line")
		wantOffset := len(strings.Join(lines[:min(line-1, len(lines))], ""))
		if at, err := s.LineOffset(ctx, "b", int64(line)); err != nil || at != int64(wantOffset) {
			r.Fatalf("line %d of %d: got %d, %v, want %d", line, len(lines), at, err, wantOffset)
		}
		var b bytes.Buffer
		if _, err := s.Lines(ctx, "b", int64(line), 3, &b); err != nil || b.String() != strings.Join(lines[min(line-1, len(lines)):min(line+2, len(lines))], "") {
			r.Fatalf("three lines from %d: got %q, %v", line, b.String(), err)
		}
	})
}

func TestFollow(t *testing.T) {
	s := newStore(t, open(t, "mem://"))
	var b bytes.Buffer
	ended := make(chan error)
	go func() { ended <- s.Follow(t.Context(), "b", 0, &b) }()
	var want strings.Builder
	for i := range 50 {
		part := strings.Repeat("x", i*1000) + "\n"
		mustAppend(t, s, "b", int64(want.Len()), part)
		want.WriteString(part)
	}
	if err := s.Seal(t.Context(), "b", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if b.String() != want.String() {
		t.Errorf("got %d bytes, want %d", b.Len(), want.Len())
	}
}

// P5: large appends cost little more than writing the same bytes to files.
func BenchmarkAppend(b *testing.B) {
	line := "2026-01-02T03:04:05Z step 12345: compiling package number 678 of the module\n"
	batch := []byte(strings.Repeat(line, 256<<10/len(line)+1)[:256<<10])
	s := newStore(b, open(b, "file://"+b.TempDir()))
	b.SetBytes(int64(len(batch)))
	var offset int64
	for b.Loop() {
		var err error
		if offset, err = s.Append(b.Context(), "b", 1, offset, batch); err != nil {
			b.Fatal(err)
		}
	}
}
