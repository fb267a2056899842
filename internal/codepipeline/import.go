// Package codepipeline turns the declarations of AWS CodePipeline into pipeline
// files (CodePipeline reference 6.3).
package codepipeline

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
	"github.com/slipway-ci/slipway/pipeline"
)

// Import is a pipeline file made from a declaration.
type Import struct {
	Name  string
	File  []byte // YAML
	Notes []Note
}

// maxBytes bounds a declaration; AWS's own are smaller by far.
const maxBytes = 2 << 20

// Read reads what get-pipeline prints, a bare declaration, or a CloudFormation
// resource or template with one pipeline, as JSON or YAML. name, if not empty,
// replaces the pipeline's. path is for errors, which have positions.
func Read(path string, data []byte, name string) (Import, error) {
	f := specfile.Parse(data, specfile.Options{MaxBytes: maxBytes})
	if err := f.Problems().Err(path); err != nil {
		return Import{}, err
	}
	r := &report{}
	d, err := find(value{f.Root, "", r})
	if err != nil {
		return Import{}, fmt.Errorf("%s:%d:%d: %w", path, f.Root.Line, f.Root.Column, err)
	}
	m := &importer{report: r, lost: map[string]bool{}, spaces: map[string]string{}}
	name = cmp.Or(name, word(d.get("name").text(), ".@-_"), "imported")
	text, err := m.file(name, d)
	if err != nil {
		return Import{}, err
	}
	for _, made := range pipeline.ParseFile(".slipway/"+name+".yml", text) {
		for _, p := range made.Problems.Errors() {
			r.note(NeedsAction, fmt.Sprintf("line %d of the file", p.Line), p.Text())
		}
	}
	return Import{name, text, r.notes}, nil
}

// find is the declaration in its wrapping.
func find(root value) (value, error) {
	if p := root.get("pipeline"); !p.get("stages").missing() {
		root.left("pipeline")
		return p, nil
	}
	if !root.get("stages").missing() {
		return root, nil
	}
	if p := root.get("Properties"); !p.get("stages").missing() {
		root.left("Properties", "Type")
		return p, nil
	}
	var found []value
	for _, resource := range root.get("Resources").entries() {
		if resource.get("Type").text() == "AWS::CodePipeline::Pipeline" {
			found = append(found, resource.get("Properties"))
		}
	}
	switch len(found) {
	case 0:
		return root, errors.New("want a pipeline's declaration: there are no stages")
	case 1:
		return found[0], nil
	}
	return root, fmt.Errorf("want one pipeline, the template has %d: copy the one out", len(found))
}

type importer struct {
	*report
	source  string            // our source's name: its output artifact
	trigger string            // the source action's name, which triggers go by
	lost    map[string]bool   // artifacts that nothing here makes
	spaces  map[string]string // namespaces that have another name here
}

// file writes the pipeline file.
func (m *importer) file(name string, d value) ([]byte, error) {
	out := newMap()
	if v := d.get("version").text(); v != "" {
		out.n.HeadComment = "Imported from CodePipeline, version " + v + "."
	}
	out.put("slipway", number(1))
	out.text("name", name)
	m.note(Mapped, d.get("name").path, "name: "+name)
	m.mode(d, out)
	m.variables(d.get("variables"), out)
	stages := d.get("stages").list()
	if len(stages) == 0 {
		return nil, errors.New("the declaration has no stages")
	}
	sources := newMap()
	branch := m.sources(stages[0], sources)
	m.on(d.get("triggers"), out, branch)
	if len(sources.n.Content) > 0 {
		out.put("sources", sources.n)
	}
	if s := word(stages[0].get("name").text(), ".@-_"); s != "Source" && s != "" {
		out.text("source_stage", s)
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range stages[1:] {
		if n := m.stage(s); n != nil {
			list.Content = append(list.Content, n)
		}
	}
	out.put("stages", list)
	d.left("name", "executionMode", "variables", "triggers", "stages", "version")
	return encode(out.n)
}

func encode(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(n), e.Close()); err != nil {
		return nil, fmt.Errorf("writing the pipeline file: %w", err)
	}
	return b.Bytes(), nil
}

func (m *importer) mode(d value, out *mapping) {
	mode := d.get("executionMode")
	switch text := mode.text(); text {
	case "":
	case "SUPERSEDED", "QUEUED", "PARALLEL":
		out.text("mode", strings.ToLower(text))
		m.note(Mapped, mode.path, "mode: "+strings.ToLower(text))
	default:
		m.note(Dropped, mode.path, "there is no mode "+text)
	}
}

