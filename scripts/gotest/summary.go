package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// outputLimitBytes is what is kept of one test's output once it has grown to
// twice that: its end, where the failure is told.
const outputLimitBytes = 1 << 20

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

// skip is a test that did not run, and why.
type skip struct{ pkg, test, reason string }

// testState is a test that has started. Its output is let go at its end.
type testState struct {
	output   []byte
	ended    bool
	failed   bool
	subtests bool
}

// packageState is what is known of one package. Its tests are removed when it
// ends.
type packageState struct {
	tests                   map[string]*testState
	output                  []byte
	passed, failed, skipped int
}

// summary adds up the events of a run of go test. Tests that have subtests
// aren't counted themselves unless they fail alone.
type summary struct {
	out                     io.Writer
	packages                map[string]*packageState
	skips                   []skip
	failures                map[topTest]failure
	flaky                   []topTest
	passed, failed, skipped int
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, packages: map[string]*packageState{}, failures: map[topTest]failure{}}
}

// read takes the events of r until its end. A line that is no event is passed
// on as it is.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(s.out, "%s\n", bytes.TrimRight(line, "\n"))
			} else {
				s.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) add(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(s.out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := s.packages[e.Package]
	if p == nil {
		p = &packageState{tests: map[string]*testState{}}
		s.packages[e.Package] = p
	}
	if e.Test == "" {
		s.addToPackage(p, e)
		return
	}
	s.addToTest(p, e)
}

func (s *summary) addToPackage(p *packageState, e event) {
	switch e.Action {
	case "output":
		p.output = appendTail(p.output, e.Output)
	case "pass", "skip", "fail":
		s.endPackage(p, e)
	}
}

func (s *summary) endPackage(p *packageState, e event) {
	if e.Action == "fail" {
		s.failUnfinished(p, e.Package)
		if p.failed == 0 {
			// It didn't build, or failed outside of any test.
			p.failed = 1
			s.fail(e.Package, "", 1, true)
		}
		s.printOutput(p.output)
	}
	s.passed += p.passed
	s.failed += p.failed
	s.skipped += p.skipped
	delete(s.packages, e.Package)
	if p.passed+p.failed+p.skipped == 0 {
		return
	}
	word := "ok  "
	if e.Action == "fail" {
		word = "FAIL"
	}
	took := time.Duration(e.Elapsed * float64(time.Second)).Round(10 * time.Millisecond)
	fmt.Fprintf(s.out, "%s %s: %s, %s\n", word, e.Package, took, counts(p.passed, p.failed, p.skipped))
}

// failUnfinished counts the tests that were under way when their program died.
func (s *summary) failUnfinished(p *packageState, pkg string) {
	for name, t := range p.tests {
		if t.ended || t.subtests {
			continue
		}
		p.failed++
		s.fail(pkg, name, 1, true)
		fmt.Fprintf(s.out, "--- FAIL: %s %s: didn't end\n", pkg, name)
		s.printOutput(t.output)
	}
}

func (s *summary) addToTest(p *packageState, e event) {
	t := p.tests[e.Test]
	if t == nil {
		t = &testState{}
		p.tests[e.Test] = t
		p.markParents(e.Test)
	}
	switch e.Action {
	case "output":
		t.output = appendTail(t.output, e.Output)
	case "pass":
		if !t.subtests {
			p.passed++
		}
		t.end()
	case "skip":
		p.skipped++
		s.skips = append(s.skips, skip{e.Package, e.Test, skipReason(t.output)})
		t.end()
	case "fail":
		if !t.subtests || !failedBelow(p, e.Test) {
			p.failed++
			s.fail(e.Package, e.Test, 1, false)
		}
		if raced(t.output) {
			s.fail(e.Package, e.Test, 0, true)
		}
		s.printOutput(t.output)
		t.failed = true
		t.end()
	}
}

// markParents notes that the tests above this one have subtests.
func (p *packageState) markParents(test string) {
	for i := strings.LastIndex(test, "/"); i > 0; i = strings.LastIndex(test, "/") {
		test = test[:i]
		if above := p.tests[test]; above != nil {
			above.subtests = true
		}
	}
}

func (t *testState) end() { t.ended, t.output = true, nil }

// failedBelow says whether a subtest of the test has failed.
func failedBelow(p *packageState, test string) bool {
	for name, t := range p.tests {
		if strings.HasPrefix(name, test+"/") && t.failed {
			return true
		}
	}
	return false
}

var framing = regexp.MustCompile(`^\s*(=== |--- )`)

func (s *summary) printOutput(output []byte) {
	for line := range strings.Lines(string(output)) {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprintf(s.out, "%s\n", strings.TrimRight(line, "\n"))
		}
	}
}

var position = regexp.MustCompile(`^\s*[^\s:]+\.go:\d+: `)

// skipReason is the message of t.Skip: the last line that isn't go test's own,
// without its position.
func skipReason(output []byte) string {
	reason := "no reason given"
	for line := range strings.Lines(string(output)) {
		if line = strings.TrimRight(line, "\n"); line != "" && !framing.MatchString(line) {
			reason = strings.TrimSpace(position.ReplaceAllString(line, ""))
		}
	}
	return reason
}

func appendTail(have []byte, more string) []byte {
	have = append(have, more...)
	if len(have) > 2*outputLimitBytes {
		have = append(have[:0], have[len(have)-outputLimitBytes:]...)
	}
	return have
}

// print lists the skips and the flaky tests, and in the last line the counts.
func (s *summary) print(w io.Writer) {
	slices.SortFunc(s.skips, func(a, b skip) int {
		return strings.Compare(a.reason+"\x00"+a.pkg+a.test, b.reason+"\x00"+b.pkg+b.test)
	})
	for _, k := range s.skips {
		fmt.Fprintf(w, "skipped: %s: %s %s\n", k.reason, k.pkg, k.test)
	}
	for _, f := range s.flaky {
		fmt.Fprintf(w, "flaky: failed once and passed when run again alone: %s %s\n", f.pkg, f.test)
	}
	fmt.Fprintln(w, counts(s.passed, s.failed, s.skipped))
}

func (s *summary) writeResults(w io.Writer) {
	fmt.Fprintf(w, "counts\t%d\t%d\t%d\n", s.passed, s.failed, s.skipped)
	for _, k := range s.skips {
		fmt.Fprintf(w, "skip\t%s\t%s\t%s\n", k.pkg, k.test, k.reason)
	}
	for _, f := range s.flaky {
		fmt.Fprintf(w, "flaky\t%s\t%s\n", f.pkg, f.test)
	}
}

func counts(passed, failed, skipped int) string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", passed, failed, skipped)
}
