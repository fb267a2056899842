package blobs_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/store/blobs"
)

// A full disk is an error at once, leaves nothing behind, harms nothing that is
// there, and is over when there is room.
func TestFullDisk(t *testing.T) {
	for _, o := range []blobs.Options{{}, {Keys: [][32]byte{key}}} {
		dir := testenv.SmallDisk(t, 1<<20)
		b := open(t, "file://"+dir, o)
		write(t, b, "there", pattern(500<<10))
		if err := b.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := b.Failures(); n != 0 {
			t.Errorf("%d failures before there was one", n)
		}
		if err := b.WriteAll(t.Context(), "big", pattern(2<<20)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v, want ENOSPC", err)
		}
		if b.Failures() == 0 {
			t.Error("the failure isn't counted")
		}
		if names, err := filepath.Glob(filepath.Join(dir, "*big*")); len(names) > 0 || err != nil {
			t.Errorf("left behind: %v, %v", names, err)
		}
		rest := filepath.Join(dir, "rest")
		if err := os.WriteFile(rest, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
		if err := b.Check(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("check of a full disk: got %v, want ENOSPC", err)
		}
		if got, err := read(t, b, "there"); err != nil || !bytes.Equal(got, pattern(500<<10)) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if err := os.Remove(rest); err != nil {
			t.Fatal(err)
		}
		if err := b.Check(t.Context()); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
}

// A store that is away is neither an empty nor a damaged one.
func TestStoreAway(t *testing.T) {
	s := newS3(t)
	b := open(t, s.address, blobs.Options{Keys: [][32]byte{key}})
	write(t, b, "x", pattern(200<<10))
	away := func(err error) {
		t.Helper()
		if err == nil || errors.Is(err, blobs.ErrNotFound) || errors.Is(err, blobs.ErrDamaged) || errors.Is(err, blobs.ErrKey) {
			t.Errorf("got %v, want an error that may pass", err)
		}
	}
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"refuses": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		},
		"hangs up in the middle": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Length", "100000")
				_, _ = w.Write(s.object("x")[:50_000])
			}
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.during(answer)
			defer s.during(nil)
			_, err := read(t, b, "x")
			away(err)
			away(b.WriteAll(t.Context(), "y", []byte("y")))
			_, err = b.Exists(t.Context(), "x")
			away(err)
			away(b.Check(t.Context()))
			_, err = blobs.Open(t.Context(), s.address, blobs.Options{Keys: [][32]byte{key}})
			away(err)
		})
	}
	t.Run("stalls", func(t *testing.T) {
		over := make(chan struct{})
		s.during(func(http.ResponseWriter, *http.Request) bool {
			<-over
			return true
		})
		defer s.during(nil)
		defer close(over)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		away(b.Check(ctx))
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %s", took)
		}
	})
	if got, err := read(t, b, "x"); err != nil || !bytes.Equal(got, pattern(200<<10)) {
		t.Errorf("afterwards: got %d bytes, %v", len(got), err)
	}
	if ok, err := b.Exists(t.Context(), "y"); ok || err != nil {
		t.Errorf("half an object: got %v, %v", ok, err)
	}
}
