package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

func admin(r *http.Request) { r.Header.Set("Authorization", "Bearer "+handlerstest.AdminToken) }

// TestShapes holds the answers to the names that scripts rely on (design,
// section 8).
func TestShapes(t *testing.T) {
	s := handlerstest.New(t, func(o *handlers.Options) { o.ExternalURL = "http://localhost:8080" })
	s.AddSamples(time.Now())
	tests := []struct {
		path string
		keys string // that the object, or a list's first item, must have
	}{
		{"/executions", "id forge repo pipeline status trigger sha ref created_at started_at url"},
		{"/executions?status=Failed", "ended_at"},
		{"/executions/" + handlerstest.FailedExecution, "id status stages stages.actions stages.actions.build stages.actions.status stages.actions.started_at stages.actions.error.code"},
		{"/executions/" + handlerstest.GoodExecution, "stages.actions.deployment stages.started_at stages.ended_at"},
		{"/builds/" + handlerstest.GoodBuild, "status phases.type phases.status phases.start_time phases.end_time artifacts.name artifacts.digest url"},
		{"/builds/" + handlerstest.FailedBuild, "phases.contexts.status_code phases.contexts.message failure.command"},
		{"/deployments/" + handlerstest.GoodDeployment, "status phases.type deployment group"},
		{"/deliveries?forge=github", "id event received_at verdict executions"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			status, _, body := answer(t, request(t, "GET", s.URL+"/api/v1"+tt.path, admin))
			var v any
			if err := json.Unmarshal([]byte(body), &v); err != nil || status != 200 {
				t.Fatalf("got %d, %v", status, err)
			}
			if page, ok := v.(map[string]any)["items"].([]any); ok {
				v = page[0]
			}
			for key := range strings.FieldsSeq(tt.keys) {
				if !has(v, strings.Split(key, ".")) {
					t.Errorf("%s is missing in %s", key, body)
				}
			}
		})
	}
}

// has looks a path up in any element of lists on the way.
func has(v any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		inner, ok := v[path[0]]
		return ok && has(inner, path[1:])
	case []any:
		for _, item := range v {
			if has(item, path) {
				return true
			}
		}
	}
	return false
}

// TestOpenAPI holds real answers to the document that describes them.
func TestOpenAPI(t *testing.T) {
	s := handlerstest.New(t)
	s.AddSamples(time.Now())
	s.AddDead(handlers.DeadLetter{ID: "1", Queue: "event", Reason: "x", FailedAt: time.Now()})
	s.AddJob(pipeline.Assignment{Job: pipeline.Job{ID: "j", Kind: pipeline.BuildJob}, Build: &pipeline.BuildOrder{}})
	_, _, text := answer(t, request(t, "GET", s.URL+"/api/v1/openapi.json"))
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	ref := "/runner/jobs/j"
	calls := []struct{ method, path, body, media string }{
		{"POST", "/runner/claim?wait=1", `{"id":"w","name":"n","kind":"build","classes":["build||"],"slots":1}`, "application/json"},
		{"POST", ref + "/renew?class=build%7C%7C&fence=0", "", ""},
		{"POST", ref + "/log?class=build%7C%7C&fence=0&offset=0", "x\n", "application/octet-stream"},
		{"PUT", ref + "/artifacts?class=build%7C%7C&fence=0&name=a", "x", "application/octet-stream"},
		{"POST", ref + "/renew?class=build%7C%7C&fence=9", "", ""},
		{"GET", "/executions?limit=1", "", ""}, {"GET", "/executions?limit=1000", "", ""},
		{"GET", "/executions/" + handlerstest.FailedExecution, "", ""}, {"GET", "/executions/nope", "", ""},
		{"POST", "/executions/" + handlerstest.RunningExecution + "/stop", `{"reason":"x"}`, "application/json"},
		{"POST", "/executions/" + handlerstest.FailedExecution + "/retry", `{}`, "application/json"},
		{"POST", "/executions/" + handlerstest.FailedExecution + "/rerun", "", ""},
		{"GET", "/builds/" + handlerstest.FailedBuild, "", ""}, {"GET", "/builds/" + handlerstest.FailedBuild + "/log?line=1240&lines=1", "", ""},
		{"GET", "/builds/" + handlerstest.FailedBuild + "/lines?from=1240&count=2", "", ""},
		{"GET", "/deployments/" + handlerstest.GoodDeployment, "", ""},
		{"GET", "/deliveries?limit=2", "", ""}, {"GET", "/deliveries/" + guid[:len(guid)-2] + "01", "", ""},
		{"GET", "/dead-letters", "", ""}, {"POST", "/dead-letters/1/replay", "", ""}, {"GET", "/workers", "", ""}, {"POST", "/sign-in", "", ""},
	}
	for _, c := range calls {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "http://localhost/api/v1"+c.path, strings.NewReader(c.body))
			admin(r)
			if c.media != "" {
				r.Header.Set("Content-Type", c.media)
			}
			w := httptest.NewRecorder()
			s.Handlers.ServeHTTP(w, r)
			route, params, err := router.FindRoute(httptest.NewRequest(c.method, "/api/v1"+c.path, nil))
			if err != nil {
				t.Fatal(err)
			}
			in := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
				Status:                 w.Code, Header: w.Header(),
			}
			in.SetBodyBytes(bytes.Clone(w.Body.Bytes()))
			if err := openapi3filter.ValidateResponse(t.Context(), in); err != nil {
				t.Errorf("%d: %v", w.Code, err)
			}
		})
	}
}

