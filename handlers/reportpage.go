package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// casesShown is how many cases, or files of source, a page of a report has.
	casesShown = 100
	searchMax  = 200 // characters
	slowestMax = 900 // how far pages of the slowest cases go on: all before them are kept in memory
)

// casesWanted says which of a report's cases a page shows.
type casesWanted struct {
	key     string   // of one case; empty: all
	status  string   // one of caseFilters
	keys    []string // of the cases that are new or flaky, if those are wanted
	text    string   // in its names or its file, small letters
	slowest bool     // the slowest first
	skip    int64    // of those that fit
}

var caseFilters = []string{"", "bad", "new", "flaky", "skipped"}

func (w casesWanted) fit(c pipeline.ReportCase) bool {
	bad := c.Status == pipeline.CaseFailed || c.Status == pipeline.CaseError
	switch {
	case w.key != "" && c.Key() != w.key:
		return false
	case w.status == "bad" && !bad:
		return false
	case w.status == "skipped" && c.Status != pipeline.CaseSkipped:
		return false
	case (w.status == "new" || w.status == "flaky") && !(bad && slices.Contains(w.keys, c.Key())):
		return false
	}
	return w.text == "" || strings.Contains(strings.ToLower(c.Suite+" "+c.Prefix+" "+c.Name+" "+c.File), w.text)
}

// reportPage is one report of a build with all its cases, which are read from
// the store as far as they are shown.
func (s *Server) reportPage(c *gin.Context) {
	v, err := s.viewReport(c)
	if err != nil {
		s.failPage(c, err)
		return
	}
	v.Frame = s.frame(c, v.Report.Name)
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Report(v) })
}

func (s *Server) viewReport(c *gin.Context) (ui.Report, error) {
	b, err := s.Builds.Build(c.Request.Context(), c.Param("id"))
	if err != nil {
		return ui.Report{}, err
	}
	i := slices.IndexFunc(b.Reports, func(r pipeline.Report) bool { return r.Name == c.Param("name") })
	if i < 0 {
		return ui.Report{}, pipeline.ErrNotFound
	}
	want, err := wantedCases(c, b.Reports[i])
	if err != nil {
		return ui.Report{}, err
	}
	v := ui.Report{Build: b, Report: b.Reports[i], Case: want.key, Status: want.status, Slowest: want.slowest, Search: strings.TrimSpace(c.Query("q"))}
	if err := s.readReport(c, want, &v); err != nil {
		return v, err
	}
	if want.skip > 0 {
		v.Newer = pageFrom(c, 0)
	}
	if v.Source, err = s.sourceOf(c.Request.Context(), b); err != nil {
		return v, err
	}
	return v, s.pastOf(c, &v)
}

// wantedCases reads the query of a report's page.
func wantedCases(c *gin.Context, r pipeline.Report) (casesWanted, error) {
	w := casesWanted{key: c.Query("case"), status: c.Query("status"), text: strings.ToLower(strings.TrimSpace(c.Query("q"))), slowest: c.Query("order") == "slowest"}
	most := int64(math.MaxInt64 / 2)
	switch {
	case !slices.Contains(caseFilters, w.status):
		return w, refuse(http.StatusBadRequest, "invalid", "status: want bad, new, flaky or skipped, have %q", cut(w.status, 40))
	case !w.slowest && c.Query("order") != "":
		return w, refuse(http.StatusBadRequest, "invalid", "order: want slowest, have %q", cut(c.Query("order"), 40))
	case len(c.Query("q")) > searchMax:
		return w, refuse(http.StatusBadRequest, "invalid", "q: want at most %d characters", searchMax)
	case w.slowest:
		most = slowestMax
	}
	switch w.status {
	case "new":
		w.keys = r.NewKeys
	case "flaky":
		w.keys = r.FlakyKeys
	}
	var err error
	w.skip, err = number(c, "from", 0, 0, most)
	return w, err
}

// pageFrom is this page's address with other cases.
func pageFrom(c *gin.Context, from int64) string {
	q := c.Request.URL.Query()
	q.Del("from")
	if from > 0 {
		q.Set("from", strconv.FormatInt(from, 10))
	}
	return c.Request.URL.EscapedPath() + "?" + q.Encode()
}

