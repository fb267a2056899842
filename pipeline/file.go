package pipeline

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-ci/slipway/internal/specfile"
)

// The folder of pipeline files and how their names end.
const (
	FileFolder = ".slipway"
	FileSuffix = ".yml"
)

// MaxFiles is how many pipeline files one commit may have.
const MaxFiles = 50

// DefaultSource is what the source's action, artifact and namespace are called
// where a file names no sources.
const DefaultSource = "app"

// FilePipeline is what one document of a pipeline file defines.
type FilePipeline struct {
	// Pipeline is what could be read; it may run only if Problems has no errors.
	Pipeline Pipeline
	Triggers Triggers
	Problems specfile.Problems

	places map[place]position
}

// place names a configuration value of an action.
type place struct{ stage, action, key string }

type position struct{ line, column int }

// At is the line and column of an action's configuration value under one of
// the Config keys, both 1 if the file has none.
func (f FilePipeline) At(stage, action, key string) (line, column int) {
	if p, ok := f.places[place{stage, action, key}]; ok {
		return p.line, p.column
	}
	return 1, 1
}

// Codes of problems in pipeline files beside those of specfile: CodePipeline
// reference 2.3. notSupported is for what the format has and this server
// doesn't.
const (
	notSupported     = "not-supported"
	spStages         = "SP101"
	spStageTwice     = "SP102"
	spNoActions      = "SP103"
	spName           = "SP108"
	spActionTwice    = "SP201"
	spProvider       = "SP202"
	spConfiguration  = "SP203"
	spRunOrder       = "SP204"
	spArtifactCount  = "SP205"
	spInput          = "SP206"
	spOutputTwice    = "SP207"
	spBatch          = "SP209"
	spTimeout        = "SP211"
	spNamespace      = "SP212"
	spVariable       = "SP213"
	spUndeclared     = "SP215"
	spFilter         = "SP303"
	spRollback       = "SP403"
	spDoubtful       = "SP501"
	maxStages        = 50
	maxActions       = 500
	maxVariables     = 50
	maxVariableChars = 1000
)

// ParseFile reads a pipeline file, .slipway/NAME.yml, in the format of the
// CodePipeline reference, section 6. It returns a pipeline for each document,
// at least one, with all mistakes. name is what Pipeline.File says; a document
// without a name is called as the file is.
func ParseFile(name string, data []byte) []FilePipeline {
	var all []FilePipeline
	for _, f := range specfile.ParseAll(data, specfile.Options{}) {
		r := &reader{f: f, places: map[place]position{}}
		r.p = Pipeline{Name: strings.TrimSuffix(path.Base(name), FileSuffix), Mode: SupersededMode, File: name}
		if f.Root != nil {
			r.document()
		}
		for _, other := range all {
			if other.Pipeline.Name == r.p.Name && f.Root != nil {
				f.Errorf(r.nameAt, spName, "another pipeline of this file is called %s too", r.p.Name)
				break
			}
		}
		all = append(all, FilePipeline{r.p, r.triggers, f.Problems(), r.places})
	}
	return all
}

// reader reads one document.
type reader struct {
	f        *specfile.File
	p        Pipeline
	triggers Triggers
	nameAt   *yaml.Node
	source   source
	own      *sourceAt  // this repository, if the file names it
	others   []sourceAt // the sources beside it
	actions  []*actionAt
	rules    []*actionAt
	places   map[place]position
}

// source is this repository as the pipeline's first action.
type source struct {
	stage, name, namespace string
	branch                 string
}

// laterPipelineKeys are those of section 6 that nothing here acts on yet.
var laterPipelineKeys = []string{"extends", "concurrency", "max_parallel", "matrix", "needs", "retry", "soak", "cancelSuperseded", "onAbandon", "instance", "newBranch"}

