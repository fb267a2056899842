package report_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/runner/buildspec"
	"github.com/slipway-ci/slipway/runner/report"
)

// Every file of the corpus is known for what it is.
func TestDetectCorpus(t *testing.T) {
	dir := testenv.Shared(t, "corpus/reports")
	for folder, want := range folders {
		files, err := filepath.Glob(filepath.Join(dir, folder, "*.*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", folder, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(file)
			if ext := filepath.Ext(name); ext != ".xml" && ext != ".trx" && ext != ".json" {
				continue
			}
			if folder == "simplecov" {
				name = "coverage/.resultset.json" // as SimpleCov calls it
			}
			got, ok := report.Detect(name, data[:min(len(data), report.HeadBytes)])
			if got != want || !ok {
				t.Errorf("%s: got %q, %t, want %s", file, got, ok, want)
			}
		}
	}
}

func TestDetectOthers(t *testing.T) {
	for name, head := range map[string]string{
		"pom.xml": "<?xml version=\"1.0\"?>\n<project><report/></project>", "package.json": `{"name":"x","coverage":"jest"}`, "list.json": `["keyword"]`,
		"summary.xml": "<report><row/></report>", "data.xml": "<coverage><area/></coverage>", "empty.xml": "", "broken.xml": "<", "suite.txt": "<testsuite/>",
		"comment.xml": "<!-- <testsuite/> -->",
	} {
		if got, ok := report.Detect(name, []byte(head)); ok {
			t.Errorf("%s: taken for %s", name, got)
		}
	}
	if got, ok := report.Detect("sub/TEST-a.xml", []byte("\xef\xbb\xbf<?xml version=\"1.0\"?><!-- x --><testsuite name=\"a\"")); ok {
		t.Errorf("a start tag that is cut off is taken for %s", got)
	}
	if got, ok := report.Detect("sub/TEST-a.xml", []byte("\xef\xbb\xbf<?xml version=\"1.0\"?><!-- x --><testsuite name=\"a\"><testcase")); !ok || got != buildspec.JUnitXML {
		t.Errorf("a suite: got %s, %t", got, ok)
	}
}