func TestLogParts(t *testing.T) {
	s := handlerstest.New(t)
	s.AddBuild(pipeline.Build{ID: "b", Status: pipeline.BuildSucceeded})
	s.AddBuild(pipeline.Build{ID: "new", Status: pipeline.BuildQueued})
	s.WriteLog("b", "one\ntwo\nthree\n", true)
	tests := []struct {
		name, path, span string
		status           int
		want             string
	}{
		{"all", "b", "", 200, "one\ntwo\nthree\n"},
		{"from a line", "b?line=2", "", 200, "two\nthree\n"},
		{"one line", "b?line=2&lines=1", "", 200, "two\n"},
		{"a line behind the end", "b?line=9", "", 200, ""},
		{"a range", "b", "bytes=4-6", 206, "two"},
		{"an open range", "b", "bytes=8-", 206, "three\n"},
		{"the last bytes", "b", "bytes=-6", 206, "three\n"},
		{"a range that ends too late", "b", "bytes=8-999", 206, "three\n"},
		{"a range behind the end", "b", "bytes=14-", 416, ""},
		{"two ranges", "b", "bytes=0-1,3-4", 416, ""},
		{"not a line", "b?line=x", "", 400, ""},
		{"no log yet", "new", "", 200, ""},
		{"no build", "nope", "", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, query, _ := strings.Cut(tt.path, "?")
			r := request(t, "GET", s.URL+"/api/v1/builds/"+id+"/log?"+query, admin)
			if tt.span != "" {
				r.Header.Set("Range", tt.span)
			}
			status, h, body := answer(t, r)
			if status != tt.status || status < 300 && body != tt.want {
				t.Errorf("got %d %q, want %d %q", status, body, tt.status, tt.want)
			}
			if status < 300 && h.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("type %q", h.Get("Content-Type"))
			}
		})
	}
}

// Attacks: 20.
func TestArtifactsAreDownloads(t *testing.T) {
	s := handlerstest.New(t)
	page := []byte("<script>alert(1)</script>")
	digest := s.AddArtifact(page)
	s.AddBuild(pipeline.Build{ID: "b", Artifacts: []pipeline.Artifact{{Name: "re\"port\r\n/..", Format: "html", Digest: digest, Bytes: int64(len(page))}}})
	status, h, body := answer(t, request(t, "GET", s.URL+"/api/v1/builds/b/artifacts/re%22port%0D%0A%2F..", admin))
	if status != 200 || body != string(page) {
		t.Fatalf("got %d %s", status, body)
	}
	disposition := h.Get("Content-Disposition")
	if !strings.HasPrefix(disposition, "attachment") || strings.ContainsAny(disposition, "/\r\n") || h.Get("Content-Type") != "application/octet-stream" ||
		!strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("ETag") != `"`+digest+`"` {
		t.Errorf("headers %v", h)
	}
}

func TestIdempotencyKey(t *testing.T) {
	s := handlerstest.New(t)
	s.AddExecution(pipeline.Execution{ID: "x", Status: pipeline.Failed})
	for range 3 {
		if status, _, body := answer(t, request(t, "POST", s.URL+"/api/v1/executions/x/rerun", admin, set("Idempotency-Key", "k1"))); status != 202 {
			t.Fatalf("got %d %s", status, body)
		}
	}
	if n := len(s.Events()); n != 1 {
		t.Errorf("got %d events", n)
	}
}

