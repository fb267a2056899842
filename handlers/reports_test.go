package handlers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

func TestReportsOfABuild(t *testing.T) {
	s := handlerstest.New(t)
	const arn = "arn:aws:codebuild:eu-west-1:1:report-group/x"
	digest := s.AddArtifact([]byte(`{"v":1}`))
	s.AddBuild(pipeline.Build{ID: "b", Reports: []pipeline.Report{
		{Name: arn, Total: 5, Stored: &pipeline.Artifact{Name: "Report:" + arn, Format: "json", Digest: digest, Bytes: 7}}, {Name: "lost"},
	}})
	s.AddBuild(pipeline.Build{ID: "none"})
	at := s.URL + "/api/v1/builds/"
	for _, tt := range []struct {
		path, want string
		status     int
	}{
		{"b/reports", `"total":5`, 200},
		{"none/reports", `"items":[]`, 200},
		{"nowhere/reports", "", 404},
		{"b/reports/" + strings.ReplaceAll(arn, "/", "%2F"), `{"v":1}`, 200},
		{"b/reports/lost", "", 404},
		{"b/reports/other", "", 404},
	} {
		status, h, body := answer(t, request(t, "GET", at+tt.path, admin))
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: got %d %s", tt.path, status, body)
		}
		if strings.Contains(tt.path, "%2F") && (h.Get("Content-Type") != "application/json" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment")) {
			t.Errorf("headers %v", h)
		}
	}
}

func TestHistoryOfACase(t *testing.T) {
	s := handlerstest.New(t)
	s.AddSamples(time.Now())
	at := s.URL + "/api/v1/repos/github/harbour/crane/reports/crane-unit/case"
	key := pipeline.ReportCase{Name: "TestHook", Prefix: "crane"}.Key()
	for _, tt := range []struct {
		path, want string
		status     int
	}{
		{"?name=TestHook&prefix=crane", `"bad":1`, 200},
		{"?key=" + key, `{"key":"` + key + `","bad":1,"items":[{"build":"` + handlerstest.GoodBuild, 200},
		{"?name=TestLift&prefix=crane", `"bad":0`, 200},
		{"", "want the name of a case", 400},
	} {
		if status, _, body := answer(t, request(t, "GET", at+tt.path, admin)); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: got %d %s", tt.path, status, body)
		}
	}
	if status, _, _ := answer(t, request(t, "GET", s.URL+"/api/v1/repos/github/harbour/crane/reports/none/case?name=x", admin)); status != 404 {
		t.Errorf("a group that isn't there: got %d", status)
	}
}

// The last report of a group is that of all builds of its batch.
func TestLastReportOfABatch(t *testing.T) {
	s := handlerstest.New(t)
	g := pipeline.ReportGroup{Name: "unit"}
	g.Repo.Forge, g.Repo.ID, g.Repo.Owner, g.Repo.Name = "github", "1", "octo", "app"
	for _, task := range []string{"f_1", "f_2"} {
		g.Last = pipeline.ReportPoint{Build: task, Execution: "x", Batch: "Build/batch", Tasks: []string{task}, At: time.Now(), Report: pipeline.Report{Name: "unit", Total: 3}}
		s.AddReport(g)
	}
	for _, path := range []string{"/api/v1/reports", "/api/v1/repos/github/octo/app/reports", "/api/v1/repos/github/octo/app/reports/unit"} {
		status, _, body := answer(t, request(t, "GET", s.URL+path, admin))
		if _, last, _ := strings.Cut(body, `"last":`); status != 200 || !strings.Contains(last, `"total":6`) {
			t.Errorf("%s: got %d %s, want a last report of 6 cases", path, status, body)
		}
	}
}
