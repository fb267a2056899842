package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// check looks at what only the whole pipeline shows: artifacts, namespaces and
// variables (CodePipeline reference 2.3).
func (r *reader) check() {
	r.outputs()
	used := map[string]bool{}
	all := slices.Concat(r.actions, r.rules)
	for _, x := range all {
		r.inputs(x, used)
	}
	r.namespaces()
	for _, x := range all {
		r.references(x)
	}
	if !r.f.Problems().HasErrors() {
		r.doubts(used)
	}
}

func (r *reader) get(x *actionAt) *Action {
	if x.hook != "" {
		return &r.p.Stages[x.stage].Condition(x.hook).Rules[x.index]
	}
	return &r.p.Stages[x.stage].Actions[x.index]
}

// before reports whether what stage i does at an order is done, by definition,
// when x starts.
func (x *actionAt) before(r *reader, other *actionAt) bool {
	return other.stage < x.stage || other.stage == x.stage && r.get(other).RunOrder < r.get(x).RunOrder
}

func (r *reader) outputs() {
	seen := map[string]bool{r.source.name: true}
	for _, x := range r.others {
		seen[x.action.Name] = true
	}
	for _, x := range r.actions {
		a := r.get(x)
		for _, item := range x.outputs {
			if seen[item.Text] {
				r.atItem(item, spOutputTwice, "artifact %s is an output of two actions", item.Text)
				continue
			}
			seen[item.Text] = true
			a.Outputs = append(a.Outputs, item.Text)
		}
		r.count(x, "output", "out", len(x.outputs), x.kind.out)
	}
}

