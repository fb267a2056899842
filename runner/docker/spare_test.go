package docker_test

import (
	"context"
	"log/slog"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// sparing is an engine that keeps containers ready.
func sparing(t *testing.T) *docker.Engine {
	t.Helper()
	testenv.Need(t, "docker", "git")
	e, err := docker.Open(t.Context(), docker.Options{
		Data: t.TempDir(), Spare: time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// spare is a container of an engine that waits for a build of image. The engine
// starts it when another build was started.
func spare(t *testing.T, e *docker.Engine, image string) (runner.Container, runner.Place) {
	t.Helper()
	return e.Spare(t.Context(), runner.Spec{Build: "b-" + strings.ToLower(t.Name()), Image: image})
}

func TestSpareServesTheNextBuild(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	e := sparing(t)
	for i, want := range []string{"none used before", "none used before", "none used before"} {
		b, sink := build(t, e, image, "[ -e /used ] || echo none used before; touch /used; pwd; echo >left; ls \"$CODEBUILD_SRC_DIR\"")
		if b.Status != pipeline.BuildSucceeded || !strings.Contains(sink.Text(), "\n"+want+"\n") || !strings.Contains(sink.Text(), "\nbuildspec.yml\nleft\n") {
			t.Errorf("build %d: got %s:\n%s", i, b.Status, sink.Text())
		}
	}
	shut(t, e)
	checkNothingLeft(t, e)
}

// A network whose container is gone serves a later build: making one and
// removing it costs the engine as much as a build. No two builds are on one at
// a time, and what was on it once is gone.
//
// Attacks: 19.
func TestNetworksAreLentAgain(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	e := sparing(t)
	seen := map[string]int{}
	for range 5 {
		_, sink := build(t, e, image, "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'", "nc -w 1 127.0.0.1 4711 </dev/null && echo REACHED\n(nc -l -p 4711 &)")
		seen[regexp.MustCompile(`inet [0-9.]+`).FindString(sink.Text())]++
		if strings.Contains(sink.Text(), "\nREACHED") {
			t.Errorf("a build reached what another left:\n%s", sink.Text())
		}
		docker.Settle(e)
	}
	if len(seen) > 2 || seen[""] > 0 { // the one in use, and the one that waits
		t.Errorf("five builds had the networks %v, want two in turns", seen)
	}
	shut(t, e)
	checkNothingLeft(t, e)
}

// What waits is for the same image, and for one build.
func TestSpareFits(t *testing.T) {
	image, other := runnertest.BusyboxImage(t), runnertest.DashImage(t)
	e := sparing(t)
	if c, _ := spare(t, e, image); c != nil {
		t.Fatal("a container waits before any build")
	}
	build(t, e, image, "true")
	if c, _ := spare(t, e, other); c != nil {
		t.Error("a container of another image was handed out")
	}
	if c, _ := e.Spare(t.Context(), runner.Spec{Image: image, Privileged: true}); c != nil {
		t.Error("a privileged build got a container that isn't")
	}
	if c, _ := e.Spare(t.Context(), runner.Spec{Image: image, Limits: pipeline.Limits{CPUs: 0.5}}); c != nil {
		t.Error("a build got a container with other limits")
	}
	c, place := spare(t, e, image)
	if c == nil || place.Folder == "" {
		t.Fatal("no container waits after a build")
	}
	next, again := spare(t, e, image)
	if next == nil || again.Folder == place.Folder {
		t.Error("a container was handed out twice, or none followed it")
	}
	c.Remove()
	if next != nil {
		next.Remove()
	}
	shut(t, e)
	checkNothingLeft(t, e)
}

// A build never gets a container that has ended while it waited.
func TestSpareThatDied(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	e := sparing(t)
	build(t, e, image, "true")
	ids := func() string {
		return docker.Waiting(t.Context(), e)
	}
	if out, err := exec.Command("docker", "kill", ids()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, sink := build(t, e, image, "echo fine")
	if b.Status != pipeline.BuildSucceeded || !strings.Contains(sink.Text(), "\nfine\n") {
		t.Errorf("got %s:\n%s", b.Status, sink.Text())
	}
	shut(t, e)
	checkNothingLeft(t, e)
}

// Long after the last build nothing runs any more.
func TestSparesEnd(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	e := sparing(t)
	build(t, e, image, "true")
	if docker.Waiting(t.Context(), e) == "" {
		t.Fatal("no container waits after a build")
	}
	docker.Cool(e)
	if c, _ := spare(t, e, image); c != nil {
		t.Error("a container still waits")
	}
	shut(t, e)
	checkNothingLeft(t, e)
}

func checkNothingLeft(t *testing.T, e *docker.Engine) {
	t.Helper()
	for _, kind := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}} {
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "docker", append(kind, "--filter", "label=slipway.runner="+id(e))...).Output()
		if left := strings.TrimSpace(string(out)); err != nil || left != "" {
			t.Errorf("docker %s: %s (%v), want nothing", kind[0], left, err)
		}
	}
}
