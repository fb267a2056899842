package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/runner"
)

var _ runner.Debuggable = (*container)(nil)

// hangUp is how long a shell has to end after its time is over.
const hangUp = 5 * time.Second

// Shell runs the script in the caller's own process group. Where t.In is a
// terminal it is the shell's own; its size is the terminal's, then.
func (c *container) Shell(ctx context.Context, script, user string, t runner.Terminal) error {
	if user != "" {
		return runner.NoUser(user, "the host engine runs everything as one user")
	}
	shell := c.engine.options.Shell
	cmd := exec.CommandContext(ctx, shell[0], append(shell[1:len(shell):len(shell)], script)...)
	cmd.Dir, cmd.Env = c.spec.Work, append([]string{}, c.engine.options.Env...)
	cmd.Stdout, cmd.Stderr = t.Out, t.Out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGHUP) }
	cmd.WaitDelay = hangUp
	if err := typed(cmd, t.In); err != nil {
		return err
	}
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); ended || err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return context.Cause(ctx)
	}
	return fmt.Errorf("opening a shell on this host: %w", err)
}

// typed gives the shell its input. A terminal it has for itself; else what a
// person types is fed to it by a goroutine that ends with the next key after
// the shell's end.
func typed(cmd *exec.Cmd, from io.Reader) error {
	if f, ok := from.(*os.File); ok {
		cmd.Stdin = f
		return nil
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("opening a shell on this host: %w", err)
	}
	go func() {
		_, _ = io.Copy(in, from) // the shell's end is noticed where its output ends
		_ = in.Close()
	}()
	return nil
}
