package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// failure is what failed within one test at the top level: how often it was
// counted, and whether running it again can tell more.
type failure struct {
	count int
	final bool
}

// topTest is the test of a package that go test -run can name.
type topTest struct{ pkg, test string }

func (s *summary) fail(pkg, test string, count int, final bool) {
	top, _, _ := strings.Cut(test, "/")
	f := s.failures[topTest{pkg, top}]
	s.failures[topTest{pkg, top}] = failure{f.count + count, f.final || final}
}

// raced is what the race detector adds to a test's output. A race is a fault
// however seldom it shows.
func raced(output []byte) bool { return bytes.Contains(output, []byte("WARNING: DATA RACE")) }

// repeatable returns the tests that failed if each may be run again, and
// nothing if there are more than limit: then it isn't chance.
func (s *summary) repeatable(limit int) []topTest {
	tests := slices.Collect(maps.Keys(s.failures))
	for _, f := range s.failures {
		if f.final {
			return nil
		}
	}
	if len(tests) > limit {
		return nil
	}
	slices.SortFunc(tests, func(a, b topTest) int { return strings.Compare(a.pkg+"\x00"+a.test, b.pkg+"\x00"+b.test) })
	return tests
}

// runAgain runs each of the tests once more, alone. One that passes now
// depends on something it doesn't control: it no longer fails the run, but it
// is named to the end, so that somebody mends it.
func (s *summary) runAgain(dir string, goArgs, flags []string, tests []topTest, stdout, stderr io.Writer) error {
	for _, t := range tests {
		fmt.Fprintf(stdout, "once more, alone: %s %s\n", t.pkg, t.test)
		args := slices.Concat(goArgs, flags, []string{"-count=1", "-run=^" + regexp.QuoteMeta(t.test) + "$", t.pkg})
		second, err := test(dir, args, stdout, stderr)
		if err != nil {
			return err
		}
		if second.failed == 0 && second.passed > 0 {
			n := s.failures[t].count
			s.failed -= n
			s.passed += n
			s.flaky = append(s.flaky, t)
		}
	}
	return nil
}

// split tells the flags of go test, which are written as one word each
// (-timeout=30m), from its packages.
func split(args []string) (flags, packages []string) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			flags = append(flags, a)
		} else {
			packages = append(packages, a)
		}
	}
	return flags, packages
}
