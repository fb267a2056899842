package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/deployer"
	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
)

var errAway = errors.New("connection refused")

// server is a pipeline.Control with state: one deployment, its revision, and
// what it heard of it.
type server struct {
	order  pipeline.Assignment
	bundle []byte
	away   int // calls that fail before the server is back

	mu      sync.Mutex
	claimed bool
	log     []byte
	stop    string // asked for once the log has it
	ended   chan struct{}
	build   pipeline.Build
	outcome pipeline.Outcome
	ends    int
}

// newServer has a deployment of these files, whose first process is this one.
func newServer(t testing.TB, files map[string]string) *server {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := archive.List(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	var bundle bytes.Buffer
	sum, err := archive.Pack(&bundle, os.DirFS(dir), entries, archive.PackOptions{Format: archive.TarGzip, Reproducible: true})
	if err != nil {
		t.Fatal(err)
	}
	return &server{
		bundle: bundle.Bytes(), ended: make(chan struct{}),
		order: pipeline.Assignment{
			Job: pipeline.Job{V: 1, ID: "d-1", Kind: pipeline.DeployJob, Token: 1, Timeout: time.Minute}, Lease: 300 * time.Millisecond,
			Deploy: &pipeline.DeployOrder{ID: "d-1", Application: "web", Group: "prod", Revision: pipeline.Artifact{Digest: sum.SHA256}},
		},
	}
}

// reach fails while the server is away.
func (s *server) reach() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away > 0 {
		s.away--
		return errAway
	}
	return nil
}

func (s *server) Claim(ctx context.Context, _ pipeline.Worker, _ time.Duration) (pipeline.Assignment, error) {
	s.mu.Lock()
	first := !s.claimed
	s.claimed = true
	s.mu.Unlock()
	if first {
		return s.order, nil
	}
	<-ctx.Done()
	return pipeline.Assignment{}, pipeline.ErrNotFound
}

