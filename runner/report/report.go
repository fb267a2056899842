// Package report reads the reports of test and coverage tools in the formats
// that a buildspec's reports block names (CodeBuild reference, section 6). What
// it reads was written by a build, so all of it is bounded: the size of a file,
// its nesting, the number of cases kept and the length of each text. Nothing is
// fetched and no entity is expanded.
package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// Options bound what is read and kept; a zero means the default.
type Options struct {
	// FileBytes is the most of one file, 32 MiB by default. A longer file is
	// a problem of the report.
	FileBytes int64
	// Files is the most files of one report, 1,000 by default.
	Files int
	// KeptBytes is about the most memory of the cases, and of the files of
	// source, that are kept; 64 MiB by default, which is some 200,000 cases.
	// Those that passed give way to those that failed. All of them are counted.
	KeptBytes int64
	// Mask takes secrets out of every text that is kept; nil means that there
	// are none.
	Mask func(string) string
}

const (
	defaultFileBytes = 32 << 20
	defaultFiles     = 1000
	defaultKeptBytes = 64 << 20
	caseBytes        = 200 // of a case beside its texts
	maxName          = 512
	maxMessage       = 2 << 10
	maxText          = 16 << 10 // of an element, before secrets are taken out
	maxProblems      = 20
	maxEntries       = 2_000_000 // lines and files of source of one report
)

func (o Options) filled() Options {
	if o.FileBytes <= 0 {
		o.FileBytes = defaultFileBytes
	}
	if o.Files <= 0 {
		o.Files = defaultFiles
	}
	if o.KeptBytes <= 0 {
		o.KeptBytes = defaultKeptBytes
	}
	if o.Mask == nil {
		o.Mask = func(s string) string { return s }
	}
	return o
}

// Report is one report in full, as it is stored.
type Report struct {
	V int `json:"v"`
	pipeline.Report
	Cases []Case `json:"cases,omitempty"`
	// Sources is the coverage of each file of source.
	Sources []Source `json:"sources,omitempty"`
}

// Case is one test case. Only its name and status are always known.
type Case struct {
	pipeline.ReportCase
	// From is the report file it was read from.
	From string `json:"from,omitempty"`

	id string // of a TRX test, until its class is known
}

// Source is the coverage of one file of source.
type Source struct {
	Path string `json:"path"`
	// Located: Path is a file of the build's source.
	Located  bool              `json:"located,omitempty"`
	Lines    pipeline.Coverage `json:"lines"`
	Branches pipeline.Coverage `json:"branches"`
}

// Reader reads the files of one report. It is not safe for concurrent use.
type Reader struct {
	options Options
	format  buildspec.Format
	report  Report
	from    string
	cases   map[pipeline.CaseStatus][]Case
	kept    int64 // bytes of cases
	sources map[string]Source
	classes map[string]string // TRX: classes of tests by their IDs
	lines   lineTable         // Cobertura, SimpleCov
	entries int               // in lines and sources
}

// New is a reader for a report of that name.
func New(name string, f buildspec.Format, o Options) *Reader {
	r := &Reader{
		options: o.filled(), format: f,
		cases: map[pipeline.CaseStatus][]Case{}, sources: map[string]Source{}, lines: lineTable{},
	}
	r.report.V, r.report.Format, r.report.Kind = 1, string(f), pipeline.ReportTest
	if f.Coverage() {
		r.report.Kind = pipeline.ReportCoverage
	}
	r.report.Name = r.text(name, maxName)
	return r
}

// text is s as it may be kept: without secrets, and not too long.
func (r *Reader) text(s string, n int) string { return cut(r.options.Mask(s), n) }

// Problem makes the report incomplete, and says why.
func (r *Reader) Problem(text string) {
	r.report.ProblemCount++
	if len(r.report.Problems) < maxProblems {
		r.report.Problems = append(r.report.Problems, r.text(text, maxName))
	}
}

// statuses are in the order in which cases are kept (CodeBuild reference 6.3).
var statuses = []pipeline.CaseStatus{pipeline.CaseFailed, pipeline.CaseError, pipeline.CaseSkipped, pipeline.CaseUnknown, pipeline.CaseSucceeded}

func (r *Reader) add(c Case) {
	c.Name, c.Suite, c.Prefix = r.text(c.Name, maxName), r.text(c.Suite, maxName), r.text(c.Prefix, maxName)
	c.File, c.Message, c.From = r.text(c.File, maxName), r.text(strings.TrimSpace(c.Message), maxMessage), r.from
	t := &r.report
	t.Total++
	switch c.Status {
	case pipeline.CaseSucceeded:
		t.Passed++
	case pipeline.CaseFailed:
		t.Failed++
	case pipeline.CaseError:
		t.Errors++
	case pipeline.CaseSkipped:
		t.Skipped++
	case pipeline.CaseUnknown:
		t.Unknown++
	}
	t.Duration = addDurations(t.Duration, c.Duration)
	r.keep(c)
}

