package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A push to a repository whose buildspec lists a graph of four builds.
func TestBatchGraph(t *testing.T) {
	s := shared(t)
	r := s.repo(t, owner, "batch")
	sha := s.push(t, r, "main", "a graph", map[string]string{
		"buildspec.yml": `version: 0.2
batch:
  build-graph:
    - identifier: compile
    - identifier: unit
      buildspec: ci/test.yml
      depend-on: [compile]
      env: {variables: {SUITE: unit}}
    - identifier: flaky
      buildspec: ci/test.yml
      depend-on: [compile]
      ignore-failure: true
      env: {variables: {SUITE: flaky}}
    - identifier: report
      depend-on: [unit, flaky]
      needs-artifacts: [compile]
phases:
  build:
    commands:
      - echo "this is $CODEBUILD_BATCH_BUILD_IDENTIFIER"
      - if [ "$CODEBUILD_BATCH_BUILD_IDENTIFIER" = report ]; then cat "$CODEBUILD_SRC_DIR_compile/out.txt"; fi
      - echo "made by $CODEBUILD_BATCH_BUILD_IDENTIFIER" > out.txt
artifacts: {files: [out.txt]}
`,
		"ci/test.yml": "version: 0.2\nphases:\n  build:\n    commands: ['echo \"suite $SUITE\"', 'test $SUITE = unit']\n",
	})
	x := s.awaitExecution(t, sha)
	if x.Status != "Succeeded" {
		t.Fatalf("got %s: %s, want Succeeded\n%+v", x.Status, x.Reason, x.Stages)
	}
	logs := map[string]string{}
	var states []string
	for _, a := range x.Stages[1].Actions {
		states = append(states, a.Name+" "+a.Outcome)
		logs[a.Name] = string(s.open(t, s.url+"/api/v1/builds/"+a.Build+"/log"))
	}
	want := []string{"Build SUCCEEDED", "Build/compile SUCCEEDED", "Build/unit SUCCEEDED", "Build/flaky FAILED", "Build/report SUCCEEDED"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, line := range map[string]string{
		"Build": "build-graph of 4 builds", "Build/compile": "this is compile", "Build/unit": "suite unit",
		"Build/flaky": "suite flaky", "Build/report": "made by compile",
	} {
		if !strings.Contains(logs[name], line) {
			t.Errorf("the log of %s lacks %q:\n%s", name, line, logs[name])
		}
	}
	check := s.awaitChecks(t, r, sha, 1)[0]
	if check.Conclusion != "success" {
		t.Errorf("got check %s", check.Conclusion)
	}
	for _, a := range x.Stages[1].Actions[1:] {
		id := strings.TrimPrefix(a.Name, "Build/")
		if line := fmt.Sprintf("| [%s](%s/builds/%s) | ", id, s.url, a.Build); !strings.Contains(check.Summary, line) {
			t.Errorf("the check's summary lacks the line %q:\n%s", line, check.Summary)
		}
	}
}

// A fanout: each build runs its share of the tests, and its report is part of
// one.
func TestBatchFanout(t *testing.T) {
	s := shared(t)
	r := s.repo(t, owner, "fanout")
	sha := s.push(t, r, "main", "a fanout", map[string]string{
		"buildspec.yml": `version: 0.2
batch:
  build-fanout: {parallelism: 2}
phases:
  build:
    commands:
      - codebuild-tests-run --test-command "sh run.sh" --files-search "codebuild-glob-search 'tests/*'"
reports:
  unit: {files: out.xml}
`,
		"run.sh": `echo "tests $*"
for f in "$@"; do cases="$cases<testcase name=\"$f\"/>"; done
echo "<testsuite>$cases</testsuite>" > out.xml
`,
		"tests/a": "", "tests/b": "", "tests/c": "",
	})
	x := s.awaitExecution(t, sha)
	if x.Status != "Succeeded" {
		t.Fatalf("got %s: %s, want Succeeded\n%+v", x.Status, x.Reason, x.Stages)
	}
	for _, a := range x.Stages[1].Actions {
		want := map[string]string{"Build": "build-fanout of 2 builds", "Build/f_1": "\ntests tests/a tests/b\n", "Build/f_2": "\ntests tests/c\n"}[a.Name]
		if log := string(s.open(t, s.url+"/api/v1/builds/"+a.Build+"/log")); want == "" || !strings.Contains(log, want) {
			t.Errorf("the log of %s lacks %q:\n%s", a.Name, want, log)
		}
	}
	var groups struct {
		Items []struct {
			Last struct{ Total int } `json:"last"`
		} `json:"items"`
	}
	if err := s.call(t.Context(), "GET", "/api/v1/repos/github/"+r.FullName()+"/reports", nil, &groups); err != nil || len(groups.Items) != 1 || groups.Items[0].Last.Total != 3 {
		t.Errorf("got %+v, %v, want one report of 3 cases", groups, err)
	}
}
