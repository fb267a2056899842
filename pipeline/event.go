package pipeline

import (
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// EventType says what happened to a Board.
type EventType string

// The things that happen.
const (
	StartRequested  EventType = "start"       // a trigger or a person wants an execution
	PullChanged     EventType = "pull"        // a pull request opened, moved or closed
	JobClaimed      EventType = "job.claimed" // a worker has begun the attempt
	JobEnded        EventType = "job.ended"   // the attempt's worker says how it ended
	JobLost         EventType = "job.lost"    // the attempt's worker is gone
	JobRefused      EventType = "job.refused" // the job could not be given out: its order can't be made
	StopRequested   EventType = "stop"        // a person wants the execution to end
	RetryRequested  EventType = "retry"       // a person wants a failed stage again, within the execution
	RerunRequested  EventType = "rerun"       // a person wants it again, as a new execution
	DeadlinePassed  EventType = "deadline"    // a timer that Advance asked for
	TransitionFlips EventType = "transition"  // a person disables or enables the way into a stage
	ApprovalGiven   EventType = "approval"    // a person approves or rejects
	RollbackWanted  EventType = "rollback"    // a person wants what succeeded in a stage before
	ManualStart     EventType = "manual"      // a person wants an execution
	ScheduleSet     EventType = "schedules"   // the definition says at which times it starts
	ScheduleDue     EventType = "due"         // such a time has come
	OverrideWanted  EventType = "override"    // a person wants a condition not to count
	CheckOverridden EventType = "forgiven"    // a person wants a failed execution's check to pass
)

// Event is something that happened to the Board with key Board. Its ID makes
// it happen once: the store refuses a second commit for the same ID. Exactly
// the parts that its type needs are set.
type Event struct {
	V     int       `json:"v"`
	ID    string    `json:"id"`
	Type  EventType `json:"type"`
	Board string    `json:"board"`
	At    time.Time `json:"at"`

	Start *Start `json:"start,omitempty"`
	// Timetable is ScheduleSet's: the schedules, and whose repository it is.
	Timetable *Timetable `json:"timetable,omitempty"`
	// Manual is ManualStart's; the orchestrator makes a start of it.
	Manual *ManualRequest `json:"manual,omitempty"`

	Pull       *forge.PullRequest `json:"pull,omitempty"`
	PullOpened bool               `json:"pull_opened,omitempty"`

	Execution string   `json:"execution,omitempty"`
	Stage     string   `json:"stage,omitempty"`
	Action    string   `json:"action,omitempty"`
	Attempt   int      `json:"attempt,omitempty"`
	Worker    string   `json:"worker,omitempty"`
	Outcome   *Outcome `json:"outcome,omitempty"`
	Unbegun   bool     `json:"unbegun,omitempty"` // JobLost: as Job.Unbegun

	// Revive is the execution that a person speaks of where it has ended and is
	// on the Board no longer; the orchestrator loads it.
	Revive *Execution `json:"-"`
	// Target names what a rollback goes back to. Found is that execution, and
	// Missing says that there is no such one; the orchestrator sets them.
	Target  string     `json:"target,omitempty"`
	Found   *Execution `json:"-"`
	Missing bool       `json:"-"`

	By     string `json:"by,omitempty"`     // who asked
	Reason string `json:"reason,omitempty"` // in words for people
	// Enable is TransitionFlips's and ApprovalGiven's: it opens, it approves.
	Enable bool      `json:"enable,omitempty"`
	Retry  RetryMode `json:"retry,omitempty"` // RetryRequested; empty means FailedActions
	Stop   StopMode  `json:"stop,omitempty"`  // StopRequested
	Hook   Hook      `json:"hook,omitempty"`  // OverrideWanted
	// Token is ApprovalGiven's: that of the approval that was shown to By.
	// Denied says why By may not approve; empty: By may.
	Token  string `json:"token,omitempty"`
	Denied string `json:"denied,omitempty"`

	// Fields is ApprovalGiven's: what By gives for the approval's fields.
	Fields map[string]string `json:"fields,omitempty"`

	// Voter tells one person from another, whichever way they answer an approval;
	// see VoterOf. Empty: nobody knows who By is.
	Voter string `json:"voter,omitempty"`

	// Contents is a digest of the request where its sender chose the ID: whoever
	// queues events refuses another one with the same ID and other contents.
	Contents string `json:"-"`
}

// OtherContents refuses an event whose ID stands for another request
// (CodePipeline reference, case 31).
func OtherContents() error {
	return &Refusal{Code: ValidationException, Msg: "this idempotency key was sent before with another request"}
}

// StopMode says what a stop makes of the actions that run (CodePipeline
// reference 3.10).
type StopMode string

// The ways to stop. A request for more overrules one for less.
const (
	// StopWait lets running actions end, and starts no others.
	StopWait StopMode = "wait"
	// StopCancel, ours and the default, tells running actions' workers to end
	// and waits until they have.
	StopCancel StopMode = ""
	// StopAbandon ends the execution at once; its workers are told, and what
	// they say counts no more.
	StopAbandon StopMode = "abandon"
)

func (m StopMode) strength() int {
	switch m {
	case StopWait:
		return 0
	case StopCancel:
		return 1
	case StopAbandon:
		return 2
	}
	return -1
}

// Start asks for one execution.
type Start struct {
	ID          string             `json:"id"` // the execution's
	Pipeline    Pipeline           `json:"pipeline"`
	Project     string             `json:"project"`
	Repo        forge.Repo         `json:"repo"`
	Trigger     Trigger            `json:"trigger"`
	Problem     *UserError         `json:"problem,omitempty"`
	Annotations []forge.Annotation `json:"annotations,omitempty"`
	// Variables are values for the pipeline's variables, over their defaults.
	Variables map[string]string `json:"variables,omitempty"`
	// Gate makes the execution a mere remark at the forge: nothing runs, and
	// Gate says why. Skip tells "skipped" from "needs approval".
	Gate string `json:"gate,omitempty"`
	Skip bool   `json:"skip,omitempty"`
}

// EffectType says what is to be done.
type EffectType string

// The things that Advance asks for.
const (
	AddJob     EffectType = "job.add"    // put Job into the queue
	CancelJob  EffectType = "job.cancel" // take it out, or stop its worker
	ReportExec EffectType = "report"     // the forge is to be told the execution's present state
	SetTimer   EffectType = "timer"      // send Timer back at its time
	IndexExec  EffectType = "index"      // lists are to show the execution's present state
)

// Effect is something to do because of a change. It is stored with the change
// in one step and done afterwards at least once, so every effect is safe to
// repeat: a job by its ID, a timer by its event's ID, a report by the
// execution's revision.
type Effect struct {
	V         int        `json:"v"`
	Type      EffectType `json:"type"`
	Execution string     `json:"execution,omitempty"`
	Job       *Job       `json:"job,omitempty"`
	Ref       *JobRef    `json:"ref,omitempty"` // CancelJob
	Reason    string     `json:"reason,omitempty"`
	Timer     *Event     `json:"timer,omitempty"` // At is when
	Summary   *Summary   `json:"summary,omitempty"`
	// Forge and Installation say whose report queue a report waits in.
	Forge        string `json:"forge,omitempty"`
	Installation int64  `json:"installation,omitempty"`
}

// Change is one step of a Board, as Advance decides it and the store writes
// it: all of it or none.
type Change struct {
	Board   *Board
	Version int64 // of the Board that the step was computed from; 0: none was stored
	EventID string
	// Touched are the executions that the step changed, those that it ended
	// among them.
	Touched []*Execution
	Ended   []string // IDs to take off the Board
	Effects []Effect
	// Wants is an ended execution that the step would go back to. It is to be
	// computed again with it, as Event.Found, or with Event.Missing.
	Wants string
}

// OutboxEntry is one effect that was committed and is yet to be carried out.
type OutboxEntry struct {
	ID     string
	Effect Effect
}
