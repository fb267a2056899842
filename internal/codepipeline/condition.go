package codepipeline

import (
	"cmp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// condition reads what a stage asks at a hook, which is called key here.
func (m *importer) condition(key string, hook value, out *mapping) {
	if hook.missing() {
		return
	}
	for i, c := range hook.get("conditions").list() {
		if i > 0 {
			m.note(NeedsAction, c.path, "a hook has one condition")
			continue
		}
		one := newMap()
		if rules := m.rules(c); len(rules.Content) > 0 {
			result := strings.ToLower(cmp.Or(c.get("result").text(), "FAIL"))
			one.put("all", rules)
			one.text("else", result)
			out.put(key, one.n)
			m.note(Mapped, c.path, key+", else "+result)
		}
		c.left("result", "rules")
	}
	hook.left("conditions")
}

// rules are those of a condition that there are here.
func (m *importer) rules(c value) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, r := range c.get("rules").list() {
		if n := m.rule(r); n != nil {
			list.Content = append(list.Content, n)
		}
	}
	return list
}

// rule is one check; nil if there is none such here, which somebody has to
// know: without it the stage has a guard less.
func (m *importer) rule(r value) *yaml.Node {
	out, c := newMap(), r.get("configuration")
	name := word(r.get("name").text(), ".@-_")
	read := []string{"name", "ruleTypeId", "configuration", "inputArtifacts", "timeoutInMinutes"}
	switch provider := r.get("ruleTypeId").get("provider").text(); provider {
	case "VariableCheck":
		m.comparison(c, out)
	case "DeploymentWindow":
		out.text("window", c.get("Cron").text())
		if zone := c.get("TimeZone").text(); zone != "" {
			out.text("tz", zone)
		}
		c.left("Cron", "TimeZone")
	case "CloudWatchAlarm":
		m.alarm(c, out)
	case "CodeBuild":
		out.text("build", name)
		m.codeBuild(c, out)
	case "Commands":
		out.text("run", name)
		m.commands(r, out)
		read = append(read, "commands", "environmentVariables")
	default:
		m.note(NeedsAction, r.path, "a rule of type "+provider+" is not supported, and the stage goes on without it: write an http check for it")
		return nil
	}
	m.artifacts(r, c.get("PrimarySource").text(), "rule", out)
	if minutes := r.get("timeoutInMinutes").text(); minutes != "" {
		out.text("timeout", minutes+"m")
	}
	m.note(Mapped, r.path, out.n.Content[0].Value+": "+name)
	r.left(read...)
	return out.n
}

var operators = map[string]string{"EQ": "==", "NE": "!=", "CONTAINS": "contains", "MATCHES": "matches"}

func (m *importer) comparison(c value, out *mapping) {
	operator := c.get("Operator").text()
	out.text("if", m.references(c.get("Variable").text())+" "+cmp.Or(operators[operator], operator)+" "+m.references(c.get("Value").text()))
	if operator == "MATCHES" {
		m.note(Approximated, c.path, "patterns are Go's, without look-around and references back")
	}
	c.left("Variable", "Operator", "Value")
}

func (m *importer) alarm(c value, out *mapping) {
	name := c.get("AlarmName").text()
	out.text("alarm", name)
	var states []string
	for s := range strings.SplitSeq(c.get("AlarmStates").text(), ",") {
		if s = strings.TrimSpace(s); s != "" {
			states = append(states, s)
		}
	}
	out.names("states", states)
	if minutes := c.get("WaitTime").text(); minutes != "" && minutes != "0" {
		out.text("wait", minutes+"m")
	}
	m.note(NeedsAction, c.path, "alarm "+name+" is to be an alerting rule of the server's Prometheus")
	c.left("AlarmName", "AlarmStates", "WaitTime")
}

func (m *importer) onFailure(f value, out *mapping) {
	if f.missing() {
		return
	}
	conditions := f.get("conditions").list()
	retry := f.get("retryConfiguration").get("retryMode")
	switch result := f.get("result").text(); {
	case len(conditions) > 0:
		one := newMap()
		if rules := m.rules(conditions[0]); len(rules.Content) > 0 {
			one.put("all", rules)
			one.text("do", strings.ToLower(cmp.Or(conditions[0].get("result").text(), result)))
			out.put("on_failure", one.n)
			m.note(Mapped, f.path, "on_failure, if all of its checks succeed")
		}
		conditions[0].left("result", "rules")
	case result == "ROLLBACK":
		out.text("on_failure", "rollback")
		m.note(Mapped, f.path, "on_failure: rollback")
	case result == "RETRY", !retry.missing():
		mode := "failed"
		if retry.text() == "ALL_ACTIONS" {
			mode = "all"
		}
		one := newMap()
		one.text("retry", mode)
		one.n.Style = yaml.FlowStyle
		out.put("on_failure", one.n)
		m.note(Mapped, f.path, "on_failure: {retry: "+mode+"}")
	}
	f.left("result", "retryConfiguration", "conditions")
}
