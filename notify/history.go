package notify

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// history are all changes of an execution that its present state shows, in the
// order in which they happened. A change that two looks at the execution show
// has the same ID in both; what a retry has made undone shows no more.
func history(x pipeline.Execution, list []work, base string) []Message {
	if x.Gate != "" {
		return nil // a remark at the forge: nothing runs
	}
	h := teller{x: x, list: list, base: base}
	began := cmpTime(x.StartedAt, x.CreatedAt)
	h.add(change{event: "pipeline-execution-started", state: "STARTED", at: began})
	if x.Attempt > 1 {
		h.add(change{event: "pipeline-execution-resumed", state: "RESUMED", at: h.latestStart(began), generation: x.Attempt})
	}
	for i := range x.Stages {
		h.stage(i)
	}
	if x.Status.Ended() {
		event, state := ending(x.Status)
		h.add(change{event: "pipeline-execution-" + event, state: state, at: x.EndedAt, since: began, generation: x.Attempt, why: h.whole()})
	}
	return h.out
}

// ending is how a status that ended is called in events (CodePipeline
// reference 3.15).
func ending(s pipeline.Status) (event, state string) {
	switch s {
	case pipeline.Succeeded:
		return "succeeded", "SUCCEEDED"
	case pipeline.Superseded:
		return "superseded", "SUPERSEDED"
	case pipeline.Skipped:
		return "skipped", "SKIPPED"
	case pipeline.Stopped:
		return "canceled", "STOPPED"
	case pipeline.Cancelled:
		return "canceled", "CANCELED"
	case pipeline.Abandoned:
		return "canceled", "ABANDONED"
	case pipeline.Failed, pipeline.Pending, pipeline.InProgress, pipeline.Stopping:
	}
	return "failed", "FAILED"
}

// teller collects the history of one execution.
type teller struct {
	x    pipeline.Execution
	list []work
	base string
	out  []Message
}

// change is what there is to say of one change beyond the execution.
type change struct {
	event, state string
	stage        string
	work         *work // the action
	at, since    time.Time
	generation   int // counts how often the same could happen
	why          *problem
}

// problem says why something did not succeed.
type problem struct {
	text string
	tail []string
	code string
	log  string
	at   string // stage/action
}

func cmpTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t.UTC()
		}
	}
	return time.Time{}
}

func (h *teller) latestStart(began time.Time) time.Time {
	latest := began
	for _, st := range h.x.Stages {
		if st.StartedAt.After(latest) {
			latest = st.StartedAt
		}
	}
	return latest
}

// stage adds a stage's changes: its beginning, its actions' by their time, its
// end.
func (h *teller) stage(i int) {
	st := h.x.Stages[i]
	if st.Status == pipeline.Pending {
		return
	}
	generation := st.AutoRetries + st.ManualRetries
	event, state := "stage-execution-started", "STARTED"
	if generation > 0 {
		event, state = "stage-execution-resumed", "RESUMED"
	}
	if st.Status != pipeline.Skipped {
		h.add(change{event: event, state: state, stage: st.Name, at: cmpTime(st.StartedAt, h.x.StartedAt, h.x.CreatedAt), generation: generation})
	}
	first := len(h.out)
	for _, a := range st.Actions {
		h.action(st, a)
	}
	slices.SortStableFunc(h.out[first:], func(a, b Message) int { return a.Time.Compare(b.Time) })
	if st.Status.Ended() {
		event, state := ending(st.Status)
		at := cmpTime(st.EndedAt, h.x.EndedAt)
		h.add(change{event: "stage-execution-" + event, state: state, stage: st.Name, at: at, since: st.StartedAt, generation: generation, why: h.failureIn(st)})
	}
}

// action adds an action's changes: of itself, and of what it is an approval or
// a deployment.
func (h *teller) action(st pipeline.StageExecution, a pipeline.ActionExecution) {
	if a.Attempt == 0 || a.Status == pipeline.Pending {
		return
	}
	w := h.work(st.Name, a)
	// Attempts that the infrastructure lost are the same try of the action.
	generation := max(1, a.Attempt-a.Lost-a.Unbegun-a.Retried)
	began := cmpTime(a.QueuedAt, a.StartedAt, st.StartedAt)
	start := change{stage: st.Name, work: w, at: began, generation: generation}
	for _, event := range starts(w) {
		c := start
		c.event, c.state = event, "STARTED"
		if event == "manual-approval-needed" {
			c.state = "WAITING"
		}
		h.add(c)
	}
	if !a.Status.Ended() {
		return
	}
	event, state := ending(a.Status)
	end := change{stage: st.Name, work: w, at: cmpTime(a.EndedAt, st.EndedAt, h.x.EndedAt), since: began, generation: generation, why: h.problemOf(*w)}
	for _, event := range ends(w, event) {
		c := end
		c.event, c.state = event, state
		h.add(c)
	}
}