// What was done can't be done again; its repeat is answered as the first time,
// and another request with the key as one whose key is taken.
func TestIdempotencyKeyOfWhatIsDone(t *testing.T) {
	s := handlerstest.New(t)
	s.AddExecution(asking("x", "t1"))
	approve := func(key, body string) (status int, answered string) {
		t.Helper()
		status, _, answered = answer(t, request(t, "POST", s.URL+"/api/v1/executions/x/approve", admin, set("Idempotency-Key", key), sending(body)))
		return status, answered
	}
	status, first := approve("k1", `{"message":"fine"}`)
	if status != 202 {
		t.Fatalf("got %d %s", status, first)
	}
	done := asking("x", "t1")
	done.Stages[0].Actions[0].Status, done.Stages[0].Actions[0].Approval.AnsweredBy = pipeline.Succeeded, "ann"
	s.AddExecution(done)
	if again, same := approve("k1", `{"message":"fine"}`); again != 202 || same != first {
		t.Errorf("the repeat: got %d %s, want %s", again, same, first)
	}
	if status, body := approve("k1", `{"message":"no"}`); status != 422 || !strings.Contains(body, pipeline.ValidationException) {
		t.Errorf("another request: got %d %s", status, body)
	}
	for range 2 {
		if status, body := approve("k2", `{"message":"fine"}`); status != 409 || !strings.Contains(body, pipeline.InvalidApprovalToken) {
			t.Errorf("a key that is new: got %d %s, want the refusal", status, body)
		}
	}
}

func TestCase31StartAgain(t *testing.T) {
	s := handlerstest.New(t)
	s.AddGated(time.Now())
	start := func(body string) (status int, answered string) {
		t.Helper()
		status, _, answered = answer(t, request(t, "POST", s.URL+"/api/v1/pipelines/"+handlerstest.Gated+"/start", admin, set("Idempotency-Key", "t"), sending(body)))
		return status, answered
	}
	status, first := start(`{"variables": {"LEVEL": "debug"}}`)
	if again, same := start(`{"variables":{"LEVEL":"debug"}}`); status != 202 || again != 202 || same != first {
		t.Errorf("got %d %s, then %d %s, want the same event", status, first, again, same)
	}
	if status, body := start(`{"variables": {"LEVEL": "info"}}`); status != 422 || !strings.Contains(body, pipeline.ValidationException) {
		t.Errorf("other variables: got %d %s", status, body)
	}
	if n := len(s.Events()); n != 1 {
		t.Errorf("got %d events", n)
	}
}

