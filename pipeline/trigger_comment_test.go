package pipeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

const benchFile = `slipway: 1
variables: {SUITE: all, LEVEL: low}
on:
  comment:
    - "^/bench( (?P<SUITE>[a-z]+))?( level=(?P<LEVEL>[a-z]+))?$"
    - "^/measure$"
    - "^/load|/stress$"
stages: [{name: S, actions: [{build: b}]}]
`

func TestCommentsStartPipelines(t *testing.T) {
	f := ParseFile(".slipway/bench.yml", []byte(benchFile))[0]
	if len(f.Problems) > 0 {
		t.Fatal(f.Problems)
	}
	defs := []Definition{{Project: "implied"}, {Pipeline: f.Pipeline, Triggers: &f.Triggers}}
	tests := []struct {
		line string
		want map[string]string // nil: it starts nothing
	}{
		{"/bench", map[string]string{}},
		{"/bench quick", map[string]string{"SUITE": "quick"}},
		{"/bench quick level=high", map[string]string{"SUITE": "quick", "LEVEL": "high"}},
		{"/measure", map[string]string{}},
		{"/bench $(id)", nil},
		{"/benchmark", nil},
		{"/measure it", nil},
		{"please /bench", nil},
		{"/load", map[string]string{}},
		{"/load it", nil},
		{"/not /stress", nil},
	}
	for _, tt := range tests {
		found := commented(defs, tt.line)
		if (len(found) == 1) != (tt.want != nil) {
			t.Errorf("%s: %d pipelines start", tt.line, len(found))
			continue
		}
		if tt.want == nil {
			continue
		}
		if diff := cmp.Diff(tt.want, PullRun{Comment: tt.line}.variablesFor(found[0])); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.line, diff)
		}
	}
	e := forge.Event{Kind: forge.Push, Push: &forge.PushEvent{Ref: "refs/heads/main"}, Repo: forge.Repo{DefaultBranch: "main"}}
	if start, reason, err := f.Triggers.Match(e, nil); start || err != nil || !strings.Contains(reason, "only comments start it") {
		t.Errorf("a push: %t, %q, %v", start, reason, err)
	}
}

// A comment may have several lines for one pipeline; its delivery may come twice.
func TestEachLineOfACommentStarts(t *testing.T) {
	f := ParseFile(".slipway/bench.yml", []byte(benchFile))[0]
	m := newMemory()
	m.define(Definition{Project: "octo-web", Pipeline: f.Pipeline, Triggers: &f.Triggers})
	e := pulled("opened", "1")
	for range 2 {
		for line, suite := range map[string]string{"/bench": "all", "/bench quick": "quick"} {
			d, err := m.orchestrator().StartPull(t.Context(), Delivery{Forge: "github", ID: "1"}, e, *e.Pull, PullRun{Comment: line})
			if err != nil || len(d.Executions) != 1 || m.executions[d.Executions[0]].Variables["SUITE"] != suite {
				t.Fatalf("%s: %+v, %v", line, d, err)
			}
		}
	}
	if len(m.executions) != 2 {
		t.Errorf("started %s", m.pipelines())
	}
}

func TestMistakesOfComments(t *testing.T) {
	for text, want := range map[string]string{
		"bench$":                              "want a regular expression from ^/ to $",
		"^/bench":                             "want a regular expression from ^/ to $",
		"^bench$":                             "want a regular expression from ^/ to $",
		"^/ben(ch$":                           "missing closing )",
		"^/bench (?P<WHO>.*)$":                "the group WHO is no variable of the pipeline",
		"^/" + strings.Repeat("x", 260) + "$": "of at most 255 characters",
	} {
		f := ParseFile("x.yml", []byte("slipway: 1\non: {comment: '"+text+"'}\nstages: [{name: S, actions: [{build: b}]}]\n"))[0]
		if len(f.Problems) != 1 || f.Problems[0].Line != 2 || !strings.Contains(f.Problems[0].Message, want) {
			t.Errorf("%s: got %v, want %q", text, f.Problems, want)
		}
	}
}
