package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// The words of forge.CheckRun, as GitHub spells them.
const (
	queued     = "queued"
	inProgress = "in_progress"
	completed  = "completed"

	success        = "success"
	failure        = "failure"
	cancelled      = "cancelled"
	skipped        = "skipped"
	timedOut       = "timed_out"
	actionRequired = "action_required"
)

// verdict is what one execution comes down to (forges reference 3.1).
type verdict struct {
	status     string
	conclusion string
	title      string
	// running: a worker is at it, for elapsed so far. That is apart from the
	// title because it alone is no news.
	running bool
	elapsed time.Duration
	// human: nothing goes on until somebody approves.
	human bool
	// asks is the approval that a live execution waits for; nil if it is none.
	// GitHub shows "action required" as completed; the check is reopened when
	// somebody has answered.
	asks *pipeline.ApprovalState
	// infrastructure: it failed, and it was not its author's fault.
	infrastructure bool
	failed         *work
}

// line is the title with the time that the running action has taken.
func (v verdict) line() string {
	if v.elapsed <= 0 {
		return v.title
	}
	return fmt.Sprintf("%s (%s)", v.title, short(v.elapsed))
}

// work is one action that a worker does: a build or a deployment.
type work struct {
	stage string
	def   pipeline.Action
	exec  pipeline.ActionExecution
	build *pipeline.Build // of the latest attempt; nil: nothing known of it
}

// works lists the actions that workers do, in the order of the definition.
func works(x pipeline.Execution, builds []pipeline.Build) []work {
	var list []work
	for i, st := range x.Pipeline.Stages {
		if i >= len(x.Stages) {
			break
		}
		for _, def := range st.Actions {
			a := x.Stages[i].Action(def.Name)
			if a == nil || def.Category == pipeline.Source {
				continue
			}
			list = append(list, work{stage: st.Name, def: def, exec: *a, build: buildOf(a.Job, builds)})
		}
	}
	return list
}

func buildOf(job string, builds []pipeline.Build) *pipeline.Build {
	for i := range builds {
		if job != "" && (builds[i].ID == job || builds[i].Deployment == job) {
			return &builds[i]
		}
	}
	return nil
}

func verdictOf(x pipeline.Execution, list []work, o RenderOptions) verdict {
	if x.Gate != "" {
		return verdict{status: completed, conclusion: actionRequired, title: "Approval needed to run", human: true}
	}
	if x.Override != nil {
		return overriddenVerdict(x, list)
	}
	switch x.Status {
	case pipeline.Succeeded:
		return verdict{status: completed, conclusion: success, title: "Passed in " + short(ran(x))}
	case pipeline.Failed, pipeline.Abandoned:
		return failedVerdict(x, list)
	case pipeline.Stopped, pipeline.Superseded, pipeline.Cancelled:
		return verdict{status: completed, conclusion: cancelled, title: cancelledTitle(x)}
	case pipeline.Skipped:
		return verdict{status: completed, conclusion: skipped, title: orText(x.Reason, "Skipped")}
	case pipeline.Pending, pipeline.InProgress, pipeline.Stopping:
	}
	return liveVerdict(x, list, o)
}

// overriddenVerdict passes what failed, and still tells what did.
func overriddenVerdict(x pipeline.Execution, list []work) verdict {
	v := verdict{status: completed, conclusion: success, title: fmt.Sprintf("Overridden by @%s: %s", strings.TrimPrefix(x.Override.By, "@"), x.Override.Reason)}
	if x.Status == pipeline.Failed {
		v.failed = failedVerdict(x, list).failed
	}
	return v
}

// liveVerdict describes an execution that has not ended. It is queued only
// until its first job was taken: later waits are part of being in progress.
func liveVerdict(x pipeline.Execution, list []work, o RenderOptions) verdict {
	begun := false
	list = counted(list)
	var current *work
	number := 0
	for i, w := range list {
		begun = begun || w.exec.Worker != "" || len(w.exec.Earlier) > 0
		if w.exec.Status != pipeline.InProgress {
			continue
		}
		if w.def.Category == pipeline.Approval {
			return asking(w)
		}
		if current == nil || current.exec.Worker == "" && w.exec.Worker != "" {
			current, number = &list[i], i+1
		}
	}
	switch {
	case x.Status == pipeline.Stopping:
		return verdict{status: inProgress, title: "Stopping: " + orText(x.Reason, "requested")}
	case !begun && (current == nil || current.exec.Worker == ""):
		return verdict{status: queued, title: queuedTitle(o.Line)}
	case current == nil:
		return verdict{status: inProgress, title: "Waiting for the next stage"}
	}
	v := verdict{status: inProgress, title: fmt.Sprintf("%s %d/%d: %s", current.def.Category, number, len(list), current.def.Name)}
	if current.exec.Worker == "" {
		v.title += " (waiting for a runner)"
	} else {
		v.running, v.elapsed = true, o.Now.Sub(current.exec.StartedAt)
	}
	return v
}

// asking is the verdict on an execution that waits for a person.
func asking(w work) verdict {
	p := w.exec.Approval
	if p == nil {
		p = &pipeline.ApprovalState{}
	}
	return verdict{status: completed, conclusion: actionRequired, title: "Waiting for approval: " + w.def.Name, human: true, asks: p}
}

