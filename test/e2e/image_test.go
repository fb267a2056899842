package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// TestImage builds the container image as `make image` does, on a base of this
// machine's git, and has a server and a runner in it build a push, as
// compose.yaml starts them: not as root, on a read-only file system, without
// capabilities.
func TestImage(t *testing.T) {
	t.Parallel()
	needs(t)
	testenv.Need(t, "docker", "busybox")
	im := builtImage(t)
	if user := docker(t, "image", "inspect", "--format", "{{.Config.User}}", im); user != "65532:65532" {
		t.Errorf("it runs as user %q", user)
	}
	if out := docker(t, "run", "--rm", "--network", "none", im, "--version"); !strings.Contains(out, "slipway") {
		t.Errorf("its version: %q", out)
	}

	root := t.TempDir()
	sys := &system{root: root}
	redis, url := tcpRedis(t, sys)
	defer func() { _ = redis.stop() }()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	sys.url = "http://127.0.0.1:" + strconv.Itoa(port)
	server := container(t, im, []string{
		"SLIPWAY_LISTEN=127.0.0.1:" + strconv.Itoa(port), "SLIPWAY_REDIS_URL=" + url, "SLIPWAY_ADMIN_TOKEN=" + adminToken,
		"SLIPWAY_RUNNER_TOKEN=" + adminToken + "-runner", "SLIPWAY_IMAGE=" + runnertest.BusyboxImage(t),
	}, nil, "server")
	data := filepath.Join(root, "runner")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(root), root} { // the engine's mounts go through them
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := os.Stat("/var/run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	group := strconv.Itoa(int(socket.Sys().(*syscall.Stat_t).Gid))
	runner := container(t, im, []string{"SLIPWAY_SERVER=" + sys.url, "SLIPWAY_TOKEN=" + adminToken + "-runner", "SLIPWAY_DATA=" + data, "SLIPWAY_RUNNER_SLOTS=1"},
		[]string{"--group-add", group, "-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", data + ":" + data}, "runner")
	defer func() {
		if t.Failed() {
			t.Logf("server:\n%s\nrunner:\n%s", docker(t, "logs", server), docker(t, "logs", runner))
		}
	}()

	await(t, startLimit, func(ctx context.Context) error { return sys.call(ctx, "GET", "/readyz", nil, nil) })
	sha := pushTo(t, sys.url, "octo/web", root, buildspec("echo built in a container"))
	var x execution
	await(t, buildLimit, func(ctx context.Context) error {
		list, err := sys.executionsOf(ctx, sha)
		if err != nil {
			return err
		}
		if len(list) != 1 || !list[0].ended() {
			return fmt.Errorf("executions of %s: %+v", sha, list)
		}
		x, err = sys.execution(ctx, list[0].ID)
		return err
	})
	if x.Status != "Succeeded" {
		t.Errorf("it ended as %+v", x)
	}
}

// builtImage builds the project's Dockerfile.
func builtImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-tags", "nomsgpack", "-o", filepath.Join(dir, "bin", "slipway"), "./cmd/slipway")
	build.Dir, build.Env = testenv.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building slipway: %v\n%s", err, out)
	}
	for _, name := range []string{"Dockerfile", "LICENSE", ".dockerignore"} {
		data, err := os.ReadFile(filepath.Join(testenv.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const name = "slipway-test-image"
	docker(t, "build", "--quiet", "--build-arg", "BASE_IMAGE="+runnertest.GitImage(t), "--tag", name, dir)
	return name
}

// docker is what the command answers.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// container starts the image as compose.yaml does, on the host's network, and
// removes it when the test ends.
func container(t *testing.T, image string, env, more []string, role string) string {
	t.Helper()
	args := []string{"run", "--detach", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"}
	for _, e := range env {
		args = append(args, "--env", e)
	}
	id := docker(t, append(append(args, more...), image, role)...)
	t.Cleanup(func() {
		docker(t, "stop", "--time", "20", id)
		docker(t, "rm", "--volumes", id)
	})
	return id
}

// tcpRedis starts a Redis that containers on the host's network reach.
func tcpRedis(t *testing.T, sys *system) (*process, string) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	p := sys.process("redis", nil, "redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", sys.root,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	return p, "redis://127.0.0.1:" + strconv.Itoa(port)
}

// pushTo pushes files to a server's own git host and answers with the commit.
func pushTo(t *testing.T, url, repo, root string, files map[string]string) string {
	t.Helper()
	work := filepath.Join(root, "work", repo)
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(work, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	remote := strings.Replace(url, "://", "://slipway:"+adminToken+"@", 1) + "/git/" + repo + ".git"
	var sha string
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", "x"}, {"push", "-q", remote, "main"}, {"rev-parse", "HEAD"}} {
		cmd := exec.Command("git", append([]string{"-C", work, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
		sha = strings.TrimSpace(string(out))
	}
	return sha
}
