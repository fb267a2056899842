package host_test

import (
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

func TestNoServicesOnTheHost(t *testing.T) {
	testenv.Need(t, "git")
	e := host.New(host.Options{})
	defer closeEngine(t, e)
	order := runnertest.Order(runnertest.Repo(t, map[string]string{"buildspec.yml": "version: 0.2\n"}))
	order.Services = []pipeline.Service{{Name: "db", Image: "postgres"}}
	b, _ := runner.Run(t.Context(), runnertest.Setup{Engine: e}.Options(t), order, &runnertest.Sink{})
	if f := b.Failure; b.Status != pipeline.BuildFailed || f == nil || f.Code != "SERVICE_NOT_READY" || !strings.Contains(f.Message, "the host engine has no containers") {
		t.Errorf("got %s, %+v", b.Status, f)
	}
}
