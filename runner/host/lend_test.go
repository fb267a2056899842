package host_test

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

const password = "s3cr3t-pass-word"

// served serves repositories over HTTP with git's own backend, to those with
// the password, and returns the order's new URL.
func served(t *testing.T, o pipeline.SourceOrder) pipeline.SourceOrder {
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
		if _, p, _ := r.BasicAuth(); p != password {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	o.URL = s.URL + "/" + filepath.Base(o.URL)
	o.User, o.Password = "x-access-token", password
	return o
}

// lendSpec reads the build's own repository with git, several at a time, and
// then looks for the credential where it must not be.
const lendSpec = `version: 0.2
env: {git-credential-helper: yes}
phases:
  build:
    commands:
      - git fetch --quiet origin && git clone --quiet "$CODEBUILD_SOURCE_REPO_URL" again && echo FETCHED
      - |
        for n in 1 2 3 4; do git ls-remote -q "$CODEBUILD_SOURCE_REPO_URL" HEAD >out$n & done; wait
        cat out1 out2 out3 out4 | grep -c HEAD
      - if env | grep -e "$LOOK" || grep -rs -e "$LOOK" "$CODEBUILD_SRC_DIR" "${0%/*/*}"; then echo SEEN; fi
`

// Commands of a build read its own repository with the credential that it was
// fetched with, if they may; it is in no variable, file or log.
func TestBuildsGitHasTheCredential(t *testing.T) {
	testenv.Need(t, "git", "bash")
	repo := served(t, runnertest.Repo(t, map[string]string{"buildspec.yml": lendSpec}))
	e := host.New(host.Options{Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_TERMINAL_PROMPT=0"}})
	defer func() {
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for _, lend := range []bool{true, false} {
		o := runnertest.Order(repo)
		o.Source.Lend = lend
		// Its own look for the credential must not be what is found or masked.
		o.Variables = []pipeline.Variable{{Name: "LOOK", Value: "s3cr3t-pass-wor[d]"}}
		sink := &runnertest.Sink{}
		b, _ := runner.Run(t.Context(), runnertest.Setup{Engine: e}.Options(t), o, sink)
		text := sink.Text()
		warned := strings.Contains(text, "env.git-credential-helper has no effect: this build has no credential that reads its own repository and nothing else")
		if strings.Contains(text, password) || strings.Contains(text, "\nSEEN\n") || warned == lend {
			t.Errorf("lent %t: the log:\n%s", lend, text)
		}
		if want := map[bool]pipeline.BuildStatus{true: pipeline.BuildSucceeded, false: pipeline.BuildFailed}[lend]; b.Status != want || strings.Contains(text, "\nFETCHED\n") != lend || strings.Contains(text, "\n4\n") != lend {
			t.Errorf("lent %t: got %s:\n%s", lend, b.Status, text)
		}
	}
}
