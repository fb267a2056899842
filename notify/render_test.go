package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// CodeBuild reference 8.3, buildStatusConfig.context.
func TestNamesOfChecks(t *testing.T) {
	tests := []struct{ check, name, context string }{
		{"", "slipway / web", "slipway/web"},
		{"ci/unit", "ci/unit", "ci/unit"},
		{"Build #$CODEBUILD_BUILD_NUMBER - ${CODEBUILD_WEBHOOK_TRIGGER} $CODEBUILD_WEBHOOK_EVENT$HOME", "Build #12 - branch/main PUSH", "Build #12 - branch/main PUSH"},
	}
	for _, tt := range tests {
		x := sample("x1")
		x.Pipeline.Name, x.Pipeline.Check, x.Number = "web", tt.check, 12
		x.Trigger.Ref, x.Trigger.Event, x.Trigger.Pull = "refs/heads/main", "PUSH", nil
		got := render(x, nil, RenderOptions{Now: start})
		if got.check.Name != tt.name || got.status.Context != tt.context || got.status.Name != tt.name {
			t.Errorf("%q: got %q, %q and %q", tt.check, got.check.Name, got.status.Context, got.status.Name)
		}
	}
}

// TestTitles is the table of forges reference 3.1.
func TestTitles(t *testing.T) {
	waiting := act(running(sample("x1")), 1, 0, func(a *pipeline.ActionExecution) { a.Status = pipeline.Succeeded })
	waiting = act(waiting, 2, 0, func(a *pipeline.ActionExecution) { a.Status = pipeline.InProgress })
	second := act(running(sample("x1")), 1, 0, func(a *pipeline.ActionExecution) { a.Status = pipeline.Succeeded })
	second = act(second, 1, 1, func(a *pipeline.ActionExecution) { a.Status = pipeline.InProgress })
	gated := ended(sample("x1"), pipeline.Stopped, "")
	gated.Gate = "The pull request comes from a fork."
	invalid := ended(sample("x1"), pipeline.Failed, "invalid")
	invalid.Problem = &pipeline.UserError{Code: "YAML_FILE_ERROR", Msg: "want a list, have a map", File: "slipway.yml", Line: 12, Column: 5}
	overridden := failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "exit")
	overridden.Override = &pipeline.Override{By: "ann", Reason: "flaky host"}
	tests := []struct {
		name                      string
		x                         pipeline.Execution
		line                      int
		status, conclusion, title string
		state                     string // of the commit status (3.5)
	}{
		{"queued", sample("x1"), 0, "queued", "", "Queued", "pending"},
		{"queued, place known", sample("x1"), 3, "queued", "", "Queued (3rd in line)", "pending"},
		{"waiting for a person", waiting, 0, "completed", "action_required", "Waiting for approval: deploy-prod", "pending"},
		{"C21 fork", gated, 0, "completed", "action_required", "Approval needed to run", "pending"},
		{"running", running(sample("x1")), 0, "in_progress", "", "Build 1/4: unit-tests (3m12s)", "pending"},
		{"second build waits", second, 0, "in_progress", "", "Build 2/4: lint (waiting for a runner)", "pending"},
		{"succeeded", ended(running(sample("x1")), pipeline.Succeeded, ""), 0, "completed", "success", "Passed in 4m31s", "success"},
		{"failed", failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "exit"), 0, "completed", "failure", "unit-tests failed in BUILD: exit 1", "failure"},
		{"overridden", overridden, 0, "completed", "success", "Overridden by @ann: flaky host", "success"},
		{"our fault", failed(sample("x1"), pipeline.BuildFault, pipeline.RunnerLost, "the worker is gone"), 0,
			"completed", "failure", "Infrastructure error: the worker is gone", "error"},
		{"stopped", ended(sample("x1"), pipeline.Stopped, "stopped by octocat"), 0, "completed", "cancelled", "Cancelled by @octocat", "error"},
		{"superseded", ended(sample("x1"), pipeline.Superseded, "superseded by abc1234"), 0, "completed", "cancelled", "Superseded by abc1234", "error"},
		{"superseded head", ended(sample("x1"), pipeline.Stopped, "superseded by abc1234"), 0, "completed", "cancelled", "Superseded by abc1234", "error"},
		{"timed out", failed(sample("x1"), pipeline.BuildTimedOut, pipeline.TimedOut, "timed out after 1h0m0s"), 0,
			"completed", "timed_out", "Timed out after 60m", "failure"},
		{"skipped", ended(sample("x1"), pipeline.Skipped, "the commit message says [skip ci]"), 0,
			"completed", "skipped", "the commit message says [skip ci]", "success"},
		{"definition invalid", invalid, 0, "completed", "failure", "slipway.yml: line 12: want a list, have a map", "failure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			builds := []pipeline.Build{failedBuild()}
			o := RenderOptions{Now: start.Add(194 * time.Second), Line: tt.line}
			got := render(tt.x, works(tt.x, builds), o)
			if got.check.Status != tt.status || got.check.Conclusion != tt.conclusion || got.check.Title != tt.title {
				t.Errorf("got %s/%s %q, want %s/%s %q", got.check.Status, got.check.Conclusion, got.check.Title, tt.status, tt.conclusion, tt.title)
			}
			if got.status.State != tt.state {
				t.Errorf("commit status: got %s, want %s", got.status.State, tt.state)
			}
		})
	}
}

