package pipeline

import (
	"maps"
	"slices"
	"time"
)

// Rules are the limits that Advance keeps to. The zero value means the
// defaults.
type Rules struct {
	// InfrastructureRetries is how many attempts of an action may be lost (its
	// worker vanished, or the service failed) before the action fails; 0 means
	// 2, a negative number none.
	InfrastructureRetries int
	// QueuedTimeout ends an attempt that no worker claims; 0 means 8 hours
	// (CodeBuild reference 1.6).
	QueuedTimeout time.Duration
	// StopGrace is how long a stopped attempt's worker may take to say so; 0
	// means a minute.
	StopGrace time.Duration
	// BuildTimeout is that of a build or run action that names none; 0 means an
	// hour.
	BuildTimeout time.Duration
	// TransitionLimit is how long executions may wait in front of a disabled
	// transition; 0 means 30 days, a negative time for ever (CodePipeline
	// reference 3.5).
	TransitionLimit time.Duration
	// ExternalURL is where people reach the server, for #{slipway.ExecutionUrl}.
	ExternalURL string
}

func (r Rules) retries() int {
	switch {
	case r.InfrastructureRetries == 0:
		return 2
	case r.InfrastructureRetries < 0:
		return 0
	}
	return r.InfrastructureRetries
}

func (r Rules) queuedTimeout(a Action) time.Duration {
	return orDefault(a.QueuedTimeout, orDefault(r.QueuedTimeout, 8*time.Hour))
}
func (r Rules) stopGrace() time.Duration { return orDefault(r.StopGrace, time.Minute) }

func (r Rules) transitionLimit() time.Duration {
	return orDefault(r.TransitionLimit, 30*24*time.Hour)
}

// The time limits of actions that name none (CodePipeline reference 3.14; a
// request's is ours).
const (
	approvalTimeout = 7 * 24 * time.Hour
	deployTimeout   = 5 * 24 * time.Hour
	requestTimeout  = 5 * time.Minute
	fetchTimeout    = time.Hour
)

