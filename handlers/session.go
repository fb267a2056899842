package handlers

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

const (
	sessionCookie = "slipway_session"
	sessionTime   = 12 * time.Hour
	ticketTime    = 15 * time.Minute
)

// The proofs, as the audit log spells them.
const (
	viaAdmin  = "admin token"
	viaToken  = "token"
	viaTicket = "sign-in link"
)

// notes keep small things for a while.
type notes interface {
	// PutNote keeps data; before says that there was a note of that name, which
	// then stays.
	PutNote(ctx context.Context, name string, data []byte, ttl time.Duration) (before bool, err error)
	// Note is what was kept; ErrNotFound: nothing, or no longer.
	Note(ctx context.Context, name string) ([]byte, error)
	DropNote(ctx context.Context, name string) error
}

// session is who signed in, as it is kept.
type session struct {
	V     int    `json:"v"`
	Admin bool   `json:"admin,omitempty"`
	Via   string `json:"via"`
	// Token is the sum of an API token that was typed in.
	Token string     `json:"token,omitempty"`
	Forge string     `json:"forge,omitempty"`
	User  forge.User `json:"user,omitzero"`
}

// Tickets are signed, not stored: "kind.expiry.id.mac". The kind is under the
// mac, so that one can't pass for another.

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

// redeem reports whether a signed text is good and was not used before.
func (g *guard) redeem(ctx context.Context, kind, signed string) (id string, ok bool, err error) {
	id, ok = g.verify(kind, signed)
	if !ok {
		return "", false, nil
	}
	before, err := g.Notes.PutNote(ctx, "used:"+id, []byte("1"), time.Hour)
	return id, !before && err == nil, err
}

// cookie is the session's. With HTTPS it has a name that browsers take from this
// very host alone: no page of a neighbouring name can plant one.
func (g *guard) cookie() string {
	if g.secure {
		return "__Host-" + sessionCookie
	}
	return sessionCookie
}

// sessionNote names a session's note. Who reads the notes learns no cookie,
// and another key finds none of them.
func (g *guard) sessionNote(id string) string { return "session:" + g.mac("session."+id) }

// session is who has this cookie; nil if it is not good, any more.
func (g *guard) session(ctx context.Context, id string) (*principal, error) {
	data, err := g.Notes.Note(ctx, g.sessionNote(id))
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil, nil
	}
	var in session
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	if err != nil {
		return nil, err
	}
	p := &principal{name: "admin", via: in.Via, admin: in.Admin, session: id}
	switch {
	case in.Token != "":
		if p, err = g.tokenOf(ctx, in.Token); p == nil || err != nil {
			return nil, err
		}
		p.session = id
	case in.Forge != "":
		p.name, p.forge, p.user = in.User.Login, in.Forge, in.User
		p.admin = g.Login != nil && g.Login.admin(in.Forge, in.User)
	case !in.Admin:
		return nil, nil
	}
	return p, nil
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
	_, good, err := s.guard.redeem(c.Request.Context(), "ticket", ticket)
	if err != nil {
		s.failPage(c, err)
		return
	}
	if !good {
		if s.signInWrong(c, viaTicket) {
			return
		}
		s.signInPage(c, http.StatusUnauthorized, next, "This sign-in address was used before or is too old.")
		return
	}
	if s.startSession(c, session{Admin: true, Via: viaTicket}) {
		c.Redirect(http.StatusSeeOther, next)
	}
}

// signInForm is POST /sign-in: an admin's or an API token typed by a person.
func (s *Server) signInForm(c *gin.Context) {
	next, token := localPath(c.PostForm("next")), c.PostForm("token")
	in := session{Admin: true, Via: viaAdmin}
	p, err := s.guard.attempts.token(c.Request, token, func() (*principal, error) { return s.guard.person(c.Request.Context(), token) })
	if err != nil {
		s.failPage(c, err)
		return
	}
	if s.guard.token(token) == nil {
		in = session{Via: viaToken, Token: sumOf(token)}
	}
	if p == nil || p.worker {
		s.signInFailed(c, viaToken)
		s.signInPage(c, http.StatusUnauthorized, next, "This is not a token that may sign in.")
		return
	}
	if s.startSession(c, in) {
		c.Redirect(http.StatusSeeOther, next)
	}
}

// startSession gives the browser a new session; one that it had ends. If that
// fails it answers, and reports false.
func (s *Server) startSession(c *gin.Context, in session) bool {
	ctx, id := c.Request.Context(), rand.Text()+rand.Text()
	in.V = 1
	data, err := json.Marshal(in)
	if err == nil {
		_, err = s.guard.Notes.PutNote(ctx, s.guard.sessionNote(id), data, sessionTime)
	}
	if old, cookieErr := c.Request.Cookie(s.guard.cookie()); err == nil && cookieErr == nil {
		err = s.guard.Notes.DropNote(ctx, s.guard.sessionNote(old.Value))
	}
	var p *principal
	if err == nil {
		p, err = s.guard.session(ctx, id)
	}
	if err != nil {
		s.failPage(c, err)
		return false
	}
	s.signedIn(c, p)
	s.setSession(c, id, int(sessionTime/time.Second))
	c.Header("Cache-Control", "no-store")
	return true
}

// setSession sets the cookie; a negative age takes it away.
func (s *Server) setSession(c *gin.Context, id string, age int) {
	http.SetCookie(c.Writer, &http.Cookie{
		Name: s.guard.cookie(), Value: id, Path: "/", MaxAge: age,
		Secure: s.guard.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// signOut is POST /sign-out.
func (s *Server) signOut(c *gin.Context) {
	if p := who(c); p != nil && p.session != "" {
		if err := s.guard.Notes.DropNote(c.Request.Context(), s.guard.sessionNote(p.session)); err != nil {
			s.failPage(c, err)
			return
		}
	}
	s.setSession(c, "", -1)
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
		return s.pages.SignIn(ui.SignIn{Frame: s.frame(c, "Sign in"), Next: next, Problem: problem, Login: s.loginPath(next)})
	})
}

// localPath is next if it is a path of this server, else the first page.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// memory is notes that end with the process.
type memory struct {
	now func() time.Time
	mu  sync.Mutex
	all map[string]memoryNote
}

type memoryNote struct {
	data []byte
	end  time.Time
}

func newMemory(now func() time.Time) *memory { return &memory{now: now, all: map[string]memoryNote{}} }

func (m *memory) PutNote(_ context.Context, name string, data []byte, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for other, n := range m.all {
		if m.now().After(n.end) {
			delete(m.all, other)
		}
	}
	if _, before := m.all[name]; before {
		return true, nil
	}
	m.all[name] = memoryNote{data, m.now().Add(ttl)}
	return false, nil
}

func (m *memory) Note(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.all[name]
	if !ok || m.now().After(n.end) {
		return nil, pipeline.ErrNotFound
	}
	return n.data, nil
}

func (m *memory) DropNote(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, name)
	return nil
}