func (s *server) Renew(context.Context, pipeline.JobRef) (pipeline.Renewal, error) {
	if err := s.reach(); err != nil {
		return pipeline.Renewal{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stop := s.stop != "" && bytes.Contains(s.log, []byte(s.stop))
	return pipeline.Renewal{Lease: s.order.Lease, Stop: stop, Reason: "by octocat"}, nil
}

func (s *server) AppendLog(_ context.Context, _ pipeline.JobRef, offset int64, data []byte) (int64, error) {
	if err := s.reach(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := int64(len(s.log)); offset <= have && offset+int64(len(data)) > have {
		s.log = append(s.log, data[have-offset:]...)
	}
	return int64(len(s.log)), nil
}

func (s *server) Report(context.Context, pipeline.JobRef, pipeline.Build) error { return s.reach() }

func (s *server) PutArtifact(context.Context, pipeline.JobRef, pipeline.Artifact, io.Reader) (pipeline.Artifact, error) {
	return pipeline.Artifact{}, errors.New("a deployment makes no artifacts")
}

func (s *server) Artifact(_ context.Context, _ pipeline.JobRef, digest string) (io.ReadCloser, error) {
	if err := s.reach(); err != nil {
		return nil, err
	}
	if digest != s.order.Deploy.Revision.Digest {
		return nil, pipeline.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(s.bundle)), nil
}

func (s *server) Complete(_ context.Context, _ pipeline.JobRef, b pipeline.Build, o pipeline.Outcome) error {
	if err := s.reach(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.build, s.outcome = b, o
	if s.ends++; s.ends == 1 {
		close(s.ended)
	}
	return nil
}

// host is a machine with an agent: its state and the tree it installs to.
type host struct{ state, target, temp, path string }

func newHost(t testing.TB) host {
	dir := t.TempDir()
	return host{filepath.Join(dir, "state"), filepath.Join(dir, "target"), filepath.Join(dir, "tmp"), ""}
}

// run lets an agent do the server's deployment.
func (h host) run(t testing.TB, s *server) {
	t.Helper()
	d, err := deployer.New(deployer.Options{Root: h.state, TargetRoot: h.target, Path: h.path})
	if err != nil {
		t.Fatal(err)
	}
	a := New(Options{
		Control: s, ID: "a-1", Name: "web-1", Deployer: d, Temp: h.temp, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Retryable: func(err error) bool { return errors.Is(err, errAway) },
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Error("the deployment doesn't end")
		}
	})
	go func() {
		select {
		case <-s.ended:
		case <-ctx.Done():
		}
		cancel()
	}()
	if err := a.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(h.temp); err != nil || len(left) > 0 {
		t.Errorf("revisions are left behind: %v, %v", left, err)
	}
}

func (h host) installed(name string) string {
	data, err := os.ReadFile(filepath.Join(h.target, name))
	if err != nil {
		return ""
	}
	return string(data)
}

func (s *server) phase(name string) pipeline.Phase {
	i := slices.IndexFunc(s.build.Phases, func(p pipeline.Phase) bool { return p.Type == name })
	if i < 0 {
		return pipeline.Phase{}
	}
	return s.build.Phases[i]
}

const page = "version: 0.0\nos: linux\nfiles:\n  - {source: page, destination: /srv}\n"

// hooked is a revision with a page and a script of AfterInstall.
func hooked(script string) map[string]string {
	return map[string]string{"appspec.yml": page + "hooks:\n  AfterInstall:\n    - location: s.sh\n", "page": "new", "s.sh": "#!/bin/sh\n" + script}
}

func TestDeploys(t *testing.T) {
	for name, away := range map[string]int{"the server answers": 0, "the server is away for a while": 7} {
		t.Run(name, func(t *testing.T) {
			s, h := newServer(t, hooked("echo from the script\n")), newHost(t)
			s.away = away
			h.run(t, s)
			if s.outcome.Status != pipeline.BuildSucceeded || s.ends != 1 || h.installed("srv/page") != "new" {
				t.Errorf("got %+v %d times, the page is %q", s.outcome, s.ends, h.installed("srv/page"))
			}
			if got := strings.Count(string(s.log), "from the script\n"); got != 1 {
				t.Errorf("the script is heard %d times:\n%s", got, s.log)
			}
			if p := s.phase("AfterInstall"); p.Status != pipeline.BuildSucceeded || p.EndTime.IsZero() {
				t.Errorf("AfterInstall: got %+v", p)
			}
		})
	}
}

func TestRevisionThatArrivesChanged(t *testing.T) {
	changes := map[string]func([]byte) []byte{
		"another one": func(b []byte) []byte { return append(slices.Clone(b), 0) },
		"cut off":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":       func([]byte) []byte { return nil },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s, h := newServer(t, hooked("echo never\n")), newHost(t)
			s.bundle = change(s.bundle)
			h.run(t, s)
			if s.outcome.Status != pipeline.BuildFault || h.installed("srv/page") != "" || strings.Contains(string(s.log), "never") {
				t.Errorf("got %+v, the page is %q, the log:\n%s", s.outcome, h.installed("srv/page"), s.log)
			}
		})
	}
}

func TestRevisionThatIsGone(t *testing.T) {
	s, h := newServer(t, hooked("")), newHost(t)
	sum := sha256.Sum256(nil)
	asked := s.order.Deploy.Revision.Digest
	s.order.Deploy = &pipeline.DeployOrder{ID: "d-1", Application: "web", Group: "prod", Revision: pipeline.Artifact{Digest: hex.EncodeToString(sum[:])}}
	s.bundle = []byte("other bytes than " + asked)
	h.run(t, s)
	if s.outcome.Status != pipeline.BuildFault || s.outcome.Message == "" {
		t.Errorf("got %+v", s.outcome)
	}
}

func TestOrderThatIsNone(t *testing.T) {
	s, h := newServer(t, hooked("")), newHost(t)
	s.order.Deploy = nil
	h.run(t, s)
	if s.outcome.Status != pipeline.BuildFault {
		t.Errorf("got %+v", s.outcome)
	}
}

func TestMistakeOfTheAuthor(t *testing.T) {
	s, h := newServer(t, hooked("echo why >&2\nexit 3\n")), newHost(t)
	h.run(t, s)
	if s.outcome.Status != pipeline.BuildFailed || s.outcome.Code != "ScriptFailed" || len(s.outcome.Annotations) != 1 || s.outcome.Annotations[0].StartLine != 7 {
		t.Errorf("got %+v", s.outcome)
	}
	f := s.build.Failure
	if f == nil || f.Phase != "AfterInstall" || !slices.Equal(f.Tail, []string{"why"}) {
		t.Errorf("the failure: got %+v", f)
	}
}

func TestTimeLimit(t *testing.T) {
	s, h := newServer(t, hooked("echo begun\nsleep 60\n")), newHost(t)
	s.order.Job.Timeout = time.Second
	h.run(t, s)
	if s.outcome.Code != "ScriptTimedOut" || !strings.Contains(s.outcome.Message, "the deployment has 1s") || h.installed("srv/page") != "new" {
		t.Errorf("got %+v, the page is %q", s.outcome, h.installed("srv/page"))
	}
}

func TestStopped(t *testing.T) {
	s, h := newServer(t, hooked("echo begun\nsleep 60\n")), newHost(t)
	s.stop = "begun\n"
	h.run(t, s)
	if s.outcome.Status != pipeline.BuildStopped || !strings.Contains(s.outcome.Message, "by octocat") {
		t.Errorf("got %+v", s.outcome)
	}
}

// processVariable makes the test's process an agent that is going to be killed.
const processVariable = "SLIPWAY_TEST_AGENT_HOST"

// held is a revision whose Install needs setfacl, and whose AfterInstall has a
// script.
func held(h host) map[string]string {
	rev := hooked("echo run >>" + filepath.Join(h.temp, "../runs") + "\n. " + filepath.Join(h.temp, "../wait") + "\n")
	rev["appspec.yml"] = page + "permissions:\n  - {object: /srv/page, acls: ['u:root:7']}\nhooks:\n  AfterInstall:\n    - location: s.sh\n"
	return rev
}

func TestAgentProcess(t *testing.T) {
	dir := os.Getenv(processVariable)
	if dir == "" {
		return // TestKilled starts this one in a process of its own
	}
	h := host{filepath.Join(dir, "state"), filepath.Join(dir, "target"), filepath.Join(dir, "tmp"), filepath.Join(dir, "bin") + ":/usr/bin:/bin"}
	h.run(t, newServer(t, held(h)))
}

// TestKilled kills an agent's process where it stands and starts another one,
// to which the server gives the deployment again.
func TestKilled(t *testing.T) {
	testenv.Need(t, "sh")
	const wait = "echo here >HERE\nsleep 60\n"
	tests := []struct {
		name, setfacl, script string
		want                  pipeline.BuildStatus
		runs                  string
	}{
		{"during Install", wait, "", pipeline.BuildSucceeded, "run\n"},
		{"while a script runs", "", wait, pipeline.BuildFailed, "run\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			dir := filepath.Dir(h.state)
			here := filepath.Join(dir, "here")
			put := func(name, content string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, "HERE", here)), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			put("bin/setfacl", "#!/bin/sh\n"+tt.setfacl)
			put("wait", tt.script)
			put("target/srv/other", "theirs")
			killThere(t, dir, here)
			if tt.setfacl != "" && h.installed("srv/page") != "" {
				t.Error("the file was in place before its rights were")
			}
			put("bin/setfacl", "#!/bin/sh\n")
			put("wait", "")
			h.path = filepath.Join(dir, "bin") + ":/usr/bin:/bin"
			s := newServer(t, held(h))
			s.order.Job.Token = 2
			h.run(t, s)
			if s.outcome.Status != tt.want || h.installed("srv/page") != "new" || h.installed("srv/other") != "theirs" {
				t.Errorf("got %+v, the page is %q", s.outcome, h.installed("srv/page"))
			}
			if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err != nil || string(runs) != tt.runs {
				t.Errorf("the script ran: %q, %v", runs, err)
			}
			if p := s.phase("Install"); p.Status != pipeline.BuildSucceeded {
				t.Errorf("Install: got %+v", p)
			}
			if left, err := filepath.Glob(filepath.Join(h.target, "srv/.slipway*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// killThere runs an agent in a process of its own and kills it once it is here.
func killThere(t *testing.T, dir, here string) {
	t.Helper()
	if out, err := exec.Command("mkfifo", here).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAgentProcess$")
	cmd.Env = append(os.Environ(), processVariable+"="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() {
		_ = os.WriteFile(here, []byte("late"), 0o600) // lets the reader go
	})
	defer timer.Stop()
	if said, err := os.ReadFile(here); err != nil || string(said) != "here\n" {
		t.Errorf("the agent didn't come that far: %q, %v", said, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as wanted
	if err := os.Remove(here); err != nil {
		t.Fatal(err)
	}
}
