package notify

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
)

func TestReportsInTheSummary(t *testing.T) {
	b := failedBuild()
	b.Reports = []pipeline.Report{
		{Name: "app-a|b", Kind: pipeline.ReportTest, Status: pipeline.ReportFailed, Total: 5, Passed: 4, Failed: 1},
		{Name: "cov", Kind: pipeline.ReportCoverage, Status: pipeline.ReportSucceeded, Lines: pipeline.Coverage{Covered: 3, Missed: 1}},
	}
	c := Render(failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "exit"), []pipeline.Build{b}, RenderOptions{Now: start})
	for _, want := range []string{
		"| Report | State | Counts |", `| app-a\|b | ❌ failed | 5 tests, 4 passed, 1 failed |`, `| cov | ✅ succeeded | 75.0% of lines \(3 of 4\) |`,
	} {
		if !strings.Contains(c.Summary, want) {
			t.Errorf("no %q in\n%s", want, c.Summary)
		}
	}
}
