package handlers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// fakeForge is a forge at which whoever has a code signs in: the code is
// their login. It refuses codes that begin with "refuse-", and is down for
// "down".
type fakeForge struct{ challenge string }

func (f *fakeForge) AuthorizeURL(state, challenge, redirect string) string {
	f.challenge = challenge
	return "https://forge.example/authorize?" + url.Values{"state": {state}, "redirect_uri": {redirect}}.Encode()
}

func (f *fakeForge) User(_ context.Context, code, verifier, _ string) (forge.User, error) {
	if code == "" || strings.HasPrefix(code, "refuse-") || len(verifier) < 43 || verifier == f.challenge {
		return forge.User{}, forge.ErrRejected
	}
	if code == "down" {
		return forge.User{}, errors.New("the forge is down")
	}
	return forge.User{ID: "id-" + code, Login: code}, nil
}

// withLogin lets people of github sign in; root is an administrator.
func withLogin() func(*handlers.Options) {
	return func(o *handlers.Options) {
		o.Access.Login = &handlers.Login{Forge: "github", Title: "GitHub", Admins: []string{"root", "id:id-eve2"}, OAuth: &fakeForge{}}
		o.Access.Forges = handlers.Permissions{"github": o.Executions.(*handlerstest.State)}
	}
}

// people is a server at which people can sign in.
func people(t *testing.T, change ...func(*handlers.Options)) *handlerstest.Server {
	t.Helper()
	s := handlerstest.New(t, append([]func(*handlers.Options){withLogin()}, change...)...)
	s.AddSamples(time.Now())
	return s
}

