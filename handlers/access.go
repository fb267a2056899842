package handlers

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Access says who may do what. A remote address is never proof of anything.
type Access struct {
	// AdminTokens have every right; two during a rotation.
	AdminTokens []string
	// Workers are the tokens of runners and agents: they may use the worker API
	// of their kind and nothing else.
	Workers []WorkerToken
	// SessionKey signs sign-in links and names sessions: another one ends them
	// all. Servers that share it, and Notes, share sessions. Empty: a random one,
	// and sessions end with the process.
	SessionKey []byte
	// OpenReading lets requests that name this host by a loopback name, and did
	// not pass a proxy, read pages and API without signing in. Only for a server
	// that listens on loopback.
	OpenReading bool
	// OpenMetrics and OpenBadges serve /metrics and badges to everyone.
	OpenMetrics, OpenBadges bool
	// Tokens keeps the API tokens; nil: there are none but those above.
	Tokens tokens
	// Notes keep sessions, and what may be used once; servers that share them
	// share sessions. nil means memory: sessions end with the process.
	Notes notes
	// Audit keeps the audit log; nil: nobody does.
	Audit audit
	// Forges tell what people who signed in may do, by forge entry.
	Forges Permissions
	// Environment is how one of a repository's is protected; nil: none is.
	Environment func(repo forge.Repo, name string) pipeline.Environment
	// Login lets people sign in at a forge; nil: they sign in with tokens only.
	Login *Login
	// Hosts are further names, with port if it isn't the scheme's own, by which
	// requests may call this server; loopback names and the external URL's host
	// always may.
	Hosts []string
	// TrustedProxies are those in front whose word on where requests come from
	// is taken, in X-Forwarded-For. It counts for the audit log and against
	// guessing, and opens nothing.
	TrustedProxies []netip.Prefix
	// Git reports whether a request below /git/ has a credential of the git host
	// itself, such as a job's; nil: there are none.
	Git func(r *http.Request) bool
	// Agent is the name of the agent whose own token this is; ErrNotFound:
	// nobody's. nil: agents have no tokens of their own.
	Agent func(ctx context.Context, token string) (name string, err error)
}

// WorkerToken is the token of one runner or agent.
type WorkerToken struct {
	Name  string
	Token string
	Kind  pipeline.JobKind // empty: both kinds
}

// level is what a route asks of a request.
type level int

const (
	open    level = iota // nothing
	reading              // a session, a token, or OpenReading; the table rights says more
	writing              // a session with a matching Origin, or a token; the table says more
	working              // a worker's token, or an admin token
)

// principal is who sent a request.
type principal struct {
	name    string
	via     string // the proof, for the audit log
	admin   bool
	worker  bool
	kind    pipeline.JobKind
	agent   string // the agent's name, if it is one
	session string // the session's ID, if it came by cookie
	// role is what an API token may do with repo, FORGE/OWNER/NAME, or with the
	// whole server if that is empty.
	role forge.Permission
	repo string
	// forge and user are a person's, whom the forge knows the permissions of.
	forge string
	user  forge.User
}

// may reports whether p is of the kind that a level asks for.
func (p *principal) may(l level) bool {
	switch l {
	case open:
		return true
	case reading, writing:
		return p != nil && !p.worker
	case working:
		return p != nil && (p.admin || p.worker)
	}
	return false
}

// onServer is what p may do with everything. Nobody, which only an open server
// lets in, may read.
func (p *principal) onServer() forge.Permission {
	switch {
	case p == nil:
		return forge.Read
	case p.admin:
		return forge.Admin
	case p.repo == "":
		return p.role
	}
	return forge.NoPermission
}

type hashedToken struct {
	sum [sha256.Size]byte
	principal
}

// guard decides on every request but webhooks, which carry their own proof.
type guard struct {
	Access
	tokens []hashedToken
	hosts  []string
	secure bool // cookies only over HTTPS
	now    func() time.Time
	cross  *http.CrossOriginProtection

	roles  *roles
	failed access.Strangers // sign-ins that go into the audit log

	attempts *attempts

	mu   sync.Mutex
	used map[string]time.Time // when the use of an API token was noted, by sum
}

const sessionKeyBytes = 32

