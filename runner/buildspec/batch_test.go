package buildspec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// In the wild: 27.
func TestWild27BatchGraph(t *testing.T) {
	spec, problems := parse(t, `version: 0.2
batch:
  fast-fail: true
  build-graph:
    - identifier: build
      buildspec: ci/build.yml
      env:
        image: alpine
        type: LINUX_CONTAINER
        compute-type: BUILD_GENERAL1_SMALL
        privileged-mode: true
        variables: {A: 1.0}
    - identifier: test_1
      depend-on: [build]
      ignore-failure: true
      debug-session: yes
      env: {fleet: big, env: }
phases:
  build:
    commands: [x]
`)
	yes := true
	want := &Batch{Kind: Graph, FastFail: true, Line: 2, Tasks: []Task{
		{Identifier: "build", Buildspec: "ci/build.yml", Line: 5, Env: TaskEnv{Image: "alpine", Type: "LINUX_CONTAINER", ComputeType: "BUILD_GENERAL1_SMALL", Privileged: &yes, Variables: []Variable{{Name: "A", Value: "1.0", Line: 12}}}},
		{Identifier: "test_1", DependOn: []string{"build"}, IgnoreFailure: true, DebugSession: true, Line: 13, Env: TaskEnv{Fleet: "big"}},
	}}
	if d := cmp.Diff(want, spec.Batch); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if len(problems) != 3 || !strings.Contains(problems[2].Message, "env.env") {
		t.Errorf("want warnings about debug-session, fleet and env.env, have %v", problems)
	}
}

// In the wild: 27.
func TestWild27LargestBatch(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 0.2\nbatch:\n  build-graph:\n    - identifier: t0\n")
	for i := 1; i < 182; i++ {
		fmt.Fprintf(&b, "    - identifier: t%d\n      depend-on: [t%d]\n", i, i-1)
	}
	spec, _ := parse(t, b.String()+"phases:\n")
	if got := len(spec.Batch.Tasks); got != 182 {
		t.Errorf("got %d tasks", got)
	}
}

func TestBatchErrors(t *testing.T) {
	tests := []struct{ name, batch, want string }{
		{"two kinds", "build-list: [{identifier: a}]\n  build-fanout: {parallelism: 2}", "want one of build-list"},
		{"no identifier", "build-list: [{buildspec: a.yml}]", "batch.build-list[0].identifier: missing"},
		{"dash in identifier", "build-list: [{identifier: a-b}]", `want letters, digits and underscores, fewer than 128, have "a-b"`},
		{"identifier twice", "build-list: [{identifier: a}, {identifier: a}]", "identifier a occurs twice, in lines 3 and 3"},
		{"unknown dependency", "build-graph: [{identifier: a, depend-on: b}]", "task a depends on b, which does not exist"},
		{"circle", "build-graph: [{identifier: a, depend-on: b}, {identifier: b, depend-on: c}, {identifier: c, depend-on: b}]", "in a circle: b -> c -> b"},
		{"depends on itself", "build-graph: [{identifier: a, depend-on: a}]", "in a circle: a -> a"},
		{"fleet and compute type", "build-list: [{identifier: a, env: {fleet: f, compute-type: c}}]", "want compute-type or fleet, have both"},
		{"no parallelism", "build-fanout: {ignore-failure: true}", "batch.build-fanout.parallelism: missing"},
		{"parallelism zero", "build-fanout: {parallelism: 0}", "want a number from 1 to 1000"},
		{"product too large", "build-matrix: {dynamic: {env: {variables: {A: [" + strings.Repeat("x, ", 40) + "], B: [" + strings.Repeat("x, ", 40) + "]}}}}", "the product has more than 1000 builds"},
		{"buildspec outside", "build-list: [{identifier: a, buildspec: ../x.yml}]", "want a path inside the source"},
		{"task that is text", "build-list: [a]", "batch.build-list[0]: want a map, have text"},
		{"reserved variable", "build-list: [{identifier: a, env: {variables: {CODEBUILD_X: 1}}}]", "reserved"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := refused(t, "version: 0.2\nbatch:\n  "+tt.batch+"\nphases:\n"); !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestC38MatrixProduct(t *testing.T) {
	spec, _ := parse(t, `version: 0.2
batch:
  build-matrix:
    static:
      ignore-failure: true
      env: {type: LINUX_CONTAINER, privileged-mode: true}
    dynamic:
      buildspec: [a.yml, b.yml]
      env:
        variables:
          V: [1.10, two, 3]
`)
	var got []string
	for _, task := range spec.Batch.Tasks {
		got = append(got, fmt.Sprint(task.Identifier, " ", task.Buildspec, " ", task.Env.Variables[0].Value, " ", task.Env.Type, " ", task.IgnoreFailure, " ", *task.Env.Privileged))
	}
	want := []string{
		"m_1 a.yml 1.10 LINUX_CONTAINER true true", "m_2 a.yml two LINUX_CONTAINER true true", "m_3 a.yml 3 LINUX_CONTAINER true true",
		"m_4 b.yml 1.10 LINUX_CONTAINER true true", "m_5 b.yml two LINUX_CONTAINER true true", "m_6 b.yml 3 LINUX_CONTAINER true true",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestFanout(t *testing.T) {
	spec, _ := parse(t, "version: 0.2\nbatch: {build-fanout: {parallelism: 3, ignore-failure: yes}}\nphases:\n")
	b := spec.Batch
	if b.Kind != Fanout || len(b.Tasks) != 3 || b.Tasks[2].Identifier != "f_3" || !b.Tasks[2].IgnoreFailure {
		t.Errorf("got %+v", b)
	}
}
