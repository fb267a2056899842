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
	// Spare hands out a container that was started, on a place of its own, before
	// anyone asked for it, for a build of s's image, limits and rights; it is nil
	// if there is none. No build has used it. From then on it is like one that
	// Start made, and fresh.
	Spare(ctx context.Context, s Spec) (Container, Place)
	// Answers is an error while the engine can start nothing, such as one in
	// another process that is being restarted.
	Answers(ctx context.Context) error
	// Close waits for the removals that are still going on and frees what is
	// kept ready. No other call may follow.
	Close(ctx context.Context) error
}

// Spec says what an engine is to start.
type Spec struct {
	Build string // the build's ID
	Image string
	Place
	Limits     pipeline.Limits
	Privileged bool
	// Services are started with the container, which is a Serviced then. An
	// engine that has none refuses them with NoServices.
	Services []pipeline.Service
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
	// of memory"; empty if that isn't known. An error means that the engine
	// itself can't be asked any more.
	Died(ctx context.Context) (string, error)
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
