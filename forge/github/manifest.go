package github

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// appPermissions and appEvents are what an App of ours needs, and no more
// (forges reference 1.2).
var (
	appPermissions = map[string]string{
		"metadata": "read", "contents": "read", "checks": "write", "statuses": "write", "pull_requests": "write",
		"issues": "read", "deployments": "write", "merge_queues": "read",
	}
	appEvents = []string{
		"push", "pull_request", "pull_request_review", "issue_comment", "check_run", "check_suite", "merge_group", "release",
	}
)

// Manifest is what GitHub makes an App from, for a server that browsers and
// forges reach at external, without a slash at its end.
func Manifest(external string) ([]byte, error) {
	u, err := url.Parse(external)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("external URL %q: want https://HOST", external)
	}
	return json.MarshalIndent(map[string]any{
		"name":                     appName(u.Hostname()),
		"url":                      external,
		"description":              "Builds, tests and deploys what is pushed.",
		"public":                   false,
		"hook_attributes":          map[string]any{"url": external + "/webhooks/github", "active": true},
		"redirect_url":             external + "/setup/github/callback",
		"callback_urls":            []string{external + "/login/callback"},
		"request_oauth_on_install": false,
		"default_permissions":      appPermissions,
		"default_events":           appEvents,
	}, "", "  ")
}

// nameLimit is GitHub's, in characters.
const nameLimit = 34

// appName is one that nobody else's App is likely to have; its owner may change
// it at GitHub.
func appName(host string) string {
	name := "Slipway " + host
	return strings.TrimRight(name[:min(len(name), nameLimit)], " .-")
}

// NewAppURL is where a browser posts a manifest, as the field manifest, to make
// an App of its user's, or of an organization's if one is named.
func NewAppURL(c *Client, web, organization, state string) (string, error) {
	base, err := webBase(c, web)
	if err != nil {
		return "", err
	}
	if organization != "" && !forge.ValidName(organization) {
		return "", fmt.Errorf("organization %q: %w", short(organization), forge.ErrRejected)
	}
	u := base.JoinPath("settings", "apps", "new")
	if organization != "" {
		u = base.JoinPath("organizations", organization, "settings", "apps", "new")
	}
	u.RawQuery = url.Values{"state": {state}}.Encode()
	return u.String(), nil
}

// App is a GitHub App that was made from a manifest. All but its ID, name and
// URL are secret.
type App struct {
	ID            int64  `json:"id"`
	Slug          string `json:"slug"`
	URL           string `json:"html_url"`
	ClientID      string `json:"client_id"`
	ClientSecret  string `json:"client_secret"`
	WebhookSecret string `json:"webhook_secret"`
	Key           string `json:"pem"`
}

var codeShape = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// Convert turns the code that GitHub gave the browser into the App that it made.
// A code works once and for an hour; another one is forge.ErrRejected or
// forge.ErrNotFound. An App without a webhook secret gets one.
func Convert(ctx context.Context, c *Client, code string) (App, error) {
	if !codeShape.MatchString(code) {
		return App{}, fmt.Errorf("making a GitHub App: %w: no such code", forge.ErrRejected)
	}
	var app App
	// It needs no credentials, and c may have some that GitHub would refuse.
	if err := send(ctx, c.rest(c.guarded), http.MethodPost, "app-manifests/"+code+"/conversions", nil, &app); err != nil {
		return App{}, fmt.Errorf("making a GitHub App: %w", err)
	}
	key, err := ParseKey(app.Key)
	if err != nil || app.ID <= 0 || app.ClientID == "" || app.ClientSecret == "" {
		return App{}, fmt.Errorf("making a GitHub App: %w: the answer lacks credentials", forge.ErrRejected)
	}
	if app.WebhookSecret != "" {
		return app, nil
	}
	own, err := New(Options{BaseURL: c.base.String(), AppID: app.ID, Key: key, Transport: c.guarded.(*guard).next, Now: c.now})
	if err != nil {
		return App{}, err
	}
	app.WebhookSecret = newSecret()
	if err := send(ctx, own.app, http.MethodPatch, "app/hook/config", map[string]string{"secret": app.WebhookSecret}, nil); err != nil {
		return App{}, fmt.Errorf("giving the GitHub App a webhook secret: %w", err)
	}
	return app, nil
}

// newSecret is 32 random bytes as text.
func newSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(raw)
}
