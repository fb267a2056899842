// Package runner runs builds: one fresh container each, phase by phase as the
// repository's buildspec says and as CodeBuild does it (CodeBuild reference,
// sections 2 to 4).
package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// The phases of a build (CodeBuild reference 2.1).
const (
	provisioning    = "PROVISIONING"
	downloadSource  = "DOWNLOAD_SOURCE"
	uploadArtifacts = "UPLOAD_ARTIFACTS"
	finalizing      = "FINALIZING"
	completed       = "COMPLETED"
)

// build is one run of a buildspec.
type build struct {
	Options
	order pipeline.BuildOrder
	sink  Sink
	log   *buildLog

	record  pipeline.Build
	outcome pipeline.Outcome
	failure error // the first of any phase

	place     place
	container Container
	main      *driver            // the container's own, root's
	drivers   map[string]*driver // those of other users
	shell     *shell
	spec      *buildspec.Spec
	variables []pipeline.Variable
	secret    map[string]bool // names of variables that hold secrets
	activate  []string        // commands that select the runtime versions
	cached    *cachePlan      // nil: the build has no cache
	aborted   bool            // a phase failed whose on-failure is ABORT
	// reportPlans are the entries of reports; nil: not evaluated yet.
	reportPlans []reportPlan
	reported    map[string]bool // files that are in a report, by path in the source
	discovers   bool            // the build's settings speak of discovery
	discovery   discovery

	// What the manifest says of commands: by the phase's index.
	commandsRun map[int][]ManifestCommand
	scriptBytes int
	specSum     string
	paused      bool // a person has been let in

	// background are goroutines that Run waits for: the checkout, the beats.
	background sync.WaitGroup
	checkout   chan error
	quit       context.CancelFunc
	over       <-chan struct{} // closed by quit
}

// Run runs one build from PROVISIONING to COMPLETED and says how it went. It
// returns once nothing more happens to the build but the removal of its
// container, for which Engine.Close waits. When ctx is over the build ends,
// without finally commands and without later phases: as STOPPED, or as
// TIMED_OUT or FAULT if that is what ctx's cause means. A cause of
// pipeline.ErrStale kills it at once.
func Run(ctx context.Context, o Options, order pipeline.BuildOrder, sink Sink) (pipeline.Build, pipeline.Outcome) {
	o = o.filled()
	r := &build{Options: o, order: order, sink: sink, drivers: map[string]*driver{}, secret: map[string]bool{}, commandsRun: map[int][]ManifestCommand{}, reported: map[string]bool{}}
	r.log = newBuildLog(sink, o.Now)
	r.record = pipeline.Build{
		V: 1, ID: order.ID, Number: order.Number, Project: order.Project, Repo: order.Source.Repo.FullName(),
		SHA: order.Source.SHA, Ref: order.Source.FetchRef, Image: order.Image, Runner: o.Name,
		Status: pipeline.BuildInProgress, CreatedAt: r.now(), StartedAt: r.now(),
	}
	if order.Timeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, order.Timeout, pipeline.ErrTimedOut)
		defer cancel()
		ctx = limited
	}
	r.run(ctx)
	return r.record, r.outcome
}

func (r *build) now() time.Time { return r.Now().UTC() }

// run follows CodeBuild's diagram (CodeBuild reference 2.2).
func (r *build) run(ctx context.Context) {
	inner, quit := context.WithCancel(ctx)
	r.quit, r.over = quit, inner.Done()
	defer r.clear()
	if r.phase(ctx, provisioning, func() error { return r.provision(inner) }) {
		if r.phase(ctx, downloadSource, func() error { return r.download(ctx, inner) }) && r.commands(ctx) {
			r.phase(ctx, uploadArtifacts, func() error { return r.collect(ctx) })
		}
		r.phase(ctx, finalizing, func() error { return r.readReports(ctx) })
	}
	r.tellServices(ctx)
	r.complete(ctx)
}

// phase records one phase around its work and reports whether it succeeded.
func (r *build) phase(ctx context.Context, name string, work func() error) bool {
	r.enter(name)
	err := work()
	if name != finalizing && err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	r.leave(err)
	return err == nil
}

func (r *build) enter(name string) {
	r.record.CurrentPhase = name
	r.record.Phases = append(r.record.Phases, pipeline.Phase{
		Type: name, Status: pipeline.BuildInProgress, StartTime: r.now(), LogLine: r.log.lines() + 1,
	})
	r.report()
}

