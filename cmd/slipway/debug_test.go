package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/runner"
)

// A shell whose runner is lost ends, and says why.
func TestShellOfALostRunner(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := `{"frames": [], "next": "1"}`
		if strings.HasSuffix(r.URL.Path, "/builds/b") {
			answer = `{"id": "b", "status": "FAULT", "failure": {"message": "the worker of this attempt is gone"}}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	api, err := client.New(server.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	s := &session{api: api, build: "b"}
	why, err := s.talk(t.Context(), runner.Terminal{In: strings.NewReader(""), Out: io.Discard})
	if want := "the shell is gone: the worker of this attempt is gone"; why != want || err != nil {
		t.Errorf("got %q, %v, want %q", why, err, want)
	}
}
