package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Merge moves what is below from into to, a folder that nobody else changes
// meanwhile, and returns how many files it left out because there is one of
// that name: the source wins (CodeBuild reference 5.1). Links of to are never
// followed. What was left out stays below from. A missing from is empty.
func Merge(from, to string) (kept int, err error) {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading cache: %w", err)
	}
	for _, e := range entries {
		n, err := mergeOne(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), e.IsDir())
		kept += n
		if err != nil {
			return kept, fmt.Errorf("restoring cache: %w", err)
		}
	}
	return kept, nil
}

func mergeOne(from, to string, isDir bool) (kept int, err error) {
	info, err := os.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, move(from, to, isDir)
	case err != nil:
		return 0, err
	case isDir && info.IsDir():
		return Merge(from, to)
	}
	return 1, nil
}

// move renames, and copies where the two are on different file systems.
func move(from, to string, isDir bool) error {
	err := os.Rename(from, to)
	switch {
	case !errors.Is(err, syscall.EXDEV):
		return err
	case isDir:
		return os.CopyFS(to, os.DirFS(from))
	}
	return moveFile(from, to)
}

func moveFile(from, to string) error {
	dir, err := os.OpenRoot(filepath.Dir(from))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only read from
	return os.CopyFS(filepath.Dir(to), only{dir.FS().(fs.ReadLinkFS), filepath.Base(from)})
}

// only is a folder as if it held one entry.
type only struct {
	fs.ReadLinkFS
	name string
}

// ReadDir lists the one entry.
func (o only) ReadDir(string) ([]fs.DirEntry, error) {
	info, err := o.Lstat(o.name)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
}
