package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// A waiting approval says what is asked and where to answer, and is not the
// last word: the check is reopened when somebody has answered.
func TestWaitingApproval(t *testing.T) {
	x := act(running(sample("x1")), 1, 0, func(a *pipeline.ActionExecution) { a.Status = pipeline.Succeeded })
	x = act(x, 2, 0, func(a *pipeline.ActionExecution) {
		a.Status = pipeline.InProgress
		a.Approval = &pipeline.ApprovalState{
			Token: "t", Message: "Release <b>1.2</b>?", Link: "https://example.com/notes", Approvers: []string{"octo/release"},
			Expires: time.Date(2026, 5, 8, 12, 0, 0, 0, time.UTC),
		}
	})
	r := render(x, works(x, nil), RenderOptions{BaseURL: "https://ci.example.com"})
	if r.check.Status != completed || r.check.Conclusion != actionRequired || !r.check.CompletedAt.IsZero() {
		t.Errorf("%s %s, completed at %s", r.check.Status, r.check.Conclusion, r.check.CompletedAt)
	}
	if got := r.verdict.priority(); got != needsHuman {
		t.Errorf("priority %v: a report that waits for people must not be the last", got)
	}
	for _, want := range []string{"Release", "<https://example.com/notes>", "[Approve or reject](https://ci.example.com/executions/x1)", "octo/release", "2026-05-08 12:00 UTC"} {
		if !strings.Contains(r.check.Summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, r.check.Summary)
		}
	}
	if strings.Contains(r.check.Summary, "<b>") {
		t.Errorf("the message is not escaped:\n%s", r.check.Summary)
	}
}
