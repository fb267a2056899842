package handlers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/pipeline"
)

// TestApproversOfAnEnvironment: who may write still can't answer for an
// environment that names others, nor roll back what is in it.
func TestApproversOfAnEnvironment(t *testing.T) {
	s := people(t, func(o *handlers.Options) {
		o.Access.Environment = func(_ forge.Repo, name string) pipeline.Environment {
			if name != "production" {
				return pipeline.Environment{}
			}
			return pipeline.Environment{Approvers: []string{"@Lead", "octo/release"}, PreventSelfReview: true}
		}
	})
	for _, who := range []string{"lead", "writer", "starter"} {
		s.Allow(who, "harbour/crane", forge.Write)
	}
	gate := func(id, environment string) {
		x := pipeline.Execution{
			V: 1, ID: id, Board: "github.42.release.default", Repo: forge.Repo{Forge: "github", ID: "42", Owner: "harbour", Name: "crane"}, Status: pipeline.InProgress,
			Trigger:  pipeline.Trigger{Actor: forge.User{ID: "id-lead2", Login: "lead"}},
			Pipeline: pipeline.Pipeline{Name: "release", Stages: []pipeline.Stage{{Name: "Live", Environment: environment, Actions: []pipeline.Action{{Name: "ask", Category: pipeline.Approval}}}}},
			Stages: []pipeline.StageExecution{{Name: "Live", Status: pipeline.InProgress, Actions: []pipeline.ActionExecution{{
				Name: "ask", Status: pipeline.InProgress, Approval: &pipeline.ApprovalState{Token: "t", Expires: time.Now().Add(time.Hour)},
			}}}},
		}
		s.AddExecution(x)
	}
	gate("open", "")
	gate("guarded", "production")
	tests := []struct {
		who, execution string
		refused        bool
	}{{"writer", "open", false}, {"writer", "guarded", true}, {"lead", "guarded", false}}
	for _, tt := range tests {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v1/executions/"+tt.execution+"/approve", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", s.URL)
		resp, body := visit(t, signInAs(t, s, tt.who), r)
		if refused := strings.Contains(body, "only approvers"); refused != tt.refused {
			t.Errorf("%s approves %s: %d %s", tt.who, tt.execution, resp.StatusCode, body)
		}
	}
	body, err := json.Marshal(map[string]string{"target": "guarded"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v1/pipelines/github.42.release.default/stages/Live/rollback", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	token(makeToken(t, s, `{"name":"w","role":"write"}`))(r)
	if status, _, body := answer(t, r); status != 403 || !strings.Contains(body, "may deploy to production") {
		t.Errorf("a token rolls back: %d %s", status, body)
	}
}

// TestApproversOfAnAction: neither the author nor a token can approve what wants
// somebody else.
func TestApproversOfAnAction(t *testing.T) {
	s := people(t)
	for _, who := range []string{"writer", "lead"} {
		s.Allow(who, "harbour/crane", forge.Write)
	}
	x := asking("x", "t1")
	x.Repo = forge.Repo{Forge: "github", ID: "42", Owner: "harbour", Name: "crane"}
	x.Trigger.Actor = forge.User{ID: "id-writer", Login: "writer"}
	x.Stages[0].Actions[0].Approval.Approvers, x.Stages[0].Actions[0].Approval.ForbidAuthor = nil, true
	s.AddExecution(x)
	for _, tt := range []struct {
		who, answer string
		want        int
	}{{"writer", "approve", 403}, {"writer", "reject", 202}, {"lead", "approve", 202}} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v1/executions/x/"+tt.answer, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", s.URL)
		resp, body := visit(t, signInAs(t, s, tt.who), r)
		if resp.StatusCode != tt.want {
			t.Errorf("%s, %s: %d %s, want %d", tt.who, tt.answer, resp.StatusCode, body, tt.want)
		}
	}
}
