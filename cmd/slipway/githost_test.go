package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/local"
	"github.com/slipway-ci/slipway/internal/testenv"
)

// A fresh server had no way to make a repository, so nobody could push to it.
func TestFirstPushMakesTheRepository(t *testing.T) {
	testenv.Need(t, "git")
	tests := []struct {
		name, path, service, token string
		want                       int
		made                       int
	}{
		{"a push", "/git/me/hello.git/info/refs", "git-receive-pack", "right", http.StatusOK, 1},
		{"a push with a wrong token", "/git/me/hello.git/info/refs", "git-receive-pack", "wrong", http.StatusNotFound, 0},
		{"a push without a token", "/git/me/hello.git/info/refs", "git-receive-pack", "", http.StatusNotFound, 0},
		{"a fetch", "/git/me/hello.git/info/refs", "git-upload-pack", "right", http.StatusNotFound, 0},
		{"a name that leaves the folder", "/git/../hello.git/info/refs", "git-receive-pack", "right", http.StatusNotFound, 0},
		{"a path that is too deep", "/git/me/my/hello.git/info/refs", "git-receive-pack", "right", http.StatusNotFound, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host, err := local.New(local.Options{
				Dir: t.TempDir(), URL: "http://127.0.0.1/", Tokens: []string{"right"},
				Deliver: func(context.Context, forge.Event) error { return nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path, r.URL.RawQuery = tt.path, "service="+tt.service
			if tt.token != "" {
				r.SetBasicAuth("slipway", tt.token)
			}
			w := httptest.NewRecorder()
			gitHost{host, "right", slog.New(slog.DiscardHandler)}.ServeHTTP(w, r)
			repos, err := host.Repos(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != tt.want || len(repos) != tt.made {
				t.Errorf("got status %d and %d repositories, want %d and %d", w.Code, len(repos), tt.want, tt.made)
			}
		})
	}
}
