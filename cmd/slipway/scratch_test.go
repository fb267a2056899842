package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Attacks: 19.
func TestScratchRemovesWhatDeadProcessesLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "builds")
	dead, err := openScratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(dead.path, "build", "readonly")
	if err := os.MkdirAll(readOnly, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(readOnly, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as the kernel does for a killed process
		t.Fatal(err)
	}
	living, err := openScratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	other, err := openScratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the dead process' folder: %v, want it gone", err)
	}
	if _, err := os.Stat(living.path); err != nil {
		t.Errorf("the living process' folder: %v", err)
	}
	for _, s := range []*scratch{living, other} {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}
