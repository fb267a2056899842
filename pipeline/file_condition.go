package pipeline

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// checkKinds are the types of rules: the key that names one in a file.
var checkKinds = map[string]kind{
	"if":         {Rule, VariableProvider, [2]int{}, [2]int{}, nil, time.Second, approvalLimit},
	"window":     {Rule, WindowProvider, [2]int{}, [2]int{}, []string{"tz", "wait"}, time.Second, approvalLimit},
	"alarm":      {Rule, AlarmProvider, [2]int{}, [2]int{}, []string{"states", "wait"}, time.Second, requestLimit},
	"prometheus": {Rule, PrometheusProvider, [2]int{}, [2]int{}, []string{"threshold", "wait", "for"}, time.Second, requestLimit},
	"http":       {Rule, HTTPProvider, [2]int{}, [2]int{}, []string{"method", "body"}, time.Second, requestLimit},
	"build":      {Rule, CodeBuildProvider, [2]int{1, 5}, [2]int{}, []string{"in", "project", "buildspec", "image", "env"}, time.Minute, buildLimit},
	"run":        {Rule, CommandsProvider, [2]int{1, 10}, [2]int{}, []string{"in", "project", "commands", "image", "env"}, time.Minute, buildLimit},
}

// The run orders of rules: before all actions of their stage, and after.
const (
	beforeOrder = 0
	afterOrder  = 1000
)

// Codes of mistakes in conditions, and the most rules that one has.
const (
	spResult = "SP401"
	spSkip   = "SP402"
	spRetry  = "SP404"
	maxRules = 5
)

// condition reads {all: [checks], else: result}, or one check that stands for
// itself: {if: ..., else: result}.
func (r *reader) condition(stage int, h Hook, e specfile.Entry, allowed map[string]ConditionResult) {
	c := &Condition{Result: FailResult}
	own := map[string]func(specfile.Entry){"else": func(e specfile.Entry) { c.Result = r.result(e, allowed) }}
	checks := r.checks(stage, h, c, e, own)
	switch {
	case !checks:
	case c.Result == SkipResult:
		r.skippable(c, e)
	case c.Result == RollbackResult && r.p.Mode == ParallelMode:
		r.f.Errorf(orKey(e), spRollback, "%s: a pipeline with mode: parallel can't roll back", e.Path)
	}
}

// checks reads the checks of a condition and, by own, the keys beside them;
// false: there are none that could be read.
func (r *reader) checks(stage int, h Hook, c *Condition, e specfile.Entry, own map[string]func(specfile.Entry)) bool {
	r.setCondition(stage, h, c)
	var all *specfile.Entry
	var single []specfile.Entry
	entries := r.f.Map(e.Value, e.Path)
	for _, entry := range entries {
		switch read := own[entry.Key]; {
		case read != nil:
			read(entry)
		case entry.Key == "all":
			all = &entry
		default:
			single = append(single, entry)
		}
	}
	var list []*yaml.Node
	switch {
	case all != nil && len(single) > 0:
		r.f.Errorf(single[0].At, specfile.CodeUnknownKey, "%s: beside all this is not allowed; put it into the list", single[0].Path)
		return false
	case all != nil:
		list = r.f.List(all.Value, all.Path)
	case len(single) > 0:
		r.check1(stage, h, c, e.Value, single, e.Path)
		return len(c.Rules) > 0
	}
	if len(list) == 0 || len(list) > maxRules {
		r.f.Errorf(orKey(e), spResult, "%s: want 1 to %d checks under all, have %d", e.Path, maxRules, len(list))
		return false
	}
	for k, n := range list {
		where := indexed(all.Path, k)
		r.check1(stage, h, c, n, r.f.Map(n, where), where)
	}
	return len(c.Rules) > 0
}

func (r *reader) setCondition(stage int, h Hook, c *Condition) {
	st := &r.p.Stages[stage]
	switch h {
	case BeforeEntryHook:
		st.BeforeEntry = c
	case OnSuccessHook:
		st.OnSuccess = c
	case OnFailureHook:
		st.OnFailure.When = c
	}
}

