package runner

import (
	"context"
	"io"

	"github.com/slipway-ci/slipway/pipeline"
)

// Engine starts the places in which builds run. All methods may be called
// concurrently. Every engine passes the suite runnertest.TestEngine.
type Engine interface {
	// Start makes a fresh container for one build and runs "sh DriverName" in
	// it. It returns once the process runs; the source folder may still be
	// empty then. A *pipeline.UserError says that the image can't be had or
	// can't run a build (CodeBuild reference E15, E16). After an error nothing
	// is left behind.
	Start(ctx context.Context, s Spec) (Container, error)
	// Close waits for the removals that are still going on and frees what is
	// kept ready. No other call may follow.
	Close(ctx context.Context) error
}

// Spec says what an engine is to start.
type Spec struct {
	Build string // the build's ID
	Image string
	// Folder is a folder of the host that belongs to this build alone. The
	// engine takes it away with the container. Work and Source are usually
	// below it.
	Folder string
	// Work and Source are folders of the host that the build sees. Work holds
	// the driver. Source is seen at SourcePath, a clean absolute path, where
	// the engine can arrange it.
	Work, Source string
	SourcePath   string
	Limits       pipeline.Limits
	Privileged   bool
}

// DriverName is the file in Spec.Work that the container runs with sh.
const DriverName = "driver.sh"

// Container is one running build. Its methods may be called concurrently.
type Container interface {
	Process
	// Work and Source are where the build sees these folders.
	Work() string
	Source() string
	// Exec runs the driver once more, as another user of the image. A
	// *pipeline.UserError says that there is no such user.
	Exec(ctx context.Context, user string) (Process, error)
	// Kill ends every process of the build and returns when none is left, or
	// when ctx is over. The folders stay.
	Kill(ctx context.Context) error
	// Died says in a few words why the container ended by itself, such as "out
	// of memory"; empty if that isn't known.
	Died(ctx context.Context) string
	// Remove takes away whatever Start made, Folder included. It may go on in
	// the background; Engine.Close waits for it. Kill need not be called first.
	Remove()
}

// Process is a driver: orders in, output out. Read returns both streams of the
// build's processes as one and io.EOF when the process has ended; only one
// goroutine may read.
type Process interface {
	io.Reader
	io.Writer
}
