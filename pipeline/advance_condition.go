package pipeline

import (
	"time"
)

// weight is what weighing a condition has come to.
type weight int

const (
	weighing weight = iota // its rules are at work
	met
	unmet
)

// weigh says whether the condition of a hook of stage i is met, and begins to
// find out where nobody knows yet. A stage without a condition is content, and
// so is a rollback, which has none (CodePipeline reference 3.7).
func (s *step) weigh(x *Execution, i int, h Hook) weight {
	def := x.Pipeline.Stages[i].Condition(h)
	if def == nil {
		return met
	}
	c := x.Stages[i].Condition(h)
	if c == nil {
		x.Stages[i].Conditions = append(x.Stages[i].Conditions, newCondition(h, *def))
		c = x.Stages[i].Condition(h)
	}
	if c.Status == ConditionPending {
		c.Status, c.StartedAt, c.EndedAt = ConditionInProgress, s.e.At, time.Time{}
		for _, rule := range c.Rules {
			if t, ok := x.task(i, rule.Name); ok && c.Status == ConditionInProgress {
				s.begin(x, t)
			}
		}
	}
	s.judge(x, i, c)
	switch {
	case c.Status == ConditionInProgress:
		return weighing
	case c.Status.Met():
		return met
	}
	return unmet
}

func newCondition(h Hook, def Condition) ConditionExecution {
	c := ConditionExecution{Hook: h, Result: def.Result}
	for _, rule := range def.Rules {
		c.Rules = append(c.Rules, ActionExecution{Name: rule.Name})
	}
	return c
}

// judge ends a condition as its rules have come out. One that fails is enough:
// the others are given up.
func (s *step) judge(x *Execution, i int, c *ConditionExecution) {
	if c.Status != ConditionInProgress {
		return
	}
	status := ConditionSucceeded
	for j := range c.Rules {
		switch a := &c.Rules[j]; {
		case a.Status == Failed || a.Status == Abandoned:
			c.Status, c.EndedAt = ruled(a), s.e.At
			c.Message = a.Name + ": " + a.Error.Message
			s.giveUpRules(x, i, c, "another rule of the condition did not succeed")
			return
		case a.Status != Succeeded:
			status = ConditionInProgress
		}
	}
	if status.Met() {
		c.Status, c.EndedAt = status, s.e.At
	}
}

// ruled is what one rule that did not succeed makes of its condition.
func ruled(a *ActionExecution) ConditionStatus {
	switch {
	case a.Status == Abandoned:
		return ConditionAbandoned
	case a.Error.Code == JobFailed:
		return ConditionFailed
	}
	return ConditionErrored
}

func (s *step) giveUpRules(x *Execution, i int, c *ConditionExecution, why string) {
	for j := range c.Rules {
		switch a := &c.Rules[j]; a.Status {
		case InProgress:
			s.cancel(x, x.Stages[i].Name, a, why)
			s.abandon(a, why)
		case Pending:
			a.Status, a.EndedAt, a.Error = Abandoned, s.e.At, &ActionError{Code: JobFailed, Message: why}
		default:
		}
	}
}

// forgetConditions has the conditions of a stage that is retried weighed again;
// but who was let in stays in.
func (sx *StageExecution) forgetConditions() {
	for k := range sx.Conditions {
		c := &sx.Conditions[k]
		if c.Hook == BeforeEntryHook && c.Status.Met() {
			continue
		}
		*c = ConditionExecution{Hook: c.Hook, Result: c.Result, Rules: c.Rules}
		for j := range c.Rules {
			c.Rules[j] = c.Rules[j].blank()
		}
	}
}

// beginRule decides a rule that needs no worker; false: it needs one.
func (s *step) beginRule(x *Execution, t task) bool {
	set := t.a.Resolved.Configuration
	switch t.def.Provider {
	case VariableProvider:
		ok, err := compare(set[ConfigVariable], set[ConfigOperator], set[ConfigValue])
		why := quotedText(set[ConfigVariable]) + " " + operatorWords[set[ConfigOperator]] + " " + quotedText(set[ConfigValue]) + " is not so"
		s.decide(t, ok, why, err)
	case WindowProvider:
		s.window(x, t)
	case AlarmProvider, PrometheusProvider:
		wait, err := time.ParseDuration(orText(set[ConfigWaitTime], "0"))
		if err == nil && wait > 0 {
			t.a.LookUntil = s.e.At.Add(wait)
		}
		return false
	default:
		return false
	}
	return true
}

func (s *step) decide(t task, ok bool, why string, err error) {
	switch {
	case err != nil:
		s.fail(t.a, ConfigurationError, err.Error(), BuildFailed)
	case !ok:
		s.fail(t.a, JobFailed, why, BuildFailed)
	default:
		t.a.Status, t.a.EndedAt, t.a.Outcome = Succeeded, s.e.At, BuildSucceeded
	}
}

