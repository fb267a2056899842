package handlerstest

import (
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Releases is the ID of the pipeline that AddReleases adds.
const Releases = "github.42.default.release"

// AddReleases adds the pipeline "release" of the samples' repository. Its
// executions 1 and 2 went through all stages, 3 asks for an approval in
// Production, and 4 waits in front of Staging, whose transition is disabled.
func (s *State) AddReleases(now time.Time) {
	w := &releases{
		b: pipeline.NewBoard(Releases, sampleRepo(), "harbour-crane", "release"),
		p: releasePipeline(), id: releaseID,
		all: map[string]pipeline.Execution{}, now: now.Add(-26 * time.Hour),
	}
	for n, message := range []string{"Grease the winch", "Hoist in parallel", "Show the wind speed", "Shorten the jib"} {
		if n == 3 {
			w.send(pipeline.Event{Type: pipeline.TransitionFlips, Stage: "Staging", Reason: "crane 3 is being inspected", By: "ann"})
		}
		w.start(n+1, message)
		w.pass("Build", "compile")
		w.pass("Build", "lint")
		if n == 3 {
			break
		}
		w.pass("Staging", "deploy")
		if n < 2 {
			w.approve()
			w.pass("Production", "deploy")
		}
	}
	s.ChangeBoard(w.b)
	for n := 1; n <= len(w.all); n++ {
		s.AddExecution(w.all[releaseID(n)])
	}
}

func releaseID(n int) string { return fmt.Sprintf("5e1ea5e0-0000-5000-8000-%012d", n) }

// releases drives pipeline.Advance as the orchestrator and the workers would.
type releases struct {
	b      *pipeline.Board
	p      pipeline.Pipeline
	id     func(number int) string
	all    map[string]pipeline.Execution
	now    time.Time
	events int
	newest string
}

func (w *releases) send(e pipeline.Event) {
	w.events++
	w.now = w.now.Add(7 * time.Second)
	e.V, e.ID, e.Board, e.At = 1, fmt.Sprint("release-event-", w.events), w.b.Key, w.now
	c := pipeline.Advance(w.b, e, pipeline.Rules{})
	w.b = c.Board
	for _, x := range c.Touched {
		w.all[x.ID] = *x
	}
}

func (w *releases) start(n int, message string) {
	w.now = w.now.Add(5 * time.Hour)
	w.newest = w.id(n)
	w.send(pipeline.Event{Type: pipeline.StartRequested, Start: &pipeline.Start{
		ID: w.newest, Pipeline: w.p, Project: w.b.Project, Repo: w.b.Repo,
		Trigger: pipeline.Trigger{
			Type: "Webhook", Event: "PUSH", Actor: forge.User{Login: "ann"}, SHA: fmt.Sprintf("%08x%032x", n*123456789, n), Ref: "refs/heads/main", Message: message, Trusted: true,
		},
	}})
}

// pass lets an action of the newest execution be claimed and succeed.
func (w *releases) pass(stage, action string) {
	e := pipeline.Event{Type: pipeline.JobClaimed, Execution: w.newest, Stage: stage, Action: action, Attempt: 1, Worker: "runner-1"}
	w.send(e)
	e.Type, e.Outcome = pipeline.JobEnded, &pipeline.Outcome{Status: pipeline.BuildSucceeded}
	w.now = w.now.Add(40 * time.Second)
	w.send(e)
}

func (w *releases) approve() {
	x := w.all[w.newest]
	for _, ask := range x.Waiting() {
		w.send(pipeline.Event{Type: pipeline.ApprovalGiven, Execution: x.ID, Stage: ask.Stage, Action: ask.Action, Token: ask.Token, Enable: true, By: "bea"})
	}
}

func releasePipeline() pipeline.Pipeline {
	build := func(name string) pipeline.Action {
		return pipeline.Action{Name: name, Category: pipeline.BuildCat, Provider: pipeline.CodeBuildProvider, RunOrder: 1, Timeout: time.Hour}
	}
	deploy := func(group string, order int) pipeline.Action {
		return pipeline.Action{
			Name: "deploy", Category: pipeline.Deploy, Provider: pipeline.CodeDeployProvider, RunOrder: order,
			Configuration: map[string]string{pipeline.ConfigGroup: group},
		}
	}
	return pipeline.Pipeline{Name: "release", Mode: pipeline.SupersededMode, File: ".slipway/release.yml", Stages: []pipeline.Stage{
		{Name: "Source", Actions: []pipeline.Action{pipeline.SourceAction()}},
		{Name: "Build", Actions: []pipeline.Action{build("compile"), build("lint")}},
		{Name: "Staging", Actions: []pipeline.Action{deploy("staging", 1)}},
		{Name: "Production", Environment: "production", Actions: []pipeline.Action{
			{
				Name: "ask", Category: pipeline.Approval, Provider: pipeline.ManualProvider, RunOrder: 1,
				Configuration: map[string]string{pipeline.ConfigMessage: "Look at the wind <b>first</b>."},
			},
			deploy("production", 2),
		}},
	}}
}
