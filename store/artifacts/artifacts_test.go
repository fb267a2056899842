package artifacts_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slipway-ci/slipway/store/artifacts"
	"github.com/slipway-ci/slipway/store/blobs"
)

// open is a store over a folder.
func open(t *testing.T) (*artifacts.Store, string) {
	t.Helper()
	dir := t.TempDir()
	b, err := blobs.Open(t.Context(), "file://"+dir, blobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return artifacts.New(b, removals{}), dir
}

// removals says that nobody removes anything.
type removals struct{}

func (removals) Begin(context.Context, string) error           { return nil }
func (removals) End(context.Context, string) error             { return nil }
func (removals) Pending(context.Context, string) (bool, error) { return false, nil }

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestPut(t *testing.T) {
	s, dir := open(t)
	ctx := t.Context()
	for range 2 {
		digest, size, err := s.Put(ctx, strings.NewReader("bundle"))
		if err != nil || digest != digestOf("bundle") || size != 6 {
			t.Fatalf("got %s, %d, %v", digest, size, err)
		}
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v, want one", got)
	}
	r, err := s.Open(ctx, digestOf("bundle"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "bundle" {
		t.Errorf("got %q, %v", got, err)
	}
	if removed, err := s.Expire(ctx, digestOf("bundle"), time.Now().Add(-time.Hour)); err != nil || removed {
		t.Errorf("young: got %v, %v", removed, err)
	}
	if removed, err := s.Expire(ctx, digestOf("bundle"), time.Now().Add(time.Hour)); err != nil || !removed {
		t.Errorf("old: got %v, %v", removed, err)
	}
	if _, err := s.Open(ctx, digestOf("bundle")); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("removed: got %v, want ErrNotFound", err)
	}
}

func TestPutFails(t *testing.T) {
	s, dir := open(t)
	broken := errors.New("the worker is gone")
	r := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(broken))
	if _, _, err := s.Put(t.Context(), r); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestOpenDamaged(t *testing.T) {
	s, dir := open(t)
	digest, _, err := s.Put(t.Context(), strings.NewReader("bundle"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files(t, dir)[0], []byte("bundlE"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, artifacts.ErrDigest) {
		t.Errorf("got %v, want ErrDigest", err)
	}
}

func TestOpenUnknown(t *testing.T) {
	s, _ := open(t)
	for _, digest := range []string{"", "../../etc/passwd", digestOf("x"), strings.ToUpper(digestOf("x"))} {
		if _, err := s.Open(t.Context(), digest); !errors.Is(err, artifacts.ErrNotFound) {
			t.Errorf("%q: got %v, want ErrNotFound", digest, err)
		}
	}
}

func TestBody(t *testing.T) {
	s, _ := open(t)
	if err := s.PutBody(t.Context(), "github/../../d1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Body(t.Context(), "github/../../d1"); err != nil || string(got) != "{}" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := s.Body(t.Context(), "other"); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestSweep(t *testing.T) {
	s, dir := open(t)
	left := filepath.Join(dir, "incoming", "LEFT")
	if err := os.MkdirAll(filepath.Dir(left), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); err != nil || n != 0 {
		t.Errorf("young: got %d, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("old: got %d, %v", n, err)
	}
}
