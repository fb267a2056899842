package docker_test

import (
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

func open(t testing.TB) *docker.Engine {
	t.Helper()
	testenv.Need(t, "docker", "git")
	e, err := docker.Open(t.Context(), docker.Options{Data: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func shut(t testing.TB, e *docker.Engine) {
	t.Helper()
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEngine(t *testing.T) {
	tests := []struct {
		name  string
		setup runnertest.Setup
		image func(testing.TB) string
	}{
		{"busybox", runnertest.Setup{Users: true}, runnertest.BusyboxImage},
		{"bash", runnertest.Setup{Users: true, Bash: true, Runtimes: true}, runnertest.BashImage},
		{"dash", runnertest.Setup{Users: true, Dash: true}, runnertest.DashImage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := open(t)
			s := tt.setup
			s.Engine, s.Image, s.Temp = e, tt.image(t), e.Temp()
			t.Run("suite", func(t *testing.T) { runnertest.TestEngine(t, s) })
			shut(t, e)
			left, err := exec.Command("docker", "ps", "--all", "--quiet", "--filter", "name=slipway-"+id(e)).Output()
			if err != nil || strings.TrimSpace(string(left)) != "" {
				t.Errorf("containers left behind: %s %v", left, err)
			}
		})
	}
}

// id is the runner's ID, the last part of its folder.
func id(e *docker.Engine) string { return e.Temp()[strings.LastIndexByte(e.Temp(), '/')+1:] }
