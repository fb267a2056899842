package buildspec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// MaxTasks is the largest number of builds that a batch may stand for.
const MaxTasks = 1000

// BatchKind is the way in which a batch lists its builds.
type BatchKind string

// The four kinds of batch, spelled as their keys.
const (
	List   BatchKind = "build-list"
	Graph  BatchKind = "build-graph"
	Matrix BatchKind = "build-matrix"
	Fanout BatchKind = "build-fanout"
)

// Batch is the batch block: several builds of one source.
type Batch struct {
	// Kind is empty if the block names none, which makes it useless.
	Kind BatchKind
	// FastFail stops all builds when one fails.
	FastFail bool
	// Tasks are the builds, those of a matrix in product order with the last
	// variable varying fastest.
	Tasks []Task
	Line  int
}

// Task is one build of a batch; what is empty is taken from the project.
type Task struct {
	// Identifier is unique in the batch. A matrix numbers its tasks m_1, m_2
	// and so on, a fanout f_1, f_2 and so on.
	Identifier string
	// Buildspec is a path below the source root; empty means this file.
	Buildspec string
	// DependOn are identifiers of tasks that must have ended before.
	DependOn []string
	// NeedsArtifacts are identifiers of tasks whose primary artifacts this task
	// gets (an extension).
	NeedsArtifacts []string
	DebugSession   bool
	// IgnoreFailure lets the batch succeed although this task failed.
	IgnoreFailure bool
	Env           TaskEnv
	Line          int
}

// TaskEnv is what a task changes in the environment of its build.
type TaskEnv struct {
	ComputeType string
	Fleet       string
	Image       string
	Type        string
	// Privileged is nil if the task does not say.
	Privileged *bool
	// Variables win over those of the project.
	Variables []Variable
}

var (
	batchKeys   = []string{"fast-fail", string(List), string(Graph), string(Matrix), string(Fanout)}
	taskKeys    = []string{"identifier", "buildspec", "debug-session", "ignore-failure", "env", "needs-artifacts"}
	graphKeys   = append([]string{"depend-on"}, taskKeys...)
	taskEnvKeys = []string{"compute-type", "fleet", "image", "type", "privileged-mode", "variables"}
	fanoutKeys  = []string{"parallelism", "ignore-failure"}
)

// selfContained reports whether no task uses the phases of this file.
func (b *Batch) selfContained() bool {
	for _, t := range b.Tasks {
		if t.Buildspec == "" {
			return false
		}
	}
	return len(b.Tasks) > 0
}

func (p *parser) batch(e specfile.Entry) *Batch {
	if specfile.IsNull(e.Value) {
		return nil
	}
	b := &Batch{Line: e.At.Line}
	for _, k := range p.Map(e.Value, e.Path) {
		kind := BatchKind(k.Key)
		switch kind {
		case "fast-fail":
			b.FastFail = p.Flag(k.Value, k.Path)
			continue
		case List, Graph, Matrix, Fanout:
		default:
			p.unknown(k, batchKeys...)
			continue
		}
		if b.Kind != "" {
			p.Errorf(k.At, specfile.CodeValue, "batch: want one of build-list, build-graph, build-matrix and build-fanout, have %s and %s", b.Kind, kind)
			continue
		}
		b.Kind = kind
		b.Tasks = p.tasks(k, kind)
	}
	if b.Kind == "" {
		p.doubtful(e.At, warning(specfile.CodeMissingKey, "batch: want one of build-list, build-graph, build-matrix and build-fanout, have none", ""))
	}
	return b
}

func (p *parser) tasks(e specfile.Entry, kind BatchKind) []Task {
	switch kind {
	case Matrix:
		return p.matrix(e)
	case Fanout:
		return p.fanout(e)
	}
	var tasks []Task
	at := map[string]*yaml.Node{}
	items := p.List(e.Value, e.Path)
	if len(items) > MaxTasks {
		p.Errorf(e.At, specfile.CodeLimit, "%s: want at most %d builds, have %d", e.Path, MaxTasks, len(items))
		return nil
	}
	for i, item := range items {
		path := fmt.Sprintf("%s[%d]", e.Path, i)
		if specfile.IsNull(item) {
			p.Report(item, warning(specfile.CodeEmpty, path+": nothing behind the dash, the item is left out", ""))
			continue
		}
		t := p.task(item, path, kind)
		if first := at[t.Identifier]; first != nil && t.Identifier != "" {
			p.Errorf(item, specfile.CodeDuplicate, "%s: identifier %s occurs twice, in lines %d and %d", path, t.Identifier, first.Line, item.Line)
			continue
		}
		at[t.Identifier] = item
		tasks = append(tasks, t)
	}
	p.checkGraph(tasks, at, e.Path)
	return tasks
}

