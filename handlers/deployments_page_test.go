package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// TestPeopleDeployOnPages stops and undoes a deployment, without JavaScript.
func TestPeopleDeployOnPages(t *testing.T) {
	fleet := handlerstest.NewFleet(time.Now())
	s := handlerstest.New(t, fleet.With)
	ctx := browser(t)
	run(t, ctx, scripts(false))
	text(t, ctx, s.URL+s.Handlers.SignInPath())
	page := s.URL + "/deployments/" + handlerstest.RunningRollout
	run(t, ctx, chromedp.Navigate(page), chromedp.SendKeys(chromedp.CSS(`form[action$="/stop"] [name="reason"]`), "a storm comes"))
	press(t, ctx, `form[action$="/stop"] button`)
	run(t, ctx, chromedp.Navigate(page))
	press(t, ctx, `form[action$="/rollback"] button`)
	if at := get(t, ctx, chromedp.Location()); at != s.URL+"/deployments/d-2" {
		t.Errorf("the rollback leads to %s, want to the deployment that undoes", at)
	}
	if stopped, undone := fleet.Said(); stopped != "stopped by admin: a storm comes" || undone != "admin" {
		t.Errorf("stopped because %q, undone by %q", stopped, undone)
	}
	run(t, ctx, chromedp.Navigate(s.URL+"/deployments/"+handlerstest.GoodRollout))
	press(t, ctx, `form[action$="/rollback"] button`)
	wants(t, "nothing to go back to", get(t, ctx, chromedp.Text(chromedp.CSS("main"))), "there is nothing to go back to")
}

// TestDeploymentsLeaveOut: a reader sees a deployment of their repository
// without its buttons, and a stranger nothing.
func TestDeploymentsLeaveOut(t *testing.T) {
	s := people(t, handlerstest.NewFleet(time.Now()).With)
	s.Allow("reader", "harbour/crane", forge.Read)
	s.Allow("writer", "harbour/crane", forge.Write)
	reader, writer, stranger := signInAs(t, s, "reader"), signInAs(t, s, "writer"), signInAs(t, s, "stranger")
	one := func() *http.Request { return request(t, "GET", s.URL+"/deployments/"+handlerstest.RunningRollout) }
	if _, body := visit(t, reader, one()); !strings.Contains(body, "web-3") || strings.Contains(body, "/rollback") || strings.Contains(body, "/stop") {
		t.Errorf("the reader sees %s", body)
	}
	if _, body := visit(t, writer, one()); !strings.Contains(body, "d-1/rollback") || !strings.Contains(body, "d-1/stop") {
		t.Errorf("the writer sees %s", body)
	}
	if resp, _ := visit(t, stranger, one()); resp.StatusCode != 404 {
		t.Errorf("the stranger gets %d", resp.StatusCode)
	}
	if _, body := visit(t, stranger, request(t, "GET", s.URL+"/deployments")); strings.Contains(body, "d-1") {
		t.Errorf("the stranger's list has %s", body)
	}
	if resp, body := visit(t, writer, request(t, "GET", s.URL+"/agents")); resp.StatusCode != 403 || strings.Contains(body, `href="/agents"`) {
		t.Errorf("the server's hosts: the writer gets %d", resp.StatusCode)
	}
}
