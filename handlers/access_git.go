package handlers

import (
	"context"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
)

// builtIn is the forge entry of the built-in git host.
const builtIn = "local"

// gitAccess lets a request pass to the git host: with an admin token, with an
// API token whose role is enough for the repository, or with what a job was
// given for it. git asks for the password again when it gets a 401, and not when
// it gets a 403.
func (s *Server) gitAccess(c *gin.Context) {
	write := strings.HasSuffix(c.Param("path"), "/git-receive-pack") || c.Query("service") == "git-receive-pack"
	p, err := s.gitSender(c.Request)
	if write && c.Request.Method == http.MethodPost {
		defer s.record(c, p)()
	}
	var have forge.Permission
	if err == nil {
		have, err = s.guard.onGit(c.Request.Context(), p, c.Param("path"))
	}
	least := forge.Read
	if write {
		least = forge.Write
	}
	cross := s.guard.cross.Check(c.Request) != nil
	switch {
	case err != nil:
		s.fail(c, err)
	case !cross && (have.AtLeast(least) || s.guard.Git != nil && s.guard.Git(c.Request)):
		s.Git.ServeHTTP(c.Writer, c.Request)
	case have.AtLeast(forge.Read):
		c.Data(http.StatusForbidden, "text/plain; charset=utf-8", []byte("this token may read the repository and not push to it\n"))
		c.Abort()
	default:
		c.Header("WWW-Authenticate", `Basic realm="slipway", charset="UTF-8"`)
		c.Data(http.StatusUnauthorized, "text/plain; charset=utf-8", []byte("a valid token is wanted as the password\n"))
		c.Abort()
	}
}

// gitSender is whose token a request to the git host has; nil: none that the
// server knows.
func (s *Server) gitSender(r *http.Request) (*principal, error) {
	token, ok := bearer(r)
	if !ok {
		return nil, nil
	}
	if s.guard.Git != nil && s.guard.Git(r) {
		return s.guard.token(token), nil // an administrator's, or nil: a job's, which gitAccess lets pass
	}
	return s.guard.attempts.token(r, token, func() (*principal, error) { return s.guard.person(r.Context(), token) })
}

// onGit is what p may do with the repository of a path below /git/.
func (g *guard) onGit(ctx context.Context, p *principal, path string) (forge.Permission, error) {
	if p == nil {
		return forge.NoPermission, nil
	}
	owner, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	name, _, found := strings.Cut(rest, ".git/")
	if !found {
		return p.onServer(), nil // the host answers that there is nothing
	}
	return g.roles.of(ctx, p, forge.Repo{Forge: builtIn, Owner: owner, Name: name})
}
