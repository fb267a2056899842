package pipeline

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

func (r *reader) stages(n *yaml.Node) {
	list := r.f.List(n, "stages")
	if len(list) == 0 {
		r.f.Errorf(orNode(n, r.f.Root), spStages, "stages: want at least one")
		return
	}
	for i, n := range list {
		if i == maxStages-1 {
			r.f.Errorf(n, spStages, "stages: want at most %d with the source's", maxStages)
			return
		}
		r.stage(n, indexed("stages", i))
	}
}

var laterStageKeys = []string{"onSuccess", "beforeEntry", "concurrency", "max_parallel", "needs", "matrix", "soak", "retry", "condition", "conditions", "if", "transition"}

func (r *reader) stage(n *yaml.Node, where string) {
	s := Stage{}
	var actions *yaml.Node
	nameAt := n
	hooks := map[string]specfile.Entry{}
	later := func(e specfile.Entry) { hooks[e.Key] = e } // read with the stage in its place
	r.keys(n, where, map[string]func(specfile.Entry){
		"name":        func(e specfile.Entry) { nameAt = e.Value; s.Name = r.named(orKey(e), e.Path, anyName, "") },
		"actions":     func(e specfile.Entry) { actions = e.Value },
		"environment": func(e specfile.Entry) { s.Environment = r.named(orKey(e), e.Path, anyName, "") },
		"before":      later, "on_success": later, "on_failure": later,
	}, laterStageKeys)
	switch {
	case n.Kind != yaml.MappingNode: // said already
		return
	case nameAt == n:
		r.f.Errorf(n, spName, "%s: the stage has no name", where)
	}
	for _, other := range r.p.Stages {
		if s.Name != "" && other.Name == s.Name {
			r.f.Errorf(nameAt, spStageTwice, "%s: another stage is called %s too", where, s.Name)
			break
		}
	}
	index := len(r.p.Stages)
	r.p.Stages = append(r.p.Stages, s)
	r.hooks(index, hooks)
	list := r.f.List(actions, where+".actions")
	if len(list) == 0 {
		r.f.Errorf(orNode(actions, n), spNoActions, "%s: the stage has no actions", where)
	}
	for i, a := range list {
		r.item(index, i+1, a, indexed(where+".actions", i))
		if len(r.p.Stages[index].Actions) > maxActions {
			r.f.Errorf(a, spNoActions, "%s: want at most %d actions", where, maxActions)
			return
		}
	}
}

// item reads an item of a stage's list: an action, or several side by side.
func (r *reader) item(stage, order int, n *yaml.Node, where string) {
	var members, explicit *yaml.Node
	entries := r.f.Map(n, where)
	for _, e := range entries {
		switch e.Key {
		case "parallel":
			members = orKey(e)
		case "order":
			explicit = e.Value
		}
	}
	if explicit != nil {
		order = r.order(explicit, where+".order")
	}
	if members == nil {
		r.action(stage, order, n, entries, where)
		return
	}
	for _, e := range entries {
		if e.Key != "parallel" && e.Key != "order" {
			r.f.Errorf(e.At, specfile.CodeUnknownKey, "%s: beside parallel only order is allowed", e.Path)
		}
	}
	list := r.f.List(members, where+".parallel")
	if len(list) == 0 {
		r.f.Errorf(members, spNoActions, "%s.parallel: want actions, have none", where)
	}
	for i, a := range list {
		where := indexed(where+".parallel", i)
		entries := r.f.Map(a, where)
		for _, e := range entries {
			if e.Key == "order" || e.Key == "parallel" {
				r.f.Errorf(e.At, spRunOrder, "%s: not allowed within parallel", e.Path)
			}
		}
		r.action(stage, order, a, entries, where)
	}
}

// order reads a run order (CodePipeline reference, SP204).
func (r *reader) order(n *yaml.Node, where string) int {
	text, _ := r.f.Text(n, where)
	order := 0
	for _, c := range text {
		if c < '0' || c > '9' || order > 999 {
			order = 0
			break
		}
		order = order*10 + int(c-'0')
	}
	if order < 1 || order > 999 {
		r.f.Errorf(n, spRunOrder, "%s: want a number from 1 to 999, have %.60q", where, text)
		return 1
	}
	return order
}

// hooks reads what is weighed before and after the actions of a stage.
func (r *reader) hooks(stage int, found map[string]specfile.Entry) {
	if e, ok := found["before"]; ok {
		r.condition(stage, BeforeEntryHook, e, map[string]ConditionResult{"fail": FailResult, "skip": SkipResult})
	}
	if e, ok := found["on_success"]; ok {
		r.condition(stage, OnSuccessHook, e, map[string]ConditionResult{"fail": FailResult, "rollback": RollbackResult})
	}
	if e, ok := found["on_failure"]; ok {
		r.p.Stages[stage].OnFailure = r.onFailure(stage, e)
	}
}

// onFailure reads rollback, {retry: failed}, or {all: [checks], do: rollback}.
func (r *reader) onFailure(stage int, e specfile.Entry) OnFailure {
	if e.Value.Kind == yaml.MappingNode {
		var retry RetryMode
		var rollback, conditional bool
		own := map[string]func(specfile.Entry){
			"retry": func(e specfile.Entry) { retry = r.retryMode(e) },
			"do": func(e specfile.Entry) {
				conditional, rollback = true, r.onFailure(stage, e).Rollback
			},
		}
		for _, entry := range r.f.Map(e.Value, e.Path) {
			conditional = conditional || own[entry.Key] == nil
		}
		if !conditional {
			r.keys(e.Value, e.Path, own, nil)
			return OnFailure{Retry: retry}
		}
		c := &Condition{}
		r.checks(stage, OnFailureHook, c, e, own)
		switch {
		case retry != "":
			r.f.Errorf(e.Value, spRetry, "%s: retry can't be combined with checks", e.Path)
		case !rollback:
			r.f.Errorf(e.Value, spResult, "%s: with checks, want do: rollback", e.Path)
		}
		return OnFailure{Rollback: true, When: c}
	}
	switch text, _ := r.f.Text(e.Value, e.Path); strings.TrimSpace(text) {
	case "rollback":
		if r.p.Mode == ParallelMode {
			r.f.Errorf(e.Value, spRollback, "%s: a pipeline with mode: parallel can't roll back", e.Path)
		}
		return OnFailure{Rollback: true}
	default:
		r.f.Errorf(orKey(e), specfile.CodeValue, "%s: want rollback or {retry: failed}, have %.60q", e.Path, text)
	}
	return OnFailure{}
}

func (r *reader) retryMode(e specfile.Entry) RetryMode {
	switch text, _ := r.f.Text(e.Value, e.Path); text {
	case "failed":
		return FailedActions
	case "all":
		return AllActions
	default:
		r.f.Errorf(orKey(e), spRetry, "%s: want failed or all, have %.60q", e.Path, text)
	}
	return ""
}
