package buildspec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

var phaseKeys = []string{"run-as", "on-failure", "runtime-versions", "commands", "finally"}

// phases reads the phases of the file and puts them in the order in which they
// run.
func (p *parser) phases(e specfile.Entry) {
	for _, entry := range p.Map(e.Value, e.Path) {
		if slices.Contains(PhaseNames, entry.Key) {
			p.spec.Phases = append(p.spec.Phases, p.phase(entry))
			continue
		}
		p.unknownPhase(entry)
	}
	slices.SortStableFunc(p.spec.Phases, func(a, b Phase) int {
		return slices.Index(PhaseNames, a.Name) - slices.Index(PhaseNames, b.Name)
	})
}

// unknownPhase reports a name under phases that is none, in CodeBuild's words.
func (p *parser) unknownPhase(e specfile.Entry) {
	hint := ""
	switch near := specfile.Nearest(e.Key, PhaseNames); {
	case slices.Contains(topKeys, e.Key):
		hint = e.Key + " belongs at the top level, two blanks to the left"
	case near != "":
		hint = "did you mean " + near + "?"
	}
	p.Report(e.At, p.known(fmt.Sprintf("Invalid buildspec phase name: %s. Expecting: build,install,post_build,pre_build", e.Key), hint))
}

func (p *parser) phase(e specfile.Entry) Phase {
	phase := Phase{Name: e.Key, Line: e.At.Line}
	if !p.isMap(e, "put the commands under "+e.Path+".commands") {
		return phase
	}
	idle := e.Key != Install // nothing to run is normal in install only
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "run-as":
			phase.RunAs = p.text(k)
		case "on-failure":
			phase.OnFailure = p.onFailure(k, phase.OnFailure)
		case "retry-scope":
			phase.OnFailure.PhaseOnly = p.retryScope(k)
		case "runtime-versions":
			phase.Runtimes = p.runtimes(k, e.Key)
		case "commands":
			idle = false
			phase.Commands = p.commandList(k, "Commands")
		case "finally":
			idle = false
			phase.Finally = p.commandList(k, "Finally")
		default:
			p.unknownPhaseKey(k)
		}
	}
	if idle {
		p.doubtful(e.At, warning(specfile.CodeMissingKey, e.Path+": no commands", ""))
	}
	return phase
}

func (p *parser) unknownPhaseKey(e specfile.Entry) {
	problem := p.UnknownProblem(e, phaseKeys)
	problem.Message += ", it has no effect"
	switch {
	case slices.Contains(PhaseNames, e.Key):
		problem.Hint = "a phase belongs under phases, not in another phase"
	case slices.Contains(topKeys, e.Key):
		problem.Hint = e.Key + " belongs at the top level"
	}
	p.doubtful(e.At, problem)
}

func (p *parser) onFailure(e specfile.Entry, have OnFailure) OnFailure {
	f, err := ParseOnFailure(p.text(e))
	if err != nil {
		p.bad(e.Value, e.Path, err)
	}
	f.PhaseOnly = have.PhaseOnly
	return f
}

func (p *parser) retryScope(e specfile.Entry) bool {
	text := p.text(e)
	if text != "phase" && text != "build" {
		p.bad(e.Value, e.Path, fmt.Errorf("want build or phase, have %q", text))
	}
	return text == "phase"
}

// runtimes reads runtime-versions, which only the install phase has.
func (p *parser) runtimes(e specfile.Entry, phase string) []Runtime {
	if phase != Install {
		p.doubtful(e.At, warning(specfile.CodeUnknownKey, e.Path+" has no effect", "runtime-versions belongs under phases.install"))
		return nil
	}
	var runtimes []Runtime
	for _, r := range p.Map(e.Value, e.Path) {
		version := strings.TrimSpace(p.text(r))
		if version == "" && specfile.Kind(r.Value) != "a map" && specfile.Kind(r.Value) != "a list" {
			p.doubtful(r.At, warning(specfile.CodeEmpty, r.Path+": no version, the entry is left out", "latest takes the newest"))
			continue
		}
		runtimes = append(runtimes, Runtime{Name: r.Key, Version: version, Line: r.At.Line})
	}
	if specfile.IsNull(e.Value) || e.Value.Kind == yaml.MappingNode && len(e.Value.Content) == 0 {
		p.doubtful(e.At, warning(specfile.CodeEmpty, e.Path+": no runtime", ""))
	}
	return runtimes
}

// commandList reads commands or finally; list is the name that CodeBuild's
// message has for it.
func (p *parser) commandList(e specfile.Entry, list string) []Command {
	if e.Value.Kind == yaml.MappingNode {
		p.Report(e.Value, specfile.Problem{Severity: specfile.Error, Message: e.Path + ": want a list, have a map", Hint: "put \"- \" before each command"})
		return nil
	}
	var commands []Command
	for i, item := range p.List(e.Value, e.Path) {
		path := fmt.Sprintf("%s[%d]", e.Path, i)
		switch {
		case specfile.IsNull(item):
			p.Report(item, warning(specfile.CodeEmpty, path+": nothing behind the dash, the item is left out", ""))
		case item.Kind != yaml.ScalarNode:
			p.subkeys(item, list, path, i)
		case strings.TrimSpace(item.Value) == "":
			p.Report(item, warning(specfile.CodeEmpty, path+": an empty command, the item is left out", ""))
		default:
			commands = append(commands, p.command(item, path))
		}
	}
	before := p.commands
	p.commands += len(commands)
	if before <= MaxCommands && p.commands > MaxCommands {
		p.Errorf(e.At, specfile.CodeLimit, "%s: the file has more than %d commands", e.Path, MaxCommands)
	}
	return commands
}

// subkeys reports a command that YAML reads as a map or a list. CodeBuild's
// second line number is always the line before.
func (p *parser) subkeys(item *yaml.Node, list, path string, i int) {
	p.Report(item, specfile.Problem{
		Severity: specfile.Error,
		Message:  fmt.Sprintf("Expected %s[%d] to be of string type: found subkeys instead at line %d, value of the key tag on line %d might be empty", list, i, item.Line, max(item.Line-1, 1)),
		Hint:     path + ": " + p.quoteHint(item),
	})
}

func (p *parser) command(item *yaml.Node, path string) Command {
	c := Command{Text: item.Value, Line: item.Line, TextLine: item.Line}
	if item.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		c.TextLine = p.blockStart(item.Line)
	}
	if len(item.Value) > MaxCommandBytes {
		p.Errorf(item, specfile.CodeLimit, "%s: the command has %d bytes: want at most %d", path, len(item.Value), MaxCommandBytes)
	}
	if strings.ContainsRune(item.Value, 0) {
		p.Errorf(item, specfile.CodeValue, "%s: the command holds a NUL character", path)
	}
	p.lintPlain(item, path)
	return c
}