func queuedTitle(line int) string {
	if line <= 0 {
		return "Queued"
	}
	return fmt.Sprintf("Queued (%s in line)", ordinal(line))
}

func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}

func cancelledTitle(x pipeline.Execution) string {
	reason := x.Reason
	if by, ok := strings.CutPrefix(reason, "stopped by "); ok {
		return "Cancelled by @" + strings.TrimPrefix(by, "@")
	}
	if by, ok := strings.CutPrefix(reason, "superseded by "); ok {
		return "Superseded by " + by
	}
	if x.Status == pipeline.Superseded {
		return "Superseded by a newer execution"
	}
	if reason == "" || reason == "stopped" {
		return "Cancelled"
	}
	return "Cancelled: " + reason
}

// failedVerdict tells the author's fault from ours and from a time limit.
func failedVerdict(x pipeline.Execution, list []work) verdict {
	v := verdict{status: completed, conclusion: failure, failed: firstFailed(list)}
	if x.Problem != nil {
		v.title = problemTitle(x.Problem)
		return v
	}
	if v.failed == nil {
		v.title = orText(x.Reason, "Failed")
		return v
	}
	code, message := "", x.Reason
	if e := v.failed.exec.Error; e != nil {
		code, message = e.Code, e.Message
	}
	switch outcome := v.failed.exec.Outcome; {
	case outcome == pipeline.BuildTimedOut || code == pipeline.TimedOut:
		v.conclusion, v.title = timedOut, timeoutTitle(*v.failed, message)
	case outcome == pipeline.BuildFault || code == pipeline.RunnerLost || code == pipeline.SystemUnavailable:
		v.infrastructure, v.title = true, "Infrastructure error: "+orText(message, "the service failed")
	default:
		v.title = failureTitle(*v.failed, message)
	}
	return v
}

func firstFailed(list []work) *work {
	for i, w := range list {
		if w.exec.Status == pipeline.Failed && w.def.Task == nil {
			return culprit(&list[i], list)
		}
	}
	for i, w := range list {
		if w.exec.Status == pipeline.Abandoned && w.def.Task == nil {
			return &list[i]
		}
	}
	return nil
}

func problemTitle(p *pipeline.UserError) string {
	switch {
	case p.File == "":
		return p.Msg
	case p.Line <= 0:
		return p.File + ": " + p.Msg
	}
	return fmt.Sprintf("%s: line %d: %s", p.File, p.Line, p.Msg)
}

func timeoutTitle(w work, message string) string {
	switch {
	case w.exec.Worker == "" && message != "":
		return "Timed out: " + message
	case w.def.Timeout > 0:
		return "Timed out after " + limit(w.def.Timeout)
	case !w.exec.StartedAt.IsZero() && w.exec.EndedAt.After(w.exec.StartedAt):
		return "Timed out after " + limit(w.exec.EndedAt.Sub(w.exec.StartedAt))
	}
	return "Timed out"
}

func failureTitle(w work, message string) string {
	f := failureOf(w)
	switch {
	case f == nil || f.Phase == "":
		return fmt.Sprintf("%s failed: %s", w.def.Name, orText(message, "no reason was given"))
	case f.Exit != 0:
		return fmt.Sprintf("%s failed in %s: exit %d", w.def.Name, f.Phase, f.Exit)
	}
	return fmt.Sprintf("%s failed in %s: %s", w.def.Name, f.Phase, orText(f.Message, f.Code))
}

func failureOf(w work) *pipeline.Failure {
	if w.build == nil {
		return nil
	}
	return w.build.Failure
}

// commitState is the verdict in the words of a commit status (forges
// reference 3.5).
func (v verdict) commitState() string {
	switch {
	case v.status != completed:
		return "pending"
	case v.infrastructure:
		return "error"
	}
	switch v.conclusion {
	case success, skipped:
		return "success"
	case failure, timedOut:
		return "failure"
	case actionRequired:
		return "pending"
	}
	return "error"
}

// statusOf is the verdict as a commit status. Its description leaves out what
// changes by the second, so that a status is posted only when there is news.
func statusOf(x pipeline.Execution, v verdict, url string) forge.CommitStatus {
	description := v.title
	switch {
	case v.status == queued:
		description = "Queued"
	case v.status == inProgress && !v.human:
		description = "Running"
	}
	name, context := x.CheckName()
	return forge.CommitStatus{
		SHA:         x.Trigger.SHA,
		Context:     cut(plain(context), 100),
		State:       v.commitState(),
		Description: cut(plain(description), 140),
		TargetURL:   url,
		Name:        cut(plain(name), 255),
		Conclusion:  v.conclusion,
		Ref:         x.Trigger.Ref,
	}
}

func ran(x pipeline.Execution) time.Duration {
	start := x.StartedAt
	if start.IsZero() {
		start = x.CreatedAt
	}
	return x.EndedAt.Sub(start)
}

// short writes a duration as people read it: 4m31s, 12s, 1h2m.
func short(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
}

// limit writes a time limit in whole minutes where it is one: 60m.
func limit(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return short(d)
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