func TestReadyz(t *testing.T) {
	hang := handlers.Check{Name: "hangs", Run: func(context.Context) error { select {} }}
	tests := []struct {
		name   string
		checks []handlers.Check
		want   int
	}{
		{"nothing to check", nil, 200},
		{"all well", []handlers.Check{{Name: "redis", Run: func(context.Context) error { return nil }}}, 200},
		{"one fails", []handlers.Check{{Name: "redis", Run: func(context.Context) error { return errors.New("dial 10.0.0.7") }}}, 503},
		{"one hangs", []handlers.Check{hang}, 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := handlerstest.New(t, func(o *handlers.Options) { o.Checks = tt.checks })
			status, _, body := answer(t, request(t, "GET", s.URL+"/readyz"))
			if status != tt.want || strings.Contains(body, "10.0.0.7") {
				t.Errorf("got %d %s", status, body)
			}
			s.Handlers.Drain()
			if status, _, _ := answer(t, request(t, "GET", s.URL+"/readyz")); status != 503 {
				t.Errorf("drained: got %d", status)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	s := handlerstest.New(t, func(o *handlers.Options) {
		handlerstest.NewFleet(time.Now()).With(o)
		o.Standing = func(context.Context) (handlers.Standing, error) {
			return handlers.Standing{
				Executions: map[pipeline.Status]int64{pipeline.InProgress: 2}, Inbox: handlers.Backlog{Waiting: 5, Oldest: 90 * time.Second}, BlobErrors: 3,
				Removed: pipeline.Removal{Logs: pipeline.Removed{Count: 7, Bytes: 700}}, LastPass: time.Unix(1000, 0),
			}, nil
		}
		o.QueueDepths = func(context.Context) (map[string]int64, error) { return map[string]int64{"build||": 3}, nil }
	})
	answer(t, delivery(t, s, push))
	answer(t, delivery(t, s, push))
	s.Handlers.ObserveBuild(pipeline.Build{Status: pipeline.BuildFailed, CreatedAt: time.Unix(-2, 0), StartedAt: time.Unix(0, 0), EndedAt: time.Unix(4, 0)})
	_, _, body := answer(t, request(t, "GET", s.URL+"/metrics", admin))
	for _, want := range []string{
		`slipway_webhooks_total{forge="github",verdict="queued"} 1`, `slipway_webhooks_total{forge="github",verdict="duplicate"} 1`,
		`slipway_webhook_secret_total{forge="github",secret="1"} 2`, `slipway_queue_depth{queue="build||"} 3`, `slipway_build_duration_seconds_sum{status="FAILED"} 4`,
		`slipway_webhook_duration_seconds_count{forge="github"} 2`, `slipway_build_wait_seconds_sum 2`,
		`slipway_executions{status="InProgress"} 2`, `slipway_deployments{status="Failed"} 1`, `slipway_backlog{what="inbox"} 5`,
		`slipway_backlog_oldest_seconds{what="inbox"} 90`, `slipway_backlog{what="outbox"} 0`, `slipway_blob_errors_total 3`,
		`slipway_retention_removed_total{kind="logs"} 7`, `slipway_retention_removed_bytes_total{kind="logs"} 700`, `slipway_retention_last_pass_seconds 1000`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	manual, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "TYPE" && !strings.Contains(string(manual), "`"+fields[2]+"` | "+fields[3]) {
			t.Errorf("docs/metrics.md has no line for the %s %s", fields[3], fields[2])
		}
	}
}

// TestDrainEndsStreams: a shutdown waits for no reader.
func TestDrainEndsStreams(t *testing.T) {
	s := handlerstest.New(t)
	s.AddBuild(pipeline.Build{ID: "b", Status: pipeline.BuildInProgress})
	r := httptest.NewRequest("GET", "http://localhost/api/v1/builds/b/log?follow=1", nil).WithContext(t.Context())
	admin(r)
	done := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		s.Handlers.ServeHTTP(w, r)
		done <- w.Code
	}()
	s.Handlers.Drain()
	if code := <-done; code != 200 && code != 503 {
		t.Errorf("got %d", code)
	}
}

// TestFollowSendsChangesOnly runs in a bubble, where a second takes no time.
func TestFollowSendsChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := handlerstest.NewState()
		state.AddBuild(pipeline.Build{ID: "b", Status: pipeline.BuildInProgress})
		h, err := handlers.New(handlers.Options{
			Inbox: state, Deliveries: state, Executions: state, Boards: state, Builds: state, ReportGroups: state, Logs: state, Artifacts: state, Events: state, Control: state,
			Access: handlers.Access{AdminTokens: []string{handlerstest.AdminToken}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "http://localhost/api/v1/builds/b?follow=1", nil).WithContext(t.Context())
		admin(r)
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.ServeHTTP(w, r)
		}()
		<-time.After(20 * time.Second)
		state.AddBuild(pipeline.Build{ID: "b", Status: pipeline.BuildSucceeded})
		<-done
		if got := w.Body.String(); strings.Count(got, "event: state") != 2 || strings.Count(got, ": still here") == 0 || !strings.HasSuffix(got, "event: end\ndata: {}\n\n") {
			t.Errorf("got %s", got)
		}
	})
}

// Redis that is away is no fault of the server's: it passes, and pages and
// programs are told so.
func TestUnreachableIsUnavailable(t *testing.T) {
	s := handlerstest.New(t, openReading, func(o *handlers.Options) { o.DeadLetters = away{} })
	for _, path := range []string{"/dead-letters", "/api/v1/dead-letters"} {
		status, header, body := answer(t, request(t, "GET", s.URL+path, set("Accept", "text/html")))
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") != "5" || !strings.Contains(body, "reached by the server") || strings.Contains(body, "10.0.0.7") {
			t.Errorf("%s: got %d, Retry-After %q, %s", path, status, header.Get("Retry-After"), body)
		}
	}
}

// away is a Redis that doesn't answer.
type away struct{}

func (away) DeadLetters(context.Context, int, string) (pipeline.Page[handlers.DeadLetter], error) {
	return pipeline.Page[handlers.DeadLetter]{}, fmt.Errorf("listing: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("10.0.0.7: connection refused")})
}

func (away) ReplayDeadLetter(context.Context, string) error { return nil }
