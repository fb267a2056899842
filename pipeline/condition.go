package pipeline

import (
	"slices"
	"time"
)

// Condition is what a stage asks at one of its hooks: all of its rules have to
// succeed. Result is what happens when they don't (CodePipeline reference 3.8).
type Condition struct {
	Result ConditionResult `json:"result,omitempty"` // empty for OnFailure.When
	// Rules are like actions of category Rule. Their names begin with their
	// hook's, so that they are no action's.
	Rules []Action `json:"rules"`
}

// ConditionResult is what becomes of a stage whose condition isn't met.
type ConditionResult string

// The results of conditions.
const (
	FailResult     ConditionResult = "FAIL"
	SkipResult     ConditionResult = "SKIP"     // beforeEntry's: the next stage is entered
	RollbackResult ConditionResult = "ROLLBACK" // onSuccess's: it fails and goes back
)

// Hook is when a condition is weighed.
type Hook string

// The hooks of stages.
const (
	BeforeEntryHook Hook = "BEFORE_ENTRY"
	OnSuccessHook   Hook = "ON_SUCCESS"
	OnFailureHook   Hook = "ON_FAILURE"
)

// key is what a pipeline file calls the hook.
func (h Hook) key() string {
	switch h {
	case BeforeEntryHook:
		return "before"
	case OnSuccessHook:
		return "on_success"
	case OnFailureHook:
		return "on_failure"
	}
	return string(h)
}

// Condition is the stage's condition for a hook; nil if it has none.
func (st Stage) Condition(h Hook) *Condition {
	switch h {
	case BeforeEntryHook:
		return st.BeforeEntry
	case OnSuccessHook:
		return st.OnSuccess
	case OnFailureHook:
		return st.OnFailure.When
	}
	return nil
}

// Tasks are all that is done in the stage: the rules of the condition before,
// the actions, the rules of those after.
func (st Stage) Tasks() []Action {
	var all []Action
	if c := st.BeforeEntry; c != nil {
		all = append(all, c.Rules...)
	}
	all = append(all, st.Actions...)
	for _, c := range []*Condition{st.OnSuccess, st.OnFailure.When} {
		if c != nil {
			all = append(all, c.Rules...)
		}
	}
	return all
}

// ConditionStatus is the state of a condition, spelled as CodePipeline spells it
// (CodePipeline reference 3.1).
type ConditionStatus string

// The states of conditions.
const (
	ConditionPending    ConditionStatus = "" // to be weighed again
	ConditionInProgress ConditionStatus = "InProgress"
	ConditionSucceeded  ConditionStatus = "Succeeded"
	ConditionFailed     ConditionStatus = "Failed"
	ConditionErrored    ConditionStatus = "Errored" // a rule could not be evaluated
	ConditionAbandoned  ConditionStatus = "Abandoned"
	ConditionOverridden ConditionStatus = "Overridden"
)

// Met reports whether the stage goes on as if there were no condition.
func (s ConditionStatus) Met() bool { return s == ConditionSucceeded || s == ConditionOverridden }

// ConditionExecution is how a condition was weighed last.
type ConditionExecution struct {
	Hook      Hook              `json:"hook"`
	Result    ConditionResult   `json:"result,omitempty"`
	Status    ConditionStatus   `json:"status,omitempty"`
	StartedAt time.Time         `json:"started_at,omitzero"`
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	Message   string            `json:"message,omitempty"` // why it isn't met
	Rules     []ActionExecution `json:"rules"`
	// OverriddenBy is who said that it doesn't count, and Comment why.
	OverriddenBy string `json:"overridden_by,omitempty"`
	Comment      string `json:"comment,omitempty"`
}

// Condition is how the hook's condition was weighed, or nil.
func (s *StageExecution) Condition(h Hook) *ConditionExecution {
	i := slices.IndexFunc(s.Conditions, func(c ConditionExecution) bool { return c.Hook == h })
	if i < 0 {
		return nil
	}
	return &s.Conditions[i]
}

// Tasks are the attempts of all that is done in the stage: actions and the rules
// of conditions, in the order of Stage.Tasks.
func (s *StageExecution) Tasks() []ActionExecution {
	var all []ActionExecution
	add := func(h Hook) {
		if c := s.Condition(h); c != nil {
			all = append(all, c.Rules...)
		}
	}
	add(BeforeEntryHook)
	all = append(all, s.Actions...)
	add(OnSuccessHook)
	add(OnFailureHook)
	return all
}

// Task is the definition and the latest attempt of an action, or of a rule of a
// condition, by its name; false if there is none.
func (x *Execution) Task(stage, name string) (Action, ActionExecution, bool) {
	i := x.stageIndex(stage)
	if i < 0 || i >= len(x.Pipeline.Stages) {
		return Action{}, ActionExecution{}, false
	}
	t, ok := x.task(i, name)
	if !ok {
		return Action{}, ActionExecution{}, false
	}
	return t.def, *t.a, true
}

// Overridable is the stage and hook whose condition a person may override; ok
// is false if there is none.
func (x *Execution) Overridable() (stage string, h Hook, ok bool) {
	for i := range x.Stages {
		sx := &x.Stages[i]
		for _, h := range []Hook{BeforeEntryHook, OnSuccessHook} {
			if checkCondition(x, sx, h) == nil {
				return sx.Name, h, true
			}
		}
	}
	return "", "", false
}