// starts are the events of an action that has begun, and ends those of one
// that ended so.
func starts(w *work) []string {
	list := []string{"action-execution-started"}
	switch {
	case w.exec.Approval != nil:
		list = append(list, "manual-approval-needed")
	case isDeployment(w):
		list = append(list, "deployment-started")
	}
	return list
}

func ends(w *work, event string) []string {
	var list []string
	switch {
	case w.exec.Approval != nil && event != "canceled":
		list = append(list, "manual-approval-"+event)
	case isDeployment(w) && event == "canceled":
		list = append(list, "deployment-stopped")
	case isDeployment(w):
		list = append(list, "deployment-"+event)
	}
	return append(list, "action-execution-"+event)
}

func isDeployment(w *work) bool {
	return w.def.Category == pipeline.Deploy && w.exec.Job != ""
}

// work is an action with its definition and what is known of its build. That
// of a source has no build.
func (h *teller) work(stage string, a pipeline.ActionExecution) *work {
	for i, w := range h.list {
		if w.stage == stage && w.def.Name == a.Name {
			return &h.list[i]
		}
	}
	w := work{stage: stage, exec: a, def: pipeline.Action{Name: a.Name}}
	for _, st := range h.x.Pipeline.Stages {
		for _, def := range st.Actions {
			if st.Name == stage && def.Name == a.Name {
				w.def = def
			}
		}
	}
	return &w
}

// whole is why the execution did not succeed; nil: it did, or says nothing.
func (h *teller) whole() *problem {
	switch {
	case h.x.Status == pipeline.Succeeded:
		return nil
	case h.x.Problem != nil:
		return &problem{text: h.x.Problem.Error(), code: h.x.Problem.Code}
	}
	if w := firstFailed(h.list); w != nil && h.x.Status == pipeline.Failed {
		return h.problemOf(*w)
	}
	if h.x.Reason == "" {
		return nil
	}
	return &problem{text: h.x.Reason}
}

func (h *teller) failureIn(st pipeline.StageExecution) *problem {
	for i, w := range h.list {
		if w.stage == st.Name && w.exec.Status == pipeline.Failed {
			return h.problemOf(h.list[i])
		}
	}
	return nil
}

// problemOf is why an action did not succeed; nil: there is nothing to say.
func (h *teller) problemOf(w work) *problem {
	if w.exec.Status == pipeline.Succeeded {
		return nil
	}
	p := problem{at: w.stage + "/" + w.def.Name}
	if e := w.exec.Error; e != nil {
		p.text, p.code = e.Message, e.Code
	}
	if f := failureOf(w); f != nil {
		p.text = cmp.Or(f.Message, p.text)
		p.log = logURL(h.base, w, f.LogLine)
		for _, l := range f.Tail[max(0, len(f.Tail)-messageLines):] {
			p.tail = append(p.tail, cut(printable(l), tailRunes))
		}
	}
	if p.text == "" && p.tail == nil {
		return nil
	}
	return &p
}

// messageLines is how many of a failing command's last lines a message has.
const messageLines = 10

// add completes a change to a message.
func (h *teller) add(c change) {
	x := h.x
	m := Message{
		Event: c.event, State: c.state, Time: c.at.UTC(), Forge: x.Repo.Forge, Repo: x.Repo.FullName(), Pipeline: x.Pipeline.Name,
		Execution: x.ID, Number: x.Number, Stage: c.stage, Ref: x.Trigger.Ref, SHA: x.Trigger.SHA, Author: x.Trigger.Actor.Login,
		URL: pageURL(h.base, "executions", x.ID),
	}
	m.Branch, _ = strings.CutPrefix(x.Trigger.Ref, "refs/heads/")
	if m.Branch == x.Trigger.Ref {
		m.Branch = ""
	}
	if p := x.Trigger.Pull; p != nil {
		m.Pull, m.Branch = p.Number, p.HeadRef
	}
	subject, _, _ := strings.Cut(x.Trigger.Message, "\n")
	m.Subject = cut(plain(subject), 200)
	if c.work != nil {
		m.Action = c.work.def.Name
	}
	if !c.since.IsZero() && c.at.After(c.since) {
		m.Elapsed = c.at.Sub(c.since)
	}
	if c.why != nil {
		m.Culprit = c.why.at
		m.Problem, m.Tail, m.LogURL = cut(printable(c.why.text), 1000), c.why.tail, c.why.log
	}
	if c.event == "manual-approval-needed" {
		m.Question = cut(printable(c.work.exec.Approval.Message), 1000)
		m.Approval = approvalDocument(h, c)
		m.Notify = c.work.def.Notify
	}
	m.ID = messageID(x.ID, m.Event, m.Stage, m.Action, strconv.Itoa(max(1, c.generation)))
	m.DetailType, m.Detail, m.Additional = detailOf(h, c)
	h.out = append(h.out, m)
}
