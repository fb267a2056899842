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

// worker runs a Worker on this host until the test ends it.
func worker(t *testing.T, c *runnertest.Control, drain time.Duration) (stop func()) {
	t.Helper()
	testenv.Need(t, "git")
	e := host.New(host.Options{Env: environment(t, append(tools, "sh")...)})
	w := runner.NewWorker(runner.WorkerOptions{
		Control: c, Worker: pipeline.Worker{ID: "w", Name: "test", Slots: 2}, Wait: time.Second, Drain: drain,
		Build: runnertest.Setup{Engine: e}.Options(t),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		closeEngine(t, e)
	}
}

func order(t *testing.T, id, commands string) pipeline.BuildOrder {
	t.Helper()
	o := runnertest.Order(runnertest.Repo(t, map[string]string{"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n" + commands}))
	o.ID = id
	return o
}

func TestWorkerRunsBuildsAndSurvivesLostAnswers(t *testing.T) {
	c := runnertest.NewControl(300 * time.Millisecond)
	stop := worker(t, c, time.Minute)
	c.Fail(3)
	c.Add(order(t, "one", "      - echo first\n      - 'i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; i=$((i+1)); done'\n"))
	c.Add(order(t, "two", "      - exit 3\n"))
	for range 2 {
		<-c.Completed()
	}
	stop()
	b, o, log := c.Result("one")
	if o.Status != pipeline.BuildSucceeded || b.Execution != "e-one" || int64(len(log)) != b.LogBytes {
		t.Errorf("got %s, execution %q, a log of %d bytes, want %d", o.Status, b.Execution, len(log), b.LogBytes)
	}
	if strings.Count(log, "\nline ") != 3000 {
		t.Errorf("log has %d lines of the command", strings.Count(log, "\nline "))
	}
	if _, o, _ := c.Result("two"); o.Status != pipeline.BuildFailed {
		t.Errorf("got %s", o.Status)
	}
}

func TestWorkerStopsWhenTold(t *testing.T) {
	c := runnertest.NewControl(300 * time.Millisecond)
	stop := worker(t, c, time.Minute)
	seen := c.Seen("one", "\nbegun\n")
	c.Add(order(t, "one", "      - echo begun; sleep 100\n"))
	<-seen // so the log is live
	c.Stop("one")
	<-c.Completed()
	stop()
	if _, o, _ := c.Result("one"); o.Status != pipeline.BuildStopped {
		t.Errorf("got %s", o.Status)
	}
}

func TestWorkerLetsGoOfALostJob(t *testing.T) {
	c := runnertest.NewControl(300 * time.Millisecond)
	stop := worker(t, c, time.Minute)
	seen := c.Seen("one", "\nbegun\n")
	c.Add(order(t, "one", "      - echo begun; sleep 100\n"))
	<-seen
	c.Revoke("one")
	stop() // returns long before the sleep and the drain limit are over
	if _, o, _ := c.Result("one"); o.Status != "" {
		t.Errorf("a stale job was completed as %s", o.Status)
	}
}

func TestWorkerDrains(t *testing.T) {
	c := runnertest.NewControl(300 * time.Millisecond)
	stop := worker(t, c, time.Minute)
	seen := c.Seen("one", "\nbegun\n")
	c.Add(order(t, "one", "      - echo begun; sleep 1; echo finished\n"))
	<-seen
	stop()
	if _, o, _ := c.Result("one"); o.Status != pipeline.BuildSucceeded {
		t.Errorf("got %s", o.Status)
	}
}

func TestWorkerGivesUpAfterTheDrainLimit(t *testing.T) {
	c := runnertest.NewControl(300 * time.Millisecond)
	stop := worker(t, c, -1)
	seen := c.Seen("one", "\nbegun\n")
	c.Add(order(t, "one", "      - echo begun; sleep 100\n"))
	<-seen
	stop()
	if _, o, _ := c.Result("one"); o.Status != "" {
		t.Errorf("got %s, want the lease to pass", o.Status)
	}
}
