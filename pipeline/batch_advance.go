package pipeline

import (
	"fmt"
	"slices"
	"time"
)

// expand begins a batch whose buildspec has been read: its tasks become actions
// of the stage. Those of a batch that is retried are there already.
func (s *step) expand(x *Execution, t task) {
	i, def, a := t.i, t.def, t.a
	b := s.e.Outcome.Batch
	if b == nil || len(b.Tasks) == 0 || len(b.Tasks) > MaxTasks {
		s.fail(a, SystemUnavailable, "the batch could not be read", BuildFault)
		return
	}
	a.EndedAt, a.Outcome = time.Time{}, ""
	a.Batch = &BatchState{Kind: b.Kind, FastFail: b.FastFail}
	s.timer(x, x.Stages[i].Name, a, timerBatch, s.e.At.Add(s.rules.timeout(def)))
	if len(x.tasks(i, a.Name)) > 0 {
		return
	}
	tasks := slices.Clone(b.Tasks)
	if def.Batch.Combine {
		all := Task{}
		for _, t := range tasks {
			all.DependsOn = append(all.DependsOn, t.ID)
		}
		tasks = append(tasks, all)
	}
	stages := slices.Clone(x.Pipeline.Stages)
	stages[i].Actions = slices.Clone(stages[i].Actions)
	for _, t := range tasks {
		t.Batch = def.Name
		act := t.action(def)
		stages[i].Actions = append(stages[i].Actions, act)
		x.Stages[i].Actions = append(x.Stages[i].Actions, ActionExecution{Name: act.Name, TaskOf: def.Name})
	}
	x.Pipeline.Stages = stages
}

// tasks are the places in stage i of the tasks of a batch.
func (x *Execution) tasks(i int, batch string) []int {
	var list []int
	for j := range x.Stages[i].Actions {
		if x.Stages[i].Actions[j].TaskOf == batch {
			list = append(list, j)
		}
	}
	return list
}

// batches takes the batches of stage i on: each starts the tasks whose turn it
// is, and ends when none is left.
func (s *step) batches(x *Execution, i int) {
	for j := range x.Stages[i].Actions {
		if a := &x.Stages[i].Actions[j]; a.Batch != nil && a.Status == InProgress {
			s.batch(x, i, j)
		}
	}
}

func (s *step) batch(x *Execution, i, j int) {
	a := &x.Stages[i].Actions[j]
	tasks := x.tasks(i, a.Name)
	if failed := x.failedTask(i, tasks); failed != nil && a.Batch.FastFail && a.Batch.Halted == nil {
		s.haltBatch(x, i, a, taskError(x.Pipeline.Stages[i], *failed), failed.Outcome)
	}
	for s.beginTasks(x, i, a, tasks) {
	}
	if !slices.ContainsFunc(tasks, func(k int) bool { return !x.Stages[i].Actions[k].Status.Ended() }) {
		s.endBatch(x, i, j)
	}
}

// beginTasks starts the tasks that wait for nothing, and gives up those that
// wait in vain, and reports whether there was any of the latter: others may
// wait for them. In a build-graph a task starts when all those before it have
// ended (CodeBuild reference 7.3).
func (s *step) beginTasks(x *Execution, i int, batch *ActionExecution, tasks []int) (again bool) {
	ends := x.taskEnds(i, tasks)
	for _, k := range tasks {
		a := &x.Stages[i].Actions[k]
		if a.Status != Pending {
			continue
		}
		ready, inVain := x.Pipeline.Stages[i].Actions[k].Task.Turn(ends)
		switch {
		case x.Status == Stopping, x.Replaced:
			inVain = orText(x.Reason, "stopped")
		case batch.Batch.Halted != nil:
			inVain = "the batch has ended before: " + batch.Batch.Halted.Message
		}
		switch {
		case inVain != "":
			s.abandon(a, inVain)
			again = true
		case ready:
			s.begin(x, x.taskAt(i, k))
			again = again || a.Status.Ended()
		}
	}
	return again
}

