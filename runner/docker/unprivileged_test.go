package docker_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// unprivilegedData makes this test binary a runner that is not root.
const unprivilegedData = "SLIPWAY_TEST_UNPRIVILEGED_DATA"

func TestUnprivileged(t *testing.T) {
	data := os.Getenv(unprivilegedData)
	if data == "" {
		return // the test below starts this one as another user
	}
	e, err := docker.Open(t.Context(), docker.Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	o := runnertest.Order(pipeline.SourceOrder{})
	o.Image = os.Getenv("SLIPWAY_TEST_VICTIM_IMAGE")
	sink := &runnertest.Sink{}
	b, _ := runner.Run(t.Context(), runner.Options{Engine: e, Temp: e.Temp(), Dir: filepath.Join(data, "source")}, o, sink)
	if b.Status != pipeline.BuildSucceeded {
		t.Errorf("got %s:\n%s", b.Status, sink.Text())
	}
	shut(t, e)
}

// A runner that isn't root removes what the build's root has left.
func TestUnprivilegedRunnerLeavesNothing(t *testing.T) {
	const socket = "/var/run/docker.sock"
	testenv.Need(t, "root", "docker", "socket:"+socket)
	image := runnertest.BusyboxImage(t)
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	data := t.TempDir()
	source := filepath.Join(data, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	spec := "version: 0.2\nphases:\n  build:\n    commands: ['cd /codebuild/output/tmp; mkdir -p a/b; touch a/b/c; chmod 700 a']\n"
	if err := os.WriteFile(filepath.Join(source, "buildspec.yml"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	binary := copyOf(t, os.Args[0])
	// The folder above the test's is closed to other users.
	if err := errors.Join(os.Chmod(filepath.Dir(data), 0o755), os.Chown(data, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^TestUnprivileged$")
	cmd.Dir = data
	cmd.Env = append(os.Environ(), unprivilegedData+"="+data, "SLIPWAY_TEST_VICTIM_IMAGE="+image)
	group := info.Sys().(*syscall.Stat_t).Gid
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{group}}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	left, err := os.ReadDir(filepath.Join(data, "builds"))
	if err != nil || len(left) != 0 {
		t.Errorf("folders left: %v %v", left, err)
	}
}

// copyOf is a copy of this test binary that any user can run.
func copyOf(t *testing.T, from string) string {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }() // only read from
	out, err := os.OpenFile(filepath.Join(t.TempDir(), "runner"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(out, in); err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Name()
}
