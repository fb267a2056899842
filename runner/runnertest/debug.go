package runnertest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

const debugged = `  build:
    on-failure: RETRY-1
    retry-scope: phase
    commands:
      - mkdir -p deep && cd deep
      - export WHAT=state; exit 3
    finally:
      - cd "$CODEBUILD_SRC_DIR" && test -e deep/found && echo deep/found
`

// testDebug: a person finds the failed command's folder and variables, once,
// and before anything else runs.
func testDebug(t *testing.T, s Setup) {
	order, o := s.order(t, map[string]string{"buildspec.yml": spec(debugged)})
	var out bytes.Buffer
	var paused []runner.Pause
	o.Debug = func(ctx context.Context, p runner.Pause) {
		paused = append(paused, p)
		p.Note("somebody looks into it")
		commands := "echo [$WHAT] \"${PWD##*/}\" $CODEBUILD_BUILD_NUMBER $CODEBUILD_BUILD_SUCCEEDING\ntouch found\nexit 9\n"
		if err := p.Shell(ctx, runner.Terminal{In: strings.NewReader(commands), Out: &out}); err != nil {
			t.Error(err)
		}
	}
	sink := &Sink{}
	b, _ := runner.Run(t.Context(), o, order, sink)
	if len(paused) != 1 || paused[0].Exit != 3 || paused[0].Phase != "BUILD" || !strings.HasPrefix(paused[0].Command, "export WHAT") {
		t.Fatalf("got pauses %+v", paused)
	}
	if got, want := out.String(), "[state] deep 7 1\n"; got != want {
		t.Errorf("the shell said %q, want %q", got, want)
	}
	if b.Status != pipeline.BuildFailed || b.Failure == nil || b.Failure.Exit != 3 ||
		!strings.Contains(sink.Text(), "somebody looks into it") || !strings.Contains(sink.Text(), "\ndeep/found\n") || strings.Contains(sink.Text(), "[state]") {
		t.Errorf("got %s, %+v:\n%s", b.Status, b.Failure, sink.Text())
	}
}

// testBreakpoint: a build that nobody debugs goes on over codebuild-breakpoint;
// the others wait there until codebuild-resume, once.
func testBreakpoint(t *testing.T, s Setup) {
	order, o := s.order(t, map[string]string{"buildspec.yml": spec(`  build:
    commands:
      - codebuild-resume && export WHAT=before
      - codebuild-breakpoint
      - test -e found && echo "goes on"
      - codebuild-breakpoint
`)})
	sink := &Sink{}
	if b, _ := runner.Run(t.Context(), o, order, sink); b.Failure == nil || b.Failure.Command != "test -e found && echo \"goes on\"" {
		t.Fatalf("without debugging it %s, %+v\n%s", b.Status, b.Failure, sink.Text())
	}
	var out bytes.Buffer
	paused := 0
	o.Debug = func(ctx context.Context, p runner.Pause) {
		paused++
		if p.Exit != 0 || p.Command != "codebuild-breakpoint" {
			t.Errorf("got pause %+v", p)
		}
		in := strings.NewReader("touch found; echo [$WHAT]\ncodebuild-resume\necho still here\n")
		_ = p.Shell(ctx, runner.Terminal{In: in, Out: &out}) // ended by a signal
	}
	sink = &Sink{}
	b, _ := runner.Run(t.Context(), o, order, sink)
	if b.Status != pipeline.BuildSucceeded || paused != 1 || out.String() != "[before]\n" || !strings.Contains(sink.Text(), "\ngoes on\n") {
		t.Errorf("it %s after %d pauses, the shell said %q\n%s", b.Status, paused, out.String(), sink.Text())
	}
}

// testDebugTimeout: a shell that is forgotten doesn't outlive the build.
func testDebugTimeout(t *testing.T, s Setup) {
	order, o := s.order(t, map[string]string{"buildspec.yml": spec("  build:\n    commands: [\"false\"]\n")})
	ctx, stop := context.WithCancelCause(t.Context())
	typed, keys := io.Pipe()
	defer keys.Close()
	o.Debug = func(ctx context.Context, p runner.Pause) {
		out := seenWriter(func() { stop(pipeline.ErrStopped) })
		go func() { _, _ = keys.Write([]byte("echo here\n")) }()
		if err := p.Shell(ctx, runner.Terminal{In: typed, Out: out}); err == nil {
			t.Error("the shell ended as if it had been left")
		}
	}
	b, _ := runner.Run(ctx, o, order, &Sink{})
	if b.Status != pipeline.BuildStopped {
		t.Errorf("got %s", b.Status)
	}
}

// seenWriter is called with everything that is written.
type seenWriter func()

func (w seenWriter) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