// taskEnds says of each task of a batch how it stands when it is asked.
func (x *Execution) taskEnds(i int, tasks []int) func(id string) TaskEnd {
	byID := map[string]int{}
	for _, k := range tasks {
		byID[x.Pipeline.Stages[i].Actions[k].Task.ID] = k
	}
	return func(id string) TaskEnd {
		k, ok := byID[id]
		if !ok {
			return TaskUnknown
		}
		a := x.Stages[i].Actions[k]
		switch {
		case !a.Status.Ended():
			return TaskOpen
		case a.Status == Succeeded:
			return TaskSucceeded
		case a.Job == "":
			return TaskUnbegun
		case x.Pipeline.Stages[i].Actions[k].Task.IgnoreFailure:
			return TaskForgiven
		}
		return TaskFailed
	}
}

// failedTask is the first task that failed and may not; nil if there is none.
// One that was never begun fails its batch, too, but others come first: it
// waited for one of them.
func (x *Execution) failedTask(i int, tasks []int) *ActionExecution {
	var first *ActionExecution
	for _, k := range tasks {
		a := &x.Stages[i].Actions[k]
		if !a.Status.Ended() || a.Status == Succeeded || x.Pipeline.Stages[i].Actions[k].Task.IgnoreFailure {
			continue
		}
		if first == nil || blame(*a) > blame(*first) || blame(*a) == blame(*first) && a.EndedAt.Before(first.EndedAt) {
			first = a
		}
	}
	return first
}

// blame tells how much the end of a task says about why its batch failed.
func blame(a ActionExecution) int {
	switch {
	case a.Status == Failed:
		return 2
	case a.Job != "":
		return 1 // stopped while it ran
	}
	return 0
}

// taskError says of a batch which of its tasks failed, and why.
func taskError(st Stage, a ActionExecution) *ActionError {
	at := slices.IndexFunc(st.Actions, func(def Action) bool { return def.Name == a.Name })
	e := ActionError{Code: JobFailed, Message: "failed"}
	if a.Error != nil {
		e = *a.Error
	}
	e.Message = fmt.Sprintf("task %s: %s", st.Actions[at].Task.Title(), e.Message)
	return &e
}

// haltBatch lets no further task start and stops those that run.
func (s *step) haltBatch(x *Execution, i int, a *ActionExecution, why *ActionError, outcome BuildStatus) {
	if a.Batch.Halted != nil {
		return
	}
	a.Batch.Halted, a.Batch.Outcome = why, outcome
	for _, k := range x.tasks(i, a.Name) {
		t := &x.Stages[i].Actions[k]
		if t.Status != InProgress {
			continue
		}
		s.cancel(x, x.Stages[i].Name, t, why.Message)
		s.timer(x, x.Stages[i].Name, t, timerStop, s.e.At.Add(s.rules.stopGrace()))
	}
}

// batchDeadline ends a batch whose time is up. The other time limits are those
// of the job that has read it.
func (s *step) batchDeadline(x *Execution, t task) {
	if s.e.Reason != timerBatch {
		return
	}
	limit := s.rules.timeout(t.def)
	s.haltBatch(x, t.i, t.a, &ActionError{Code: TimedOut, Message: "the batch timed out after " + limit.String()}, BuildTimedOut)
	s.proceed(x, t.i)
}

// stopping reports whether an action is to end and not to be tried again: its
// execution is being stopped, or its batch.
func (x *Execution) stopping(t task) bool {
	if x.Status == Stopping || t.a.TaskOf == "" {
		return x.Status == Stopping
	}
	b := x.Stages[t.i].Action(t.a.TaskOf)
	return b != nil && b.Batch != nil && b.Batch.Halted != nil
}

