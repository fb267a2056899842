package arch

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var (
	conformanceRow = regexp.MustCompile(`(?m)^\| (C\d\d) \| (.+) \| (.+) \| (.*) \|$`)
	testFileName   = regexp.MustCompile("`([^`]+_test\\.go)`")
)

// TestConformanceIsComplete holds docs/conformance.md against the tests: no
// case is left out, and each is named where the page says that it is tested.
func TestConformanceIsComplete(t *testing.T) {
	suite := read(t, "runner/runnertest/cases.go") + read(t, "runner/runnertest/blocks.go") + read(t, "runner/runnertest/suite.go")
	rows := map[string]string{}
	for _, m := range conformanceRow.FindAllStringSubmatch(read(t, "docs/conformance.md"), -1) {
		name, where := m[1], m[3]
		rows[name] = where
		files := testFileName.FindAllStringSubmatch(where, -1)
		if inSuite := strings.HasPrefix(where, "suite"); inSuite && !strings.Contains(suite, name+" ") {
			t.Errorf("%s: the suite has no case of this name", name)
		} else if !inSuite && len(files) == 0 && where != "not yet" {
			t.Errorf("%s: want suite, the name of a test's file, or not yet, have %q", name, where)
		}
		for _, f := range files {
			if !strings.Contains(read(t, f[1]), name) {
				t.Errorf("%s: %s doesn't name it", name, f[1])
			}
		}
	}
	for n := 1; n <= 50; n++ {
		if name := fmt.Sprintf("C%02d", n); rows[name] == "" {
			t.Errorf("%s is left out", name)
		}
	}
}
