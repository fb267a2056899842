package docker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"

	"github.com/slipway-ci/slipway/runner"
)

var _ runner.Debuggable = (*box)(nil)

// Shell runs the script beside the driver. What ctx cuts off ends with the
// container.
func (b *box) Shell(ctx context.Context, script, user string, t runner.Terminal) error {
	if user == "" {
		user = "0"
	}
	options := container.ExecOptions{
		User: user, Tty: t.TTY, AttachStdin: true, AttachStdout: true, AttachStderr: true, WorkingDir: "/", Cmd: []string{"sh", script},
	}
	if t.TTY {
		options.Env = []string{"TERM=xterm-256color"}
	}
	api := b.engine.api
	made, err := api.ContainerExecCreate(ctx, b.id, options)
	if err != nil {
		return fmt.Errorf("preparing a shell in the build container: %w", err)
	}
	in, err := api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{Tty: t.TTY})
	if err != nil {
		return fmt.Errorf("opening a shell in the build container: %w", err)
	}
	cut := context.AfterFunc(ctx, in.Close)
	defer cut()
	defer in.Close()
	open, shut := context.WithCancel(ctx)
	defer shut()
	if t.TTY && t.Raw != nil {
		defer t.Raw()()
	}
	go b.resize(open, made.ID, t.Sizes)
	go feed(in, t.In)
	var out io.Reader = in.Reader
	if !t.TTY {
		out = newStream(in)
	}
	_, err = io.Copy(t.Out, out)
	if err = ended(err); err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("reading from the shell in the build container: %w", err)
}

// feed hands on what a person types; its end is the shell's end of input. It
// outlives the shell until the person's next key, which nobody gets.
func feed(in types.HijackedResponse, from io.Reader) {
	_, _ = io.Copy(in.Conn, from) // the shell's end is noticed where its output ends
	_ = in.CloseWrite()
}

// resize follows the person's window until ctx is over or sizes is closed.
func (b *box) resize(ctx context.Context, id string, sizes <-chan runner.TerminalSize) {
	for sizes != nil {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-sizes:
			if !ok {
				return
			}
			// A window of the wrong size is a nuisance and no more.
			_ = b.engine.api.ContainerExecResize(ctx, id, container.ResizeOptions{Height: s.Rows, Width: s.Columns})
		}
	}
}
