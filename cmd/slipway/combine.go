package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
)

// combiner makes one artifact of several.
type combiner struct {
	control pipeline.Control
	dir     string // the data folder
}

// sweep removes what a killed server left. The data folder is this process's
// alone.
func (c combiner) sweep() error {
	left, err := filepath.Glob(filepath.Join(c.dir, "tmp", "combine-*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// combine makes the zip that holds the files of all artifacts of the order. A
// file that two of them have is there once; it is a mistake of the author if it
// isn't the same in both. A single artifact is taken as it is.
func (c combiner) combine(ctx context.Context, job pipeline.Assignment, say func(string, ...any)) (out pipeline.Outcome, err error) {
	out = pipeline.Outcome{Status: pipeline.BuildSucceeded}
	parts := job.Batch.Combine
	for _, p := range parts {
		say("Artifact of %s: %d files, %d bytes", p.Name, p.Files, p.Bytes)
	}
	switch len(parts) {
	case 0:
		say("No build of the batch made an artifact")
		return out, nil
	case 1:
		parts[0].Name = pipeline.BuildArtifact
		out.Artifacts = parts
		return out, nil
	}
	temp := filepath.Join(c.dir, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return out, err
	}
	dir, err := os.MkdirTemp(temp, "combine-")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for i, p := range parts {
		if err := c.unpack(ctx, job, p, filepath.Join(dir, strconv.Itoa(i))); err != nil {
			return out, fmt.Errorf("unpacking the artifact of %s: %w", p.Name, err)
		}
	}
	made, err := c.pack(ctx, job, dir, parts)
	if err == nil {
		say("Combined: %d files, %d bytes", made.Files, made.Bytes)
		out.Artifacts = []pipeline.Artifact{made}
	}
	return out, err
}

func (c combiner) unpack(ctx context.Context, job pipeline.Assignment, p pipeline.Artifact, dest string) error {
	r, err := c.control.Artifact(ctx, job.Job.Ref(), p.Digest)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read from
	_, err = archive.Unpack(r, dest, archive.Limits{}, nil)
	return err
}

// pack packs what was unpacked into one folder for each part.
func (c combiner) pack(ctx context.Context, job pipeline.Assignment, dir string, parts []pipeline.Artifact) (pipeline.Artifact, error) {
	made := pipeline.Artifact{Name: pipeline.BuildArtifact, Format: string(archive.Zip)}
	root, err := os.OpenRoot(dir) // refuses to follow links out of the folder
	if err != nil {
		return made, err
	}
	defer func() { _ = root.Close() }() // a handle for reading
	entries, files, err := merged(root, parts)
	if err != nil {
		return made, err
	}
	made.Files = files
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := archive.Pack(w, root.FS(), entries, archive.PackOptions{Format: archive.Zip, Reproducible: true})
		w.CloseWithError(err)
	}()
	made, err = c.control.PutArtifact(ctx, job.Job.Ref(), made, r)
	r.CloseWithError(err)
	<-done
	return made, err
}

// merged are the entries of all parts, each name once, and how many are files.
func merged(root *os.Root, parts []pipeline.Artifact) (entries []archive.Entry, files int, err error) {
	from := map[string]int{}
	for i, p := range parts {
		top := strconv.Itoa(i)
		err := fs.WalkDir(root.FS(), top, func(at string, d fs.DirEntry, err error) error {
			if err != nil || at == top {
				return err
			}
			name := at[len(top)+1:]
			if first, twice := from[name]; twice {
				return same(root, strconv.Itoa(first), top, name, parts[first].Name, p.Name)
			}
			from[name] = i
			if !d.IsDir() {
				files++
			}
			entries = append(entries, archive.Entry{Path: at, Name: name})
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return entries, files, nil
}

// same complains if two artifacts have different files of one name.
func same(root *os.Root, a, b, name, first, second string) error {
	x, err := root.Lstat(a + "/" + name)
	if err != nil {
		return err
	}
	y, err := root.Lstat(b + "/" + name)
	if err != nil {
		return err
	}
	equal := x.Mode().Type() == y.Mode().Type()
	if equal && !x.IsDir() {
		if equal = x.Size() == y.Size(); equal {
			equal, err = sameContent(root, a+"/"+name, b+"/"+name, x.Mode())
		}
	}
	if err == nil && !equal {
		err = &pipeline.UserError{Code: pipeline.JobFailed, Msg: fmt.Sprintf("combining the artifacts: tasks %s and %s both made %s, and not the same", first, second, name)}
	}
	return err
}

func sameContent(root *os.Root, a, b string, mode fs.FileMode) (bool, error) {
	if mode.Type() == fs.ModeSymlink {
		x, err := root.Readlink(a)
		if err != nil {
			return false, err
		}
		y, err := root.Readlink(b)
		return x == y, err
	}
	x, err := root.Open(a)
	if err != nil {
		return false, err
	}
	defer func() { _ = x.Close() }() // only read from
	y, err := root.Open(b)
	if err != nil {
		return false, err
	}
	defer func() { _ = y.Close() }() // only read from
	return archive.SameBytes(x, y)
}
