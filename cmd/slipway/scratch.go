package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/slipway-ci/slipway/runner/host"
)

// scratch is a folder for one process. A lock on it says that the process
// lives, so that the next one can tell what a killed one left.
type scratch struct {
	path string
	lock *os.File
}

// openScratch makes a folder below dir, and removes those of dead processes.
func openScratch(dir string) (*scratch, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for builds: %w", err)
	}
	// Nobody looks for the dead while a folder is made and not locked yet.
	parent, err := lockFolder(dir, 0)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := removeDead(dir); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(dir, "process-")
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(path, syscall.LOCK_NB)
	if err != nil {
		return nil, err
	}
	return &scratch{path, lock}, nil
}

// close removes the folder.
func (s *scratch) close() error {
	return errors.Join(host.RemoveAll(s.path), s.lock.Close())
}

// lockFolder locks a folder until the file is closed, or this process ends.
func lockFolder(path string, how int) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|how); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f, nil
}

func removeDead(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		lock, err := lockFolder(path, syscall.LOCK_NB)
		if err != nil {
			continue // its process lives
		}
		errs = append(errs, host.RemoveAll(path), lock.Close())
	}
	return errors.Join(errs...)
}
