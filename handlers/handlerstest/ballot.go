package handlerstest

import (
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// BallotExecution is the ID of the execution that AddBallot adds.
const BallotExecution = "ba110700-0000-5000-8000-000000000001"

// AddBallot adds an execution that author, a person of the forge, started, and
// that waits for two others to approve, with values for two fields.
func (s *State) AddBallot(author forge.User, now time.Time) {
	ask := pipeline.Action{
		Name: "ask", Category: pipeline.Approval, Provider: pipeline.ManualProvider, RunOrder: 1, Quorum: 2, ForbidAuthor: true,
		Configuration: map[string]string{pipeline.ConfigMessage: "Which half of the fleet?"},
		Fields: []pipeline.Field{
			{Name: "HALF", Type: pipeline.ChoiceField, Options: []string{"port", "starboard"}, Required: true, Description: "seen from astern"},
			{Name: "SLOWLY", Type: pipeline.BooleanField, Default: "true"},
		},
	}
	p := pipeline.Pipeline{Name: "ballot", Mode: pipeline.SupersededMode, Stages: []pipeline.Stage{
		{Name: "Source", Actions: []pipeline.Action{{Name: "app", Category: pipeline.Source, Provider: pipeline.GitProvider, RunOrder: 1}}},
		{Name: "Release", Actions: []pipeline.Action{ask}},
	}}
	w := &releases{
		b: pipeline.NewBoard("github.42.default.ballot", sampleRepo(), "harbour-crane", "ballot"), p: p,
		all: map[string]pipeline.Execution{}, now: now.Add(-time.Hour),
	}
	w.send(pipeline.Event{Type: pipeline.StartRequested, Start: &pipeline.Start{
		ID: BallotExecution, Pipeline: p, Project: w.b.Project, Repo: w.b.Repo,
		Trigger: pipeline.Trigger{Type: "Webhook", Event: "PUSH", Actor: author, SHA: "5ca1ab1e", Ref: "refs/heads/main", Message: "New anchors", Trusted: true},
	}})
	s.ballot = w
	s.tallied = len(s.Events())
	s.Tally()
}

// Tally does what the orchestrator does with the events that came since the
// ballot was added, or since the last call.
func (s *State) Tally() pipeline.Execution {
	for _, e := range s.Events()[s.tallied:] {
		s.tallied++
		s.ballot.send(e)
	}
	x := s.ballot.all[BallotExecution]
	s.ChangeBoard(s.ballot.b)
	s.AddExecution(x)
	return x
}
