package runnertest

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

// Setup says how a suite reaches an engine.
type Setup struct {
	Engine runner.Engine
	Image  string // given to every build
	// Bash says that the image has bash; Dash that its sh is dash.
	Bash, Dash bool
	// Users says that the image has a user "nobody" and that run-as works.
	Users bool
	// Runtimes says that the image has the runtimes of BashImage.
	Runtimes bool
	// Here says that builds see the folders of this host, whose names are in no
	// message.
	Here bool
	// Temp is where builds' folders go. The suite checks that it is empty at
	// the end. Empty means a folder of the test.
	Temp string
}

// Build runs one build of files and returns what came of it.
func (s Setup) Build(t *testing.T, files map[string]string, change func(*pipeline.BuildOrder)) (pipeline.Build, pipeline.Outcome, *Sink) {
	t.Helper()
	order, options := s.order(t, files)
	if change != nil {
		change(&order)
	}
	sink := &Sink{}
	b, o := runner.Run(t.Context(), options, order, sink)
	if t.Failed() || testing.Verbose() {
		t.Logf("log:\n%s", sink.Text())
	}
	return b, o, sink
}

// gitMark is a file of those builds that fetch their source with git. The
// others take a folder as it is, which is faster.
const gitMark = ".gitattributes"

// order is a build of files.
func (s Setup) order(t *testing.T, files map[string]string) (pipeline.BuildOrder, runner.Options) {
	t.Helper()
	options := s.Options(t)
	var src pipeline.SourceOrder
	if _, ok := files[gitMark]; ok || s.Users && os.Getuid() != 0 {
		src = Repo(t, files)
	} else {
		src = sourceOrder("/nowhere", strings.Repeat("1", 40))
		options.Dir = t.TempDir() // in which the build's root may leave files of its own
		write(t, options.Dir, files)
	}
	order := Order(src)
	order.Image = s.Image
	return order, options
}

