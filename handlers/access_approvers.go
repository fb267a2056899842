package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

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
	return forge.Named(approvers, p.user, repo.Owner, func(org, team string) (bool, error) {
		asks, ok := r.forges[p.forge].(teams)
		if !ok {
			return false, nil
		}
		return asks.TeamMember(ctx, repo, 0, org, team, p.user)
	})
}

// voter is p as approvals count people; empty for a token, which anybody may
// hold.
func (p *principal) voter() string {
	switch {
	case p == nil:
		return ""
	case p.admin:
		return pipeline.OperatorVoter
	}
	return pipeline.VoterOf(p.forge, p.user)
}

// environment is what the server says of one; nothing of one that isn't named.
func (s *Server) environment(repo forge.Repo, environment string) pipeline.Environment {
	if environment == "" || s.Access.Environment == nil {
		return pipeline.Environment{}
	}
	return s.Access.Environment(repo, environment)
}

// denied says why the request's sender may not answer what a stage of x asks;
// the stage's environment has its own approvers.
func (s *Server) denied(c *gin.Context, x pipeline.Execution, stage string, approvers []string) (string, error) {
	p, rule := who(c), s.environment(x.Repo, x.Pipeline.EnvironmentOf(stage))
	if rule.PreventSelfReview && p != nil && !p.admin && (p.user.ID == "" || p.user.ID == x.Trigger.Actor.ID) {
		return "who started an execution may not approve it here", nil
	}
	ok, err := s.guard.roles.named(c.Request.Context(), p, x.Repo, rule.ApproversOver(approvers))
	if err != nil || ok {
		return "", err
	}
	return "only approvers may answer", nil
}

// deploysTo reports whether the request's sender may bring something into all
// of the environments.
func (s *Server) deploysTo(c *gin.Context, repo forge.Repo, environments ...string) (bool, error) {
	for _, e := range environments {
		ok, err := s.guard.roles.named(c.Request.Context(), who(c), repo, s.environment(repo, e).Approvers)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// mayDeploy refuses who may not bring anything into an environment.
func (s *Server) mayDeploy(c *gin.Context, repo forge.Repo, environment string) error {
	ok, err := s.deploysTo(c, repo, environment)
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
	if err := s.mayDeploy(c, b.Repo, target.Pipeline.EnvironmentOf(stage)); err != nil {
		return err
	}
	newest, err := s.Executions.Execution(ctx, b.Newest())
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil // retention took it; the pipeline has had no other since
	}
	if err != nil {
		return err
	}
	return s.mayDeploy(c, b.Repo, newest.Pipeline.EnvironmentOf(stage))
}
