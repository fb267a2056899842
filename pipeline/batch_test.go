package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// batched is f1 with a batch for its build.
func batched() Pipeline {
	p := f1(SupersededMode)
	p.Stages[1].Actions[0].Batch = &BatchSettings{}
	return p
}

// graph writes tasks as "a", "b<a", which waits for a, and "c?", whose failure
// is ignored.
func graph(tasks ...string) *Batch {
	b := &Batch{Kind: "build-graph"}
	for _, text := range tasks {
		id, after, _ := strings.Cut(text, "<")
		t := Task{ID: strings.TrimSuffix(id, "?"), IgnoreFailure: strings.HasSuffix(id, "?")}
		if after != "" {
			t.DependsOn = strings.Split(after, ",")
		}
		b.Tasks = append(b.Tasks, t)
	}
	return b
}

// expand lets the batch's buildspec be read.
func (w *world) expand(x string, b *Batch) {
	w.t.Helper()
	a := w.all[x].Stage("Build").Action("b")
	w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b", Attempt: a.Attempt, Outcome: &Outcome{Status: BuildSucceeded, Batch: b}})
}

// states are the states of an execution's batch, "b:InProgress a:Succeeded".
func (w *world) states(x string) string {
	var out []string
	for _, a := range w.all[x].Stage("Build").Actions {
		status := string(a.Status)
		if status == "" {
			status = "-"
		}
		out = append(out, strings.TrimPrefix(a.Name, "b/")+":"+status)
	}
	return strings.Join(out, " ")
}

func TestBatchRunsItsTasks(t *testing.T) {
	w := newWorld(t)
	x := w.start(batched())
	job := w.jobs[w.added[0]]
	if job.Kind != BatchJob || job.Class() != "batch||" || job.Timeout != 8*time.Hour {
		t.Errorf("the job that reads the buildspec: %+v", job)
	}
	w.took()
	w.expand(x, graph("a", "c<a", "d<a", "e<c,d"))
	expect(t, w, "X1.Build/b/a:InProgress")
	w.end(x, "Build", "b/a", BuildSucceeded)
	expect(t, w, "X1.Build/b/a:Succeeded X1.Build/b/c:InProgress X1.Build/b/d:InProgress")
	w.end(x, "Build", "b/d", BuildSucceeded)
	expect(t, w, "X1.Build/b/d:Succeeded")
	w.end(x, "Build", "b/c", BuildSucceeded)
	expect(t, w, "X1.Build/b/c:Succeeded X1.Build/b/e:InProgress")
	w.end(x, "Build", "b/e", BuildSucceeded)
	expect(t, w, "X1.Build/b:Succeeded X1.Build/b/e:Succeeded X1.Build:Succeeded X1.Deploy/d:InProgress X1.Deploy:InProgress")
	numbers, ids := map[int]bool{}, map[string]bool{}
	for _, task := range w.all[x].TasksOf("Build", "b") {
		numbers[task.State.Number], ids[task.State.Job] = true, true
		if want := BuildID(x, "Build", "b/"+task.Task.ID, 1); task.State.Job != want || task.State.Kind != BuildJob {
			t.Errorf("task %s is job %s of kind %s, want %s", task.Task.ID, task.State.Job, task.State.Kind, want)
		}
	}
	if len(numbers) != 4 || len(ids) != 4 {
		t.Errorf("each task is a build of its own: numbers %v, IDs %v", numbers, ids)
	}
}

