package handlers

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

// audit keeps the audit log.
type audit interface {
	AddAudit(ctx context.Context, e access.Entry) error
	// Audit lists the newest first.
	Audit(ctx context.Context, limit int, after string) (pipeline.Page[access.Entry], error)
}

const (
	// auditTime is what an entry gets after its request is over.
	auditTime = 5 * time.Second
	// targetShown is how much of a path, or of a header, an entry holds.
	targetShown = 200
)

// detailKey is where a handler leaves what its entry is to say; never a secret.
const detailKey = "slipway.detail"

// unnoted are the writes of which there are too many: of a session only its
// opening is noted.
var unnoted = map[string]bool{apiRoot + "/builds/:id/debug/input": true}

// record returns what notes a write once it is answered; reading is not noted.
func (s *Server) record(c *gin.Context, p *principal) func() {
	if c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead || s.Access.Audit == nil || unnoted[c.FullPath()] {
		return func() {}
	}
	return func() {
		e := access.Entry{Status: c.Writer.Status(), Outcome: outcomeOf(c.Writer.Status())}
		s.note(c, p, e)
	}
}

func outcomeOf(status int) string {
	switch {
	case status < http.StatusBadRequest:
		return access.Done
	case status < http.StatusInternalServerError:
		return access.Refused
	}
	return access.Failed
}

// note appends to the audit log. What can't be noted is logged.
func (s *Server) note(c *gin.Context, p *principal, e access.Entry) {
	if s.Access.Audit == nil || p == nil && !s.guard.failed.Note(s.Now()) {
		return
	}
	e.At, e.Action, e.Target = s.Now().UTC(), c.Request.Method+" "+c.FullPath(), plain(c.Request.URL.Path)
	e.From, e.Forwarded = c.Request.RemoteAddr, plain(c.GetHeader("X-Forwarded-For"))
	if from := addressOf(c.Request, s.Access.TrustedProxies); from.IsValid() {
		e.From = from.String()
	}
	if p != nil {
		e.Who, e.Via = p.name, p.via
	}
	if repo, ok := c.Get(repoKey); ok {
		if r, _ := repo.(forge.Repo); r.Name != "" {
			e.Repo = r.Forge + "/" + r.FullName()
		}
	}
	if e.Detail == "" {
		e.Detail = plain(c.GetString(detailKey))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), auditTime)
	defer cancel()
	if err := s.Access.Audit.AddAudit(ctx, e); err != nil {
		s.Log.ErrorContext(ctx, "the audit log has a gap", "who", e.Who, "action", e.Action, "error", err)
	}
}

// plain is a stranger's text, cut and without what isn't text.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(cut(s, targetShown), ""))
}

func (s *Server) signedIn(c *gin.Context, p *principal) {
	s.note(c, p, access.Entry{Outcome: access.Done, Detail: "signed in"})
}

func (s *Server) signInFailed(c *gin.Context, how string) {
	s.note(c, nil, access.Entry{Outcome: access.Refused, Status: http.StatusUnauthorized, Detail: "signing in by " + how})
}

func (s *Server) auditPageOf(c *gin.Context) (pipeline.Page[access.Entry], error) {
	limit, err := pageLimit(c)
	if err != nil || s.Access.Audit == nil {
		return pipeline.Page[access.Entry]{Items: []access.Entry{}}, err
	}
	return s.Access.Audit.Audit(c.Request.Context(), limit, c.Query("after"))
}

func (s *Server) listAudit(c *gin.Context) {
	page, err := s.auditPageOf(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, page)
}

func (s *Server) auditPage(c *gin.Context) {
	page, err := s.auditPageOf(c)
	if err != nil {
		s.failPage(c, err)
		return
	}
	v := ui.Audit{Frame: s.frame(c, "Audit log"), Items: page.Items, Words: s.auditWords()}
	v.Newer, v.Older = neighbours(c, page.Next)
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Audit(v) })
}

// auditWords say what routes do, by the actions of the audit log. The forms of
// pages do what the routes of the API do that have the same path.
func (s *Server) auditWords() map[string]string {
	words := map[string]string{
		"GET /sign-in": "Sign in", "POST /sign-in": "Sign in", "POST /sign-out": "Sign out",
		"GET /login/callback": "Sign in", "POST /git/*path": "Push to the git host",
	}
	for _, r := range s.api() {
		path := ginPath(r.path)
		words[r.method+" "+apiRoot+path] = r.summary
		words[r.method+" "+path] = cmp.Or(words[r.method+" "+path], r.summary)
	}
	return words
}