// window succeeds at the times that it names. One that waits looks again when
// its time comes, if that is within its time limit.
func (s *step) window(x *Execution, t task) {
	set := t.a.Resolved.Configuration
	w, err := parseWindow(set[ConfigCron], set[ConfigZone])
	if err != nil || w.Matches(s.e.At) {
		s.decide(t, true, "", err)
		return
	}
	next, ok := w.Next(s.e.At)
	opens := "the window never opens again"
	if ok {
		opens = "the window opens at " + next.Format("2006-01-02 15:04 MST")
	}
	limit := t.a.QueuedAt.Add(s.rules.timeout(t.def))
	if set[ConfigWait] != "true" || !ok || next.After(limit) {
		s.decide(t, false, opens, nil)
		return
	}
	t.a.StartedAt = s.e.At
	s.timer(x, x.Stages[t.i].Name, t.a, timerWindow, next)
}

// How often an alarm or a query is looked at within its time: every minute, and
// where that would be more than looks times, so often.
const (
	lookEvery = time.Minute
	looks     = 30
)

// watches has a rule that succeeded looked at again, until its time is over: it
// succeeds if it does so each time (CodePipeline reference 3.8, WaitTime).
func (s *step) watches(x *Execution, t task) bool {
	a := t.a
	if !s.e.At.Before(a.LookUntil) {
		return false
	}
	wait, _ := time.ParseDuration(a.Resolved.Configuration[ConfigWaitTime]) // it was read when the rule began
	next := s.e.At.Add(max(lookEvery, wait/looks))
	if next.After(a.LookUntil) {
		next = a.LookUntil
	}
	*a = ActionExecution{
		Name: a.Name, Status: InProgress, Attempt: a.Attempt, Earlier: append(a.Earlier, a.Job),
		QueuedAt: a.QueuedAt, StartedAt: a.StartedAt, Resolved: a.Resolved, LookUntil: a.LookUntil,
	}
	s.timer(x, x.Stages[t.i].Name, a, timerLook, next)
	return true
}

// lookAgain looks at a rule whose time has come.
func (s *step) lookAgain(x *Execution, t task) {
	if s.e.Reason == timerWindow {
		s.window(x, t)
		return
	}
	t.a.Attempt++
	s.enqueue(x, t, time.Time{})
}

// override lets an execution go on although a condition of its stage isn't met
// (CodePipeline reference 3.8). One that has failed by it is revived.
func (s *step) override() {
	if Check(s.b, s.e) != nil {
		return
	}
	x := s.revived()
	i := x.stageIndex(s.e.Stage)
	sx := &x.Stages[i]
	c := sx.Condition(s.e.Hook)
	if c.Status == ConditionInProgress {
		s.giveUpRules(x, i, c, "the condition was overridden")
	} else {
		x.Attempt++
		sx.Status, sx.EndedAt = InProgress, time.Time{}
		if x.Pipeline.Mode != ParallelMode {
			s.stage(sx.Name).Holder = x.ID
		}
		s.shown(x, i)
	}
	c.Status, c.EndedAt = ConditionOverridden, s.e.At
	c.OverriddenBy, c.Comment = orText(s.e.By, "somebody"), s.e.Reason
	s.proceed(x, i)
}

// revived is the execution that the event speaks of, back on the Board if it had
// ended.
func (s *step) revived() *Execution {
	x := s.execution(s.e.Execution)
	if x == nil {
		x = s.touch(s.e.Revive.clone())
		x.Status, x.Reason, x.EndedAt, x.Stop, x.Override = InProgress, "", time.Time{}, StopCancel, nil
	}
	return x
}

func checkOverride(b *Board, e Event) error {
	x := spokenOf(b, e)
	if x == nil || x.Gate != "" {
		return refuse(ConditionNotOverridable, "there is nothing to override")
	}
	sx := x.Stage(e.Stage)
	if sx == nil {
		return refuse(StageNotFound, "the execution has no stage %q", e.Stage)
	}
	if e.Hook != BeforeEntryHook && e.Hook != OnSuccessHook {
		return refuse(ValidationException, "condition: want %s or %s, have %q", BeforeEntryHook, OnSuccessHook, e.Hook)
	}
	if err := checkCondition(x, sx, e.Hook); err != nil {
		return err
	}
	if e.Denied != "" {
		return refuse(PermissionError, "%s", e.Denied)
	}
	st := b.Stages[e.Stage]
	if x.Status.Ended() && x.Pipeline.Mode != ParallelMode && st != nil && (st.Holder != "" || st.Latest > x.Number) {
		return refuse(NotLatestPipelineExecution, "a newer execution has entered stage %s", e.Stage)
	}
	return checkText("message", e.Reason, 0, approvalSummaryLimit)
}

// checkCondition says why a condition can't be overridden, whoever asks.
func checkCondition(x *Execution, sx *StageExecution, h Hook) error {
	c := sx.Condition(h)
	switch {
	case c == nil:
		return refuse(ConditionNotOverridable, "stage %s has weighed no condition %s", sx.Name, h)
	case c.Result == SkipResult:
		return refuse(ConditionNotOverridable, "a condition with the result %s can't be overridden", SkipResult)
	case c.Status == ConditionInProgress && x.Status == InProgress:
		return nil
	case (c.Status == ConditionFailed || c.Status == ConditionErrored) && sx.Status == Failed && x.Status == Failed:
		return nil
	}
	return refuse(ConditionNotOverridable, "the condition %s of stage %s keeps nobody: it is %s", h, sx.Name, orText(string(c.Status), "not weighed"))
}