// check1 reads one check as a rule.
func (r *reader) check1(stage int, h Hook, c *Condition, n *yaml.Node, entries []specfile.Entry, where string) {
	if n.Kind != yaml.MappingNode {
		return // said already
	}
	var found []specfile.Entry
	for _, e := range entries {
		if _, known := checkKinds[e.Key]; known {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		r.f.Errorf(n, spResult, "%s: want one of alarm, build, http, if, prometheus, run or window, which says what is checked", where)
		return
	}
	main := found[0]
	k := checkKinds[main.Key]
	x := &actionAt{stage: stage, index: len(c.Rules), hook: h, kind: k, where: where, at: n}
	a := Action{Category: Rule, Provider: k.provider, RunOrder: beforeOrder, Configuration: map[string]string{}}
	if h != BeforeEntryHook {
		a.RunOrder = afterOrder
	}
	name := main.Key
	if main.Key == "build" || main.Key == "run" {
		name = r.named(orKey(main), main.Path, anyName, main.Key)
	}
	a.Name = c.free(h.key() + ":" + name)
	read := r.actionKeys(x, &a)
	for key, reads := range r.ruleKeys(x, &a) {
		read[key] = reads
	}
	allowed := map[string]func(specfile.Entry){main.Key: func(e specfile.Entry) { r.ruleValue(x, &a, e) }, "timeout": read["timeout"]}
	for _, key := range k.keys {
		allowed[key] = read[key]
	}
	r.entries(entries, allowed, []string{"secret", "name", "region", "role"})
	r.required(&a, x, main.Key)
	c.Rules = append(c.Rules, a)
	r.rules = append(r.rules, x)
}

// free is a rule's name that no other rule of the condition has.
func (c *Condition) free(name string) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(c.Rules, func(a Action) bool { return a.Name == name })
	}
	out := name
	for n := 2; taken(out); n++ {
		out = name + "-" + itoa(n)
	}
	return out
}

// ruleValue reads the key that says what is checked.
func (r *reader) ruleValue(x *actionAt, a *Action, e specfile.Entry) {
	switch e.Key {
	case "if":
		r.comparison(x, a, e)
	case "window":
		r.config(x, a, ConfigCron, e)
		if _, err := parseWindow(a.Configuration[ConfigCron], ""); err != nil && a.Configuration[ConfigCron] != "" {
			r.f.Errorf(e.Value, spConfiguration, "%s: %s", e.Path, err)
		}
	case "alarm":
		r.config(x, a, ConfigAlarm, e)
	case "prometheus":
		r.config(x, a, ConfigQuery, e)
	case "http":
		r.url(x, a, e)
	}
}

func (r *reader) ruleKeys(x *actionAt, a *Action) map[string]func(specfile.Entry) {
	return map[string]func(specfile.Entry){
		"tz": func(e specfile.Entry) {
			r.config(x, a, ConfigZone, e)
			if _, err := parseZone(a.Configuration[ConfigZone]); err != nil {
				r.f.Errorf(orKey(e), spConfiguration, "%s: %s", e.Path, err)
			}
		},
		"states": func(e specfile.Entry) { a.Configuration[ConfigStates] = r.states(e) },
		"wait":   func(e specfile.Entry) { r.waits(a, e) },
		"for":    func(e specfile.Entry) { r.waits(a, e) },
		"threshold": func(e specfile.Entry) {
			text, _ := r.f.Text(e.Value, e.Path)
			operator, number, ok := threshold(text)
			if !ok {
				r.f.Errorf(orKey(e), spConfiguration, "%s: want a comparison with a number, such as \"< 0.01\", have %.60q", e.Path, text)
			}
			a.Configuration[ConfigOperator], a.Configuration[ConfigThreshold] = operator, orText(number, text)
		},
	}
}

