package notify

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// RenderOptions is what a check run says beside the execution itself.
type RenderOptions struct {
	// BaseURL is where people reach Slipway, without a slash at its end. Empty:
	// the check has no links.
	BaseURL string
	Now     time.Time
	// Attempt counts the check runs of this execution from 1; 0 means 1.
	Attempt int
	// Line is the place in the queue from 1; 0: unknown.
	Line int
}

// The buttons on a failed check. Their click comes back as the identifier.
const (
	RerunFailed = "rerun_failed"
	RerunAll    = "rerun_all"
)

var rerunActions = []forge.CheckAction{
	{Label: "Re-run failed", Description: "Run what failed again on this commit", Identifier: RerunFailed},
	{Label: "Re-run all", Description: "Run everything again on this commit", Identifier: RerunAll},
}

// Render is the check run of an execution in its present state (forges
// reference 3.1). builds are the execution's, in any order. Annotations and
// actions are there once it has ended. The adapter cuts what is too long for
// its forge.
func Render(x pipeline.Execution, builds []pipeline.Build, o RenderOptions) forge.CheckRun {
	return render(x, works(x, builds), o).check
}

// rendering is a check run and what it was made from.
type rendering struct {
	verdict verdict
	check   forge.CheckRun
	status  forge.CommitStatus
}

func render(x pipeline.Execution, list []work, o RenderOptions) rendering {
	v := verdictOf(x, list, o)
	name, _ := x.CheckName()
	c := forge.CheckRun{
		Name:       plain(name),
		SHA:        x.Trigger.SHA,
		ExternalID: fmt.Sprintf("%s:%d", x.ID, max(1, o.Attempt)),
		DetailsURL: pageURL(o.BaseURL, "executions", x.ID),
		Status:     v.status,
		Conclusion: v.conclusion,
		StartedAt:  seconds(x.StartedAt),
		Title:      cut(plain(v.line()), 255),
	}
	more := 0
	if v.status == completed && v.asks == nil {
		c.CompletedAt = seconds(x.EndedAt)
		c.Annotations, more = annotationsOf(x)
	}
	if v.conclusion == failure || v.conclusion == timedOut {
		c.Actions = rerunActions
	}
	c.Summary = summary(x, v, list, more, o)
	c.Text = artifactsText(list)
	return rendering{verdict: v, check: c, status: statusOf(x, v, c.DetailsURL)}
}

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func pageURL(base, kind, id string) string {
	if base == "" || id == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/" + kind + "/" + url.PathEscape(id)
}

// summary is the check's Markdown (forges reference 3.9): the verdict, the
// phases, the failing command and its last words.
func summary(x pipeline.Execution, v verdict, list []work, more int, o RenderOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**", escape(v.line()))
	if x.Trigger.SHA != "" {
		fmt.Fprintf(&b, " · commit %s", escape(pipeline.ShortSHA(x.Trigger.SHA)))
	}
	if x.Number > 0 {
		fmt.Fprintf(&b, " · execution %d", x.Number)
	}
	b.WriteString("\n")
	if x.Gate != "" {
		fmt.Fprintf(&b, "\n%s\n", escape(x.Gate))
	}
	if v.asks != nil {
		writeQuestion(&b, *v.asks, pageURL(o.BaseURL, "executions", x.ID))
	}
	if why := reason(x, v); why != "" {
		fmt.Fprintf(&b, "\n%s\n", escape(cut(why, 1000)))
	}
	if v.failed != nil {
		writeFailure(&b, *v.failed, o)
	}
	writeStages(&b, x)
	for _, w := range list {
		switch {
		case w.exec.Batch != nil:
			writeBatch(&b, w, list, o)
		case w.def.Task == nil:
			writePhases(&b, w, len(list) > 1, o)
		}
	}
	if more > 0 {
		fmt.Fprintf(&b, "\n%d more annotations are not shown.\n", more)
	}
	if v.infrastructure {
		fmt.Fprintf(&b, "\nThis is not a fault of the commit. Operators find it by execution %s.\n", escape(x.ID))
	}
	return b.String()
}