// The cases of CodeBuild reference 7 and 11: how tasks end, in what order, and
// what becomes of the batch.
func TestBatchCases(t *testing.T) {
	tests := []struct {
		name     string
		batch    *Batch
		fastFail bool
		ends     string // "a:FAILED c:SUCCEEDED", one after the other
		want     string
		message  string
	}{
		{name: "C38 a matrix succeeds only if all of it does", batch: graph("m_1", "m_2", "m_3"),
			ends: "m_1:SUCCEEDED m_2:FAILED m_3:SUCCEEDED", want: "b:Failed m_1:Succeeded m_2:Failed m_3:Succeeded", message: "task m_2: failed"},
		{name: "C39 a dependency failed", batch: graph("a", "c<a"),
			ends: "a:FAILED", want: "b:Failed a:Failed c:Abandoned", message: "task a: failed"},
		{name: "C39 a dependency failed whose failure is ignored", batch: graph("a?", "c<a"),
			ends: "a:FAILED c:SUCCEEDED", want: "b:Succeeded a:Failed c:Succeeded"},
		{name: "a failure leaves independent tasks alone", batch: graph("a", "c<a", "d", "e<d"),
			ends: "a:FAILED d:SUCCEEDED e:SUCCEEDED", want: "b:Failed a:Failed c:Abandoned d:Succeeded e:Succeeded", message: "task a: failed"},
		{name: "giving up goes all the way", batch: graph("a", "c?<a", "d<c", "e<d"),
			ends: "a:FAILED", want: "b:Failed a:Failed c:Abandoned d:Abandoned e:Abandoned", message: "task a: failed"},
		{name: "fast-fail stops what runs and what waits", batch: graph("a", "c", "d<c"), fastFail: true,
			ends: "a:FAILED c:STOPPED", want: "b:Failed a:Failed c:Abandoned d:Abandoned", message: "task a: failed"},
		{name: "fast-fail ignores what is ignored", batch: graph("a?", "c", "d<c"), fastFail: true,
			ends: "a:FAILED c:SUCCEEDED d:SUCCEEDED", want: "b:Succeeded a:Failed c:Succeeded d:Succeeded"},
		{name: "fast-fail repeats nothing that the stop broke", batch: graph("a", "c"), fastFail: true,
			ends: "a:TIMED_OUT c:FAULT", want: "b:Failed a:Failed c:Failed", message: "task a: timed out"},
		{name: "a task that somebody stopped fails the batch", batch: graph("a", "c"),
			ends: "c:STOPPED a:SUCCEEDED", want: "b:Failed a:Succeeded c:Abandoned", message: "task c: stopped"},
		{name: "the order of the file says nothing", batch: graph("e<d", "d<a", "a"),
			ends: "a:SUCCEEDED d:SUCCEEDED e:SUCCEEDED", want: "b:Succeeded e:Succeeded d:Succeeded a:Succeeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			x := w.start(batched())
			tt.batch.FastFail = tt.fastFail
			w.expand(x, tt.batch)
			for _, end := range strings.Fields(tt.ends) {
				id, status, _ := strings.Cut(end, ":")
				w.end(x, "Build", "b/"+id, BuildStatus(status))
			}
			if got := w.states(x); got != tt.want {
				t.Errorf("(-want +got)\n%s", cmp.Diff(strings.Fields(tt.want), strings.Fields(got)))
			}
			message := ""
			if e := w.all[x].Stage("Build").Action("b").Error; e != nil {
				message = e.Message
			}
			if message != tt.message {
				t.Errorf("the batch says %q, want %q", message, tt.message)
			}
		})
	}
}

// A lost runner costs its task an attempt, and the batch nothing.
func TestBatchTaskThatLosesItsRunner(t *testing.T) {
	w := newWorld(t)
	x := w.start(batched())
	w.expand(x, graph("a", "c"))
	w.send(Event{Type: JobLost, Execution: x, Stage: "Build", Action: "b/a", Attempt: 1})
	a := w.all[x].Stage("Build").Action("b/a")
	if a.Status != InProgress || a.Attempt != 2 || a.TaskOf != "b" || a.Lost != 1 {
		t.Errorf("after the loss: %+v", a)
	}
	w.end(x, "Build", "b/a", BuildSucceeded)
	w.end(x, "Build", "b/c", BuildSucceeded)
	if got := w.states(x); got != "b:Succeeded a:Succeeded c:Succeeded" {
		t.Error(got)
	}
}