func (r *reader) atItem(item specfile.Item, code, format string, args ...any) {
	r.f.Report(nil, specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Error, Code: code, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) count(x *actionAt, what, key string, have int, want [2]int) {
	switch {
	case have < want[0]:
		r.f.Errorf(x.at, spArtifactCount, "%s: want at least %d %s artifact, have none", x.where, want[0], what)
	case have > want[1] && want[1] == 0:
		r.f.Errorf(x.at, spArtifactCount, "%s.%s: this type of action takes no %s artifact", x.where, key, what)
	case have > want[1]:
		r.f.Errorf(x.at, spArtifactCount, "%s.%s: want at most %d %s artifacts, have %d", x.where, key, want[1], what, have)
	}
}

func (r *reader) inputs(x *actionAt, used map[string]bool) {
	a := r.get(x)
	if x.in == nil && x.kind.in[0] > 0 {
		if name, ok := r.nearest(x); ok {
			a.Inputs = []string{name}
			used[name] = true
		}
		return
	}
	for _, item := range x.inputs {
		switch {
		case slices.Contains(a.Inputs, item.Text):
			r.atItem(item, spInput, "%s.in: %s is there twice", x.where, item.Text)
		case !r.made(x, item.Text):
			r.atItem(item, spInput, "%s.in: %s", x.where, r.notMade(item.Text))
		default:
			a.Inputs = append(a.Inputs, item.Text)
			used[item.Text] = true
		}
	}
	r.count(x, "input", "in", len(x.inputs), x.kind.in)
}

// made reports whether an action before x makes the artifact.
func (r *reader) made(x *actionAt, name string) bool {
	return r.isSource(name) || slices.ContainsFunc(r.actions, func(o *actionAt) bool {
		return x.before(r, o) && slices.Contains(r.get(o).Outputs, name)
	})
}

func (r *reader) notMade(name string) string {
	known := []string{r.source.name}
	for _, x := range r.others {
		known = append(known, x.action.Name)
	}
	for _, o := range r.actions {
		outputs := r.get(o).Outputs
		if slices.Contains(outputs, name) {
			return fmt.Sprintf("artifact %s is made by action %s, which isn't done before", name, r.get(o).Name)
		}
		known = append(known, outputs...)
	}
	if near := specfile.Nearest(name, known); near != "" {
		return fmt.Sprintf("no action makes artifact %s (did you mean %s?)", name, near)
	}
	return "no action makes artifact " + name
}

// nearest is the artifact of the nearest action before x that makes any: its
// first one. Several actions side by side are no answer.
func (r *reader) nearest(x *actionAt) (string, bool) {
	var names []string
	stage, order, makers := 0, 0, 0
	for _, o := range r.actions {
		a := r.get(o)
		switch {
		case !x.before(r, o) || len(a.Outputs) == 0:
		case o.stage > stage || a.RunOrder > order:
			stage, order, makers, names = o.stage, a.RunOrder, 1, slices.Clone(a.Outputs)
		case a.RunOrder == order:
			makers++
			names = append(names, a.Outputs...)
		}
	}
	switch {
	case len(names) == 0:
		return r.source.name, true
	case len(names) == 1:
		return names[0], true
	}
	p := specfile.Problem{Severity: specfile.Error, Code: spInput, Message: x.where + ": several artifacts are there to take in",
		Hint: "say which with in: " + strings.Join(names, ", or ")}
	if makers == 1 {
		p.Severity, p.Message = specfile.Warning, p.Message+", and it takes "+names[0]
	}
	r.f.Report(x.at, p)
	return names[0], makers == 1
}

var reservedNamespaces = []string{"codepipeline", "variables", "slipway"}

func (r *reader) namespaces() {
	seen := map[string]string{}
	r.sourceNamespaces(seen)
	for _, x := range r.actions {
		a := r.get(x)
		at, hint := x.namespace, ""
		if at == nil {
			at, hint = x.at, "give it another one with namespace"
		}
		switch other, twice := seen[a.Namespace]; {
		case a.Namespace == "", twice && x.again: // said already
			continue
		case slices.Contains(reservedNamespaces, a.Namespace):
			r.f.Report(at, specfile.Problem{Severity: specfile.Error, Code: spNamespace, Message: x.where + ": the namespace " + a.Namespace + " is reserved", Hint: hint})
		case twice:
			r.f.Report(at, specfile.Problem{Severity: specfile.Error, Code: spNamespace, Hint: hint,
				Message: fmt.Sprintf("%s: the namespace %s is that of %s already", x.where, a.Namespace, other)})
		case x.namespace != nil && r.isArtifact(a.Namespace):
			r.f.Errorf(at, spNamespace, "%s: the namespace %s is the name of an artifact", x.where, a.Namespace)
		}
		seen[a.Namespace] = fmt.Sprintf("action %s of stage %s", a.Name, r.p.Stages[x.stage].Name)
	}
}

func (r *reader) isArtifact(name string) bool {
	return slices.ContainsFunc(r.actions, func(o *actionAt) bool { return slices.Contains(r.get(o).Outputs, name) })
}

// references checks the variables that an action's values name: each must have
// a producer that is done before.
func (r *reader) references(x *actionAt) {
	for _, t := range x.texts {
		_, err := Expand(t.value, func(namespace, key string) (string, bool) {
			if code, message := r.reference(x, namespace, key); message != "" {
				r.f.Errorf(t.at, code, "%s: #{%s.%s}: %s", t.where, namespace, key, message)
			}
			return "x", true
		})
		if err != nil {
			r.f.Errorf(t.at, spVariable, "%s: %s", t.where, err)
		}
	}
}

// sourceKeys are what the source may export (CodePipeline reference 1.5).
var sourceKeys = []string{
	"CommitId", "CommitMessage", "RepositoryName", "FullRepositoryName", "BranchName", "AuthorId", "Author", "EventType",
	"TagName", "PullRequestId", "PullRequestTitle", "SourceBranchName", "DestinationBranchName",
}

func (r *reader) reference(x *actionAt, namespace, key string) (code, message string) {
	switch namespace {
	case "variables":
		if slices.ContainsFunc(r.p.Variables, func(v VariableSpec) bool { return v.Name == key }) {
			return "", ""
		}
		return spUndeclared, "the pipeline declares no variable " + key
	case "codepipeline":
		return oneOf(key, []string{"PipelineExecutionId"})
	case "slipway":
		return oneOf(key, []string{"Name", "Seq", "ExecutionUrl", "TriggerType", "StartedBy"})
	case r.source.namespace:
		return oneOf(key, sourceKeys)
	}
	if code, message, known := r.sourceReference(namespace, key); known {
		return code, message
	}
	for _, o := range r.actions {
		a := r.get(o)
		switch {
		case a.Namespace != namespace:
		case !x.before(r, o):
			return spVariable, fmt.Sprintf("action %s, which makes it, isn't done before", a.Name)
		case a.Provider == ManualProvider && !slices.Contains(approvalKeys, key) && !slices.ContainsFunc(a.Fields, func(f Field) bool { return f.Name == key }):
			return spVariable, fmt.Sprintf("approval %s doesn't ask for %s", a.Name, key)
		case a.Provider == CommandsProvider && !slices.Contains(a.Exports, key) && !strings.HasPrefix(key, "CODEBUILD_"):
			return spVariable, fmt.Sprintf("action %s doesn't export %s", a.Name, key)
		default:
			return "", ""
		}
	}
	return spVariable, "there is no namespace " + namespace
}

func oneOf(key string, known []string) (code, message string) {
	if slices.Contains(known, key) {
		return "", ""
	}
	return spVariable, "want one of " + strings.Join(known, ", ")
}

// doubts warns of what is allowed and most likely not meant (SP501).
func (r *reader) doubts(used map[string]bool) {
	for _, x := range slices.Concat(r.actions, r.rules) {
		for _, t := range x.texts {
			r.chosenByOthers(t)
		}
	}
	for _, x := range r.actions {
		for _, item := range x.outputs {
			if !used[item.Text] {
				r.f.Report(nil, specfile.Problem{Line: item.Line, Column: item.Column, Severity: specfile.Warning, Code: spDoubtful,
					Message: "no action takes in artifact " + item.Text})
			}
		}
		deployed := slices.ContainsFunc(r.actions, func(o *actionAt) bool {
			return o.stage == x.stage && r.get(o).Category == Deploy && x.before(r, o)
		})
		if r.get(x).Category == Approval && deployed {
			r.f.Warnf(x.at, spDoubtful, "%s: an approval after a deployment in one stage keeps others out until it is answered", x.where)
		}
	}
}

// othersKeys are outputs of the source whose text whoever pushes chooses.
var othersKeys = []string{"CommitMessage", "BranchName", "SourceBranchName", "TagName", "PullRequestTitle"}

// chosenByOthers warns of such a text in a command, which a shell would run.
func (r *reader) chosenByOthers(t text) {
	if !strings.Contains(t.where, ".commands[") {
		return
	}
	_, _ = Expand(t.value, func(namespace, key string) (string, bool) { // its mistakes were reported
		if _, _, another := r.sourceReference(namespace, key); (another || namespace == r.source.namespace) && slices.Contains(othersKeys, key) {
			r.f.Report(t.at, specfile.Problem{Severity: specfile.Warning, Code: spDoubtful,
				Message: fmt.Sprintf("%s: #{%s.%s} is chosen by whoever pushes, and the shell would run what is in it", t.where, namespace, key),
				Hint:    "pass it in env, and write \"$NAME\" in the command"})
		}
		return "", true
	})
}
