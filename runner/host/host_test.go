package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// environment is what the host's builds begin with: only these programs.
func environment(t *testing.T, programs ...string) []string {
	t.Helper()
	bin := t.TempDir()
	for _, p := range programs {
		full, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(full, filepath.Join(bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"PATH=" + bin, "HOME=" + t.TempDir()}
}

var tools = []string{"cat", "chmod", "sleep", "mkdir", "rmdir", "ln", "touch", "id", "true", "false", "echo", "cp", "rm", "find", "sed", "grep", "sort", "wc", "sha256sum"}

// In the wild: 16, 17, 18, 19, 20.
func TestEngineWithBash(t *testing.T) {
	testenv.Need(t, "git", "bash", "dash")
	e := host.New(host.Options{Env: environment(t, append(tools, "bash", "sh")...)})
	t.Cleanup(func() { closeEngine(t, e) })
	t.Run("suite", func(t *testing.T) { runnertest.TestEngine(t, runnertest.Setup{Engine: e, Here: true, Bash: true}) })
}

// In the wild: 16, 17, 18, 19, 20.
func TestEngineWithDash(t *testing.T) {
	testenv.Need(t, "git", "dash")
	env := environment(t, tools...)
	link(t, env, "dash", "sh")
	e := host.New(host.Options{Shell: []string{"dash"}, Env: env})
	t.Cleanup(func() { closeEngine(t, e) })
	t.Run("suite", func(t *testing.T) { runnertest.TestEngine(t, runnertest.Setup{Engine: e, Here: true, Dash: true}) })
}

// In the wild: 16, 17, 18, 20.
func TestEngineWithBusybox(t *testing.T) {
	testenv.Need(t, "git", "busybox")
	env := environment(t)
	for _, name := range append(tools, "sh") {
		link(t, env, "busybox", name)
	}
	e := host.New(host.Options{Shell: []string{"busybox", "sh"}, Env: env})
	t.Cleanup(func() { closeEngine(t, e) })
	t.Run("suite", func(t *testing.T) { runnertest.TestEngine(t, runnertest.Setup{Engine: e, Here: true}) })
}

func link(t *testing.T, env []string, program, name string) {
	t.Helper()
	full, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(full, filepath.Join(env[0][len("PATH="):], name)); err != nil {
		t.Fatal(err)
	}
}

func closeEngine(t *testing.T, e *host.Engine) {
	t.Helper()
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