// RETRY_FAILED_BUILDS keeps what succeeded, RETRY_ALL_BUILDS nothing.
func TestBatchRetries(t *testing.T) {
	for mode, want := range map[RetryMode]string{
		FailedActions: "b:InProgress a:Succeeded c:InProgress d:-",
		AllActions:    "b:InProgress a:InProgress c:- d:-",
	} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t)
			x := w.start(batched())
			w.expand(x, graph("a", "c<a", "d<c"))
			w.end(x, "Build", "b/a", BuildSucceeded)
			w.end(x, "Build", "b/c", BuildFailed)
			w.send(Event{Type: RetryRequested, Execution: x, Stage: "Build", Retry: mode, Revive: w.all[x]})
			w.expand(x, graph("a", "c<a", "d<c"))
			if got := w.states(x); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			for _, task := range []string{"a", "c", "d"} {
				if a := w.all[x].Stage("Build").Action("b/" + task); a.Status == InProgress {
					w.end(x, "Build", "b/"+task, BuildSucceeded)
				}
			}
			for _, id := range []string{"c", "d"} {
				if a := w.all[x].Stage("Build").Action("b/" + id); a.Status == InProgress {
					w.end(x, "Build", "b/"+id, BuildSucceeded)
				}
			}
			if got := w.states(x); got != "b:Succeeded a:Succeeded c:Succeeded d:Succeeded" {
				t.Error(got)
			}
		})
	}
}

func TestBatchIsStopped(t *testing.T) {
	tests := []struct {
		mode        StopMode
		before, end string
	}{
		{StopCancel, "b:InProgress a:InProgress c:Abandoned", "STOPPED"},
		{StopWait, "b:InProgress a:InProgress c:Abandoned", "SUCCEEDED"},
		{StopAbandon, "b:Abandoned a:Abandoned c:Abandoned", ""},
	}
	for _, tt := range tests {
		t.Run("mode "+string(tt.mode), func(t *testing.T) {
			w := newWorld(t)
			x := w.start(batched())
			w.expand(x, graph("a", "c<a"))
			w.send(Event{Type: StopRequested, Execution: x, Stop: tt.mode})
			if got := w.states(x); got != tt.before {
				t.Errorf("got %s, want %s", got, tt.before)
			}
			if tt.end != "" {
				w.end(x, "Build", "b/a", BuildStatus(tt.end))
			}
			if got := w.all[x]; got.Status != Stopped || got.Stage("Build").Action("b").Status != Abandoned {
				t.Errorf("got %s: %s", got.Status, w.states(x))
			}
		})
	}
}

// The time limit of a batch is that of all of it.
func TestBatchTimesOut(t *testing.T) {
	w := newWorld(t)
	p := batched()
	p.Stages[1].Actions[0].Batch.Timeout = time.Hour
	x := w.start(p)
	w.send(Event{Type: JobClaimed, Execution: x, Stage: "Build", Action: "b", Attempt: 1, Worker: "server"})
	w.expand(x, graph("a", "c<a"))
	for _, e := range w.timer {
		if e.Action == "b" { // those of the job that has read it say nothing
			w.send(e)
		}
	}
	if got := w.states(x); got != "b:InProgress a:InProgress c:Abandoned" {
		t.Error(got)
	}
	w.end(x, "Build", "b/a", BuildStopped)
	b := w.all[x].Stage("Build").Action("b")
	if b.Status != Failed || b.Outcome != BuildTimedOut || b.Error.Code != TimedOut || b.Error.Message != "the batch timed out after 1h0m0s" {
		t.Errorf("got %+v, %+v", b, b.Error)
	}
}

