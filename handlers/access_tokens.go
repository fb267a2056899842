package handlers

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// tokens keep API tokens by the sums of their values.
type tokens interface {
	AddToken(ctx context.Context, sum string, t access.Token) error
	// TokenOf is the token with this sum; ErrNotFound: there is none.
	TokenOf(ctx context.Context, sum string) (access.Token, error)
	UsedToken(ctx context.Context, sum string, at time.Time) error
	Tokens(ctx context.Context) ([]access.Token, error)
	// RevokeToken forgets a token; ErrNotFound: none has the ID.
	RevokeToken(ctx context.Context, id string) error
}

const (
	tokenPrefix = "slt_"
	// tokenLifeMax is how long a token may be good that expires at all.
	tokenLifeMax = 10 * 366 * 24 * time.Hour
	// usedEvery is how exactly the last use of a token is known.
	usedEvery = time.Minute
	// usedLimit bounds how many uses are remembered.
	usedLimit = 2000
)

// sumOf is by what a token is found. Tokens are random and long, so that their
// sums tell nothing about them, and looking for a sum takes a time that tells
// nothing about others.
func sumOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// apiToken is whose API token this is; nil: nobody's.
func (g *guard) apiToken(ctx context.Context, token string) (*principal, error) {
	if g.Tokens == nil || !strings.HasPrefix(token, tokenPrefix) {
		return nil, nil
	}
	return g.tokenOf(ctx, sumOf(token))
}

// person finds whose token of the configuration, or API token, this is; nil:
// nobody's.
func (g *guard) person(ctx context.Context, token string) (*principal, error) {
	if p := g.token(token); p != nil {
		return p, nil
	}
	return g.apiToken(ctx, token)
}

func (g *guard) tokenOf(ctx context.Context, sum string) (*principal, error) {
	if g.Tokens == nil {
		return nil, nil
	}
	t, err := g.Tokens.TokenOf(ctx, sum)
	if errors.Is(err, pipeline.ErrNotFound) || err == nil && t.Expired(g.now()) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := g.noteUse(ctx, sum); err != nil {
		return nil, err
	}
	p := &principal{name: "token:" + t.Name, via: viaToken + " " + t.ID, role: t.Role, repo: t.Repo}
	p.admin = t.Role == forge.Admin && t.Repo == ""
	return p, nil
}

// noteUse keeps when a token was used, once a minute.
func (g *guard) noteUse(ctx context.Context, sum string) error {
	now := g.now()
	g.mu.Lock()
	due := now.Sub(g.used[sum]) >= usedEvery
	if due {
		if len(g.used) >= usedLimit {
			clear(g.used)
		}
		g.used[sum] = now
	}
	g.mu.Unlock()
	if !due {
		return nil
	}
	return g.Tokens.UsedToken(ctx, sum, now.UTC())
}

// tokenRequest asks for a token.
type tokenRequest struct {
	Name string `json:"name"`
	// Role is read, write or admin; Repo is the one repository that it is for,
	// as FORGE/OWNER/NAME; empty: all of them, and the server.
	Role forge.Permission `json:"role"`
	Repo string           `json:"repo,omitempty"`
	// Seconds is how long it is good; 0: until it is revoked.
	Seconds int64 `json:"seconds,omitempty"`
}

// newToken is a token and, this once, its value.
type newToken struct {
	access.Token
	Value string `json:"token"`
}

// tokenAPI is the table's part about tokens and the audit log.
func (s *Server) tokenAPI() []route {
	return []route{
		{http.MethodGet, "/tokens", reading, s.listTokens, "List API tokens, without their values", nil, body{}, 200, asJSON(pipeline.Page[access.Token]{})},
		{http.MethodPost, "/tokens", writing, s.createToken, "Make an API token; its value is in this answer and nowhere else", nil, asJSON(tokenRequest{}), 201, asJSON(newToken{})},
		{http.MethodDelete, "/tokens/{id}", writing, s.revokeToken, "Revoke an API token", nil, body{}, 204, body{}},
		{http.MethodGet, "/audit", reading, s.listAudit, "The audit log, newest first", paging, body{}, 200, asJSON(pipeline.Page[access.Entry]{})},
	}
}

var errNoTokens = refuse(http.StatusNotFound, "not-found", "this server keeps no API tokens")

func (s *Server) listTokens(c *gin.Context) {
	if s.Access.Tokens == nil {
		s.fail(c, errNoTokens)
		return
	}
	all, err := s.Access.Tokens.Tokens(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, pipeline.Page[access.Token]{Items: append([]access.Token{}, all...)})
}

func (s *Server) createToken(c *gin.Context) {
	var in tokenRequest
	err := readJSON(c, &in)
	if err == nil && s.Access.Tokens == nil {
		err = errNoTokens
	}
	var made newToken
	if err == nil {
		made, err = s.makeToken(c, in)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Set(detailKey, made.Name+": "+string(made.Role)+" "+made.Repo)
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusCreated, made)
}

func (s *Server) makeToken(c *gin.Context, in tokenRequest) (newToken, error) {
	now := s.Now().UTC()
	t := access.Token{ID: uuid.NewString(), Name: in.Name, Role: in.Role, Repo: in.Repo, By: sender(c), CreatedAt: now}
	if in.Seconds < 0 || in.Seconds > math.MaxInt64/int64(time.Second) || time.Duration(in.Seconds)*time.Second > tokenLifeMax {
		return newToken{}, refuse(http.StatusUnprocessableEntity, "invalid", "seconds: want 0, for no end, to %d, have %d", int64(tokenLifeMax/time.Second), in.Seconds)
	}
	if in.Seconds > 0 {
		t.ExpiresAt = now.Add(time.Duration(in.Seconds) * time.Second)
	}
	if err := t.Check(now); err != nil {
		return newToken{}, refuse(http.StatusUnprocessableEntity, "invalid", "%s", err.Error())
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails, see crypto/rand
	made := newToken{t, tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)}
	return made, s.Access.Tokens.AddToken(c.Request.Context(), sumOf(made.Value), t)
}

func (s *Server) revokeToken(c *gin.Context) {
	err := error(errNoTokens)
	if s.Access.Tokens != nil {
		err = s.Access.Tokens.RevokeToken(c.Request.Context(), c.Param("id"))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}
