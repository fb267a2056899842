package caches_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store/blobs"
	"github.com/slipway-ci/slipway/store/caches"
)

var version, other = strings.Repeat("a", 64), strings.Repeat("b", 64)

func open(t *testing.T) *caches.Store {
	t.Helper()
	b, err := blobs.Open(t.Context(), "mem://", blobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return caches.New(b, time.Now)
}

func save(t *testing.T, s *caches.Store, scope, version, key, text string) {
	t.Helper()
	if _, err := s.Save(t.Context(), scope, pipeline.CacheQuery{Version: version, Key: key}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// restore is what a query finds: the entry's key and its text, or "none".
func restore(t *testing.T, s *caches.Store, scope string, q pipeline.CacheQuery) string {
	t.Helper()
	e, r, err := s.Restore(t.Context(), scope, q)
	if errors.Is(err, pipeline.ErrNotFound) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	exact := ""
	if e.Exact {
		exact = " exact"
	}
	return e.Key + ":" + string(text) + exact
}

func TestLookup(t *testing.T) {
	s := open(t)
	long := strings.Repeat("k", 300)
	save(t, s, "t", version, "k-1", "one")
	save(t, s, "t", version, "k-2", "two")
	save(t, s, "t", version, "k-1", "changed")
	save(t, s, "t", version, long, "long")
	save(t, s, "t", version, "", "old")
	save(t, s, "t", version, "", "new")
	tests := []struct {
		name, scope string
		q           pipeline.CacheQuery
		want        string
	}{
		{"C35 exact, and never changed", "t", pipeline.CacheQuery{Version: version, Key: "k-1"}, "k-1:one exact"},
		{"C35 a key isn't a prefix", "t", pipeline.CacheQuery{Version: version, Key: "k-"}, "none"},
		{"C35 a fallback is, and the newest counts", "t", pipeline.CacheQuery{Version: version, Key: "k-3", Fallbacks: []string{"x", "k-"}}, "k-2:two"},
		{"C36 other paths", "t", pipeline.CacheQuery{Version: other, Key: "k-1", Fallbacks: []string{"k-"}}, "none"},
		{"another scope", "u", pipeline.CacheQuery{Version: version, Key: "k-1", Fallbacks: []string{""}}, "none"},
		{"no key: one entry, replaced", "t", pipeline.CacheQuery{Version: version}, ":new exact"},
		{"a key longer than a file's name", "t", pipeline.CacheQuery{Version: version, Key: "none", Fallbacks: []string{long[:250]}}, long + ":long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := restore(t, s, tt.scope, tt.q); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSweep(t *testing.T) {
	s := open(t)
	save(t, s, "t", version, "k", "one")
	if n, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("young: got %d, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("old: got %d, %v", n, err)
	}
	if got := restore(t, s, "t", pipeline.CacheQuery{Version: version, Key: "k"}); got != "none" {
		t.Errorf("got %q", got)
	}
}

func TestRefusedQueries(t *testing.T) {
	s := open(t)
	for _, q := range []pipeline.CacheQuery{{Version: "../../x"}, {Version: version, Key: strings.Repeat("k", 513)}} {
		if _, err := s.Save(t.Context(), "t", q, strings.NewReader("x")); err == nil {
			t.Errorf("%.40v was saved", q)
		}
	}
}

// A reader that fails leaves no entry behind.
func TestBrokenSave(t *testing.T) {
	s := open(t)
	q := pipeline.CacheQuery{Version: version, Key: "k"}
	r := io.MultiReader(strings.NewReader("half"), failing{})
	if _, err := s.Save(t.Context(), "t", q, r); err == nil {
		t.Error("saved")
	}
	if got := restore(t, s, "t", q); got != "none" {
		t.Errorf("got %q", got)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }
