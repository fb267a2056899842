package ui

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// Report is one report of a build, with a page of its cases or of the files
// that it covers.
type Report struct {
	Frame
	Build  pipeline.Build
	Source BuildSource
	Report pipeline.Report
	Group  string // path of its group's history; empty: there is none

	Case           string // the key of the only case that is shown
	Status, Search string // what was asked for
	Slowest        bool   // the slowest first
	Cases          []ReportCase
	Sources        []Source
	// Past is the case's way through the reports of its group, the newest first.
	Past         []CasePast
	Newer, Older string
}

// Report renders a report.
func (p *Pages) Report(v Report) ([]byte, error) { return p.render("cases", v) }

// ReportCase is one case with what is known of it from other builds.
type ReportCase struct {
	pipeline.ReportCase
	ID string // its key
	// New: it was not bad in the report before.
	New bool
	// Often says how often it was bad lately; empty: it wasn't.
	Often string
}

// CaseOf is a case with what its report has been found to say of it.
func CaseOf(c pipeline.ReportCase, r pipeline.Report) ReportCase {
	key := c.Key()
	c.Flaky = slices.Contains(r.FlakyKeys, key)
	return ReportCase{ReportCase: c, ID: key, New: slices.Contains(r.NewKeys, key)}
}

// Tab is one choice of a report's cases.
type Tab struct {
	Name    string
	Count   int64
	Href    string
	Current bool
}

// At is the address of the report.
func (v Report) At() string {
	return "/builds/" + url.PathEscape(v.Build.ID) + "/reports/" + url.PathEscape(v.Report.Name)
}

// Tabs are the choices that the report has cases for.
func (v Report) Tabs() []Tab {
	r := v.Report
	var out []Tab
	for _, t := range []struct {
		name, status string
		count        int64
	}{{"All", "", r.Total}, {"Failed", "bad", r.Failed + r.Errors}, {"New failures", "new", int64(len(r.NewKeys))}, {"Known flaky", "flaky", int64(len(r.FlakyKeys))}, {"Skipped", "skipped", r.Skipped}} {
		current := t.status == v.Status
		if t.count > 0 || current || t.status == "" {
			out = append(out, Tab{t.name, t.count, v.with(t.status, v.Slowest), current})
		}
	}
	return out
}

// Order leads to the same cases in the other order.
func (v Report) Order() string { return v.with(v.Status, !v.Slowest) }

// with is the page's address with another choice and the same search.
func (v Report) with(status string, slowest bool) string {
	q := url.Values{}
	if status != "" {
		q.Set("status", status)
	}
	if slowest {
		q.Set("order", "slowest")
	}
	if v.Search != "" {
		q.Set("q", v.Search)
	}
	if len(q) == 0 {
		return v.At()
	}
	return v.At() + "?" + q.Encode()
}

// BuildSource is what a build was made of; zero: nobody knows.
type BuildSource struct {
	Execution pipeline.Execution
	sha       string
}

// SourceOf is the source of the execution's build. Bitbucket Cloud keeps the
// commits of a fork's pull request in the fork only, of which no page is known.
func SourceOf(x pipeline.Execution, b pipeline.Build) BuildSource {
	s := BuildSource{x, b.SHA}
	if p := x.Trigger.Pull; p != nil && !p.Internal() && x.Repo.Forge == "bitbucket" {
		s.sha = ""
	}
	return s
}

// Page is the address of the case's place at its forge; empty: there is none.
func (s BuildSource) Page(c pipeline.ReportCase) string {
	if !c.Located {
		return ""
	}
	return s.Execution.Repo.FileURL(s.sha, c.File, c.Line)
}

// PageOf is the address of a file whose coverage is known; empty: there is none.
func (s BuildSource) PageOf(f Source) string {
	if !f.Located {
		return ""
	}
	return s.Execution.Repo.FileURL(s.sha, f.Path, 0)
}

// Source is how much of one file is covered, as it is stored.
type Source struct {
	Path     string            `json:"path"`
	Located  bool              `json:"located"`
	Lines    pipeline.Coverage `json:"lines"`
	Branches pipeline.Coverage `json:"branches"`
}

// CasePast is whether a case was bad in one report.
type CasePast struct {
	pipeline.ReportPoint
	Bad bool
}

// pastShown is how many reports the history of a case looks back.
const pastShown = 50

// SetPast fills in what the history of the report's group, the newest first,
// knows of the cases that are shown. It knows the cases that were bad, and no
// others.
func (v *Report) SetPast(past []pipeline.ReportPoint) {
	past = pipeline.CaseReports(past)
	past = past[:min(pastShown, len(past))]
	bad := map[string]int{}
	first := map[string]pipeline.ReportPoint{}
	for _, p := range past {
		for _, key := range p.BadKeys {
			bad[key]++
			first[key] = p
		}
	}
	for i := range v.Cases {
		if c := &v.Cases[i]; bad[c.ID] > 0 {
			p := first[c.ID]
			c.Often = fmt.Sprintf("bad in %d of the last %d reports, since %s on %s", bad[c.ID], len(past), shortSHA(p.SHA), p.On)
		}
	}
	if v.Case == "" {
		return
	}
	for _, p := range past {
		v.Past = append(v.Past, CasePast{p, slices.Contains(p.BadKeys, v.Case)})
	}
}

// covered is a coverage in words; empty: there is nothing to cover.
func covered(c pipeline.Coverage) string {
	v, ok := c.Percent()
	if !ok {
		return ""
	}
	return percent(v)
}
