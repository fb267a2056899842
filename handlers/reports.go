package handlers

import (
	"context"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

func (s *Server) listReports(c *gin.Context) {
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		b, err := s.Builds.Build(ctx, c.Param("id"))
		if err != nil {
			return nil, false, err
		}
		page := pipeline.Page[pipeline.Report]{Items: b.Reports}
		if page.Items == nil {
			page.Items = []pipeline.Report{}
		}
		return page, b.Status.Ended(), nil
	})
}

// getReport sends a whole report, which a build's tools wrote, as a download.
func (s *Server) getReport(c *gin.Context) {
	b, err := s.Builds.Build(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	for _, r := range b.Reports {
		if r.Name == c.Param("name") && r.Stored != nil {
			s.sendBytes(c, *r.Stored, "application/json")
			return
		}
	}
	s.fail(c, pipeline.ErrNotFound)
}
