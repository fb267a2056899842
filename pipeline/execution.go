package pipeline

import (
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// Execution is one run of one set of source revisions through a pipeline.
// Times are UTC.
type Execution struct {
	V      int    `json:"v"`
	ID     string `json:"id"`
	Number int    `json:"number"` // per pipeline, from 1, never reused
	// Attempt is 1, and one more for each retry of a stage.
	Attempt  int              `json:"attempt"`
	Board    string           `json:"board"` // the Board's key
	Pipeline Pipeline         `json:"pipeline"`
	Project  string           `json:"project"`
	Repo     forge.Repo       `json:"repo"`
	Trigger  Trigger          `json:"trigger"`
	Status   Status           `json:"status"`
	Reason   string           `json:"reason,omitempty"` // why it ended so, for people
	Stages   []StageExecution `json:"stages"`
	// Revision counts the commits of this execution; what reports it compares
	// it to what it sent last.
	Revision  int64     `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	StartedAt time.Time `json:"started_at,omitzero"` // first stage entered
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// Problem is a mistake in the definition: the execution fails in its Source
	// stage with it.
	Problem     *UserError         `json:"problem,omitempty"`
	Annotations []forge.Annotation `json:"annotations,omitempty"`
	// Gate, if set, marks a remark at the forge instead of an execution: nothing
	// ran, and Gate says why. It is in no list. Its status is Skipped where the
	// author asked for that, and Stopped where it needs somebody's approval; the
	// check is reported as skipped or action_required.
	Gate string `json:"gate,omitempty"`
	// Override, if set, makes the check of an execution that failed pass; the
	// execution stays failed.
	Override *Override `json:"override,omitempty"`
	// Variables are the pipeline's, with the values that hold for this execution.
	Variables map[string]string `json:"variables,omitempty"`
	// Target, if set, is the execution that this one, a rollback, goes back to:
	// all but the last of its stages are that one's (CodePipeline reference 3.7).
	Target string `json:"target,omitempty"`
	// Stop is how the execution is being stopped, while it is Stopping.
	Stop StopMode `json:"stop,omitempty"`
	// Replaced: its definition was replaced, and it ends as Cancelled once what
	// runs has ended.
	Replaced bool `json:"replaced,omitempty"`
}

// Override says who overrode the check of an execution, and why.
type Override struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Trigger says why an execution was started and on what revision.
type Trigger struct {
	Type         string             `json:"type"`  // Webhook, Rerun, ManualRollback, AutomatedRollback
	Event        string             `json:"event"` // PUSH, PULL_REQUEST_CREATED, ... (CodeBuild reference 8.2)
	Delivery     string             `json:"delivery,omitempty"`
	Attempt      int                `json:"attempt,omitempty"` // of the delivery: 0, then 1 more for each replay
	Actor        forge.User         `json:"actor"`
	UserAgent    string             `json:"user_agent,omitempty"`
	Installation int64              `json:"installation,omitempty"`
	SHA          string             `json:"sha"`
	Ref          string             `json:"ref"` // full: refs/heads/main; for a pull request its head's
	FetchRef     string             `json:"fetch_ref,omitempty"`
	Before       string             `json:"before,omitempty"`
	PushedAt     time.Time          `json:"pushed_at,omitzero"` // when the forge saw the push; zero: it doesn't say, or it's none
	Message      string             `json:"message,omitempty"`
	Pull         *forge.PullRequest `json:"pull,omitempty"`
	Rerun        string             `json:"rerun,omitempty"` // the execution that this one repeats
	Trusted      bool               `json:"trusted"`
	// DeployTo is the environment to which somebody who may asked for this pull
	// request to be deployed; empty: nobody did.
	DeployTo string `json:"deploy_to,omitempty"`
}

// Name is the trigger as CODEBUILD_WEBHOOK_TRIGGER spells it: branch/main,
// tag/v1, pr/7 (CodeBuild reference 3.4).
func (t Trigger) Name() string {
	switch {
	case t.Pull != nil:
		return "pr/" + itoa(t.Pull.Number)
	case hasPrefix(t.Ref, "refs/tags/"):
		return "tag/" + t.Ref[len("refs/tags/"):]
	case hasPrefix(t.Ref, "refs/heads/"):
		return "branch/" + t.Ref[len("refs/heads/"):]
	}
	return t.Ref
}

// StageExecution is an execution's way through one stage.
type StageExecution struct {
	Name      string            `json:"name"`
	Status    Status            `json:"status,omitempty"`
	StartedAt time.Time         `json:"started_at,omitzero"`
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	Actions   []ActionExecution `json:"actions"`
	// AutoRetries and ManualRetries count how often the stage was retried by
	// itself, at most once, and by people.
	AutoRetries   int `json:"auto_retries,omitempty"`
	ManualRetries int `json:"manual_retries,omitempty"`
	// Conditions are those that were weighed, in the order of the first time.
	Conditions []ConditionExecution `json:"conditions,omitempty"`
}

// ActionExecution is the latest attempt of one action; earlier ones are in
// Earlier.
type ActionExecution struct {
	Name    string   `json:"name"`
	Status  Status   `json:"status,omitempty"`
	Attempt int      `json:"attempt,omitempty"` // from 1; 0: not started
	Lost    int      `json:"lost,omitempty"`    // attempts that lost their worker, or that the service failed
	Unbegun int      `json:"unbegun,omitempty"` // attempts that were lost on the way to their worker
	Retried int      `json:"retried,omitempty"` // attempts that their buildspec had repeated
	Job     string   `json:"job,omitempty"`     // build ID or deployment ID of this attempt
	Kind    JobKind  `json:"kind,omitempty"`
	Class   string   `json:"class,omitempty"`
	Number  int      `json:"number,omitempty"` // build number; kept over lost attempts
	Earlier []string `json:"earlier,omitempty"`
	// Worker is set once a worker has claimed the job.
	Worker    string            `json:"worker,omitempty"`
	QueuedAt  time.Time         `json:"queued_at,omitzero"`
	StartedAt time.Time         `json:"started_at,omitzero"` // claimed
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	Error     *ActionError      `json:"error,omitempty"`
	Artifacts []Artifact        `json:"artifacts,omitempty"`
	Exported  map[string]string `json:"exported,omitempty"`
	// LookUntil is how long a rule that has succeeded is looked at again.
	LookUntil time.Time `json:"look_until,omitzero"`
	// Outcome is how the build or deployment itself ended.
	Outcome BuildStatus `json:"outcome,omitempty"`
	// Resolved are the action's settings with their variables filled in, as they
	// were when this attempt started; nil before.
	Resolved *Settings `json:"resolved,omitempty"`
	// Approval is what an approve action waits for.
	Approval *ApprovalState `json:"approval,omitempty"`
	// Batch is set on a batch once its tasks are known; TaskOf names the batch
	// that the action is a task of.
	Batch  *BatchState `json:"batch,omitempty"`
	TaskOf string      `json:"task_of,omitempty"`
}

// Settings are the parts of an action that may name variables.
type Settings struct {
	Configuration map[string]string `json:"configuration,omitempty"`
	Commands      []string          `json:"commands,omitempty"`
	Environment   map[string]string `json:"environment,omitempty"`
}

// ApprovalState is one question to people, and its answer.
type ApprovalState struct {
	// Token names this question, so that an answer can't be taken for that to
	// another one. It gives no rights.
	Token     string    `json:"token"`
	Message   string    `json:"message,omitempty"`
	Link      string    `json:"link,omitempty"`
	Approvers []string  `json:"approvers,omitempty"`
	Expires   time.Time `json:"expires"`
	// Quorum is how many have to approve, 0 means one; Votes are those who have.
	Quorum       int    `json:"quorum,omitempty"`
	Votes        []Vote `json:"votes,omitempty"`
	ForbidAuthor bool   `json:"forbid_author,omitempty"`
	// Fields are what else is asked for, and Values what was given for them.
	Fields []Field           `json:"fields,omitempty"`
	Values map[string]string `json:"values,omitempty"`
	// AnsweredBy is set once somebody has answered; Comment is what they wrote.
	AnsweredBy string    `json:"answered_by,omitempty"`
	AnsweredAt time.Time `json:"answered_at,omitzero"`
	Approved   bool      `json:"approved,omitempty"`
	Comment    string    `json:"comment,omitempty"`
}

// Vote is one person's yes to an approval that wants several.
type Vote struct {
	Voter string    `json:"voter"` // as Event.Voter
	By    string    `json:"by"`
	At    time.Time `json:"at"`
}

// Retryable is the stage that failed, or in which the execution was stopped;
// empty if there is none. Of a running execution it is one in which an action
// failed and others go on.
func (x *Execution) Retryable() string {
	for i := range x.Stages {
		st := &x.Stages[i]
		if st.Status == Failed || st.Status == Stopped || (st.Status == InProgress && st.failed() != nil) {
			return st.Name
		}
	}
	return ""
}

// Waiting is an approval that somebody is to answer.
type Waiting struct {
	Stage  string `json:"stage"`
	Action string `json:"action"`
	ApprovalState
}

// Waiting are the approvals that the execution waits for.
func (x *Execution) Waiting() []Waiting {
	var list []Waiting
	if x.Status != InProgress {
		return nil
	}
	for _, st := range x.Stages {
		for _, a := range st.Actions {
			if a.Status == InProgress && a.Approval != nil {
				list = append(list, Waiting{st.Name, a.Name, *a.Approval})
			}
		}
	}
	return list
}

// ActionError says why an action failed (CodePipeline reference 3.1, error
// codes; TimedOut and RunnerLost are ours).
type ActionError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The codes of failed actions.
const (
	JobFailed          = "JobFailed"
	ConfigurationError = "ConfigurationError"
	SystemUnavailable  = "SystemUnavailable"
	TimedOut           = "TimedOut"
	RunnerLost         = "RunnerLost"
	// Rejected: a person said no to an approval.
	Rejected = "Rejected"
	// OutputVariablesSizeExceeded: an action's outputs have more than 122,880 bytes.
	OutputVariablesSizeExceeded = "OutputVariablesSizeExceeded"
)

// Stage is the stage of that name, or nil.
func (x *Execution) Stage(name string) *StageExecution {
	for i := range x.Stages {
		if x.Stages[i].Name == name {
			return &x.Stages[i]
		}
	}
	return nil
}

// Action is the action, or the rule of a condition, of that name, or nil.
func (s *StageExecution) Action(name string) *ActionExecution {
	for i := range s.Actions {
		if s.Actions[i].Name == name {
			return &s.Actions[i]
		}
	}
	for i := range s.Conditions {
		for j := range s.Conditions[i].Rules {
			if a := &s.Conditions[i].Rules[j]; a.Name == name {
				return a
			}
		}
	}
	return nil
}

// Artifacts are all artifacts that the execution's actions have made so far.
func (x *Execution) Artifacts() []Artifact {
	var all []Artifact
	for i := range x.Stages {
		for j := range x.Stages[i].Actions {
			all = append(all, x.Stages[i].Actions[j].Artifacts...)
		}
	}
	return all
}

// Summary is an execution as lists show it.
type Summary struct {
	ID       string `json:"id"`
	Forge    string `json:"forge"`
	Repo     string `json:"repo"`
	Pipeline string `json:"pipeline"`
	// PipelineID is the Board's key.
	PipelineID string    `json:"pipeline_id,omitempty"`
	Number     int       `json:"number"`
	Status     Status    `json:"status"`
	Trigger    string    `json:"trigger"`
	SHA        string    `json:"sha"`
	Ref        string    `json:"ref"`
	Message    string    `json:"message,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	// Revision is the execution's: a list never goes back to a smaller one.
	Revision int64 `json:"revision,omitempty"`
}

// Summary is the execution as lists show it.
func (x *Execution) Summary() Summary {
	return Summary{
		ID: x.ID, Forge: x.Repo.Forge, Repo: x.Repo.FullName(), Pipeline: x.Pipeline.Name, PipelineID: x.Board,
		Number: x.Number, Status: x.Status, Trigger: x.Trigger.Name(), SHA: x.Trigger.SHA,
		Ref: x.Trigger.Ref, Message: x.Trigger.Message, Actor: x.Trigger.Actor.Login, Reason: x.Reason,
		CreatedAt: x.CreatedAt, StartedAt: x.StartedAt, EndedAt: x.EndedAt, Revision: x.Revision,
	}
}

// Query selects executions, newest first.
type Query struct {
	Forge, Repo, SHA string
	PipelineID       string // the Board's key; with it Repo is worth naming, for speed
	Status           Status
	Limit            int    // 1 to 200; 0 means 50
	After            string // the token of the page before; empty: the newest
}

// Page is one page of a list; Next is empty on the last one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}
