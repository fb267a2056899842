package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// maxBadKeys bounds the bad cases that a report's history knows of a build.
const maxBadKeys = 500

// flakyTurns is how often a case has to turn from good to bad or back, on one
// branch, to be flaky: a regression and its repair are two.
const flakyTurns = 3

// ReportGroup is a name under which a repository's builds report.
type ReportGroup struct {
	Repo forge.Repo  `json:"repo"`
	Name string      `json:"name"`
	Last ReportPoint `json:"last"`
}

// ReportPoint is one build's report in the history of its group. Of its cases
// it has the keys of the bad ones only.
type ReportPoint struct {
	Report
	Build string `json:"build"`
	SHA   string `json:"sha"`
	// On is what was built, as Trigger.Name says it.
	On string `json:"on"`
	// Trusted: not of a stranger's pull request.
	Trusted   bool   `json:"trusted"`
	Execution string `json:"execution,omitempty"`
	// Batch is the action that the build was a task of, as STAGE/ACTION, and Tasks
	// are those tasks whose reports this one is made of; empty: it was of none.
	Batch string    `json:"batch,omitempty"`
	Tasks []string  `json:"tasks,omitempty"`
	At    time.Time `json:"at"`
}

// Point is what the history keeps of a report of the execution's build.
func (r Report) Point(x Execution, build string, at time.Time) ReportPoint {
	r.Bad, r.Problems, r.Stored, r.NewKeys, r.FlakyKeys = nil, nil, nil, nil, nil
	p := ReportPoint{Report: r, Build: build, SHA: x.Trigger.SHA, On: x.Trigger.Name(), Trusted: x.Trigger.Trusted, Execution: x.ID, At: at}
	if batch, task := x.taskOf(build); batch != "" {
		p.Batch, p.Tasks = batch, []string{task}
	}
	return p
}

// Key tells a case from others of its group, in every build.
func (c ReportCase) Key() string {
	sum := sha256.Sum256([]byte(c.Suite + "\x00" + c.Prefix + "\x00" + c.Name))
	return hex.EncodeToString(sum[:8])
}

// CaseHistory is how one case went in the reports of its group, the newest
// first: reports know which cases were bad, and no others.
type CaseHistory struct {
	Key   string      `json:"key"`
	Bad   int         `json:"bad"` // how many of Items
	Items []CasePoint `json:"items"`
}

// CasePoint is how a case went in one report.
type CasePoint struct {
	Build string    `json:"build"`
	SHA   string    `json:"sha"`
	On    string    `json:"on"`
	At    time.Time `json:"at"`
	Bad   bool      `json:"bad"`
}

// HistoryOf is the history of the case with that key.
func HistoryOf(key string, past []ReportPoint) CaseHistory {
	h := CaseHistory{Key: key, Items: []CasePoint{}}
	for _, p := range CaseReports(past) {
		bad := slices.Contains(p.BadKeys, key)
		if bad {
			h.Bad++
		}
		h.Items = append(h.Items, CasePoint{p.Build, p.SHA, p.On, p.At, bad})
	}
	return h
}

// CaseReports are the reports of a history that say how cases went.
func CaseReports(past []ReportPoint) []ReportPoint {
	return slices.DeleteFunc(slices.Clone(past), func(p ReportPoint) bool { return p.Kind != ReportTest || p.Status == ReportIncomplete })
}

// NoteBad adds a case that failed or broke to what the history knows.
func (r *Report) NoteBad(c ReportCase) {
	if key := c.Key(); len(r.BadKeys) < maxBadKeys && !slices.Contains(r.BadKeys, key) {
		r.BadKeys = append(r.BadKeys, key)
	}
}

// Weigh says what is new in a report, and what is flaky: past is the history of
// its group, the newest first. It is compared with the report before it of the
// same branch or pull request, else of the pull request's base.
func (r *Report) Weigh(x Execution, past []ReportPoint) {
	r.NewKeys, r.FlakyKeys, r.NewBad, r.Flaky, r.Before = nil, nil, 0, 0, Coverage{}
	if r.Status == ReportIncomplete {
		return
	}
	past = slices.DeleteFunc(slices.Clone(past), func(p ReportPoint) bool { return p.Status == ReportIncomplete || p.Kind != r.Kind })
	if before := comparedWith(x, past); before != nil {
		r.Before = before.Lines
		for _, key := range r.BadKeys {
			if !slices.Contains(before.BadKeys, key) {
				r.NewKeys = append(r.NewKeys, key)
			}
		}
	}
	now := r.Point(x, "", time.Time{})
	for _, key := range r.BadKeys {
		if isFlaky(key, now, past) {
			r.FlakyKeys = append(r.FlakyKeys, key)
		}
	}
	for n := range r.Bad {
		r.Bad[n].Flaky = slices.Contains(r.FlakyKeys, r.Bad[n].Key())
	}
	r.NewBad, r.Flaky = int64(len(r.NewKeys)), int64(len(r.FlakyKeys))
}

func comparedWith(x Execution, past []ReportPoint) *ReportPoint {
	names := []string{x.Trigger.Name()}
	if x.Trigger.Pull != nil {
		names = append(names, "branch/"+x.Trigger.Pull.BaseRef)
	}
	for i, name := range names {
		for n := range past {
			// A stranger's pull request measures nothing but itself.
			if past[n].On == name && (i == 0 || past[n].Trusted) {
				return &past[n]
			}
		}
	}
	return nil
}

// isFlaky reports a case that went well and badly at one commit, or that turned
// too often on one branch. Only trusted builds tell.
func isFlaky(key string, now ReportPoint, past []ReportPoint) bool {
	last, turns := map[string]bool{now.On: true}, map[string]int{}
	for _, p := range past {
		if !p.Trusted || p.Failed+p.Errors > int64(len(p.BadKeys)) && len(p.BadKeys) == maxBadKeys {
			continue
		}
		bad := slices.Contains(p.BadKeys, key)
		if p.SHA == now.SHA && !bad {
			return true
		}
		if was, known := last[p.On]; known && was != bad {
			turns[p.On]++
		}
		last[p.On] = bad
		if turns[p.On] >= flakyTurns {
			return true
		}
	}
	return false
}
