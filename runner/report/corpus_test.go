package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/runner/report"
)

func cov(covered, missed int64) pipeline.Coverage {
	return pipeline.Coverage{Covered: covered, Missed: missed}
}

// counts are those parts of a report that the corpus states.
type counts struct {
	Total, Passed, Failed, Errors, Skipped, Unknown int64
	Lines, Branches                                 pipeline.Coverage
}

func countsOf(r report.Report) counts {
	return counts{r.Total, r.Passed, r.Failed, r.Errors, r.Skipped, r.Unknown, r.Lines, r.Branches}
}

// folders of the corpus, and what is in them.
var folders = map[string]buildspec.Format{
	"junit": buildspec.JUnitXML, "cucumber": buildspec.CucumberJSON, "nunit": buildspec.NUnitXML, "nunit3": buildspec.NUnit3XML,
	"testng": buildspec.TestNGXML, "trx": buildspec.VisualStudioTRX, "clover": buildspec.CloverXML,
	"cobertura": buildspec.CoberturaXML, "jacoco": buildspec.JaCoCoXML, "simplecov": buildspec.SimpleCov,
}

// The files of the corpus by folder and number, with their counts: those of its
// indexes, which count elements. Where a Clover file's project states more than
// its files hold (03, 04, 08 were shortened), the files count; Cobertura 01 says
// some lines twice; NUnit 08 has a result that is neither true nor false; TRX 06
// to 08 are CppUnit's and hold no results.
var corpus = []struct {
	file    string
	want    counts
	problem string
}{
	{"clover/01", counts{Lines: cov(75, 33), Branches: cov(4, 4)}, ""},
	{"clover/02", counts{Lines: cov(15, 7), Branches: cov(1, 1)}, ""},
	{"clover/03", counts{Lines: cov(11, 0), Branches: cov(0, 0)}, ""},
	{"clover/04", counts{Lines: cov(0, 11), Branches: cov(0, 0)}, ""},
	{"clover/05", counts{Lines: cov(28, 27), Branches: cov(2, 0)}, ""},
	{"clover/06", counts{Lines: cov(2, 16), Branches: cov(1, 1)}, ""},
	{"clover/07", counts{Lines: cov(2, 16), Branches: cov(1, 1)}, ""},
	{"clover/08", counts{Lines: cov(143, 22), Branches: cov(21, 12)}, ""},
	{"cobertura/01", counts{Lines: cov(30, 2), Branches: cov(9, 3)}, ""},
	{"cobertura/02", counts{Lines: cov(24, 12), Branches: cov(1, 3)}, ""},
	{"cobertura/03", counts{Lines: cov(1, 1), Branches: cov(0, 0)}, ""},
	{"cobertura/04", counts{Lines: cov(12, 0), Branches: cov(6, 0)}, ""},
	{"cobertura/05", counts{Lines: cov(97, 0), Branches: cov(31, 1)}, ""},
	{"cobertura/06", counts{Lines: cov(63, 93), Branches: cov(21, 11)}, ""},
	{"cobertura/07", counts{Lines: cov(1, 1), Branches: cov(2, 8)}, ""},
	{"cobertura/08", counts{Lines: cov(45, 24), Branches: cov(20, 8)}, ""},
	{"cucumber/04", counts{Total: 1, Failed: 1}, ""},
	{"cucumber/05", counts{Total: 1, Failed: 1}, ""},
	{"cucumber/06", counts{Total: 1, Passed: 1}, ""},
	{"cucumber/07", counts{Total: 1, Unknown: 1}, ""},
	{"cucumber/08", counts{Total: 1, Skipped: 1}, ""},
	{"jacoco/01", counts{Lines: cov(2, 9), Branches: cov(0, 0)}, ""},
	{"jacoco/02", counts{Lines: cov(26, 12), Branches: cov(1, 3)}, ""},
	{"jacoco/03", counts{Lines: cov(8, 18), Branches: cov(2, 12)}, ""},
	{"jacoco/04", counts{Lines: cov(7, 19), Branches: cov(1, 13)}, ""},
	{"jacoco/05", counts{Lines: cov(225, 0), Branches: cov(124, 4)}, ""},
	{"junit/01", counts{Total: 4, Passed: 1, Failed: 1, Errors: 1, Skipped: 1}, ""},
	{"junit/02", counts{Total: 4, Passed: 1, Failed: 1, Errors: 1, Skipped: 1}, ""},
	{"junit/03", counts{Total: 1, Passed: 1}, "unexpected EOF"},
	{"junit/04", counts{Total: 5, Passed: 3, Failed: 1, Skipped: 1}, ""},
	{"junit/05", counts{Total: 97, Passed: 96, Skipped: 1}, ""},
	{"junit/06", counts{Total: 35, Passed: 33, Skipped: 2}, ""},
	{"junit/07", counts{Total: 5, Passed: 5}, ""},
	{"junit/08", counts{Total: 5, Passed: 5}, ""},
	{"junit/09", counts{Total: 4, Failed: 1, Errors: 1, Skipped: 2}, ""},
	{"junit/10", counts{}, ""},
	{"junit/11", counts{Total: 2, Failed: 1, Skipped: 1}, ""},
	{"junit/12", counts{Total: 8, Passed: 5, Failed: 1, Errors: 1, Skipped: 1}, ""},
	{"junit/13", counts{Total: 12, Passed: 10, Failed: 2}, ""},
	{"junit/14", counts{Total: 3, Passed: 2, Failed: 1}, ""},
	{"junit/15", counts{Total: 2, Errors: 2}, ""},
	{"junit/16", counts{}, ""},
	{"junit/17", counts{Total: 3, Passed: 2, Failed: 1}, ""},
	{"junit/18", counts{Total: 6, Passed: 4, Failed: 2}, ""},
	{"junit/19", counts{Total: 1, Passed: 1}, ""},
	{"junit/20", counts{Total: 2, Passed: 1, Failed: 1}, ""},
	{"junit/21", counts{Total: 2, Passed: 2}, ""},
	{"junit/22", counts{Total: 2, Passed: 2}, ""},
	{"junit/23", counts{Total: 1, Passed: 1}, ""},
	{"junit/24", counts{Total: 4, Passed: 4}, ""},
	{"junit/25", counts{Total: 2, Passed: 2}, ""},
	{"junit/26", counts{Total: 1, Passed: 1}, ""},
	{"nunit/01", counts{Total: 4, Passed: 3, Failed: 1}, ""},
	{"nunit/03", counts{Total: 10, Passed: 9, Failed: 1}, ""},
	{"nunit/04", counts{Total: 4, Passed: 3, Failed: 1}, ""},
	{"nunit/06", counts{Total: 2, Passed: 2}, ""},
	{"nunit/07", counts{Total: 15, Passed: 12, Skipped: 3}, ""},
	{"nunit/08", counts{Total: 4, Passed: 3, Unknown: 1}, ""},
	{"nunit3/01", counts{Total: 18, Passed: 12, Failed: 1, Errors: 1, Skipped: 3, Unknown: 1}, ""},
	{"nunit3/02", counts{}, ""},
	{"nunit3/03", counts{Total: 4, Passed: 2, Failed: 1, Skipped: 1}, ""},
	{"nunit3/04", counts{Total: 4, Passed: 2, Failed: 1, Skipped: 1}, ""},
	{"simplecov/01", counts{Lines: cov(56, 1), Branches: cov(1, 3)}, ""},
	{"simplecov/02", counts{Lines: cov(56, 1), Branches: cov(0, 0)}, ""},
	{"simplecov/03", counts{Lines: cov(56, 1), Branches: cov(0, 0)}, ""},
	{"simplecov/04", counts{Lines: cov(9, 1), Branches: cov(0, 0)}, ""},
	{"simplecov/05", counts{Lines: cov(9, 1), Branches: cov(0, 0)}, ""},
	{"simplecov/06", counts{Lines: cov(8, 1), Branches: cov(0, 0)}, ""},
	{"testng/01", counts{Total: 2, Passed: 1, Failed: 1}, ""},
	{"testng/02", counts{Total: 13, Passed: 13}, ""},
	{"testng/03", counts{Total: 1, Failed: 1}, ""},
	{"trx/01", counts{Total: 4, Passed: 3, Failed: 1}, ""},
	{"trx/02", counts{Total: 6, Passed: 2, Failed: 3, Skipped: 1}, ""},
	{"trx/03", counts{Total: 6, Passed: 2, Failed: 3, Skipped: 1}, ""},
	{"trx/04", counts{Total: 6, Passed: 2, Failed: 3, Skipped: 1}, ""},
	{"trx/05", counts{}, ""},
	{"trx/06", counts{}, ""},
	{"trx/07", counts{}, ""},
	{"trx/08", counts{}, ""},
}

// In the wild: 49, 50, 51.
func TestCorpus(t *testing.T) {
	dir := testenv.Shared(t, "corpus/reports")
	seen := map[string]bool{}
	for _, tt := range corpus {
		t.Run(tt.file, func(t *testing.T) {
			found, _ := filepath.Glob(filepath.Join(dir, tt.file+"__*"))
			if len(found) != 1 {
				t.Fatalf("got files %q, want one", found)
			}
			seen[found[0]] = true
			in, err := os.Open(found[0])
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			folder, _, _ := strings.Cut(tt.file, "/")
			r := report.New("x", folders[folder], report.Options{})
			err = r.Read("f", in)
			if (err != nil) != (tt.problem != "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("got error %v, want %q", err, tt.problem)
			}
			got := r.Report()
			if diff := cmp.Diff(tt.want, countsOf(got)); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if (got.Status == pipeline.ReportIncomplete) != (tt.problem != "") {
				t.Errorf("got status %s", got.Status)
			}
		})
	}
	all, _ := filepath.Glob(filepath.Join(dir, "*", "[0-9]*"))
	for _, name := range all {
		if !seen[name] {
			t.Errorf("%s is in no row", name)
		}
	}
}
