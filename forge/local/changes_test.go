package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

func (w world) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(w.work, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.do(t, "add", "-A")
}

func TestCompare(t *testing.T) {
	w := newWorld(t)
	w.write(t, "api/x.go", "x\n")
	w.write(t, "odd\nname", "y\n")
	first := w.commit(t, "first")
	w.do(t, "push", "-q", "origin", "trunk")
	w.do(t, "checkout", "-q", "-b", "topic")
	w.do(t, "mv", "api/x.go", "api/y.go")
	w.write(t, "odd\nname", "z\n")
	topic := w.commit(t, "topic")
	w.do(t, "checkout", "-q", "trunk")
	w.write(t, "trunk.txt", "only here\n")
	w.commit(t, "second")
	w.do(t, "checkout", "-q", "--orphan", "island")
	island := w.commit(t, "island")
	w.do(t, "push", "-q", "origin", "trunk", "topic", "island")
	repo := forge.Repo{Owner: "o", Name: "r"}
	for _, base := range []string{first, "trunk"} {
		got, err := w.Compare(t.Context(), repo, base, topic)
		if diff := cmp.Diff(forge.Changes{Paths: []string{"api/x.go", "api/y.go", "odd\nname"}}, got); diff != "" || err != nil {
			t.Errorf("from %s: %v (-want +got)\n%s", base, err, diff)
		}
	}
	for _, base := range []string{"gone", island} {
		if _, err := w.Compare(t.Context(), repo, base, topic); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("from %s: got %v, want ErrNotFound", base, err)
		}
	}
	if _, err := w.Compare(t.Context(), forge.Repo{Owner: "o", Name: "none"}, first, topic); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestCompareIsBounded(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "first")
	w.do(t, "push", "-q", "origin", "trunk")
	w.do(t, "checkout", "-q", "-b", "many")
	for i := range forge.MaxChanges + 5 {
		if err := os.WriteFile(filepath.Join(w.work, fmt.Sprintf("f%d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.do(t, "add", "-A")
	many := w.commit(t, "many")
	w.do(t, "push", "-q", "origin", "many")
	got, err := w.Compare(t.Context(), forge.Repo{Owner: "o", Name: "r"}, "trunk", many)
	if len(got.Paths) != forge.MaxChanges || got.Unknown == "" || err != nil {
		t.Errorf("got %d files, unknown because %q, %v", len(got.Paths), got.Unknown, err)
	}
}
