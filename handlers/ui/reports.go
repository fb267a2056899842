package ui

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// ReportGroups lists report groups: of a repository or, if that is empty, of all
// that the reader may see.
type ReportGroups struct {
	Frame
	Forge, Repo  string
	Items        []ReportTrend
	Newer, Older string
}

// TrendLength is how many reports the picture beside a group has.
const TrendLength = 20

// ReportTrend is a group with its recent reports, the newest first.
type ReportTrend struct {
	pipeline.ReportGroup
	Recent []pipeline.ReportPoint
}

// Trend draws the pass rate or, of a coverage, the lines that are covered: the
// newest at the right; nil: there is nothing to draw.
func (t ReportTrend) Trend() *Picture {
	shown := t.Recent[:min(TrendLength, len(t.Recent))]
	for _, m := range measures {
		if m.most != 100 {
			continue
		}
		if p := m.draw(shown); len(p.Columns) > 0 {
			for i := range p.Columns {
				p.Columns[i].X += (TrendLength - len(shown)) * columnStep
			}
			return &p
		}
	}
	return nil
}

// ReportGroup is one group with its history, the newest report first.
type ReportGroup struct {
	Frame
	Forge, Repo, Name string
	History           []pipeline.ReportPoint
}

// datedPoint is a report of a history with the time at which it is shown.
type datedPoint struct {
	pipeline.ReportPoint
	Now time.Time
}

// ReportGroups renders the list of a repository's report groups.
func (p *Pages) ReportGroups(v ReportGroups) ([]byte, error) { return p.render("reports", v) }

// ReportGroup renders the history of one group.
func (p *Pages) ReportGroup(v ReportGroup) ([]byte, error) { return p.render("report", v) }

// pointPath is the page of a report: a build's, or the batch's if several builds
// made it.
func pointPath(p pipeline.ReportPoint) string {
	if len(p.Tasks) > 1 {
		return "/executions/" + url.PathEscape(p.Execution) + "#reports"
	}
	return "/builds/" + url.PathEscape(p.Build) + "/reports/" + url.PathEscape(p.Name)
}

// BatchReport is a group's report by the builds of a batch, taken together.
type BatchReport struct {
	pipeline.Report
	Parts []ReportPart
}

// ReportPart is the report of one of the builds.
type ReportPart struct {
	Task, Href string
	pipeline.Report
}

// batchReports are the reports of the execution's batches, by their groups.
func batchReports(v Execution) []BatchReport {
	var out []BatchReport
	place := map[string]int{}
	for _, st := range v.Stages {
		for _, a := range st.Actions {
			if a.TaskOf == "" {
				continue
			}
			for _, r := range v.Builds[a.Job].Reports {
				part := ReportPart{strings.TrimPrefix(a.Name, a.TaskOf+"/"), "/builds/" + url.PathEscape(a.Job) + "/reports/" + url.PathEscape(r.Name), r}
				key := st.Name + "/" + a.TaskOf + " " + r.Name
				i, known := place[key]
				if !known {
					i, place[key] = len(out), len(out)
					out = append(out, BatchReport{Report: r})
				} else {
					out[i].Merge(r)
				}
				out[i].Parts = append(out[i].Parts, part)
			}
		}
	}
	return out
}

// Picture is a measure of a group's reports over time.
type Picture struct {
	Title   string
	Newest  string // the measure of the newest report
	Columns []Column
}

// measure reads one number of a report and says it in words; false: there is
// none.
type measure struct {
	title string
	of    func(pipeline.ReportPoint) (float64, bool)
	word  func(float64) string
	// most is the top of the picture; 0: the greatest of its numbers.
	most float64
}

func percent(v float64) string { return fmt.Sprintf("%.1f%%", v) }

var measures = []measure{
	{"Pass rate", passRate, percent, 100},
	{"Duration", func(p pipeline.ReportPoint) (float64, bool) {
		return float64(p.Duration), p.Kind == pipeline.ReportTest && p.Total > 0
	}, func(v float64) string { return duration(time.Duration(v)) }, 0},
	{"Tests", func(p pipeline.ReportPoint) (float64, bool) {
		return float64(p.Total), p.Kind == pipeline.ReportTest && p.Total > 0
	}, func(v float64) string { return fmt.Sprintf("%.0f tests", v) }, 0},
	{"Line coverage", func(p pipeline.ReportPoint) (float64, bool) { return p.Lines.Percent() }, percent, 100},
	{"Branch coverage", func(p pipeline.ReportPoint) (float64, bool) { return p.Branches.Percent() }, percent, 100},
}

// passRate is of the tests that ran (CodeBuild reference 6.3, PASS_RATE).
func passRate(p pipeline.ReportPoint) (float64, bool) {
	ran := p.Total - p.Skipped
	if p.Kind != pipeline.ReportTest || ran <= 0 {
		return 0, false
	}
	return 100 * float64(p.Passed) / float64(ran), true
}

// pictures draws the last 50 reports, the newest at the right, once for each
// measure that they have.
func pictures(history []pipeline.ReportPoint) []Picture {
	shown := history[:min(50, len(history))]
	var out []Picture
	for _, m := range measures {
		if p := m.draw(shown); len(p.Columns) > 0 {
			out = append(out, p)
		}
	}
	return out
}

func (m measure) draw(shown []pipeline.ReportPoint) Picture {
	most := m.most
	for _, p := range shown {
		if v, ok := m.of(p); ok && m.most == 0 {
			most = max(most, v)
		}
	}
	out := Picture{Title: m.title}
	for i := range shown {
		p := shown[len(shown)-1-i]
		v, ok := m.of(p)
		if !ok {
			continue
		}
		height := 2
		if most > 0 {
			height += int(v * (stripHeight - 2) / most)
		}
		out.Newest = m.word(v)
		out.Columns = append(out.Columns, Column{
			X: i * columnStep, Y: stripHeight - height, Height: height, State: stateOf(p.Status), Href: pointPath(p),
			Title: m.title + " " + m.word(v) + " at " + shortSHA(p.SHA),
		})
	}
	return out
}
