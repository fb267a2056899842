package cache

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-ci/slipway/internal/archive"
)

// The folders of an archive: what is relative to the source, and what has an
// absolute path.
const (
	Source = "source"
	Root   = "root"
)

// Selection is what a cache holds: files of up to two trees.
type Selection struct {
	trees   trees
	entries []archive.Entry
	seen    map[string]bool
	// Skipped counts links that lead out of their tree, which no archive keeps.
	Skipped int
}

// NewSelection makes an empty Selection of the trees, which are named Source
// and Root.
func NewSelection(of map[string]fs.FS) *Selection {
	return &Selection{trees: of, seen: map[string]bool{}}
}

// Files is how many files and links are selected.
func (s *Selection) Files() int { return len(s.entries) }

// Add selects what matches a pattern in one of the trees. A folder that a
// pattern names stands for all that is in it. The .git folder of a source is
// left out.
func (s *Selection) Add(tree, pattern string) error {
	below, ok := s.trees[tree]
	if !ok || !fs.ValidPath(path.Clean(pattern)) {
		return fs.ErrInvalid
	}
	matches, err := doublestar.Glob(below, path.Clean(pattern), doublestar.WithNoFollow())
	if err != nil {
		return err
	}
	deep := strings.Contains(pattern, "**")
	for _, m := range matches {
		info, err := fs.Lstat(below, m)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !info.IsDir():
			s.take(tree, m, info.Mode())
		case !deep:
			if err := s.walk(tree, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Selection) walk(tree, dir string) error {
	return fs.WalkDir(s.trees[tree], dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			s.take(tree, p, d.Type())
		}
		return err
	})
}

func (s *Selection) take(tree, name string, mode fs.FileMode) {
	full := tree + "/" + name
	if s.seen[full] || tree == Source && (name == ".git" || strings.HasPrefix(name, ".git/")) {
		return
	}
	s.seen[full] = true
	switch mode.Type() {
	case 0:
	case fs.ModeSymlink:
		text, err := fs.ReadLink(s.trees[tree], name)
		if err != nil || leaves(name, text) {
			s.Skipped++
			return
		}
	default:
		return
	}
	s.entries = append(s.entries, archive.Entry{Path: full})
}

// leaves reports whether a link may lead out of its tree.
func leaves(name, text string) bool {
	ups := 0
	for text == ".." || strings.HasPrefix(text, "../") {
		text = strings.TrimLeft(strings.TrimPrefix(text, ".."), "/")
		ups++
	}
	return path.IsAbs(text) || strings.Contains("/"+text+"/", "/../") || ups > strings.Count(name, "/")
}

// Pack writes the selection to w.
func (s *Selection) Pack(w io.Writer) (archive.Summary, error) {
	return archive.Pack(w, s.trees, s.entries, archive.PackOptions{Format: archive.TarZstd})
}

// trees are file systems below one folder each.
type trees map[string]fs.FS

var _ fs.ReadLinkFS = trees{}

func (t trees) split(name string) (fs.FS, string, error) {
	tree, rest, _ := strings.Cut(name, "/")
	below, ok := t[tree]
	if !ok || rest == "" {
		return nil, "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return below, rest, nil
}

func (t trees) Open(name string) (fs.File, error) {
	below, rest, err := t.split(name)
	if err != nil {
		return nil, err
	}
	return below.Open(rest)
}

func (t trees) ReadLink(name string) (string, error) {
	below, rest, err := t.split(name)
	if err != nil {
		return "", err
	}
	return fs.ReadLink(below, rest)
}

func (t trees) Lstat(name string) (fs.FileInfo, error) {
	below, rest, err := t.split(name)
	if err != nil {
		return nil, err
	}
	return fs.Lstat(below, rest)
}
