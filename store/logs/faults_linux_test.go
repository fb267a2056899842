package logs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/store/blobs"
)

// What a full disk refuses is appended again later, and nothing is lost.
func TestFullDisk(t *testing.T) {
	dir := testenv.SmallDisk(t, 256<<10)
	s := newStore(t, open(t, "file://"+dir))
	var want strings.Builder
	batch := strings.Repeat("a line of a build's log\n", 20_000)
	want.WriteString("first\n")
	offset := mustAppend(t, s, "b", 0, want.String())
	rest := filepath.Join(dir, "rest")
	if err := os.WriteFile(rest, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	if _, err := s.Append(t.Context(), "b", 1, offset, []byte(batch)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if got := content(t, s, "b"); got != want.String() {
		t.Errorf("what was acknowledged: got %q", got)
	}
	if err := os.Remove(rest); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "b", offset, batch)
	want.WriteString(batch)
	if err := s.Seal(t.Context(), "b", 1, nil); err != nil {
		t.Fatal(err)
	}
	if got := content(t, s, "b"); got != want.String() {
		t.Errorf("got %d bytes, want %d", len(got), want.Len())
	}
}

// A chunk that is missing or changed is an error that names it, never a log
// with a hole.
func TestDamagedChunk(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"missing": os.Remove,
		"cut":     func(file string) error { return os.Truncate(file, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			bucket, err := blobs.Open(t.Context(), "file://"+dir, blobs.Options{Keys: [][32]byte{{1}}})
			if err != nil {
				t.Fatal(err)
			}
			defer bucket.Close()
			s := newStore(t, bucket)
			mustAppend(t, s, "b", 0, strings.Repeat("line\n", 100_000))
			chunks, err := filepath.Glob(filepath.Join(dir, "logs", "b", "1", "*"))
			if err != nil || len(chunks) != 1 {
				t.Fatalf("chunks %v, %v", chunks, err)
			}
			if err := damage(chunks[0]); err != nil {
				t.Fatal(err)
			}
			if got, err := s.ReadAt(t.Context(), "b", 0, 100); err == nil || !strings.Contains(err.Error(), "logs/b/1/") {
				t.Errorf("got %q, %v, want an error that names the chunk", got, err)
			}
		})
	}
}
