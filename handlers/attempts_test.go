package handlers_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// Guessing ends at 429, on every way in; who has a good token isn't held up by
// others of the same address.
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