// timeout is an action's time limit.
func (r Rules) timeout(a Action) time.Duration {
	if a.Batch != nil {
		return orDefault(a.Batch.Timeout, batchTimeout)
	}
	if a.Timeout > 0 {
		return a.Timeout
	}
	switch a.kind() {
	case BuildJob:
		return orDefault(r.BuildTimeout, time.Hour)
	case DeployJob:
		return deployTimeout
	case HTTPJob:
		return requestTimeout
	case SourceJob:
		return fetchTimeout
	}
	return approvalTimeout
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// overrun is what a worker gets beyond an action's own time limit before the
// engine takes the action from it: the worker keeps the limit itself, this
// catches one that doesn't.
const overrun = 5 * time.Minute

// Advance is the engine's one decision: what becomes of the Board because of
// the event, and what is to be done. It is pure: it reads no clock (the event
// says when it happened) and leaves b as it was. An event that no longer
// applies, such as the result of an attempt that was given up, changes
// nothing. The order of steps is CodePipeline reference 3.3.
func Advance(b *Board, e Event, rules Rules) Change {
	s := newStep(b, e, rules)
	switch e.Type {
	case StartRequested:
		s.start()
	case PullChanged:
		s.pullChanged()
	case JobClaimed:
		s.claimed()
	case JobEnded:
		s.ended()
	case JobLost:
		s.lost()
	case JobRefused:
		s.refused()
	case StopRequested:
		s.stop()
	case DeadlinePassed:
		s.deadline()
	case TransitionFlips:
		s.transition()
	case RetryRequested:
		s.retry()
	case ApprovalGiven:
		s.answer()
	case RollbackWanted:
		s.rollback()
	case OverrideWanted:
		s.override()
	case CheckOverridden:
		s.overrideCheck()
	case ScheduleSet:
		s.schedule()
	case RerunRequested, ManualStart, ScheduleDue: // the orchestrator makes a start of it
	}
	return s.change()
}

// step is one call of Advance: a copy of the Board on which executions and
// stages are copied when they are first changed.
type step struct {
	old     *Board
	b       *Board
	e       Event
	rules   Rules
	effects []Effect
	touched map[string]*Execution
	order   []string // of first touch
	wants   string   // an ended execution that is to go on with
}

func newStep(old *Board, e Event, rules Rules) *step {
	b := *old
	b.Stages = maps.Clone(old.Stages)
	b.Pulls = maps.Clone(old.Pulls)
	if b.Pushed = maps.Clone(old.Pushed); b.Pushed == nil {
		b.Pushed = map[string]PushedRef{}
	}
	b.Live = maps.Clone(old.Live)
	if b.Stages == nil {
		b.Stages = map[string]*StageState{}
	}
	if b.Pulls == nil {
		b.Pulls = map[string]OpenPull{}
	}
	if b.Live == nil {
		b.Live = map[string]*Execution{}
	}
	return &step{old: old, b: &b, e: e, rules: rules, touched: map[string]*Execution{}}
}

// change closes the step: ended executions leave the Board, and every touched
// one is shown and reported in its new state.
func (s *step) change() Change {
	c := Change{Board: s.b, EventID: s.e.ID, Effects: s.effects, Wants: s.wants}
	for _, id := range s.order {
		x := s.touched[id]
		x.Revision++
		c.Touched = append(c.Touched, x)
		if x.Status.Ended() {
			c.Ended = append(c.Ended, id)
			delete(s.b.Live, id)
		}
		if x.Gate == "" {
			sum := x.Summary()
			c.Effects = append(c.Effects, Effect{V: 1, Type: IndexExec, Execution: id, Summary: &sum})
		}
		c.Effects = append(c.Effects, Effect{
			V: 1, Type: ReportExec, Execution: id, Forge: x.Repo.Forge, Installation: x.Trigger.Installation,
		})
	}
	return c
}

// execution is a live execution, ready to be changed; nil if it has ended.
func (s *step) execution(id string) *Execution {
	if x, ok := s.touched[id]; ok {
		return x
	}
	x, ok := s.b.Live[id]
	if !ok {
		return nil
	}
	return s.touch(x.clone())
}

func (s *step) touch(x *Execution) *Execution {
	s.touched[x.ID] = x
	s.order = append(s.order, x.ID)
	s.b.Live[x.ID] = x
	return x
}

// stage is the state of a stage, ready to be changed.
func (s *step) stage(name string) *StageState {
	st, ok := s.b.Stages[name]
	switch {
	case !ok:
		st = &StageState{}
	case st == s.old.Stages[name]:
		c := *st
		c.Inbound = slices.Clone(st.Inbound)
		st = &c
	}
	s.b.Stages[name] = st
	return st
}

func (s *step) do(e Effect) {
	e.V = 1
	s.effects = append(s.effects, e)
}

// timer asks for an event to be sent back later. Its ID makes it come once.
func (s *step) timer(x *Execution, stage string, a *ActionExecution, what string, at time.Time) {
	id := a.Job
	switch {
	case a.Approval != nil:
		id = a.Approval.Token
	case id == "": // a rule that waits for a time
		id = BuildID(x.ID, stage, a.Name, a.Attempt) + ":" + itoa(int(at.Unix()))
	}
	s.do(Effect{Type: SetTimer, Timer: &Event{
		V: 1, ID: "timer:" + what + ":" + id, Type: DeadlinePassed, Board: s.b.Key, At: at,
		Execution: x.ID, Stage: stage, Action: a.Name, Attempt: a.Attempt, Reason: what,
	}})
}

// The reasons of timers.
const (
	timerQueued  = "queued"
	timerRunning = "running"
	timerStop    = "stop"
	timerAnswer  = "answer"
	timerOpening = "opening"
	timerWindow  = "window" // a deployment window opens
	timerLook    = "look"   // an alarm or a query is to be looked at again
	timerBatch   = "batch"
)

func (x *Execution) clone() *Execution {
	c := *x
	c.Annotations = slices.Clone(x.Annotations)
	c.Stages = slices.Clone(x.Stages)
	for i := range c.Stages {
		c.Stages[i].Actions = cloneAttempts(c.Stages[i].Actions)
		c.Stages[i].Conditions = slices.Clone(c.Stages[i].Conditions)
		for j := range c.Stages[i].Conditions {
			c.Stages[i].Conditions[j].Rules = cloneAttempts(c.Stages[i].Conditions[j].Rules)
		}
	}
	return &c
}

func cloneAttempts(list []ActionExecution) []ActionExecution {
	list = slices.Clone(list)
	for j := range list {
		a := &list[j]
		a.Earlier = slices.Clone(a.Earlier)
		a.Artifacts = slices.Clone(a.Artifacts)
		a.Exported = maps.Clone(a.Exported)
		if a.Approval != nil {
			approval := *a.Approval
			a.Approval = &approval
		}
		if a.Batch != nil {
			batch := *a.Batch
			a.Batch = &batch
		}
	}
	return list
}
