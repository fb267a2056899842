package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was deployed below one root was taken as known below every other, so
// that files of strangers were overwritten there.
func TestDeployBelowAnotherRootKeepsStrangersFiles(t *testing.T) {
	revision, data := t.TempDir(), t.TempDir()
	write(t, filepath.Join(revision, "appspec.yml"), "version: 0.0\nos: linux\nfiles:\n  - {source: page, destination: /srv}\n")
	write(t, filepath.Join(revision, "page"), "ours")
	first, second := t.TempDir(), t.TempDir()
	precious := filepath.Join(second, "srv", "page")
	write(t, precious, "precious")
	getenv := func(name string) string {
		return map[string]string{"SLIPWAY_DATA": data, "SLIPWAY_LOG": "error"}[name]
	}
	deploy := func(root string) (int, string) {
		var out bytes.Buffer
		code := run([]string{"deploy", "--root", root, revision}, getenv, os.Stdin, &out, &out)
		return code, out.String()
	}
	if code, out := deploy(first); code != exitOK {
		t.Fatalf("first root: got exit code %d:\n%s", code, out)
	}
	code, out := deploy(second)
	if code != exitFailed || !strings.Contains(out, "/srv/page already exists on this host") {
		t.Errorf("second root: got exit code %d:\n%s", code, out)
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "precious" {
		t.Errorf("got %q, %v: the file of a stranger is gone", text, err)
	}
	if code, out := deploy(first); code != exitOK {
		t.Errorf("first root again: got exit code %d:\n%s", code, out)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
