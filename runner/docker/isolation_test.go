package docker_test

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// build runs one build of commands in the busybox image.
func build(t testing.TB, e *docker.Engine, image string, commands ...string) (pipeline.Build, *runnertest.Sink) {
	t.Helper()
	spec := "version: 0.2\nphases:\n  build:\n    commands:\n"
	for _, c := range commands {
		spec += "      - |\n        " + strings.ReplaceAll(c, "\n", "\n        ") + "\n"
	}
	o := runnertest.Order(runnertest.Repo(t, map[string]string{"buildspec.yml": spec}))
	o.Image = image
	sink := &runnertest.Sink{}
	b, _ := runner.Run(t.Context(), runnertest.Setup{Engine: e, Temp: e.Temp()}.Options(t), o, sink)
	return b, sink
}

// A build must not reach the host's addresses (design: Isolation), which is
// where Redis, the Docker engine and the server listen.
//
// Attacks: 12.
func TestBuildsCannotReachTheHost(t *testing.T) {
	testenv.Need(t, "root", "iptables")
	image := runnertest.BusyboxImage(t)
	e := open(t)
	defer shut(t, e)
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	hosts := []string{"$(ip route | while read -r a b c rest; do [ \"$a\" = default ] && echo $c; done)", "172.17.0.1"}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			hosts = append(hosts, n.IP.String())
		}
	}
	// What is to fail from a build works from an ordinary container.
	plain := exec.Command("docker", "run", "--rm", image, "sh", "-c", "echo x | timeout 5 nc -w 2 172.17.0.1 "+port+" && echo REACHED")
	if out, err := plain.CombinedOutput(); err != nil || !strings.Contains(string(out), "REACHED") {
		t.Fatalf("the listener can't be reached at all: %v: %s", err, out)
	}
	var commands []string
	for _, h := range hosts {
		commands = append(commands, fmt.Sprintf("echo x | timeout 3 nc -w 2 %s %s && echo REACHED %s\ntrue", h, port, h))
	}
	commands = append(commands, "echo x | timeout 3 nc -w 2 169.254.169.254 80 && echo REACHED metadata\ntrue", "ls /var/run/docker.sock /run/docker.sock 2>/dev/null && echo REACHED engine\ntrue")
	b, sink := build(t, e, image, commands...)
	if b.Status != pipeline.BuildSucceeded || strings.Contains(sink.Text(), "\nREACHED") {
		t.Errorf("got %s:\n%s", b.Status, sink.Text())
	}
}

// Attacks: 13.
func TestBuildsHaveFewRights(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	e := open(t)
	defer shut(t, e)
	b, sink := build(t, e, image,
		"while read -r k v; do case $k in NoNewPrivs:|CapEff:) echo $k $v;; esac; done </proc/self/status",
		"mount -t tmpfs x /tmp && echo MOUNTED\ntrue")
	if b.Status != pipeline.BuildSucceeded || strings.Contains(sink.Text(), "\nMOUNTED") || !strings.Contains(sink.Text(), "NoNewPrivs: 1") {
		t.Errorf("got %s:\n%s", b.Status, sink.Text())
	}
}

func TestMissingImageSaysHowToFixIt(t *testing.T) {
	testenv.Need(t, "docker")
	e := open(t)
	defer shut(t, e)
	b, _ := build(t, e, "127.0.0.1:1/no/such:image", "true")
	f := b.Failure
	if b.Status != pipeline.BuildFailed || f == nil || f.Code != "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE" || !strings.Contains(f.Message, "127.0.0.1:1/no/such:image") {
		t.Errorf("got %s, %+v", b.Status, f)
	}
}

func TestImageWithoutShell(t *testing.T) {
	image := runnertest.NoShellImage(t)
	e := open(t)
	defer shut(t, e)
	b, _ := build(t, e, image, "true")
	if f := b.Failure; b.Status != pipeline.BuildFailed || f == nil || !strings.Contains(f.Message, "found dead before completing the build") {
		t.Errorf("got %s, %+v", b.Status, f)
	}
}

// A runner that is gone leaves no container: its end of standard input closes.
// What it can't take away any more, the next one on the same data folder does.
//
// Attacks: 19.
func TestReap(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	data := t.TempDir()
	label := func(e *docker.Engine) string {
		out, err := exec.Command("docker", "ps", "--all", "--quiet", "--filter", "label=slipway.runner="+id(e)).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	dead, err := docker.Open(t.Context(), docker.Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	// A container with the labels of a process that never comes back.
	ghost := exec.Command("docker", "create", "--label", "slipway.runner=ghost", "--label", "slipway.data="+docker.DataLabel(dead), image, "sh")
	out, err := ghost.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	name := strings.TrimSpace(string(out))
	if err := dead.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exec.Command("docker", "inspect", name).Run() == nil {
		t.Error("the container of a dead runner is still there")
	}
	shut(t, dead)
	if left := label(dead); left != "" {
		t.Errorf("containers left: %s", left)
	}
	networks, err := exec.Command("docker", "network", "ls", "--quiet", "--filter", "label=slipway.runner="+id(dead)).Output()
	if err != nil || strings.TrimSpace(string(networks)) != "" {
		t.Errorf("networks left: %s %v", networks, err)
	}
}
