package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// A person looks into a build that failed on a runner of its own: through the
// server, which the runner and the person reach, and nobody else.
func TestDebug(t *testing.T) {
	t.Parallel()
	testenv.Need(t, "docker")
	s := newSystem(t, setup{runners: []string{"docker"}, image: runnertest.BusyboxImage(t)})
	r := s.repo(t, owner, "debugged")
	files := buildspec("mkdir sub; cd sub; export COLOR=blue", "no-such-program --flag")
	failed := func(t *testing.T) (sha, build string) {
		sha = s.push(t, r, "main", "broken by "+t.Name(), files)
		x := s.awaitExecution(t, sha)
		if x.Status != "Failed" {
			t.Fatalf("got %s: %s, want Failed", x.Status, x.Reason)
		}
		return sha, x.Stages[1].Actions[0].Build
	}
	// again is the log of the build's retry, which failed as well.
	again := func(t *testing.T, sha, build string) string {
		x := s.awaitState(t, sha, func(x execution) bool { return x.ended() && x.Stages[1].Actions[0].Build != build })
		if x.Status != "Failed" {
			t.Errorf("the retry is %s, want Failed", x.Status)
		}
		return string(s.open(t, s.url+"/api/v1/builds/"+x.Stages[1].Actions[0].Build+"/log"))
	}
	t.Run("commands", func(t *testing.T) {
		sha, build := failed(t)
		person := s.debug(t, build)
		person.types(t, "basename $PWD; echo $COLOR-$((40+2)); exit 3\n")
		person.reads(t, "sub\n", "blue-42\n")
		person.ends(t, "command \"no-such-program --flag\" exited with code 127", "the shell has ended")
		log := again(t, sha, build)
		if !strings.Contains(log, "The build waits for the shell of ") || !strings.Contains(log, " is closed: the shell has ended\n") || strings.Contains(log, "blue-42") {
			t.Errorf("the log of the build:\n%s", log)
		}
		if out, err := s.slipway(t, "debug", build).CombinedOutput(); err == nil || !strings.Contains(string(out), "the build was repeated since") {
			t.Errorf("once more: %v\n%s", err, out)
		}
	})
	t.Run("the server dies", func(t *testing.T) {
		_, build := failed(t)
		person := s.debug(t, build)
		person.types(t, "echo before-$((1+1))\n")
		person.reads(t, "before-2\n")
		if err := s.server.end(syscall.SIGKILL, stopLimit); err != nil {
			t.Fatal(err)
		}
		if err := s.server.start(); err != nil {
			t.Fatal(err)
		}
		person.types(t, "echo after-$((1+2))\nexit\n")
		person.reads(t, "after-3\n")
		person.ends(t, "the shell has ended")
	})
	t.Run("the person gives up", func(t *testing.T) {
		sha, build := failed(t)
		person := s.debug(t, build)
		person.types(t, "echo here-$((1+3))\n")
		person.reads(t, "here-4\n")
		if err := person.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if log := again(t, sha, build); !strings.Contains(log, " is closed: they left\n") {
			t.Errorf("the log of the build:\n%s", log)
		}
	})
	t.Run("nothing is left", func(t *testing.T) {
		var audit page[struct{ Action, Outcome, Detail string }]
		if err := s.call(t.Context(), "GET", "/api/v1/audit?limit=200", nil, &audit); err != nil {
			t.Fatal(err)
		}
		opened := 0
		for _, e := range audit.Items {
			if strings.Contains(e.Action, "/debug") && e.Outcome == "done" {
				opened++
			}
		}
		if opened != 3 {
			t.Errorf("the audit log has %d openings, want 3: %+v", opened, audit.Items)
		}
	})
}

// slipway is a command of a person at this server.
func (s *system) slipway(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = []string{"SLIPWAY_SERVER=" + s.url, "SLIPWAY_TOKEN=" + adminToken, "SLIPWAY_DATA=" + filepath.Join(s.root, "person"), "PATH=" + os.Getenv("PATH")}
	return cmd
}

// person is somebody who debugs a build, without a terminal.
type person struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err bytes.Buffer
}

func (s *system) debug(t *testing.T, build string) *person {
	t.Helper()
	p := &person{cmd: s.slipway(t, "debug", build)}
	p.cmd.Stderr = &p.err
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // it has ended if all went well
	return p
}

func (p *person) types(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(p.in, text); err != nil {
		t.Fatal(err)
	}
}

// reads wants these lines next.
func (p *person) reads(t *testing.T, lines ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })()
	for _, want := range lines {
		got, err := p.out.ReadString('\n')
		if err != nil || got != want {
			t.Fatalf("the shell printed %q (%v), want %q\n%s", got, err, want, p.err.String())
		}
	}
}

// ends wants the command to succeed and to have said this.
func (p *person) ends(t *testing.T, words ...string) {
	t.Helper()
	err := p.cmd.Wait()
	for _, w := range words {
		if err != nil || !strings.Contains(p.err.String(), w) {
			t.Errorf("it ended with %v, want %q in:\n%s", err, w, p.err.String())
		}
	}
}
