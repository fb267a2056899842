package host_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// watched is an engine that tells when a build is killed.
type watched struct {
	runner.Engine
	killed chan struct{}
}

func (w watched) Start(ctx context.Context, s runner.Spec) (runner.Container, error) {
	c, err := w.Engine.Start(ctx, s)
	return watchedContainer{c, w.killed}, err
}

type watchedContainer struct {
	runner.Container
	killed chan struct{}
}

func (w watchedContainer) Kill(ctx context.Context) error {
	err := w.Container.Kill(ctx)
	close(w.killed)
	return err
}

// stuck is a sink that takes nothing more, once commands run, until the build
// has been killed.
type stuck struct {
	runnertest.Sink
	begun  func()
	killed chan struct{}
	late   bool
}

func (s *stuck) Log(p []byte) error {
	err := s.Sink.Log(p)
	if !strings.Contains(s.Text(), "\nbegun\n") {
		return err
	}
	s.begun()
	select {
	case <-s.killed:
	case <-time.After(30 * time.Second):
		s.late = true
	}
	return err
}

// The server may be away when a build's time is over, and its log full.
func TestTimeLimitHoldsWhileTheLogIsStuck(t *testing.T) {
	testenv.Need(t, "git")
	e := host.New(host.Options{Env: environment(t, append(tools, "sh")...)})
	defer closeEngine(t, e)
	w := watched{e, make(chan struct{})}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	sink := &stuck{killed: w.killed, begun: func() { cancel(pipeline.ErrTimedOut) }}
	o := runnertest.Order(runnertest.Repo(t, map[string]string{
		"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands: [\"trap '' TERM; echo begun; while :; do sleep 1; done\"]\n",
	}))
	b, _ := runner.Run(ctx, runnertest.Setup{Engine: w}.Options(t), o, sink)
	if b.Status != pipeline.BuildTimedOut || sink.late {
		t.Errorf("got %s, killed in time: %t", b.Status, !sink.late)
	}
}

// C48: the clock starts with PROVISIONING, wherever it finds the build.
func TestTimeLimitOfTheOrder(t *testing.T) {
	testenv.Need(t, "git")
	e := host.New(host.Options{Env: environment(t, append(tools, "sh")...)})
	defer closeEngine(t, e)
	o := runnertest.Order(runnertest.Repo(t, map[string]string{
		"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands: [sleep 600]\n",
	}))
	o.Timeout = time.Second
	b, outcome := runner.Run(t.Context(), runnertest.Setup{Engine: e}.Options(t), o, &runnertest.Sink{})
	if b.Status != pipeline.BuildTimedOut || outcome.Code != "BUILD_TIMED_OUT" {
		t.Errorf("got %s, %s", b.Status, outcome.Code)
	}
}
