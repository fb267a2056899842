// Package runnertest has what tests of builds need: repositories, a sink that
// remembers, images made from this machine's busybox and bash, and the suite
// that every engine passes.
package runnertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/source"
)

// Repo makes a git repository of the files, by name, with one commit, and
// returns the order to fetch it. Names that end with / are left out by git.
func Repo(t testing.TB, files map[string]string) pipeline.SourceOrder {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	Git(t, dir, "init", "--quiet", "--initial-branch=main")
	Git(t, dir, "add", "--all")
	Git(t, dir, "commit", "--quiet", "--allow-empty", "--message=test")
	return sourceOrder(dir, strings.TrimSpace(Git(t, dir, "rev-parse", "HEAD")))
}

func sourceOrder(url, sha string) pipeline.SourceOrder {
	return pipeline.SourceOrder{
		Repo: forge.Repo{Forge: "local", ID: "1", Owner: "octo", Name: "app"},
		URL:  url, SHA: sha, FetchRef: "refs/heads/main",
	}
}

// write puts files, by name, into dir.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Git runs git in dir with a fixed identity and returns its output.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Test", "-c", "user.email=test@example.com"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// Store is a store of mirrors for the repositories that Repo makes.
func Store(t testing.TB) *source.Store {
	t.Helper()
	s, err := source.New(source.Options{Dir: t.TempDir(), AllowFile: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Sink remembers what a build hands out. It is safe for concurrent use.
type Sink struct {
	mu        sync.Mutex
	log       bytes.Buffer
	reports   []pipeline.Build
	artifacts map[string][]byte
	marks     []mark
}

type mark struct {
	text string
	seen chan struct{}
}

// Seen is closed once the log contains text.
func (s *Sink) Seen(text string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(chan struct{})
	s.marks = append(s.marks, mark{text, seen})
	s.check()
	return seen
}

func (s *Sink) check() {
	rest := s.marks[:0]
	for _, m := range s.marks {
		if strings.Contains(s.log.String(), m.text) {
			close(m.seen)
		} else {
			rest = append(rest, m)
		}
	}
	s.marks = rest
}

// Log appends to the log.
func (s *Sink) Log(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(p)
	s.check()
	return nil
}

// Report remembers b.
func (s *Sink) Report(b pipeline.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, b)
}

// Artifact keeps the bytes by the artifact's name.
func (s *Sink) Artifact(_ context.Context, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return a, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.artifacts == nil {
		s.artifacts = map[string][]byte{}
	}
	s.artifacts[a.Name] = data
	sum := sha256.Sum256(data)
	a.Digest, a.Bytes = hex.EncodeToString(sum[:]), int64(len(data))
	return a, nil
}

// Text is the log so far.
func (s *Sink) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Reports are the states that were reported.
func (s *Sink) Reports() []pipeline.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]pipeline.Build{}, s.reports...)
}

// Bytes are those of an artifact; nil if there is none of this name.
func (s *Sink) Bytes(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.artifacts[name]
}

// ours is a line of ours; that of a command may span lines.
var ours = regexp.MustCompile(`(?m)^\[Container\] \S+ \S+ .*\n`)

// Output is the log without our own lines: what commands printed, and the
// lines of a command's text after its first.
func (s *Sink) Output() string { return ours.ReplaceAllString(s.Text(), "") }

// Order is an order for a build of the source; fields may be changed.
func Order(src pipeline.SourceOrder) pipeline.BuildOrder {
	return pipeline.BuildOrder{
		ID: "0b8ee8a0-1111-5222-8333-444455556666", Number: 7, Project: "octo-app", Source: src, Timeout: time.Minute, Trusted: true,
	}
}
