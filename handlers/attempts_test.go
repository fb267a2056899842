package handlers_test

import (
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// Guessing ends at 429, on every way in; who has a good token isn't held up by
// others of the same address.
//
// Attacks: 27.
func TestWrongTokensAreHeldUp(t *testing.T) {
	form := func(t *testing.T, s *handlerstest.Server, token string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/sign-in", strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", s.URL)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, _ := visit(t, visitor(t), r)
		return resp
	}
	get := func(path string) func(*testing.T, *handlerstest.Server, string) *http.Response {
		return func(t *testing.T, s *handlerstest.Server, token string) *http.Response {
			t.Helper()
			resp, _ := visit(t, visitor(t), request(t, "GET", s.URL+path, set("Authorization", "Bearer "+token)))
			return resp
		}
	}
	link := func(t *testing.T, s *handlerstest.Server, token string) *http.Response {
		t.Helper()
		resp, _ := visit(t, visitor(t), request(t, "GET", s.URL+"/sign-in?token="+token))
		return resp
	}
	git := func(t *testing.T, s *handlerstest.Server, token string) *http.Response {
		t.Helper()
		r := request(t, "GET", s.URL+"/git/octo/app.git/info/refs?service=git-receive-pack")
		r.SetBasicAuth("git", token)
		resp, _ := visit(t, visitor(t), r)
		return resp
	}
	back := func(t *testing.T, s *handlerstest.Server, token string) *http.Response {
		t.Helper()
		c, state := begun(t, s, "/")
		resp, _ := visit(t, c, request(t, "GET", s.URL+"/login/callback?code=refuse-"+token+"&state="+state))
		return resp
	}
	for _, tt := range []struct {
		name string
		try  func(*testing.T, *handlerstest.Server, string) *http.Response
	}{
		{"the API", get("/api/v1/executions")},
		{"the form", form},
		{"one-time links", link},
		{"the git host", git},
		{"the way back from the forge", back},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := people(t, func(o *handlers.Options) {
				o.Git = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "refs") })
			})
			api := get("/api/v1/executions")
			if resp := api(t, s, handlerstest.AdminToken); resp.StatusCode != 200 {
				t.Fatalf("a good token: got %d", resp.StatusCode)
			}
			var last *http.Response
			for i := range 31 {
				last = tt.try(t, s, "guess"+strconv.Itoa(i))
				if i < 30 && last.StatusCode != 401 {
					t.Fatalf("guess %d: got %d", i, last.StatusCode)
				}
			}
			after, _ := strconv.Atoi(last.Header.Get("Retry-After"))
			if last.StatusCode != 429 || after < 1 || after > 10 {
				t.Errorf("after thirty: got %d, Retry-After %d", last.StatusCode, after)
			}
			if resp := api(t, s, handlerstest.RunnerToken); resp.StatusCode != 429 {
				t.Errorf("a token that was not seen before: got %d", resp.StatusCode)
			}
			if resp := api(t, s, handlerstest.AdminToken); resp.StatusCode != 200 {
				t.Errorf("a token that was good before: got %d", resp.StatusCode)
			}
		})
	}
}

// A forge that is down is nobody's wrong credential.
func TestFaultsOfTheForgeAreNoAttempts(t *testing.T) {
	s := people(t)
	for i := range 40 {
		c, state := begun(t, s, "/")
		if resp, _ := visit(t, c, request(t, "GET", s.URL+"/login/callback?code=down&state="+state)); resp.StatusCode != 500 {
			t.Fatalf("try %d: got %d", i, resp.StatusCode)
		}
	}
}

// Attacks: 28.
func TestWhereRequestsComeFrom(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
	tests := []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "203.0.113.9:5000", nil, "203.0.113.9"},
		{"a stranger who says to be another", "203.0.113.9:5000", []string{"127.0.0.1"}, "203.0.113.9"},
		{"a proxy", "10.0.0.1:5000", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a proxy, and what a stranger says", "10.0.0.1:5000", []string{"127.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.1:5000", []string{"198.51.100.7, 203.0.113.9", "192.0.2.1"}, "203.0.113.9"},
		{"a proxy that says nothing", "10.0.0.1:5000", nil, "10.0.0.1"},
		{"a proxy that says what is no address", "10.0.0.1:5000", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"nobody but proxies", "10.0.0.1:5000", []string{"10.0.0.2"}, "10.0.0.2"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5000", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"a socket without address", "@", []string{"203.0.113.9"}, "invalid IP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
			if got := handlers.AddressOf(r, proxies).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// Behind a trusted proxy one guesser holds up nobody else.
//
// Attacks: 28.
func TestGuessersBehindAProxy(t *testing.T) {
	s := handlerstest.New(t, func(o *handlers.Options) {
		o.Access.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	ask := func(from, token string) int {
		resp, _ := visit(t, visitor(t), request(t, "GET", s.URL+"/api/v1/executions", set("Authorization", "Bearer "+token), set("X-Forwarded-For", from)))
		return resp.StatusCode
	}
	for i := range 31 {
		if got, want := ask("203.0.113.9", "guess"), 401; got != want && i < 30 {
			t.Fatalf("guess %d: got %d", i, got)
		}
	}
	if got := ask("203.0.113.9", "guess"); got != 429 {
		t.Errorf("the guesser: got %d", got)
	}
	if got := ask("203.0.113.10", handlerstest.AdminToken); got != 200 {
		t.Errorf("another: got %d", got)
	}
}
