// Package pipeline is the domain: pipelines, their stages and actions, the
// executions that run through them, and the pure state machine that decides
// what happens next. Behaviour follows the CodePipeline reference, section 3.
package pipeline

import "time"

// Mode says what happens when executions meet at a stage (CodePipeline
// reference 3.4).
type Mode string

// The execution modes.
const (
	// SupersededMode lets one execution into a stage and one wait in front of
	// it; a newer one takes the waiting one's place.
	SupersededMode Mode = "SUPERSEDED"
	// QueuedMode lets one execution into a stage; the others wait in order.
	QueuedMode Mode = "QUEUED"
	// ParallelMode has no locks: executions are independent.
	ParallelMode Mode = "PARALLEL"
)

// DefaultPipeline is the name of the pipeline that is implied where a
// repository defines none; its check is "slipway / default".
const DefaultPipeline = "default"

// Pipeline is one definition: an ordered list of stages. An execution carries
// the definition that it started with to its end.
type Pipeline struct {
	Name    string  `json:"name"`
	Mode    Mode    `json:"mode"`
	Stages  []Stage `json:"stages"`
	Implied bool    `json:"implied,omitempty"` // from the presence of buildspec and appspec
}

// Stage is the unit of locking and retry.
type Stage struct {
	Name    string   `json:"name"`
	Actions []Action `json:"actions"`
}

// Category is the kind of work that an action does.
type Category string

// The categories that the engine knows.
const (
	Source   Category = "Source"
	BuildCat Category = "Build"
	Deploy   Category = "Deploy"
	Approval Category = "Approval"
)

// Action is one unit of work by a provider.
type Action struct {
	Name     string   `json:"name"`
	Category Category `json:"category"`
	Provider string   `json:"provider"`  // Git, CodeBuild, CodeDeploy, Manual
	RunOrder int      `json:"run_order"` // actions of the same order run side by side
	// Configuration are the provider's settings, such as Buildspec, Image or
	// DeploymentGroupName.
	Configuration map[string]string `json:"configuration,omitempty"`
	Inputs        []string          `json:"inputs,omitempty"`
	Outputs       []string          `json:"outputs,omitempty"`
	Timeout       time.Duration     `json:"timeout,omitempty"` // 0: the provider's default
	// Class and Concurrency are the queue's words for this action's jobs.
	Labels      string `json:"labels,omitempty"`
	Compute     string `json:"compute,omitempty"`
	Concurrency int    `json:"concurrency,omitempty"`
}

// The configuration keys of the providers in this package.
const (
	ConfigBuildspec = "Buildspec"
	ConfigImage     = "Image"
	ConfigGroup     = "DeploymentGroupName"
)

// Config is one configuration value of an action; "" if it has none.
func (p Pipeline) Config(stage, action, key string) string {
	for _, s := range p.Stages {
		for _, a := range s.Actions {
			if s.Name == stage && a.Name == action {
				return a.Configuration[key]
			}
		}
	}
	return ""
}
