package handlers_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

func agentOf(_ context.Context, token string) (string, error) {
	if name, ok := strings.CutPrefix(token, "sla_"); ok {
		return name, nil
	}
	return "", pipeline.ErrNotFound
}

func TestFleetAPI(t *testing.T) {
	f := handlerstest.NewFleet(time.Now())
	s := handlerstest.New(t, func(o *handlers.Options) {
		o.Fleet, o.Agents, o.AgentControl, o.Access.Agent = f, f, o.Control, agentOf
	})
	s.AddJob(pipeline.Assignment{Job: pipeline.Job{ID: "d-1.web-1", Kind: pipeline.DeployJob, Labels: "d-1", Compute: "web-1", Token: 1}})
	s.AddSamples(time.Now())
	const claim = `{"id":"p","name":"web-2","kind":"deploy","classes":[],"slots":1}`
	part := "/agent/jobs/d-1.web-1/renew?fence=1&class=deploy%7Cd-1%7Cweb-1"
	tests := []struct {
		name, method, path, token, body string
		want                            int
		holds                           string
	}{
		{"the list", "GET", "/deployments", handlerstest.AdminToken, "", 200, `"counts":{"InProgress":1,"Pending":1,"Succeeded":1}`},
		{"of a group", "GET", "/deployments?group=db", handlerstest.AdminToken, "", 200, `"items":[]`},
		{"a wrong limit", "GET", "/deployments?limit=0", handlerstest.AdminToken, "", 400, "limit"},
		{"one with its instances", "GET", "/deployments/d-1", handlerstest.AdminToken, "", 200, `"name":"Install"`},
		{"a record without a fleet's deployment", "GET", "/deployments/" + handlerstest.GoodDeployment, handlerstest.AdminToken, "", 200, `"status":"Succeeded"`},
		{"none", "GET", "/deployments/d-7", handlerstest.AdminToken, "", 404, "not-found"},
		{"a stop", "POST", "/deployments/d-1/stop", handlerstest.AdminToken, `{"reason":"too late"}`, 202, `"id":"d-1"`},
		{"a stop of what has ended", "POST", "/deployments/d-9/stop", handlerstest.AdminToken, "", 409, "has ended"},
		{"a rollback", "POST", "/deployments/d-1/rollback", handlerstest.AdminToken, "", 202, `"rollback_of":"d-1"`},
		{"a rollback to nothing", "POST", "/deployments/d-9/rollback", handlerstest.AdminToken, "", 422, "nothing to go back to"},
		{"a rollback by an agent", "POST", "/deployments/d-1/rollback", "sla_web-1", "", 403, ""},
		{"agents", "GET", "/agents", handlerstest.AdminToken, "", 200, `"name":"web-2"`},
		{"a token", "POST", "/agents/tokens", handlerstest.AdminToken, `{"tags":{"env":"prod"}}`, 201, `"expires_at":"1970-01-01T01:00:00Z"`},
		{"a token for too long", "POST", "/agents/tokens", handlerstest.AdminToken, `{"seconds":99999999}`, 422, "seconds"},
		{"a token for an agent", "POST", "/agents/tokens", "sla_web-1", "", 403, ""},
		{"registering needs no sign-in", "POST", "/agent/register", "", `{"registration":"slo_once","name":"web-3"}`, 201, "web-3"},
		{"registering by a wrong token", "POST", "/agent/register", "", `{"registration":"slo_x","name":"web-3"}`, 401, "not good"},
		{"registering a name that is taken", "POST", "/agent/register", "", `{"registration":"slo_once","name":"web-1"}`, 409, "web-1"},
		{"removing", "DELETE", "/agents/web-1", handlerstest.AdminToken, "", 204, ""},
		{"removing nobody", "DELETE", "/agents/web-9", handlerstest.AdminToken, "", 404, ""},
		{"an admin claims nothing", "POST", "/agent/claim", handlerstest.AdminToken, claim, 403, "own token"},
		{"a shared token claims nothing", "POST", "/agent/claim", handlerstest.AgentToken, claim, 403, "own token"},
		{"an agent claims", "POST", "/agent/claim", "sla_web-1", claim, 200, `"d-1.web-1"`},
		{"another's part", "POST", part, "sla_web-2", "", 403, ""},
		{"an admin speaks for no agent", "POST", part, handlerstest.AdminToken, "", 403, ""},
		{"its own part", "POST", part, "sla_web-1", "", 200, "lease"},
		{"an agent claims no build", "POST", "/runner/claim", "sla_web-1", claim, 403, ""},
		{"nobody's token", "POST", "/agent/claim", "slx_web-1", claim, 401, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := ask(t, s.URL+"/api/v1"+tt.path, tt.method, tt.token, tt.body)
			if status != tt.want || !strings.Contains(body, tt.holds) {
				t.Errorf("got %d %s, want %d with %s", status, body, tt.want, tt.holds)
			}
			if strings.Contains(body, `"told"`) {
				t.Error("the answer has what only servers tell each other")
			}
		})
	}
	if stopped, undone := f.Said(); stopped != "stopped by admin: too late" || undone != "admin" {
		t.Errorf("it was stopped because %q and undone by %q, want admin in both", stopped, undone)
	}
}

// ask sends a request and answers with the status and the body, as compact
// JSON where it is JSON.
func ask(t *testing.T, address, method, bearer, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v json.RawMessage
	if json.Unmarshal(data, &v) == nil {
		return answer.StatusCode, string(v)
	}
	return answer.StatusCode, string(data)
}
