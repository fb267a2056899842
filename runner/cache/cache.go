// Package cache picks the files that a buildspec's cache block names, packs
// them, and puts them back into a later build without writing anywhere else.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Version is the digest of a list of paths: entries of other lists never match
// (CodeBuild reference 5.2).
func Version(paths []string) string {
	sum := sha256.Sum256([]byte(strings.Join(paths, "\x00")))
	return hex.EncodeToString(sum[:])
}

// ErrNoFiles says that no file matches what a key sums.
var ErrNoFiles = errors.New("no file matches")

// sums are the two forms in which a key asks for the digest of files.
var sums = regexp.MustCompile(`\$\(\s*codebuild-hash-files\s+([^()]*)\)|\bchecksum\(([^()]*)\)`)

// Sums replaces $(codebuild-hash-files GLOB...) and checksum(GLOB...) in a key
// by the digest of the files of root that match.
func Sums(root fs.FS, key string) (string, error) {
	var failed error
	out := sums.ReplaceAllStringFunc(key, func(call string) string {
		m := sums.FindStringSubmatch(call)
		sum, err := Sum(root, words(m[1]+m[2]))
		failed = errors.Join(failed, err)
		return sum
	})
	return out, failed
}

func words(list string) []string {
	fields := strings.FieldsFunc(list, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' || c == '\n' })
	for i, f := range fields {
		fields[i] = strings.Trim(f, `'"`)
	}
	return fields
}

const sumLimit = 100_000 // files in one digest

// Sum is the SHA-256 over the files that match any of the globs, in the order
// of their names: name, NUL, size, NUL, content of each. ErrNoFiles: none does.
func Sum(root fs.FS, globs []string) (string, error) {
	var names []string
	for _, g := range globs {
		matches, err := doublestar.Glob(root, path.Clean(g), doublestar.WithNoFollow(), doublestar.WithFilesOnly())
		if err != nil {
			return "", fmt.Errorf("%s: %w", g, err)
		}
		names = append(names, matches...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 || len(names) > sumLimit {
		return "", fmt.Errorf("%s: %w, or more than %d do", strings.Join(globs, " "), ErrNoFiles, sumLimit)
	}
	hash := sha256.New()
	for _, name := range names {
		if err := sumFile(hash, root, name); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func sumFile(w io.Writer, root fs.FS, name string) error {
	info, err := fs.Stat(root, name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if _, err := fmt.Fprintf(w, "%s\x00%d\x00", name, info.Size()); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