// writeStages says how far an execution has come that people are asked about.
func writeStages(b *strings.Builder, x pipeline.Execution) {
	if !slices.ContainsFunc(x.Pipeline.Stages, func(st pipeline.Stage) bool {
		return slices.ContainsFunc(st.Actions, func(a pipeline.Action) bool { return a.Category == pipeline.Approval })
	}) || x.Gate != "" {
		return
	}
	b.WriteString("\n| Stage | State |\n| --- | --- |\n")
	for _, st := range x.Stages {
		fmt.Fprintf(b, "| %s | %s |\n", escape(st.Name), stageState(st))
	}
}

func stageState(st pipeline.StageExecution) string {
	took := ""
	if st.EndedAt.After(st.StartedAt) && !st.StartedAt.IsZero() {
		took = " in " + short(st.EndedAt.Sub(st.StartedAt))
	}
	switch st.Status {
	case pipeline.Succeeded:
		return "✅ succeeded" + took
	case pipeline.Failed:
		return "❌ failed" + took
	case pipeline.Stopped, pipeline.Cancelled, pipeline.Superseded, pipeline.Abandoned, pipeline.Skipped:
		return "⏹️ " + strings.ToLower(string(st.Status))
	case pipeline.InProgress, pipeline.Stopping:
		for _, a := range st.Actions {
			if a.Status == pipeline.InProgress && a.Approval != nil {
				return "✋ waiting for approval: " + escape(a.Name)
			}
		}
		return "🔄 in progress"
	case pipeline.Pending:
	}
	return "not begun"
}

// writeQuestion says what is asked, of whom, and where to answer.
func writeQuestion(b *strings.Builder, p pipeline.ApprovalState, page string) {
	if p.Message != "" {
		fmt.Fprintf(b, "\n%s\n", escape(cut(p.Message, 1000)))
	}
	if u, err := url.Parse(p.Link); err == nil && (u.Scheme == "https" || u.Scheme == "http") && !strings.ContainsAny(p.Link, "<>") {
		fmt.Fprintf(b, "\n<%s>\n", u)
	}
	if page != "" {
		fmt.Fprintf(b, "\n[Approve or reject](%s)\n", page)
	}
	if len(p.Approvers) > 0 {
		fmt.Fprintf(b, "\nApprovers: %s\n", escape(strings.Join(p.Approvers, ", ")))
	}
	if p.Quorum > 1 {
		fmt.Fprintf(b, "\n%d of %d people have approved.\n", len(p.Votes), p.Quorum)
	}
	if !p.Expires.IsZero() {
		fmt.Fprintf(b, "\nIt ends by itself at %s.\n", p.Expires.UTC().Format("2006-01-02 15:04 MST"))
	}
}

// reason is what there is to say beyond the title.
func reason(x pipeline.Execution, v verdict) string {
	switch {
	case x.Gate != "":
		return ""
	case x.Problem != nil:
		return x.Problem.Error()
	case v.failed != nil && failureOf(*v.failed) != nil:
		return failureOf(*v.failed).Message
	case v.failed != nil && v.failed.exec.Error != nil:
		return v.failed.exec.Error.Message
	case v.conclusion == failure || v.conclusion == cancelled:
		return x.Reason
	}
	return ""
}

// What is shown of a failing command; the rest is in the log.
const (
	commandRunes = 2000
	tailLines    = 50
	tailRunes    = 500
)

func writeFailure(b *strings.Builder, w work, o RenderOptions) {
	f := failureOf(w)
	if f == nil {
		return
	}
	if f.Command != "" {
		fmt.Fprintf(b, "\nFailing command%s%s:\n\n%s", in(f.Phase), exit(f.Exit), fence(cut(f.Command, commandRunes)))
	}
	if tail := f.Tail; len(tail) > 0 {
		tail = tail[max(0, len(tail)-tailLines):]
		lines := make([]string, len(tail))
		for i, l := range tail {
			lines[i] = cut(l, tailRunes)
		}
		fmt.Fprintf(b, "\nIts last output:\n\n%s", fence(strings.Join(lines, "\n")))
	}
	if link := logURL(o.BaseURL, w, f.LogLine); link != "" {
		fmt.Fprintf(b, "\n[Full log](%s)\n", link)
	}
}

