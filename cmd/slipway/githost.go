package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/forge/local"
)

// gitHost is the built-in git host with one addition: a push with the admin
// token to a repository that isn't there makes it, so that nothing has to be
// set up before the first push.
type gitHost struct {
	*local.Host
	token string // the admin token
	log   *slog.Logger
}

// ServeHTTP serves a request that was let in; see handlers.Access.
func (h gitHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if owner, name, ok := h.pushed(r); ok {
		// The host's answer to a name that can't be a repository's is 404.
		if _, err := h.Create(r.Context(), owner, name); err != nil {
			h.log.WarnContext(r.Context(), "a pushed repository can't be made", "repo", owner+"/"+name, "error", err)
		}
	}
	h.Serve(w, r)
}

// pushed is the repository that the request is the beginning of a push to:
// GET /git/OWNER/NAME.git/info/refs?service=git-receive-pack.
func (h gitHost) pushed(r *http.Request) (owner, name string, ok bool) {
	_, password, _ := r.BasicAuth()
	given, want := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(h.token))
	if r.Method != http.MethodGet || r.URL.Query().Get("service") != "git-receive-pack" ||
		h.token == "" || subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		return "", "", false
	}
	rest, inside := strings.CutPrefix(r.URL.Path, "/git/")
	path, refs := strings.CutSuffix(rest, ".git/info/refs")
	owner, name, two := strings.Cut(path, "/")
	return owner, name, inside && refs && two
}
