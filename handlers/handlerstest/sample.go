package handlerstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/pipeline"
)

// The IDs of what AddSamples adds.
const (
	FailedExecution  = "0b5c7d1e-0000-5000-8000-000000000001"
	FailedBuild      = "0b5c7d1e-0000-5000-8000-0000000000b1"
	RunningExecution = "0b5c7d1e-0000-5000-8000-000000000002"
	RunningBuild     = "0b5c7d1e-0000-5000-8000-0000000000b2"
	GoodExecution    = "0b5c7d1e-0000-5000-8000-000000000003"
	GoodBuild        = "0b5c7d1e-0000-5000-8000-0000000000b3"
	GoodDeployment   = "d-ABCDEFGHI"
	// ErrorLine is the line of the failed build's log at which it failed.
	ErrorLine = 1240
	// Hostile is text that must be shown and never do anything.
	Hostile = `<script>document.title="owned"</script><img src=x onerror="document.title='owned'">`
)

// AddSamples adds executions, builds and deliveries as they look in real life,
// as if now were the present.
func (s *State) AddSamples(now time.Time) {
	s.ChangeBoard(sampleBoard())
	s.addGood(now.Add(-3 * time.Hour))
	s.addFailed(now.Add(-12 * time.Minute))
	s.addRunning(now.Add(-45 * time.Second))
	s.addDeliveries(now)
}

func sampleRepo() forge.Repo {
	return forge.Repo{Forge: "github", ID: "42", Owner: "harbour", Name: "crane", DefaultBranch: "main", WebURL: "https://github.example.com/harbour/crane"}
}

// sampleBoard is as the samples' executions left it.
func sampleBoard() *pipeline.Board {
	b := pipeline.NewBoard("github.42.default.default", sampleRepo(), "harbour-crane", "default")
	b.Executions, b.Builds, b.Mode, b.Order = 43, 42, pipeline.SupersededMode, []string{"Source", "Build", "Deploy"}
	b.Stages["Source"] = &pipeline.StageState{Last: RunningExecution, LastNumber: 43, LastStatus: pipeline.Succeeded}
	b.Stages["Build"] = &pipeline.StageState{Holder: RunningExecution, Last: RunningExecution, LastNumber: 43, LastStatus: pipeline.InProgress}
	b.Stages["Deploy"] = &pipeline.StageState{Last: GoodExecution, LastNumber: 41, LastStatus: pipeline.Succeeded, Good: GoodExecution}
	return b
}

func sampleExecution(id string, number int, at time.Time, message string) pipeline.Execution {
	return pipeline.Execution{
		V: 1, ID: id, Number: number, Board: "github.42.default.default", Project: "harbour-crane", Repo: sampleRepo(), CreatedAt: at, StartedAt: at.Add(300 * time.Millisecond),
		Pipeline: pipeline.Pipeline{Name: "default", Implied: true, Stages: []pipeline.Stage{
			{Name: "Source", Actions: []pipeline.Action{{Name: "Source", Category: pipeline.Source, Provider: "Git"}}},
			{Name: "Build", Actions: []pipeline.Action{{Name: "Build", Category: pipeline.BuildCat, Provider: "CodeBuild"}}},
			{Name: "Deploy", Actions: []pipeline.Action{{Name: "Deploy", Category: pipeline.Deploy, Provider: "CodeDeploy"}}},
		}},
		Trigger: pipeline.Trigger{
			Type: "Webhook", Event: "PUSH", Actor: forge.User{Login: "ada"}, SHA: fmt.Sprintf("%08x%032x", number*98765431, number), Ref: "refs/heads/main", Message: message, Trusted: true,
		},
	}
}

