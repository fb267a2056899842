package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// counted are the works that a check counts: of a batch that has begun its
// tasks, and not the batch.
func counted(list []work) []work {
	return slices.DeleteFunc(slices.Clone(list), func(w work) bool { return w.exec.Batch != nil })
}

// tasksOf are the works of a batch's tasks.
func tasksOf(batch work, list []work) []work {
	var out []work
	for _, w := range list {
		if w.def.Task != nil && w.stage == batch.stage && w.def.Task.Batch == batch.def.Name {
			out = append(out, w)
		}
	}
	return out
}

// culprit is the task because of which a batch failed; the batch itself if it
// was none.
func culprit(batch *work, list []work) *work {
	if batch.exec.Batch == nil || batch.exec.Error == nil {
		return batch
	}
	for i, w := range list {
		t := w.def.Task
		if t != nil && w.stage == batch.stage && t.Batch == batch.def.Name && strings.HasPrefix(batch.exec.Error.Message, "task "+t.Title()+": ") {
			return &list[i]
		}
	}
	return batch
}

// writeBatch has a line for each build of a batch.
func writeBatch(b *strings.Builder, batch work, list []work, o RenderOptions) {
	fmt.Fprintf(b, "\n### Batch: %s\n\n| Build | State | Duration |\n| --- | --- | ---: |\n", escape(batch.def.Name))
	for i, w := range tasksOf(batch, list) {
		if i == phaseRows {
			b.WriteString("| … | | |\n")
			break
		}
		name := escape(w.def.Task.Title())
		if link := logURL(o.BaseURL, w, 0); link != "" {
			name = "[" + name + "](" + link + ")"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, taskState(w), taskDuration(w.exec, o.Now))
	}
}

func taskState(w work) string {
	text := ""
	switch w.exec.Status {
	case pipeline.Pending:
		return "waits for " + escape(strings.Join(slices.Concat(w.def.Task.DependsOn, w.def.Task.Needs), ", "))
	case pipeline.InProgress:
		if w.exec.Worker == "" {
			return "queued"
		}
		return "🔄 running"
	case pipeline.Succeeded:
		return "✅ succeeded"
	case pipeline.Abandoned:
		text = "⏹️ stopped"
		if w.exec.Job == "" {
			text = "⏹️ not begun"
		}
	default:
		text = phaseState(pipeline.Phase{Status: w.exec.Outcome})
	}
	if w.def.Task.IgnoreFailure {
		text += ", ignored"
	}
	if w.exec.Error != nil {
		text += ": " + escape(cut(plain(w.exec.Error.Message), 200))
	}
	return text
}

func taskDuration(a pipeline.ActionExecution, now time.Time) string {
	if a.StartedAt.IsZero() {
		return ""
	}
	return phaseDuration(pipeline.Phase{StartTime: a.StartedAt, EndTime: a.EndedAt}, now)
}
