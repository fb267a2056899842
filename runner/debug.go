package runner

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
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

// Pause is a build that waits where a command has failed, or at a breakpoint.
type Pause struct {
	Phase, Command string // as the log shows them
	Exit           int    // 0 at a breakpoint
	// Note writes a line into the build's log.
	Note func(text string)
	// Shell opens a shell in the build's container, with the folder and the
	// variables that the command left. It returns when the shell has
	// ended or ctx is over. It holds what the build's commands hold, secrets
	// included, and nothing that it prints is masked.
	Shell func(ctx context.Context, t Terminal) error
}

// isBreakpoint reports whether a command is the one where a build that
// somebody debugs waits (CodeBuild reference 2.7). The program of that name does
// nothing, so other builds go on.
func isBreakpoint(command string) bool { return strings.TrimSpace(command) == "codebuild-breakpoint" }

// untilBreakpoint is how many commands to run before somebody is let in.
func (r *build) untilBreakpoint(commands []string) int {
	if r.Debug == nil || r.paused {
		return len(commands)
	}
	if i := slices.IndexFunc(commands, isBreakpoint); i >= 0 {
		return i + 1
	}
	return len(commands)
}

// pause lets a person look into the build, once in its life, after a command.
// What the person does doesn't change how that ended. The error is why ctx is over.
func (r *build) pause(ctx context.Context, d *driver, command string, exit int) error {
	c, ok := r.container.(Debuggable)
	if r.Debug == nil || r.paused || !ok {
		return nil
	}
	r.paused = true
	script, err := r.writeDebugScript(r.failure == nil)
	if err != nil {
		r.Log.WarnContext(ctx, "build not opened for debugging", "job", r.order.ID, "error", err)
		return nil
	}
	r.Debug(ctx, Pause{
		Phase: r.record.CurrentPhase, Command: r.log.masker.String(command), Exit: exit,
		Note: func(text string) {
			r.log.line("%s", text)
			r.log.sync()
		},
		Shell: func(ctx context.Context, t Terminal) error { return c.Shell(ctx, script, r.userOf(d), t) },
	})
	return context.Cause(ctx)
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

const (
	debugScript = "debug.sh"
	shellPID    = "debug.pid" // which codebuild-resume reads
)

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
set -- "$_sw_shell"; unset _sw_shell; echo $$ >%s; _sw_from=%s
%s
set +a; [ -t 0 ] && exec "$1" -i; exec "$1"
`, find, quote(path), quote(s.work+"/"+shellPID), quote(s.work+"/"+s.state), s.restore(r.force(succeeding)))
	return path, writeFile(s.folder, debugScript, text)
}