// Attacks: 36.
func TestRenderGolden(t *testing.T) {
	hostile := failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "no @team, <img src=x> or [link](https://evil.example) `code`")
	hostile.Pipeline.Stages[1].Actions[0].Name, hostile.Stages[1].Actions[0].Name = "a|b\n::set-env", "a|b\n::set-env"
	invalid := ended(sample("x1"), pipeline.Failed, "")
	invalid.Problem = &pipeline.UserError{Code: "YAML_FILE_ERROR", Msg: "want a list, have a map", File: "buildspec.yml", Line: 7, Column: 5}
	gated := ended(sample("x1"), pipeline.Stopped, "")
	gated.Gate, gated.Number = pipeline.ForkGate(forge.PullRequest{HeadRepoID: "9"}), 0
	passed := act(ended(running(sample("x1")), pipeline.Succeeded, ""), 1, 0, func(a *pipeline.ActionExecution) {
		a.Status = pipeline.Succeeded
		a.Artifacts = []pipeline.Artifact{{Name: "BuildArtifact", Digest: strings.Repeat("ab", 32), Format: "zip", Bytes: 2048, Files: 3}}
	})
	tests := map[string]pipeline.Execution{
		"failed":  failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "exit"),
		"fault":   failed(sample("x1"), pipeline.BuildFault, pipeline.RunnerLost, "the worker of this attempt is gone (attempt 3)"),
		"hostile": hostile, "invalid": invalid, "gated": gated, "passed": passed,
		"running": running(sample("x1")), "queued": sample("x1"),
	}
	for name, x := range tests {
		t.Run(name, func(t *testing.T) {
			var builds []pipeline.Build
			if name == "failed" {
				builds = []pipeline.Build{failedBuild()}
			}
			if name == "running" || name == "passed" {
				b := failedBuild()
				b.Failure, b.Phases[2].EndTime, b.Phases[2].Status, b.Phases = nil, time.Time{}, pipeline.BuildInProgress, b.Phases[:3]
				builds = []pipeline.Build{b}
			}
			c := Render(x, builds, RenderOptions{BaseURL: "https://ci.example.com/", Now: start.Add(194 * time.Second)})
			golden(t, name, text(t, c))
		})
	}
}

// text is a check run for people: the fields as JSON, then the Markdown.
func text(t *testing.T, c forge.CheckRun) []byte {
	t.Helper()
	summary, body := c.Summary, c.Text
	fields := map[string]any{
		"name": c.Name, "external_id": c.ExternalID, "details_url": c.DetailsURL, "title": c.Title,
		"state": c.Status + " " + c.Conclusion, "times": []time.Time{c.StartedAt, c.CompletedAt},
		"annotations": c.Annotations, "actions": c.Actions,
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(fields); err != nil {
		t.Fatal(err)
	}
	b.WriteString("--- summary\n" + summary + "--- text\n" + body)
	return bytes.ReplaceAll(b.Bytes(), []byte("\u200b"), []byte("{ZWSP}"))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAnnotations(t *testing.T) {
	x := ended(sample("x1"), pipeline.Failed, "")
	x.Problem = &pipeline.UserError{Msg: "want a list", File: "buildspec.yml", Line: 7}
	x.Annotations = []forge.Annotation{
		{Path: "./b.go", StartLine: 0, Level: "notice", Message: "first line"},
		{Path: "a.go", StartLine: 4, EndLine: 2, Column: 3, Level: "warning", Message: "backwards"},
		{Path: "a.go", StartLine: 4, EndLine: 9, Column: 3, Level: "failure", Message: "many lines"},
		{Path: "a.go", StartLine: 4, EndLine: 9, Column: 3, Level: "failure", Message: "many lines"},
		{Path: "/etc/passwd", StartLine: 1, Level: "failure", Message: "absolute"},
		{Path: "../up.go", StartLine: 1, Level: "failure", Message: "outside"},
	}
	want := []forge.Annotation{
		{Path: "a.go", StartLine: 4, EndLine: 9, Level: "failure", Message: "many lines"},
		{Path: "buildspec.yml", StartLine: 7, EndLine: 7, Level: "failure", Message: "want a list"},
		{Path: "a.go", StartLine: 4, EndLine: 4, Column: 3, Level: "warning", Message: "backwards"},
		{Path: "b.go", StartLine: 1, EndLine: 1, Level: "notice", Message: "first line"},
	}
	got, more := annotationsOf(x)
	if diff := cmp.Diff(want, got); diff != "" || more != 0 {
		t.Errorf("%d more; (-want +got)\n%s", more, diff)
	}
	for i := range 700 {
		x.Annotations = append(x.Annotations, forge.Annotation{Path: "c.go", StartLine: i + 1, Level: "warning", Message: "m"})
	}
	if got, more := annotationsOf(x); len(got) != 500 || more != 204 {
		t.Errorf("got %d and %d more, want 500 and 204", len(got), more)
	}
}

// TestActionLimits keeps the buttons within forges reference 3.2.
func TestActionLimits(t *testing.T) {
	if len(rerunActions) > 3 {
		t.Errorf("%d actions, want at most 3", len(rerunActions))
	}
	for _, a := range rerunActions {
		if len(a.Label) > 20 || len(a.Description) > 40 || len(a.Identifier) > 20 {
			t.Errorf("action %+v is too long", a)
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	f.Add("a `b` @c #1 [x](y) <b>")
	f.Add("```\n````\x00\x1b[31m\xff")
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if !utf8.ValidString(e) || strings.ContainsAny(e, "\n\x00\x1b") {
			t.Errorf("escape(%q) = %q is not one line of text", s, e)
		}
		for _, mark := range []string{"@", "#"} {
			if strings.Count(e, mark) != strings.Count(e, mark+zeroWidth) {
				t.Errorf("escape(%q) = %q pings", s, e)
			}
		}
		block := fence(s)
		mark, _, _ := strings.Cut(block, "text\n")
		if body := block[len(mark) : len(block)-len(mark)-1]; strings.Contains(body, mark) {
			t.Errorf("fence(%q) = %q is closed inside", s, block)
		}
	})
}
