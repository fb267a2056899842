package report_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/runner/report"
)

func read(f buildspec.Format, l report.Options, files ...string) (report.Report, error) {
	r := report.New("x", f, l)
	var err error
	for i, text := range files {
		if e := r.Read(fmt.Sprintf("f%d", i), strings.NewReader(text)); e != nil {
			err = e
		}
	}
	return r.Report(), err
}

// C37
const c37 = `<testsuite name="s"><testcase name="a" classname="p.A" time="1,000.5"/><testcase name="b"/>
<testcase name="c" file="c_test.go" line="7"><failure message="want 1"/><error/></testcase>
<testcase name="d"><failure>no &lt;1&gt;</failure></testcase><testcase name="e"><skipped/></testcase></testsuite>`

func TestC37(t *testing.T) {
	got, err := read(buildspec.JUnitXML, report.Options{}, c37)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(counts{Total: 5, Passed: 2, Failed: 1, Errors: 1, Skipped: 1}, countsOf(got)); diff != "" || got.Status != pipeline.ReportFailed {
		t.Errorf("status %s, counts (-want +got):\n%s", got.Status, diff)
	}
	want := []pipeline.ReportCase{
		{Name: "d", Suite: "s", Status: pipeline.CaseFailed, Message: "no <1>"},
		{Name: "c", Suite: "s", Status: pipeline.CaseError, Message: "want 1", File: "c_test.go", Line: 7},
		{Name: "e", Suite: "s", Status: pipeline.CaseSkipped},
		{Name: "a", Suite: "s", Prefix: "p.A", Status: pipeline.CaseSucceeded, Duration: 1000*time.Second + 500*time.Millisecond},
		{Name: "b", Suite: "s", Status: pipeline.CaseSucceeded},
	}
	var cases []pipeline.ReportCase
	for _, c := range got.Cases {
		cases = append(cases, c.ReportCase)
	}
	want[1].Message = "" // the error, which is worse, says nothing
	if diff := cmp.Diff(want, cases); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
}

// Attacks: 31.
func TestLimits(t *testing.T) {
	many := "<testsuite>" + strings.Repeat(`<testcase name="p"/>`, 10) + `<testcase name="f"><failure/></testcase></testsuite>`
	got, err := read(buildspec.JUnitXML, report.Options{KeptBytes: 650}, many)
	if err != nil || got.Total != 11 || len(got.Cases) != 3 || !got.Truncated || got.Cases[0].Status != pipeline.CaseFailed {
		t.Errorf("cases: got %+v, %v", got, err)
	}
	_, err = read(buildspec.JUnitXML, report.Options{FileBytes: 40}, many)
	if err == nil || !strings.Contains(err.Error(), "f0: the file is too long: want at most 40 bytes") {
		t.Errorf("bytes: got %v", err)
	}
	if got, err = read(buildspec.JUnitXML, report.Options{FileBytes: int64(len(many))}, many); err != nil {
		t.Errorf("just as long as allowed: got %v", err)
	}
	got, err = read(buildspec.JUnitXML, report.Options{Files: 1}, many, many)
	if err == nil || got.Total != 11 || got.Files != 1 || got.Status != pipeline.ReportIncomplete {
		t.Errorf("files: got %+v, %v", got.Report, err)
	}
	_, err = read(buildspec.JUnitXML, report.Options{}, strings.Repeat("<testsuite>", 300))
	if err == nil || !strings.Contains(err.Error(), "nested more than 200 deep") {
		t.Errorf("depth: got %v", err)
	}
}

// Attacks: 31.
// In the wild: 49, 50.
func TestMistakes(t *testing.T) {
	tests := []struct {
		name string
		f    buildspec.Format
		text string
		want string
	}{
		{"empty", buildspec.JUnitXML, "", "f0: the file is empty"},
		{"another format", buildspec.JUnitXML, "\n<html/>", "f0: 2:8: not the format: want a file that begins with <testsuites> or <testsuite>, have <html>"},
		{"entity bomb", buildspec.JUnitXML, `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>`, "invalid character entity &b;"},
		{"file entity", buildspec.JUnitXML, `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite><testcase><failure>&a;</failure></testcase></testsuite>`, "invalid character entity &a;"},
		{"unknown encoding", buildspec.JUnitXML, `<?xml version="1.0" encoding="klingon"?><testsuite/>`, `encoding "klingon" is not known`},
		{"no list", buildspec.CucumberJSON, `{}`, "want a list of features"},
		{"half a list", buildspec.CucumberJSON, `[{"elements":[]}`, "unexpected EOF"},
		{"no coverage", buildspec.SimpleCov, `{"a":1}`, `there is no "coverage"`},
		{"deep JSON", buildspec.SimpleCov, strings.Repeat("[", 20000), "f0: byte"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(tt.f, report.Options{}, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) || got.Status != pipeline.ReportIncomplete || got.ProblemCount != 1 {
				t.Errorf("got %v, status %s, want %q", err, got.Status, tt.want)
			}
		})
	}
}