// keys calls what reads each key. One that is unknown, or not supported, is an
// error: nothing in a pipeline file is left out silently.
func (r *reader) keys(n *yaml.Node, where string, read map[string]func(specfile.Entry), later []string) {
	r.entries(r.f.Map(n, where), read, later)
}

func (r *reader) entries(list []specfile.Entry, read map[string]func(specfile.Entry), later []string) {
	known := slices.Sorted(maps.Keys(read))
	for _, e := range list {
		switch read := read[e.Key]; {
		case read != nil:
			read(e)
		case slices.Contains(later, e.Key):
			r.later(e.At, e.Path)
		case strings.HasPrefix(e.Key, "x-"): // for anchors and notes
		default:
			p := r.f.UnknownProblem(e, known)
			p.Severity = specfile.Error
			r.f.Report(e.At, p)
		}
	}
}

// later reports what the format has and this version doesn't.
func (r *reader) later(n *yaml.Node, what string) {
	r.f.Errorf(n, notSupported, "%s is not supported yet", what)
}

func (r *reader) document() {
	r.source = source{stage: "Source", name: DefaultSource, namespace: DefaultSource}
	var stages, on *yaml.Node
	seen := map[string]bool{}
	set := func(read func(specfile.Entry)) func(specfile.Entry) {
		return func(e specfile.Entry) { seen[e.Key] = true; read(e) }
	}
	trigger := func(e specfile.Entry) {
		if on != nil {
			r.f.Errorf(e.At, specfile.CodeDuplicate, "on and triggers are two names of one key: want one of them")
		}
		on = e.Value
	}
	r.keys(r.f.Root, "", map[string]func(specfile.Entry){
		"slipway": set(r.version), "name": r.name, "mode": r.mode, "supersede": r.supersede, "onUpdate": r.onUpdate, "variables": r.variables,
		"on": set(trigger), "triggers": set(trigger), "sources": r.sources,
		"source_stage": func(e specfile.Entry) { r.source.stage = r.named(e.Value, e.Path, anyName, r.source.stage) },
		"stages":       set(func(e specfile.Entry) { stages = e.Value }),
	}, laterPipelineKeys)
	if !seen["slipway"] {
		r.f.Report(r.f.Root, specfile.Problem{Severity: specfile.Error, Code: specfile.CodeMissingKey, Message: "the version is missing", Hint: "write slipway: 1"})
	}
	if seen["on"] || seen["triggers"] {
		r.on(on)
	}
	r.triggers.Branch, r.p.Branch = r.source.branch, r.source.branch
	r.p.Stages = []Stage{r.sourceStage()}
	if !seen["stages"] {
		r.f.Errorf(r.f.Root, spStages, "stages is missing: want at least one")
		return
	}
	r.stages(stages)
	r.check()
}

func (r *reader) version(e specfile.Entry) {
	if text, _ := r.f.Text(e.Value, e.Path); text != "1" {
		r.f.Errorf(orKey(e), specfile.CodeValue, "slipway: want version 1, have %q", text)
	}
}

// orKey is where a value is, or its key where there is none.
func orKey(e specfile.Entry) *yaml.Node {
	if specfile.IsNull(e.Value) {
		return e.At
	}
	return e.Value
}

// Names have 1 to 100 characters (CodePipeline reference 2.2).
var (
	anyName      = nameRule{regexp.MustCompile(`^[A-Za-z0-9.@_-]{1,100}$`), "1 to 100 letters, digits and . @ - _"}
	artifactName = nameRule{regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`), "1 to 100 letters, digits and - _"}
	spaceName    = nameRule{regexp.MustCompile(`^[A-Za-z0-9@_-]{1,100}$`), "1 to 100 letters, digits and @ - _"}
	variableName = nameRule{regexp.MustCompile(`^[A-Za-z0-9@_-]{1,128}$`), "1 to 128 letters, digits and @ - _"}
	envName      = nameRule{regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`), "a name of letters, digits and _"}
)

type nameRule struct {
	pattern *regexp.Regexp
	want    string
}

