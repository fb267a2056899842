package handlers_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

func request(t *testing.T, method, address string, change ...func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func token(value string) func(*http.Request) { return set("Authorization", "Bearer "+value) }

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// Attacks: 29.
func TestAccess(t *testing.T) {
	sample := handlerstest.FailedExecution
	open := func(o *handlers.Options) { o.Access.OpenReading = true }
	outside := func(o *handlers.Options) { o.ExternalURL = "https://ci.example.com"; o.Access.OpenReading = true }
	tests := []struct {
		name    string
		options func(*handlers.Options)
		method  string
		path    string
		change  []func(*http.Request)
		want    int
	}{
		{"reading needs a token", nil, "GET", "/api/v1/executions", nil, 401},
		{"pages need somebody", nil, "GET", "/", nil, 401},
		{"an admin token reads", nil, "GET", "/api/v1/executions", []func(*http.Request){token(handlerstest.AdminToken)}, 200},
		{"a wrong token", nil, "GET", "/api/v1/executions", []func(*http.Request){token("x")}, 401},
		{"a wrong token where none is needed", open, "GET", "/api/v1/executions", []func(*http.Request){token("x")}, 401},
		{"an empty token", nil, "GET", "/api/v1/executions", []func(*http.Request){set("Authorization", "Bearer ")}, 401},
		{"a runner's token reads nothing", nil, "GET", "/api/v1/executions", []func(*http.Request){token(handlerstest.RunnerToken)}, 403},
		{"a runner's token writes nothing", nil, "POST", "/api/v1/executions/" + sample + "/rerun", []func(*http.Request){token(handlerstest.RunnerToken)}, 403},
		{"a runner claims no deployment", nil, "POST", "/api/v1/agent/claim", []func(*http.Request){token(handlerstest.RunnerToken)}, 403},
		{"an agent renews no build", nil, "POST", "/api/v1/runner/jobs/x/renew?class=c&fence=1", []func(*http.Request){token(handlerstest.AgentToken)}, 403},
		{"workers need a token", open, "POST", "/api/v1/runner/claim", nil, 401},
		{"open reading", open, "GET", "/api/v1/executions", nil, 200},
		{"open reading writes nothing", open, "POST", "/api/v1/executions/" + sample + "/rerun", nil, 401},
		{"open reading ends at a proxy", open, "GET", "/api/v1/executions", []func(*http.Request){set("X-Forwarded-For", "1.2.3.4")}, 401},
		{"open reading is for loopback names", outside, "GET", "/api/v1/executions", []func(*http.Request){host("ci.example.com")}, 401},
		{"a rebound name", open, "GET", "/api/v1/executions", []func(*http.Request){host("evil.example")}, 421},
		{"a rebound name with a token", nil, "GET", "/api/v1/executions", []func(*http.Request){host("evil.example:80"), token(handlerstest.AdminToken)}, 421},
		{"the external name", outside, "GET", "/api/v1/executions", []func(*http.Request){host("ci.example.com"), token(handlerstest.AdminToken)}, 200},
		{"a write with a token", nil, "POST", "/api/v1/executions/" + sample + "/rerun", []func(*http.Request){token(handlerstest.AdminToken)}, 202},
		{"a write from another site", nil, "POST", "/api/v1/executions/" + sample + "/rerun", []func(*http.Request){token(handlerstest.AdminToken), set("Origin", "https://evil.example")}, 403},
		{"git needs a token", nil, "GET", "/git/o/r.git/info/refs?service=git-upload-pack", nil, 401},
		{"git with a wrong one", nil, "GET", "/git/o/r.git/info/refs", []func(*http.Request){func(r *http.Request) { r.SetBasicAuth("x", "y") }}, 401},
		{"git with an admin token", nil, "GET", "/git/o/r.git/info/refs", []func(*http.Request){func(r *http.Request) { r.SetBasicAuth("x", handlerstest.AdminToken) }}, 200},
		{"git with a runner's", nil, "GET", "/git/o/r.git/info/refs", []func(*http.Request){func(r *http.Request) { r.SetBasicAuth("x", handlerstest.RunnerToken) }}, 401},
		{"metrics need a token", nil, "GET", "/metrics", nil, 401},
		{"metrics with one", nil, "GET", "/metrics", []func(*http.Request){token(handlerstest.AdminToken)}, 200},
		{"alive for everyone", nil, "GET", "/healthz", []func(*http.Request){host("10.1.2.3:8080")}, 200},
		{"ready for everyone", nil, "GET", "/readyz", []func(*http.Request){host("10.1.2.3:8080")}, 200},
		{"a badge needs somebody", nil, "GET", "/badges/github/harbour/crane.svg", nil, 401},
		{"an open badge", func(o *handlers.Options) { o.Access.OpenBadges = true }, "GET", "/badges/github/harbour/crane.svg", nil, 200},
		{"nothing there", nil, "GET", "/nowhere", nil, 404},
		{"the wrong method", nil, "DELETE", "/api/v1/executions", nil, 405},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := handlerstest.New(t, func(o *handlers.Options) {
				o.Git = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "refs") })
				if tt.options != nil {
					tt.options(o)
				}
			})
			s.AddExecution(pipeline.Execution{ID: sample, Status: pipeline.Failed})
			status, h, body := answer(t, request(t, tt.method, s.URL+tt.path, tt.change...))
			if status != tt.want {
				t.Errorf("got %d, want %d: %s", status, tt.want, body)
			}
			if strings.HasPrefix(tt.path, "/api") && (h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'")) {
				t.Errorf("headers %v", h)
			}
			if status >= 400 && strings.HasPrefix(tt.path, "/api") && !strings.HasPrefix(h.Get("Content-Type"), "application/problem+json") {
				t.Errorf("an error of type %q", h.Get("Content-Type"))
			}
		})
	}
}

