package ui

import (
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// Graph is a batch as a drawing: its builds in columns, each to the right of
// those that it waits for. Lengths are in pixels.
type Graph struct {
	Stage, Action, Kind string
	Width, Height       int
	Nodes               []Node
	Edges               []Edge
}

// Node is one build of a batch.
type Node struct {
	X, Y  int
	Label string // cut to its box
	Title string // in full, with what became of it
	Note  string
	Href  string // empty: it has not begun
	State State
}

// Edge goes from the right of one box to the left of another.
type Edge struct{ X1, Y1, X2, Y2 int }

const (
	nodeWidth, nodeHeight = 184, 44
	columnGap, rowGap     = 56, 12
	graphMargin           = 4
	// wideRows is how many builds that wait for nothing are above each other.
	wideRows   = 8
	labelRunes = 20
)

// graphsOf are the batches of an execution that have begun.
func graphsOf(v Execution) []Graph {
	var out []Graph
	for _, st := range v.Stages {
		for _, a := range st.Actions {
			if a.Batch != nil {
				out = append(out, graphOf(v, st.Name, a))
			}
		}
	}
	return out
}

func graphOf(v Execution, stage string, batch pipeline.ActionExecution) Graph {
	g := Graph{Stage: stage, Action: batch.Name, Kind: batch.Batch.Kind}
	tasks := v.TasksOf(stage, batch.Name)
	places := arrange(tasks)
	for i, t := range tasks {
		n := node(v, t)
		n.X = graphMargin + places[i].column*(nodeWidth+columnGap)
		n.Y = graphMargin + places[i].row*(nodeHeight+rowGap)
		g.Width, g.Height = max(g.Width, n.X+nodeWidth+graphMargin), max(g.Height, n.Y+nodeHeight+graphMargin)
		g.Nodes = append(g.Nodes, n)
	}
	at := indexes(tasks)
	for i, t := range tasks {
		for _, id := range shownBefore(t.Task, tasks) {
			from, to := g.Nodes[at[id]], g.Nodes[i]
			g.Edges = append(g.Edges, Edge{from.X + nodeWidth, from.Y + nodeHeight/2, to.X, to.Y + nodeHeight/2})
		}
	}
	return g
}

func node(v Execution, t pipeline.TaskExecution) Node {
	a := t.State
	n := Node{Label: t.Task.Title(), State: stateOf(a.Status), Href: jobPath(a)}
	if cut := []rune(n.Label); len(cut) > labelRunes {
		n.Label = string(cut[:labelRunes-1]) + "…"
	}
	switch {
	case a.Status == pipeline.Abandoned && a.Job == "":
		n.State.Word = "Not begun"
	case a.Status == pipeline.Abandoned:
		n.State.Word = "Stopped"
	case a.Status == pipeline.InProgress && a.Worker == "":
		n.State = stateOf(pipeline.BuildQueued)
	case a.Status == pipeline.Pending:
		n.State.Word = "Waits"
	}
	n.Note = n.State.Word
	if d := took(v.Now, a.StartedAt, a.EndedAt); d != "" {
		n.Note += ", " + d
	}
	n.Title = t.Task.Title() + ": " + n.Note
	if t.Task.IgnoreFailure && a.Status.Ended() && a.Status != pipeline.Succeeded {
		n.Title += " (ignored)"
	}
	if a.Error != nil {
		n.Title += ": " + a.Error.Message
	}
	return n
}

func indexes(tasks []pipeline.TaskExecution) map[string]int {
	at := map[string]int{}
	for i, t := range tasks {
		at[t.Task.ID] = i
	}
	return at
}

// shownBefore are the tasks from which an edge leads to t. To the one that
// combines the artifacts of all, only the last ones have an edge.
func shownBefore(t pipeline.Task, tasks []pipeline.TaskExecution) []string {
	before := slices.Concat(t.DependsOn, t.Needs)
	slices.Sort(before)
	before = slices.Compact(before)
	if t.ID != "" {
		return before
	}
	return slices.DeleteFunc(before, func(id string) bool {
		return slices.ContainsFunc(tasks, func(o pipeline.TaskExecution) bool {
			return o.Task.ID != "" && (slices.Contains(o.Task.DependsOn, id) || slices.Contains(o.Task.Needs, id))
		})
	})
}

type place struct{ column, row int }

// arrange puts each task into the column after the last one that it waits for.
// A batch without any order fills columns one after the other.
func arrange(tasks []pipeline.TaskExecution) []place {
	at, depth := indexes(tasks), make([]int, len(tasks))
	var reach func(i int) int
	reach = func(i int) int {
		if depth[i] == 0 {
			depth[i] = 1 // also what keeps a circle, which nothing lets through, from going on for ever
			for _, id := range slices.Concat(tasks[i].Task.DependsOn, tasks[i].Task.Needs) {
				if before, ok := at[id]; ok {
					depth[i] = max(depth[i], reach(before)+1)
				}
			}
		}
		return depth[i]
	}
	out := make([]place, len(tasks))
	rows := map[int]int{}
	for i := range tasks {
		column := reach(i) - 1
		out[i] = place{column, rows[column]}
		rows[column]++
	}
	if len(rows) == 1 {
		for i := range out {
			out[i] = place{i / wideRows, i % wideRows}
		}
	}
	return out
}

// Path is the edge as SVG writes a curve.
func (e Edge) Path() string {
	bend := (e.X1 + e.X2) / 2
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", e.X1, e.Y1, bend, e.Y1, bend, e.Y2, e.X2, e.Y2)
}
