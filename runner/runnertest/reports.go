package runnertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
)

const junitFile = `<testsuite><testcase name="a"/><testcase name="b"/><testcase name="c" file="src/c_test.go" line="7"><failure message="hunter22 is wrong"/></testcase>
<testcase name="d" file="nowhere.go" line="1"><error/></testcase><testcase name="e"><skipped/></testcase></testsuite>`

const coverageFile = `<coverage generated="1"><file name="src/c_test.go"><metrics statements="4" coveredstatements="3"/></file></coverage>`

// reported are the lines that a build's record and log have of its reports.
func reported(b pipeline.Build) string {
	var lines []string
	for _, r := range b.Reports {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

// testReports is C37 and what section 6.4 says of reports and builds.
func testReports(t *testing.T, s Setup) {
	files := map[string]string{
		"src/c_test.go": "", "out/m1/r.xml": junitFile, "out/m2/r.xml": `<testsuite><testcase name="f"/></testsuite>`, "out/m1/notes.txt": "x", "out/m1/pom.xml": "<project/>",
		"cov.xml": coverageFile, "broken.xml": "<testsuite><testcase",
	}
	const unit = "reports:\n  $GROUP:\n    base-directory: out/*\n    files: ['**/*']\n"
	const counts = "app-unit: FAILED: 6 tests, 3 passed, 1 failed, 1 with an error, 1 skipped"
	const discover = "env: {variables: {CODEBUILD_CONFIG_AUTO_DISCOVER: \"%s\"}}\n"
	const found = "app-JUNITXML-AutoDiscovered: FAILED: 6 tests, 3 passed, 1 failed, 1 with an error, 1 skipped"
	const clover = "app-CLOVERXML-AutoDiscovered: SUCCEEDED: 75.0% of lines (3 of 4)"
	tests := []struct {
		name, spec string
		status     pipeline.BuildStatus
		want       string
		message    string
		annotated  int
	}{
		{"C37 bad tests don't fail the build", spec("  build:\n    commands: [\"true\"]\n") + unit, pipeline.BuildSucceeded, counts, "", 1},
		{"with artifacts", spec("  build:\n    commands: [\"true\"]\n") + unit + "artifacts:\n  files: [cov.xml]\n", pipeline.BuildSucceeded, counts, "", 1},
		{"a build that fails has reports", spec("  pre_build:\n    commands: [\"false\"]\n") + unit, pipeline.BuildFailed, counts, "Reason: exit status 1", 1},
		{"C11 one that ABORT ends has none", spec("  build:\n    on-failure: ABORT\n    commands: [\"false\"]\n") + unit, pipeline.BuildFailed, "", "Reason: exit status 1", 0},
		{
			"fail-on and a file that is missing", spec("  build:\n    commands: [\"true\"]\n") + "reports:\n  cov: {files: none.xml, file-format: CLOVERXML, fail-on: coverage<80}\n", pipeline.BuildFailed,
			"app-cov: INCOMPLETE: nothing to cover; no report file found for none.xml", "report app-cov: it is incomplete: no report file found for none.xml", 0,
		},
		{"fail-on", spec("  build:\n    commands: [\"true\"]\n") + unit + "    fail-on: failed\n", pipeline.BuildFailed, counts, "report app-unit: 2 of 6 tests failed", 1},
		{
			"coverage", spec("  build:\n    commands: [\"true\"]\n") + "reports:\n  cov: {files: cov.xml, file-format: CloverXml, fail-on: coverage<80}\n", pipeline.BuildFailed,
			"app-cov: SUCCEEDED: 75.0% of lines (3 of 4)", "report app-cov: 75.0% of lines are covered, want 80%", 0,
		},
		{
			"what no entry names is looked for, if the build says so", strings.Replace(spec("  build:\n    commands: [\"rm broken.xml\"]\n"), "phases:", fmt.Sprintf(discover, "true")+"phases:", 1), pipeline.BuildSucceeded,
			found + "\n" + clover, "", 1,
		},
		{
			"below one folder, and nothing twice", spec("  build:\n    commands: [export CODEBUILD_CONFIG_AUTO_DISCOVER=true CODEBUILD_CONFIG_AUTO_DISCOVER_DIR=$CODEBUILD_SRC_DIR/out/]\n") +
				"reports:\n  unit: {files: out/m1/r.xml}\n", pipeline.BuildSucceeded,
			"app-unit: FAILED: 5 tests, 2 passed, 1 failed, 1 with an error, 1 skipped\napp-JUNITXML-AutoDiscovered: SUCCEEDED: 1 tests, 1 passed", "", 1,
		},
		{"not otherwise", strings.Replace(spec("  build:\n    commands: [\"true\"]\n"), "phases:", fmt.Sprintf(discover, "no")+"phases:", 1), pipeline.BuildSucceeded, "", "", 0},
		{
			"nor outside of the source", spec("  build:\n    commands: [export CODEBUILD_CONFIG_AUTO_DISCOVER=true CODEBUILD_CONFIG_AUTO_DISCOVER_DIR=../..]\n"), pipeline.BuildSucceeded, "", "", 0,
		},
		{
			"missing and broken files make a report incomplete", spec("  build:\n    commands: [\"true\"]\n") +
				"reports:\n  a: {files: none.xml}\n  b: {files: broken.xml}\n  c: {files: cov.xml}\n  d: {files: x, base-directory: no}\n", pipeline.BuildSucceeded,
			"app-a: INCOMPLETE: 0 tests; no report file found for none.xml\n" +
				"app-b: INCOMPLETE: 0 tests; broken.xml: 1:21: unexpected EOF\n" +
				"app-c: INCOMPLETE: 0 tests; cov.xml: 1:25: not the format: want a file that begins with <testsuites> or <testsuite>, have <coverage>\n" +
				"app-d: INCOMPLETE: 0 tests; no matching base directory path found for no", "", 0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := map[string]string{"buildspec.yml": tt.spec}
			for name, text := range files {
				all[name] = text
			}
			b, o, sink := s.Build(t, all, func(o *pipeline.BuildOrder) {
				o.Project = "app"
				variables(pipeline.Variable{Name: "GROUP", Value: "unit"}, pipeline.Variable{Name: "S", Value: "hunter22", Secret: true})(o)
			})
			if got := reported(b); got != tt.want || b.Status != tt.status || !strings.Contains(o.Message, tt.message) {
				t.Errorf("got %s, message %q, reports\n%s\nwant %s, %q,\n%s", b.Status, o.Message, got, tt.status, tt.message, tt.want)
			}
			if len(o.Annotations) != tt.annotated || tt.annotated == 1 && (o.Annotations[0].Path != "src/c_test.go" || o.Annotations[0].StartLine != 7) {
				t.Errorf("got annotations %+v", o.Annotations)
			}
			if n := strings.Count(string(sink.Bytes(runner.ReportArtifact+"app-unit")), `"located": true`); n != tt.annotated && strings.Contains(reported(b), "app-unit") {
				t.Errorf("%d cases are in files of the source, want %d", n, tt.annotated)
			}
			for _, r := range b.Reports {
				stored := string(sink.Bytes(runner.ReportArtifact + r.Name))
				if r.Stored == nil || !strings.Contains(stored, `"status": "`+string(r.Status)) || strings.Contains(stored, "hunter22") || !strings.Contains(sink.Text(), "Report "+r.String()) {
					t.Errorf("report %s: stored %q", r.Name, stored)
				}
				if r.Lines.Covered > 0 && !strings.Contains(stored, `"located": true`) {
					t.Errorf("report %s: its file is one of the source's: %s", r.Name, stored)
				}
			}
		})
	}
}
