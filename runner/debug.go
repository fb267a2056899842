package runner

import (
	"context"
	"fmt"
	"io"
)

// Terminal is where a person sits who looks into a build.
type Terminal struct {
	In  io.Reader
	Out io.Writer
	// TTY asks for a terminal in the container: keys one by one, job control and
	// a prompt. Without it the shell reads its commands from In.
	TTY bool
	// Raw has every key handed on as it is, until its result is called. It is for
	// a shell that has a terminal of its own, far from the person's; nil: that
	// is so already.
	Raw func() (undo func())
	// Sizes are told when the window has changed; nil: it never does.
	Sizes <-chan TerminalSize
}

// TerminalSize is that of a window, in characters.
type TerminalSize struct{ Rows, Columns uint }

// Debuggable is a Container that a person can look into.
type Debuggable interface {
	// Shell runs a script of the work folder with sh, as another user of the
	// image if one is named, and returns when it has ended or ctx is over. How
	// it ended is nobody's concern. Its output isn't part of the build's log.
	Shell(ctx context.Context, script, user string, t Terminal) error
}

// Pause is a build that waits where a command has failed.
type Pause struct {
	Phase, Command string // as the log shows them
	Exit           int
	// Note writes a line into the build's log.
	Note func(text string)
	// Shell opens a shell in the build's container, with the folder and the
	// variables that the failed command left. It returns when the shell has
	// ended or ctx is over. It holds what the build's commands hold, secrets
	// included, and nothing that it prints is masked.
	Shell func(ctx context.Context, t Terminal) error
}

// pause lets a person look into the build, once in its life. What the person
// does doesn't change how the command ended: the error is failed, or why ctx is
// over.
func (r *build) pause(ctx context.Context, d *driver, failed *commandError) error {
	c, ok := r.container.(Debuggable)
	if r.Debug == nil || r.paused || !ok {
		return failed
	}
	r.paused = true
	script, err := r.writeDebugScript(r.failure == nil)
	if err != nil {
		r.Log.WarnContext(ctx, "build not opened for debugging", "job", r.order.ID, "error", err)
		return failed
	}
	r.Debug(ctx, Pause{
		Phase: r.record.CurrentPhase, Command: r.log.masker.String(failed.command), Exit: failed.exit,
		Note: func(text string) {
			r.log.line("%s", text)
			r.log.sync()
		},
		Shell: func(ctx context.Context, t Terminal) error { return c.Shell(ctx, script, r.userOf(d), t) },
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return failed
}

// userOf is whose driver it is; empty for the container's own.
func (r *build) userOf(d *driver) string {
	for name, other := range r.drivers {
		if d == other {
			return name
		}
	}
	return ""
}

const debugScript = "debug.sh"

// writeDebugScript makes the script that becomes the person's shell, and says
// where the build sees it. The state was saved by the shell of the commands, and only the
// same kind of shell can read it.
func (r *build) writeDebugScript(succeeding bool) (string, error) {
	s := r.shell
	path := s.work + "/" + debugScript
	find := "$(command -v " + quote(s.kind) + " || command -v sh)"
	if s.kind == "auto" {
		find = "$(command -v bash || command -v sh)"
	}
	text := fmt.Sprintf(`#!/bin/sh
[ -n "$_sw_shell" ] || { _sw_shell=%s; export _sw_shell; exec "$_sw_shell" %s; }
set -- "$_sw_shell"; unset _sw_shell; _sw_from=%s
%s
set +a; [ -t 0 ] && exec "$1" -i; exec "$1"
`, find, quote(path), quote(s.work+"/"+s.state), s.restore(r.force(succeeding)))
	return path, writeFile(s.folder, debugScript, text)
}
