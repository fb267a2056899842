package deployer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/internal/redact"
	"github.com/slipway-ci/slipway/pipeline"
)

// attempt is one call of Apply.
type attempt struct {
	d        *Deployer
	dep      Deployment
	rep      Reporter
	group    group
	work     work
	state    state
	previous state // the pointers as they were before this deployment
	spec     *appspec.Spec
	specName string
	sums     map[string]entry // of the revision's files, by absolute path
	log      *scriptLog
	result   Result
	recorded map[string]Event
	works    map[string]eventWork
}

// attempt runs the events in order. The host is locked.
func (d *Deployer) attempt(ctx context.Context, dep Deployment, events []string, rep Reporter) (Result, error) {
	a := &attempt{d: d, dep: dep, rep: rep, group: d.group(dep.GroupID), works: map[string]eventWork{}}
	a.work = a.group.work(dep.ID)
	if err := a.open(); err != nil {
		return Result{Status: pipeline.DeploymentFailed}, err
	}
	defer a.log.Close()
	a.result.Status = pipeline.DeploymentInProgress
	err := a.prepare(ctx)
	if err == nil {
		err = a.announce(events)
	}
	if err != nil {
		err = a.failPrepare(events, err)
	}
	for i, name := range events {
		if err != nil {
			a.skip(events[i:])
			break
		}
		err = a.event(ctx, name)
	}
	return a.end(ctx, err)
}

// open loads what is known and opens the log.
func (a *attempt) open() error {
	if err := os.MkdirAll(a.work.dir, 0o755); err != nil {
		return fmt.Errorf("making folder of the deployment: %w", err)
	}
	var err error
	if a.state, err = a.group.load(); err != nil {
		return err
	}
	a.state.Name = a.dep.Group
	if a.recorded, err = a.work.events(); err != nil {
		return err
	}
	if a.previous, err = a.work.before(a.state); err != nil {
		return err
	}
	var secrets []string
	for _, v := range a.dep.Variables {
		if v.Secret {
			secrets = append(secrets, v.Value)
		}
	}
	a.log, err = openLog(a.work.log(), a.d.now, redact.New(secrets...), a.rep.Output)
	return err
}

// before is the group's state when the deployment began, kept so that a
// repeated attempt runs the scripts of the same revisions.
func (w work) before(now state) (state, error) {
	name := w.dir + "/before.json"
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return now, writeJSON(name, now)
	}
	if err != nil {
		return now, err
	}
	var s state
	return s, json.Unmarshal(data, &s)
}

// events reads the journal: the last word on each event.
func (w work) events() (map[string]Event, error) {
	recorded := map[string]Event{}
	data, err := os.ReadFile(w.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return recorded, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal of %s: %w", w.id, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // a crash cut the last line: what it would say didn't happen
		}
		recorded[e.Name] = e
	}
	return recorded, lines.Err()
}

