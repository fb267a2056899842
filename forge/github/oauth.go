package github

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// OAuth lets people sign in with their account of GitHub, as a GitHub App does
// it (user-to-server). The tokens that it gets only tell who somebody is; they
// are used once and kept nowhere.
type OAuth struct {
	client     *Client
	web        *url.URL
	id, secret string
}

// NewOAuth makes the OAuth of the App with a client ID and secret. Web is where
// people see GitHub; empty: derived from the client's REST interface. It
// contacts nobody.
func NewOAuth(c *Client, web, id, secret string) (*OAuth, error) {
	base, err := webBase(c, web)
	if err != nil {
		return nil, err
	}
	if id == "" || secret == "" {
		return nil, fmt.Errorf("GitHub OAuth: want a client ID and a client secret")
	}
	return &OAuth{client: c, web: base, id: id, secret: secret}, nil
}

// webBase is where people see the GitHub of c, with a slash at the end.
func webBase(c *Client, web string) (*url.URL, error) {
	base, err := url.Parse(cmp.Or(web, CloneBase(c.base.String())))
	if err != nil || base.Host == "" || base.User != nil || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("GitHub web URL %q: want https://HOST/", web)
	}
	if !strings.HasSuffix(base.Path, "/") {
		base.Path += "/"
	}
	return base, nil
}

// AuthorizeURL is where a person agrees. GitHub sends the browser to redirect
// afterwards, with the state. Challenge is PKCE's, by SHA-256.
func (o *OAuth) AuthorizeURL(state, challenge, redirect string) string {
	u := o.web.JoinPath("login", "oauth", "authorize")
	u.RawQuery = url.Values{
		"client_id": {o.id}, "redirect_uri": {redirect}, "state": {state},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}.Encode()
	return u.String()
}

// User is who agreed, by the code that GitHub gave the browser. A code that is
// not good is forge.ErrRejected.
func (o *OAuth) User(ctx context.Context, code, verifier, redirect string) (forge.User, error) {
	token, err := o.exchange(ctx, code, verifier, redirect)
	if err != nil {
		return forge.User{}, fmt.Errorf("signing in at GitHub: %w", err)
	}
	var self account
	client := o.client.rest(&staticTransport{next: o.client.guarded, value: token})
	if err := send(ctx, client, http.MethodGet, "user", nil, &self); err != nil {
		return forge.User{}, fmt.Errorf("asking GitHub who signed in: %w", err)
	}
	if self.ID == "" || !loginShape.MatchString(self.Login) {
		return forge.User{}, fmt.Errorf("asking GitHub who signed in: %w: the answer names nobody", forge.ErrRejected)
	}
	return self.user(), nil
}

// tokenLimitBytes bounds the answer that holds a token.
const tokenLimitBytes = 64 << 10

// exchange turns a code into a token. GitHub answers 200 to a bad code, too.
func (o *OAuth) exchange(ctx context.Context, code, verifier, redirect string) (string, error) {
	form := url.Values{
		"client_id": {o.id}, "client_secret": {o.secret}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.web.JoinPath("login", "oauth", "access_token").String(), strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("making the request: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	resp, err := o.client.atWeb(o.web).RoundTrip(r)
	if err != nil {
		return "", refusal(ctx, err)
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, tokenLimitBytes)).Decode(&answer); err != nil {
		return "", fmt.Errorf("%w: status %d without a readable answer", forge.ErrRejected, resp.StatusCode)
	}
	if answer.Token == "" {
		return "", fmt.Errorf("%w: %s", forge.ErrRejected, short(line(answer.Error, titleLimit)))
	}
	return answer.Token, nil
}

// atWeb carries requests to the host where people see GitHub, and follows no
// redirect.
func (c *Client) atWeb(web *url.URL) http.RoundTripper {
	return &guard{base: web, next: c.guarded.(*guard).next, now: c.now}
}
