package pipeline

import (
	"fmt"
	"strings"
	"time"
)

// The kinds of reports.
const (
	ReportTest     = "TEST"
	ReportCoverage = "CODE_COVERAGE"
)

// ReportStatus says how a report's cases went (CodeBuild reference 6.3).
type ReportStatus string

// INCOMPLETE: a file is missing or can't be read.
const (
	ReportSucceeded  ReportStatus = "SUCCEEDED"
	ReportFailed     ReportStatus = "FAILED"
	ReportIncomplete ReportStatus = "INCOMPLETE"
)

// CaseStatus says how one test case went.
type CaseStatus string

// CodeBuild reference, section 6.1.
const (
	CaseSucceeded CaseStatus = "SUCCEEDED"
	CaseFailed    CaseStatus = "FAILED"
	CaseError     CaseStatus = "ERROR"
	CaseSkipped   CaseStatus = "SKIPPED"
	CaseUnknown   CaseStatus = "UNKNOWN"
)

// Report is what a build's record holds of one report: its counts and the
// first of its bad cases. Stored has the rest.
type Report struct {
	// Name is that of the group: project and key, or an ARN.
	Name   string       `json:"name"`
	Format string       `json:"format"`
	Kind   string       `json:"kind"`
	Status ReportStatus `json:"status"`
	Files  int          `json:"files"`
	// Total is the sum of the counts behind it, of cases that were not kept too.
	Total    int64         `json:"total"`
	Passed   int64         `json:"passed"`
	Failed   int64         `json:"failed"`
	Errors   int64         `json:"errors"`
	Skipped  int64         `json:"skipped"`
	Unknown  int64         `json:"unknown"`
	Duration time.Duration `json:"duration_ns"`
	Lines    Coverage      `json:"lines,omitzero"`
	Branches Coverage      `json:"branches,omitzero"`
	// Truncated: the stored report has not all cases.
	Truncated bool `json:"truncated,omitempty"`
	// Problems are why the report is incomplete, the first of ProblemCount.
	Problems     []string `json:"problems,omitempty"`
	ProblemCount int      `json:"problem_count,omitempty"`
	// BadKeys tell the cases that failed or broke, as ReportCase.Key does; the
	// first 500. NewBad of them, those of NewKeys, weren't bad in the report before;
	// Flaky of them, those of FlakyKeys, change without a reason. There are none
	// until a server has weighed the report.
	BadKeys   []string `json:"bad_keys,omitempty"`
	NewKeys   []string `json:"new_keys,omitempty"`
	FlakyKeys []string `json:"flaky_keys,omitempty"`
	NewBad    int64    `json:"new_bad,omitempty"`
	Flaky     int64    `json:"flaky,omitempty"`
	// Before are the lines of the report before; zero: there is none.
	Before Coverage `json:"lines_before,omitzero"`
	// Bad are the first cases that failed or broke; a bounded list.
	Bad []ReportCase `json:"bad,omitempty"`
	// Stored is the whole report as JSON; nil: it could not be stored.
	Stored *Artifact `json:"stored,omitempty"`
}

// ReportCase is one test case. File is as the tool wrote it, in a build's
// record relative to the source; Line is 0 if it is not known.
type ReportCase struct {
	Name     string        `json:"name"`
	Suite    string        `json:"suite,omitempty"`
	Prefix   string        `json:"prefix,omitempty"`
	Status   CaseStatus    `json:"status"`
	Duration time.Duration `json:"duration_ns,omitempty"`
	Message  string        `json:"message,omitempty"`
	File     string        `json:"file,omitempty"`
	Line     int           `json:"line,omitempty"`
	// Located: File is a file of the build's source.
	Located bool `json:"located,omitempty"`
	// Flaky: it was good and bad before without a reason.
	Flaky bool `json:"flaky,omitempty"`
}

// Coverage counts lines or branches.
type Coverage struct {
	Covered int64 `json:"covered"`
	Missed  int64 `json:"missed"`
}

// Total is the number of all.
func (c Coverage) Total() int64 { return c.Covered + c.Missed }

// Add adds the counts of other.
func (c *Coverage) Add(other Coverage) {
	c.Covered += other.Covered
	c.Missed += other.Missed
}

// Percent is how many of a hundred are covered; false if there is nothing to
// cover.
func (c Coverage) Percent() (float64, bool) {
	if c.Total() == 0 {
		return 0, false
	}
	return 100 * float64(c.Covered) / float64(c.Total()), true
}

// String is the report in one line, for people: its name, status, counts and
// first problem.
func (r Report) String() string {
	text := fmt.Sprintf("%s: %s: %s", r.Name, r.Status, r.Counts())
	if len(r.Problems) > 0 {
		text += "; " + r.Problems[0]
	}
	return text
}

// Counts are the numbers of tests by how they went, or the coverage.
func (r Report) Counts() string {
	var parts []string
	if r.Kind == ReportCoverage {
		for _, c := range []struct {
			of string
			Coverage
		}{{"lines", r.Lines}, {"branches", r.Branches}} {
			if percent, ok := c.Percent(); ok {
				parts = append(parts, fmt.Sprintf("%.1f%% of %s (%d of %d)", percent, c.of, c.Covered, c.Total()))
			}
		}
		if len(parts) == 0 {
			return "nothing to cover"
		}
		now, _ := r.Lines.Percent()
		if before, known := r.Before.Percent(); known {
			parts = append(parts, fmt.Sprintf("%+.1f since the report before", now-before))
		}
	} else {
		parts = append(parts, fmt.Sprintf("%d tests", r.Total))
		for _, c := range []struct {
			n    int64
			word string
		}{{r.Passed, "passed"}, {r.Failed, "failed"}, {r.Errors, "with an error"}, {r.Skipped, "skipped"}, {r.Unknown, "unknown"}} {
			if c.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", c.n, c.word))
			}
			if c.word == "with an error" && r.NewBad+r.Flaky > 0 {
				parts[len(parts)-1] += r.history()
			}
		}
	}
	return strings.Join(parts, ", ")
}

// history says what of the bad cases is new and what is flaky.
func (r Report) history() string {
	var parts []string
	if r.NewBad > 0 {
		parts = append(parts, fmt.Sprintf("%d new", r.NewBad))
	}
	if r.Flaky > 0 {
		parts = append(parts, fmt.Sprintf("%d known flaky", r.Flaky))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
