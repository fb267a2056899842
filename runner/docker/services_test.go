package docker_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// serve is a web server for busybox that begins late.
const serve = "echo starting as $WHO; sleep 1; mkdir -p /www; echo page of $WHO >/www/page; exec httpd -f -p 8080 -h /www"

// buildBeside runs a build of one command with services beside it.
func buildBeside(t *testing.T, e *docker.Engine, image, command string, services ...pipeline.Service) (pipeline.Build, *runnertest.Sink) {
	t.Helper()
	o := runnertest.Order(runnertest.Repo(t, map[string]string{"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        " + command + "\n"}))
	o.Image, o.Services = image, services
	sink := &runnertest.Sink{}
	b, _ := runner.Run(t.Context(), runnertest.Setup{Engine: e, Temp: e.Temp()}.Options(t), o, sink)
	return b, sink
}

func TestServices(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	e := open(t)
	web := pipeline.Service{
		Name: "web.example.com", Image: image, Port: 8080, Command: []string{"sh", "-c", serve},
		Variables: []pipeline.Variable{{Name: "WHO", Value: "sesame-street", Secret: true}},
	}
	late := pipeline.Service{Name: "late", Image: image, Health: "test -e /ready", Command: []string{"sh", "-c", "sleep 1; >/ready; exec sleep 600"}}
	at := pipeline.Service{Name: "once", Image: image, Command: []string{"sleep", "600"}}
	b, sink := buildBeside(t, e, image, "wget -qO- http://web.example.com:8080/page && nslookup late && test -z \"$DOCKER_HOST\"", web, late, at)
	if b.Status != pipeline.BuildSucceeded || !strings.Contains(sink.Text(), "\npage of ***\n") || strings.Contains(sink.Text(), "Last lines of") {
		t.Errorf("got %s:\n%s", b.Status, sink.Text())
	}
	b, sink = buildBeside(t, e, image, "exit 4", web)
	if text := sink.Text(); b.Status != pipeline.BuildFailed || !strings.Contains(text, "Last lines of service web.example.com:\nstarting as ***\n") {
		t.Errorf("got %s:\n%s", b.Status, text)
	}
	shut(t, e)
	left, err := exec.Command("docker", "ps", "--all", "--filter", "label=slipway.runner="+id(e)).Output()
	if err != nil || strings.Count(string(left), "\n") != 1 {
		t.Errorf("containers left behind: %s %v", left, err)
	}
}

func TestServiceThatIsNotReady(t *testing.T) {
	image := runnertest.BusyboxImage(t)
	e := open(t)
	defer shut(t, e)
	tests := []struct {
		name    string
		service pipeline.Service
		want    string
	}{
		{"ends", pipeline.Service{Command: []string{"sh", "-c", "echo no disk; exit 3"}, Port: 1}, "it ended with exit status 3"},
		{"does not listen", pipeline.Service{Command: []string{"sh", "-c", "echo no disk; sleep 600"}, Port: 8080}, "nothing listens on port 8080 after 1s"},
		{"listens for itself", pipeline.Service{Command: []string{"sh", "-c", "echo no disk; exec httpd -f -p 127.0.0.1:8080"}, Port: 8080}, "nothing listens on port 8080 after 1s"},
		{"is not healthy", pipeline.Service{Command: []string{"sh", "-c", "echo no disk; sleep 600"}, Health: "false"}, "its health command did not succeed within 1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.service
			s.Name, s.Image, s.ReadyTimeout = "db", image, time.Second
			b, sink := buildBeside(t, e, image, "echo begun", s)
			f := b.Failure
			if b.Status != pipeline.BuildFailed || f == nil || f.Phase != "PROVISIONING" || f.Code != "SERVICE_NOT_READY" ||
				f.Message != "The service db (image "+image+") is not ready: "+tt.want {
				t.Errorf("got %s, %+v", b.Status, f)
			}
			if text := sink.Text(); !strings.Contains(text, "Last lines of service db:\nno disk\n") || strings.Contains(text, "begun") {
				t.Errorf("log:\n%s", text)
			}
		})
	}
	b, _ := buildBeside(t, e, image, "true", pipeline.Service{Name: "db", Image: "127.0.0.1:1/no/such:image"})
	if f := b.Failure; f == nil || f.Code != "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE" {
		t.Errorf("an image that can't be had: got %s, %+v", b.Status, f)
	}
}