func sampleStages(at time.Time) []pipeline.StageExecution {
	return []pipeline.StageExecution{
		{Name: "Source", Status: pipeline.Succeeded, StartedAt: at, EndedAt: at.Add(time.Second), Actions: []pipeline.ActionExecution{
			{Name: "Source", Status: pipeline.Succeeded, Attempt: 1, StartedAt: at, EndedAt: at.Add(time.Second)}}},
		{Name: "Build", Actions: []pipeline.ActionExecution{{Name: "Build"}}},
		{Name: "Deploy", Actions: []pipeline.ActionExecution{{Name: "Deploy"}}},
	}
}

// phases makes phases that begin at lines and took the given seconds.
func phases(at time.Time, status pipeline.BuildStatus, list ...any) []pipeline.Phase {
	var out []pipeline.Phase
	for i := 0; i+2 < len(list); i += 3 {
		end := at.Add(time.Duration(list[i+1].(float64) * float64(time.Second)))
		out = append(out, pipeline.Phase{Type: list[i].(string), Status: pipeline.BuildSucceeded, StartTime: at, EndTime: end, LogLine: int64(list[i+2].(int))})
		at = end
	}
	out[len(out)-1].Status = status
	return out
}

func (s *State) addGood(at time.Time) {
	x := sampleExecution(GoodExecution, 41, at, "Lift containers two at a time")
	x.Status, x.EndedAt, x.Stages = pipeline.Succeeded, at.Add(64*time.Second), sampleStages(at)
	built := []pipeline.Artifact{{Name: "BuildArtifact", Format: "zip", Files: 212, Bytes: 3_412_889, Digest: s.AddArtifact([]byte("not really a zip"))}}
	x.Stages[1] = pipeline.StageExecution{Name: "Build", Status: pipeline.Succeeded, StartedAt: at.Add(time.Second), EndedAt: at.Add(44 * time.Second), Actions: []pipeline.ActionExecution{
		{Name: "Build", Status: pipeline.Succeeded, Attempt: 1, Kind: pipeline.BuildJob, Job: GoodBuild, Number: 40, QueuedAt: at.Add(time.Second), StartedAt: at.Add(4 * time.Second), EndedAt: at.Add(44 * time.Second), Artifacts: built}}}
	x.Stages[2] = pipeline.StageExecution{Name: "Deploy", Status: pipeline.Succeeded, StartedAt: at.Add(44 * time.Second), EndedAt: at.Add(64 * time.Second), Actions: []pipeline.ActionExecution{
		{Name: "Deploy", Status: pipeline.Succeeded, Attempt: 1, Kind: pipeline.DeployJob, Job: GoodDeployment, QueuedAt: at.Add(44 * time.Second), StartedAt: at.Add(45 * time.Second), EndedAt: at.Add(64 * time.Second)}}}
	s.AddExecution(x)
	report := []byte(`{"v":1,"name":"crane-unit","cases":[
		{"name":"TestHook","prefix":"crane","status":"FAILED","message":"hook_test.go:12: got 3 t, want 4 t\n<script>alert(2)</script>","file":"hook_test.go","line":12,"located":true,"duration_ns":31000000},
		{"name":"TestLift","prefix":"crane","status":"SUCCEEDED","duration_ns":1200000000},{"name":"TestSwing","prefix":"crane","status":"SUCCEEDED"},
		{"name":"TestLower","prefix":"crane","status":"SUCCEEDED"},{"name":"TestStorm","prefix":"crane","suite":"weather","status":"SKIPPED"}]}`)
	hook := pipeline.ReportCase{Name: "TestHook", Prefix: "crane"}.Key()
	stored := pipeline.Artifact{Name: "Report:crane-unit", Format: "json", Files: 1, Bytes: int64(len(report)), Digest: s.AddArtifact(report)}
	for i, p := range []pipeline.ReportPoint{
		{On: "branch/main", Report: pipeline.Report{Status: pipeline.ReportSucceeded, Passed: 5}},
		{On: "pr/7", Report: pipeline.Report{Status: pipeline.ReportFailed, Passed: 3, Failed: 2, NewBad: 1, Flaky: 1, BadKeys: []string{hook}}},
	} {
		p.Name, p.Kind, p.Total, p.Duration = "crane-unit", pipeline.ReportTest, 5, 2*time.Second
		p.Build, p.SHA, p.Trusted, p.At = GoodBuild, x.Trigger.SHA, true, at.Add(time.Duration(i)*time.Hour)
		s.AddReport(pipeline.ReportGroup{Repo: x.Repo, Name: p.Name, Last: p})
	}
	for i, covered := range []int64{610, 655, 702, 731} {
		p := pipeline.ReportPoint{On: "branch/main", Build: GoodBuild, SHA: x.Trigger.SHA, Trusted: true, At: at.Add(time.Duration(i-9) * time.Hour)}
		p.Report = pipeline.Report{Name: "crane-coverage", Kind: pipeline.ReportCoverage, Status: pipeline.ReportSucceeded, Lines: pipeline.Coverage{Covered: covered, Missed: 1000 - covered}}
		s.AddReport(pipeline.ReportGroup{Repo: x.Repo, Name: p.Name, Last: p})
	}
	s.AddBuild(pipeline.Build{
		Reports: []pipeline.Report{{
			Name: "crane-unit", Format: "JUNITXML", Kind: pipeline.ReportTest, Status: pipeline.ReportFailed, Files: 1, Total: 5, Passed: 3, Failed: 1, Stored: &stored,
			Skipped: 1, BadKeys: []string{hook}, NewKeys: []string{hook}, NewBad: 1, FlakyKeys: []string{hook}, Flaky: 1,
			Bad: []pipeline.ReportCase{{Name: "TestHook", Prefix: "crane", Status: pipeline.CaseFailed, Message: "<script>alert(2)</script>", File: "hook_test.go", Line: 12, Located: true}},
		}},
		V: 1, ID: GoodBuild, Execution: x.ID, Stage: "Build", Action: "Build", Attempt: 1, Number: 40, Project: x.Project, Repo: "harbour/crane", SHA: x.Trigger.SHA, Ref: x.Trigger.Ref,
		Image: "golang:1.26", Runner: "runner-1", Status: pipeline.BuildSucceeded, StartedAt: at.Add(4 * time.Second), EndedAt: at.Add(44 * time.Second), Artifacts: built, Exported: map[string]string{"VERSION": "1.4.0"},
		Phases: phases(at.Add(4*time.Second), pipeline.BuildSucceeded, "PROVISIONING", 1.2, 0, "DOWNLOAD_SOURCE", 2.1, 1, "BUILD", 33.0, 2, "UPLOAD_ARTIFACTS", 3.5, 4),
	})
	s.WriteLog(GoodBuild, "Cloning harbour/crane\n$ go build ./...\n\x1b[32mok\x1b[0m\nUploading BuildArtifact\n", true)
	s.AddBuild(pipeline.Build{
		V: 1, ID: GoodDeployment, Deployment: GoodDeployment, Group: "production", Execution: x.ID, Stage: "Deploy", Action: "Deploy", Attempt: 1, Project: x.Project, Repo: "harbour/crane",
		SHA: x.Trigger.SHA, Ref: x.Trigger.Ref, Runner: "agent-1", Status: pipeline.BuildSucceeded, StartedAt: at.Add(45 * time.Second), EndedAt: at.Add(64 * time.Second),
		Phases: phases(at.Add(45*time.Second), pipeline.BuildSucceeded, "ApplicationStop", 2.0, 1, "DownloadBundle", 1.5, 0, "BeforeInstall", 0.4, 2, "Install", 6.0, 3, "ApplicationStart", 8.0, 4, "ValidateService", 1.1, 5),
	})
	s.WriteLog(GoodDeployment, "stopping crane\nbacking up\n212 files installed\nstarting crane\nHTTP 200\n", true)
}

