package runner

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// Options are what every build of a process shares. Engine, Temp and either
// Source or Dir are required.
type Options struct {
	Engine Engine
	Source Source
	// Dir is a folder to build in place of a checkout, as it is; the order's
	// Source is for variables only then.
	Dir string
	// Secondary are sources beside Dir; builds work in copies of them.
	Secondary []Folder
	// Inputs opens the artifacts of earlier actions; nil: builds with such inputs
	// fail.
	Inputs Inputs
	// Temp holds one folder for each running build.
	Temp string
	// Cache keeps the caches of builds; nil: a cache block has no effect, which
	// the log says.
	Cache Cache
	// Debug is called when a command has failed, at most once in a build and
	// before its phase goes on to its finally block, and holds the build until it
	// returns; nil means that nobody looks into builds. Engines whose containers
	// aren't Debuggable never call it.
	Debug func(ctx context.Context, p Pause)
	// Phases are those of the buildspec's phases that run; none means all.
	Phases []string
	Mode   buildspec.Mode
	// Format is that of artifacts; empty means tar.zst.
	Format archive.Format
	// Name is the runner's, for people.
	Name string
	// Grace is how long commands have to end when a build is stopped; 0 means
	// 10 seconds.
	Grace time.Duration
	Now   func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil means none
}

// Folder is a secondary source of a build: CODEBUILD_SRC_DIR_ and its name say
// where the build finds it.
type Folder struct{ Name, Path string }

const defaultGrace = 10 * time.Second

func (o Options) filled() Options {
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Format == "" {
		o.Format = archive.TarZstd
	}
	return o
}

// Source fetches commits. A *pipeline.UserError says that the commit can't be
// had (CodeBuild reference E19).
type Source interface {
	// Checkout puts the commit's files into dir, an empty folder, together with
	// a .git folder that knows the commit and holds no credential.
	Checkout(ctx context.Context, o pipeline.SourceOrder, dir string) error
}

// Sink is where a build's results go while it runs. Run calls one method at a
// time. An error of Log or Artifact ends the build.
type Sink interface {
	// Log takes masked bytes of the log in order. It must not keep p. It may
	// block, which holds the build back.
	Log(p []byte) error
	// Report takes the build's state after each change. It should not block.
	Report(b pipeline.Build)
	// Artifact stores the bytes of r, which it reads to the end, and returns a
	// with digest and size.
	Artifact(ctx context.Context, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error)
}
