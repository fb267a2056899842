package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

func (a *app) debugCommand() *cobra.Command {
	return a.asker("debug BUILD", "Open a shell where a failed build fails",
		`Retries the build and, where its first command fails, opens a shell in its container, with the folder and the variables that the
command left. The build goes on when the shell ends: it has failed. Whoever may write to the repository can do this; what is typed and
printed is kept nowhere, and not masked. Where standard input is no terminal the shell reads its commands from it.`+serverNote,
		cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			retry, err := api.DebugBuild(ctx, args[0], terminal(a.stdin))
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "the build runs again as %s; the shell opens where it fails\n", retry)
			return a.lookInto(ctx, &session{api: api, build: retry})
		})
}

// session is the person's side of slipway debug (decision 015).
type session struct {
	api   *client.Client
	build string
	after string
	heard []pipeline.DebugFrame // and not yet looked at
}

const (
	// sessionWait is how long one question for what the shell prints waits.
	sessionWait = 20 * time.Second
	// appearTime is how long a retry may take to become a build.
	appearTime = time.Minute
	appearWait = 300 * time.Millisecond
)

// lookInto waits for the build and is its shell's terminal.
func (a *app) lookInto(ctx context.Context, s *session) error {
	paused, err := s.paused(ctx)
	if err != nil {
		return errors.Join(err, s.leave(ctx))
	}
	if paused.Pause == nil {
		b, err := s.api.Build(ctx, s.build)
		if err == nil {
			fmt.Fprintf(a.stderr, "build %s ended as %s, and no command of it failed or was a breakpoint: there was nothing to look into\n", s.build, b.Status)
		}
		return err
	}
	at := paused.Pause
	a.sayPaused(at.Phase, printable(firstLine(at.Command)), at.Exit)
	if !at.TTY && terminal(a.stdin) {
		fmt.Fprintln(a.stderr, "the runner has no terminal for it: it reads whole lines and shows no prompt; exit ends it")
	}
	var why string
	err = a.atTerminal(ctx, func(ctx context.Context, t runner.Terminal) error {
		if at.TTY && t.Raw != nil {
			defer t.Raw()()
		}
		why, err = s.talk(ctx, t)
		return err
	})
	if err != nil {
		return errors.Join(err, s.leave(ctx))
	}
	fmt.Fprintln(a.stderr, why)
	return nil
}

// leave tells the build's side that nobody is there any more.
func (s *session) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shellTell)
	defer cancel()
	err := s.api.Type(ctx, s.build, []pipeline.DebugFrame{{End: "left"}})
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil
	}
	return err
}

// paused waits until the build does, and answers with nothing if it has ended
// otherwise.
func (s *session) paused(ctx context.Context) (pipeline.DebugFrame, error) {
	for began := time.Now(); ctx.Err() == nil; {
		f, err := s.next(ctx)
		switch {
		case errors.Is(err, pipeline.ErrNotFound) && time.Since(began) < appearTime:
			pauseFor(ctx, appearWait) // the engine has still to make it
		case err != nil || f.Pause != nil:
			return f, err
		default:
			b, err := s.api.Build(ctx, s.build)
			if err != nil || b.Status.Ended() {
				return pipeline.DebugFrame{}, err
			}
		}
	}
	return pipeline.DebugFrame{}, context.Cause(ctx)
}

// next is what the build's side said next, and nothing if it said nothing for a
// while. A server that is away for a moment is asked again.
func (s *session) next(ctx context.Context) (f pipeline.DebugFrame, err error) {
	if len(s.heard) == 0 {
		said, err := s.api.Read(ctx, s.build, s.after, sessionWait)
		if client.Retryable(err) {
			pauseFor(ctx, shellPause)
			return f, nil
		}
		if err != nil || len(said.Frames) == 0 {
			return f, err
		}
		s.after, s.heard = said.Next, said.Frames
	}
	f, s.heard = s.heard[0], s.heard[1:]
	return f, nil
}

// talk is the terminal of the build's shell, until the build's side says why
// that is over.
func (s *session) talk(ctx context.Context, t runner.Terminal) (why string, err error) {
	ctx, over := context.WithCancelCause(ctx)
	defer over(nil)
	go s.resize(ctx, t.Sizes)
	go s.feed(ctx, t.In, over)
	var gone string // why the build's side can say nothing any more
	for ctx.Err() == nil {
		f, err := s.next(ctx)
		silent := err == nil && f.End == "" && len(f.Data) == 0
		switch {
		case errors.Is(err, pipeline.ErrNotFound):
			return "the session is over", nil
		case silent && gone != "":
			return gone, nil
		case silent:
			gone = s.gone(ctx)
		case err != nil:
			return "", err
		case f.End != "":
			return f.End, nil
		}
		if _, err := t.Out.Write(f.Data); err != nil {
			return "", err
		}
	}
	return "", context.Cause(ctx)
}

// gone is why the build has ended without an end of its shell, as one does
// whose runner is lost; empty: it goes on, for all that is known.
func (s *session) gone(ctx context.Context) string {
	b, err := s.api.Build(ctx, s.build)
	switch {
	case err != nil || !b.Status.Ended():
		return ""
	case b.Failure != nil:
		return "the shell is gone: " + b.Failure.Message
	}
	return "the shell is gone: the build ended as " + string(b.Status)
}

// feed hands on what the person types. It ends with the next key after the
// session's end, which nobody gets.
func (s *session) feed(ctx context.Context, from io.Reader, over context.CancelCauseFunc) {
	buffer := make([]byte, shellFrame)
	for ctx.Err() == nil {
		n, err := from.Read(buffer)
		frame := pipeline.DebugFrame{Data: buffer[:n], EOF: err != nil}
		said := whileAway(ctx, func() error { return s.api.Type(ctx, s.build, []pipeline.DebugFrame{frame}) })
		if said != nil && !errors.Is(said, pipeline.ErrNotFound) {
			over(fmt.Errorf("handing on what was typed: %w", said))
			return
		}
		if err != nil {
			return
		}
	}
}

// resize follows the person's window.
func (s *session) resize(ctx context.Context, sizes <-chan runner.TerminalSize) {
	for size := range sizes {
		// A window of the wrong size is a nuisance and no more.
		_ = s.api.Type(ctx, s.build, []pipeline.DebugFrame{{Rows: size.Rows, Columns: size.Columns}})
	}
}