// endBatch ends a batch of which all tasks have ended (CodeBuild reference
// 7.4).
func (s *step) endBatch(x *Execution, i, j int) {
	def, a := x.Pipeline.Stages[i].Actions[j], &x.Stages[i].Actions[j]
	tasks := x.tasks(i, a.Name)
	failed := x.failedTask(i, tasks)
	switch {
	case x.Status == Stopping, x.Replaced && failed != nil && failed.Job == "":
		s.abandon(a, x.Reason)
		return
	case a.Batch.Halted != nil:
		s.fail(a, a.Batch.Halted.Code, a.Batch.Halted.Message, orFailed(a.Batch.Outcome))
		return
	case failed != nil:
		e := taskError(x.Pipeline.Stages[i], *failed)
		s.fail(a, e.Code, e.Message, orFailed(failed.Outcome))
		return
	}
	a.Artifacts = x.batchArtifacts(i, j)
	if missing := x.lacks(def, a.Artifacts); missing != "" {
		s.fail(a, JobFailed, fmt.Sprintf("the output artifact %s was not made by any task of the batch", missing), BuildFailed)
		return
	}
	a.Status, a.EndedAt, a.Outcome = Succeeded, s.e.At, BuildSucceeded
}

// orFailed is a batch's outcome because of a task's: one that was stopped
// makes the batch fail, as nobody stopped the batch.
func orFailed(task BuildStatus) BuildStatus {
	if task == BuildFault || task == BuildTimedOut {
		return task
	}
	return BuildFailed
}

// batchArtifacts are what the tasks made, each called as its task, a secondary
// one TASK_NAME; or what they were combined into (CodeBuild reference 4.5).
func (x *Execution) batchArtifacts(i, j int) []Artifact {
	def := x.Pipeline.Stages[i].Actions[j]
	var all []Artifact
	for _, k := range x.tasks(i, def.Name) {
		id := x.Pipeline.Stages[i].Actions[k].Task.ID
		for _, made := range x.Stages[i].Actions[k].Artifacts {
			switch {
			case def.Batch.Combine && id != "":
				continue
			case id != "" && made.Name == BuildArtifact:
				made.Name = id
			case id != "":
				made.Name = id + "_" + made.Name
			}
			all = append(all, made)
		}
	}
	return all
}

// CombinedFrom are the primary artifacts of a batch's tasks, in their order,
// each named after its task.
func (x *Execution) CombinedFrom(stage, action string) []Artifact {
	var all []Artifact
	for _, t := range x.TasksOf(stage, action) {
		for _, made := range t.State.Artifacts {
			if t.Task.ID != "" && made.Name == BuildArtifact {
				made.Name = t.Task.ID
				all = append(all, made)
			}
		}
	}
	return all
}

// restarts reports whether a retry runs the action again. Of a batch that
// failed, the tasks that succeeded are kept (CodeBuild reference 7.4,
// RETRY_FAILED_BUILDS).
func (sx *StageExecution) restarts(a ActionExecution, mode RetryMode) bool {
	if batch := sx.Action(a.TaskOf); a.TaskOf != "" && batch != nil {
		return sx.restarts(*batch, mode) && (mode == AllActions || a.Status != Succeeded)
	}
	return a.Status == Failed || a.Status == Abandoned || mode == AllActions && a.Status == Succeeded
}

// taskInputs are the artifacts that a task of a batch needs of others.
func (x *Execution) taskInputs(i int, t *Task) ([]Input, error) {
	var list []Input
	for _, id := range t.Needs {
		for _, o := range x.TasksOf(x.Stages[i].Name, t.Batch) {
			if o.Task.ID != id {
				continue
			}
			at := slices.IndexFunc(o.State.Artifacts, func(a Artifact) bool { return a.Name == BuildArtifact })
			if at < 0 {
				return nil, &UserError{Code: ConfigurationError, Msg: "task " + id + ", whose artifact it needs, made none"}
			}
			list = append(list, Input{Name: id, Artifact: o.State.Artifacts[at]})
		}
	}
	return list, nil
}
