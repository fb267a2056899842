package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gotest runs the command over packages of testdata/sample.
func gotest(t *testing.T, flags []string, packages string) (code int, stdout string) {
	t.Helper()
	var out, errs strings.Builder
	args := append([]string{"-race", "off", "-C", "testdata/sample"}, flags...)
	code = run(append(args, "--", "-vet=off", packages), &out, &errs)
	if errs.Len() > 0 {
		t.Logf("stderr: %s", errs.String())
	}
	return code, out.String()
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndex(s, "\n")+1:]
}

func TestRun(t *testing.T) {
	tests := []struct {
		name string
		pkg  string
		code int
		last string
		want []string
	}{
		{"skips are listed with their reasons", "./fine", 0, "2 passed, 0 failed, 2 skipped", []string{
			"skipped: missing component: docker: sample/fine TestSubtests/two\n",
			"skipped: shared test data not here: corpus: sample/fine TestSkip\n",
		}},
		{"a parent counts when it fails by itself", "./broken", 1, "2 passed, 2 failed, 0 skipped", []string{
			"broken_test.go:6: got 1, want 2\n", "the parent itself\n", "FAIL sample/broken: ",
		}},
		{"a test that ends its program has failed", "./crash", 1, "1 passed, 1 failed, 0 skipped", []string{
			"sample/crash TestDies: didn't end\n", "last words\n",
		}},
		{"a package that doesn't build has failed", "./nobuild", 1, "0 passed, 1 failed, 0 skipped", []string{
			"undefined: undefined",
		}},
		{"no such package", "./absent", 1, "0 passed, 1 failed, 0 skipped", nil},
		{"all together", "./...", 1, "6 passed, 5 failed, 2 skipped", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out := gotest(t, nil, tt.pkg)
			if code != tt.code || lastLine(out) != tt.last {
				t.Errorf("got code %d and %q, want %d and %q\n%s", code, lastLine(out), tt.code, tt.last, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

func TestFailedTestsRunAgain(t *testing.T) {
	const flaky = "flaky: failed once and passed when run again alone: sample/flaky TestOnce\n"
	tests := []struct {
		name, again, pkg string
		race             string
		code             int
		last             string
		named            bool
	}{
		{"one that passes is named", "1", "./flaky", "", 0, "2 passed, 0 failed, 0 skipped", true},
		{"not unless it is asked for", "0", "./flaky", "", 1, "1 passed, 1 failed, 0 skipped", false},
		{"one that fails again has failed", "2", "./broken", "", 1, "2 passed, 2 failed, 0 skipped", false},
		{"too many are no chance", "1", "./broken", "", 1, "2 passed, 2 failed, 0 skipped", false},
		{"a data race stands", "1", "./flaky", "yes", 1, "1 passed, 1 failed, 0 skipped", false},
		{"a crash stands", "1", "./crash", "", 1, "1 passed, 1 failed, 0 skipped", false},
		{"a package that doesn't build stands", "1", "./nobuild", "", 1, "0 passed, 1 failed, 0 skipped", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("SAMPLE_SEEN", filepath.Join(dir, "seen"))
			t.Setenv("SAMPLE_RACE", tt.race)
			code, out := gotest(t, []string{"-again", tt.again, "-results", filepath.Join(dir, "results")}, tt.pkg)
			if code != tt.code || lastLine(out) != tt.last || strings.Contains(out, flaky) != tt.named {
				t.Errorf("got code %d and\n%s\nwant %d and %q", code, out, tt.code, tt.last)
			}
			results, err := os.ReadFile(filepath.Join(dir, "results"))
			if err != nil || strings.Contains(string(results), "flaky\tsample/flaky\tTestOnce\n") != tt.named {
				t.Errorf("got results %q, %v", results, err)
			}
		})
	}
}

func TestResultsAreAppended(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results")
	for range 2 {
		gotest(t, []string{"-results", file}, "./fine")
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	once := "counts\t2\t0\t2\n" +
		"skip\tsample/fine\tTestSubtests/two\tmissing component: docker\n" +
		"skip\tsample/fine\tTestSkip\tshared test data not here: corpus\n"
	// The order within a run is that of the tests' ends.
	for line := range strings.Lines(once) {
		if n := strings.Count(string(got), line); n != 2 {
			t.Errorf("got %d times %q, want 2, in\n%s", n, line, got)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-race", "maybe"}, {"-nonsense"}} {
		var out, errs strings.Builder
		if code := run(args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%v: got code %d and %q, want 2 and a message", args, code, errs.String())
		}
	}
}

func TestLongOutputKeepsItsEnd(t *testing.T) {
	var kept []byte
	for range 5 * outputLimitBytes / 8 {
		kept = appendTail(kept, "1234567\n")
	}
	kept = appendTail(kept, "the end\n")
	if len(kept) > 2*outputLimitBytes || !strings.HasSuffix(string(kept), "the end\n") {
		t.Errorf("got %d bytes ending %q, want at most %d ending in the last line", len(kept), kept[len(kept)-16:], 2*outputLimitBytes)
	}
}