func (m *importer) variables(list value, out *mapping) {
	all := newMap()
	for _, v := range list.list() {
		one := newMap()
		switch fallback := v.get("defaultValue"); {
		case fallback.missing():
			one.put("required", plain("true"))
		default:
			one.text("default", fallback.text())
		}
		if text := v.get("description").text(); text != "" {
			one.text("description", text)
		}
		all.put(v.get("name").text(), one.n)
		m.note(Mapped, v.path, "variables."+v.get("name").text())
		v.left("name", "defaultValue", "description")
	}
	if len(all.n.Content) > 0 {
		out.put("variables", all.n)
	}
}

func (m *importer) on(triggers value, out *mapping, branch string) {
	on := newMap()
	for _, t := range triggers.list() {
		g := t.get("gitConfiguration")
		if name := g.get("sourceActionName").text(); name != m.trigger {
			m.note(Dropped, t.path, "only the repository that holds the file starts the pipeline, not source "+name)
			continue
		}
		m.filters(on, "push", g.get("push"))
		m.filters(on, "pull_request", g.get("pullRequest"))
		t.left("gitConfiguration", "providerType")
		g.left("sourceActionName", "push", "pullRequest")
	}
	if len(on.n.Content) > 0 {
		out.put("on", on.n)
		return
	}
	if branch != "" {
		m.note(Mapped, "triggers", "pushes to "+branch+" start the pipeline")
	}
}

func (m *importer) filters(on *mapping, key string, list value) {
	all := &yaml.Node{Kind: yaml.SequenceNode}
	for _, f := range list.list() {
		one := newMap()
		if events := f.get("events").texts(); len(events) > 0 {
			for i := range events {
				events[i] = strings.ToLower(events[i])
			}
			one.put("events", flow(events))
		}
		for _, part := range [][2]string{{"branches", "branches"}, {"filePaths", "paths"}, {"tags", "tags"}} {
			patterns := f.get(part[0]).get("includes").texts()
			for _, x := range f.get(part[0]).get("excludes").texts() {
				patterns = append(patterns, "!"+x)
			}
			if len(patterns) > 0 {
				one.put(part[1], flow(patterns))
			}
		}
		if key == "pull_request" && len(one.n.Content) == 0 {
			one.put("branches", flow([]string{"**"}))
		}
		all.Content = append(all.Content, one.n)
		m.note(Mapped, f.path, "on."+key+"["+strconv.Itoa(len(all.Content)-1)+"]")
		f.left("events", "branches", "filePaths", "tags")
	}
	if len(all.Content) > 0 {
		on.put(key, all)
	}
}

// stage is nil if nothing of it can run here.
func (m *importer) stage(s value) *yaml.Node {
	type ordered struct {
		order int
		n     *yaml.Node
	}
	var actions []ordered
	var comments []string
	for _, a := range s.get("actions").list() {
		order, err := strconv.Atoi(cmp.Or(a.get("runOrder").text(), "1"))
		if err != nil {
			m.note(NeedsAction, a.get("runOrder").path, "want a number")
		}
		n, why := m.action(a)
		if n == nil {
			comments = append(comments, why)
			continue
		}
		actions = append(actions, ordered{order, n})
	}
	slices.SortStableFunc(actions, func(a, b ordered) int { return a.order - b.order })
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for i := 0; i < len(actions); {
		j := i
		group := &yaml.Node{Kind: yaml.SequenceNode}
		for ; j < len(actions) && actions[j].order == actions[i].order; j++ {
			group.Content = append(group.Content, actions[j].n)
		}
		if i = j; len(group.Content) == 1 {
			list.Content = append(list.Content, group.Content[0])
			continue
		}
		side := newMap()
		side.put("parallel", group)
		list.Content = append(list.Content, side.n)
	}
	name := word(s.get("name").text(), ".@-_")
	if len(list.Content) == 0 {
		m.note(NeedsAction, s.path, "stage "+name+" was left out: none of its actions can run here")
		return nil
	}
	out := newMap()
	out.n.HeadComment = strings.Join(comments, "\n")
	out.text("name", name)
	out.put("actions", list)
	m.condition("before", s.get("beforeEntry"), out)
	m.condition("on_success", s.get("onSuccess"), out)
	m.onFailure(s.get("onFailure"), out)
	m.note(Mapped, s.path, "stage "+name)
	s.left("name", "actions", "beforeEntry", "onSuccess", "onFailure")
	return out.n
}
