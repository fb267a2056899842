package github_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/forge/github"
	"github.com/slipway-ci/slipway/internal/testenv"
)

const back = "https://ci.example.com/login/callback"

func newClient(t *testing.T, g *forgetest.GitHub) *github.Client {
	t.Helper()
	c, err := github.New(github.Options{BaseURL: g.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// follow opens an address as a browser and answers where it is sent.
func follow(t *testing.T, r *http.Request) url.Values {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	u, err := resp.Location()
	if err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return u.Query()
}

func get(t *testing.T, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOAuth(t *testing.T) {
	g := forgetest.NewGitHub(t, forgetest.Options{Spec: testenv.Shared(t, "openapi/github.json")})
	g.AddOAuth(forgetest.OAuthApp{ClientID: "Iv23.1", ClientSecret: "s3cret", Callbacks: []string{back}})
	g.SitDown("ada")
	const verifier = "the verifier of this test, which is long enough"
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	tests := []struct {
		name, secret, verifier, redirect string
		twice                            bool
		want                             error
	}{
		{"a good code", "s3cret", verifier, back, false, nil},
		{"a code's second use", "s3cret", verifier, back, true, forge.ErrRejected},
		{"another verifier", "s3cret", "x", back, false, forge.ErrRejected},
		{"another way back", "s3cret", verifier, "https://evil.example/", false, forge.ErrRejected},
		{"another secret", "x", verifier, back, false, forge.ErrRejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := github.NewOAuth(newClient(t, g), "", "Iv23.1", tt.secret)
			if err != nil {
				t.Fatal(err)
			}
			q := follow(t, get(t, o.AuthorizeURL("the state", challenge, back)))
			if q.Get("state") != "the state" {
				t.Errorf("came back with %v", q)
			}
			if tt.twice {
				if _, err := o.User(t.Context(), q.Get("code"), tt.verifier, tt.redirect); err != nil {
					t.Fatal(err)
				}
			}
			u, err := o.User(t.Context(), q.Get("code"), tt.verifier, tt.redirect)
			if !errors.Is(err, tt.want) || err == nil && (u.Login != "ada" || u.ID == "") {
				t.Errorf("got %+v, %v, want %v", u, err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), q.Get("code")) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("a secret is in %q", err)
			}
		})
	}
}

func TestWebURLs(t *testing.T) {
	tests := []struct{ api, web, want string }{
		{"https://api.github.com/", "", "https://github.com/login/oauth/authorize?"},
		{"https://git.example.com/api/v3/", "", "https://git.example.com/login/oauth/authorize?"},
		{"https://api.octo.ghe.com/", "", "https://octo.ghe.com/login/oauth/authorize?"},
		{"https://api.github.com/", "https://proxy.example.com/gh", "https://proxy.example.com/gh/login/oauth/authorize?"},
	}
	for _, tt := range tests {
		c, err := github.New(github.Options{BaseURL: tt.api})
		if err != nil {
			t.Fatal(err)
		}
		o, err := github.NewOAuth(c, tt.web, "id", "secret")
		if err != nil {
			t.Fatal(err)
		}
		if got := o.AuthorizeURL("s", "c", back); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %s, want %s...", tt.api, got, tt.want)
		}
	}
	c := newClient(t, forgetest.NewGitHub(t, forgetest.Options{}))
	for _, web := range []string{"javascript:alert(1)", "ftp://x/", "https://user@host/", "https://"} {
		if _, err := github.NewOAuth(c, web, "id", "secret"); err == nil {
			t.Errorf("%s is taken", web)
		}
	}
}

func TestManifestFlow(t *testing.T) {
	for _, hooks := range []bool{true, false} {
		g := forgetest.NewGitHub(t, forgetest.Options{Spec: testenv.Shared(t, "openapi/github.json")})
		if !hooks {
			g.WithoutHookSecrets()
		}
		c := newClient(t, g)
		manifest, err := github.Manifest("https://a-rather-long-name-of-a-host.ci.example.com")
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Name   string
			Public bool
			Hook   struct{ URL string } `json:"hook_attributes"`
		}
		if err := json.Unmarshal(manifest, &m); err != nil || len(m.Name) > 34 || m.Public || !strings.HasSuffix(m.Hook.URL, "/webhooks/github") {
			t.Errorf("%v: %s", err, manifest)
		}
		address, err := github.NewAppURL(c, "", "", "st/ate")
		if err != nil {
			t.Fatal(err)
		}
		post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(url.Values{"manifest": {string(manifest)}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q := follow(t, post)
		if q.Get("state") != "st/ate" {
			t.Errorf("came back with %v", q)
		}
		app, err := github.Convert(t.Context(), c, q.Get("code"))
		if err != nil {
			t.Fatal(err)
		}
		if app.ID == 0 || app.WebhookSecret == "" || app.ClientSecret == "" {
			t.Errorf("got an App without credentials: %d %q", app.ID, app.Slug)
		}
		if own := g.HookSecrets(); !hooks && (len(own) != 1 || own[0] != app.WebhookSecret || len(own[0]) < 40) {
			t.Errorf("the App gave itself %d webhook secrets", len(own))
		}
		if _, err := github.Convert(t.Context(), c, q.Get("code")); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("the code's second use: %v", err)
		}
		for _, code := range []string{"", "../../user", "a/b", "a?b", strings.Repeat("a", 201)} {
			if _, err := github.Convert(t.Context(), c, code); !errors.Is(err, forge.ErrRejected) {
				t.Errorf("%q: %v", code, err)
			}
		}
	}
	if _, err := github.NewAppURL(newClient(t, forgetest.NewGitHub(t, forgetest.Options{})), "", "../x", "s"); err == nil {
		t.Error("an organization with a path is taken")
	}
}