// visitor is a browser without JavaScript that shows where it is sent.
func visitor(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func visit(t *testing.T, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// signInAs goes the way through the forge.
func signInAs(t *testing.T, s *handlerstest.Server, login string) *http.Client {
	t.Helper()
	c := visitor(t)
	resp, _ := visit(t, c, request(t, "GET", s.URL+"/login"))
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	resp, body := visit(t, c, request(t, "GET", s.URL+"/login/callback?code="+login+"&state="+to.Query().Get("state")))
	if resp.StatusCode != 200 {
		t.Fatalf("signing in as %s: %d %s", login, resp.StatusCode, body)
	}
	return c
}

func makeToken(t *testing.T, s *handlerstest.Server, json string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v1/tokens", strings.NewReader(json))
	if err != nil {
		t.Fatal(err)
	}
	token(handlerstest.AdminToken)(r)
	status, _, body := answer(t, r)
	_, rest, ok := strings.Cut(body, `"token":"`)
	value, _, _ := strings.Cut(rest, `"`)
	if status != 201 || !ok {
		t.Fatalf("making a token: %d %s", status, body)
	}
	return value
}

// Attacks: 39.
func TestEveryRouteHasARight(t *testing.T) {
	s := handlerstest.New(t, func(o *handlers.Options) { o.Git = http.NotFoundHandler() })
	for _, route := range s.Handlers.Routes() {
		method, path, _ := strings.Cut(route, " ")
		about, _, known := handlers.RightOf(method, path)
		if !known {
			t.Errorf("%s is not in the table of rights", route)
		}
		if need, ok := s.Handlers.Levels()[route]; ok && (need == "open") != (about == "no one") || need == "working" != (about == "the worker") {
			t.Errorf("%s asks for %s, and the table says %q", route, need, about)
		}
	}
	for _, r := range handlers.Rights() {
		if !slices.Contains(s.Handlers.Routes(), r.Route) {
			t.Errorf("the table has %s, which is no route", r.Route)
		}
	}
}

// samplePath is a path of the route to things that AddSamples made, all of
// them of harbour/crane.
func samplePath(path string) string {
	id := handlerstest.RunningExecution
	query := ""
	switch {
	case strings.Contains(path, "builds"):
		id = handlerstest.GoodBuild
	case strings.Contains(path, "deployments"):
		id = handlerstest.GoodDeployment
	case strings.Contains(path, "deliveries"):
		id, query = "72d3162e-cc78-11e3-81ab-4c9367dc0902", "?forge=github"
	case strings.Contains(path, "pipelines"):
		id = "github.42.default.default"
	}
	if strings.HasSuffix(path, "/case") {
		query = "?name=TestHook"
	}
	name := "BuildArtifact"
	if strings.Contains(path, "/badges/") {
		name = "crane.svg"
	} else if strings.Contains(path, "/repos/") {
		name = "crane"
	} else if strings.Contains(path, "/reports/") {
		name = "crane-unit"
	}
	return strings.NewReplacer(":id", url.PathEscape(id), ":forge", "github", ":owner", "harbour", ":name", name, ":group", "crane-unit", ":stage", "Build").Replace(path) + query
}

// nothingToDo are routes that answer 404 to those who may, because the fakes
// have no fleet and no sessions, and the request names no target; of them only refusals count.
var nothingToDo = []string{
	"GET /api/v1/deployments", "POST /api/v1/deployments/:id/stop", "POST /api/v1/deployments/:id/rollback",
	"POST /api/v1/pipelines/:id/stages/:stage/rollback", "POST /pipelines/:id/stages/:stage/rollback",
	"POST /deployments/:id/stop", "POST /deployments/:id/rollback",
	"POST /api/v1/builds/:id/debug/input", "GET /api/v1/builds/:id/debug/output",
}

// status is that of the answer, whose body may break off: the artifact of the
// samples is shorter than they say.
func status(t *testing.T, c *http.Client, r *http.Request) int {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestWhoMayDoWhat walks all routes with everybody.
//
// Attacks: 39.
func TestWhoMayDoWhat(t *testing.T) {
	s := people(t)
	s.Allow("reader", "harbour/crane", forge.Read)
	s.Allow("triager", "harbour/crane", forge.Triage)
	s.Allow("writer", "harbour/crane", forge.Write)
	s.Allow("stranger", "harbour/other", forge.Admin)
	on := func(p forge.Permission) map[string]forge.Permission { return map[string]forge.Permission{"repo": p} }
	everything := func(p forge.Permission) map[string]forge.Permission {
		return map[string]forge.Permission{"repo": p, "server": p}
	}
	bearer := func(json string) func(*http.Request) { return token(makeToken(t, s, json)) }
	who := []struct {
		name   string
		client *http.Client
		change func(*http.Request)
		may    map[string]forge.Permission // nil: not even be here
	}{
		{"a stranger", signInAs(t, s, "stranger"), nil, on("")},
		{"a reader", signInAs(t, s, "reader"), nil, on(forge.Read)},
		{"a triager", signInAs(t, s, "triager"), nil, on(forge.Triage)},
		{"a writer", signInAs(t, s, "writer"), nil, on(forge.Write)},
		{"an administrator", signInAs(t, s, "root"), nil, everything(forge.Admin)},
		{"an administrator by ID", signInAs(t, s, "eve2"), nil, everything(forge.Admin)},
		{"a token that reads all", visitor(t), bearer(`{"name":"a","role":"read"}`), everything(forge.Read)},
		{"a token that writes all", visitor(t), bearer(`{"name":"b","role":"write"}`), everything(forge.Write)},
		{"a token for everything", visitor(t), bearer(`{"name":"c","role":"admin"}`), everything(forge.Admin)},
		{"a token of the repository", visitor(t), bearer(`{"name":"d","role":"write","repo":"github/harbour/crane"}`), on(forge.Write)},
		{"a token that rules another", visitor(t), bearer(`{"name":"e","role":"admin","repo":"github/harbour/cranes"}`), on("")},
		{"a runner", visitor(t), token(handlerstest.RunnerToken), nil},
	}
	for _, route := range s.Handlers.Routes() {
		method, path, _ := strings.Cut(route, " ")
		about, least, _ := handlers.RightOf(method, path)
		if about == "no one" || about == "the worker" || strings.HasPrefix(path, "/sign-out") {
			continue
		}
		target := s.URL + samplePath(path)
		wanted := status(t, visitor(t), request(t, method, target, token(handlerstest.AdminToken)))
		if wanted == 404 && about != "the server" && !slices.Contains(nothingToDo, route) {
			t.Errorf("%s: there is no sample at %s", route, target)
		}
		if got := status(t, visitor(t), request(t, method, target)); got != 401 {
			t.Errorf("%s: nobody got %d", route, got)
		}
		for _, w := range who {
			if method == "DELETE" && wanted < 300 {
				continue
			}
			r := request(t, method, target, set("Origin", s.URL))
			if w.change != nil {
				w.change(r)
			}
			got := status(t, w.client, r)
			subject := "repo"
			if about == "the server" {
				subject = "server"
			}
			may, want := w.may[subject], 403
			switch {
			case w.may == nil:
			case about == "what the reader may", may.AtLeast(forge.Permission(least)):
				want = wanted
			case subject == "repo" && !may.AtLeast(forge.Read):
				want = 404
			}
			if got != want {
				t.Errorf("%s: %s got %d, want %d", route, w.name, got, want)
			}
		}
	}
}

// TestListsLeaveOut: nobody learns of what they may not read.
//
// Attacks: 39.
func TestListsLeaveOut(t *testing.T) {
	s := people(t)
	s.Allow("reader", "harbour/crane", forge.Read)
	reader, stranger := signInAs(t, s, "reader"), signInAs(t, s, "stranger")
	for _, path := range []string{"/api/v1/executions", "/api/v1/executions?limit=1", "/api/v1/deliveries", "/api/v1/pipelines", "/api/v1/reports", "/", "/reports", "/deliveries", "/?repo=harbour/crane"} {
		if _, body := visit(t, reader, request(t, "GET", s.URL+path)); !strings.Contains(body, "crane") {
			t.Errorf("%s: the reader sees nothing: %s", path, body)
		}
		if resp, body := visit(t, stranger, request(t, "GET", s.URL+path)); resp.StatusCode != 200 || strings.Contains(strings.NewReplacer(`value="harbour/crane"`, "", "repo=harbour%2Fcrane", "").Replace(body), "harbour") {
			t.Errorf("%s: the stranger sees %d %s", path, resp.StatusCode, body)
		}
	}
	_, here := visit(t, stranger, request(t, "GET", s.URL+"/api/v1/executions/"+handlerstest.GoodExecution))
	_, nowhere := visit(t, stranger, request(t, "GET", s.URL+"/api/v1/executions/nowhere"))
	if here != nowhere {
		t.Errorf("what one may not see differs from what is not there:\n%s\n%s", here, nowhere)
	}
}

func TestPermissionsAreCached(t *testing.T) {
	var now = time.Now()
	s := people(t, func(o *handlers.Options) { o.Now = func() time.Time { return now } })
	s.Allow("ada", "harbour/crane", forge.Read)
	ada := signInAs(t, s, "ada")
	read := func(want int) {
		t.Helper()
		if resp, _ := visit(t, ada, request(t, "GET", s.URL+"/api/v1/executions/"+handlerstest.GoodExecution)); resp.StatusCode != want {
			t.Errorf("got %d, want %d", resp.StatusCode, want)
		}
	}
	read(200)
	s.Allow("ada", "harbour/crane", "")
	read(200)
	if s.Asked() != 1 {
		t.Errorf("the forge was asked %d times", s.Asked())
	}
	now = now.Add(time.Minute)
	read(404)
	s.Allow("ada", "harbour/crane", forge.Write)
	now = now.Add(10 * time.Second)
	read(200)
	now = now.Add(time.Minute)
	s.GoDown(io.ErrUnexpectedEOF) // sessions can't be read either: nobody gets in
	resp, _ := visit(t, ada, request(t, "GET", s.URL+"/api/v1/executions/"+handlerstest.GoodExecution))
	if resp.StatusCode < 500 {
		t.Errorf("without the forge: %d", resp.StatusCode)
	}
}

func TestTokens(t *testing.T) {
	now := time.Now()
	s := people(t, func(o *handlers.Options) { o.Now = func() time.Time { return now } })
	value := makeToken(t, s, `{"name":"ci","role":"write","repo":"github/harbour/crane","seconds":3600}`)
	use := func() int {
		status, _, _ := answer(t, request(t, "GET", s.URL+"/api/v1/executions", token(value)))
		return status
	}
	if use() != 200 {
		t.Error("a new token is refused")
	}
	all, err := s.Tokens(t.Context())
	if err != nil || len(all) != 1 || all[0].UsedAt.IsZero() || all[0].By != "admin" {
		t.Fatalf("got %+v, %v", all, err)
	}
	_, _, listed := answer(t, request(t, "GET", s.URL+"/api/v1/tokens", token(handlerstest.AdminToken)))
	if !strings.Contains(listed, all[0].ID) || strings.Contains(listed, value) || strings.Contains(listed, value[4:20]) {
		t.Errorf("the list has %s", listed)
	}
	now = now.Add(time.Hour)
	if use() != 401 {
		t.Error("an expired token is taken")
	}
	value = makeToken(t, s, `{"name":"ci2","role":"read"}`)
	browser := visitor(t)
	form := func(v string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/sign-in", strings.NewReader(url.Values{"token": {v}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", s.URL)
		return r
	}
	if resp, _ := visit(t, browser, form(value)); resp.StatusCode != 303 {
		t.Errorf("signing in by a token: %d", resp.StatusCode)
	}
	if resp, _ := visit(t, browser, request(t, "GET", s.URL+"/")); resp.StatusCode != 200 {
		t.Errorf("signed in by a token: %d", resp.StatusCode)
	}
	all, _ = s.Tokens(t.Context())
	i := slices.IndexFunc(all, func(a access.Token) bool { return a.Name == "ci2" })
	if status, _, _ := answer(t, request(t, "DELETE", s.URL+"/api/v1/tokens/"+all[i].ID, token(handlerstest.AdminToken))); status != 204 {
		t.Errorf("revoking: %d", status)
	}
	if use() != 401 {
		t.Error("a revoked token is taken")
	}
	if resp, _ := visit(t, browser, request(t, "GET", s.URL+"/")); resp.StatusCode != 401 {
		t.Errorf("a session outlives its token: %d", resp.StatusCode)
	}
	for _, bad := range []string{
		`{"name":"","role":"read"}`, `{"name":"x","role":"owner"}`, `{"name":"x","role":"read","repo":"harbour/crane"}`, `{"name":"x y","role":"read"}`,
		`{"name":"x","role":"read","seconds":-1}`, `{"name":"x","role":"read","seconds":9223372036854775807}`, `{"name":"x","role":"read","repo":"github/../x"}`,
	} {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/v1/tokens", strings.NewReader(bad))
		token(handlerstest.AdminToken)(r)
		if status, _, body := answer(t, r); status != 422 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
}