// named reads a name; fallback where it is none.
func (r *reader) named(n *yaml.Node, where string, rule nameRule, fallback string) string {
	text, ok := r.f.Text(n, where)
	if !ok && !specfile.IsNull(n) {
		return fallback
	}
	if !rule.pattern.MatchString(text) {
		r.f.Errorf(n, spName, "%s: want %s, have %.120q", where, rule.want, text)
		return fallback
	}
	return text
}

func (r *reader) name(e specfile.Entry) {
	r.nameAt = e.Value
	r.p.Name = r.named(orKey(e), e.Path, anyName, r.p.Name)
}

func (r *reader) mode(e specfile.Entry) {
	switch text, _ := r.f.Text(e.Value, e.Path); text {
	case "superseded":
		r.p.Mode = SupersededMode
	case "queued":
		r.p.Mode = QueuedMode
	case "parallel":
		r.p.Mode = ParallelMode
	default:
		r.f.Errorf(orKey(e), specfile.CodeValue, "mode: want superseded, queued or parallel, have %q", text)
	}
}

func (r *reader) supersede(e specfile.Entry) {
	if text, _ := r.f.Text(e.Value, e.Path); text != "approvals" {
		r.f.Errorf(orKey(e), specfile.CodeValue, "supersede: want approvals, have %q", text)
	}
	r.p.SupersedeApprovals = true
}

func (r *reader) onUpdate(e specfile.Entry) {
	switch text, _ := r.f.Text(e.Value, e.Path); text {
	case "continue":
	case "cancel":
		r.p.CancelOnUpdate = true
	default:
		r.f.Errorf(orKey(e), specfile.CodeValue, "onUpdate: want continue or cancel, have %q", text)
	}
}

func (r *reader) variables(e specfile.Entry) {
	for i, v := range r.f.Map(e.Value, e.Path) {
		if i == maxVariables {
			r.f.Errorf(v.At, specfile.CodeLimit, "variables: want at most %d", maxVariables)
			return
		}
		spec := VariableSpec{Name: r.named(v.At, "variables", variableName, "")}
		if v.Value.Kind == yaml.MappingNode {
			r.variable(v, &spec)
		} else {
			spec.Default, _ = r.f.Text(v.Value, v.Path)
		}
		if len([]rune(spec.Default)) > maxVariableChars {
			r.f.Errorf(v.Value, specfile.CodeLimit, "%s: want at most %d characters", v.Path, maxVariableChars)
		}
		if spec.Name != "" {
			r.p.Variables = append(r.p.Variables, spec)
		}
	}
}

func (r *reader) variable(v specfile.Entry, spec *VariableSpec) {
	hasDefault := false
	r.keys(v.Value, v.Path, map[string]func(specfile.Entry){
		"default":     func(e specfile.Entry) { spec.Default, _ = r.f.Text(e.Value, e.Path); hasDefault = true },
		"description": func(e specfile.Entry) { spec.Description, _ = r.f.Text(e.Value, e.Path) },
		"required":    func(e specfile.Entry) { spec.Required = r.f.Flag(e.Value, e.Path) },
	}, nil)
	if spec.Required && hasDefault {
		r.f.Errorf(v.Value, specfile.CodeValue, "%s: want a default or required, have both", v.Path)
	}
}

func (r *reader) branch(e specfile.Entry) string {
	text, ok := r.f.Text(e.Value, e.Path)
	if !ok || text == "" || strings.ContainsAny(text, " *?[\\~^:") {
		r.f.Errorf(orKey(e), specfile.CodeValue, "%s: want the name of a branch, have %q", e.Path, text)
	}
	return text
}

// namespaceOf is an action's default namespace.
func namespaceOf(action string) string { return strings.ReplaceAll(action, ".", "-") }

// place notes where a configuration value is.
func (r *reader) place(stage, action, key string, n *yaml.Node) {
	r.places[place{stage, action, key}] = position{n.Line, n.Column}
}
