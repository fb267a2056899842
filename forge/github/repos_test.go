package github

import (
	"errors"
	"testing"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
)

func TestOpenPull(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	const branch = `feature/a#%2F;$(x)"`
	w.SetBranch("octo/hello", branch, testSHA)
	find := func() int {
		t.Helper()
		n, found, err := w.client.OpenPull(t.Context(), w.repo, branch)
		if err != nil || found != (n != 0) {
			t.Fatal(n, found, err)
		}
		return n
	}
	w.SetPull("octo/hello", forgetest.Pull{Number: 5, Head: branch, HeadSHA: testSHA, State: "closed"})
	w.SetPull("octo/hello", forgetest.Pull{Number: 6, Head: branch, HeadSHA: testSHA, HeadRepo: 99})
	w.SetPull("octo/hello", forgetest.Pull{Number: 8, Head: branch, HeadSHA: testSHA, HeadRepo: -1})
	if n := find(); n != 0 {
		t.Errorf("closed or a fork's: got %d", n)
	}
	w.SetPull("octo/hello", forgetest.Pull{Number: 7, Head: branch, HeadSHA: testSHA})
	if n := find(); n != 7 {
		t.Errorf("got %d, want 7", n)
	}
	w.SetBranch("octo/hello", branch, "")
	if n := find(); n != 0 {
		t.Errorf("branch gone: got %d", n)
	}
}

func TestFile(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.SetFile("octo/hello", testSHA, ".slipway/a b.yml", []byte("x: 1\n"))
	w.SetFile("octo/hello", testSHA, "large", make([]byte, fileLimitBytes+1))
	got, err := w.client.File(t.Context(), w.repo, testSHA, ".slipway/a b.yml")
	if string(got) != "x: 1\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for name, want := range map[string]error{
		"none": forge.ErrNotFound, "large": forge.ErrRejected, "../x": forge.ErrRejected, "/x": forge.ErrRejected, "a/./b": forge.ErrRejected,
	} {
		if _, err := w.client.File(t.Context(), w.repo, testSHA, name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}
