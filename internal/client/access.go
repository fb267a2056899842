package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/pipeline"
)

// NewToken is a token that was just made; its value is told this once.
type NewToken struct {
	access.Token
	Value string `json:"token"`
}

// CreateToken makes an API token with the name, role and repository of t, good
// for life; 0: until it is revoked.
func (c *Client) CreateToken(ctx context.Context, t access.Token, life time.Duration) (NewToken, error) {
	in := map[string]any{"name": t.Name, "role": t.Role, "repo": t.Repo, "seconds": int64(life / time.Second)}
	var made NewToken
	err := c.send(ctx, http.MethodPost, "/tokens", nil, in, &made)
	return made, err
}

// Tokens are all API tokens, without their values.
func (c *Client) Tokens(ctx context.Context) ([]access.Token, error) {
	var page pipeline.Page[access.Token]
	err := c.get(ctx, "/tokens", nil, &page)
	return page.Items, err
}

// RevokeToken makes a token worth nothing.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.send(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(id), nil, nil, nil)
}

// Audit lists the audit log, newest first.
func (c *Client) Audit(ctx context.Context, limit int, after string) (pipeline.Page[access.Entry], error) {
	var page pipeline.Page[access.Entry]
	err := c.get(ctx, "/audit", paged(limit, after), &page)
	return page, err
}
