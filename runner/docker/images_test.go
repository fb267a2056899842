package docker_test

import (
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

const (
	registryPassword = "SLIPWAY_TEST_REGISTRY_PASSWORD"
	registryHost     = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
)

// TestRegistry makes this test binary a registry that asks for a login.
func TestRegistry(t *testing.T) {
	password := os.Getenv(registryPassword)
	if password == "" {
		return // the test below runs this one in a container
	}
	serve := registry.New(registry.Logger(log.New(os.Stderr, "", 0)))
	t.Fatal(http.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, given, _ := r.BasicAuth(); user != "AWS" || given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serve.ServeHTTP(w, r)
	})))
}

// imageSpec is the build of an image as AWS documents it. What follows the push
// pulls the image back.
const imageSpec = `version: 0.2
phases:
  pre_build:
    commands:
      - aws ecr get-login-password --region $AWS_DEFAULT_REGION | docker login --username AWS --password-stdin $AWS_ACCOUNT_ID.dkr.ecr.$AWS_DEFAULT_REGION.amazonaws.com
  build:
    commands:
      - docker build -t $IMAGE_REPO_NAME:$IMAGE_TAG .
      - docker tag $IMAGE_REPO_NAME:$IMAGE_TAG $AWS_ACCOUNT_ID.dkr.ecr.$AWS_DEFAULT_REGION.amazonaws.com/$IMAGE_REPO_NAME:$IMAGE_TAG
  post_build:
    commands:
      - docker push $AWS_ACCOUNT_ID.dkr.ecr.$AWS_DEFAULT_REGION.amazonaws.com/$IMAGE_REPO_NAME:$IMAGE_TAG
      - NAME=$AWS_ACCOUNT_ID.dkr.ecr.$AWS_DEFAULT_REGION.amazonaws.com/$IMAGE_REPO_NAME:$IMAGE_TAG
      - MADE=$(docker image inspect --format '{{.Id}}' $NAME)
      - docker image rm $NAME $IMAGE_REPO_NAME:$IMAGE_TAG && ! docker image inspect $MADE
      - mv ~/.docker ~/.docker-away && ! docker pull $NAME && mv ~/.docker-away ~/.docker
      - docker pull $NAME && test "$(docker image inspect --format '{{.Id}}' $NAME)" = "$MADE"
      - docker cp $(docker create $NAME x):/page pulled && cmp page pulled && echo the same
`

// A build makes an image and pushes it to a registry that asks for a login,
// with an engine of its own beside it.
func TestImageIsBuiltAndPushed(t *testing.T) {
	testenv.Need(t, "root")
	image := runnertest.DockerImage(t)
	e := openForEngines(t)
	defer shut(t, e)
	password := pipeline.Variable{Name: registryPassword, Value: "sesame-opens-it", Secret: true}
	o := runnertest.Order(runnertest.Repo(t, map[string]string{
		"buildspec.yml": imageSpec, "page": "hello\n", "Dockerfile": "FROM scratch\nCOPY page /page\nCMD [\"/page\"]\n",
	}))
	o.Image, o.Timeout = image, 5*time.Minute
	o.BuiltIn = []pipeline.Variable{{Name: "AWS_DEFAULT_REGION", Value: "local"}} // which the project's overrides
	for name, value := range map[string]string{
		"AWS_ACCOUNT_ID": "123456789012", "AWS_DEFAULT_REGION": "eu-central-1", "IMAGE_REPO_NAME": "octo/shop", "IMAGE_TAG": "v1",
	} {
		o.Variables = append(o.Variables, pipeline.Variable{Name: name, Value: value})
	}
	o.Variables = append(o.Variables, pipeline.Variable{Name: "REGISTRY_PASSWORD", Value: password.Value, Secret: true})
	o.Services = []pipeline.Service{
		{
			Name: "docker", Image: image, Engine: true, Port: 2375, ReadyTimeout: 3 * time.Minute,
			Command: []string{
				"dockerd", "--host=unix:///var/run/docker.sock", "--host=tcp://0.0.0.0:2375", "--tls=false",
				"--storage-driver=vfs", "--bridge=none", "--iptables=false", "--insecure-registry=" + registryHost,
			},
		},
		{
			Name: registryHost, Image: runnertest.TestBinaryImage(t, "slipway-test-registry"), Port: 80, ReadyTimeout: 3 * time.Minute,
			Command: []string{"/test", "-test.run=^TestRegistry$", "-test.timeout=10m"}, Variables: []pipeline.Variable{password},
		},
	}
	sink := &runnertest.Sink{}
	b, _ := runner.Run(t.Context(), runnertest.Setup{Engine: e, Temp: e.Temp()}.Options(t), o, sink)
	text := sink.Text()
	if b.Status != pipeline.BuildSucceeded || !strings.Contains(text, "\nthe same\n") || strings.Contains(text, password.Value) {
		t.Errorf("got %s:\n%s", b.Status, text)
	}
}

// openForEngines gives containers of engines what they need; the rest of what
// privileged means can't be had on every machine.
func openForEngines(t *testing.T) *docker.Engine {
	t.Helper()
	e, err := docker.Open(t.Context(), docker.Options{
		Data: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Capabilities: []string{"SYS_ADMIN", "NET_ADMIN", "MKNOD"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A privileged build finds the engine of its image started, and another one
// doesn't, and is told what to do.
func TestPrivilegedBuildHasAnEngine(t *testing.T) {
	testenv.Need(t, "root")
	image := runnertest.DockerImage(t)
	e := openForEngines(t)
	defer shut(t, e)
	for _, privileged := range []bool{true, false} {
		o := runnertest.Order(runnertest.Repo(t, map[string]string{
			"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands: [docker build -t x . && docker tag x y && docker image inspect y]\n",
			"Dockerfile":    "FROM scratch\nCOPY Dockerfile /made\n",
		}))
		o.Image, o.Privileged, o.Timeout = image, privileged, 5*time.Minute
		sink := &runnertest.Sink{}
		b, _ := runner.Run(t.Context(), runnertest.Setup{Engine: e, Temp: e.Temp()}.Options(t), o, sink)
		hint := strings.Contains(sink.Text(), "Hint: a build has a Docker engine if its project on the server says docker or privileged")
		if want := map[bool]pipeline.BuildStatus{true: pipeline.BuildSucceeded, false: pipeline.BuildFailed}[privileged]; b.Status != want || hint == privileged {
			t.Errorf("privileged %t: got %s:\n%s", privileged, b.Status, sink.Text())
		}
	}
}
