package host_test

import (
	"os"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

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
	repo := runnertest.Served(t, runnertest.Repo(t, map[string]string{"buildspec.yml": lendSpec}))
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
		if strings.Contains(text, runnertest.Password) || strings.Contains(text, "\nSEEN\n") || warned == lend {
			t.Errorf("lent %t: the log:\n%s", lend, text)
		}
		if want := map[bool]pipeline.BuildStatus{true: pipeline.BuildSucceeded, false: pipeline.BuildFailed}[lend]; b.Status != want || strings.Contains(text, "\nFETCHED\n") != lend || strings.Contains(text, "\n4\n") != lend {
			t.Errorf("lent %t: got %s:\n%s", lend, b.Status, text)
		}
	}
}