// Options are those of the suite's builds.
func (s Setup) Options(t testing.TB) runner.Options {
	t.Helper()
	temp := s.Temp
	if temp == "" {
		temp = t.TempDir()
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	return runner.Options{Engine: s.Engine, Source: Store(t), Temp: temp, Grace: 2 * time.Second, Log: log}
}

// TestEngine is the suite that every engine passes: the conformance cases of
// the CodeBuild reference, section 11, that concern a runner, and the contract
// of runner.Engine.
func TestEngine(t *testing.T, s Setup) {
	for _, c := range slices.Concat(cases, blocks) {
		if c.runtimes && !s.Runtimes || c.bash && !s.Bash || c.dash && (!s.Dash || s.Bash) || c.users && !s.Users {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
	t.Run("C35 C36 cache", func(t *testing.T) { testCache(t, s) })
	t.Run("some phases only", func(t *testing.T) { testPhases(t, s) })
	t.Run("the manifest of a build", func(t *testing.T) { testManifest(t, s) })
	t.Run("a shell where a command has failed", func(t *testing.T) { testDebug(t, s) })
	t.Run("a shell at a breakpoint", func(t *testing.T) { testBreakpoint(t, s) })
	t.Run("a shell in a build that is stopped", func(t *testing.T) { testDebugTimeout(t, s) })
	t.Run("C37 reports", func(t *testing.T) { testReports(t, s) })
	t.Run("C48 time limit", func(t *testing.T) { testTimeLimit(t, s) })
	t.Run("C47 stop", func(t *testing.T) { testStop(t, s) })
	t.Run("a stopped command may clean up, and no other begins", func(t *testing.T) { testCleanUp(t, s) })
	t.Run("a command that ignores SIGTERM is killed after the grace period", func(t *testing.T) { testStubborn(t, s) })
	t.Run("a claim that is lost kills at once", func(t *testing.T) { testStale(t, s) })
	t.Run("a thousand commands", func(t *testing.T) { testMany(t, s) })
	t.Run("200 builds' worth of output in one", func(t *testing.T) { testLargeLog(t, s) })
}

// conformance is one case: a buildspec and what must come of it.
type conformance struct {
	name   string
	spec   string
	files  map[string]string
	change func(*pipeline.BuildOrder)
	// phases are "NAME STATUS" with one letter for the status, as in the
	// reference; COMPLETED has none.
	phases string
	status pipeline.BuildStatus
	output string   // exactly what the commands print, if not empty
	log    []string // all of these are in the log
	absent []string // none of these are
	code   string   // of the outcome
	// message is a part of the outcome's.
	message  string // <told> is where a message says that the source is
	exported map[string]string
	files2   []string // names in the primary artifact
	// secondary are those in the others; labels are the artifacts' names.
	secondary map[string][]string
	labels    []string
	retry     bool // the outcome asks for another attempt
	bash      bool // needs bash
	dash      bool // needs an image whose only shell is dash
	users     bool
	runtimes  bool
}

func (c conformance) run(t *testing.T, s Setup) {
	t.Parallel()
	files := map[string]string{}
	for name, text := range c.files {
		files[name] = text
	}
	if c.spec != "" {
		files["buildspec.yml"] = c.spec
	}
	b, o, sink := s.Build(t, files, c.change)
	c.check(t, s, b, o, sink)
}

func (c conformance) check(t *testing.T, s Setup, b pipeline.Build, o pipeline.Outcome, sink *Sink) {
	t.Helper()
	if got := phases(b); c.phases != "" && got != c.phases {
		t.Errorf("got phases %q, want %q", got, c.phases)
	}
	if b.Status != c.status || o.Status != c.status {
		t.Errorf("got status %s of the build and %s of the outcome, want %s", b.Status, o.Status, c.status)
	}
	src := sourceOf(sink.Text())
	if want := strings.ReplaceAll(c.output, "<src>", src); c.output != "" && sink.Output() != want {
		t.Errorf("got output %q, want %q", sink.Output(), want)
	}
	for _, text := range c.log {
		if !strings.Contains(sink.Text(), text) {
			t.Errorf("log lacks %q", text)
		}
	}
	for _, text := range c.absent {
		if strings.Contains(sink.Text(), text) {
			t.Errorf("log has %q", text)
		}
	}
	if c.code != "" && o.Code != c.code {
		t.Errorf("got code %q, want %q", o.Code, c.code)
	}
	told := src + "/"
	if s.Here {
		told = ""
	}
	if want := strings.ReplaceAll(c.message, "<told>", told); !strings.Contains(o.Message, want) {
		t.Errorf("got message %q, want %q in it", o.Message, want)
	}
	if c.exported != nil && len(b.Exported) != len(c.exported) {
		t.Errorf("got exported %v, want %v", b.Exported, c.exported)
	}
	for name, want := range c.exported {
		if got, ok := b.Exported[name]; got != want || !ok {
			t.Errorf("got exported %s %q, want %q", name, got, want)
		}
	}
	if c.files2 != nil {
		checkNames(t, sink.Bytes(runner.PrimaryArtifact), c.files2)
	}
	for id, names := range c.secondary {
		checkNames(t, sink.Bytes(id), names)
	}
	var labels []string
	for _, a := range o.Artifacts {
		labels = append(labels, a.Label)
	}
	if c.labels != nil && !slices.Equal(labels, c.labels) {
		t.Errorf("got labels %q, want %q", labels, c.labels)
	}
	if o.Retry != c.retry {
		t.Errorf("got retry %t, want %t", o.Retry, c.retry)
	}
	if t.Failed() {
		t.Logf("message: %s\nlog:\n%s", o.Message, sink.Text())
	}
}

// sourceOf finds the source folder in a log.
func sourceOf(log string) string {
	_, rest, _ := strings.Cut(log, "CODEBUILD_SRC_DIR=")
	src, _, _ := strings.Cut(rest, "\n")
	return src
}

// phases are a build's phases as the reference writes them.
func phases(b pipeline.Build) string {
	var words []string
	for _, p := range b.Phases {
		word := p.Type
		if p.Status != "" {
			word += " " + string(p.Status)[:1]
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

const (
	begun = "PROVISIONING S, DOWNLOAD_SOURCE S, "
	tail  = "UPLOAD_ARTIFACTS S, FINALIZING S, COMPLETED"
)

func testStop(t *testing.T, s Setup) {
	t.Parallel()
	b, sink := interrupted(t, s, `
version: 0.2
phases:
  build:
    commands: ["echo begun; sleep 100"]
    finally: ["echo from finally"]
  post_build:
    commands: ["echo from post_build"]
`, pipeline.ErrStopped, time.Minute)
	if got, want := phases(b), begun+"INSTALL S, PRE_BUILD S, BUILD S, FINALIZING S, COMPLETED"; got != want {
		t.Errorf("got phases %q, want %q", got, want)
	}
	if b.Status != pipeline.BuildStopped || b.Phases[4].Status != pipeline.BuildStopped {
		t.Errorf("got status %s, phase %s", b.Status, b.Phases[4].Status)
	}
	if strings.Contains(sink.Output(), "from") {
		t.Errorf("commands ran after the stop:\n%s", sink.Text())
	}
}

// testTimeLimit runs out of time while a command runs, however long it took to
// begin.
func testTimeLimit(t *testing.T, s Setup) {
	t.Parallel()
	b, sink := interrupted(t, s, `
version: 0.2
phases:
  build:
    commands: [echo begun; sleep 600]
    finally: [echo from finally]
  post_build:
    commands: [echo from post_build]
`, pipeline.ErrTimedOut, time.Minute)
	if got, want := phases(b), begun+"INSTALL S, PRE_BUILD S, BUILD T, FINALIZING S, COMPLETED"; got != want || b.Status != pipeline.BuildTimedOut {
		t.Errorf("got %s, phases %q, want %q", b.Status, got, want)
	}
	if b.Failure == nil || b.Failure.Code != "BUILD_TIMED_OUT" || strings.Contains(sink.Output(), "from") {
		t.Errorf("got failure %+v, log:\n%s", b.Failure, sink.Text())
	}
}

func testCleanUp(t *testing.T, s Setup) {
	t.Parallel()
	b, sink := interrupted(t, s, `
version: 0.2
phases:
  build:
    commands:
      - "trap 'sleep 1; echo cleaned; exit 0' TERM; echo begun; while :; do sleep 1; done"
      - |
        echo from the next
`, pipeline.ErrStopped, time.Minute)
	if b.Status != pipeline.BuildStopped || !strings.Contains(sink.Output(), "\ncleaned\n") || strings.Contains(sink.Output(), "from") {
		t.Errorf("got %s, log:\n%s", b.Status, sink.Text())
	}
}

func testStubborn(t *testing.T, s Setup) {
	t.Parallel()
	b, _ := interrupted(t, s, `
version: 0.2
phases:
  build:
    commands: ["trap '' TERM; echo begun; while :; do sleep 1; done"]
`, pipeline.ErrStopped, 2*time.Second)
	if b.Status != pipeline.BuildStopped {
		t.Errorf("got status %s", b.Status)
	}
}

func testStale(t *testing.T, s Setup) {
	t.Parallel()
	b, _ := interrupted(t, s, `
version: 0.2
phases:
  build:
    commands: ["trap 'echo asked' TERM; echo begun; while :; do sleep 1; done"]
`, pipeline.ErrStale, time.Minute)
	if b.Status != pipeline.BuildStopped {
		t.Errorf("got status %s", b.Status)
	}
}

// interrupted runs a build and ends it once it has printed "begun". Its command
// has the grace period to end then.
func interrupted(t *testing.T, s Setup, spec string, cause error, grace time.Duration) (pipeline.Build, *Sink) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	sink := &Sink{}
	order, options := s.order(t, map[string]string{"buildspec.yml": spec})
	options.Grace = grace
	seen := sink.Seen("\nbegun\n")
	go func() {
		<-seen
		cancel(cause)
	}()
	b, _ := runner.Run(ctx, options, order, sink)
	return b, sink
}

func testMany(t *testing.T, s Setup) {
	t.Parallel()
	var spec strings.Builder
	spec.WriteString("version: 0.2\nphases:\n  build:\n    commands:\n")
	for range 999 {
		spec.WriteString("      - N=x$N\n")
	}
	spec.WriteString("      - echo ${#N}\n")
	b, _, sink := s.Build(t, map[string]string{"buildspec.yml": spec.String()}, nil)
	if b.Status != pipeline.BuildSucceeded || sink.Output() != "999\n" {
		t.Errorf("got %s, output %.200q", b.Status, sink.Output())
	}
}

func testLargeLog(t *testing.T, s Setup) {
	t.Parallel()
	b, _, sink := s.Build(t, map[string]string{"buildspec.yml": `
version: 0.2
phases:
  build:
    commands:
      - |
        i=0
        while [ $i -lt 20000 ]; do echo "line $i of a log that is long enough to fill more than one pipe"; i=$((i+1)); done
      - echo end
`}, nil)
	_, output, _ := strings.Cut(sink.Output(), "\nline 0 ")
	lines := strings.Split(output, "\n")
	if b.Status != pipeline.BuildSucceeded || len(lines) != 20002 || !strings.HasPrefix(lines[19999], "line 19999 ") || lines[20000] != "end" {
		t.Errorf("got %s, %d lines", b.Status, len(lines))
	}
}