func (s *State) addFailed(at time.Time) {
	x := sampleExecution(FailedExecution, 42, at, "Swing the jib faster\n\nIt was slow in the wind.")
	x.Trigger.Pull = &forge.PullRequest{Number: 17, HeadRef: "faster-jib"}
	x.Status, x.EndedAt, x.Reason, x.Stages = pipeline.Failed, at.Add(97*time.Second), `Build: command "go test ./..." exited with code 1`, sampleStages(at)
	x.Stages[1] = pipeline.StageExecution{Name: "Build", Status: pipeline.Failed, StartedAt: at.Add(time.Second), EndedAt: at.Add(97 * time.Second), Actions: []pipeline.ActionExecution{{
		Name: "Build", Status: pipeline.Failed, Attempt: 2, Earlier: []string{GoodBuild}, Kind: pipeline.BuildJob, Job: FailedBuild, Number: 41, QueuedAt: at.Add(time.Second), StartedAt: at.Add(22 * time.Second), EndedAt: at.Add(97 * time.Second),
		Error: &pipeline.ActionError{Code: pipeline.JobFailed, Message: `command "go test ./..." exited with code 1`}}}}
	x.Override = &pipeline.Override{By: "ada", Reason: "No wind today.", At: at.Add(2 * time.Minute)}
	s.AddExecution(x)
	b := pipeline.Build{
		V: 1, ID: FailedBuild, Execution: x.ID, Stage: "Build", Action: "Build", Attempt: 2, Number: 41, Project: x.Project, Repo: "harbour/crane", SHA: x.Trigger.SHA, Ref: x.Trigger.Ref,
		Image: "golang:1.26", Runner: "runner-1", Status: pipeline.BuildFailed, StartedAt: at.Add(22 * time.Second), EndedAt: at.Add(97 * time.Second),
		Phases: phases(at.Add(22*time.Second), pipeline.BuildFailed, "PROVISIONING", 1.3, 0, "DOWNLOAD_SOURCE", 2.4, 1, "INSTALL", 14.0, 4, "PRE_BUILD", 0.2, 400, "BUILD", 57.0, 410),
		Failure: &pipeline.Failure{
			Phase: "BUILD", Code: "COMMAND_EXECUTION_ERROR", Message: "Error while executing command: go test ./.... Reason: exit status 1", Command: "go test ./...", Exit: 1, LogLine: ErrorLine,
			Tail: []string{"--- FAIL: TestJib (0.03s)", "    jib_test.go:31: got 11 m/s, want at most 9 m/s", "FAIL", "FAIL\tcrane/jib\t0.214s", "ok  \tcrane/hook\t0.102s"},
		},
	}
	b.Phases[4].Contexts = []pipeline.Context{{StatusCode: "COMMAND_EXECUTION_ERROR", Message: "go test ./...: exit status 1"}}
	s.AddBuild(b)
	s.WriteLog(FailedBuild, sampleLog(1500), true)
}

