package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// DeploymentItem is a deployment in a list.
type DeploymentItem struct {
	pipeline.Deployment
	Counts map[pipeline.DeploymentStatus]int `json:"counts"`
	URL    string                            `json:"url"`
}

// DeploymentDetail is a deployment with what its instances did.
type DeploymentDetail struct {
	pipeline.Deployment
	Instances []pipeline.InstanceDetail `json:"instances"`
	URL       string                    `json:"url"`
}

// Deployments lists deployments, newest first.
func (c *Client) Deployments(ctx context.Context, q pipeline.DeploymentQuery) (pipeline.Page[DeploymentItem], error) {
	query := paged(q.Limit, q.After)
	for name, value := range map[string]string{"group": q.Group, "status": string(q.Status)} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var page pipeline.Page[DeploymentItem]
	err := c.get(ctx, "/deployments", query, &page)
	return page, err
}

// Deployment is one deployment.
func (c *Client) Deployment(ctx context.Context, id string) (DeploymentDetail, error) {
	var d DeploymentDetail
	err := c.get(ctx, "/deployments/"+url.PathEscape(id), nil, &d)
	return d, err
}

// StopDeployment ends a deployment.
func (c *Client) StopDeployment(ctx context.Context, id, reason string) error {
	return c.send(ctx, http.MethodPost, "/deployments/"+url.PathEscape(id)+"/stop", nil, map[string]string{"reason": reason}, nil)
}

// RollBack undoes a deployment and answers with the one that does.
func (c *Client) RollBack(ctx context.Context, id string) (DeploymentItem, error) {
	var d DeploymentItem
	err := c.send(ctx, http.MethodPost, "/deployments/"+url.PathEscape(id)+"/rollback", nil, nil, &d)
	return d, err
}

// Agents lists agents.
func (c *Client) Agents(ctx context.Context) ([]pipeline.Agent, error) {
	var page pipeline.Page[pipeline.Agent]
	err := c.get(ctx, "/agents", nil, &page)
	return page.Items, err
}

// InviteAgent makes a one-time token with which an agent may register within
// ttl, an hour if it is 0.
func (c *Client) InviteAgent(ctx context.Context, tags map[string]string, ttl time.Duration) (pipeline.AgentInvitation, error) {
	var in pipeline.AgentInvitation
	err := c.send(ctx, http.MethodPost, "/agents/tokens", nil, map[string]any{"tags": tags, "seconds": int64(ttl / time.Second)}, &in)
	return in, err
}

// RemoveAgent revokes an agent.
func (c *Client) RemoveAgent(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, "/agents/"+url.PathEscape(name), nil, nil, nil)
}

// RegisterAgent makes an agent known by a one-time token. It may be repeated
// with the same agent's token.
func (c *Client) RegisterAgent(ctx context.Context, r pipeline.AgentRegistration) (pipeline.Agent, error) {
	var a pipeline.Agent
	err := c.send(ctx, http.MethodPost, "/agent/register", nil, r, &a)
	return a, err
}
