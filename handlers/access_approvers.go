package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Protection is who may bring something into an environment.
type Protection struct {
	// Approvers are logins, ORG/TEAM or team/TEAM; empty: whoever may write.
	Approvers         []string
	PreventSelfReview bool // who started an execution may not approve it
}

// teams is a forge that has teams.
type teams interface {
	TeamMember(ctx context.Context, repo forge.Repo, installation int64, org, team string, user forge.User) (bool, error)
}

// named reports whether p is one of the approvers, as chat commands read them.
// A token is nobody; an administrator is everybody.
func (r *roles) named(ctx context.Context, p *principal, repo forge.Repo, approvers []string) (bool, error) {
	switch {
	case p == nil:
		return false, nil
	case p.admin || len(approvers) == 0:
		return true, nil // the route asked for write
	case p.user.ID == "" || p.forge != repo.Forge:
		return false, nil
	}
	for _, a := range approvers {
		org, team, isTeam := strings.Cut(strings.TrimPrefix(a, "@"), "/")
		switch {
		case !isTeam && strings.EqualFold(org, p.user.Login), org == "user" && strings.EqualFold(team, p.user.Login):
			return true, nil
		case !isTeam || org == "user":
			continue
		case org == "team":
			org = repo.Owner
		}
		asks, ok := r.forges[p.forge].(teams)
		if !ok {
			continue
		}
		if member, err := asks.TeamMember(ctx, repo, 0, org, team, p.user); err != nil || member {
			return member, err
		}
	}
	return false, nil
}

// protection is that of an environment; the zero Protection of one without.
func (s *Server) protection(repo forge.Repo, environment string) Protection {
	if environment == "" || s.Access.Environment == nil {
		return Protection{}
	}
	return s.Access.Environment(repo, environment)
}

// denied says why the request's sender may not answer what a stage of x asks;
// the stage's environment has its own approvers.
func (s *Server) denied(c *gin.Context, x pipeline.Execution, stage string, approvers []string) (string, error) {
	p, rule := who(c), s.protection(x.Repo, environmentOf(x.Pipeline, stage))
	if len(rule.Approvers) > 0 {
		approvers = rule.Approvers
	}
	if rule.PreventSelfReview && p != nil && !p.admin && (p.user.ID == "" || p.user.ID == x.Trigger.Actor.ID) {
		return "who started an execution may not approve it here", nil
	}
	ok, err := s.guard.roles.named(c.Request.Context(), p, x.Repo, approvers)
	if err != nil || ok {
		return "", err
	}
	return "only approvers may answer", nil
}

// mayDeploy refuses who may not bring anything into an environment.
func (s *Server) mayDeploy(c *gin.Context, repo forge.Repo, environment string) error {
	ok, err := s.guard.roles.named(c.Request.Context(), who(c), repo, s.protection(repo, environment).Approvers)
	if err == nil && !ok {
		err = refuse(http.StatusForbidden, "forbidden", "you are not one of those who may deploy to %s", environment)
	}
	return err
}

// mayRollBack refuses who may not bring anything into the environment of the
// path's stage, as the target's definition or the newest one has it.
func (s *Server) mayRollBack(c *gin.Context, target pipeline.Execution) error {
	ctx, stage := c.Request.Context(), c.Param("stage")
	b, _, err := s.Boards.Board(ctx, c.Param("id"))
	if err != nil {
		return err
	}
	if err := s.mayDeploy(c, b.Repo, environmentOf(target.Pipeline, stage)); err != nil {
		return err
	}
	newest, err := s.Executions.Execution(ctx, b.Newest())
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil // retention took it; the pipeline has had no other since
	}
	if err != nil {
		return err
	}
	return s.mayDeploy(c, b.Repo, environmentOf(newest.Pipeline, stage))
}

// environmentOf is what a stage deploys to; empty if it names none.
func environmentOf(p pipeline.Pipeline, stage string) string {
	for _, st := range p.Stages {
		if st.Name == stage {
			return st.Environment
		}
	}
	return ""
}
