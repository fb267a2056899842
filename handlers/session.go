package handlers

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/handlers/ui"
)

const (
	sessionCookie = "slipway_session"
	sessionTime   = 7 * 24 * time.Hour
	ticketTime    = 15 * time.Minute
)

// Sessions and tickets are signed, not stored: "kind.expiry.id.mac". The kind
// is under the mac, so that one can't pass for the other.

func (g *guard) sign(kind string, ttl time.Duration) string {
	body := kind + "." + strconv.FormatInt(g.now().Add(ttl).Unix(), 10) + "." + rand.Text()
	return body + "." + g.mac(body)
}

func (g *guard) mac(body string) string {
	m := hmac.New(sha256.New, g.SessionKey)
	m.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// verify is the ID within a signed text that has not expired.
func (g *guard) verify(kind, signed string) (id string, ok bool) {
	body, mac, found := cutLast(signed)
	if !found || !hmac.Equal([]byte(mac), []byte(g.mac(body))) {
		return "", false
	}
	parts := strings.Split(body, ".")
	if len(parts) != 3 || parts[0] != kind {
		return "", false
	}
	expiry, err := strconv.ParseInt(parts[1], 10, 64)
	return parts[2], err == nil && g.now().Unix() < expiry
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// session is the ID of a cookie's session, if it is good.
func (g *guard) session(cookie string) (id string, ok bool) {
	id, ok = g.verify("session", cookie)
	if !ok {
		return "", false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, gone := g.ended[id]
	return id, !gone
}

func (g *guard) endSession(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(g.ended)
	g.ended[id] = g.now().Add(sessionTime)
}

// redeem reports whether a ticket is good and was not used before.
func (g *guard) redeem(ctx context.Context, ticket string) (bool, error) {
	id, ok := g.verify("ticket", ticket)
	if !ok {
		return false, nil
	}
	if g.FirstUse != nil {
		return g.FirstUse(ctx, id, ticketTime)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(g.used)
	if _, before := g.used[id]; before {
		return false, nil
	}
	g.used[id] = g.now().Add(ticketTime)
	return true, nil
}

func (g *guard) forget(marks map[string]time.Time) {
	for id, end := range marks {
		if g.now().After(end) {
			delete(marks, id)
		}
	}
}

// SignInPath is a path that signs in whoever opens it first, within 15 minutes.
func (s *Server) SignInPath() string {
	return "/sign-in?token=" + s.guard.sign("ticket", ticketTime)
}

// signIn is GET /sign-in: with a ticket it starts a session, without one it
// asks for a token.
func (s *Server) signIn(c *gin.Context) {
	next := localPath(c.Query("next"))
	ticket := c.Query("token")
	if ticket == "" {
		s.signInPage(c, http.StatusOK, next, "")
		return
	}
	good, err := s.guard.redeem(c.Request.Context(), ticket)
	if err != nil {
		s.failPage(c, err)
		return
	}
	if !good {
		s.signInPage(c, http.StatusUnauthorized, next, "This sign-in address was used before or is too old.")
		return
	}
	s.startSession(c, next)
}

// signInForm is POST /sign-in: an admin token typed by a person.
func (s *Server) signInForm(c *gin.Context) {
	next := localPath(c.PostForm("next"))
	if p := s.guard.token(c.PostForm("token")); p == nil || !p.admin {
		s.signInPage(c, http.StatusUnauthorized, next, "This is not a token that may sign in.")
		return
	}
	s.startSession(c, next)
}

func (s *Server) startSession(c *gin.Context, next string) {
	http.SetCookie(c.Writer, &http.Cookie{
		Name: sessionCookie, Value: s.guard.sign("session", sessionTime), Path: "/", MaxAge: int(sessionTime / time.Second),
		Secure: s.guard.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	c.Header("Cache-Control", "no-store")
	c.Redirect(http.StatusSeeOther, next)
}

// signOut is POST /sign-out.
func (s *Server) signOut(c *gin.Context) {
	if p := who(c); p != nil && p.session != "" {
		s.guard.endSession(p.session)
	}
	http.SetCookie(c.Writer, &http.Cookie{
		Name: sessionCookie, Path: "/", MaxAge: -1, Secure: s.guard.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	c.Redirect(http.StatusSeeOther, "/sign-in")
}

// newTicket is POST /api/v1/sign-in: a one-time address for a browser.
func (s *Server) newTicket(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusCreated, signInTicket{URL: s.ExternalURL + s.SignInPath(), ExpiresAt: s.Now().Add(ticketTime).UTC()})
}

type signInTicket struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s *Server) signInPage(c *gin.Context, status int, next, problem string) {
	s.page(c, status, func() ([]byte, error) {
		return s.pages.SignIn(ui.SignIn{Frame: s.frame(c, "Sign in"), Next: next, Problem: problem})
	})
}

// localPath is next if it is a path of this server, else the first page.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	return next
}
