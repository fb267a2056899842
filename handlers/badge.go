package handlers

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// badge is /badges/FORGE/OWNER/REPO.svg: the state of the newest execution,
// with ?branch= of that branch and with ?pipeline= of that pipeline.
func (s *Server) badge(c *gin.Context) {
	name, ok := strings.CutSuffix(c.Param("name"), ".svg")
	if !ok {
		s.fail(c, pipeline.ErrNotFound)
		return
	}
	page, err := s.Executions.Executions(c.Request.Context(), pipeline.Query{Forge: c.Param("forge"), Repo: c.Param("owner") + "/" + name, Limit: 200})
	if err != nil {
		s.fail(c, err)
		return
	}
	status := pipeline.Status("unknown")
	for _, x := range page.Items {
		if wanted(x, c.Query("branch"), c.Query("pipeline")) {
			status = x.Status
			break
		}
	}
	svg, err := s.pages.Badge(c.DefaultQuery("label", "slipway"), status)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-cache, max-age=0")
	c.Header("Cross-Origin-Resource-Policy", "cross-origin")
	c.Data(http.StatusOK, "image/svg+xml", svg)
}

func wanted(x pipeline.Summary, branch, name string) bool {
	return (branch == "" || x.Ref == "refs/heads/"+branch) && (name == "" || x.Pipeline == name) && x.Status != pipeline.Superseded
}