func in(phase string) string {
	if phase == "" {
		return ""
	}
	return " in " + escape(phase)
}

func exit(code int) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprintf(" (exit code %d)", code)
}

func logURL(base string, w work, line int64) string {
	kind := "builds"
	if w.exec.Kind == pipeline.DeployJob {
		kind = "deployments"
	}
	link := pageURL(base, kind, w.exec.Job)
	if link != "" && line > 0 {
		link += fmt.Sprintf("?line=%d", line)
	}
	return link
}

// phaseRows bounds the table: a deployment of many instances has many.
const phaseRows = 100

func writePhases(b *strings.Builder, w work, named bool, o RenderOptions) {
	if named && (w.build != nil || w.exec.Status != pipeline.Pending) {
		fmt.Fprintf(b, "\n### %s: %s\n", w.def.Category, escape(w.def.Name))
	}
	if w.build == nil || len(w.build.Phases) == 0 {
		if named && w.exec.Status != pipeline.Pending || inLine(w, o) {
			fmt.Fprintf(b, "\n%s\n", waitingText(w, o))
		}
		return
	}
	b.WriteString("\n| Phase | State | Duration |\n| --- | --- | ---: |\n")
	rows := 0
	for _, p := range w.build.Phases {
		if p.Type == "COMPLETED" {
			continue
		}
		if rows++; rows > phaseRows {
			b.WriteString("| … | | |\n")
			break
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", escape(p.Type), phaseState(p), phaseDuration(p, o.Now))
	}
	writeReports(b, w.build.Reports)
	if w.build.Failure == nil {
		if link := logURL(o.BaseURL, w, 0); link != "" {
			fmt.Fprintf(b, "\n[Full log](%s)\n", link)
		}
	}
}

// inLine reports whether there is something to say of the queue.
func inLine(w work, o RenderOptions) bool {
	return o.Line > 0 && w.exec.Status == pipeline.InProgress && w.exec.Worker == "" && w.def.Category != pipeline.Approval
}

func waitingText(w work, o RenderOptions) string {
	switch {
	case inLine(w, o):
		return "Waiting for a runner, " + ordinal(o.Line) + " in line" + labelsOf(w)
	case w.exec.Status.Ended():
		return string(w.exec.Status)
	case w.def.Category == pipeline.Approval:
		return "Waiting for approval"
	case w.exec.Worker == "":
		return "Waiting for a runner"
	}
	return "Starting"
}

// labelsOf says which labels the action's runners must have.
func labelsOf(w work) string {
	parts := strings.Split(w.exec.Class, "|")
	if len(parts) < 2 || parts[1] == "" {
		return ""
	}
	return "; labels " + escape(parts[1])
}

func phaseState(p pipeline.Phase) string {
	switch p.Status {
	case pipeline.BuildSucceeded:
		return "✅ succeeded"
	case pipeline.BuildFailed:
		return "❌ failed"
	case pipeline.BuildFault:
		return "⚠️ fault"
	case pipeline.BuildTimedOut:
		return "⏱️ timed out"
	case pipeline.BuildStopped:
		return "⏹️ stopped"
	case pipeline.BuildQueued:
		return "queued"
	case pipeline.BuildInProgress:
	}
	return "running"
}

func phaseDuration(p pipeline.Phase, now time.Time) string {
	end := p.EndTime
	if end.IsZero() {
		end = now
	}
	if p.StartTime.IsZero() {
		return ""
	}
	if d := end.Sub(p.StartTime); d >= 0 && d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return short(end.Sub(p.StartTime))
}

// artifactsText lists what the builds made.
func artifactsText(list []work) string {
	var b strings.Builder
	for _, w := range list {
		if w.exec.Batch != nil {
			continue // its tasks' are listed
		}
		for _, a := range w.exec.Artifacts {
			if b.Len() == 0 {
				b.WriteString("| Artifact | Of | Files | Bytes | SHA-256 |\n| --- | --- | ---: | ---: | --- |\n")
			}
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %s |\n", escape(a.Name), escape(w.def.Name), a.Files, a.Bytes, escape(cut(a.Digest, 13)))
		}
	}
	return b.String()
}
