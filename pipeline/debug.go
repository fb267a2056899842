package pipeline

import (
	"context"
	"time"
)

// Debugging is somebody's wish to look into a build where its first command
// fails (decision 015).
type Debugging struct {
	By string `json:"by"`
	// TTY: they sit at a terminal.
	TTY bool      `json:"tty,omitempty"`
	At  time.Time `json:"at"`
}

// DebugOrder has a build wait, where its first command fails, for a person's
// shell.
type DebugOrder struct {
	By    string        `json:"by"`
	TTY   bool          `json:"tty,omitempty"`
	Limit time.Duration `json:"limit"` // of the shell's life
}

// DebugSide is who says something in a debugging session.
type DebugSide string

// The two sides.
const (
	FromPerson DebugSide = "in"
	FromBuild  DebugSide = "out"
)

// DebugFrame is one thing that a side says. Its data are raw: what was typed,
// or what the shell printed.
type DebugFrame struct {
	Data []byte `json:"data,omitempty"`
	// EOF: nothing more will be typed.
	EOF bool `json:"eof,omitempty"`
	// Rows and Columns are the size of the person's window, in characters, if it
	// has changed.
	Rows    uint `json:"rows,omitempty"`
	Columns uint `json:"columns,omitempty"`
	// Pause comes first from the build, when it waits.
	Pause *DebugPause `json:"pause,omitempty"`
	// End, why the session is over, comes last.
	End string `json:"end,omitempty"`
}

// DebugPause is where a build waits.
type DebugPause struct {
	Phase   string `json:"phase"`
	Command string `json:"command"` // masked
	Exit    int    `json:"exit"`
	// TTY: the shell has a terminal of its own, which shows what is typed.
	TTY bool `json:"tty,omitempty"`
}

// DebugFrames are some in their order. Next is where to go on.
type DebugFrames struct {
	Frames []DebugFrame `json:"frames"`
	Next   string       `json:"next"`
	// Watched, in what the build's side reads: the person has asked lately.
	Watched bool `json:"watched,omitempty"`
}

// Debugs is the part of a worker's Control that carries debugging sessions.
type Debugs interface {
	// DebugInput waits up to wait for what the person said after the place after;
	// empty: from the beginning. What lies before it is forgotten.
	DebugInput(ctx context.Context, ref JobRef, after string, wait time.Duration) (DebugFrames, error)
	// DebugOutput says something to the person. After a lost answer they may
	// see it twice.
	DebugOutput(ctx context.Context, ref JobRef, frames []DebugFrame) error
}
