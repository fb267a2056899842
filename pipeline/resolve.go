package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Expand fills in the variables of a text: #{namespace.key}, and
// #{namespace.key:-default}, which stands for the default where the value is
// missing or empty; ##{ is a plain #{. It goes over the text once: what a value
// holds is never looked at (CodePipeline reference 3.12). Its error is a
// *UserError that names the reference.
func Expand(text string, lookup func(namespace, key string) (value string, ok bool)) (string, error) {
	var out strings.Builder
	for {
		at := strings.Index(text, "#{")
		if at < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		if at > 0 && text[at-1] == '#' {
			out.WriteString(text[:at-1] + "#{")
			text = text[at+2:]
			continue
		}
		out.WriteString(text[:at])
		length := strings.IndexByte(text[at:], '}')
		if length < 0 {
			return "", &UserError{Code: ConfigurationError, Msg: fmt.Sprintf("%.60q has no closing brace; a plain #{ is written ##{", text[at:])}
		}
		value, err := reference(text[at:at+length+1], lookup)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		text = text[at+length+1:]
	}
}

// reference is the value of one #{...}.
func reference(text string, lookup func(namespace, key string) (string, bool)) (string, error) {
	name, fallback, hasFallback := strings.Cut(text[2:len(text)-1], ":-")
	namespace, key, ok := strings.Cut(name, ".")
	if !ok || !isVariableWord(namespace) || !isVariableWord(key) {
		return "", &UserError{Code: ConfigurationError, Msg: fmt.Sprintf("%.200s is no reference to a variable: want #{namespace.key}; a plain #{ is written ##{", text)}
	}
	value, ok := lookup(namespace, key)
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !ok:
		return "", &UserError{Code: ConfigurationError, Msg: fmt.Sprintf("the variable %s.%s has no value", namespace, key)}
	}
	return value, nil
}

func isVariableWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '@' && r != '-' && r != '_'
	})
}

// settingsLimitBytes is the most that an action's settings may have once they
// are filled in (CodePipeline reference 2.2).
const settingsLimitBytes = 100 << 10

// settle fills in the variables of an action or rule. Its error is a *UserError.
func (x *Execution) settle(t task, r Rules) (*Settings, error) {
	def := t.def
	if def.Task != nil {
		return x.taskSettings(t.i, *def.Task), nil
	}
	bytes := 0
	fill := func(text string) (string, error) {
		value, err := Expand(text, func(namespace, key string) (string, bool) { return x.value(t.i, def.RunOrder, namespace, key, r) })
		if bytes += len(value); err == nil && bytes > settingsLimitBytes {
			err = &UserError{Code: ConfigurationError, Msg: fmt.Sprintf("the action's settings have more than %d bytes", settingsLimitBytes)}
		}
		return value, err
	}
	out := &Settings{}
	var err error
	if out.Configuration, err = fillMap(def.Configuration, fill); err != nil {
		return nil, err
	}
	if out.Environment, err = fillMap(def.Environment, fill); err != nil {
		return nil, err
	}
	for _, c := range def.Commands {
		if c, err = fill(c); err != nil {
			return nil, err
		}
		out.Commands = append(out.Commands, c)
	}
	return out, nil
}

func fillMap(in map[string]string, fill func(string) (string, error)) (map[string]string, error) {
	var out map[string]string
	for name, text := range in {
		value, err := fill(text)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = make(map[string]string, len(in))
		}
		out[name] = value
	}
	return out, nil
}

// value is a variable as an action of stage i and a run order sees it: its
// producer must be done by the definition, not by chance.
func (x *Execution) value(i, order int, namespace, key string, r Rules) (string, bool) {
	switch namespace {
	case "codepipeline":
		if key != "PipelineExecutionId" {
			return "", false
		}
		return x.ID, true
	case "slipway":
		return x.ownValue(key, r)
	case "variables":
		value, ok := x.Variables[key]
		return value, ok
	}
	for k := 0; k <= i; k++ {
		for j, def := range x.Pipeline.Stages[k].Actions {
			a := x.Stages[k].Actions[j]
			if def.Namespace == namespace && (k < i || def.RunOrder < order) && a.Status == Succeeded {
				value, ok := a.Exported[key]
				return value, ok
			}
		}
	}
	return "", false
}

// ownValue is a variable of the namespace slipway.
func (x *Execution) ownValue(key string, r Rules) (string, bool) {
	switch key {
	case "Name":
		return x.Pipeline.Name, true
	case "Seq":
		return strconv.Itoa(x.Number), true
	case "ExecutionUrl":
		return r.ExternalURL + "/executions/" + x.ID, true
	case "TriggerType":
		return x.Trigger.Type, true
	case "StartedBy":
		return x.Trigger.Actor.Login, true
	}
	return "", false
}

// commitMessageLimitBytes is where a long commit message is cut.
const commitMessageLimitBytes = 100 << 10

// sourceOutputs are what a source action exports (CodePipeline reference 1.5).
// What doesn't apply, such as TagName for a branch, is missing.
func sourceOutputs(x *Execution) map[string]string {
	t := x.Trigger
	out := map[string]string{
		"CommitId": t.SHA, "CommitMessage": CutMessage(t.Message), "EventType": t.Event,
		"RepositoryName": x.Repo.Name, "FullRepositoryName": x.Repo.FullName(), "AuthorId": t.Actor.ID, "Author": t.Actor.Login,
	}
	if branch, ok := strings.CutPrefix(t.Ref, "refs/heads/"); ok {
		out["BranchName"], out["SourceBranchName"] = branch, branch
	}
	if tag, ok := strings.CutPrefix(t.Ref, "refs/tags/"); ok {
		out["TagName"] = tag
	}
	if pr := t.Pull; pr != nil {
		out["PullRequestId"], out["PullRequestTitle"] = strconv.Itoa(pr.Number), pr.Title
		out["DestinationBranchName"] = pr.BaseRef
	}
	return out
}

// CutMessage is a commit message as variables hold it: at most 100 KiB.
func CutMessage(s string) string { return cutBytes(s, commitMessageLimitBytes) }

func cutBytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// outputsLimitBytes is the most that the outputs of one action may have.
const outputsLimitBytes = 122_880

func tooLarge(outputs map[string]string) bool {
	bytes := 0
	for k, v := range outputs {
		bytes += len(k) + len(v)
	}
	return bytes > outputsLimitBytes
}

// variablesOf are the pipeline's variables with the values of this start, and
// the mistake if one that must be given isn't, or is unknown.
func variablesOf(p Pipeline, given map[string]string) (map[string]string, *UserError) {
	out := map[string]string{}
	for _, v := range p.Variables {
		value, ok := given[v.Name]
		switch {
		case ok:
			out[v.Name] = value
		case !v.Required:
			out[v.Name] = v.Default
		default:
			return nil, &UserError{Code: ConfigurationError, Msg: fmt.Sprintf("the pipeline's variable %s has no default, and was given no value", v.Name)}
		}
	}
	for name := range given {
		if !slices.ContainsFunc(p.Variables, func(v VariableSpec) bool { return v.Name == name }) {
			return nil, &UserError{Code: ConfigurationError, Msg: fmt.Sprintf("the pipeline has no variable %q", name)}
		}
	}
	return out, nil
}

// approvalOutputs are what an approve action exports.
func approvalOutputs(a ApprovalState) map[string]string {
	out := maps.Clone(a.Values)
	if out == nil {
		out = map[string]string{}
	}
	out["ApprovedBy"], out["Comment"], out["ApprovedAt"] = a.AnsweredBy, a.Comment, a.AnsweredAt.UTC().Format(time.RFC3339)
	return out
}
