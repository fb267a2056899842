package handlers

import (
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
)

// casesWanted says which of a report's cases a page shows.
type casesWanted struct {
	key    string // of one case; empty: all
	status string // bad, skipped or empty
	text   string // in its names or its file, small letters
	skip   int64  // of those that fit
}

func (w casesWanted) fit(c pipeline.ReportCase) bool {
	switch {
	case w.key != "" && c.Key() != w.key:
		return false
	case w.status == "bad" && c.Status != pipeline.CaseFailed && c.Status != pipeline.CaseError:
		return false
	case w.status == "skipped" && c.Status != pipeline.CaseSkipped:
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
	skip, err := number(c, "from", 0, 0, math.MaxInt64/2)
	if err != nil {
		return ui.Report{}, err
	}
	if len(c.Query("q")) > searchMax {
		return ui.Report{}, refuse(http.StatusBadRequest, "invalid", "q: want at most %d characters", searchMax)
	}
	want := casesWanted{key: c.Query("case"), status: c.Query("status"), text: strings.ToLower(strings.TrimSpace(c.Query("q"))), skip: skip}
	v := ui.Report{Build: b, Report: b.Reports[i], Case: want.key, Status: want.status, Search: strings.TrimSpace(c.Query("q"))}
	if err := s.readReport(c, want, &v); err != nil {
		return v, err
	}
	if skip > 0 {
		v.Newer = pageFrom(c, 0)
	}
	return v, s.pastOf(c, &v)
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
	if err != nil {
		return err
	}
	defer r.Close() // only read from
	var fitting int64
	page := func(fits bool) (show, more bool) {
		if !fits {
			return false, true
		}
		fitting++
		if fitting > want.skip+casesShown {
			v.Older = pageFrom(c, want.skip+casesShown)
			return false, false
		}
		return fitting > want.skip, true
	}
	return readStored(r, func(t pipeline.ReportCase) bool {
		show, more := page(want.fit(t))
		if show {
			v.Cases = append(v.Cases, ui.ReportCase{ReportCase: t, ID: t.Key()})
		}
		return more
	}, func(f ui.Source) bool {
		show, more := page(want.key == "" && want.status == "" && strings.Contains(strings.ToLower(f.Path), want.text))
		if show {
			v.Sources = append(v.Sources, f)
		}
		return more
	})
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

// pastOf tells how the shown cases went in the reports of the group before.
// Reports of builds that belong to no execution have no history.
func (s *Server) pastOf(c *gin.Context, v *ui.Report) error {
	if v.Build.Execution == "" {
		return nil
	}
	ctx := c.Request.Context()
	repo, err := s.executionRepo(ctx, v.Build.Execution)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil // it has expired before its build
	}
	if err != nil {
		return err
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
	v.SetPast(past)
	return nil
}

func groupPath(repo forge.Repo, group string) string {
	return "/repos/" + url.PathEscape(repo.Forge) + "/" + url.PathEscape(repo.Owner) + "/" + url.PathEscape(repo.Name) + "/reports/" + url.PathEscape(group)
}
