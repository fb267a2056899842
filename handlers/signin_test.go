package handlers_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// begun is a browser on its way to the forge, and the state that it took along.
func begun(t *testing.T, s *handlerstest.Server, next string) (*http.Client, string) {
	t.Helper()
	c := visitor(t)
	resp, _ := visit(t, c, request(t, "GET", s.URL+"/login?next="+url.QueryEscape(next)))
	to, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range resp.Cookies() {
		if !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/login" {
			t.Errorf("cookie %+v", k)
		}
	}
	return c, to.Query().Get("state")
}

// TestSignInAtTheForge tries what a browser, and who sits between, may do with
// the way through the forge.
//
// Attacks: 40.
func TestSignInAtTheForge(t *testing.T) {
	s := people(t)
	back := func(c *http.Client, query string) (int, []*http.Cookie, string) {
		resp, body := visit(t, c, request(t, "GET", s.URL+"/login/callback?"+query))
		return resp.StatusCode, resp.Cookies(), body
	}
	c, state := begun(t, s, "/deliveries?forge=github")
	code, cookies, body := back(c, "code=ada&state="+state)
	if code != 200 || !strings.Contains(body, `url=/deliveries?forge=github"`) || !strings.Contains(body, "ada") {
		t.Fatalf("got %d %s", code, body)
	}
	for _, k := range cookies {
		if k.Name == "slipway_session" && (!k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Path != "/") {
			t.Errorf("session cookie %+v", k)
		}
	}
	refused := map[string]func() (*http.Client, string){
		"the second use": func() (*http.Client, string) { return c, "code=ada&state=" + state },
		"a state of another browser": func() (*http.Client, string) {
			_, mine := begun(t, s, "/")
			victim, _ := begun(t, s, "/")
			return victim, "code=mallory&state=" + mine
		},
		"a browser that never began": func() (*http.Client, string) { return visitor(t), "code=mallory&state=" + state },
		"no state":                   func() (*http.Client, string) { c, _ := begun(t, s, "/"); return c, "code=ada" },
		"no code":                    func() (*http.Client, string) { c, st := begun(t, s, "/"); return c, "state=" + st },
		"a person who refused": func() (*http.Client, string) {
			c, st := begun(t, s, "/")
			return c, "error=access_denied&code=ada&state=" + st
		},
	}
	for name, with := range refused {
		c, query := with()
		code, cookies, body := back(c, query)
		if code != 401 {
			t.Errorf("%s: got %d", name, code)
		}
		for _, k := range cookies {
			if k.Name == "slipway_session" {
				t.Errorf("%s: got a session", name)
			}
		}
		for _, secret := range []string{"mallory", state, "code="} {
			if strings.Contains(body, secret) {
				t.Errorf("%s: %q is on the page", name, secret)
			}
		}
	}
}

// Attacks: 25.
func TestSignInLeadsNowhereElse(t *testing.T) {
	s := people(t)
	for _, next := range []string{"//evil.example/", `/\evil.example`, "https://evil.example/", "/\t/evil.example", "javascript:alert(1)", "evil.example", "/%0d%0aSet-Cookie: a=b\r\n", ""} {
		c, state := begun(t, s, next)
		_, body := visit(t, c, request(t, "GET", s.URL+"/login/callback?code=ada&state="+state))
		if !strings.Contains(body, `content="0; url=/"`) {
			t.Errorf("%q leads on to %s", next, body[:min(len(body), 900)])
		}
	}
}

