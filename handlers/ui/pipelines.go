package ui

import "github.com/slipway-ci/slipway/pipeline"

// Pipelines is the list of pipelines.
type Pipelines struct {
	Frame
	Items        []PipelineRow
	Newer, Older string
}

// PipelineRow is one pipeline and its newest execution.
type PipelineRow struct {
	pipeline.View
	Newest *pipeline.Execution // nil: there is none, or retention has taken it
}

// Pipeline is one pipeline: who is where in it, and what may be done about it.
type Pipeline struct {
	Frame
	pipeline.View
	Stages []PipelineStage
	// Recent are its newest executions, and Older the address of a list of more.
	Recent []pipeline.Execution
	Older  string
	// CanAct says that the reader may change it. Start is what its start form
	// proposes; nil: there is nothing to go by.
	CanAct bool
	Start  *StartForm
}

// PipelineStage is one stage of a pipeline's page.
type PipelineStage struct {
	pipeline.StageView
	// Index counts from 0.
	Index int
	// Shown are who is inside, or who was last.
	Shown []StageRun
	// Conditions are what has to hold for it, as its newest execution was weighed.
	Conditions []Condition
	// Asks are the approvals that wait in it.
	Asks []Ask
	// Targets are the executions that it can be rolled back to by the reader, the
	// one that it would choose first.
	Targets []pipeline.Execution
}

// StageRun is an execution's way through a stage.
type StageRun struct {
	pipeline.Execution
	Stage pipeline.StageExecution
}

// StartForm is what the start form of a pipeline proposes.
type StartForm struct {
	Action, Branch string
	SHA            string // of the newest execution
	Variables      []pipeline.VariableSpec
}

// Ask is an approval that waits.
type Ask struct {
	pipeline.Waiting
	Execution string // its ID
	Number    int
	// CanAnswer says that the reader may; Denied says why somebody who may change
	// other things of it may not.
	CanAnswer bool
	Denied    string
	// Back is the page that the answer leads to.
	Back string
}

// Pipelines renders the list of pipelines.
func (p *Pages) Pipelines(v Pipelines) ([]byte, error) { return p.render("pipelines", v) }

// Pipeline renders one pipeline.
func (p *Pages) Pipeline(v Pipeline) ([]byte, error) { return p.render("pipeline", v) }

// title is what an execution is called: the first line of its commit's
// message, or its trigger.
func title(x pipeline.Execution) string {
	if line := firstLine(x.Trigger.Message); line != "" {
		return line
	}
	return x.Trigger.Name()
}

// meeting says what a mode means for executions that meet at a stage.
func meeting(m pipeline.Mode) string {
	switch m {
	case pipeline.SupersededMode:
		return "one inside, the newest waits"
	case pipeline.QueuedMode:
		return "one inside, all wait in order"
	case pipeline.ParallelMode:
		return "all run side by side"
	}
	return string(m)
}
