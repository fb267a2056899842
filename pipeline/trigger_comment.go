package pipeline

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// comment reads on.comment: one expression, or several.
func (r *reader) comment(e specfile.Entry) {
	list := []*yaml.Node{e.Value}
	if e.Value.Kind == yaml.SequenceNode {
		list = r.f.List(e.Value, e.Path)
	}
	if len(list) == 0 {
		r.f.Errorf(orKey(e), spFilter, "%s: want a regular expression, have nothing", e.Path)
	}
	if len(list) > maxFilters {
		r.f.Errorf(list[maxFilters], specfile.CodeLimit, "%s: want at most %d", e.Path, maxFilters)
		list = list[:maxFilters]
	}
	for _, n := range list {
		text, ok := r.f.Text(n, e.Path)
		if ok && r.commentForm(n, e.Path, text) {
			r.triggers.Comments = append(r.triggers.Comments, text)
		}
	}
}

// commentForm checks that an expression means whole lines that begin with a
// slash, and that each of its named groups is a variable of the pipeline.
func (r *reader) commentForm(n *yaml.Node, where, text string) bool {
	if len(text) > maxPatternChars || !strings.HasPrefix(text, "^/") || !strings.HasSuffix(text, "$") {
		r.f.Errorf(n, spFilter, "%s: want a regular expression from ^/ to $ of at most %d characters, have %.120q", where, maxPatternChars, text)
		return false
	}
	re, err := wholeLine(text)
	if err != nil {
		r.f.Errorf(n, spFilter, "%s: %v", where, err)
		return false
	}
	for _, name := range re.SubexpNames() {
		declared := slices.ContainsFunc(r.p.Variables, func(v VariableSpec) bool { return v.Name == name })
		if name != "" && !declared {
			r.f.Report(n, specfile.Problem{Severity: specfile.Error, Code: spFilter, Message: where + ": the group " + name + " is no variable of the pipeline", Hint: "declare it under variables"})
			return false
		}
	}
	return true
}

// wholeLine anchors an expression, whatever alternatives it has.
func wholeLine(text string) (*regexp.Regexp, error) { return regexp.Compile("^(?:" + text + ")$") }

// commented says whether a line of a comment starts the pipeline, and with
// which variables. A group that took no part leaves its variable's default.
func (t *Triggers) commented(line string) (variables map[string]string, ok bool) {
	if t == nil {
		return nil, false
	}
	for _, text := range t.Comments {
		re, err := wholeLine(text)
		if err != nil {
			continue // a file that has such is refused when it is read
		}
		found := re.FindStringSubmatchIndex(line)
		if found == nil {
			continue
		}
		variables = map[string]string{}
		for i, name := range re.SubexpNames() {
			if name != "" && found[2*i] >= 0 {
				variables[name] = line[found[2*i]:found[2*i+1]]
			}
		}
		return variables, true
	}
	return nil, false
}

// commented are the definitions that a line of a comment starts.
func commented(defs []Definition, line string) []Definition {
	var found []Definition
	for _, def := range defs {
		if _, ok := def.Triggers.commented(line); ok && def.Problem == nil {
			found = append(found, def)
		}
	}
	return found
}

// variablesFor are those that a comment sets for a pipeline.
func (w PullRun) variablesFor(def Definition) map[string]string {
	if w.Comment == "" {
		return w.Variables
	}
	groups, _ := def.Triggers.commented(w.Comment)
	all := maps.Clone(w.Variables)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, groups)
	return all
}