// TestSessionIsNew: a session that somebody planted is worth nothing after the
// sign-in, and the ID is never taken from the browser.
//
// Attacks: 23.
func TestSessionIsNew(t *testing.T) {
	s := people(t)
	c, state := begun(t, s, "/")
	r := request(t, "GET", s.URL+"/login/callback?code=ada&state="+state)
	r.AddCookie(&http.Cookie{Name: "slipway_session", Value: "planted"})
	resp, _ := visit(t, c, r)
	for _, k := range resp.Cookies() {
		if k.Name == "slipway_session" && (k.Value == "planted" || len(k.Value) < 40) {
			t.Errorf("got session %q", k.Value)
		}
	}
	planted := request(t, "GET", s.URL+"/")
	planted.AddCookie(&http.Cookie{Name: "slipway_session", Value: "planted"})
	if status, _, _ := answer(t, planted); status != 401 {
		t.Errorf("a planted session: %d", status)
	}
	first := sessionOf(t, s, c)
	again := request(t, "GET", s.URL+"/sign-in?token="+url.QueryEscape(strings.TrimPrefix(s.Handlers.SignInPath(), "/sign-in?token=")))
	if resp, _ := visit(t, c, again); resp.StatusCode != 303 {
		t.Fatalf("signing in again: %d", resp.StatusCode)
	}
	old := request(t, "GET", s.URL+"/")
	old.AddCookie(first)
	if status, _, _ := answer(t, old); status != 401 {
		t.Errorf("the session before the sign-in: %d", status)
	}
	for name, data := range s.Notes() {
		if k := sessionOf(t, s, c); strings.Contains(name, k.Value) || strings.Contains(data, k.Value) {
			t.Errorf("a cookie's value is kept in %s: %s", name, data)
		}
	}
}

func sessionOf(t *testing.T, s *handlerstest.Server, c *http.Client) *http.Cookie {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.Jar.Cookies(u) {
		if k.Name == "slipway_session" {
			return k
		}
	}
	t.Fatal("no session")
	return nil
}

// TestForeignPagesWriteNothing tries every write with a person's cookie from
// another site.
//
// Attacks: 24.
func TestForeignPagesWriteNothing(t *testing.T) {
	s := people(t)
	root := signInAs(t, s, "root")
	for _, route := range s.Handlers.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if method == "GET" || strings.HasPrefix(path, "/webhooks/") || strings.Contains(path, "/runner/") || strings.Contains(path, "/agent/") {
			continue
		}
		for name, change := range map[string][]func(*http.Request){
			"no Origin":       nil,
			"a foreign one":   {set("Origin", "https://evil.example")},
			"an opaque one":   {set("Origin", "null")},
			"another port":    {set("Origin", "http://127.0.0.1:1")},
			"a cross-site":    {set("Origin", s.URL), set("Sec-Fetch-Site", "cross-site")},
			"another subsite": {set("Origin", s.URL), set("Sec-Fetch-Site", "same-site")},
		} {
			if path == "/sign-in" && name == "no Origin" {
				continue // needs no cookie: it has a token in it
			}
			if got := status(t, root, request(t, method, s.URL+samplePath(path), change...)); got != 403 {
				t.Errorf("%s with %s: got %d", route, name, got)
			}
		}
	}
	if n := len(s.Events()); n != 0 {
		t.Errorf("%d events", n)
	}
}

// TestPathsThatLookAlike: no spelling of a path gets round its right.
//
// Attacks: 26.
func TestPathsThatLookAlike(t *testing.T) {
	s := people(t)
	x := handlerstest.GoodExecution
	for _, path := range []string{
		"/api//v1/executions/" + x, "//api/v1/executions/" + x, "/api/v1/executions/" + x + "/", "/api/v1/./executions/" + x, "/healthz/../api/v1/executions/" + x,
		"/%61pi/v1/executions/" + x, "/api/v1/executions/%2e%2e%2f" + x, "/assets/..%2fapi/v1/executions/" + x, "/assets/../api/v1/executions/" + x, "/API/v1/executions/" + x,
		"/webhooks/../api/v1/executions/" + x, "/sign-in/../executions/" + x, "/api/v1/executions/" + x + "%00", "/api/v1/executions;/" + x, "/api/v1/executions/" + x + "?_method=GET",
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "POST"} {
			r := request(t, method, s.URL)
			r.URL.Opaque = "//" + r.URL.Host + path
			resp, body := visit(t, visitor(t), r)
			if resp.StatusCode < 400 || strings.Contains(body, "crane") {
				t.Errorf("%s %s: got %d %s", method, path, resp.StatusCode, body)
			}
		}
	}
}

