// Package host is the engine that runs builds on this host, as the user who
// runs Slipway, in a folder of their own. It isolates nothing: it is for
// laptops, demonstrations and tests.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/slipway-ci/slipway/runner"
)

// Options configure an Engine.
type Options struct {
	// Shell is the program that runs the driver; empty means sh.
	Shell []string
	// Env is the environment that builds begin with, as "NAME=value": what an
	// image would set. It should hold PATH and HOME and no secret of Slipway's.
	Env []string
}

// Engine runs builds on this host.
type Engine struct {
	options Options
	wg      sync.WaitGroup
}

var _ runner.Engine = (*Engine)(nil)

// New returns an engine that is safe for concurrent use.
func New(o Options) *Engine {
	if len(o.Shell) == 0 {
		o.Shell = []string{"sh"}
	}
	return &Engine{options: o}
}

// Start runs the driver in a process group of its own. Image, Limits and
// Privileged mean nothing here, and there are no services.
func (e *Engine) Start(_ context.Context, s runner.Spec) (runner.Container, error) {
	if len(s.Services) > 0 {
		return nil, runner.NoServices("the host engine has no containers; use --engine docker, or a runner that does")
	}
	p, err := e.start(s)
	if err != nil {
		return nil, fmt.Errorf("starting shell on this host: %w", err)
	}
	return &container{process: p, engine: e, spec: s}, nil
}

// Spare never has one: a process starts at once.
func (e *Engine) Spare(context.Context, runner.Spec) (runner.Container, runner.Place) {
	return nil, runner.Place{}
}

// Answers is nil: the host is there.
func (e *Engine) Answers(context.Context) error { return nil }

// Close waits for removals.
func (e *Engine) Close(context.Context) error {
	e.wg.Wait()
	return nil
}

func (e *Engine) start(s runner.Spec) (*process, error) {
	command := append(append([]string{}, e.options.Shell...), filepath.Join(s.Work, runner.DriverName))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = s.Work
	cmd.Env = append([]string{}, e.options.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	_ = in.Close() // the child has it
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	p := &process{cmd: cmd, stdin: stdin, out: out, ended: make(chan struct{})}
	go p.wait()
	return p, nil
}

// process is one driver and its process group.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *os.File
	ended chan struct{} // closed when the driver has ended
}

// wait reaps the driver. Children that left its group may hold the output
// open, so the reading end is closed too when the group is gone.
func (p *process) wait() {
	_ = p.cmd.Wait() // the runner reads how commands ended from the driver's marks
	close(p.ended)
}

func (p *process) Write(b []byte) (int, error) { return p.stdin.Write(b) }

func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// kill ends the group; the processes in it can't ignore that.
func (p *process) kill(ctx context.Context) error {
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing processes of build: %w", err)
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	_ = p.stdin.Close() // its reader is gone
	return nil
}

// container is a driver, and those that run as other users.
type container struct {
	*process
	engine *Engine
	spec   runner.Spec

	removed sync.Once
}

func (c *container) Work() string   { return c.spec.Work }
func (c *container) Source() string { return c.spec.Source }

// Exec refuses: this process can't become another user in general.
func (c *container) Exec(_ context.Context, user string) (runner.Process, error) {
	return nil, runner.NoUser(user, "the host engine runs everything as one user")
}

func (c *container) Kill(ctx context.Context) error { return c.kill(ctx) }

func (c *container) Died(context.Context) (string, error) { return "", nil }

// Remove kills what is left and deletes the folder, in the background.
func (c *container) Remove() {
	c.removed.Do(func() {
		c.engine.wg.Go(func() {
			_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // often gone already
			<-c.ended
			_ = errors.Join(c.stdin.Close(), c.out.Close())
			_ = RemoveAll(c.spec.Folder)
		})
	})
}

// RemoveAll removes a folder even if files in it were made read-only.
func RemoveAll(folder string) error {
	err := os.RemoveAll(folder)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(folder, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(folder)
}
