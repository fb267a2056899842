package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a child that is killed and started again. One that ends by itself
// is started again too, as a service manager would do.
type process struct {
	name string
	args []string
	env  []string
	log  string // file; all starts append to it

	mu     sync.Mutex
	down   bool // on purpose
	cmd    *exec.Cmd
	done   chan struct{}
	starts int
	exits  int // that nobody asked for
}

// restartPause is what a service manager waits before it starts again.
const restartPause = 200 * time.Millisecond

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startLocked()
}

func (p *process) startLocked() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the child has it
	p.starts++
	fmt.Fprintf(out, "=== %s: start %d of %s\n", time.Now().UTC().Format("15:04:05.000"), p.starts, p.name)
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	done, started := make(chan struct{}), make(chan error)
	go func() {
		// The death signal comes when the thread that started the child ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(done)
		p.ended(cmd)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.cmd, p.done, p.down = cmd, done, false
	return nil
}

// ended starts a child again that nobody stopped.
func (p *process) ended(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.cmd != cmd {
		return
	}
	p.exits++
	time.AfterFunc(restartPause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.down && p.cmd == cmd {
			_ = p.startLocked() // whoever waits for it says that it is missing
		}
	})
}

// end sends a signal and waits for the end; after the limit it kills.
func (p *process) end(sig syscall.Signal, limit time.Duration) error {
	p.mu.Lock()
	p.down = true
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending %s: %w", p.name, err)
	}
	select {
	case <-done:
		return nil
	case <-time.After(limit):
	}
	_ = cmd.Process.Kill()
	<-done
	return fmt.Errorf("%s did not end within %s of %s", p.name, limit, sig)
}

// stopLimit is more than a runner gives Docker to remove what it has made.
const stopLimit = 90 * time.Second

func (p *process) kill() error { return p.end(syscall.SIGKILL, 10*time.Second) }
func (p *process) stop() error { return p.end(syscall.SIGTERM, stopLimit) }

// crashes are the lines of the log that no input and no kill may cause.
func (p *process) crashes() []string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range bytes.Lines(data) {
		for _, mark := range []string{"panic: ", "fatal error: ", "panicked", "WARNING: DATA RACE"} {
			if bytes.Contains(line, []byte(mark)) {
				found = append(found, p.name+": "+string(bytes.TrimSpace(line)))
			}
		}
	}
	return found
}

// tail is the end of the log.
func (p *process) tail(limit int) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-limit):])
}
