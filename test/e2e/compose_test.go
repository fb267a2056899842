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

// TestCompose starts compose.yaml as docs/how-to/run.md says, with images of
// this machine, and has a push built by it.
func TestCompose(t *testing.T) {
	t.Parallel()
	needs(t)
	testenv.Need(t, "docker", "busybox", "docker-compose")
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{filepath.Dir(root), root} { // the engine's mounts go through them
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	compose := composed(t, root, port)
	defer func() {
		if t.Failed() {
			out, _ := compose("logs", "--no-color").CombinedOutput()
			t.Logf("logs:\n%s", out)
		}
		if out, err := compose("down", "--volumes", "--timeout", "20").CombinedOutput(); err != nil {
			t.Errorf("docker-compose down: %v\n%s", err, out)
		}
	}()
	if out, err := compose("up", "--detach", "--no-color").CombinedOutput(); err != nil {
		t.Fatalf("docker-compose up: %v\n%s", err, out)
	}
	sys := &system{root: root, url: "http://127.0.0.1:" + strconv.Itoa(port)}
	await(t, startLimit, func(ctx context.Context) error { return sys.call(ctx, "GET", "/readyz", nil, nil) })
	sha := pushTo(t, sys.url, "octo/web", root, buildspec("echo built by compose"))
	if x := sys.awaitExecution(t, sha); x.Status != "Succeeded" {
		t.Errorf("it ended as %+v", x)
	}
}

// composed is a folder with compose.yaml, its secrets and an empty slipway.yaml,
// and what runs docker-compose there. Only names of images, ports and the
// runner's folder are other ones.
func composed(t *testing.T, root string, port int) func(args ...string) *exec.Cmd {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(), "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	redis, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	text, work := string(data), filepath.Join(root, "runner")
	for old, now := range map[string]string{
		"image: slipway\n":            "image: " + builtImage(t) + "\n",
		"image: redis:7.4-bookworm\n": "image: " + runnertest.RedisImage(t) + "\n",
		"127.0.0.1:8080":              fmt.Sprintf("127.0.0.1:%d", port),
		"127.0.0.1:6380":              fmt.Sprintf("127.0.0.1:%d", redis),
		"/var/lib/slipway-runner":     work,
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("compose.yaml has no %q", old)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	socket, err := os.Stat("/var/run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(work, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"compose.yaml": text,
		"slipway.yaml": "image: " + runnertest.BusyboxImage(t) + "\n",
		".env": fmt.Sprintf("SLIPWAY_ADMIN_TOKEN=%s\nSLIPWAY_RUNNER_TOKEN=%s-runner\nREDIS_PASSWORD=letters1234\nDOCKER_GID=%d\nSLIPWAY_EXTERNAL_URL=http://127.0.0.1:%d\n",
			adminToken, adminToken, socket.Sys().(*syscall.Stat_t).Gid, port),
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command("docker-compose", append([]string{"--project-name", fmt.Sprintf("slipway-test-%d", port), "--file", "compose.yaml"}, args...)...)
		cmd.Dir = root
		return cmd
	}
}