func (p *parser) task(n *yaml.Node, path string, kind BatchKind) Task {
	t := Task{Line: n.Line}
	identified := false
	for _, k := range p.Map(n, path) {
		switch k.Key {
		case "identifier":
			identified = true
			t.Identifier = p.identifier(k)
		case "buildspec":
			t.Buildspec = p.buildspecPath(k.Value, k.Path)
		case "depend-on":
			t.DependOn = p.texts(k)
			if kind != Graph {
				p.doubtful(k.At, warning(specfile.CodeUnknownKey, k.Path+" has no effect in a build-list", "use build-graph"))
				t.DependOn = nil
			}
		case "needs-artifacts":
			t.NeedsArtifacts = p.texts(k)
		case "debug-session":
			if t.DebugSession = p.Flag(k.Value, k.Path); t.DebugSession {
				p.without(k, "builds of a batch don't wait for anybody to look into them")
			}
		case "ignore-failure":
			t.IgnoreFailure = p.Flag(k.Value, k.Path)
		case "env":
			t.Env = p.taskEnv(k)
		default:
			p.unknown(k, graphKeys...)
		}
	}
	if !identified && n.Kind == yaml.MappingNode {
		p.Errorf(n, specfile.CodeMissingKey, "%s.identifier: missing", path)
	}
	return t
}

func (p *parser) identifier(e specfile.Entry) string {
	text, ok := p.Text(e.Value, e.Path)
	if (ok || specfile.IsNull(e.Value)) && !identifier.MatchString(text) {
		p.bad(e.Value, e.Path, fmt.Errorf("%w, have %q", errIdentifier, text))
	}
	return text
}

func (p *parser) taskEnv(e specfile.Entry) TaskEnv {
	var env TaskEnv
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "compute-type":
			env.ComputeType = p.text(k)
		case "fleet":
			env.Fleet = p.text(k)
			p.without(k, "projects choose their runners by labels")
		case "image":
			env.Image = p.text(k)
		case "type":
			if env.Type = p.text(k); env.Type != "" && env.Type != "LINUX_CONTAINER" {
				p.without(k, "a build runs on its project's runners")
			}
		case "privileged-mode":
			privileged := p.Flag(k.Value, k.Path)
			env.Privileged = &privileged
		case "variables":
			env.Variables = p.variables(k, p.checkName)
		default:
			p.unknown(k, taskEnvKeys...)
		}
	}
	if env.Fleet != "" && env.ComputeType != "" {
		p.bad(e.At, e.Path, errors.New("want compute-type or fleet, have both"))
	}
	return env
}

// without warns about a key that asks for what no runner does.
func (p *parser) without(e specfile.Entry, why string) {
	p.Report(e.At, warning(CodeNoEffect, e.Path+" has no effect", why))
}

// checkGraph reports dependencies on unknown tasks and in circles.
func (p *parser) checkGraph(tasks []Task, at map[string]*yaml.Node, path string) {
	next := map[string][]string{}
	for _, t := range tasks {
		for _, d := range append(t.DependOn, t.NeedsArtifacts...) {
			if at[d] == nil {
				p.Errorf(at[t.Identifier], specfile.CodeValue, "%s: task %s depends on %s, which does not exist", path, t.Identifier, d)
				continue
			}
			next[t.Identifier] = append(next[t.Identifier], d)
		}
	}
	if c := cycle(tasks, next); c != nil {
		p.Errorf(at[c[0]], specfile.CodeValue, "%s: tasks depend on each other in a circle: %s", path, strings.Join(c, " -> "))
	}
}

// cycle is the first circle in next, its first task repeated at the end.
func cycle(tasks []Task, next map[string][]string) []string {
	const entered, left = 1, 2
	state := map[string]int{}
	var way []string
	var visit func(id string) []string
	visit = func(id string) []string {
		way = append(way, id)
		state[id] = entered
		for _, n := range next[id] {
			if state[n] == entered {
				for way[0] != n {
					way = way[1:]
				}
				return append(way, n)
			}
			if state[n] == left {
				continue
			}
			if c := visit(n); c != nil {
				return c
			}
		}
		state[id] = left
		way = way[:len(way)-1]
		return nil
	}
	for _, t := range tasks {
		if state[t.Identifier] == 0 {
			if c := visit(t.Identifier); c != nil {
				return c
			}
		}
	}
	return nil
}

func (p *parser) fanout(e specfile.Entry) []Task {
	n, found := 0, false
	ignore := false
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "parallelism":
			found = true
			text := p.text(k)
			count, err := strconv.Atoi(text)
			if err != nil || count < 1 || count > MaxTasks {
				p.bad(k.Value, k.Path, fmt.Errorf("want a number from 1 to %d, have %q", MaxTasks, text))
				continue
			}
			n = count
		case "ignore-failure":
			ignore = p.Flag(k.Value, k.Path)
		default:
			p.unknown(k, fanoutKeys...)
		}
	}
	if !found {
		p.Errorf(e.At, specfile.CodeMissingKey, "%s.parallelism: missing", e.Path)
	}
	tasks := make([]Task, n)
	for i := range tasks {
		tasks[i] = Task{Identifier: fmt.Sprintf("f_%d", i+1), IgnoreFailure: ignore, Line: e.At.Line}
	}
	return tasks
}