// sampleLog is a log of so many lines with colours, hostile text and the
// failure in it.
func sampleLog(lines int) string {
	var b strings.Builder
	for n := 1; n <= lines; n++ {
		switch {
		case n == 1:
			b.WriteString("Cloning harbour/crane at 3fe1a9c0\n")
		case n == 3:
			b.WriteString("HEAD is now at 3fe1a9c Swing the jib faster\n")
		case n == 4 || n == 400 || n == 410:
			fmt.Fprintf(&b, "\x1b[1m$ step at line %d\x1b[0m\n", n)
		case n == ErrorLine-3:
			b.WriteString(Hostile + "\n")
		case n == ErrorLine-2:
			b.WriteString("\x1b]8;;https://evil.example/\x07click me\x1b]8;;\x07 and \x1b[2J\x1b[Hgone\n")
		case n == ErrorLine-1:
			b.WriteString("=== RUN   TestJib\n")
		case n == ErrorLine:
			b.WriteString("\x1b[31;1m--- FAIL: TestJib (0.03s)\x1b[0m\n")
		case n == ErrorLine+1:
			b.WriteString("    jib_test.go:31: got \x1b[33m11 m/s\x1b[0m, want at most \x1b[32m9 m/s\x1b[0m\n")
		default:
			fmt.Fprintf(&b, "go: downloading example.org/module/number/%d v1.%d.0\n", n, n%17)
		}
	}
	return b.String()
}