// leave ends the current phase and logs how it went.
func (r *build) leave(err error) {
	p := &r.record.Phases[len(r.record.Phases)-1]
	remark := contextOf(err)
	remark.Message = r.log.masker.String(remark.Message)
	p.Status, p.EndTime, p.Contexts = statusOf(err), r.now(), []pipeline.Context{remark}
	if err != nil {
		r.fail(p.Type, remark, err)
	}
	r.log.line("Phase complete: %s State: %s", p.Type, p.Status)
	r.log.line("Phase context status code: %s Message: %s", remark.StatusCode, remark.Message)
	r.report()
}

// fail keeps the first failure; a stop, a time-out or a fault outranks a
// failed command that came before it.
func (r *build) fail(phase string, remark pipeline.Context, err error) {
	status := statusOf(err)
	if r.failure != nil && status == pipeline.BuildFailed {
		return
	}
	if status == pipeline.BuildFault {
		r.Log.Error("build ended by a fault", "job", r.order.ID, "phase", phase, "error", r.log.masker.String(err.Error()))
	}
	r.failure = err
	f := &pipeline.Failure{Phase: phase, Code: remark.StatusCode, Message: remark.Message, LogLine: r.log.lines()}
	var c *commandError
	if errors.As(err, &c) {
		f.Command, f.Exit, f.Tail, f.LogLine = r.log.masker.String(c.command), c.exit, c.tail, c.logLine
	}
	r.record.Failure = f
	r.outcome.Code, r.outcome.Message = f.Code, f.Message
}

func (r *build) report() {
	r.log.sync()
	r.record.LogBytes, r.record.LogLines = r.log.out.bytes, r.log.lines()
	b := r.record
	b.Phases = slices.Clone(b.Phases)
	r.sink.Report(b)
}

// complete is the end: COMPLETED has a start and nothing else.
func (r *build) complete(ctx context.Context) {
	r.record.Status = statusOf(r.failure)
	r.record.EndedAt = r.now()
	r.record.CurrentPhase = completed
	r.record.Phases = append(r.record.Phases, pipeline.Phase{Type: completed, StartTime: r.record.EndedAt})
	r.outcome.Status = r.record.Status
	r.retriesItself()
	r.outcome.Exported, r.outcome.Artifacts = r.record.Exported, r.record.Artifacts
	r.keepManifest(ctx)
	r.report()
}

// collect keeps what the build has made: its cache, while its container still
// runs, and then its artifacts.
func (r *build) collect(ctx context.Context) error {
	r.saveCache(ctx)
	r.planReports(ctx) // needs the shell, which the upload ends
	return r.upload(ctx)
}

// clear lets go of the container; its folder goes with it.
func (r *build) clear() {
	r.quit()
	r.background.Wait() // the checkout writes into the folder
	if r.shell != nil {
		_ = r.shell.folder.Close() // only read from
	}
	if r.container != nil {
		r.container.Remove()
		return
	}
	if r.place.Folder == "" {
		return
	}
	if err := os.RemoveAll(r.place.Folder); err != nil {
		r.Log.Warn("folder of a build left behind", "job", r.order.ID, "error", err)
	}
}

// commandError is a command that failed, with what there is to know of it.
type commandError struct {
	pipeline.UserError
	command string
	exit    int
	tail    []string
	logLine int64
}

func (e *commandError) Unwrap() error { return &e.UserError }

// commands runs the four command phases and reports whether artifacts are to
// be uploaded.
func (r *build) commands(ctx context.Context) (upload bool) {
	for _, name := range buildspec.PhaseNames {
		if len(r.Phases) > 0 && !slices.Contains(r.Phases, name) {
			r.log.line("Phase %s is left out: it was not asked for", phaseType(name))
			continue
		}
		p := r.spec.Phase(name)
		ok := r.phase(ctx, phaseType(name), func() error { return r.insistently(ctx, p) })
		if ok {
			continue
		}
		if statusOf(r.failure) != pipeline.BuildFailed {
			return false
		}
		switch p.OnFailure.Action {
		case buildspec.Abort:
			r.aborted = true
			return false
		case buildspec.Continue:
			continue
		case buildspec.Retry:
			if r.retries(p.OnFailure) {
				return false
			}
		case buildspec.Unset:
		}
		if name == buildspec.Install || name == buildspec.PreBuild {
			return false
		}
	}
	if err := r.export(ctx); err != nil {
		r.Log.Warn("exported variables lost", "job", r.order.ID, "error", err)
	}
	return context.Cause(ctx) == nil
}