// Pipelines know a batch's artifacts by their tasks (CodeBuild reference 4.5).
func TestBatchArtifacts(t *testing.T) {
	made := func(w *world, x, task string, list ...Artifact) {
		w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b/" + task, Attempt: 1, Outcome: &Outcome{Status: BuildSucceeded, Artifacts: list}})
	}
	for _, combine := range []bool{false, true} {
		t.Run(fmt.Sprintf("combined %v", combine), func(t *testing.T) {
			w := newWorld(t)
			p := batched()
			p.Stages[1].Actions[0].Batch.Combine = combine
			x := w.start(p)
			w.expand(x, graph("a", "c"))
			made(w, x, "a", Artifact{Name: BuildArtifact, Digest: "1"}, Artifact{Name: "logs", Digest: "2"})
			made(w, x, "c", Artifact{Name: BuildArtifact, Digest: "3"})
			want := []Artifact{{Name: "a", Digest: "1"}, {Name: "a_logs", Digest: "2"}, {Name: "c", Digest: "3"}}
			if combine {
				all := w.all[x]
				from := []Artifact{{Name: "a", Digest: "1"}, {Name: "c", Digest: "3"}}
				if diff := cmp.Diff(from, all.CombinedFrom("Build", "b")); diff != "" {
					t.Errorf("to combine (-want +got)\n%s", diff)
				}
				if j := w.jobs[w.added[len(w.added)-1]]; j.Kind != BatchJob || j.Action != "b/combine-artifacts" {
					t.Errorf("the job that combines: %+v", j)
				}
				made(w, x, "combine-artifacts", Artifact{Name: BuildArtifact, Digest: "4"})
				want = []Artifact{{Name: BuildArtifact, Digest: "4"}}
			}
			if diff := cmp.Diff(want, w.all[x].Stage("Build").Action("b").Artifacts); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// needs-artifacts is ours: CodeBuild's tasks can't pass files.
func TestBatchTaskGetsWhatAnotherMade(t *testing.T) {
	w := newWorld(t)
	x := w.start(batched())
	b := graph("a", "c")
	b.Tasks[1].Needs = []string{"a"}
	w.expand(x, b)
	w.send(Event{Type: JobEnded, Execution: x, Stage: "Build", Action: "b/a", Attempt: 1, Outcome: &Outcome{Status: BuildSucceeded, Artifacts: []Artifact{{Name: BuildArtifact, Digest: "1"}}}})
	got, err := w.all[x].Inputs("Build", "b/c")
	if diff := cmp.Diff([]Input{{Name: "a", Artifact: Artifact{Name: BuildArtifact, Digest: "1"}}}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestBatchTaskSettings(t *testing.T) {
	w := newWorld(t)
	p := batched()
	p.Stages[1].Actions[0].Environment = map[string]string{"A": "batch", "B": "batch"}
	p.Stages[1].Actions[0].Configuration = map[string]string{ConfigImage: "one", ConfigBuildspec: "all.yml"}
	x := w.start(p)
	w.expand(x, &Batch{Kind: "build-list", Tasks: []Task{{ID: "a", Image: "two", Compute: "large", Variables: map[string]string{"B": "#{not.expanded}"}}}})
	a := w.all[x].Stage("Build").Action("b/a")
	want := &Settings{
		Configuration: map[string]string{ConfigImage: "two", ConfigBuildspec: "all.yml"},
		Environment:   map[string]string{"A": "batch", "B": "#{not.expanded}"},
	}
	if diff := cmp.Diff(want, a.Resolved); diff != "" || a.Class != "build||large" {
		t.Errorf("class %s (-want +got)\n%s", a.Class, diff)
	}
}

// What runs again begins with the definition of the repository.
func TestBatchTasksAreNoPartOfTheDefinition(t *testing.T) {
	w := newWorld(t)
	x := w.start(batched())
	w.expand(x, graph("a", "c"))
	grown := w.all[x].Pipeline
	if n := len(grown.Stages[1].Actions); n != 3 {
		t.Errorf("the execution has %d actions, want 3", n)
	}
	if diff := cmp.Diff(batched(), grown.withoutTasks()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if grown.Stages[1].digest() != batched().Stages[1].digest() {
		t.Error("the tasks change the stage's digest")
	}
}

// Only the job that reads a batch says what its tasks are.
func TestABuildCannotMakeItselfABatch(t *testing.T) {
	w := newWorld(t)
	x := w.start(f1(SupersededMode))
	w.expand(x, graph("a"))
	if got := w.states(x); got != "b:Succeeded" {
		t.Error(got)
	}
}

// tasks draws a batch of up to five tasks, each of which waits for earlier ones.
func (p *player) tasks() *Batch {
	b := &Batch{Kind: "build-graph", FastFail: rapid.Bool().Draw(p.rt, "fast-fail")}
	for n := range rapid.IntRange(1, 5).Draw(p.rt, "tasks") {
		t := Task{ID: fmt.Sprint("t", n), IgnoreFailure: rapid.IntRange(0, 3).Draw(p.rt, "ignore") == 0}
		for before := range n {
			if rapid.Bool().Draw(p.rt, "after") {
				t.DependsOn = append(t.DependsOn, fmt.Sprint("t", before))
			}
		}
		b.Tasks = append(b.Tasks, t)
	}
	return b
}

// checkTasks: no task is at work before what it depends on has ended, and a
// batch that has ended leaves none at work.
func checkTasks(t *rapid.T, x *Execution) {
	for i, st := range x.Pipeline.Stages {
		for j, def := range st.Actions {
			a := x.Stages[i].Actions[j]
			if def.Task == nil || a.Status != InProgress {
				continue
			}
			if b := x.Stages[i].Action(def.Task.Batch); b.Status != InProgress {
				t.Fatalf("task %s is at work, its batch is %q", def.Name, b.Status)
			}
			for _, id := range def.Task.DependsOn {
				before := x.Stages[i].Action(def.Task.Batch + "/" + id)
				at := x.Pipeline.Stages[i].actionNamed(before.Name)
				if !before.Status.Ended() || before.Job == "" || before.Status != Succeeded && !at.Task.IgnoreFailure {
					t.Fatalf("task %s is at work, and %s, which it depends on, is %q", def.Name, id, before.Status)
				}
			}
		}
	}
}

func (st Stage) actionNamed(name string) Action {
	for _, a := range st.Actions {
		if a.Name == name {
			return a
		}
	}
	return Action{}
}

// The rule for one task that depends on b and needs the artifact of n.
func TestTurnOfATask(t *testing.T) {
	tests := []struct {
		name   string
		b, n   TaskEnd
		ready  bool
		inVain string
	}{
		{"both succeeded", TaskSucceeded, TaskSucceeded, true, ""},
		{"one goes on", TaskOpen, TaskSucceeded, false, ""},
		{"the other goes on", TaskSucceeded, TaskOpen, false, ""},
		{"a failure that is ignored", TaskForgiven, TaskSucceeded, true, ""},
		{"a failure", TaskFailed, TaskOpen, false, "task b, which it depends on, did not succeed"},
		{"never begun", TaskUnbegun, TaskOpen, false, "task b, which it depends on, did not begin"},
		{"no artifact because of an ignored failure", TaskSucceeded, TaskForgiven, false, "task n, whose artifact it needs, did not succeed"},
		{"no artifact because of a failure", TaskOpen, TaskFailed, false, "task n, whose artifact it needs, did not succeed"},
		{"no artifact since it never began", TaskSucceeded, TaskUnbegun, false, "task n, which it depends on, did not begin"},
		{"unknown", TaskUnknown, TaskSucceeded, false, "there is no task b, which it depends on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			task := Task{ID: "t", DependsOn: []string{"b"}, Needs: []string{"n"}}
			ready, inVain := task.Turn(func(id string) TaskEnd { return map[string]TaskEnd{"b": tt.b, "n": tt.n}[id] })
			if ready != tt.ready || inVain != tt.inVain {
				t.Errorf("got %t, %q, want %t, %q", ready, inVain, tt.ready, tt.inVain)
			}
		})
	}
}
