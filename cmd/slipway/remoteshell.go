package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

const (
	// shellIdle is how long nobody may type.
	shellIdle = 15 * time.Minute
	// shellWait is how long one question for what was typed waits.
	shellWait = 20 * time.Second
	// shellTell bounds what is said when the session's own time is over.
	shellTell = 10 * time.Second
	// shellFrame is how much of the shell's output one frame carries, in bytes.
	shellFrame = 32 << 10
	// shellAway is how long the server may be away.
	shellAway = 30 * time.Second
	// shellPause comes before a question is asked again that failed.
	shellPause = time.Second
)

// remoteShell is the worker's side of slipway debug (decision 015).
type remoteShell struct {
	debugs pipeline.Debugs
	ref    pipeline.JobRef
	order  pipeline.DebugOrder
	tty    bool // the engine has terminals, and so has the person
	log    *slog.Logger
}

// Why sessions end that their shell doesn't.
var (
	errShellLeft  = errors.New("they left")
	errShellGone  = errors.New("their side is gone")
	errShellIdle  = fmt.Errorf("nobody typed for %s", shellIdle)
	errShellLimit = errors.New("its time is over")
)

// look lets the person who asked for it into a build that waits.
func (s remoteShell) look(ctx context.Context, p runner.Pause) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, s.order.Limit, errShellLimit)
	defer cancel()
	at := pipeline.DebugPause{Phase: p.Phase, Command: p.Command, Exit: p.Exit, TTY: s.tty}
	if err := s.say(ctx, pipeline.DebugFrame{Pause: &at}); err != nil {
		s.log.WarnContext(ctx, "build not opened for debugging", "job", s.ref.ID, "error", err)
		return
	}
	p.Note(fmt.Sprintf("The build waits for the shell of %s, for %s at most", s.order.By, s.order.Limit))
	in, typed := io.Pipe()
	sizes := make(chan runner.TerminalSize, 1)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		s.hear(ctx, typed, sizes, end)
	}()
	err := p.Shell(ctx, runner.Terminal{In: in, Out: shellOutput{ctx, s}, TTY: s.tty, Sizes: sizes})
	why := "the shell has ended"
	if cause := context.Cause(ctx); cause != nil {
		why = cause.Error()
	} else if err != nil {
		why = err.Error()
	}
	end(nil)
	_ = in.Close() // a pipe
	<-heard
	p.Note("The shell of " + s.order.By + " is closed: " + why)
	telling, told := context.WithTimeout(context.WithoutCancel(ctx), shellTell)
	defer told()
	if err := s.say(telling, pipeline.DebugFrame{End: why}); err != nil {
		s.log.WarnContext(ctx, "the end of a debugging session was not heard", "job", s.ref.ID, "error", err)
	}
}

func (s remoteShell) say(ctx context.Context, frames ...pipeline.DebugFrame) error {
	return whileAway(ctx, func() error { return s.debugs.DebugOutput(ctx, s.ref, frames) })
}

// whileAway asks again for a while: a server that is restarted, or whose Redis
// is, ends no session.
func whileAway(ctx context.Context, ask func() error) error {
	for until := time.Now().Add(shellAway); ; {
		err := ask()
		final := err == nil || errors.Is(err, pipeline.ErrNotFound) || errors.Is(err, pipeline.ErrStale) || errors.Is(err, pipeline.ErrConflict)
		var refused *client.Error
		if final || errors.As(err, &refused) && !client.Retryable(err) || time.Now().After(until) || !pauseFor(ctx, shellPause) {
			return err
		}
	}
}

// hear hands on what the person types, and ends the session when they are gone.
func (s remoteShell) hear(ctx context.Context, typed *io.PipeWriter, sizes chan runner.TerminalSize, end context.CancelCauseFunc) {
	defer typed.Close() // a pipe
	idle := time.AfterFunc(shellIdle, func() { end(errShellIdle) })
	defer idle.Stop()
	for after := ""; ctx.Err() == nil; {
		said, err := s.debugs.DebugInput(ctx, s.ref, after, shellWait)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, pipeline.ErrNotFound), errors.Is(err, pipeline.ErrStale):
			end(errShellGone)
			return
		case err != nil: // the server may be restarting; the session's own time goes on
			s.log.WarnContext(ctx, "asking for what was typed", "job", s.ref.ID, "error", err)
			pauseFor(ctx, shellPause)
			continue
		case !said.Watched:
			end(errShellGone)
			return
		case len(said.Frames) > 0:
			idle.Reset(shellIdle)
		}
		after = said.Next
		for _, f := range said.Frames {
			if f.End != "" {
				end(errShellLeft)
				return
			}
			give(typed, sizes, f)
		}
	}
}

func give(typed *io.PipeWriter, sizes chan runner.TerminalSize, f pipeline.DebugFrame) {
	if f.Rows > 0 && f.Columns > 0 {
		select {
		case sizes <- runner.TerminalSize{Rows: f.Rows, Columns: f.Columns}:
		default: // nobody looks: there is no terminal
		}
	}
	if len(f.Data) > 0 {
		_, _ = typed.Write(f.Data) // the shell's end closes the pipe
	}
	if f.EOF {
		_ = typed.Close() // a pipe
	}
}

// shellOutput says what the shell prints.
type shellOutput struct {
	ctx context.Context
	s   remoteShell
}

func (o shellOutput) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		some := p[:min(len(p), shellFrame)]
		if err := o.s.say(o.ctx, pipeline.DebugFrame{Data: some}); err != nil {
			return n, fmt.Errorf("handing on what the shell prints: %w", err)
		}
		n, p = n+len(some), p[len(some):]
	}
	return n, nil
}
