package pipeline

import (
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// What callers branch on.
var (
	ErrNotFound = errors.New("not found")
	// ErrConflict: somebody else changed it first; load it again.
	ErrConflict = errors.New("changed by somebody else")
	// ErrStopped: a person, or a newer execution, ended it.
	ErrStopped = errors.New("stopped")
	// ErrTimedOut: its time limit passed.
	ErrTimedOut = errors.New("timed out")
	// ErrStale: the fencing token is no longer the job's; whoever holds it must
	// let go.
	ErrStale = errors.New("the job belongs to another attempt")
	// ErrDrained: the process is shutting down and takes no new work.
	ErrDrained = errors.New("shutting down")
)

// UserError is a mistake in what users wrote: commands that failed, a file
// that can't be read. It reaches the check run word for word, so it carries no
// path of the host and no secret.
type UserError struct {
	Code string // such as YAML_FILE_ERROR, COMMAND_EXECUTION_ERROR
	Msg  string
	// File, Line and Column say where, if the mistake is in a file of the
	// repository. Lines and columns count from 1; 0 means unknown.
	File   string
	Line   int
	Column int
}

func (e *UserError) Error() string {
	if e.File == "" {
		return e.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// RetryAfter reports whether err says that the forge is to be asked again
// later, and after what time; 0 if it named none.
func RetryAfter(err error) (after time.Duration, later bool) {
	retry, later := errors.AsType[*forge.RetryError](err)
	if !later {
		return 0, false
	}
	return retry.After, true
}

// BuildStatusOf is the only place where an error becomes a build's status.
// CodeBuild tells FAILED (the author's commands) from FAULT (the service).
func BuildStatusOf(err error) BuildStatus {
	var mistake *UserError
	switch {
	case err == nil:
		return BuildSucceeded
	case errors.Is(err, ErrStopped):
		return BuildStopped
	case errors.Is(err, ErrTimedOut):
		return BuildTimedOut
	case errors.As(err, &mistake):
		return BuildFailed
	}
	return BuildFault
}
