package pipeline

import (
	"maps"
	"slices"
	"time"
)

// BatchSettings make a build action a batch: several builds of one source,
// which the batch block of its buildspec lists (CodeBuild reference 7).
type BatchSettings struct {
	// Combine makes one artifact, BuildArtifact, of the primary artifacts of all
	// tasks. Without it the batch has theirs, named after the tasks.
	Combine bool `json:"combine,omitempty"`
	// Timeout is for the batch as a whole; 0 means 8 hours. The action's own is
	// that of each task.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// batchTimeout is that of a batch which names none.
const batchTimeout = 8 * time.Hour

// MaxTasks is the most that a batch may have, whatever a server allows.
const MaxTasks = 1000

// Task is one build of a batch. While the batch runs it is an action of its
// stage like any other, called BATCH/ID, with its own job, attempts and log.
// The definition in the repository doesn't have it: an execution grows its
// tasks when its buildspec has been read. What is empty is the batch's.
type Task struct {
	Batch string `json:"batch"` // the name of the action that it is a part of
	// ID is its identifier; empty for the task of ours that combines the
	// artifacts of the others.
	ID string `json:"id,omitempty"`
	// DependsOn are identifiers of tasks that must have ended before, and Needs
	// of those whose primary artifacts are its inputs.
	DependsOn []string `json:"depends_on,omitempty"`
	Needs     []string `json:"needs,omitempty"`
	// IgnoreFailure lets the batch, and what depends on the task, go on although
	// it failed.
	IgnoreFailure bool              `json:"ignore_failure,omitempty"`
	Buildspec     string            `json:"buildspec,omitempty"`
	Image         string            `json:"image,omitempty"`
	Compute       string            `json:"compute,omitempty"`
	Variables     map[string]string `json:"variables,omitempty"`
	// Privileged is nil where the task doesn't say. It takes away what the
	// project allows, and never gives more.
	Privileged *bool `json:"privileged,omitempty"`
}

// TaskEnd is how a task stands for those that wait for it.
type TaskEnd int

const (
	TaskUnknown  TaskEnd = iota // there is none
	TaskOpen                    // it has not ended
	TaskUnbegun                 // it ended without having begun
	TaskFailed                  // it failed, or was stopped
	TaskForgiven                // the same, and its failure is ignored
	TaskSucceeded
)

// Turn says whether all that the task waits for has ended, or why it waits in
// vain: a task before it failed and isn't one whose failure is ignored, made
// no artifact because it failed, or never began (CodeBuild reference 7.3).
func (t Task) Turn(of func(id string) TaskEnd) (ready bool, inVain string) {
	ready = true
	for n, id := range slices.Concat(t.DependsOn, t.Needs) {
		needed := n >= len(t.DependsOn)
		switch end := of(id); {
		case end == TaskUnknown:
			return false, "there is no task " + id + ", which it depends on"
		case end == TaskOpen:
			ready = false
		case end == TaskUnbegun:
			return false, "task " + id + ", which it depends on, did not begin"
		case needed && end != TaskSucceeded:
			return false, "task " + id + ", whose artifact it needs, did not succeed"
		case end == TaskFailed:
			return false, "task " + id + ", which it depends on, did not succeed"
		}
	}
	return ready, ""
}

// Batch is what a buildspec's batch block asks for.
type Batch struct {
	Kind     string `json:"kind"` // build-list, build-graph, build-matrix or build-fanout
	FastFail bool   `json:"fast_fail,omitempty"`
	Tasks    []Task `json:"tasks"`
}

// BatchState is how far a batch has come whose buildspec has been read.
type BatchState struct {
	Kind     string `json:"kind"`
	FastFail bool   `json:"fast_fail,omitempty"`
	// Halted is why no task starts any more, and Outcome what the batch's end
	// will be because of it; nil: they do start.
	Halted  *ActionError `json:"halted,omitempty"`
	Outcome BuildStatus  `json:"outcome,omitempty"`
}

// combineTask is what the task of ours is called, beside the others'
// identifiers, which have no dashes.
const combineTask = "combine-artifacts"

// BatchOrder is what the server's own worker needs in order to read a batch,
// or to combine the artifacts of one.
type BatchOrder struct {
	Source SourceOrder `json:"source,omitzero"`
	// Buildspec is a path below the source root, or the text itself if it spans
	// lines.
	Buildspec string `json:"buildspec,omitempty"`
	// Limit is the most tasks that the project allows.
	Limit int `json:"limit,omitempty"`
	// Computes are the compute types that tasks may name, each with the name
	// that it has here. Another one gives the task that of the batch, or, if
	// Restricted, fails the batch.
	Computes   []string `json:"computes,omitempty"`
	Restricted bool     `json:"restricted,omitempty"`
	// Privileged says that the project's builds may be.
	Privileged bool `json:"privileged,omitempty"`
	// Combine are the artifacts to make one of, each named after its task; an
	// order that has it reads no buildspec.
	Combine []Artifact `json:"combine,omitempty"`
	// Combines says that this is an order to combine, of whatever there is.
	Combines bool `json:"combines,omitempty"`
}

// action is the task as an action of its batch's stage.
func (t Task) action(batch Action) Action {
	name := t.ID
	if name == "" {
		name = combineTask
	}
	a := Action{
		Name: t.Batch + "/" + name, Category: batch.Category, Provider: batch.Provider, RunOrder: batch.RunOrder,
		Inputs: batch.Inputs, Timeout: batch.Timeout, Labels: batch.Labels, Compute: batch.Compute, Concurrency: batch.Concurrency,
		QueuedTimeout: batch.QueuedTimeout, Task: &t,
	}
	if t.Compute != "" {
		a.Compute = t.Compute
	}
	return a
}

// taskSettings are a task's: those of its batch, and over them its own. A
// buildspec's text is taken as it stands; there are no variables of a pipeline
// in it.
func (x *Execution) taskSettings(i int, t Task) *Settings {
	out := &Settings{}
	if b := x.Stages[i].Action(t.Batch); b != nil && b.Resolved != nil {
		out.Configuration, out.Environment = maps.Clone(b.Resolved.Configuration), maps.Clone(b.Resolved.Environment)
	}
	if out.Configuration == nil {
		out.Configuration = map[string]string{}
	}
	if out.Environment == nil {
		out.Environment = map[string]string{}
	}
	for key, value := range map[string]string{ConfigBuildspec: t.Buildspec, ConfigImage: t.Image} {
		if value != "" {
			out.Configuration[key] = value
		}
	}
	maps.Copy(out.Environment, t.Variables)
	return out
}

// withoutTasks is the stage as the repository defines it.
func (st Stage) withoutTasks() Stage {
	isTask := func(a Action) bool { return a.Task != nil }
	if slices.ContainsFunc(st.Actions, isTask) {
		st.Actions = slices.DeleteFunc(slices.Clone(st.Actions), isTask)
	}
	return st
}

// withoutTasks is the pipeline as the repository defines it.
func (p Pipeline) withoutTasks() Pipeline {
	p.Stages = slices.Clone(p.Stages)
	for i := range p.Stages {
		p.Stages[i] = p.Stages[i].withoutTasks()
	}
	return p
}

// TasksOf are the tasks of a batch in the order of its buildspec; none before
// that has been read. The task that combines their artifacts is the last.
func (x *Execution) TasksOf(stage, action string) []TaskExecution {
	i := x.stageIndex(stage)
	if i < 0 || i >= len(x.Pipeline.Stages) {
		return nil
	}
	var list []TaskExecution
	for _, def := range x.Pipeline.Stages[i].Actions {
		if a := x.Stages[i].Action(def.Name); a != nil && def.Task != nil && def.Task.Batch == action {
			list = append(list, TaskExecution{*def.Task, *a})
		}
	}
	return list
}

// TaskExecution is a task, and its latest attempt.
type TaskExecution struct {
	Task  Task
	State ActionExecution
}

// Title is what people call the task.
func (t Task) Title() string {
	if t.ID == "" {
		return combineTask
	}
	return t.ID
}