// TestAudit: every write and sign-in is noted, with who and how it went; no
// secret is, neither there nor in the log.
//
// Attacks: 30.
func TestAudit(t *testing.T) {
	var log bytes.Buffer
	s := people(t, func(o *handlers.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.Allow("ada", "harbour/crane", forge.Write)
	s.Allow("bob", "harbour/crane", forge.Read)
	ada, bob := signInAs(t, s, "ada"), signInAs(t, s, "bob")
	stop := "/api/v1/executions/" + handlerstest.RunningExecution + "/stop?access_token=hunter2"
	visit(t, ada, request(t, "POST", s.URL+stop, set("Origin", s.URL), set("X-Forwarded-For", "203.0.113.9\t")))
	visit(t, bob, request(t, "POST", s.URL+stop, set("Origin", s.URL)))
	visit(t, visitor(t), request(t, "POST", s.URL+stop))
	value := makeToken(t, s, `{"name":"ci","role":"read"}`)
	ticket := s.Handlers.SignInPath()
	visit(t, visitor(t), request(t, "GET", s.URL+ticket))
	visit(t, visitor(t), request(t, "GET", s.URL+ticket))
	visit(t, ada, request(t, "GET", s.URL+"/api/v1/executions"))
	page, err := s.Audit(t.Context(), 100, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range page.Items {
		got = append(got, strings.Join([]string{e.Who, e.Via, e.Outcome, e.Action, e.Repo, e.Detail}, "|"))
		if e.From != "127.0.0.1" || e.At.IsZero() || e.Forwarded != "" && e.Forwarded != "203.0.113.9" {
			t.Errorf("got %+v", e)
		}
	}
	want := []string{
		"|||",
		"|refused|GET /sign-in||signing in by sign-in link",
		"admin|sign-in link|done|GET /sign-in||signed in",
		"admin|admin token|done|POST /api/v1/tokens||ci: read",
		"||refused|POST /api/v1/executions/:id/stop||",
		"bob|github|refused|POST /api/v1/executions/:id/stop|github/harbour/crane|",
		"ada|github|done|POST /api/v1/executions/:id/stop|github/harbour/crane|",
		"bob|github|done|GET /login/callback||signed in",
		"ada|github|done|GET /login/callback||signed in",
	}[1:]
	if len(got) != len(want) {
		t.Fatalf("got %d entries:\n%s", len(got), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
	kept, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	_, _, shown := answer(t, request(t, "GET", s.URL+"/api/v1/audit", token(handlerstest.AdminToken)))
	for _, secret := range []string{value, handlerstest.AdminToken, "hunter2", strings.TrimPrefix(ticket, "/sign-in?token="), sessionOf(t, s, ada).Value} {
		if strings.Contains(string(kept), secret) || strings.Contains(shown, secret) {
			t.Errorf("%q is in the audit log", secret)
		}
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestStrangersDontFillTheAuditLog: what strangers cause is bounded, and keeps
// nobody else's entry out.
//
// Attacks: 37.
func TestStrangersDontFillTheAuditLog(t *testing.T) {
	s := people(t)
	for range 100 {
		visit(t, visitor(t), request(t, "POST", s.URL+"/api/v1/executions/x/stop"))
	}
	visit(t, visitor(t), request(t, "POST", s.URL+"/api/v1/executions/x/stop", token(handlerstest.AdminToken)))
	page, err := s.Audit(t.Context(), 200, "")
	if err != nil || len(page.Items) > 40 || page.Items[0].Who != "admin" || page.Items[0].Outcome != access.Refused {
		t.Errorf("got %d entries, %v", len(page.Items), err)
	}
}

// TestSecureCookies: with HTTPS the session's cookie is this very host's.
//
// Attacks: 23.
func TestSecureCookies(t *testing.T) {
	s := handlerstest.New(t, func(o *handlers.Options) { o.ExternalURL = "https://ci.example.com" })
	resp, _ := visit(t, visitor(t), request(t, "GET", s.URL+s.Handlers.SignInPath()))
	if k := resp.Cookies(); len(k) != 1 || k[0].Name != "__Host-slipway_session" || !k[0].Secure || k[0].Path != "/" || k[0].Domain != "" {
		t.Errorf("got %v", k)
	}
}
