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
	// File is where the definition stands in the repository; empty if implied.
	File string `json:"file,omitempty"`
	// SupersedeApprovals lets a newer execution take the place of one that only
	// waits for an approval (CodePipeline reference 3.9).
	SupersedeApprovals bool `json:"supersede_approvals,omitempty"`
	// CancelOnUpdate ends executions once a newer one of the same branch has
	// another definition (CodePipeline reference 3.11, onUpdate: cancel).
	CancelOnUpdate bool `json:"cancel_on_update,omitempty"`
	// Branch is the source's, which a start without a ref takes; empty: the
	// repository's default branch.
	Branch string `json:"branch,omitempty"`
	// Check is what its check and commit status are called; it may hold variables
	// of a build. Empty: as the pipeline is.
	Check string `json:"check,omitempty"`
	// MaxExecutions is how many with mode queued or parallel may be under way; 0
	// means CodePipeline's 50.
	MaxExecutions int            `json:"max_executions,omitempty"`
	Variables     []VariableSpec `json:"variables,omitempty"`
}

// VariableSpec declares a pipeline variable, #{variables.NAME}.
type VariableSpec struct {
	Name        string `json:"name"`
	Default     string `json:"default,omitempty"`
	Required    bool   `json:"required,omitempty"` // there is no default
	Description string `json:"description,omitempty"`
}

// Stage is the unit of locking and retry.
type Stage struct {
	Name    string   `json:"name"`
	Actions []Action `json:"actions"`
	// Environment names what the stage deploys to, whose protections are the
	// server's.
	Environment string    `json:"environment,omitempty"`
	OnFailure   OnFailure `json:"on_failure,omitzero"`
	// BeforeEntry is weighed before the first action, and OnSuccess after the
	// last; nil: there is nothing to weigh.
	BeforeEntry *Condition `json:"before_entry,omitempty"`
	OnSuccess   *Condition `json:"on_success,omitempty"`
}

// OnFailure is what happens by itself when a stage fails, once for each stage
// execution (CodePipeline reference 3.6, 3.7).
type OnFailure struct {
	Retry    RetryMode `json:"retry,omitempty"` // empty: no retry
	Rollback bool      `json:"rollback,omitempty"`
	// When, if set, rolls back only if all of its rules succeed.
	When *Condition `json:"when,omitempty"`
}

// RetryMode says which actions of a failed stage run again.
type RetryMode string

// The ways to retry a stage.
const (
	FailedActions RetryMode = "FAILED_ACTIONS"
	AllActions    RetryMode = "ALL_ACTIONS"
)

// Category is the kind of work that an action does.
type Category string

// The categories that the engine knows.
const (
	Source   Category = "Source"
	BuildCat Category = "Build"
	Deploy   Category = "Deploy"
	Test     Category = "Test"
	Approval Category = "Approval"
	Invoke   Category = "Invoke"
	Rule     Category = "Rule" // of a condition, see Condition
)

// The providers of actions, by what a pipeline file calls them.
const (
	GitProvider        = "Git"        // a source: this repository
	RepositoryProvider = "Repository" // a source: another repository
	S3Provider         = "S3"         // a source: an object in a bucket
	CodeBuildProvider  = "CodeBuild"  // build: a buildspec in a container
	CommandsProvider   = "Commands"   // run: commands in a container
	ManualProvider     = "Manual"     // approve
	CodeDeployProvider = "CodeDeploy" // codedeploy: a deployment to a group
	HTTPProvider       = "HTTP"       // http: a request; succeeds with 2xx
)

// The providers of rules; CodeBuildProvider, CommandsProvider and HTTPProvider
// are some too (CodePipeline reference 3.8).
const (
	VariableProvider   = "VariableCheck"    // if: one text compared with another
	WindowProvider     = "DeploymentWindow" // window: the time of day
	AlarmProvider      = "CloudWatchAlarm"  // alarm: an alerting rule of the server's Prometheus
	PrometheusProvider = "Prometheus"       // prometheus: a query of it
)

