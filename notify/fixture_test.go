package notify

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sample is an execution of two stages that has just begun.
func sample(id string) pipeline.Execution {
	return pipeline.Execution{
		V: 1, ID: id, Number: 7, Project: "octo-app",
		Pipeline: pipeline.Pipeline{Name: "default", Stages: []pipeline.Stage{
			{Name: "Source", Actions: []pipeline.Action{{Name: "Source", Category: pipeline.Source, RunOrder: 1}}},
			{Name: "Build", Actions: []pipeline.Action{
				{Name: "unit-tests", Category: pipeline.BuildCat, RunOrder: 1, Timeout: time.Hour},
				{Name: "lint", Category: pipeline.BuildCat, RunOrder: 2},
			}},
			{Name: "Prod", Actions: []pipeline.Action{
				{Name: "deploy-prod", Category: pipeline.Approval, RunOrder: 1},
				{Name: "roll-out", Category: pipeline.Deploy, RunOrder: 2},
			}},
		}},
		Repo:    forge.Repo{Forge: "github", ID: "11", Owner: "octo", Name: "app"},
		Trigger: pipeline.Trigger{Type: "Webhook", SHA: "abc1234def5678900000000000000000000000ff", Ref: "refs/heads/main", Installation: 5},
		Status:  pipeline.InProgress, CreatedAt: start, StartedAt: start,
		Stages: []pipeline.StageExecution{
			{Name: "Source", Status: pipeline.Succeeded, Actions: []pipeline.ActionExecution{{Name: "Source", Status: pipeline.Succeeded}}},
			{Name: "Build", Status: pipeline.InProgress, Actions: []pipeline.ActionExecution{
				{Name: "unit-tests", Status: pipeline.InProgress, Attempt: 1, Job: "b1", Kind: pipeline.BuildJob, QueuedAt: start},
				{Name: "lint"},
			}},
			{Name: "Prod", Actions: []pipeline.ActionExecution{{Name: "deploy-prod"}, {Name: "roll-out"}}},
		},
	}
}

// act changes an action of a copy of x.
func act(x pipeline.Execution, stage, action int, change func(a *pipeline.ActionExecution)) pipeline.Execution {
	stages := make([]pipeline.StageExecution, len(x.Stages))
	for i, st := range x.Stages {
		stages[i] = st
		stages[i].Actions = append([]pipeline.ActionExecution(nil), st.Actions...)
	}
	change(&stages[stage].Actions[action])
	x.Stages = stages
	return x
}

func running(x pipeline.Execution) pipeline.Execution {
	return act(x, 1, 0, func(a *pipeline.ActionExecution) {
		a.Worker, a.StartedAt = "w1", start.Add(2*time.Second)
	})
}

func ended(x pipeline.Execution, status pipeline.Status, reason string) pipeline.Execution {
	x.Status, x.Reason, x.EndedAt = status, reason, start.Add(271*time.Second)
	x.Stages = slices.Clone(x.Stages)
	for i := range x.Stages {
		if x.Stages[i].Status == pipeline.InProgress {
			x.Stages[i].Status = status
		}
	}
	return x
}

func failed(x pipeline.Execution, outcome pipeline.BuildStatus, code, message string) pipeline.Execution {
	x = act(running(x), 1, 0, func(a *pipeline.ActionExecution) {
		a.Status, a.Outcome, a.EndedAt = pipeline.Failed, outcome, start.Add(62*time.Second)
		a.Error = &pipeline.ActionError{Code: code, Message: message}
	})
	return ended(x, pipeline.Failed, message)
}

func failedBuild() pipeline.Build {
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	return pipeline.Build{
		ID: "b1", Execution: "x1", Status: pipeline.BuildFailed, StartedAt: at(2), EndedAt: at(62),
		Phases: []pipeline.Phase{
			{Type: "PROVISIONING", Status: pipeline.BuildSucceeded, StartTime: at(2), EndTime: at(2.4)},
			{Type: "DOWNLOAD_SOURCE", Status: pipeline.BuildSucceeded, StartTime: at(2.4), EndTime: at(3.5)},
			{Type: "BUILD", Status: pipeline.BuildFailed, StartTime: at(3.5), EndTime: at(61)},
			{Type: "COMPLETED", StartTime: at(62)},
		},
		Failure: &pipeline.Failure{
			Phase: "BUILD", Code: "COMMAND_EXECUTION_ERROR", Message: "Error while executing command: go test ./... Reason: exit status 1",
			Command: "go test ./...", Exit: 1, LogLine: 42,
			Tail: []string{"--- FAIL: TestSum", "\x1b[31mwant 3, got 4\x1b[0m", "````", "@octocat broke #12", "FAIL"},
		},
	}
}
