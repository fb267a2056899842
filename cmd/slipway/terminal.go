package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/slipway-ci/slipway/runner"
)

// localShell lets the caller of slipway build into the container of a build
// that has failed, or that waits at a breakpoint.
func (a *app) localShell(ctx context.Context, p runner.Pause) {
	p.Note("The build waits for the shell that --shell-on-failure opened")
	a.sayPaused(p.Phase, firstLine(p.Command), p.Exit)
	err := a.atTerminal(ctx, p.Shell)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(a.stderr, "slipway: no shell:", err)
	}
}

// sayPaused says where a build waits: a breakpoint is no failure.
func (a *app) sayPaused(phase, command string, exit int) {
	what := "the breakpoint is reached"
	if exit != 0 {
		what = fmt.Sprintf("command %q exited with code %d", command, exit)
	}
	fmt.Fprintf(a.stderr, "phase %s: %s; this shell has its folder and variables, and the build goes on when it ends\n", strings.ToLower(phase), what)
}

// atTerminal opens a shell at this process's terminal. Where standard input is
// none, the shell reads its commands from it.
func (a *app) atTerminal(ctx context.Context, shell func(context.Context, runner.Terminal) error) error {
	t := runner.Terminal{In: a.stdin, Out: a.stdout, TTY: terminal(a.stdin)}
	if !t.TTY {
		return shell(ctx, t)
	}
	t.Raw = func() func() { return raw(a.stdin) }
	ctx, shut := context.WithCancel(ctx)
	defer shut()
	t.Sizes = windowSizes(ctx, a.stdin)
	return shell(ctx, t)
}

// raw hands every key on as it is, until the result is called. A terminal that
// refuses is used as it is.
func raw(f *os.File) (undo func()) {
	before, err := stty(f, "-g")
	if err != nil {
		return func() {}
	}
	_, _ = stty(f, "raw", "-echo")
	return func() { _, _ = stty(f, before) }
}

// windowSizes tells the terminal's size, now and whenever it changes, until ctx
// is over.
func windowSizes(ctx context.Context, f *os.File) <-chan runner.TerminalSize {
	sizes, changed := make(chan runner.TerminalSize), make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		defer close(sizes)
		defer signal.Stop(changed)
		for {
			if size, ok := windowSize(f); ok {
				select {
				case sizes <- size:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}

func windowSize(f *os.File) (s runner.TerminalSize, ok bool) {
	out, err := stty(f, "size")
	if err != nil {
		return s, false
	}
	_, err = fmt.Sscan(out, &s.Rows, &s.Columns)
	return s, err == nil && s.Rows > 0 && s.Columns > 0
}

// stty is the system's own, which knows the terminals of every system.
func stty(f *os.File, args ...string) (string, error) {
	cmd := exec.Command("stty", args...)
	cmd.Stdin = f
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