// In the wild: 49, 50, 51.
func TestForms(t *testing.T) {
	utf16 := "\xff\xfe"
	for _, c := range `<?xml version="1.0" encoding="utf-16"?><testsuite><testcase name="ä"/></testsuite>` {
		utf16 += string([]byte{byte(c), byte(c >> 8)})
	}
	tests := []struct {
		name  string
		f     buildspec.Format
		files []string
		want  counts
	}{
		{"UTF-16", buildspec.JUnitXML, []string{utf16}, counts{Total: 1, Passed: 1}},
		{"namespaces", buildspec.JUnitXML, []string{`<a:testsuite xmlns:a="urn:x"><a:testcase name="x"><a:error/></a:testcase></a:testsuite>`}, counts{Total: 1, Errors: 1}},
		{"two files", buildspec.JUnitXML, []string{c37, c37}, counts{Total: 10, Passed: 4, Failed: 2, Errors: 2, Skipped: 2}},
		{"TestNG configuration", buildspec.TestNGXML, []string{`<testng-results><test-method status="FAIL" is-config="true" name="a"/><test-method status="SKIP" name="b"/><test-method status="?" name="c"/></testng-results>`}, counts{Total: 2, Skipped: 1, Unknown: 1}},
		{"NUnit 3 error", buildspec.NUnit3XML, []string{`<test-run><test-case result="Failed" label="Error"/><test-case result="Inconclusive"/></test-run>`}, counts{Total: 2, Errors: 1, Unknown: 1}},
		{"NUnit 2", buildspec.NUnitXML, []string{`<test-results><test-case result="NotRunnable"/><test-case result="Error"/><test-case executed="False"/></test-results>`}, counts{Total: 3, Errors: 1, Skipped: 2}},
		{"TRX time-out and an inner result", buildspec.VisualStudioTRX, []string{`<TestRun><Results><UnitTestResult outcome="Timeout"><InnerResults><UnitTestResult outcome="Passed"/></InnerResults></UnitTestResult><UnitTestResult outcome="Pending"/></Results></TestRun>`}, counts{Total: 3, Passed: 1, Errors: 1, Unknown: 1}},
		{"background that fails", buildspec.CucumberJSON, []string{`[{"elements":[{"type":"background","steps":[{"result":{"status":"failed"}}]},{"type":"scenario","steps":[{"result":{"status":"skipped"}}]},{"type":"scenario","steps":[{"result":{"status":"passed"}}]}]}]`}, counts{Total: 2, Passed: 1, Failed: 1}},
		{"hook that fails", buildspec.CucumberJSON, []string{`[{"elements":[{"steps":[{"result":{"status":"passed"}}],"after":[{"result":{"status":"failed"}}]}]}]`}, counts{Total: 1, Failed: 1}},
		{"commands of SimpleCov are one", buildspec.SimpleCov, []string{`{"a":{"coverage":{"x":{"lines":[1,0,null,"ignored"],"branches":{"[:if]":{"[:then]":1,"[:else]":0}}}}},"b":{"coverage":{"x":[0,1,null]}}}`}, counts{Lines: cov(2, 0), Branches: cov(1, 1)}},
		{"shards of Cobertura are one", buildspec.CoberturaXML, []string{
			`<coverage><class filename="x"><lines><line number="1" hits="1"/><line number="2" hits="0" condition-coverage="50% (1/2)"/></lines></class></coverage>`,
			`<coverage><class filename="x"><lines><line number="1" hits="0"/><line number="2" hits="3" condition-coverage="100% (2/2)"/></lines></class></coverage>`}, counts{Lines: cov(2, 0), Branches: cov(2, 0)}},
		{"the better of the same", buildspec.CloverXML, []string{
			`<coverage><file name="x"><metrics statements="4" coveredstatements="1"/></file></coverage>`,
			`<coverage><file name="x"><metrics statements="4" coveredstatements="3"/></file></coverage>`}, counts{Lines: cov(3, 1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(tt.f, report.Options{}, tt.files...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, countsOf(got)); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

// A class of TRX is known only behind the results; a trace has the place.
func TestTRXPlace(t *testing.T) {
	got, err := read(buildspec.VisualStudioTRX, report.Options{}, `<TestRun><Results><UnitTestResult testId="1" outcome="Failed" duration="00:01:02.5"><Output><ErrorInfo><Message>m</Message>
<StackTrace>   at A.B() in C:\x\a.cs:line 25&#xD;
   at C</StackTrace></ErrorInfo></Output></UnitTestResult></Results><TestDefinitions><UnitTest id="1"><TestMethod className="N.A, N, Version=1"/></UnitTest></TestDefinitions></TestRun>`)
	if err != nil || len(got.Cases) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := pipeline.ReportCase{Prefix: "N.A", Status: pipeline.CaseFailed, Message: "m", File: `C:\x\a.cs`, Line: 25, Duration: 62*time.Second + 500*time.Millisecond}
	if diff := cmp.Diff(want, got.Cases[0].ReportCase); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever a build writes: no panic, sums that add up, texts that can be shown.
func fuzz(f *testing.F, format buildspec.Format, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := read(format, report.Options{KeptBytes: 5 * 210}, text)
		if sum := got.Passed + got.Failed + got.Errors + got.Skipped + got.Unknown; sum != got.Total || len(got.Cases) > 5 || got.Duration < 0 {
			t.Errorf("got %+v", got)
		}
		if got.Lines.Covered < 0 || got.Lines.Missed < 0 || got.Branches.Covered < 0 || got.Branches.Missed < 0 {
			t.Errorf("got coverage %v %v", got.Lines, got.Branches)
		}
		if (err != nil) != (got.Status == pipeline.ReportIncomplete) || err != nil && !strings.HasPrefix(err.Error(), "f0: ") {
			t.Errorf("got status %s with error %v", got.Status, err)
		}
		for _, c := range got.Cases {
			if !utf8.ValidString(c.Name+c.Message+c.File) || strings.ContainsAny(c.Message, "\x00\x1b") || c.Duration < 0 || c.Line < 0 {
				t.Errorf("got case %+v", c)
			}
		}
	})
}

func FuzzJUnit(f *testing.F) {
	fuzz(f, buildspec.JUnitXML, c37, "<testsuites><testcase/></testsuites>")
}
func FuzzNUnit(f *testing.F) {
	fuzz(f, buildspec.NUnitXML, `<test-run><test-suite name="s"><test-case result="Failed" label="Error"><failure><message>m</message><stack-trace>in a:line 3</stack-trace></failure></test-case></test-suite></test-run>`)
}
func FuzzTestNG(f *testing.F) {
	fuzz(f, buildspec.TestNGXML, `<testng-results><test name="t"><class name="c"><test-method status="FAIL" duration-ms="1"><exception><message>m</message></exception></test-method></class></test></testng-results>`)
}
func FuzzTRX(f *testing.F) {
	fuzz(f, buildspec.VisualStudioTRX, `<TestRun><UnitTestResult outcome="Failed" duration="1:2:3.4"><ErrorInfo><Message>m</Message></ErrorInfo></UnitTestResult></TestRun>`)
}
func FuzzCucumber(f *testing.F) {
	fuzz(f, buildspec.CucumberJSON, `[{"name":"f","elements":[{"type":"background","steps":[]},{"name":"s","line":1,"steps":[{"result":{"status":"failed","duration":1}}]}]}]`)
}
func FuzzClover(f *testing.F) {
	fuzz(f, buildspec.CloverXML, `<coverage><file name="x"><metrics statements="4" coveredstatements="1"/></file></coverage>`)
}
func FuzzCobertura(f *testing.F) {
	fuzz(f, buildspec.CoberturaXML, `<coverage><class filename="x"><methods><method><lines><line number="1" hits="1"/></lines></method></methods><lines><line number="2" hits="0" condition-coverage="50% (1/2)"/></lines></class></coverage>`)
}
func FuzzJaCoCo(f *testing.F) {
	fuzz(f, buildspec.JaCoCoXML, `<report><package name="p"><sourcefile name="a"><counter type="LINE" missed="1" covered="2"/></sourcefile></package></report>`)
}
func FuzzSimpleCov(f *testing.F) {
	fuzz(f, buildspec.SimpleCov, `{"meta":{},"coverage":{"x":{"lines":[1,0,null,"ignored"],"branches":[{"coverage":1}]}}}`, `{"a":{"coverage":{"x":[1]}}}`)
}

// Files that only a pattern named may be anything.
func TestReadFound(t *testing.T) {
	r := report.New("x", buildspec.JUnitXML, report.Options{})
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"a.txt", "text", false}, {"pom.xml", "<project/>", false}, {"b.xml", c37, true}, {"c.xml", "<testsuite>", true},
	} {
		if taken, _ := r.ReadFound(tt.name, strings.NewReader(tt.text)); taken != tt.want {
			t.Errorf("%s: got %v", tt.name, taken)
		}
	}
	if got := r.Report(); got.Files != 2 || got.Total != 5 || got.ProblemCount != 1 {
		t.Errorf("got %+v", got.Report)
	}
}

// Attacks: 5.
func TestNoSecretStays(t *testing.T) {
	mask := func(s string) string { return strings.ReplaceAll(s, "hunter22", "***") }
	r := report.New("hunter22", buildspec.JUnitXML, report.Options{Mask: mask})
	_ = r.Read("hunter22.xml", strings.NewReader(`<testsuite name="hunter22"><testcase name="hunter22" classname="hunter22" file="hunter22"><error>`+
		strings.Repeat("x", 2040)+`hunter22</error></testcase><hunter22>`))
	text, err := json.Marshal(r.Report())
	if err != nil || strings.Contains(string(text), "hunter") || !strings.Contains(string(text), "***") {
		t.Errorf("got %s, %v", text, err)
	}
}
