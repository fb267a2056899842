package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/slipway-ci/slipway/internal/testenv"
)

var (
	conformanceRow = regexp.MustCompile(`(?m)^\| (C\d\d) \| (.+) \| (.+) \| (.*) \|$`)
	pipelineRow    = regexp.MustCompile(`(?m)^\| (Case \d+|T\d+)[ab]? \| .+ \| (.+) \|$`)
	testName       = regexp.MustCompile("`(Test\\w+)`")
	deployRow      = regexp.MustCompile(`(?m)^\| (D\d{2,3}) \| .+ \| (.+) \|$`)
	deployCase     = regexp.MustCompile(`\bD\d{2,3}\b`)
	testFunction   = regexp.MustCompile(`^func (\w+)\(`)
	wildRow        = regexp.MustCompile("(?m)^\\| (\\d+) \\| .+ \\| (`\\w+\\.Test.+) \\|$")
	wildTestName   = regexp.MustCompile("`(\\w+\\.Test\\w+)`")
	wildComment    = regexp.MustCompile(`(?m)^// In the wild: ([\d, ]+)\.\nfunc (Test\w+)\(`)
	forgeRow       = regexp.MustCompile(`(?m)^\| (F\d\d) \| .+ \| (.+) \|$`)
	testFunc       = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	attackRow      = regexp.MustCompile("(?m)^\\| A(\\d+) \\| .+ \\| .+ \\| (`\\w+\\.Test.+) \\|$")
	attackComment  = regexp.MustCompile(`(?m)^// Attacks: ([\d, ]+)\.\n(?://.*\n)*func (Test\w+)\(`)
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

// TestPipelineConformanceIsComplete holds the page's cases of CodePipeline
// against the tests that it names.
func TestPipelineConformanceIsComplete(t *testing.T) {
	var tests strings.Builder
	for _, folder := range []string{"pipeline", "handlers"} {
		names, err := filepath.Glob(filepath.Join(testenv.Root(), folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			tests.WriteString(read(t, filepath.Join(folder, filepath.Base(name))))
		}
	}
	found := map[string]bool{}
	for _, row := range pipelineRow.FindAllStringSubmatch(read(t, "docs/conformance.md"), -1) {
		found[row[1]] = true
		named := testName.FindAllStringSubmatch(row[2], -1)
		if len(named) == 0 {
			t.Errorf("%s names no test", row[1])
		}
		for _, n := range named {
			if !strings.Contains(tests.String(), "func "+n[1]+"(t *testing.T)") {
				t.Errorf("%s: there is no %s", row[1], n[1])
			}
		}
	}
	for prefix, last := range map[string]int{"Case ": 33, "T": 14} {
		for n := 1; n <= last; n++ {
			if name := fmt.Sprintf("%s%d", prefix, n); !found[name] {
				t.Errorf("%s is left out", name)
			}
		}
	}
}

// TestForgeConformanceIsComplete holds the page's cases of forges against the
// tests that it names.
func TestForgeConformanceIsComplete(t *testing.T) {
	tests := map[string]bool{}
	for _, file := range testFiles(t) {
		for _, m := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			tests[filepath.Base(filepath.Dir(file))+"."+m[1]] = true
		}
	}
	found := map[string]bool{}
	for _, row := range forgeRow.FindAllStringSubmatch(read(t, "docs/conformance.md"), -1) {
		named := wildTestName.FindAllStringSubmatch(row[2], -1)
		found[row[1]] = len(named) > 0
		for _, n := range named {
			if !tests[n[1]] {
				t.Errorf("%s: there is no %s", row[1], n[1])
			}
		}
	}
	for n := 1; n <= 50; n++ {
		if name := fmt.Sprintf("F%02d", n); !found[name] {
			t.Errorf("%s is left out, or names no test", name)
		}
	}
}

// TestInTheWildIsComplete holds the page's findings against the comments of
// the tests that prove them, in both directions.
func TestInTheWildIsComplete(t *testing.T) { holdPage(t, wildComment, wildRow, 51) }

// TestAttacksAreWithstood holds the page's attacks against the comments of the
// tests that show them withstood, in both directions.
func TestAttacksAreWithstood(t *testing.T) { holdPage(t, attackComment, attackRow, 41) }

// holdPage compares the page's rows, which are numbered up to last, with the
// comments of tests that name those numbers.
func holdPage(t *testing.T, comment, row *regexp.Regexp, last int) {
	t.Helper()
	proved := map[string][]string{}
	for _, file := range testFiles(t) {
		for _, m := range comment.FindAllStringSubmatch(read(t, file), -1) {
			for number := range strings.SplitSeq(m[1], ", ") {
				proved[number] = append(proved[number], filepath.Base(filepath.Dir(file))+"."+m[2])
			}
		}
	}
	told := map[string][]string{}
	for _, r := range row.FindAllStringSubmatch(read(t, "docs/conformance.md"), -1) {
		for _, m := range wildTestName.FindAllStringSubmatch(r[2], -1) {
			told[r[1]] = append(told[r[1]], m[1])
		}
	}
	sorted := cmpopts.SortSlices(strings.Compare)
	if diff := cmp.Diff(proved, told, sorted); diff != "" {
		t.Errorf("docs/conformance.md differs from the tests' comments (-comments +page):\n%s", diff)
	}
	for n := 1; n <= last; n++ {
		if told[strconv.Itoa(n)] == nil {
			t.Errorf("row %d is left out", n)
		}
	}
}

// TestDeployConformanceIsComplete holds the page's cases of CodeDeploy against
// the tests that name them, in both directions.
func TestDeployConformanceIsComplete(t *testing.T) {
	told := map[string][]string{}
	absent := map[string]bool{}
	for _, row := range deployRow.FindAllStringSubmatch(read(t, "docs/conformance.md"), -1) {
		if absent[row[1]] = strings.HasPrefix(row[2], "not there: "); absent[row[1]] {
			continue
		}
		for _, m := range wildTestName.FindAllStringSubmatch(row[2], -1) {
			told[row[1]] = append(told[row[1]], m[1])
		}
	}
	if diff := cmp.Diff(deployCases(t), told, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("docs/conformance.md differs from the names in the tests (-tests +page):\n%s", diff)
	}
	for n := 1; n <= 110; n++ {
		if name := fmt.Sprintf("D%02d", n); told[name] == nil && !absent[name] {
			t.Errorf("%s is left out", name)
		}
	}
}

// deployCases are the cases that the deployer's tests name, with those tests.
func deployCases(t *testing.T) map[string][]string {
	t.Helper()
	named := map[string][]string{}
	for _, file := range testFiles(t) {
		if !strings.HasPrefix(file, "deployer/") {
			continue
		}
		test := ""
		for line := range strings.Lines(read(t, file)) {
			if m := testFunction.FindStringSubmatch(line); m != nil {
				test = filepath.Base(filepath.Dir(file)) + "." + m[1]
			}
			for _, name := range deployCase.FindAllString(line, -1) {
				if !slices.Contains(named[name], test) {
					named[name] = append(named[name], test)
				}
			}
		}
	}
	return named
}

// testFiles are the files of tests, relative to the root.
func testFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(testenv.Root()), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
