package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

func readBatch(t *testing.T, o pipeline.BatchOrder, spec string) (pipeline.Outcome, string) {
	t.Helper()
	var log strings.Builder
	o.Source.SHA = "a"
	b := batches{files: commits{"a:buildspec.yml": spec}}
	out, err := b.read(t.Context(), o, func(format string, args ...any) { fmt.Fprintf(&log, format+"\n", args...) })
	if err != nil {
		t.Fatal(err)
	}
	return out, log.String()
}

const phase = "phases:\n  build:\n    commands: [make]\n"

func TestBatchIsRead(t *testing.T) {
	o := pipeline.BatchOrder{Limit: 100, Computes: []string{"large"}}
	out, log := readBatch(t, o, "version: 0.2\nbatch:\n  fast-fail: yes\n  build-graph:\n"+
		"    - {identifier: a, env: {image: i, compute-type: large, variables: {V: 1}}}\n"+
		"    - {identifier: b, depend-on: [a], ignore-failure: true, env: {compute-type: huge, privileged-mode: true}}\n"+phase)
	yes := true
	want := &pipeline.Batch{Kind: "build-graph", FastFail: true, Tasks: []pipeline.Task{
		{ID: "a", Image: "i", Compute: "large", Variables: map[string]string{"V": "1"}},
		{ID: "b", DependsOn: []string{"a"}, IgnoreFailure: true, Privileged: &yes},
	}}
	if diff := cmp.Diff(want, out.Batch); diff != "" || out.Status != pipeline.BuildSucceeded {
		t.Errorf("%+v (-want +got)\n%s", out, diff)
	}
	for _, line := range []string{"build-graph of 2 builds", "b after a", "6:1: task b: compute type huge is not known here", "does not allow privileged builds"} {
		if !strings.Contains(log, line) {
			t.Errorf("the log lacks %q:\n%s", line, log)
		}
	}
	if len(out.Annotations) != 2 || out.Annotations[0].StartLine != 6 || out.Annotations[0].Level != "warning" {
		t.Errorf("annotations: %+v", out.Annotations)
	}
}

// Mistakes end the batch in DOWNLOAD_BATCHSPEC, at their places.
func TestBatchThatCannotBe(t *testing.T) {
	tests := []struct{ name, spec, want string }{
		{"no batch", phase, "buildspec.yml:1:1: this build is to be a batch"},
		{"too many", "batch:\n  build-fanout: {parallelism: 4}\n" + phase, "buildspec.yml:2:1: build-fanout has 4 builds; the project allows 3"},
		{"a circle", "batch:\n  build-graph:\n  - {identifier: a, depend-on: [b]}\n  - {identifier: b, depend-on: [a]}\n" + phase, "in a circle"},
		{"unknown", "batch:\n  build-graph:\n  - {identifier: a, depend-on: [b]}\n" + phase, "depends on b, which does not exist"},
		{"compute", "batch:\n  build-list:\n  - {identifier: a, env: {compute-type: huge}}\n" + phase, "the project allows large"},
		{"elsewhere", "batch:\n  build-list:\n  - {identifier: a, buildspec: 'arn:aws:s3:::b/c'}\n" + phase, "want a buildspec in the repository"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := readBatch(t, pipeline.BatchOrder{Limit: 3, Computes: []string{"large"}, Restricted: true}, "version: 0.2\n"+tt.spec)
			if out.Status != pipeline.BuildFailed || out.Code != "YAML_FILE_ERROR" || out.Batch != nil || !strings.Contains(out.Message, tt.want) {
				t.Errorf("got %s %s %q, want %q", out.Status, out.Code, out.Message, tt.want)
			}
		})
	}
}

// What a webhook starts: the project has the last word.
func TestBuildType(t *testing.T) {
	list := []byte("version: 0.2\nbatch:\n  build-list: [{identifier: a}]\n" + phase)
	plain := []byte("version: 0.2\n" + phase)
	tests := []struct {
		kind string
		spec []byte
		want bool
	}{
		{"", list, true}, {"", plain, false}, {"auto", list, true}, {"build", list, false}, {"batch", plain, true},
		{"", []byte("version: 0.2\nbatch: [\n"), false},
	}
	for _, tt := range tests {
		if got := batchSettings(config.Project{BuildType: tt.kind}, tt.spec) != nil; got != tt.want {
			t.Errorf("build_type %q, %q: a batch is %v, want %v", tt.kind, tt.spec, got, tt.want)
		}
	}
}
