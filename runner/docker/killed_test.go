package docker_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// victimData makes this test binary a runner with a build that never ends.
const victimData = "SLIPWAY_TEST_VICTIM_DATA"

func TestVictim(t *testing.T) {
	data := os.Getenv(victimData)
	if data == "" {
		return // the test below starts this one in a process of its own
	}
	e, err := docker.Open(t.Context(), docker.Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	o := runnertest.Order(runnertest.Repo(t, map[string]string{"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands: ['echo begun; sleep 1000']\n"}))
	o.Image = os.Getenv("SLIPWAY_TEST_VICTIM_IMAGE")
	sink := &runnertest.Sink{}
	seen := sink.Seen("\nbegun\n")
	go func() {
		<-seen
		_, _ = os.Stdout.WriteString("BEGUN\n")
	}()
	runner.Run(t.Context(), runnertest.Setup{Engine: e, Temp: e.Temp()}.Options(t), o, sink)
}

// A runner that is killed leaves no running container, and the next one on its
// data folder takes away the rest.
func TestKilledRunner(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	data := t.TempDir()
	victim := exec.Command(os.Args[0], "-test.run=^TestVictim$")
	victim.Env = append(os.Environ(), victimData+"="+data, "SLIPWAY_TEST_VICTIM_IMAGE="+image)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for buf := make([]byte, 100); !strings.Contains(said.String(), "BEGUN"); {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if err == io.EOF {
			t.Fatalf("the runner ended: %s", said.String())
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	begun := time.Now()
	id := containers(t, data)
	if out, err := exec.Command("docker", "wait", id).CombinedOutput(); err != nil {
		t.Fatalf("waiting: %v: %s", err, out)
	}
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("the container lived for %s", d)
	}
	next, err := docker.Open(t.Context(), docker.Options{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, next)
	if id := containers(t, data); id != "" {
		t.Errorf("container %s is still there", id)
	}
	left, err := os.ReadDir(data + "/builds")
	if err != nil || len(left) != 2 { // the folder and the lock of the next one
		t.Errorf("folders left: %v %v", left, err)
	}
}

// containers are those on a data folder.
func containers(t *testing.T, data string) string {
	t.Helper()
	label := "label=slipway.data=" + docker.LabelOf(data)
	out, err := exec.Command("docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", label).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
