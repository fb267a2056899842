package handlers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

// reportGroups reads the history of reports.
type reportGroups interface {
	// ReportGroups are a repository's, by their names.
	ReportGroups(ctx context.Context, forgeName, repo string) ([]pipeline.ReportGroup, error)
	// LatestReportGroups are those of all repositories, the one that was reported
	// to last first.
	LatestReportGroups(ctx context.Context, limit int, after string) (pipeline.Page[pipeline.ReportGroup], error)
	// RecentReports are up to n of each group, the newest first.
	RecentReports(ctx context.Context, groups []pipeline.ReportGroup, n int) ([][]pipeline.ReportPoint, error)
	// ReportGroup is one and its history, the newest first; ErrNotFound if there
	// is none.
	ReportGroup(ctx context.Context, forgeName, repo, group string) (pipeline.ReportGroup, []pipeline.ReportPoint, error)
}

// groupsShown is how many groups a page has.
const groupsShown = 50

// reportGroup is a group with its history, the newest report first.
type reportGroup struct {
	pipeline.ReportGroup
	History []pipeline.ReportPoint `json:"history"`
}

func repoOf(c *gin.Context) (forgeName, repo string) {
	return c.Param("forge"), c.Param("owner") + "/" + c.Param("name")
}

// groupsOf are the path's repository's. What a repository of the same name left
// behind is for those alone who may read that one.
func (s *Server) groupsOf(c *gin.Context) ([]pipeline.ReportGroup, error) {
	name, repo := repoOf(c)
	all, err := s.ReportGroups.ReportGroups(c.Request.Context(), name, repo)
	if err != nil {
		return nil, err
	}
	may, err := s.mayReadGroups(c, all)
	if err != nil {
		return nil, err
	}
	seen := []pipeline.ReportGroup{}
	for i, g := range all {
		if may[i] {
			seen = append(seen, g)
		}
	}
	return seen, s.mergeLast(c.Request.Context(), seen)
}

// batchReports is how many reports are looked at for those of one batch.
const batchReports = 200

// mergeLast makes the last report of each group that of all builds of its batch.
func (s *Server) mergeLast(ctx context.Context, groups []pipeline.ReportGroup) error {
	var batches []pipeline.ReportGroup
	var places []int
	for i, g := range groups {
		if g.Last.Batch != "" {
			batches, places = append(batches, g), append(places, i)
		}
	}
	if len(batches) == 0 {
		return nil
	}
	recent, err := s.ReportGroups.RecentReports(ctx, batches, batchReports)
	if err != nil {
		return err
	}
	for i, points := range recent {
		if merged := pipeline.MergeReports(points); len(merged) > 0 {
			groups[places[i]].Last = merged[0]
		}
	}
	return nil
}

func (s *Server) groupOf(c *gin.Context) (reportGroup, error) {
	name, repo := repoOf(c)
	g, points, err := s.ReportGroups.ReportGroup(c.Request.Context(), name, repo, c.Param("group"))
	if err != nil {
		return reportGroup{}, err
	}
	may, err := s.mayReadGroups(c, []pipeline.ReportGroup{g})
	if err == nil && !may[0] {
		err = pipeline.ErrNotFound
	}
	merged := pipeline.MergeReports(points)
	if len(merged) > 0 {
		g.Last = merged[0]
	}
	return reportGroup{g, merged}, err
}

func (s *Server) mayReadGroups(c *gin.Context, groups []pipeline.ReportGroup) ([]bool, error) {
	may := make([]bool, len(groups))
	if p := who(c); p != nil && !p.onServer().AtLeast(forge.Read) {
		return s.mayRead(c.Request.Context(), p, len(groups), func(_ context.Context, i int) (forge.Repo, error) { return groups[i].Repo, nil })
	}
	for i := range may {
		may[i] = true
	}
	return may, nil
}

func (s *Server) listReportGroups(c *gin.Context) {
	s.answer(c, func(context.Context) (any, bool, error) {
		groups, err := s.groupsOf(c)
		return pipeline.Page[pipeline.ReportGroup]{Items: groups}, false, err
	})
}

func (s *Server) listAllReportGroups(c *gin.Context) {
	limit, err := pageLimit(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		page, err := s.seenReportGroups(ctx, who(c), limit, c.Query("after"))
		return page, false, err
	})
}

func (s *Server) getReportGroup(c *gin.Context) {
	s.answer(c, func(context.Context) (any, bool, error) {
		g, err := s.groupOf(c)
		return g, false, err
	})
}

// getCaseHistory is a case's, which its names tell, or the key that reports have.
func (s *Server) getCaseHistory(c *gin.Context) {
	key := c.Query("key")
	if name := c.Query("name"); name != "" {
		key = pipeline.ReportCase{Name: name, Prefix: c.Query("prefix"), Suite: c.Query("suite")}.Key()
	}
	if key == "" {
		s.fail(c, refuse(http.StatusBadRequest, "invalid", "want the name of a case, with its prefix and suite if it has them, or its key"))
		return
	}
	s.answer(c, func(context.Context) (any, bool, error) {
		g, err := s.groupOf(c)
		return pipeline.HistoryOf(key, g.History), false, err
	})
}

func (s *Server) reportGroupsPage(c *gin.Context) {
	groups, err := s.groupsOf(c)
	if err != nil {
		s.failPage(c, err)
		return
	}
	name, repo := repoOf(c)
	s.showReportGroups(c, ui.ReportGroups{Frame: s.frame(c, "Reports of "+repo), Forge: name, Repo: repo}, groups)
}

// allReportGroupsPage has the groups of all repositories that the reader may see.
func (s *Server) allReportGroupsPage(c *gin.Context) {
	page, err := s.seenReportGroups(c.Request.Context(), who(c), groupsShown, c.Query("after"))
	if err != nil {
		s.failPage(c, err)
		return
	}
	v := ui.ReportGroups{Frame: s.frame(c, "Reports")}
	v.Newer, v.Older = neighbours(c, page.Next)
	s.showReportGroups(c, v, page.Items)
}

func (s *Server) seenReportGroups(ctx context.Context, p *principal, limit int, after string) (pipeline.Page[pipeline.ReportGroup], error) {
	page, err := seen(ctx, s, p, limit, after, func(limit int, after string) (pipeline.Page[pipeline.ReportGroup], error) {
		return s.ReportGroups.LatestReportGroups(ctx, limit, after)
	}, func(_ context.Context, g pipeline.ReportGroup) (forge.Repo, error) { return g.Repo, nil })
	if err != nil {
		return page, err
	}
	return page, s.mergeLast(ctx, page.Items)
}

func (s *Server) showReportGroups(c *gin.Context, v ui.ReportGroups, groups []pipeline.ReportGroup) {
	recent, err := s.ReportGroups.RecentReports(c.Request.Context(), groups, ui.TrendLength)
	if err != nil {
		s.failPage(c, err)
		return
	}
	for i, g := range groups {
		v.Items = append(v.Items, ui.ReportTrend{ReportGroup: g, Recent: pipeline.MergeReports(recent[i])})
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.ReportGroups(v) })
}

func (s *Server) reportGroupPage(c *gin.Context) {
	g, err := s.groupOf(c)
	if err != nil {
		s.failPage(c, err)
		return
	}
	name, repo := repoOf(c)
	s.page(c, http.StatusOK, func() ([]byte, error) {
		return s.pages.ReportGroup(ui.ReportGroup{Frame: s.frame(c, g.Name), Forge: name, Repo: repo, Name: g.Name, History: g.History})
	})
}
