package handlerstest

import (
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// BatchExecution is the execution that AddBatch adds.
const BatchExecution = "ba7c4e5e-0000-5000-8000-000000000001"

// AddBatch adds an execution whose build is a graph: compile succeeded, unit
// runs, style failed and may, race failed, package and publish wait in vain or
// for others.
func (s *State) AddBatch(now time.Time) {
	w := &releases{
		b:   pipeline.NewBoard("github.42.default.default", sampleRepo(), "harbour-crane", "default"),
		all: map[string]pipeline.Execution{}, now: now.Add(-10 * time.Minute), newest: BatchExecution,
	}
	def := pipeline.Pipeline{Name: "default", Mode: pipeline.ParallelMode, Implied: true, Stages: []pipeline.Stage{
		{Name: "Source", Actions: []pipeline.Action{pipeline.SourceAction()}},
		{Name: "Build", Actions: []pipeline.Action{{
			Name: "Build", Category: pipeline.BuildCat, Provider: pipeline.CodeBuildProvider, RunOrder: 1, Timeout: time.Hour, Batch: &pipeline.BatchSettings{},
		}}},
	}}
	w.send(pipeline.Event{Type: pipeline.StartRequested, Start: &pipeline.Start{
		ID: BatchExecution, Pipeline: def, Project: w.b.Project, Repo: w.b.Repo,
		Trigger: pipeline.Trigger{Type: "Webhook", Event: "PUSH", SHA: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00", Ref: "refs/heads/main", Message: "Build in parallel", Trusted: true},
	}})
	w.say("Build", &pipeline.Outcome{Status: pipeline.BuildSucceeded, Batch: &pipeline.Batch{Kind: "build-graph", Tasks: []pipeline.Task{
		{ID: "compile"}, {ID: "unit", DependsOn: []string{"compile"}}, {ID: "race_detector_on_linux", DependsOn: []string{"compile"}},
		{ID: "style", IgnoreFailure: true}, {ID: "package", DependsOn: []string{"unit", "style"}}, {ID: "publish", DependsOn: []string{"package", "race_detector_on_linux"}},
	}}})
	w.say("Build/compile", &pipeline.Outcome{Status: pipeline.BuildSucceeded})
	w.say("Build/style", &pipeline.Outcome{Status: pipeline.BuildFailed, Message: "12 lines are too long"})
	w.say("Build/race_detector_on_linux", &pipeline.Outcome{Status: pipeline.BuildFailed, Message: `command "go test -race ./..." exited with code 1`})
	w.say("Build/unit", nil)
	x := w.all[BatchExecution]
	s.AddExecution(x)
	for i, r := range []pipeline.Report{
		{Status: pipeline.ReportFailed, Total: 40, Passed: 38, Failed: 2, Duration: 9 * time.Second}, {Status: pipeline.ReportSucceeded, Total: 42, Passed: 41, Skipped: 1},
	} {
		r.Name, r.Kind = "crane-unit", pipeline.ReportTest
		a := x.Stages[1].Action([]string{"Build/race_detector_on_linux", "Build/compile"}[i])
		s.AddBuild(pipeline.Build{ID: a.Job, Execution: x.ID, Stage: "Build", Action: a.Name, Status: pipeline.BuildSucceeded, Reports: []pipeline.Report{r}})
	}
}

// say lets a build be claimed and, with an outcome, end.
func (w *releases) say(action string, o *pipeline.Outcome) {
	e := pipeline.Event{Type: pipeline.JobClaimed, Execution: w.newest, Stage: "Build", Action: action, Attempt: 1, Worker: "runner-1"}
	w.send(e)
	if o == nil {
		return
	}
	e.Type, e.Outcome = pipeline.JobEnded, o
	w.now = w.now.Add(40 * time.Second)
	w.send(e)
}
