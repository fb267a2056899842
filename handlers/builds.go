package handlers

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// buildDetail is a build or a deployment as the API shows it.
type buildDetail struct {
	pipeline.Build
	URL string `json:"url"`
}

func (s *Server) viewBuild(b pipeline.Build) buildDetail {
	kind := "/builds/"
	if b.Deployment != "" {
		kind = "/deployments/"
	}
	if b.Phases == nil {
		b.Phases = []pipeline.Phase{}
	}
	return buildDetail{Build: b, URL: s.ExternalURL + kind + url.PathEscape(b.ID)}
}

func (s *Server) getBuild(c *gin.Context) {
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		b, err := s.Builds.Build(ctx, c.Param("id"))
		if err != nil {
			return nil, false, err
		}
		return s.viewBuild(b), b.Status.Ended(), nil
	})
}

func (s *Server) getBuildArtifact(c *gin.Context) {
	b, err := s.Builds.Build(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	all := b.Artifacts
	if b.Manifest != nil {
		all = append(slices.Clone(all), *b.Manifest)
	}
	for _, a := range all {
		if a.Name == c.Param("name") {
			s.sendArtifact(c, a)
			return
		}
	}
	s.fail(c, pipeline.ErrNotFound)
}

// sendArtifact sends bytes that strangers may have made: always as a download,
// never as something a browser shows.
func (s *Server) sendArtifact(c *gin.Context, a pipeline.Artifact) {
	s.sendBytes(c, a, "application/octet-stream")
}

// sendBytes is sendArtifact for bytes of a type that is known.
func (s *Server) sendBytes(c *gin.Context, a pipeline.Artifact, contentType string) {
	etag := `"` + a.Digest + `"`
	if c.GetHeader("If-None-Match") == etag {
		c.Status(http.StatusNotModified)
		return
	}
	r, err := s.Artifacts.OpenArtifact(c.Request.Context(), a.Digest)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer r.Close()
	h := c.Writer.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(a)}))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("ETag", etag)
	if sum, err := hex.DecodeString(a.Digest); err == nil {
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	if a.Bytes > 0 {
		h.Set("Content-Length", strconv.FormatInt(a.Bytes, 10))
	}
	s.copyOut(c, r)
}

func fileName(a pipeline.Artifact) string {
	name := make([]rune, 0, len(a.Name))
	for _, r := range a.Name {
		if r < ' ' || r == 0x7f || r == '/' || r == '\\' || r == '"' {
			r = '_'
		}
		name = append(name, r)
	}
	if a.Format == "" {
		return string(name)
	}
	return string(name) + "." + a.Format
}

// copyOut streams r. A source that breaks off breaks the answer off, so that
// half of it never looks whole.
func (s *Server) copyOut(c *gin.Context, r io.Reader) {
	c.Status(http.StatusOK)
	if _, err := io.Copy(deadlineWriter{c.Writer, http.NewResponseController(c.Writer)}, r); err != nil {
		if c.Request.Context().Err() == nil {
			s.Log.WarnContext(c.Request.Context(), "download broke off", "route", c.FullPath(), "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}
