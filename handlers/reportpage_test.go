package handlers_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

// storedReport is a report as a runner stores it.
func storedReport(t *testing.T, s *handlerstest.Server, name string, cases []pipeline.ReportCase, rest string) pipeline.Report {
	t.Helper()
	list, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	whole := fmt.Sprintf(`{"v":1,"name":%q,"bad":[{"name":"x"}],"cases":%s%s}`, name, list, rest)
	a := pipeline.Artifact{Name: "Report:" + name, Format: "json", Bytes: int64(len(whole)), Digest: s.AddArtifact([]byte(whole))}
	return pipeline.Report{Name: name, Kind: pipeline.ReportTest, Status: pipeline.ReportFailed, Total: int64(len(cases)), Stored: &a}
}

var caseName = regexp.MustCompile(`<code>(?:<a [^>]*>)?(Test\w+|[a-z]+\.go)(?:</a>)?</code>`)

func namesOn(body string) string {
	var names []string
	for _, m := range caseName.FindAllStringSubmatch(body, -1) {
		names = append(names, m[1])
	}
	return strings.Join(names, " ")
}

func TestReportPage(t *testing.T) {
	s := handlerstest.New(t, openReading)
	repo := forge.Repo{Forge: "github", ID: "1", Owner: "octo", Name: "app", WebURL: "https://github.com/octo/app"}
	s.AddExecution(pipeline.Execution{ID: "x", Repo: repo, Trigger: pipeline.Trigger{SHA: strings.Repeat("ab", 20)}})
	cases := []pipeline.ReportCase{
		{Name: "TestA", Status: pipeline.CaseFailed, Message: "want <b>, got <i>", File: "a_test.go", Line: 7, Located: true},
		{Name: "TestB", Status: pipeline.CaseError, File: "/tmp/gone.go", Line: 3}, {Name: "TestC", Suite: "slow", Status: pipeline.CaseSucceeded, Duration: time.Minute}, {Name: "TestD", Status: pipeline.CaseSkipped, Duration: time.Second},
	}
	var many []pipeline.ReportCase
	for i := range 250 {
		many = append(many, pipeline.ReportCase{Name: fmt.Sprintf("Test%03d", i), Status: pipeline.CaseSucceeded, Duration: time.Duration(i)})
	}
	const arn = "arn:aws:codebuild:eu-west-1:1:report-group/x"
	coverage := storedReport(t, s, "cover", nil, `,"sources":[{"path":"main.go","located":true,"lines":{"covered":3,"missed":1}},{"path":"util.go","lines":{"covered":0,"missed":2}}]`)
	coverage.Kind = "CODE_COVERAGE"
	first := storedReport(t, s, arn, cases, "")
	first.NewKeys, first.FlakyKeys, first.Failed, first.Skipped = []string{cases[0].Key()}, []string{cases[1].Key(), cases[2].Key()}, 2, 1
	s.AddBuild(pipeline.Build{ID: "b", Execution: "x", SHA: "5ha", Number: 4, Status: pipeline.BuildSucceeded, Reports: []pipeline.Report{
		first, storedReport(t, s, "many", many, ""), coverage, {Name: "lost", Kind: pipeline.ReportTest}, {Name: "expired", Kind: pipeline.ReportTest, Stored: &pipeline.Artifact{Digest: "gone"}},
	}})
	for i, bad := range [][]string{{cases[0].Key()}, {cases[0].Key(), cases[1].Key()}, nil} {
		p := pipeline.ReportPoint{Build: "b", SHA: fmt.Sprintf("%040d", i), On: "branch/main", At: time.Unix(int64(i), 0), Trusted: true}
		p.Report = pipeline.Report{Name: arn, Kind: pipeline.ReportTest, Status: pipeline.ReportFailed, Total: 4, BadKeys: bad}
		s.AddReport(pipeline.ReportGroup{Repo: repo, Name: arn, Last: p})
	}
	at := "/builds/b/reports/" + strings.ReplaceAll(arn, "/", "%2F")
	for _, tt := range []struct {
		name, path, shown string
		want              []string
	}{
		{"all cases, the bad ones first as they are stored", at, "TestA TestB TestC TestD", []string{"want &lt;b&gt;, got &lt;i&gt;", `<a href="https://github.com/octo/app/blob/5ha/a_test.go#L7" rel="nofollow noreferrer">a_test.go:7</a>`, "<code>/tmp/gone.go:3</code>", "bad in 2 of the last 3 reports", "bad in 1 of the last 3 reports"}},
		{"the bad ones", at + "?status=bad", "TestA TestB", nil},
		{"the skipped ones", at + "?status=skipped", "TestD", nil},
		{"new failures", at + "?status=new", "TestA", []string{"new failure", "New failures <span class=\"count\">1</span>"}},
		{"known flaky among the bad ones", at + "?status=flaky", "TestB", []string{"known flaky"}},
		{"the slowest first", at + "?order=slowest", "TestC TestD TestA TestB", []string{"1 min 00 s"}},
		{"the slowest of the bad ones", at + "?order=slowest&status=bad&q=test", "TestA TestB", []string{"?order=slowest&amp;q=test&amp;status=skipped", "?q=test&amp;status=bad"}},
		{"by name", at + "?q=testc", "TestC", []string{"slow"}},
		{"by suite", at + "?q=SLOW", "TestC", nil},
		{"nothing fits", at + "?q=zzz", "", []string{"Nothing fits"}},
		{"one case and its past", at + "?case=" + cases[1].Key(), "TestB", []string{"In the last reports", "Not bad", "Failed"}},
		{"a page", "/builds/b/reports/many?from=200", "Test200", []string{"Test249", "Newest"}},
		{"a page of the slowest", "/builds/b/reports/many?from=100&order=slowest", "Test149", []string{"Test050", "from=200"}},
		{"coverage by file", "/builds/b/reports/cover", "main.go util.go", []string{"75.0% lines", "0.0% lines", `<a href="https://github.com/octo/app/blob/5ha/main.go" rel="nofollow noreferrer">main.go</a>`, "<code>util.go</code>"}},
		{"coverage of a file", "/builds/b/reports/cover?q=util", "util.go", nil},
		{"one that has expired", "/builds/b/reports/expired", "", []string{"was not kept"}},
		{"one that was not kept", "/builds/b/reports/lost", "", []string{"was not kept"}},
	} {
		status, _, body := answer(t, request(t, "GET", s.URL+tt.path))
		shown := namesOn(body)
		if strings.HasPrefix(tt.name, "a page") {
			shown, _, _ = strings.Cut(shown, " ")
		}
		if status != 200 || shown != tt.shown {
			t.Errorf("%s: got %d with %s, want %s", tt.name, status, shown, tt.shown)
		}
		for _, want := range tt.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: the page lacks %q:\n%s", tt.name, want, body)
			}
		}
	}
	_, _, body := answer(t, request(t, "GET", s.URL+"/builds/b/reports/many"))
	if n := strings.Count(body, "<code>Test"); n != 100 || !strings.Contains(body, "/builds/b/reports/many?from=100") {
		t.Errorf("the first page has %d cases, want 100 and a way on", n)
	}
	for path, want := range map[string]int{"/builds/b/reports/none": 404, "/builds/none/reports/x": 404, at + "?from=-1": 400, at + "?status=odd": 400, at + "?order=odd": 400, "/builds/b/reports/many?order=slowest&from=901": 400, at + "?q=" + strings.Repeat("x", 300): 400} {
		if status, _, _ := answer(t, request(t, "GET", s.URL+path)); status != want {
			t.Errorf("%.60s: got %d, want %d", path, status, want)
		}
	}
}
