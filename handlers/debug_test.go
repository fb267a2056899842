package handlers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

// sessions are debugging sessions by build.
type sessions map[string]pipeline.Debugging

func (s sessions) OpenDebugging(_ context.Context, build string, d pipeline.Debugging) error {
	if _, ok := s[build]; ok {
		return pipeline.ErrConflict
	}
	s[build] = d
	return nil
}

func (s sessions) CloseDebugging(_ context.Context, build string) error {
	delete(s, build)
	return nil
}

func (s sessions) Debugging(_ context.Context, build string) (pipeline.Debugging, error) {
	if d, ok := s[build]; ok {
		return d, nil
	}
	return pipeline.Debugging{}, pipeline.ErrNotFound
}

func (s sessions) AddDebugFrames(context.Context, string, pipeline.DebugSide, []pipeline.DebugFrame) error {
	return nil
}

func (s sessions) DebugFrames(_ context.Context, build string, side pipeline.DebugSide, after string, wait time.Duration) (pipeline.DebugFrames, error) {
	return pipeline.DebugFrames{Frames: []pipeline.DebugFrame{{End: fmt.Sprint(side, after, wait)}}, Next: "2-0"}, nil
}

func TestWhoMayDebugWhat(t *testing.T) {
	open := sessions{"theirs": {By: "bob"}}
	s := handlerstest.New(t, func(o *handlers.Options) { o.Debugging = open })
	s.AddSamples(time.Now())
	stranger := pipeline.Execution{ID: "x-fork", Stages: []pipeline.StageExecution{{Name: "Build", Actions: []pipeline.ActionExecution{{Name: "Build", Attempt: 1}}}}}
	s.AddExecution(stranger)
	for id, b := range map[string]pipeline.Build{
		"fork":      {Execution: stranger.ID, Status: pipeline.BuildFailed, Stage: "Build", Action: "Build", Attempt: 1},
		"under-way": {Execution: stranger.ID, Status: pipeline.BuildInProgress},
		"theirs":    {Execution: stranger.ID, Status: pipeline.BuildInProgress},
	} {
		b.ID = id
		s.AddBuild(b)
	}
	failed, err := s.Build(t.Context(), handlerstest.FailedBuild)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := s.Execution(t.Context(), failed.Execution)
	if err != nil {
		t.Fatal(err)
	}
	trusted.ID, trusted.Board, trusted.Trigger.Trusted = "x-trusted", trusted.Board+"-alone", true
	s.AddExecution(trusted)
	failed.ID, failed.Execution = "failed", trusted.ID
	s.AddBuild(failed)
	older := failed
	older.ID, older.Attempt = "older", failed.Attempt-1
	s.AddBuild(older)

	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"a build that succeeded", "POST", handlerstest.GoodBuild + "/debug", "{}", 409, "no command of it failed"},
		{"one under way", "POST", "under-way/debug", "{}", 409, "has not ended"},
		{"one of a stranger", "POST", "fork/debug", "{}", 403, "stranger's commit"},
		{"one that was repeated", "POST", "older/debug", "{}", 409, "look into the latest attempt"},
		{"one that isn't there", "POST", "nothing/debug", "{}", 404, "not-found"},
		{"one that failed", "POST", "failed/debug", `{"tty":true}`, 202, `"build":"`},
		{"twice", "POST", "failed/debug", `{}`, 409, ""},
		{"reading in somebody else's session", "GET", "theirs/debug/output", "", 403, "somebody else's"},
		{"typing in it", "POST", "theirs/debug/input", `{"frames":[]}`, 403, "somebody else's"},
		{"reading where there is none", "GET", "under-way/debug/output", "", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := answer(t, request(t, tt.method, s.URL+"/api/v1/builds/"+tt.path, admin, sending(tt.body)))
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("got %d %s, want %d %s", status, body, tt.status, tt.want)
			}
		})
	}

	retry := pipeline.BuildID(trusted.ID, failed.Stage, failed.Action, failed.Attempt+1)
	if d := open[retry]; !d.TTY || d.By == "" {
		t.Errorf("the session of the retry is %+v", d)
	}
	events := s.Events()
	if len(events) != 1 {
		t.Fatalf("it was asked for %+v", events)
	}
	if e := events[0]; e.Type != pipeline.RetryRequested || e.Execution != trusted.ID || e.Stage != failed.Stage {
		t.Errorf("it was asked for %+v", e)
	}
	failed.ID = retry
	s.AddBuild(failed)
	status, _, body := answer(t, request(t, "GET", s.URL+"/api/v1/builds/"+retry+"/debug/output?after=1-0&wait=7", admin))
	if status != 200 || !strings.Contains(body, `"out1-07s"`) {
		t.Errorf("reading: got %d %s", status, body)
	}
	before := noted(t, s)
	if status, _, body := answer(t, request(t, "POST", s.URL+"/api/v1/builds/"+retry+"/debug/input", admin, sending(`{"frames":[{"data":"bHMK"}]}`))); status != 204 {
		t.Errorf("typing: got %d %s", status, body)
	}
	if after := noted(t, s); after != before {
		t.Errorf("what is typed is in the audit log: %d entries, want %d", after, before)
	}
}

func TestNobodyDebugsWhereItIsOff(t *testing.T) {
	s := handlerstest.New(t)
	s.AddSamples(time.Now())
	status, _, body := answer(t, request(t, "POST", s.URL+"/api/v1/builds/"+handlerstest.FailedBuild+"/debug", admin, sending("{}")))
	if status != 403 || !strings.Contains(body, "limits.debug is 0") {
		t.Errorf("got %d %s", status, body)
	}
}

func noted(t *testing.T, s *handlerstest.Server) int {
	t.Helper()
	log, err := s.Audit(t.Context(), 200, "")
	if err != nil {
		t.Fatal(err)
	}
	return len(log.Items)
}
