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
	// ReportGroup is one and its history, the newest first; ErrNotFound if there
	// is none.
	ReportGroup(ctx context.Context, forgeName, repo, group string) (pipeline.ReportGroup, []pipeline.ReportPoint, error)
}

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
	return seen, nil
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
	return reportGroup{g, points}, err
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

func (s *Server) getReportGroup(c *gin.Context) {
	s.answer(c, func(context.Context) (any, bool, error) {
		g, err := s.groupOf(c)
		return g, false, err
	})
}

func (s *Server) reportGroupsPage(c *gin.Context) {
	groups, err := s.groupsOf(c)
	if err != nil {
		s.failPage(c, err)
		return
	}
	name, repo := repoOf(c)
	s.page(c, http.StatusOK, func() ([]byte, error) {
		return s.pages.ReportGroups(ui.ReportGroups{Frame: s.frame(c, "Reports of "+repo), Forge: name, Repo: repo, Items: groups})
	})
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