// Action is one unit of work by a provider.
type Action struct {
	Name     string   `json:"name"`
	Category Category `json:"category"`
	Provider string   `json:"provider"`  // one of the ...Provider constants
	RunOrder int      `json:"run_order"` // actions of the same order run side by side
	// Configuration are the provider's settings under the Config... keys. Its
	// values, and those of Commands and Environment, may hold #{namespace.key}.
	Configuration map[string]string `json:"configuration,omitempty"`
	Commands      []string          `json:"commands,omitempty"`    // of run
	Environment   map[string]string `json:"environment,omitempty"` // variables for build and run
	Exports       []string          `json:"exports,omitempty"`     // variables that run's commands leave for later actions
	Approvers     []string          `json:"approvers,omitempty"`   // of approve: logins or org/team; empty: whoever may write
	// Quorum is how many people have to approve; 0 means one. ForbidAuthor keeps
	// those from it whose change it is.
	Quorum       int  `json:"quorum,omitempty"`
	ForbidAuthor bool `json:"forbid_author,omitempty"`
	// Fields are what else an approval asks for. AutoReject rejects it when a
	// newer execution arrives in front of its stage.
	Fields     []Field `json:"fields,omitempty"`
	AutoReject bool    `json:"auto_reject,omitempty"`
	// OnAbandon is what becomes of the work when the execution is abandoned;
	// empty: builds end, deployments go on.
	OnAbandon OnAbandon `json:"on_abandon,omitempty"`
	// Notify are the server's notification targets that are told when an approval
	// waits, whatever events they ask for: NAME, slack:CHANNEL or sns:ARN.
	Notify []string `json:"notify,omitempty"`
	// Namespace is what #{Namespace.key} refers to this action's outputs by.
	Namespace string        `json:"namespace,omitempty"`
	Inputs    []string      `json:"inputs,omitempty"` // artifact names; the first is the primary one
	Outputs   []string      `json:"outputs,omitempty"`
	Timeout   time.Duration `json:"timeout,omitempty"` // 0: the provider's default
	// Class and Concurrency are the queue's words for this action's jobs.
	Labels      string `json:"labels,omitempty"`
	Compute     string `json:"compute,omitempty"`
	Concurrency int    `json:"concurrency,omitempty"`
	// QueuedTimeout is how long a job may wait for a worker; 0 means that of the
	// rules.
	QueuedTimeout time.Duration `json:"queuedTimeout,omitempty"`
	// Batch makes a build several: those that its buildspec's batch block lists.
	Batch *BatchSettings `json:"batch,omitempty"`
	// Task is set on those builds, which only executions have.
	Task *Task `json:"task,omitempty"`
}

// OnAbandon is what becomes of an action's work when its execution is
// abandoned (CodePipeline reference 3.10).
type OnAbandon string

// What becomes of the work.
const (
	CancelWork OnAbandon = "cancel" // its worker is told to end it
	DetachWork OnAbandon = "detach" // it goes on, and nobody waits for it
)

// detached reports whether a worker goes on with the action when its execution
// is abandoned.
func (a Action) detached() bool {
	return a.OnAbandon == DetachWork || a.OnAbandon == "" && a.kind() == DeployJob
}

// The configuration keys of the providers in this package.
const (
	ConfigBuildspec = "Buildspec"
	ConfigImage     = "Image"
	ConfigGroup     = "DeploymentGroupName"
	// ConfigApplication is codedeploy's application.
	ConfigApplication = "ApplicationName"
	// ConfigProject is the server's project whose settings a build takes.
	ConfigProject = "ProjectName"
	// ConfigRepository, OWNER/NAME at this repository's forge, or ConfigCloneURL
	// is a source's repository, and ConfigBranch its branch; empty: its default.
	ConfigRepository = "FullRepositoryId"
	ConfigCloneURL   = "CloneUrl"
	ConfigBranch     = "BranchName"
	// ConfigBucket and ConfigObjectKey are a source's object.
	ConfigBucket    = "S3Bucket"
	ConfigObjectKey = "S3ObjectKey"
	// ConfigSource is where one of these is in the file; it is no setting.
	ConfigSource = "Source"
	// ConfigMessage and ConfigLink are what an approval shows.
	ConfigMessage = "CustomData"
	ConfigLink    = "ExternalEntityLink"
	// ConfigNotify is where Action.Notify is in the file; it is no setting.
	ConfigNotify = "NotificationArn"
	// ConfigURL, ConfigMethod and ConfigBody are http's request.
	ConfigURL    = "Url"
	ConfigMethod = "Method"
	ConfigBody   = "Body"
	// ConfigVariable, ConfigOperator and ConfigValue are if's comparison.
	ConfigVariable = "Variable"
	ConfigOperator = "Operator"
	ConfigValue    = "Value"
	// ConfigCron and ConfigZone are window's times; ConfigWait, "true", waits for
	// one.
	ConfigCron = "Cron"
	ConfigZone = "TimeZone"
	ConfigWait = "Wait"
	// ConfigAlarm and ConfigStates are alarm's; ConfigWaitTime, a duration, is
	// for how long it and prometheus are looked at again.
	ConfigAlarm    = "AlarmName"
	ConfigStates   = "AlarmStates"
	ConfigWaitTime = "WaitTime"
	// ConfigQuery, ConfigOperator and ConfigThreshold are prometheus's.
	ConfigQuery     = "Query"
	ConfigThreshold = "Threshold"
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
