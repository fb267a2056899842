package handlers_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

// asking is an execution that waits for an approval.
func asking(id, token string) pipeline.Execution {
	return pipeline.Execution{
		ID: id, Board: "b", Number: 3, Status: pipeline.InProgress, Pipeline: pipeline.Pipeline{Name: "web"},
		Stages: []pipeline.StageExecution{{Name: "Prod", Status: pipeline.InProgress, Actions: []pipeline.ActionExecution{
			{Name: "ok", Status: pipeline.InProgress, Attempt: 1, Approval: &pipeline.ApprovalState{
				Token: token, Message: "Ship it?", Approvers: []string{"octo/release"}, Expires: time.Now().Add(time.Hour),
			}},
			{Name: "b", Status: pipeline.InProgress, Attempt: 1, Job: "j"},
		}}},
	}
}

// sending gives the request a body.
func sending(body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
	}
}

func TestApprovalsByAPI(t *testing.T) {
	s := handlerstest.New(t)
	s.AddExecution(asking("x", "t1"))
	answered := asking("y", "t2")
	answered.Stages[0].Actions[0].Approval.AnsweredBy = "ann"
	answered.Stages[0].Actions[0].Status = pipeline.Succeeded
	s.AddExecution(answered)
	named := `{"stage":"Prod","action":"ok","token":"%s"}`
	for _, test := range []struct {
		path, body, code string
		status           int
	}{
		{"x/approve", `{"message":"fine"}`, "", 202},
		{"x/reject", fmt.Sprintf(named, "t1"), "", 202},
		{"x/approve", fmt.Sprintf(named, "wrong"), "InvalidApprovalToken", 409},
		{"x/approve", `{"action":"nope","stage":"Prod","token":"t1"}`, "ActionNotFound", 422},
		{"x/approve", `{"action":"nope"}`, "InvalidApprovalToken", 409},
		{"x/approve", `{"message":"` + strings.Repeat("m", 513) + `"}`, "ValidationException", 422},
		{"y/approve", fmt.Sprintf(named, "t2"), "ApprovalAlreadyCompleted", 409},
		{"nope/approve", `{}`, "not-found", 404},
	} {
		status, _, body := answer(t, request(t, "POST", s.URL+"/api/v1/executions/"+test.path, admin, sending(test.body)))
		if status != test.status || !strings.Contains(body, test.code) {
			t.Errorf("%s %s: got %d %s, want %d %s", test.path, test.body, status, body, test.status, test.code)
		}
	}
	events := s.Events()
	if len(events) != 2 {
		t.Fatalf("got %d events", len(events))
	}
	if e := events[0]; e.Type != pipeline.ApprovalGiven || !e.Enable || e.Token != "t1" || e.Stage != "Prod" || e.Action != "ok" || e.By != "admin" || e.Reason != "fine" || e.Denied != "" {
		t.Errorf("approval %+v", e)
	}
	if events[1].Enable {
		t.Error("a rejection approves")
	}
}

func TestPipelinesByAPI(t *testing.T) {
	s := handlerstest.New(t)
	s.AddExecution(asking("x", "t1"))
	s.ChangeBoard(&pipeline.Board{
		V: 1, Key: "b", Pipeline: "web", Mode: pipeline.SupersededMode, Order: []string{"Prod", "After"}, Live: map[string]*pipeline.Execution{},
		Stages: map[string]*pipeline.StageState{
			"Prod":  {Holder: "x", Last: "x", LastNumber: 3, LastStatus: pipeline.InProgress},
			"After": {Disabled: "freeze", ChangedBy: "ann"},
		},
	})
	for _, path := range []string{"/pipelines", "/pipelines/b"} {
		status, _, body := answer(t, request(t, "GET", s.URL+"/api/v1"+path, admin))
		for _, want := range []string{`"holder":{"id":"x","number":3`, `"message":"Ship it?"`, `"enabled":false,"reason":"freeze"`, `"latest":{"id":"x"`} {
			if status != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d, no %s in %s", path, status, want, body)
			}
		}
	}
	for _, test := range []struct {
		path, body, code string
		status           int
	}{
		{"b/stages/Prod/transition", `{"enabled":false,"reason":"freeze"}`, "", 202},
		{"b/stages/After/transition", `{"enabled":true}`, "", 202},
		{"b/stages/Prod/transition", `{"enabled":false}`, "ValidationException", 422},
		{"b/stages/Nope/transition", `{"enabled":true}`, "StageNotFound", 422},
		{"nope/stages/Prod/transition", `{"enabled":true}`, "not-found", 404},
		{"b/stages/Prod/rollback", `{"target":"x"}`, "UnableToRollbackStage", 409},
		{"b/stages/Prod/rollback", `{"target":"nope"}`, "not-found", 404},
	} {
		status, _, body := answer(t, request(t, "POST", s.URL+"/api/v1/pipelines/"+test.path, admin, sending(test.body)))
		if status != test.status || !strings.Contains(body, test.code) {
			t.Errorf("%s %s: got %d %s, want %d %s", test.path, test.body, status, body, test.status, test.code)
		}
	}
	events := s.Events()
	if len(events) != 2 || events[0].Type != pipeline.TransitionFlips || events[0].Reason != "freeze" || events[0].Board != "b" || !events[1].Enable {
		t.Errorf("events %+v", events)
	}
}

func TestStopAndRetryModes(t *testing.T) {
	s := handlerstest.New(t)
	s.AddExecution(asking("x", "t1"))
	stopping := asking("y", "t2")
	stopping.Status, stopping.Stop = pipeline.Stopping, pipeline.StopWait
	s.AddExecution(stopping)
	for _, test := range []struct {
		path, body, code string
		status           int
	}{
		{"x/stop", `{"mode":"wait"}`, "", 202},
		{"x/stop", `{"mode":"perhaps"}`, "ValidationException", 422},
		{"x/stop", `{"reason":"` + strings.Repeat("r", 201) + `"}`, "ValidationException", 422},
		{"y/stop", `{"mode":"wait"}`, "DuplicatedStopRequest", 409},
		{"y/stop", `{"mode":"abandon"}`, "", 202},
		{"x/retry", `{"stage":"Prod","mode":"ALL_ACTIONS"}`, "StageNotRetryable", 409},
		{"x/retry", `{"stage":"Prod","mode":"SOME"}`, "ValidationException", 422},
	} {
		status, _, body := answer(t, request(t, "POST", s.URL+"/api/v1/executions/"+test.path, admin, sending(test.body)))
		if status != test.status || !strings.Contains(body, test.code) {
			t.Errorf("%s %s: got %d %s, want %d %s", test.path, test.body, status, body, test.status, test.code)
		}
	}
}
