package codepipeline

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// value is a part of a declaration, which may be missing. CloudFormation
// writes keys with a capital first letter, the API with a small one: both are
// the same here.
type value struct {
	n    *yaml.Node
	path string
	r    *report
}

func (v value) missing() bool { return v.n == nil || v.n.Tag == "!!null" }

// is reports whether two keys are the same but for the first letter's case.
func is(a, b string) bool {
	return a != "" && b != "" && a[1:] == b[1:] && strings.EqualFold(a[:1], b[:1])
}

// get is the value of a key of the declaration's own structure.
func (v value) get(key string) value {
	for k, child := range v.entries() {
		if is(k, key) {
			return child
		}
	}
	return value{nil, join(v.path, key), v.r}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// entries are those of a map, in order; none of anything else.
func (v value) entries() func(yield func(string, value) bool) {
	return func(yield func(string, value) bool) {
		if v.n == nil || v.n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(v.n.Content); i += 2 {
			key := v.n.Content[i].Value
			if !yield(key, value{v.n.Content[i+1], join(v.path, key), v.r}) {
				return
			}
		}
	}
}

func (v value) list() []value {
	if v.n == nil || v.n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]value, len(v.n.Content))
	for i, n := range v.n.Content {
		out[i] = value{n, fmt.Sprintf("%s[%d]", v.path, i), v.r}
	}
	return out
}

func (v value) texts() []string {
	var out []string
	for _, item := range v.list() {
		out = append(out, item.text())
	}
	return out
}

// text is a scalar. A function of CloudFormation is left as ${...}, which
// somebody has to fill in.
func (v value) text() string {
	if v.missing() {
		return ""
	}
	what := ""
	switch {
	case v.n.Kind == yaml.ScalarNode && strings.HasPrefix(v.n.Tag, "!!"), v.n.Kind == yaml.ScalarNode && v.n.Tag == "":
		return v.n.Value
	case v.n.Tag == "!Sub" && v.n.Kind == yaml.ScalarNode:
		what = v.n.Value
	case v.n.Kind == yaml.ScalarNode:
		what = "${" + v.n.Value + "}"
	case v.n.Kind == yaml.MappingNode && len(v.n.Content) == 2:
		what = function(v.n.Content[0].Value, v.n.Content[1])
	default:
		what = "${" + strings.TrimPrefix(v.n.Tag, "!") + "}"
	}
	v.r.note(NeedsAction, v.path, "fill in "+what)
	return what
}

// function spells {"Ref": x} and {"Fn::Name": x}.
func function(name string, argument *yaml.Node) string {
	switch {
	case argument.Kind != yaml.ScalarNode:
		return "${" + name + "}"
	case name == "Fn::Sub":
		return argument.Value
	}
	return "${" + argument.Value + "}"
}

// left notes the keys that nobody has read.
func (v value) left(read ...string) {
	for key, child := range v.entries() {
		if !child.missing() && !slices.ContainsFunc(read, func(r string) bool { return is(key, r) }) {
			fate, why := fateOf(key)
			v.r.note(fate, child.path, why)
		}
	}
}

// reasons why what AWS needs has no place here.
var reasons = map[string]string{
	"roleArn":             "there are no IAM roles: workers have their own rights",
	"artifactStore":       "artifacts are kept in the server's blob store",
	"artifactStores":      "artifacts are kept in the server's blob store",
	"region":              "there are no regions",
	"pipelineType":        "there is one type of pipeline",
	"metadata":            "it describes the pipeline in AWS",
	"version":             "versions are commits",
	"tags":                "pipelines have no tags",
	"blockers":            "CodePipeline reserves it",
	"NotificationArn":     "whoever follows the pipeline is told by the server",
	"providerType":        "the forge is the one that holds the file",
	"DependsOn":           "it belongs to the stack",
	"ConnectionArn":       "the server's own credentials are used",
	"OAuthToken":          "the server's own credentials are used",
	"resourceArn":         "it names the pipeline in AWS",
	"deletionPolicy":      "it belongs to the stack",
	"UpdateReplacePolicy": "it belongs to the stack",
}

// guards keep something from happening: without them somebody has to look.
var guards = []string{"beforeEntry", "onSuccess", "conditions"}

func fateOf(key string) (Fate, string) {
	fate := Dropped
	if slices.ContainsFunc(guards, func(g string) bool { return is(g, key) }) {
		fate = NeedsAction
	}
	for k, why := range reasons {
		if is(k, key) {
			return fate, why
		}
	}
	return fate, "nothing here corresponds to it"
}

// word is a name without what ours may not have.
func word(s string, extra string) string {
	return strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune(extra, r) {
			return r
		}
		return '-'
	}, s)
}
