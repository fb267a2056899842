package report

import (
	"regexp"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// single is what readers share of formats whose cases hold no cases.
type single struct {
	*Reader
	suites []string
	open   *Case
}

func (s *single) leaveSuite() { s.suites = s.suites[:len(s.suites)-1] }

// leaveCase adds the open case, if there is one.
func (s *single) leaveCase() {
	if s.open != nil {
		s.add(*s.open)
	}
	s.open = nil
}

// explain gives the open case its message, unless it has one.
func (s *single) explain(text string) {
	if s.open != nil && s.open.Message == "" {
		s.open.Message = text
	}
}

// junit reads JUnit's XML: cases are counted, the totals that files state are
// not believed.
type junit struct{ single }

func (j *junit) start(_ []string, e element) {
	switch e.name {
	case "testsuite":
		j.suites = append(j.suites, e.attr("name"))
	case "testcase":
		j.open = &Case{ReportCase: pipeline.ReportCase{
			Name: e.attr("name"), Prefix: e.attr("classname", "class"), Suite: j.suite(), Status: pipeline.CaseSucceeded,
			Duration: seconds(e.attr("time")), File: e.attr("file"), Line: int(count(e.attr("line"))),
		}}
	case "error":
		j.becomes(pipeline.CaseError, e)
	case "failure":
		j.becomes(pipeline.CaseFailed, e)
	case "skipped":
		j.becomes(pipeline.CaseSkipped, e)
	}
}

func (j *junit) suite() string {
	for i := len(j.suites) - 1; i >= 0; i-- {
		if j.suites[i] != "" {
			return j.suites[i]
		}
	}
	return ""
}

// becomes gives the case its worst status: an error, then a failure.
func (j *junit) becomes(s pipeline.CaseStatus, e element) {
	if j.open == nil || j.open.Status == pipeline.CaseError || j.open.Status == pipeline.CaseFailed && s != pipeline.CaseError {
		return
	}
	j.open.Status, j.open.Message = s, e.attr("message")
}

func (j *junit) end(path []string, text string) {
	switch path[len(path)-1] {
	case "testsuite":
		j.leaveSuite()
	case "testcase":
		j.leaveCase()
	case "error", "failure", "skipped":
		j.explain(text)
	}
}

// nunit reads the XML of NUnit 2 and 3: they differ in the words for results.
type nunit struct{ single }

func (n *nunit) start(_ []string, e element) {
	switch e.name {
	case "test-suite":
		n.suites = append(n.suites, e.attr("name"))
	case "test-case":
		c := Case{ReportCase: pipeline.ReportCase{
			Name: e.attr("name"), Prefix: e.attr("classname"), Status: nunitStatus(e), Duration: seconds(e.attr("duration", "time")),
		}}
		if len(n.suites) > 0 {
			c.Suite = n.suites[len(n.suites)-1]
		}
		n.open = &c
	}
}

func nunitStatus(e element) pipeline.CaseStatus {
	switch strings.ToLower(e.attr("result")) {
	case "success", "passed":
		return pipeline.CaseSucceeded
	case "failure", "failed":
		if strings.EqualFold(e.attr("label"), "error") {
			return pipeline.CaseError
		}
		return pipeline.CaseFailed
	case "error":
		return pipeline.CaseError
	case "ignored", "skipped", "notrunnable":
		return pipeline.CaseSkipped
	case "":
	default:
		return pipeline.CaseUnknown
	}
	// Before 2.5 there was no result.
	switch {
	case strings.EqualFold(e.attr("executed"), "false"):
		return pipeline.CaseSkipped
	case strings.EqualFold(e.attr("success"), "true"):
		return pipeline.CaseSucceeded
	case strings.EqualFold(e.attr("success"), "false"):
		return pipeline.CaseFailed
	}
	return pipeline.CaseUnknown
}

func (n *nunit) end(path []string, text string) {
	switch path[len(path)-1] {
	case "test-suite":
		n.leaveSuite()
	case "test-case":
		n.leaveCase()
	case "message":
		n.explain(text)
	case "stack-trace":
		if n.open != nil {
			n.open.locate(text)
		}
	}
}

// testng reads TestNG's XML; methods that set up and tear down are no tests.
type testng struct {
	single
	test, class string
}

func (g *testng) start(_ []string, e element) {
	switch e.name {
	case "test":
		g.test = e.attr("name")
	case "class":
		g.class = e.attr("name")
	case "test-method":
		if strings.EqualFold(e.attr("is-config"), "true") {
			return
		}
		c := Case{ReportCase: pipeline.ReportCase{
			Name: e.attr("name"), Suite: g.test, Prefix: g.class, Status: pipeline.CaseUnknown, Duration: inUnits(e.attr("duration-ms"), time.Millisecond),
		}}
		switch strings.ToUpper(e.attr("status")) {
		case "PASS":
			c.Status = pipeline.CaseSucceeded
		case "FAIL":
			c.Status = pipeline.CaseFailed
		case "SKIP":
			c.Status = pipeline.CaseSkipped
		}
		g.open = &c
	}
}

func (g *testng) end(path []string, text string) {
	switch path[len(path)-1] {
	case "test-method":
		g.leaveCase()
	case "message", "full-stacktrace":
		if parent(path) == "exception" {
			g.explain(strings.TrimSpace(text))
		}
	}
}

// trx reads Visual Studio's XML. Results may hold inner results.
type trx struct {
	*Reader
	open []Case
	test string // the ID of the test that is being defined
}

func (t *trx) start(_ []string, e element) {
	switch e.name {
	case "UnitTestResult", "GenericTestResult", "WebTestResult":
		t.open = append(t.open, Case{id: e.attr("testId"), ReportCase: pipeline.ReportCase{
			Name: e.attr("testName"), Status: trxStatus(e.attr("outcome")), Duration: clock(e.attr("duration")),
		}})
	case "UnitTest":
		t.test = e.attr("id")
	case "TestMethod":
		if t.classes == nil {
			t.classes = map[string]string{}
		}
		if name, _, _ := strings.Cut(e.attr("className"), ","); t.test != "" && name != "" && len(t.classes) < maxClasses {
			t.classes[t.test] = t.text(name, maxName)
		}
	}
}

const maxClasses = 100_000

func trxStatus(outcome string) pipeline.CaseStatus {
	switch strings.ToLower(outcome) {
	case "passed":
		return pipeline.CaseSucceeded
	case "failed":
		return pipeline.CaseFailed
	case "error", "timeout", "aborted":
		return pipeline.CaseError
	case "notexecuted":
		return pipeline.CaseSkipped
	}
	return pipeline.CaseUnknown
}

// clock reads hours:minutes:seconds.
func clock(s string) time.Duration {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return 0
	}
	sum := addDurations(inUnits(parts[0], time.Hour), inUnits(parts[1], time.Minute))
	return addDurations(sum, seconds(parts[2]))
}

func (t *trx) end(path []string, text string) {
	last := len(t.open) - 1
	if last < 0 {
		return
	}
	switch path[len(path)-1] {
	case "UnitTestResult", "GenericTestResult", "WebTestResult":
		t.add(t.open[last])
		t.open = t.open[:last]
	case "Message":
		if parent(path) == "ErrorInfo" {
			t.open[last].Message = text
		}
	case "StackTrace":
		t.open[last].locate(text)
	}
}

var dotnetFrame = regexp.MustCompile(`(?m) in (.+?):line (\d+)\s*$`)

// locate finds the place in the first frame of a .NET stack trace that has one.
func (c *Case) locate(trace string) {
	if m := dotnetFrame.FindStringSubmatch(trace); m != nil && c.File == "" {
		c.File, c.Line = m[1], int(count(m[2]))
	}
}
