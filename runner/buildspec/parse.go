package buildspec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// Limits of a buildspec. CodeBuild does not document its own.
const (
	MaxBytes        = 256 << 10
	MaxCommands     = 1000
	MaxCommandBytes = 64 << 10
)

// Mode says how to judge what is doubtful.
type Mode int

const (
	// Standard refuses what CodeBuild is known to refuse and warns about the
	// rest.
	Standard Mode = iota
	// Strict also refuses what has no meaning: unknown keys and empty blocks.
	Strict
	// Lenient only warns where a file can still be understood.
	Lenient
)

// Options of Parse.
type Options struct {
	Mode Mode
}

// Codes of warnings beyond those of package specfile.
const (
	CodeDeprecated = "deprecated"
	CodeComment    = "comment-cuts-command"
	CodeJoined     = "lines-joined"
	CodeEscaped    = "escaped-blank"
	CodeSecret     = "plaintext-secret"
	CodeName       = "odd-name"
	CodeTag        = "tag-in-command"
	CodeNoEffect   = "no-effect"
	CodeExport     = "not-exported"
	CodeShell      = "windows-shell"
	// CodeNoFiles is the status code with which the build will fail when its
	// artifacts are collected.
	CodeNoFiles = "CLIENT_ERROR"
)

// Parse reads a buildspec; name is kept as Spec.Name and not opened. All
// mistakes are reported at once. The Spec is nil if there is an error among
// the problems.
func Parse(name string, data []byte, opts Options) (*Spec, specfile.Problems) {
	p := &parser{
		File: specfile.Parse(data, specfile.Options{MaxBytes: MaxBytes, ErrorCode: StatusCode}),
		mode: opts.Mode,
		spec: &Spec{Name: name}, names: map[string]*yaml.Node{},
	}
	if p.Root != nil {
		p.top()
	}
	problems := p.Problems()
	if problems.HasErrors() {
		return nil, problems
	}
	return p.spec, problems
}

type parser struct {
	*specfile.File
	mode Mode
	spec *Spec
	// commands counts those of all phases.
	commands int
	// names are the variables of the env block and where they are set.
	names      map[string]*yaml.Node
	exportedAt []*yaml.Node
}

var proxyKeys = []string{"upload-artifacts", "logs"}

var topKeys = []string{"version", "run-as", "env", "proxy", "phases", "artifacts", "cache", "reports", "batch"}

func (p *parser) top() {
	entries := p.Map(p.Root, "")
	p.version(entries)
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.Key] = true
		if e.Key != "proxy" {
			p.idle(e)
		}
		switch e.Key {
		case "version":
		case "run-as":
			p.spec.RunAs, _ = p.Text(e.Value, e.Path)
		case "env":
			p.env(e)
		case "environment_variables":
			p.oldEnv(e)
		case "proxy":
			p.proxy(e)
		case "phases":
			p.phases(e)
		case "artifacts":
			p.spec.Artifacts = p.artifacts(e, true)
		case "cache":
			p.spec.Cache = p.cache(e)
		case "reports":
			p.reports(e)
		case "batch":
			p.spec.Batch = p.batch(e)
		default:
			p.unknownTop(e)
		}
	}
	p.finishExported()
	p.missingPhases(seen)
}

// version is checked first because it decides what other blocks mean.
func (p *parser) version(entries []specfile.Entry) {
	var at *yaml.Node
	text := ""
	for _, e := range entries {
		if e.Key == "version" {
			at = e.Value
			text, _ = p.Text(e.Value, e.Path)
		}
	}
	switch {
	case text == "0.2":
	case text == "0.1":
		p.Report(at, warning(CodeDeprecated, "version 0.1 is out of date: every command runs in a shell of its own", "use version: 0.2"))
	case at != nil && !specfile.IsNull(at) && at.Kind != yaml.ScalarNode:
	default:
		problem := p.known(fmt.Sprintf("invalid buildspec `version` specified: %s, see documentation", text), "want version: 0.2")
		if problem.Severity == specfile.Warning {
			text = "0.2"
		}
		p.Report(at, problem)
	}
	p.spec.Version = text
}

// unknownTop warns about a key without meaning at the top level.
func (p *parser) unknownTop(e specfile.Entry) {
	if strings.HasPrefix(e.Key, "x-") {
		return
	}
	problem := p.UnknownProblem(e, topKeys)
	if hint, ok := misplacedTop[e.Key]; ok {
		problem.Hint = hint
	}
	problem.Message += ", it has no effect"
	p.doubtful(e.At, problem)
}

