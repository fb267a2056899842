package runnertest

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
)

// Password opens what Served serves, for any user.
const Password = "s3cr3t-pass-word"

// Served serves the folder of a repository over HTTP with git's own backend, to
// those with the Password, and returns the order with its new URL, user and
// password.
func Served(t *testing.T, o pipeline.SourceOrder) pipeline.SourceOrder {
	t.Helper()
	core, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(core)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(o.URL), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, p, _ := r.BasicAuth(); p != Password {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	o.URL = s.URL + "/" + filepath.Base(o.URL)
	o.User, o.Password = "x-access-token", Password
	return o
}
