package cache_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-ci/slipway/runner/cache"
)

// A source whose folders are links leads no cached file elsewhere, and a cached
// link replaces no file of the source.
//
// Attacks: 18.
func TestMergeStaysInside(t *testing.T) {
	box := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{box}, parts...)...) }
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	write(at("outside", "kept"), "theirs")
	write(at("cache", "dir", "planted"), "evil")
	write(at("cache", "dir", "kept"), "evil")
	write(at("cache", "new", "file"), "good")
	link(at("outside", "kept"), at("cache", "main.go"))
	link("../../../outside/planted", at("cache", "file"))
	link(at("outside"), at("source", "dir"))
	link(at("outside", "planted"), at("source", "file"))
	write(at("source", "main.go"), "ours")

	kept, err := cache.Merge(at("cache"), at("source"))
	if err != nil || kept != 3 {
		t.Errorf("kept %d, %v", kept, err)
	}
	for name, want := range map[string]string{at("outside", "kept"): "theirs", at("source", "main.go"): "ours", at("source", "new", "file"): "good"} {
		if got, err := os.ReadFile(name); string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if left, err := os.ReadDir(at("outside")); err != nil || len(left) != 1 {
		t.Errorf("outside holds %v, %v", left, err)
	}
}