func newGuard(a Access, externalURL string, now func() time.Time) (*guard, error) {
	g := &guard{Access: a, now: now, cross: http.NewCrossOriginProtection(), used: map[string]time.Time{}, roles: newRoles(a.Forges, now), attempts: newAttempts(a.TrustedProxies, now)}
	for _, t := range a.AdminTokens {
		g.tokens = append(g.tokens, hashedToken{sha256.Sum256([]byte(t)), principal{name: "admin", via: viaAdmin, admin: true}})
	}
	for _, w := range a.Workers {
		g.tokens = append(g.tokens, hashedToken{sha256.Sum256([]byte(w.Token)), principal{name: w.Name, via: "worker", worker: true, kind: w.Kind}})
	}
	if slices.Contains(a.AdminTokens, "") || slices.ContainsFunc(a.Workers, func(w WorkerToken) bool { return w.Token == "" }) {
		return nil, errors.New("handlers: an access token is empty")
	}
	if len(g.SessionKey) == 0 {
		g.SessionKey = make([]byte, sessionKeyBytes)
		_, _ = rand.Read(g.SessionKey) // never fails, see crypto/rand
	}
	if len(g.SessionKey) < sessionKeyBytes {
		return nil, errors.New("handlers: the session key is shorter than 32 bytes")
	}
	if g.Notes == nil {
		g.Notes = newMemory(now)
	}
	g.hosts = slices.Clone(a.Hosts)
	if externalURL != "" {
		u, err := url.Parse(externalURL)
		if err != nil || u.Host == "" {
			return nil, errors.New("handlers: the external URL has no host")
		}
		g.hosts = append(g.hosts, u.Host)
		g.secure = u.Scheme == "https"
	}
	return g, nil
}

const principalKey = "slipway.principal"

// who is the request's sender; nil if it has no credentials.
func who(c *gin.Context) *principal {
	p, _ := c.Get(principalKey)
	known, _ := p.(*principal)
	return known
}

// hostCheck refuses names that aren't ours: a page of a stranger whose name
// suddenly resolves to this host must not read it.
func (s *Server) hostCheck(c *gin.Context) {
	if s.guard.knownHost(c.Request.Host) {
		c.Next()
		return
	}
	s.fail(c, refuse(http.StatusMisdirectedRequest, "host", "this server does not answer to the name %q; set its external URL", c.Request.Host))
}

func (g *guard) knownHost(host string) bool {
	return loopbackName(host) || slices.ContainsFunc(g.hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

func loopbackName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

// need is the middleware that lets only those pass who have level l.
func (s *Server) need(l level) gin.HandlerFunc {
	return func(c *gin.Context) {
		p, err := s.admit(c, l)
		c.Set(principalKey, p)
		c.Set(stillKey, func() error { _, err := s.admit(c, l); return err })
		if l != working {
			defer s.record(c, p)()
		}
		if err != nil {
			s.deny(c, err)
			return
		}
		c.Next()
	}
}

// stillKey is where streams find what asks again whether they may go on.
const stillKey = "slipway.still"

// admit finds who sends the request, and whether they may.
func (s *Server) admit(c *gin.Context, l level) (*principal, error) {
	p, err := s.guard.identify(c.Request)
	if err == nil {
		err = s.guard.authorize(c.Request, p, l)
	}
	if err == nil && l != open {
		err = s.allow(c, p)
	}
	return p, err
}

// identify finds who sent the request. Credentials that are wrong are an
// error even where none are needed.
func (g *guard) identify(r *http.Request) (*principal, error) {
	if token, ok := bearer(r); ok {
		return g.attempts.token(r, token, func() (*principal, error) {
			if p, err := g.person(r.Context(), token); p != nil || err != nil {
				return p, err
			}
			return g.agent(r.Context(), token)
		})
	}
	if c, err := r.Cookie(g.cookie()); err == nil {
		return g.session(r.Context(), c.Value)
	}
	return nil, nil
}

func (g *guard) authorize(r *http.Request, p *principal, l level) error {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !safe {
		if err := g.cross.Check(r); err != nil {
			return refuse(http.StatusForbidden, "origin", "the request comes from another site")
		}
		if p != nil && p.session != "" && r.Header.Get("Origin") == "" {
			return refuse(http.StatusForbidden, "origin", "a signed-in browser must name the Origin of what it sends")
		}
	}
	switch {
	case p.may(l):
		return nil
	case l == reading && p == nil && g.OpenReading && loopbackName(r.Host) && !forwarded(r):
		return nil
	case p == nil:
		return errUnauthorized
	}
	return errForbidden
}

// forwarded reports whether a proxy says that it passed the request on.
func forwarded(r *http.Request) bool {
	return r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("X-Forwarded-Host") != "" || r.Header.Get("Via") != ""
}

func bearer(r *http.Request) (string, bool) {
	h := r.Header.Get("Authorization")
	if h == "" {
		return "", false
	}
	scheme, token, _ := strings.Cut(h, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token), true
	}
	_, password, ok := r.BasicAuth()
	return password, ok
}

// token finds whose token this is. The time it takes tells nothing: sums are
// compared, all of them, each in constant time.
func (g *guard) token(token string) *principal {
	sum := sha256.Sum256([]byte(token))
	var found *principal
	for i := range g.tokens {
		if subtle.ConstantTimeCompare(sum[:], g.tokens[i].sum[:]) == 1 {
			found = &g.tokens[i].principal
		}
	}
	return found
}
