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
	var unpacked []part
	for i, p := range parts {
		unpacked = append(unpacked, part{task: p.Name, dir: strconv.Itoa(i)})
	}
	entries, files, err := merged(root, unpacked)
	if err != nil {
		return made, err
	}
	made.Files = files
	err = packed(root, entries, func(r io.Reader) error {
		var err error
		made, err = c.control.PutArtifact(ctx, job.Job.Ref(), made, r)
		return err
	})
	return made, err
}

// packed hands take the zip of the entries while it is being made.
func packed(root *os.Root, entries []archive.Entry, take func(io.Reader) error) error {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := archive.Pack(w, root.FS(), entries, archive.PackOptions{Format: archive.Zip, Reproducible: true})
		w.CloseWithError(err)
	}()
	err := take(r)
	r.CloseWithError(err)
	<-done
	return err
}

// part is the artifact of one task, unpacked.
type part struct {
	task, dir string
}

// merged are the entries of all parts, each name once, and how many are files.
func merged(root *os.Root, parts []part) (entries []archive.Entry, files int, err error) {
	from := map[string]part{}
	for _, p := range parts {
		err := fs.WalkDir(root.FS(), p.dir, func(at string, d fs.DirEntry, err error) error {
			if err != nil || at == p.dir {
				return err
			}
			name := at[len(p.dir)+1:]
			if first, twice := from[name]; twice {
				return same(root, name, first, p)
			}
			from[name] = p
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
func same(root *os.Root, name string, first, second part) error {
	a, b := first.dir+"/"+name, second.dir+"/"+name
	x, err := root.Lstat(a)
	if err != nil {
		return err
	}
	y, err := root.Lstat(b)
	if err != nil {
		return err
	}
	equal := x.Mode().Type() == y.Mode().Type()
	if equal && !x.IsDir() {
		if equal = x.Size() == y.Size(); equal {
			equal, err = sameContent(root, a, b, x.Mode())
		}
	}
	if err == nil && !equal {
		err = &pipeline.UserError{Code: pipeline.JobFailed, Msg: fmt.Sprintf("combining the artifacts: tasks %s and %s both made %s, and not the same", first.task, second.task, name)}
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
