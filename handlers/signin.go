package handlers

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/ui"
)

// Login lets people sign in at a forge.
type Login struct {
	Forge string // the forge entry that people are of
	Title string // the forge's name for people
	// Admins may do everything: logins, or id:ID, which stays the same person's
	// when logins change hands.
	Admins []string
	OAuth  oauth
}

// oauth is a forge's side of signing in.
type oauth interface {
	// AuthorizeURL is where a person agrees, and is sent back to redirect from
	// with the state.
	AuthorizeURL(state, challenge, redirect string) string
	// User is who agreed. The verifier is what the challenge is the SHA-256 of.
	User(ctx context.Context, code, verifier, redirect string) (forge.User, error)
}

// admin reports whether somebody of the forge is an administrator here.
func (l *Login) admin(name string, u forge.User) bool {
	return name == l.Forge && u.ID != "" && slices.ContainsFunc(l.Admins, func(a string) bool {
		return a == "id:"+u.ID || !strings.Contains(a, ":") && u.Login != "" && !u.Nickname && strings.EqualFold(a, u.Login)
	})
}

const (
	loginCookie = "slipway_login"
	loginRoot   = "/login"
	loginTime   = 10 * time.Minute
)

// loginPath leads to the forge and back to next; "" where nobody can sign in
// so.
func (s *Server) loginPath(next string) string {
	if s.Access.Login == nil {
		return ""
	}
	return loginRoot + "?" + url.Values{"next": {next}}.Encode()
}

// startLogin is GET /login: it sends the browser to the forge. What it needs on
// the way back is in a cookie, so that strangers cost no memory here.
func (s *Server) startLogin(c *gin.Context) {
	if s.Access.Login == nil {
		s.failPage(c, refuse(http.StatusNotFound, "not-found", "signing in at a forge is not configured here"))
		return
	}
	next := localPath(c.Query("next"))
	// The way back leads to the external URL, so the cookie must be that host's.
	if u, err := url.Parse(s.ExternalURL); err == nil && u.Host != "" && !strings.EqualFold(u.Host, c.Request.Host) && c.Query("moved") == "" {
		// Once: a proxy may give us another name than the one it was asked for.
		c.Redirect(http.StatusSeeOther, s.ExternalURL+s.loginPath(next)+"&moved=1")
		return
	}
	signed := s.guard.sign("login", loginTime)
	id, _ := s.guard.verify("login", signed) // signed just now
	s.setWayBack(c, loginCookie, loginRoot, signed+"|"+base64.RawURLEncoding.EncodeToString([]byte(next)), loginTime)
	c.Header("Cache-Control", "no-store")
	c.Redirect(http.StatusSeeOther, s.Access.Login.OAuth.AuthorizeURL(id, challenge(s.guard.verifier(id)), s.loginBack()))
}

func (s *Server) loginBack() string { return s.ExternalURL + loginRoot + "/callback" }

// verifier is PKCE's (RFC 7636): only who holds our key can make it of the state.
func (g *guard) verifier(id string) string { return g.mac("pkce." + id) }

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// setWayBack sets a cookie that comes along when another site sends the browser
// back; an age of 0 or less takes it away.
func (s *Server) setWayBack(c *gin.Context, name, path, value string, age time.Duration) {
	seconds := int(age / time.Second)
	if seconds <= 0 {
		seconds = -1
	}
	http.SetCookie(c.Writer, &http.Cookie{
		Name: name, Value: value, Path: path, MaxAge: seconds, Secure: s.guard.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// wayBack checks that a browser comes back from where it was sent, for the first
// time: the state in the address must be that in its cookie.
func (s *Server) wayBack(c *gin.Context, kind, name, path string) (id, rest string, err error) {
	cookie, cookieErr := c.Request.Cookie(name)
	s.setWayBack(c, name, path, "", 0)
	c.Header("Cache-Control", "no-store")
	c.Header("Referrer-Policy", "no-referrer") // the address has a code
	lost := refuse(http.StatusUnauthorized, "state", "this browser did not begin here, took too long, or was here before: begin again")
	if cookieErr != nil {
		return "", "", lost
	}
	signed, rest, _ := strings.Cut(cookie.Value, "|")
	id, ok := s.guard.verify(kind, signed)
	if !ok || subtle.ConstantTimeCompare([]byte(id), []byte(c.Query("state"))) != 1 {
		return "", "", lost
	}
	_, fresh, err := s.guard.redeem(c.Request.Context(), kind, signed)
	if err == nil && !fresh {
		err = lost
	}
	return id, rest, err
}

// endLogin is GET /login/callback.
func (s *Server) endLogin(c *gin.Context) {
	if s.Access.Login == nil {
		s.failPage(c, refuse(http.StatusNotFound, "not-found", "signing in at a forge is not configured here"))
		return
	}
	id, rest, err := s.wayBack(c, "login", loginCookie, loginRoot)
	if err == nil && c.Query("error") != "" {
		err = refuse(http.StatusUnauthorized, "refused", "%s did not agree: %s", s.Access.Login.Title, plain(c.Query("error")))
	}
	var user forge.User
	if err == nil {
		user, err = s.Access.Login.OAuth.User(c.Request.Context(), c.Query("code"), s.guard.verifier(id), s.loginBack())
		if errors.Is(err, forge.ErrRejected) || errors.Is(err, forge.ErrForbidden) || errors.Is(err, forge.ErrNotFound) || err == nil && user.ID == "" {
			s.Log.WarnContext(c.Request.Context(), "a sign-in was not confirmed", "error", err)
			err = refuse(http.StatusUnauthorized, "refused", "%s does not confirm who you are: begin again", s.Access.Login.Title)
		}
	}
	if err != nil {
		ours := problemOf(err).Status != http.StatusUnauthorized
		if ours || !s.signInWrong(c, s.Access.Login.Forge) {
			s.failPage(c, err)
		}
		return
	}
	if !s.startSession(c, session{Via: s.Access.Login.Forge, Forge: s.Access.Login.Forge, User: user}) {
		return
	}
	next, _ := base64.RawURLEncoding.DecodeString(rest) // anything else is the first page
	// The strict cookie does not come along on a way that began at another site,
	// so the page itself leads on.
	s.page(c, http.StatusOK, func() ([]byte, error) {
		return s.pages.Onward(ui.Onward{Frame: ui.Frame{Title: "Signed in", Now: s.Now().UTC()}, Who: user.Login, Next: localPath(string(next))})
	})
}