// TestSessions signs in with a ticket and tries what a foreign page could do
// with the cookie.
//
// Attacks: 23.
func TestSessions(t *testing.T) {
	s := handlerstest.New(t)
	s.AddExecution(pipeline.Execution{ID: "x", Status: pipeline.InProgress})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	do := func(r *http.Request) *http.Response {
		t.Helper()
		resp, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	ticket := s.URL + s.Handlers.SignInPath()
	forged := strings.Replace(ticket, "ticket.", "ticket.9", 1)
	if resp := do(request(t, "GET", forged)); resp.StatusCode != 401 {
		t.Errorf("a forged ticket: %d", resp.StatusCode)
	}
	resp := do(request(t, "GET", ticket+"&next=//evil.example/"))
	cookies := resp.Cookies()
	if resp.StatusCode != 303 || resp.Header.Get("Location") != "/" || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("got %d to %q with %v", resp.StatusCode, resp.Header.Get("Location"), cookies)
	}
	if resp := do(request(t, "GET", ticket)); resp.StatusCode != 401 {
		t.Errorf("the ticket's second use: %d", resp.StatusCode)
	}
	if resp := do(request(t, "GET", s.URL+"/")); resp.StatusCode != 200 {
		t.Errorf("signed in: %d", resp.StatusCode)
	}
	for name, tt := range map[string]struct {
		change []func(*http.Request)
		want   int
	}{
		"no Origin":         {nil, 403},
		"a foreign Origin":  {[]func(*http.Request){set("Origin", "https://evil.example")}, 403},
		"an opaque Origin":  {[]func(*http.Request){set("Origin", "null")}, 403},
		"a cross-site send": {[]func(*http.Request){set("Origin", s.URL), set("Sec-Fetch-Site", "cross-site")}, 403},
		"our own page":      {[]func(*http.Request){set("Origin", s.URL), set("Sec-Fetch-Site", "same-origin")}, 303},
	} {
		if resp := do(request(t, "POST", s.URL+"/executions/x/stop", tt.change...)); resp.StatusCode != tt.want {
			t.Errorf("%s: got %d, want %d", name, resp.StatusCode, tt.want)
		}
	}
	if n := len(s.Events()); n != 1 {
		t.Errorf("got %d events", n)
	}
	do(request(t, "POST", s.URL+"/sign-out", set("Origin", s.URL)))
	again := request(t, "GET", s.URL+"/")
	again.AddCookie(cookies[0]) // somebody kept it
	if resp := do(again); resp.StatusCode != 401 {
		t.Errorf("a cookie after signing out: %d", resp.StatusCode)
	}
	other := handlerstest.New(t)
	stranger := request(t, "GET", other.URL+"/")
	stranger.AddCookie(cookies[0])
	if resp := do(stranger); resp.StatusCode != 401 {
		t.Errorf("a cookie of another server: %d", resp.StatusCode)
	}
}

func TestSessionsAreShared(t *testing.T) {
	key := func(o *handlers.Options) { o.Access.SessionKey = []byte("0123456789abcdef0123456789abcdef") }
	a := handlerstest.New(t, key)
	b := handlerstest.New(t, key, func(o *handlers.Options) { o.Access.Notes = a.State })
	w := httptest.NewRecorder()
	a.Handlers.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+a.Handlers.SignInPath(), nil))
	r := httptest.NewRequest("GET", "http://localhost/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	w = httptest.NewRecorder()
	b.Handlers.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
}