// waits reads how long a rule waits; a window, whether it does.
func (r *reader) waits(a *Action, e specfile.Entry) {
	if a.Provider == WindowProvider {
		if r.f.Flag(e.Value, e.Path) {
			a.Configuration[ConfigWait] = "true"
		}
		return
	}
	a.Configuration[ConfigWaitTime] = r.timeout(e, time.Second, 7*day).String()
}

// The states of alarms, as AWS spells them.
const (
	AlarmOK           = "OK"
	AlarmAlarm        = "ALARM"
	AlarmInsufficient = "INSUFFICIENT_DATA"
)

func (r *reader) states(e specfile.Entry) string {
	var out []string
	for _, item := range r.f.Texts(e.Value, e.Path) {
		if !slices.Contains([]string{AlarmOK, AlarmAlarm, AlarmInsufficient}, item.Text) {
			r.atItem(item, spConfiguration, "%s: want %s, %s or %s, have %s", e.Path, AlarmOK, AlarmAlarm, AlarmInsufficient, quotedText(item.Text))
			continue
		}
		out = append(out, item.Text)
	}
	return strings.Join(out, ",")
}

// threshold reads "< 0.01".
func threshold(text string) (operator, number string, ok bool) {
	text = strings.TrimSpace(text)
	for _, operator := range []string{"<=", ">=", "==", "!=", "<", ">"} {
		if rest, found := strings.CutPrefix(text, operator); found {
			number = strings.TrimSpace(rest)
			_, err := strconv.ParseFloat(number, 64)
			return operator, number, err == nil
		}
	}
	return "", "", false
}

// comparison reads "LEFT OPERATOR RIGHT". Variables count as they are written;
// the operator is the first outside of them.
func (r *reader) comparison(x *actionAt, a *Action, e specfile.Entry) {
	text, _ := r.f.Text(e.Value, e.Path)
	left, operator, right, ok := splitComparison(text)
	if !ok {
		r.f.Errorf(orKey(e), spConfiguration, "%s: want VALUE == VALUE, or !=, contains, matches, with blanks around it, have %.120q", e.Path, text)
		return
	}
	if operator == opMatches && !strings.Contains(right, "#{") {
		if _, err := wholePattern(right); err != nil {
			r.f.Errorf(e.Value, spConfiguration, "%s: %s", e.Path, err)
		}
	}
	a.Configuration[ConfigVariable], a.Configuration[ConfigOperator], a.Configuration[ConfigValue] = left, operator, right
	r.text(x, left, e.Path, e.Value)
	r.text(x, right, e.Path, e.Value)
}

func splitComparison(text string) (left, operator, right string, ok bool) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "#{"):
			depth++
		case text[i] == '}' && depth > 0:
			depth--
		case text[i] == ' ' && depth == 0:
			for _, op := range []string{opEqual, opNot, opContains, opMatches} {
				if rest, found := strings.CutPrefix(text[i:], " "+operatorWords[op]+" "); found {
					left, right = strings.TrimSpace(text[:i]), strings.TrimSpace(rest)
					return unquoted(left), op, unquoted(right), left != "" && right != ""
				}
			}
		}
	}
	return "", "", "", false
}

// unquoted leaves out quotes, which may stand around a text, such as one that
// is empty.
func unquoted(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

func (r *reader) result(e specfile.Entry, allowed map[string]ConditionResult) ConditionResult {
	text, _ := r.f.Text(e.Value, e.Path)
	if result, ok := allowed[text]; ok {
		return result
	}
	var words []string
	for word := range allowed {
		words = append(words, word)
	}
	slices.Sort(words)
	r.f.Errorf(orKey(e), spResult, "%s: want %s, have %.60q", e.Path, strings.Join(words, " or "), text)
	return FailResult
}

// skippable: a stage is skipped only for what is known at once (CodePipeline
// reference, SP402).
func (r *reader) skippable(c *Condition, e specfile.Entry) {
	for _, a := range c.Rules {
		if a.Provider != VariableProvider && a.Provider != HTTPProvider {
			r.f.Errorf(orKey(e), spSkip, "%s: with else: skip the checks are if or http, not %s", e.Path, strings.ToLower(a.Provider))
			return
		}
	}
}
