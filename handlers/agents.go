package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// agents know the hosts that revisions can be applied to.
type agents interface {
	Agents(ctx context.Context) ([]pipeline.Agent, error)
	// InviteAgent makes a one-time token with which an agent may register, with
	// these tags.
	InviteAgent(ctx context.Context, tags map[string]string, ttl time.Duration) (pipeline.AgentInvitation, error)
	// RegisterAgent takes up an agent. ErrNotFound: its one-time token is not
	// good; ErrConflict: its name is another one's.
	RegisterAgent(ctx context.Context, r pipeline.AgentRegistration) (pipeline.Agent, error)
	// RemoveAgent revokes an agent.
	RemoveAgent(ctx context.Context, name string) error
}

// fleetAPI is the table's part about deployments and agents.
func (s *Server) fleetAPI() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/deployments", reading, s.listDeployments, "List deployments, newest first",
			append([]param{{"group", "string", "only this deployment group's"}, {"status", "string", "such as Failed"}, followable}, paging...),
			body{}, 200, asJSON(pipeline.Page[deploymentItem]{})},
		{post, "/deployments/{id}/stop", writing, s.stopDeployment, "End a deployment: what was not begun is left out", nil, asJSON(reasonRequest{}), 202, asJSON(deploymentItem{})},
		{post, "/deployments/{id}/rollback", writing, s.rollBackDeployment, "Undo a deployment: deploy the last revision before it that succeeded", nil, body{}, 202, asJSON(deploymentItem{})},
		{get, "/agents", reading, s.listAgents, "List agents", nil, body{}, 200, asJSON(pipeline.Page[pipeline.Agent]{})},
		{post, "/agents/tokens", writing, s.inviteAgent, "Make a one-time token with which an agent may register", nil, asJSON(inviteRequest{}), 201, asJSON(pipeline.AgentInvitation{})},
		{http.MethodDelete, "/agents/{name}", writing, s.removeAgent, "Revoke an agent", nil, body{}, 204, body{}},
		{post, "/agent/register", open, s.registerAgent, "Register an agent by a one-time token", nil, asJSON(pipeline.AgentRegistration{}), 201, asJSON(pipeline.Agent{})},
	}
}

// inviteRequest asks for a registration token.
type inviteRequest struct {
	Tags    map[string]string `json:"tags,omitempty"`
	Seconds int64             `json:"seconds,omitempty"` // that it is good for; 0: an hour
}

const (
	inviteTime    = time.Hour
	inviteTimeMax = 30 * 24 * time.Hour
)

// errNoFleet: this server does no deployments.
var errNoFleet = refuse(http.StatusNotFound, "not-found", "this server does no deployments")

func (s *Server) listAgents(c *gin.Context) {
	page := pipeline.Page[pipeline.Agent]{Items: []pipeline.Agent{}}
	if s.Agents != nil {
		var err error
		if page.Items, err = s.Agents.Agents(c.Request.Context()); err != nil {
			s.fail(c, err)
			return
		}
	}
	c.JSON(http.StatusOK, page)
}

func (s *Server) inviteAgent(c *gin.Context) {
	var in inviteRequest
	err := readJSON(c, &in)
	ttl := time.Duration(in.Seconds) * time.Second
	if err == nil && (in.Seconds < 0 || in.Seconds > int64(inviteTimeMax/time.Second)) {
		err = refuse(http.StatusUnprocessableEntity, "invalid", "seconds: want at most %d, have %d", int64(inviteTimeMax/time.Second), in.Seconds)
	}
	if err == nil && s.Agents == nil {
		err = errNoFleet
	}
	if ttl == 0 {
		ttl = inviteTime
	}
	var made pipeline.AgentInvitation
	if err == nil {
		made, err = s.Agents.InviteAgent(c.Request.Context(), in.Tags, ttl)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusCreated, made)
}

func (s *Server) registerAgent(c *gin.Context) {
	var in pipeline.AgentRegistration
	err := readJSONUpTo(c, &in, requestLimitBytes)
	if err == nil && s.Agents == nil {
		err = errNoFleet
	}
	var a pipeline.Agent
	if err == nil {
		a, err = s.Agents.RegisterAgent(c.Request.Context(), in)
	}
	switch {
	case err == nil:
		c.JSON(http.StatusCreated, a)
	case errors.Is(err, pipeline.ErrNotFound):
		s.fail(c, refuse(http.StatusUnauthorized, "unauthorized", "the registration token is not good: it was used, is too old, or is none"))
	case errors.Is(err, pipeline.ErrConflict):
		s.fail(c, refuse(http.StatusConflict, "conflict", "another agent is registered as %q: take another name, or remove it first", cut(in.Name, 100)))
	default:
		s.fail(c, err)
	}
}

func (s *Server) removeAgent(c *gin.Context) {
	err := error(errNoFleet)
	if s.Agents != nil {
		err = s.Agents.RemoveAgent(c.Request.Context(), c.Param("name"))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// agent is who sends an agent's own token.
func (g *guard) agent(ctx context.Context, token string) (*principal, error) {
	if g.Agent == nil {
		return nil, errUnauthorized
	}
	name, err := g.Agent(ctx, token)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil, errUnauthorized
	}
	if err != nil {
		return nil, err
	}
	return &principal{name: name, worker: true, kind: pipeline.DeployJob, agent: name}, nil
}

// named gives an agent that claims its registered name: whose deployments it
// gets is not for it to say.
func (w workerAPI) named(c *gin.Context, worker *pipeline.Worker) error {
	if w.kind != pipeline.DeployJob || w.s.AgentControl == nil {
		return nil
	}
	p := who(c)
	if p == nil || p.agent == "" {
		return refuse(http.StatusForbidden, "forbidden", "only a registered agent's own token gets deployments")
	}
	worker.Name = p.agent
	return nil
}

// ownPart checks that an agent speaks of its own part of a deployment.
func (w workerAPI) ownPart(c *gin.Context) error {
	if w.kind != pipeline.DeployJob || w.s.AgentControl == nil {
		return nil
	}
	if p := who(c); p == nil || p.agent == "" || !strings.HasSuffix(c.Query("class"), "|"+p.agent) {
		return errForbidden
	}
	return nil
}
