package handlers_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// fakeSetup makes an App of the code "good".
type fakeSetup struct {
	done bool
	made int
}

func (f *fakeSetup) Done() bool { return f.done }

func (f *fakeSetup) Form(organization, state string) (string, string, error) {
	return "https://forge.example/apps/new?org=" + organization + "&state=" + state, `{"name":"Slipway <b>"}`, nil
}

func (f *fakeSetup) Finish(_ context.Context, code string) (handlers.App, error) {
	if code != "good" {
		return handlers.App{}, forge.ErrNotFound
	}
	f.made++
	f.done = true
	return handlers.App{Name: "slipway-app", InstallURL: "https://forge.example/install", Folder: "/data/github-app", Settings: "github:\n  app_id: 7\n"}, nil
}

func stateOf(body string) string {
	_, rest, _ := strings.Cut(body, "state=")
	state, _, _ := strings.Cut(rest, `"`)
	return state
}

// TestSetup makes an App, and tries to do so as somebody else.
func TestSetup(t *testing.T) {
	setup := &fakeSetup{}
	s := people(t, func(o *handlers.Options) { o.Setup = setup })
	s.Allow("ada", "harbour/crane", forge.Admin)
	for name, c := range map[string]*http.Client{"nobody": visitor(t), "a person": signInAs(t, s, "ada")} {
		if resp, body := visit(t, c, request(t, "GET", s.URL+"/setup/github")); resp.StatusCode < 400 || strings.Contains(body, "forge.example") || len(resp.Cookies()) > 0 {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Cookies())
		}
		if resp, _ := visit(t, c, request(t, "GET", s.URL+"/setup/github/callback?code=good&state=")); resp.StatusCode != 401 {
			t.Errorf("%s comes back: %d", name, resp.StatusCode)
		}
	}
	root := signInAs(t, s, "root")
	resp, body := visit(t, root, request(t, "GET", s.URL+"/setup/github?organization=octo"))
	if resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "form-action 'self' https://forge.example;") || strings.Contains(body, "<b>") || !strings.Contains(body, "org=octo") {
		t.Fatalf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	if resp, _ := visit(t, root, request(t, "GET", s.URL+"/setup/github?organization=..%2Fx")); resp.StatusCode != 422 {
		t.Errorf("an organization with a path: %d", resp.StatusCode)
	}
	thief := visitor(t)
	if resp, _ := visit(t, thief, request(t, "GET", s.URL+"/setup/github/callback?code=good&state="+stateOf(body))); resp.StatusCode != 401 || setup.made != 0 {
		t.Errorf("another browser with the state: %d", resp.StatusCode)
	}
	if resp, _ := visit(t, root, request(t, "GET", s.URL+"/setup/github/callback?code=bad&state="+stateOf(body))); resp.StatusCode != 422 {
		t.Errorf("a bad code: %d", resp.StatusCode)
	}
	_, body = visit(t, root, request(t, "GET", s.URL+"/setup/github"))
	resp, done := visit(t, root, request(t, "GET", s.URL+"/setup/github/callback?code=good&state="+stateOf(body)))
	if resp.StatusCode != 200 || !strings.Contains(done, "Restart Slipway") || !strings.Contains(done, "app_id: 7") || setup.made != 1 {
		t.Errorf("got %d %s", resp.StatusCode, done)
	}
	if resp, _ := visit(t, root, request(t, "GET", s.URL+"/setup/github")); resp.StatusCode != 409 {
		t.Errorf("once there is an App: %d", resp.StatusCode)
	}
	if page, err := s.Audit(t.Context(), 10, ""); err != nil || !strings.Contains(page.Items[0].Detail, "slipway-app") {
		t.Errorf("got %+v, %v", page.Items, err)
	}
	none := handlerstest.New(t)
	if status, _, _ := answer(t, request(t, "GET", none.URL+"/setup/github", token(handlerstest.AdminToken))); status != 404 {
		t.Errorf("a server that can't: %d", status)
	}
}
