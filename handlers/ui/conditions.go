package ui

import (
	"cmp"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

// Condition is a condition of a stage: what has to hold, and how it was weighed
// last. Its Status is empty where it wasn't.
type Condition struct {
	pipeline.ConditionExecution
	Stage string
	// Checks say in words what has to be so.
	Checks []string
	// Execution is the ID of who is kept by it, where a person may let it go on.
	// Denied says why the reader may not. Back is the page that this leads to.
	Execution, Denied, Back string
}

// When says when it is weighed.
func (c Condition) When() string {
	switch c.Hook {
	case pipeline.BeforeEntryHook:
		return "Before entry"
	case pipeline.OnSuccessHook:
		return "On success"
	}
	return "On failure"
}

// Else says what becomes of the stage if it isn't met.
func (c Condition) Else() string {
	switch c.Result {
	case pipeline.FailResult:
		return "else the stage fails"
	case pipeline.SkipResult:
		return "else the stage is skipped"
	case pipeline.RollbackResult:
		return "else the stage is rolled back"
	}
	return "then the stage is rolled back"
}

// ConditionsOf are the conditions that a stage is defined with, as x was
// weighed by them; x may be nil.
func ConditionsOf(def pipeline.Stage, x *pipeline.StageExecution) []Condition {
	var out []Condition
	for _, hook := range []pipeline.Hook{pipeline.BeforeEntryHook, pipeline.OnSuccessHook, pipeline.OnFailureHook} {
		d := def.Condition(hook)
		if d == nil {
			continue
		}
		c := Condition{Stage: def.Name, ConditionExecution: pipeline.ConditionExecution{Hook: hook, Result: d.Result}}
		if x != nil {
			if weighed := x.Condition(hook); weighed != nil {
				c.ConditionExecution = *weighed
			}
		}
		for _, rule := range d.Rules {
			c.Checks = append(c.Checks, check(rule))
		}
		out = append(out, c)
	}
	return out
}

var comparisons = map[string]string{"EQ": "==", "NE": "!=", "CONTAINS": "contains", "MATCHES": "matches"}

// check is a rule in words.
func check(rule pipeline.Action) string {
	has := rule.Configuration
	switch rule.Provider {
	case pipeline.VariableProvider:
		operator := has[pipeline.ConfigOperator]
		return strings.Join([]string{has[pipeline.ConfigVariable], cmp.Or(comparisons[operator], operator), has[pipeline.ConfigValue]}, " ")
	case pipeline.WindowProvider:
		return "the time is in " + has[pipeline.ConfigCron] + " " + cmp.Or(has[pipeline.ConfigZone], "UTC")
	case pipeline.AlarmProvider:
		return "the alarm " + has[pipeline.ConfigAlarm] + " is " + cmp.Or(has[pipeline.ConfigStates], "OK")
	case pipeline.PrometheusProvider:
		return strings.Join([]string{has[pipeline.ConfigQuery], has[pipeline.ConfigOperator], has[pipeline.ConfigThreshold]}, " ")
	case pipeline.HTTPProvider:
		return cmp.Or(has[pipeline.ConfigMethod], "POST") + " " + has[pipeline.ConfigURL] + " succeeds"
	}
	_, name, _ := strings.Cut(rule.Name, ":")
	return cmp.Or(name, rule.Name) + " succeeds"
}
