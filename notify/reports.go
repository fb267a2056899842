package notify

import (
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/pipeline"
)

// writeReports has a line for each report. Its failed cases are annotations
// where their places are known; the build's page has the others too.
func writeReports(b *strings.Builder, reports []pipeline.Report) {
	if len(reports) == 0 {
		return
	}
	b.WriteString("\n| Report | State | Counts |\n| --- | --- | --- |\n")
	for _, r := range reports {
		fmt.Fprintf(b, "| %s | %s | %s |\n", escape(cut(r.Name, 100)), reportState(r.Status), escape(r.Counts()))
	}
}

func reportState(s pipeline.ReportStatus) string {
	switch s {
	case pipeline.ReportSucceeded:
		return "✅ succeeded"
	case pipeline.ReportFailed:
		return "❌ failed"
	case pipeline.ReportIncomplete:
		return "⚠️ incomplete"
	}
	return escape(string(s))
}
