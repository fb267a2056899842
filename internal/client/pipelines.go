package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/slipway-ci/slipway/pipeline"
)

// Submitted is the answer to what a pipeline was asked to do.
type Submitted struct {
	Event string `json:"event"` // the ID of the request
}

// command asks a pipeline for something. It may refuse with a *Error that is
// pipeline.ErrConflict.
func (c *Client) command(ctx context.Context, path string, body any) (Submitted, error) {
	var out Submitted
	err := c.send(ctx, http.MethodPost, path, nil, body, &out)
	return out, err
}

// Stop asks for the end of an execution.
func (c *Client) Stop(ctx context.Context, id, reason string, mode pipeline.StopMode) (Submitted, error) {
	return c.command(ctx, "/executions/"+url.PathEscape(id)+"/stop", map[string]string{"reason": reason, "mode": string(mode)})
}

// Retry asks for a failed stage to run again; an empty stage means the one
// that failed, an empty mode its failed actions.
func (c *Client) Retry(ctx context.Context, id, stage string, mode pipeline.RetryMode) (Submitted, error) {
	return c.command(ctx, "/executions/"+url.PathEscape(id)+"/retry", map[string]string{"stage": stage, "mode": string(mode)})
}

// Override asks for an execution to go on although a condition isn't met; an
// empty stage and hook mean the one that keeps it.
func (c *Client) Override(ctx context.Context, id, stage string, h pipeline.Hook, message string) (Submitted, error) {
	return c.command(ctx, "/executions/"+url.PathEscape(id)+"/override", map[string]string{"stage": stage, "condition": string(h), "message": message})
}

// Answer approves or rejects.
type Answer struct {
	// Stage and Action name the approval, and Token the very question; they may
	// be empty where one approval alone waits.
	Stage   string `json:"stage,omitempty"`
	Action  string `json:"action,omitempty"`
	Token   string `json:"token,omitempty"`
	Message string `json:"message,omitempty"`
	// Fields is what else the approval asks for, by name.
	Fields map[string]string `json:"fields,omitempty"`
}

// Approve says yes to what an execution waits for.
func (c *Client) Approve(ctx context.Context, id string, a Answer) (Submitted, error) {
	return c.command(ctx, "/executions/"+url.PathEscape(id)+"/approve", a)
}

// Reject says no to it, which ends the execution.
func (c *Client) Reject(ctx context.Context, id string, a Answer) (Submitted, error) {
	return c.command(ctx, "/executions/"+url.PathEscape(id)+"/reject", a)
}

// Pipelines lists pipelines with the state of their stages.
func (c *Client) Pipelines(ctx context.Context, limit int, after string) (pipeline.Page[pipeline.View], error) {
	var page pipeline.Page[pipeline.View]
	err := c.get(ctx, "/pipelines", paged(limit, after), &page)
	return page, err
}

// Pipeline is one of them.
func (c *Client) Pipeline(ctx context.Context, id string) (pipeline.View, error) {
	var v pipeline.View
	err := c.get(ctx, "/pipelines/"+url.PathEscape(id), nil, &v)
	return v, err
}

// Start asks for an execution of a commit.
func (c *Client) Start(ctx context.Context, id string, m pipeline.ManualRequest) (Submitted, error) {
	return c.command(ctx, "/pipelines/"+url.PathEscape(id)+"/start", m)
}

func stagePath(id, stage string) string {
	return "/pipelines/" + url.PathEscape(id) + "/stages/" + url.PathEscape(stage)
}

// Transition enables or disables the way into a stage; to disable takes a
// reason.
func (c *Client) Transition(ctx context.Context, id, stage string, enabled bool, reason string) (Submitted, error) {
	return c.command(ctx, stagePath(id, stage)+"/transition", struct {
		Enabled bool   `json:"enabled"`
		Reason  string `json:"reason,omitempty"`
	}{enabled, reason})
}

// Rollback runs a stage again with what the execution target brought to it.
func (c *Client) Rollback(ctx context.Context, id, stage, target string) (Submitted, error) {
	return c.command(ctx, stagePath(id, stage)+"/rollback", map[string]string{"target": target})
}
