package github

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
)

func manyFiles(n int) []forgetest.File {
	files := make([]forgetest.File, n)
	for i := range files {
		files[i].Name = fmt.Sprintf("f%d", i)
	}
	return files
}

func TestCompare(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	head := strings.Repeat("d", 40)
	w.SetChanges("octo/hello", "release/a...", head, []forgetest.File{{Name: "api/x.go"}, {Name: "b", Former: "a"}})
	got, err := w.client.Compare(t.Context(), w.repo, "release/a", head)
	if diff := cmp.Diff(forge.Changes{Paths: []string{"api/x.go", "b", "a"}}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if _, err := w.client.Compare(t.Context(), w.repo, "gone", head); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	w.SetChanges("octo/hello", testSHA+"...", head, manyFiles(400))
	if got, err := w.client.Compare(t.Context(), w.repo, testSHA, head); len(got.Paths) != 300 || got.Unknown == "" || err != nil {
		t.Errorf("400 files: got %d, unknown because %q, %v", len(got.Paths), got.Unknown, err)
	}
}

func TestPullFiles(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	for n, want := range map[int]bool{0: true, 5: true, 250: true, 3000: false, 3001: false} {
		w.SetPull("octo/hello", forgetest.Pull{Number: 4, Head: "x", HeadSHA: testSHA, Files: manyFiles(n)})
		got, err := w.client.PullFiles(t.Context(), w.repo, 4)
		if len(got.Paths) != min(n, forge.MaxChanges) || (got.Unknown == "") != want || err != nil {
			t.Errorf("%d files: got %d, unknown because %q, %v", n, len(got.Paths), got.Unknown, err)
		}
	}
	if _, err := w.client.PullFiles(t.Context(), w.repo, 99); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}
