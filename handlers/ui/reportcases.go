package ui

import (
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/pipeline"
)

// Report is one report of a build, with a page of its cases or of the files
// that it covers.
type Report struct {
	Frame
	Build  pipeline.Build
	Report pipeline.Report
	Group  string // path of its group's history; empty: there is none

	Case           string // the key of the only case that is shown
	Status, Search string // what was asked for
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
	// Often says how often it was bad lately; empty: it wasn't.
	Often string
}

// Bad reports whether the case failed or broke.
func (c ReportCase) Bad() bool {
	return c.Status == pipeline.CaseFailed || c.Status == pipeline.CaseError
}

// Source is how much of one file is covered, as it is stored.
type Source struct {
	Path     string            `json:"path"`
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
	past = slices.DeleteFunc(slices.Clone(past), func(p pipeline.ReportPoint) bool {
		return p.Kind != pipeline.ReportTest || p.Status == pipeline.ReportIncomplete
	})
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