// phaseType is the name that a build gives to a phase of the buildspec.
func phaseType(name string) string {
	switch name {
	case buildspec.Install:
		return "INSTALL"
	case buildspec.PreBuild:
		return "PRE_BUILD"
	case buildspec.Build:
		return "BUILD"
	}
	return "POST_BUILD"
}

// commandPhase runs commands, then finally whether they passed or failed. A
// build that was stopped runs no finally (CodeBuild reference 2.3, 2.8).
func (r *build) commandPhase(ctx context.Context, p buildspec.Phase) error {
	r.log.line("Entering phase %s", phaseType(p.Name))
	if p.Name == buildspec.Install && len(r.activate) > 0 {
		if err := r.list(ctx, r.main, batch{commands: r.activate}, r.failure == nil); err != nil {
			return err
		}
	}
	if len(p.Commands)+len(p.Finally) == 0 {
		return context.Cause(ctx)
	}
	d, err := r.driverOf(ctx, p)
	if err != nil {
		return err
	}
	err = r.list(ctx, d, r.batch(p.Commands), r.failure == nil)
	if err != nil && statusOf(err) != pipeline.BuildFailed {
		return err
	}
	last := r.list(ctx, d, r.batch(p.Finally), r.failure == nil && err == nil)
	if last != nil && (err == nil || statusOf(last) != pipeline.BuildFailed) {
		return last
	}
	return err
}

// batch is a list of the buildspec's.
func (r *build) batch(commands []buildspec.Command) batch {
	b := batch{commands: make([]string, len(commands)), strict: r.order.StrictShell}
	for i, c := range commands {
		b.commands[i] = c.Text
	}
	return b
}

// list runs one list of commands up to the first that fails. Somebody who
// debugs the build is let in at a breakpoint.
func (r *build) list(ctx context.Context, d *driver, b batch, succeeding bool) error {
	for commands := b.commands; len(commands) > 0; {
		n := r.untilBreakpoint(commands)
		b.commands = commands[:n]
		if err := r.upToFailure(ctx, d, b, succeeding); err != nil {
			return err
		}
		if n < len(commands) || isBreakpoint(commands[n-1]) {
			if err := r.pause(ctx, d, commands[n-1], 0); err != nil {
				return err
			}
		}
		commands = commands[n:]
	}
	return nil
}

func (r *build) upToFailure(ctx context.Context, d *driver, b batch, succeeding bool) error {
	var line int64
	b.force, b.out = r.force(succeeding), r.log.output
	b.begin = func(i int) {
		r.log.line("Running command %s", b.commands[i])
		r.log.begin()
		line = r.log.lines()
	}
	res, err := r.shell.run(ctx, d, b)
	switch {
	case errors.Is(err, errDead):
		return r.dead(ctx)
	case err != nil:
		return err
	}
	r.noteCommands(b.commands, res)
	if res.failed < 0 {
		return nil
	}
	failed := r.failed(b.commands[res.failed], res.exit, line)
	if err := r.pause(ctx, d, failed.command, failed.exit); err != nil {
		return err
	}
	return failed
}

func (r *build) failed(command string, exit int, line int64) *commandError {
	tail := r.log.last()
	r.log.line("Command did not exit successfully %s exit status %d", command, exit)
	if slices.ContainsFunc(tail, func(line string) bool { return strings.Contains(line, noEngine) }) {
		r.log.line("Hint: a build has a Docker engine if its project on the server says docker or privileged")
	}
	return &commandError{
		UserError: pipeline.UserError{Code: codeCommand, Msg: fmt.Sprintf("Error while executing command: %s. Reason: exit status %d", command, exit)},
		command:   command, exit: exit, tail: tail, logLine: line,
	}
}

const diedTimeout = 20 * time.Second

// dead is the error of a container that ended under its commands: their
// author's doing, as far as anyone can tell (CodeBuild reference E16). Where the
// engine has gone as well it is no one's here, and a fault.
func (r *build) dead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diedTimeout)
	defer cancel()
	why, err := r.container.Died(ctx)
	if err != nil {
		return fmt.Errorf("asking why the build container ended: %w", err)
	}
	msg := "Build container found dead before completing the build"
	if why != "" {
		msg += ": " + why
	}
	return &pipeline.UserError{Code: codeContainer, Msg: msg}
}

// force are the variables that the build can't change.
func (r *build) force(succeeding bool) string {
	if succeeding {
		return "export CODEBUILD_BUILD_SUCCEEDING=1"
	}
	return "export CODEBUILD_BUILD_SUCCEEDING=0"
}