// readReport fills in the cases and files of source that are wanted.
func (s *Server) readReport(c *gin.Context, want casesWanted, v *ui.Report) error {
	if v.Report.Stored == nil {
		return nil
	}
	r, err := s.Artifacts.OpenArtifact(c.Request.Context(), v.Report.Stored.Digest)
	if errors.Is(err, pipeline.ErrNotFound) {
		v.Report.Stored = nil // retention has taken it
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close() // only read from
	page, slow := window{skip: want.skip}, slowestCases{keep: int(want.skip) + casesShown + 1}
	show := func(t pipeline.ReportCase) bool {
		if page.take() {
			v.Cases = append(v.Cases, ui.CaseOf(t, v.Report))
		}
		return !page.full
	}
	err = readStored(r, func(t pipeline.ReportCase) bool {
		switch {
		case !want.fit(t):
			return true
		case want.slowest:
			slow.add(t)
			return true
		}
		return show(t)
	}, func(f ui.Source) bool {
		if want.key == "" && want.status == "" && strings.Contains(strings.ToLower(f.Path), want.text) && page.take() {
			v.Sources = append(v.Sources, f)
		}
		return !page.full
	})
	for _, t := range slow.sorted() {
		show(t)
	}
	if page.full && !(want.slowest && want.skip+casesShown > slowestMax) {
		v.Older = pageFrom(c, want.skip+casesShown)
	}
	return err
}

// window is the page of what fits.
type window struct {
	skip, fitting int64
	full          bool // there is more than the page has
}

// take counts one more that fits, and reports whether the page shows it.
func (w *window) take() bool {
	w.fitting++
	w.full = w.fitting > w.skip+casesShown
	return w.fitting > w.skip && !w.full
}

// slowestCases keeps the slowest of the cases that are added.
type slowestCases struct {
	keep  int
	cases []pipeline.ReportCase
}

func (s *slowestCases) add(c pipeline.ReportCase) {
	if s.cases = append(s.cases, c); len(s.cases) == 2*s.keep {
		s.cases = s.sorted()
	}
}

func (s *slowestCases) sorted() []pipeline.ReportCase {
	slices.SortStableFunc(s.cases, func(a, b pipeline.ReportCase) int { return cmp.Compare(b.Duration, a.Duration) })
	return s.cases[:min(s.keep, len(s.cases))]
}

// readStored reads a stored report, one case and one file of source at a time,
// until somebody has seen enough.
func readStored(r io.Reader, seeCase func(pipeline.ReportCase) bool, seeSource func(ui.Source) bool) error {
	d := json.NewDecoder(r)
	if _, err := d.Token(); err != nil { // {
		return fmt.Errorf("reading a stored report: %w", err)
	}
	for d.More() {
		name, err := d.Token()
		more := true
		switch {
		case err != nil:
		case name == "cases":
			more, err = eachOf(d, seeCase)
		case name == "sources":
			more, err = eachOf(d, seeSource)
		default:
			err = d.Decode(&json.RawMessage{})
		}
		if err != nil {
			return fmt.Errorf("reading a stored report: %w", err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// eachOf decodes an array; more: nobody has seen enough.
func eachOf[T any](d *json.Decoder, see func(T) bool) (more bool, err error) {
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return err == nil, err // null
	}
	for d.More() {
		var one T
		if err := d.Decode(&one); err != nil {
			return false, err
		}
		if !see(one) {
			return false, nil
		}
	}
	_, err = d.Token() // ]
	return true, err
}

// sourceOf is what a build was made of; of one that belongs to no execution, or
// that has outlived it, nothing is known.
func (s *Server) sourceOf(ctx context.Context, b pipeline.Build) (ui.BuildSource, error) {
	if b.Execution == "" {
		return ui.BuildSource{}, nil
	}
	x, err := s.Executions.Execution(ctx, b.Execution)
	if errors.Is(err, pipeline.ErrNotFound) {
		err = nil
	}
	return ui.SourceOf(x, b), err
}

// pastOf tells how the shown cases went in the reports of the group before.
// Reports of builds that belong to no execution have no history.
func (s *Server) pastOf(c *gin.Context, v *ui.Report) error {
	ctx, repo := c.Request.Context(), v.Source.Execution.Repo
	if repo.ID == "" {
		return nil
	}
	g, past, err := s.ReportGroups.ReportGroup(ctx, repo.Forge, repo.FullName(), v.Report.Name)
	if err == nil {
		var may []bool
		if may, err = s.mayReadGroups(c, []pipeline.ReportGroup{g}); err == nil && !may[0] {
			err = pipeline.ErrNotFound
		}
	}
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v.Group = groupPath(repo, v.Report.Name)
	v.SetPast(pipeline.MergeReports(past))
	return nil
}

func groupPath(repo forge.Repo, group string) string {
	return "/repos/" + url.PathEscape(repo.Forge) + "/" + url.PathEscape(repo.Owner) + "/" + url.PathEscape(repo.Name) + "/reports/" + url.PathEscape(group)
}
