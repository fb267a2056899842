package handlerstest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Gated is the ID of the pipeline that AddGated adds, and GatedExecution that of
// its only execution.
const (
	Gated          = "github.42.default.gated"
	GatedExecution = "9a7ed000-0000-5000-8000-000000000001"
)

// AddGated adds the pipeline "gated" of the samples' repository, whose execution
// may not enter Production: its branch isn't "release".
func (s *State) AddGated(now time.Time) {
	p := releasePipeline()
	p.Name, p.Variables = "gated", []pipeline.VariableSpec{{Name: "LEVEL", Default: "info", Description: "what is logged"}}
	p.Stages = p.Stages[:3]
	p.Stages[2].Name = "Production"
	p.Stages[2].BeforeEntry = &pipeline.Condition{Result: pipeline.FailResult, Rules: []pipeline.Action{{
		Name: "before:if", Category: pipeline.Rule, Provider: pipeline.VariableProvider, RunOrder: 1,
		Configuration: map[string]string{pipeline.ConfigVariable: "main", pipeline.ConfigOperator: "EQ", pipeline.ConfigValue: "release"},
	}}}
	w := &releases{
		b: pipeline.NewBoard(Gated, sampleRepo(), "harbour-crane", "gated"), p: p,
		id:  func(int) string { return GatedExecution },
		all: map[string]pipeline.Execution{}, now: now.Add(-time.Hour),
	}
	w.start(1, "Paint the hook")
	w.pass("Build", "compile")
	w.pass("Build", "lint")
	s.ChangeBoard(w.b)
	s.AddExecution(w.all[GatedExecution])
	s.gated = w
}

// PassGate has "admin" override the condition that keeps the gated execution.
func (s *State) PassGate() {
	w := s.gated
	x := w.all[GatedExecution]
	w.send(pipeline.Event{
		Type: pipeline.OverrideWanted, Execution: GatedExecution, Stage: "Production", Hook: pipeline.BeforeEntryHook,
		By: "admin", Reason: "agreed with the harbour master", Revive: &x,
	})
	s.ChangeBoard(w.b)
	s.AddExecution(w.all[GatedExecution])
}

// Resolve finds a commit for every branch and tag but those that begin with "no".
func (s *State) Resolve(_ context.Context, _ forge.Repo, _ int64, name string) (sha, ref string, err error) {
	if strings.HasPrefix(name, "no") {
		return "", "", &pipeline.UserError{Code: "invalid", Msg: fmt.Sprintf("there is no branch, tag or commit %q", name)}
	}
	return fmt.Sprintf("%040x", len(name)), "refs/heads/" + name, nil
}
