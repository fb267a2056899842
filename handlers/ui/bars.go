package ui

import (
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Bar is one row of a timeline. Positions are in thousandths of its width.
type Bar struct {
	Label   string
	Href    string
	State   State
	Depth   int // 0 or 1
	Wait    int // where waiting began
	From    int
	Width   int
	Took    string
	Waited  string
	Title   string
	HasTime bool
}

// WaitWidth is the width of the part in which the row waited.
func (b Bar) WaitWidth() int { return b.From - b.Wait }

// scale maps moments to thousandths.
type scale struct {
	start time.Time
	total time.Duration
}

func (s scale) at(t time.Time) int {
	if s.total <= 0 {
		return 0
	}
	return max(0, min(1000, int(t.Sub(s.start)*1000/s.total)))
}

func (s scale) bar(b Bar, queued, from, to, now time.Time) Bar {
	if to.IsZero() {
		to = now
	}
	if from.IsZero() {
		return b
	}
	if queued.IsZero() || queued.After(from) {
		queued = from
	}
	b.HasTime = true
	b.Wait, b.From = s.at(queued), s.at(from)
	b.Width = max(4, s.at(to)-b.From)
	b.From = min(b.From, 996)
	b.Took = took(now, from, to)
	if wait := from.Sub(queued); wait >= time.Second {
		b.Waited = duration(wait)
	}
	return b
}

// executionBars are the rows of an execution: its stages' actions, and below
// each the phases of its build.
func executionBars(v Execution) []Bar {
	start, end := v.CreatedAt, v.EndedAt
	if end.IsZero() {
		end = v.Now
	}
	sc := scale{start, end.Sub(start)}
	var out []Bar
	for _, st := range v.Stages {
		for _, a := range st.Tasks() {
			b := Bar{Label: st.Name + " / " + a.Name, State: stateOf(a.Status), Href: jobPath(a)}
			if st.Name == a.Name || a.TaskOf != "" {
				b.Label = a.Name
			}
			out = append(out, sc.bar(b, a.QueuedAt, a.StartedAt, a.EndedAt, v.Now))
			for _, p := range v.Builds[a.Job].Phases {
				if p.Type != "COMPLETED" && p.Type != "SUBMITTED" && p.Type != "QUEUED" {
					out = append(out, sc.bar(phaseBar(p, jobPath(a)), time.Time{}, p.StartTime, p.EndTime, v.Now))
				}
			}
		}
	}
	return out
}

// phaseBars are the rows of a build.
func phaseBars(v Build) []Bar {
	if len(v.Phases) == 0 {
		return nil
	}
	start, end := v.Phases[0].StartTime, v.EndedAt
	if end.IsZero() {
		end = v.Now
	}
	sc := scale{start, end.Sub(start)}
	var out []Bar
	for _, p := range v.Phases {
		if p.Type == "COMPLETED" {
			continue
		}
		b := phaseBar(p, "")
		b.Depth = 0
		out = append(out, sc.bar(b, time.Time{}, p.StartTime, p.EndTime, v.Now))
	}
	return out
}

func phaseBar(p pipeline.Phase, page string) Bar {
	status := p.Status
	if status == "" {
		status = pipeline.BuildInProgress
	}
	b := Bar{Label: words(p.Type), State: stateOf(status), Depth: 1}
	if p.LogLine > 0 {
		line := itoa(p.LogLine)
		b.Href = page + "?line=" + line + "#L" + line
	}
	for _, c := range p.Contexts {
		if c.Message != "" {
			b.Title = c.Message
		}
	}
	return b
}

// jobPath is the page of an action's build or deployment; empty if it has none.
func jobPath(a pipeline.ActionExecution) string {
	switch {
	case a.Job == "" || a.Kind == pipeline.HTTPJob:
		return ""
	case a.Kind == pipeline.DeployJob:
		return "/deployments/" + a.Job
	}
	return "/builds/" + a.Job
}

// Column is one execution in the strip that a repository's page shows.
type Column struct {
	X, Y, Height int
	State        State
	Href, Title  string
}

const (
	stripHeight = 40
	columnStep  = 12
)

// history draws up to 50 executions, the oldest first, as high as they took
// long.
func history(v Executions) []Column {
	items := v.Items[:min(50, len(v.Items))]
	var longest time.Duration
	for _, x := range items {
		longest = max(longest, runtime(x, v.Now))
	}
	out := make([]Column, 0, len(items))
	for i := range items {
		x := items[len(items)-1-i]
		height := 4
		if longest > 0 {
			height += int(runtime(x, v.Now) * (stripHeight - 4) / longest)
		}
		state := stateOf(x.Status)
		out = append(out, Column{
			X: i * columnStep, Y: stripHeight - height, Height: height, State: state, Href: "/executions/" + x.ID,
			Title: "#" + itoa(int64(x.Number)) + " " + state.Word + ", " + duration(runtime(x, v.Now)),
		})
	}
	return out
}

func runtime(x pipeline.Summary, now time.Time) time.Duration {
	if x.StartedAt.IsZero() {
		return 0
	}
	if x.EndedAt.IsZero() {
		return now.Sub(x.StartedAt)
	}
	return x.EndedAt.Sub(x.StartedAt)
}