var misplacedTop = map[string]string{
	Install: "a phase belongs under phases", PreBuild: "a phase belongs under phases",
	Build: "a phase belongs under phases", PostBuild: "a phase belongs under phases",
	"commands": "commands belong under phases.build", "finally": "finally belongs under a phase",
	"variables": "variables belong under env", "parameter-store": "parameter-store belongs under env", "secrets-manager": "secrets-manager belongs under env",
	"exported-variables": "exported-variables belongs under env",
	"files":              "files belongs under artifacts", "base-directory": "base-directory belongs under artifacts", "secondary-artifacts": "secondary-artifacts belongs under artifacts",
	"paths": "paths belongs under cache", "runtime-versions": "runtime-versions belongs under phases.install",
	"build-list": "build-list belongs under batch", "build-graph": "build-graph belongs under batch", "build-matrix": "build-matrix belongs under batch", "build-fanout": "build-fanout belongs under batch",
}

// missingPhases reports a file without phases, unless it has a block that is
// of use alone or a slip that has been reported already.
func (p *parser) missingPhases(seen map[string]bool) {
	if seen["phases"] {
		return
	}
	misplaced := slices.ContainsFunc(append([]string{"commands"}, PhaseNames...), func(k string) bool { return seen[k] })
	problem := p.known("phases: missing, want at least one of install, pre_build, build, post_build", "")
	switch {
	case p.spec.Batch != nil && p.spec.Batch.selfContained():
		return
	case misplaced, seen["artifacts"], seen["batch"]:
		problem = warning(specfile.CodeMissingKey, "phases: missing, the build runs no command", "")
		p.doubtful(nil, problem)
		return
	}
	p.Report(nil, problem)
}

func (p *parser) proxy(e specfile.Entry) {
	for _, k := range p.Map(e.Value, e.Path) {
		switch k.Key {
		case "upload-artifacts":
			p.spec.Proxy.UploadArtifacts = p.Flag(k.Value, k.Path)
		case "logs":
			p.spec.Proxy.Logs = p.Flag(k.Value, k.Path)
		default:
			p.unknown(k, proxyKeys...)
		}
	}
	if p.spec.Proxy.UploadArtifacts || p.spec.Proxy.Logs {
		p.idle(e)
	}
}

// known is a problem that CodeBuild is known to refuse: an error, and a
// warning in lenient mode.
func (p *parser) known(message, hint string) specfile.Problem {
	problem := specfile.Problem{Severity: specfile.Error, Code: StatusCode, Message: message, Hint: hint}
	if p.mode == Lenient {
		problem.Severity = specfile.Warning
	}
	return problem
}

// doubtful reports what has no meaning, or none that is known: a warning, and
// an error in strict mode.
func (p *parser) doubtful(n *yaml.Node, problem specfile.Problem) {
	if p.mode == Strict {
		problem.Severity = specfile.Error
	}
	p.Report(n, problem)
}

func (p *parser) unknown(e specfile.Entry, known ...string) {
	problem := p.UnknownProblem(e, known)
	switch {
	case problem.Hint != "":
	case e.Key == "fail-fast" && slices.Contains(known, "fast-fail"):
		problem.Hint = "did you mean fast-fail?"
	case slices.Contains(topKeys, e.Key):
		problem.Hint = e.Key + " belongs at the top level"
	}
	p.doubtful(e.At, problem)
}

// isMap reports whether the block is a map or empty; hint says where its texts
// belong if it is neither.
func (p *parser) isMap(e specfile.Entry, hint string) bool {
	kind := specfile.Kind(e.Value)
	if kind == "a map" || kind == "nothing" {
		return true
	}
	p.Report(e.Value, specfile.Problem{Severity: specfile.Error, Message: e.Path + ": want a map, have " + kind, Hint: hint})
	return false
}

// bad reports a value that can't be used.
func (p *parser) bad(n *yaml.Node, path string, err error) {
	p.Errorf(n, specfile.CodeValue, "%s: %v", path, err)
}

func warning(code, message, hint string) specfile.Problem {
	return specfile.Problem{Severity: specfile.Warning, Code: code, Message: message, Hint: hint}
}

// texts is a list of texts without their positions.
func (p *parser) texts(e specfile.Entry) []string {
	var out []string
	for _, item := range p.Texts(e.Value, e.Path) {
		out = append(out, item.Text)
	}
	return out
}

func (p *parser) text(e specfile.Entry) string {
	text, _ := p.Text(e.Value, e.Path)
	return text
}
