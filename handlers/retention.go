package handlers

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// tryRetention says what the next pass would remove.
func (s *Server) tryRetention(c *gin.Context) { s.passRetention(c, true) }

func (s *Server) runRetention(c *gin.Context) { s.passRetention(c, false) }

func (s *Server) passRetention(c *gin.Context, trial bool) {
	if s.Retention == nil {
		s.fail(c, pipeline.ErrNotFound)
		return
	}
	out, err := s.Retention.Pass(c.Request.Context(), trial)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, out)
}
