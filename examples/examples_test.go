// Package examples runs the repositories beside it as their README says.
package examples

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// program is slipway, built once.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "slipway-examples-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "slipway")
		build := exec.Command("go", "build", "-o", program, "./cmd/slipway")
		build.Dir = testenv.Root()
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building slipway: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// place is where one test's slipway keeps its data.
type place struct {
	*testing.T
	data string
}

func newPlace(t *testing.T) place {
	t.Helper()
	return place{t, t.TempDir()}
}

// slipway runs a command in this folder; it must end with the exit code.
func (p place) slipway(want int, args ...string) string {
	p.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(p.Context(), program, args...)
	cmd.Env = append(os.Environ(), "SLIPWAY_DATA="+p.data, "SLIPWAY_CONFIG=", "SLIPWAY_LOG=warn")
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		p.Fatalf("slipway %s: got exit code %d, want %d:\n%s", strings.Join(args, " "), got, want, &out)
	}
	return out.String()
}

// files are the files below a folder, by path, with their first lines.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		first, _, _ := strings.Cut(string(text), "\n")
		name, relErr := filepath.Rel(dir, path)
		found[filepath.ToSlash(name)] = first
		return errors.Join(err, relErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestBuilds(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want map[string]string
	}{
		{"hello", []string{"hello"}, map[string]string{"greeting.txt": "Hello, world"}},
		{"hello with another variable", []string{"--env", "GREETED=you", "hello"}, map[string]string{"greeting.txt": "Hello, you"}},
		{"monorepo", []string{"monorepo"}, map[string]string{
			"index.html": "<!doctype html>", "css/style.css": "h1 { font-family: sans-serif }", "api/version.txt": "api 1.0",
		}},
		{"one part of the monorepo", []string{"--buildspec", "api/buildspec.yml", "monorepo"}, map[string]string{"version.txt": "api 1.0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := t.TempDir()
			newPlace(t).slipway(0, append([]string{"build", "--engine", "host", "--copy", "--artifacts", out}, tt.args...)...)
			if diff := cmp.Diff(tt.want, files(t, out)); diff != "" {
				t.Errorf("artifacts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPipelineFile(t *testing.T) {
	if out := newPlace(t).slipway(0, "validate", "--strict", "pipeline"); !strings.Contains(out, "2 valid") {
		t.Errorf("want the buildspec and the pipeline file, got:\n%s", out)
	}
}

func TestDeployment(t *testing.T) {
	p, root := newPlace(t), t.TempDir()
	first := p.slipway(0, "deploy", "--root", root, "service")
	if strings.Contains(first, "stopping") {
		t.Errorf("ApplicationStop ran where nothing was installed:\n%s", first)
	}
	want := map[string]string{"srv/service/index.html": "<!doctype html>", "srv/service/group.txt": "local"}
	if diff := cmp.Diff(want, files(t, root)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if again := p.slipway(0, "deploy", "--root", root, "service"); !strings.Contains(again, "stopping for d-") {
		t.Errorf("the second deployment did not run ApplicationStop of the first:\n%s", again)
	}
}

// A file that nobody deployed stays, and the deployment says so.
func TestDeploymentOverAFileOfAStranger(t *testing.T) {
	root := t.TempDir()
	page := filepath.Join(root, "srv", "service", "index.html")
	if err := errors.Join(os.MkdirAll(filepath.Dir(page), 0o755), os.WriteFile(page, []byte("mine\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	out := newPlace(t).slipway(1, "deploy", "--root", root, "service")
	if !strings.Contains(out, "appspec.yml:5:5: the file /srv/service/index.html already exists on this host") {
		t.Errorf("got:\n%s", out)
	}
	if diff := cmp.Diff(map[string]string{"srv/service/index.html": "mine"}, files(t, root)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestFilesAreValid(t *testing.T) {
	newPlace(t).slipway(0, "validate", "--strict", ".")
}