// keep keeps a case if there is room, or if a case that matters less gives way.
func (r *Reader) keep(c Case) {
	for last := len(statuses) - 1; r.kept+c.size() > r.options.KeptBytes; {
		of := statuses[last]
		if of == c.Status || last == 0 {
			return
		}
		n := len(r.cases[of])
		if n == 0 {
			last--
			continue
		}
		r.kept -= r.cases[of][n-1].size()
		r.cases[of] = r.cases[of][:n-1]
	}
	r.kept += c.size()
	r.cases[c.Status] = append(r.cases[c.Status], c)
}

// size is about what a case takes in memory; its file's name is shared.
func (c Case) size() int64 {
	return int64(caseBytes + len(c.Name) + len(c.Suite) + len(c.Prefix) + len(c.File) + len(c.Message))
}

// addDurations is the sum, or the longest duration there is.
func addDurations(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// source adds the coverage of one file of source. Two report files that tell of
// one file with as many lines tell of the same: the better of them counts.
func (r *Reader) source(s Source) {
	s.Path = r.text(s.Path, maxName)
	key := s.Path + "\x00" + strconv.FormatInt(s.Lines.Total(), 10)
	old, ok := r.sources[key]
	if ok && old.Lines.Covered >= s.Lines.Covered {
		return
	}
	if ok || r.room() {
		r.sources[key] = s
	}
}

// line adds what a file says of one line of source; 0 is for branches that
// belong to no line.
func (r *Reader) line(file string, n int, l line) {
	if _, ok := r.lines[file][n]; ok || r.room() {
		r.lines.add(file, n, l)
	}
}

// room counts one more entry; without room for it the report is incomplete.
func (r *Reader) room() bool {
	if r.entries == maxEntries {
		r.entries++
		r.Problem("too much to cover: what is beyond " + strconv.Itoa(maxEntries) + " lines and files is left out")
	}
	if r.entries > maxEntries {
		return false
	}
	r.entries++
	return true
}

// Report ends the reading and is the whole report.
func (r *Reader) Report() Report {
	t := r.report
	for _, s := range statuses {
		t.Cases = append(t.Cases, r.cases[s]...)
	}
	for i := range t.Cases {
		if c := &t.Cases[i]; c.Prefix == "" {
			c.Prefix = r.classes[c.id]
		}
	}
	t.Truncated = int64(len(t.Cases)) < t.Total
	r.lines.each(r.source)
	t.ProblemCount, t.Problems = r.report.ProblemCount, r.report.Problems
	r.coverage(&t)
	t.Status = statusOf(t)
	return t
}

func (r *Reader) coverage(t *Report) {
	for _, s := range r.sources {
		t.Lines.Add(s.Lines)
		t.Branches.Add(s.Branches)
		t.Sources = append(t.Sources, s)
	}
	slices.SortFunc(t.Sources, func(a, b Source) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return int(max(-1, min(1, a.Lines.Total()-b.Lines.Total())))
	})
	var bytes int64
	for i, s := range t.Sources {
		if bytes += int64(caseBytes + len(s.Path)); bytes > r.options.KeptBytes {
			t.Sources, t.Truncated = t.Sources[:i:i], true
			return
		}
	}
}

func statusOf(t Report) pipeline.ReportStatus {
	switch {
	case t.ProblemCount > 0 || t.Files == 0:
		return pipeline.ReportIncomplete
	case t.Failed+t.Errors > 0:
		return pipeline.ReportFailed
	}
	return pipeline.ReportSucceeded
}

// cut shortens s to at most n bytes of valid, printable UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		s = strings.Clone(s[:n]) // lets go of the rest, which may be a whole file
	}
	return strings.Map(func(c rune) rune {
		if c == 0 || c == 0x7f || c < ' ' && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
}

// seconds reads a number of seconds as tools print it; what is none, or less
// than nothing, is 0.
func seconds(s string) time.Duration {
	return inUnits(s, time.Second)
}

func inUnits(s string, unit time.Duration) time.Duration {
	f, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(s), ",", ""), 64)
	if err != nil || !(f > 0) {
		return 0
	}
	if f *= float64(unit); f >= math.MaxInt64/2 {
		return math.MaxInt64 / 2
	}
	return time.Duration(f)
}

// count reads a number that can't be less than 0; what is none is 0.
func count(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > maxCount {
		return 0
	}
	return n
}

// maxCount keeps sums of counts far from the end of an int64.
const maxCount = 1 << 40