// note puts an event into the journal, and on disk, before anybody hears of it.
func (a *attempt) note(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(a.work.journal(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	_, err = f.Write(append([]byte("\n"), append(line, '\n')...))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	a.rep.Event(e)
	return nil
}

// prepare gets the revision onto the disk and checks its appspec before the
// first event, so that a bad one never stops a running application (CodeDeploy
// reference 1.8).
func (a *attempt) prepare(ctx context.Context) error {
	if err := ctxError(ctx); err != nil {
		return err
	}
	if err := a.fetch(ctx); err != nil {
		return err
	}
	name, err := findSpec(a.work.files(), a.dep.AppSpec)
	if err != nil {
		return err
	}
	spec, warnings, err := readSpec(a.work.files(), name, a.specOptions())
	for _, w := range warnings {
		a.warn(w.Code, "%s", w.Message)
	}
	if err != nil {
		return err
	}
	a.spec, a.specName = spec, name
	for _, e := range a.dep.Events {
		if !slices.Contains(WithTraffic, e) && len(spec.Hooks[e]) == 0 {
			return &pipeline.UserError{Code: "HOOK_CUSTOM_MISSING", Msg: fmt.Sprintf("the appspec has no scripts for the event %s", e), File: name, Line: 1, Column: 1}
		}
	}
	return nil
}

func (a *attempt) specOptions() appspec.Options {
	return appspec.Options{Platform: "linux", Strict: a.dep.Strict, AWS: a.dep.AWS, Events: a.dep.Events}
}

// failPrepare records a revision that can't be applied as a failed
// DownloadBundle. Its place among the skipped events is the usual one.
func (a *attempt) failPrepare(events []string, err error) error {
	i := slices.Index(events, DownloadBundle)
	a.skip(events[:i])
	now := a.d.now()
	e := Event{Name: DownloadBundle, Status: pipeline.DeploymentInProgress, Start: now}
	noted := a.note(e)
	ended := a.finish(e, err)
	a.skip(events[i+1:])
	return errors.Join(ended, noted)
}

// event runs one lifecycle event, unless the journal says that it ran.
func (a *attempt) event(ctx context.Context, name string) error {
	if err := ctxError(ctx); err != nil {
		a.skip([]string{name})
		return err
	}
	was, known := a.recorded[name]
	if known && was.Status == pipeline.DeploymentSucceeded {
		a.result.Events = append(a.result.Events, was)
		return nil
	}
	if known && !repeatable(was) {
		return a.repeatFailure(was)
	}
	work, err := a.workOf(name)
	if err != nil {
		return err
	}
	e := Event{Name: name, Status: pipeline.DeploymentInProgress, Start: a.d.now(), From: work.from, Scripts: len(work.scripts)}
	if known && was.Status == pipeline.DeploymentInProgress && len(work.scripts) > 0 {
		e = was
		return a.finish(e, &scriptError{code: CodeRestarted, msg: "the agent was restarted while " + name + " ran: its scripts are not run again"})
	}
	if err := a.note(e); err != nil {
		return err
	}
	a.log.begin(name)
	if work.from != "" {
		a.log.note("%s runs the scripts of deployment %s", name, work.from)
	}
	return a.finish(e, a.carryOut(ctx, name, work))
}

// repeatable reports whether an event that the journal knows may run again:
// our own work may, unless its author has to change something; scripts may not.
// One that is InProgress is looked at later.
func repeatable(was Event) bool {
	switch was.Status {
	case pipeline.DeploymentFailed:
		return (was.Name == DownloadBundle || was.Name == Install) && was.Reason == CodeUnknown.String()
	case pipeline.DeploymentStopped:
		return was.Scripts == 0
	case pipeline.DeploymentPending, pipeline.DeploymentInProgress, pipeline.DeploymentSucceeded, pipeline.DeploymentSkipped:
	}
	return true
}

// repeatFailure answers a repeated attempt as the first one was answered.
func (a *attempt) repeatFailure(was Event) error {
	a.result.Events = append(a.result.Events, was)
	if was.Status == pipeline.DeploymentStopped {
		return fmt.Errorf("%s was ended before and is not run again: %w", was.Name, pipeline.ErrStopped)
	}
	if a.ignored(was.Name) {
		return nil
	}
	return &pipeline.UserError{Code: was.Reason, Msg: was.Name + ": " + was.Message, File: was.File, Line: was.Line, Column: was.Column}
}

func (a *attempt) carryOut(ctx context.Context, name string, w eventWork) error {
	switch name {
	case DownloadBundle:
		return a.downloaded()
	case Install:
		return a.install(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.d.eventTimeout,
		fmt.Errorf("a lifecycle event has %s for all of its scripts: %w", a.d.eventTimeout, pipeline.ErrTimedOut))
	defer cancel()
	r := runner{d: a.d, archive: w.archive, env: a.environment(name, w), log: a.log, warn: a.warn}
	for _, s := range w.scripts {
		if err := r.run(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// downloaded moves the pointer; the revision itself is on disk since prepare.
func (a *attempt) downloaded() error {
	a.state.Downloaded = pointer{a.dep.ID, a.specName}
	if err := a.group.save(a.state); err != nil {
		return err
	}
	return a.retain()
}

// eventWork is what an event runs.
type eventWork struct {
	scripts []appspec.Script
	archive string
	from    string // deployment, if not this one
}

// workOf is what an event runs.
func (a *attempt) workOf(name string) (eventWork, error) {
	if w, known := a.works[name]; known {
		return w, nil
	}
	w, err := a.findWork(name)
	if err == nil {
		a.works[name] = w
	}
	return w, err
}

// findWork finds the scripts of an event (CodeDeploy reference 2.2).
func (a *attempt) findWork(name string) (eventWork, error) {
	var p pointer
	switch scriptsOf(name, a.dep.BlueGreenRollback) {
	case fromInstalled:
		p = a.previous.Installed
	case fromDownloaded:
		p = a.previous.Downloaded
	case fromCurrent:
		return eventWork{scripts: a.spec.Hooks[name], archive: a.work.files()}, nil
	}
	if p.ID == "" || p.ID == a.dep.ID {
		return eventWork{}, nil
	}
	dir := a.group.work(p.ID).files()
	if _, err := os.Stat(dir); err != nil {
		a.warn("PREVIOUS_GONE", "%s: the revision of deployment %s is no longer on this host, its scripts are left out", name, p.ID)
		return eventWork{}, nil
	}
	spec, _, err := readSpec(dir, p.AppSpec, appspec.Options{AWS: a.dep.AWS})
	if err != nil {
		a.warn("PREVIOUS_GONE", "%s: the appspec of deployment %s can't be read, its scripts are left out: %v", name, p.ID, err)
		return eventWork{}, nil
	}
	return eventWork{spec.Hooks[name], dir, p.ID}, nil
}

// environment is that of an event's scripts (CodeDeploy reference 2.5).
func (a *attempt) environment(event string, w eventWork) []string {
	env := []string{"PATH=" + a.d.path, "LANG=C.UTF-8"}
	if u, err := user.Current(); err == nil {
		env = append(env, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	}
	env = append(env, a.d.env...)
	for _, v := range a.dep.Variables {
		env = append(env, v.Name+"="+v.Value)
	}
	env = append(env,
		"APPLICATION_NAME="+a.dep.Application, "DEPLOYMENT_ID="+a.dep.ID, "DEPLOYMENT_GROUP_NAME="+a.dep.Group,
		"DEPLOYMENT_GROUP_ID="+a.dep.GroupID, "LIFECYCLE_EVENT="+event,
		"SLIPWAY_ARCHIVE_DIR="+w.archive, "SLIPWAY_PREVIOUS_DEPLOYMENT="+a.previous.Installed.ID)
	if a.d.target != "/" {
		env = append(env, "SLIPWAY_TARGET_ROOT="+a.d.target)
	}
	if a.dep.Commit != "" {
		env = append(env, "BUNDLE_COMMIT="+a.dep.Commit, "SLIPWAY_COMMIT_SHA="+a.dep.Commit)
	}
	return env
}

func (a *attempt) warn(code, format string, args ...any) {
	w := Warning{code, fmt.Sprintf(format, args...)}
	a.result.Warnings = append(a.result.Warnings, w)
	a.log.note("warning: %s: %s", w.Code, w.Message)
}

// ignored reports whether a failure of the event doesn't count.
func (a *attempt) ignored(event string) bool {
	return a.dep.IgnoreApplicationStopFailures && slices.Contains(ofPrevious, event)
}

// finish ends an event with the error, if any, that ended it, and returns what
// ends the deployment.
func (a *attempt) finish(e Event, err error) error {
	e.End = a.d.now()
	e.Status = pipeline.DeploymentSucceeded
	var ended error
	if err != nil {
		ended = a.describe(&e, err)
	}
	a.result.Events = append(a.result.Events, e)
	if noted := a.note(e); noted != nil {
		return errors.Join(ended, noted)
	}
	if ended != nil && a.ignored(e.Name) && e.Status == pipeline.DeploymentFailed {
		a.warn("STOP_FAILED", "%s failed, which this deployment ignores: %s", e.Name, e.Message)
		return nil
	}
	return ended
}

// describe fills in an event's failure and makes the deployment's error of it.
func (a *attempt) describe(e *Event, err error) error {
	e.Status, e.Code, e.Reason, e.Message = pipeline.DeploymentFailed, CodeUnknown, CodeUnknown.String(), err.Error()
	if e.Tail = a.log.lastOutput(); e.Scripts == 0 {
		e.Tail = ""
	}
	if s, ok := errors.AsType[*scriptError](err); ok {
		if s.cause != nil {
			e.Status = pipeline.DeploymentStopped
			return s
		}
		e.Code, e.Reason, e.Script, e.Line, e.Column = s.code, s.code.String(), s.script.Location, s.script.Line, s.script.Column
		if e.From != "" {
			e.Message += a.blame(e)
			e.Line, e.Column = 0, 0
		} else if e.Line > 0 {
			e.File = a.specName
		}
		return &pipeline.UserError{Code: e.Reason, Msg: e.Name + ": " + e.Message, File: e.File, Line: e.Line, Column: e.Column}
	}
	if u, ok := errors.AsType[*pipeline.UserError](err); ok {
		e.Reason, e.Message, e.File, e.Line, e.Column = u.Code, u.Msg, u.File, u.Line, u.Column
		return err
	}
	if errors.Is(err, pipeline.ErrStopped) || errors.Is(err, context.Canceled) {
		e.Status = pipeline.DeploymentStopped
	}
	e.Message = "a fault of the host or of slipway; its log has the details"
	return fmt.Errorf("%s: %w", e.Name, err)
}

// blame says whose script failed, and after a second time in a row the way out.
func (a *attempt) blame(e *Event) string {
	text := " (a script of the revision installed before, by deployment " + e.From + ")"
	if !slices.Contains(ofPrevious, e.Name) {
		return text
	}
	if a.state.StopFailures++; a.state.StopFailures > 1 && !a.ignored(e.Name) {
		text += "; it keeps failing: retry with ignore_stop_failures set for the deployment group, or with --ignore-application-stop-failures"
	}
	if err := a.group.save(a.state); err != nil {
		a.d.log.Warn("failure of a previous revision not counted", "job", a.dep.ID, "error", err)
	}
	return text
}

func (a *attempt) skip(events []string) {
	for _, name := range events {
		if slices.ContainsFunc(a.result.Events, func(e Event) bool { return e.Name == name }) {
			continue
		}
		e := Event{Name: name, Status: pipeline.DeploymentSkipped}
		a.result.Events = append(a.result.Events, e)
		a.rep.Event(e)
	}
}

// end gives the deployment its status.
func (a *attempt) end(ctx context.Context, err error) (Result, error) {
	_, mistake := errors.AsType[*pipeline.UserError](err)
	switch {
	case err == nil:
		a.result.Status = pipeline.DeploymentSucceeded
		a.state.Succeeded, a.state.StopFailures = pointer{a.dep.ID, a.specName}, 0
		if err := a.group.save(a.state); err != nil {
			return a.result, err
		}
	case !mistake && (ctx.Err() != nil || errors.Is(err, pipeline.ErrStopped)):
		a.result.Status = pipeline.DeploymentStopped
	default:
		a.result.Status = pipeline.DeploymentFailed
	}
	a.d.log.InfoContext(ctx, "deployment ended", "job", a.dep.ID, "status", strings.ToLower(string(a.result.Status)))
	return a.result, err
}