func (s *State) addRunning(at time.Time) {
	x := sampleExecution(RunningExecution, 43, at, "Paint the crane yellow")
	x.Status, x.Stages = pipeline.InProgress, sampleStages(at)
	x.Stages[1] = pipeline.StageExecution{Name: "Build", Status: pipeline.InProgress, StartedAt: at.Add(time.Second), Actions: []pipeline.ActionExecution{{
		Name: "Build", Status: pipeline.InProgress, Attempt: 1, Kind: pipeline.BuildJob, Job: RunningBuild, Number: 42, QueuedAt: at.Add(time.Second), StartedAt: at.Add(9 * time.Second)}}}
	s.AddExecution(x)
	b := pipeline.Build{
		V: 1, ID: RunningBuild, Execution: x.ID, Stage: "Build", Action: "Build", Attempt: 1, Number: 42, Project: x.Project, Repo: "harbour/crane", SHA: x.Trigger.SHA, Ref: x.Trigger.Ref,
		Image: "golang:1.26", Runner: "runner-1", Status: pipeline.BuildInProgress, StartedAt: at.Add(9 * time.Second),
		Phases: phases(at.Add(9*time.Second), pipeline.BuildInProgress, "PROVISIONING", 1.1, 0, "DOWNLOAD_SOURCE", 2.0, 1, "BUILD", 0.0, 3),
	}
	b.Phases[2].EndTime, b.Phases[2].Status = time.Time{}, ""
	s.AddBuild(b)
	s.WriteLog(RunningBuild, "Cloning harbour/crane\nHEAD is now at 5b1\n$ make paint\nmixing \x1b[33myellow\x1b[0m\n", false)
}

func (s *State) addDeliveries(now time.Time) {
	for i, d := range []pipeline.Delivery{
		{Event: "ping", Decision: pipeline.DecisionIgnored, Reason: "a test of the webhook", ReceivedAt: now.Add(-4 * time.Hour)},
		{Event: "push", Decision: pipeline.DecisionStarted, Executions: []string{GoodExecution}, ReceivedAt: now.Add(-3 * time.Hour)},
		{Event: "pull_request", Action: "synchronize", Decision: pipeline.DecisionStarted, Executions: []string{FailedExecution}, ReceivedAt: now.Add(-12 * time.Minute),
			Headers: http.Header{"X-Github-Event": {"pull_request"}, "User-Agent": {"GitHub-Hookshot/a1b2c3"}},
			Body:    []byte(`{"action":"synchronize","number":12,"pull_request":{"title":"Swing the jib faster <script>alert(1)</script>"}}`)},
		{Event: "push", Verdict: pipeline.Refused, Reason: "signature", ReceivedAt: now.Add(-5 * time.Minute)},
		{Event: "push", Decision: pipeline.DecisionIgnored, Reason: "no trigger matched: refs/tags/v1 is a tag", ReceivedAt: now.Add(-2 * time.Minute)},
		{Event: "push", ReceivedAt: now.Add(-2 * time.Second)},
	} {
		d.V, d.Forge, d.ID, d.Repo, d.Bytes = 1, "github", fmt.Sprintf("72d3162e-cc78-11e3-81ab-4c9367dc09%02d", i), "harbour/crane", 6412
		if d.Verdict == "" {
			d.Verdict = pipeline.Accepted
		}
		s.change(func() {
			s.ledger = append(s.ledger, d)
			if d.Verdict == pipeline.Accepted {
				s.seen[d.Forge+"/"+d.ID] = 0
			}
		})
	}
	s.AddDead(handlers.DeadLetter{
		ID: "events-7", Queue: "inbox 3", Reason: "loading the Board: connection refused", Attempts: 8, FailedAt: now.Add(-time.Hour),
		Entry: json.RawMessage(`{"v":1,"type":"job.ended"}`),
	})
}
