package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
)

// shelf has artifacts by their digest, and keeps what is put there.
type shelf struct {
	pipeline.Control
	have map[string][]byte
	put  []byte
}

func (s *shelf) Artifact(_ context.Context, _ pipeline.JobRef, digest string) (io.ReadCloser, error) {
	data, ok := s.have[digest]
	if !ok {
		return nil, pipeline.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (s *shelf) PutArtifact(_ context.Context, _ pipeline.JobRef, a pipeline.Artifact, r io.Reader) (_ pipeline.Artifact, err error) {
	s.put, err = io.ReadAll(r)
	return a, err
}

// fill puts an artifact of these files on the shelf.
func (s *shelf) fill(t *testing.T, digest string, files fstest.MapFS) {
	t.Helper()
	entries, err := archive.List(files)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := archive.Pack(&b, files, entries, archive.PackOptions{Format: archive.TarZstd}); err != nil {
		t.Fatal(err)
	}
	s.have[digest] = b.Bytes()
}

func combineOn(t *testing.T, s *shelf, parts ...pipeline.Artifact) (pipeline.Outcome, error) {
	t.Helper()
	c := combiner{control: s, dir: t.TempDir()}
	out, err := c.combine(t.Context(), pipeline.Assignment{Batch: &pipeline.BatchOrder{Combines: true, Combine: parts}}, t.Logf)
	if left, _ := os.ReadDir(filepath.Join(c.dir, "tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return out, err
}

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), Mode: 0o644} }

func TestArtifactsAreCombined(t *testing.T) {
	s := &shelf{have: map[string][]byte{}}
	s.fill(t, "1", fstest.MapFS{"a/one": text("1"), "same": text("s"), "link": {Data: []byte("same"), Mode: fs.ModeSymlink | 0o777}})
	s.fill(t, "2", fstest.MapFS{"a/two": text("2"), "same": text("s"), "link": {Data: []byte("same"), Mode: fs.ModeSymlink | 0o777}})
	out, err := combineOn(t, s, pipeline.Artifact{Name: "x", Digest: "1"}, pipeline.Artifact{Name: "y", Digest: "2"})
	if err != nil || len(out.Artifacts) != 1 || out.Artifacts[0].Name != pipeline.BuildArtifact || out.Artifacts[0].Files != 4 {
		t.Fatalf("got %+v, %v", out, err)
	}
	dir := t.TempDir()
	if _, err := archive.Unpack(bytes.NewReader(s.put), dir, archive.Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := archive.List(os.DirFS(dir))
	for _, e := range entries {
		got = append(got, e.Path)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "a/one", "a/two", "link", "same"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// One artifact is taken as it is, and none is none.
func TestNothingToCombine(t *testing.T) {
	s := &shelf{}
	out, err := combineOn(t, s, pipeline.Artifact{Name: "x", Digest: "1", Files: 3})
	if diff := cmp.Diff([]pipeline.Artifact{{Name: pipeline.BuildArtifact, Digest: "1", Files: 3}}, out.Artifacts); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if out, err := combineOn(t, s); err != nil || out.Status != pipeline.BuildSucceeded || len(out.Artifacts) > 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// What two tasks made differently is their author's mistake; that an artifact
// can't be had isn't.
func TestArtifactsThatDoNotFit(t *testing.T) {
	link := func(to string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
	}
	tests := []struct {
		name          string
		first, second *fstest.MapFile
	}{
		{"of one size", text("1"), text("2")},
		{"of two sizes", text("1"), text("22")},
		{"a link and a file", text("1"), link("g")},
		{"links", link("g"), link("h")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{have: map[string][]byte{}}
			s.fill(t, "1", fstest.MapFS{"f": tt.first})
			s.fill(t, "2", fstest.MapFS{"f": tt.second})
			_, err := combineOn(t, s, pipeline.Artifact{Name: "x", Digest: "1"}, pipeline.Artifact{Name: "y", Digest: "2"})
			mistake, ok := errors.AsType[*pipeline.UserError](err)
			if want := "combining the artifacts: tasks x and y both made f, and not the same"; !ok || mistake.Msg != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	_, err := combineOn(t, &shelf{}, pipeline.Artifact{Name: "x", Digest: "1"}, pipeline.Artifact{Name: "y", Digest: "2"})
	if _, mistake := errors.AsType[*pipeline.UserError](err); mistake || !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
