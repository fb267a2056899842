package handlers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

// TestPeopleSteerPipelines uses every form of a pipeline's page, without
// JavaScript.
func TestPeopleSteerPipelines(t *testing.T) {
	s := sampled(t)
	ctx := browser(t)
	run(t, ctx, scripts(false))
	text(t, ctx, s.URL+s.Handlers.SignInPath())
	page := s.URL + "/pipelines/" + handlerstest.Releases
	fill := func(form, field, value string) {
		run(t, ctx, chromedp.Clear(chromedp.CSS(form+` [name="`+field+`"]`)), chromedp.SendKeys(chromedp.CSS(form+` [name="`+field+`"]`), value))
	}
	const build, staging = `form[action$="Build/transition"]`, `form[action$="Staging/transition"]`
	run(t, ctx, chromedp.Navigate(page), chromedp.SendKeys(chromedp.CSS("#disable-1 summary"), kb.Enter))
	fill(build, "reason", "the compiler is new")
	press(t, ctx, build+" button")
	press(t, ctx, staging+" button")
	run(t, ctx, chromedp.SendKeys(chromedp.CSS("#rollback-2 summary"), kb.Enter))
	press(t, ctx, `form[action$="Staging/rollback"] button`)
	fill("#start form", "branch", "hotfix")
	press(t, ctx, "#start button")
	fill(".answer", "message", "calm enough")
	press(t, ctx, ".answer .primary")
	if path := get(t, ctx, chromedp.Location()); path != page {
		t.Errorf("the answer leads to %s, want back to %s", path, page)
	}
	events := s.Events()
	if len(events) != 5 {
		t.Fatalf("got %d events: %+v", len(events), events)
	}
	if e := events[0]; e.Type != pipeline.TransitionFlips || e.Stage != "Build" || e.Enable || e.Reason != "the compiler is new" || e.By != "admin" {
		t.Errorf("disabling: %+v", e)
	}
	if e := events[1]; e.Type != pipeline.TransitionFlips || e.Stage != "Staging" || !e.Enable {
		t.Errorf("enabling: %+v", e)
	}
	if e := events[2]; e.Type != pipeline.RollbackWanted || e.Stage != "Staging" || e.Found == nil || e.Found.Number != 2 {
		t.Errorf("rolling back: %+v", e)
	}
	if e := events[3]; e.Type != pipeline.ManualStart || e.Manual.Ref != "refs/heads/hotfix" || len(e.Manual.Revisions) != 1 || len(e.Manual.Revisions[0].Value) != 40 {
		t.Errorf("starting: %+v", e)
	}
	if e := events[4]; e.Type != pipeline.ApprovalGiven || !e.Enable || e.Reason != "calm enough" || e.Stage != "Production" {
		t.Errorf("approving: %+v", e)
	}
}

// TestNoButtonsForReaders: who may only read sees the pipeline and nothing to
// press.
func TestNoButtonsForReaders(t *testing.T) {
	s := people(t)
	s.AddReleases(time.Now())
	s.Allow("reader", "harbour/crane", forge.Read)
	s.Allow("writer", "harbour/crane", forge.Write)
	for _, path := range []string{"/pipelines/" + handlerstest.Releases, "/executions/" + handlerstest.RunningExecution} {
		_, seen := visit(t, signInAs(t, s, "reader"), request(t, "GET", s.URL+path))
		_, may := visit(t, signInAs(t, s, "writer"), request(t, "GET", s.URL+path))
		if n := strings.Count(seen, "<button"); n != 1 || !strings.Contains(seen, "Sign out") || strings.Count(seen, "<form") != 1 {
			t.Errorf("%s: the reader has %d buttons", path, n)
		}
		if n := strings.Count(may, "<button"); n < 2 {
			t.Errorf("%s: the writer has %d buttons", path, n)
		}
	}
}

func TestPeopleOverrideConditions(t *testing.T) {
	s := handlerstest.New(t)
	s.AddGated(time.Now())
	ctx := browser(t)
	run(t, ctx, scripts(false))
	text(t, ctx, s.URL+s.Handlers.SignInPath())
	for _, page := range []string{"/pipelines/" + handlerstest.Gated, "/executions/" + handlerstest.GatedExecution} {
		wants(t, page, text(t, ctx, s.URL+page), "Before entry", "main == release", "else the stage fails", `"main" == "release" is not so`)
		const form = `form[action$="/override"]`
		run(t, ctx, chromedp.SendKeys(chromedp.CSS(form+` [name="message"]`), "agreed with the harbour master"))
		press(t, ctx, form+" button")
		if at := get(t, ctx, chromedp.Location()); at != s.URL+page {
			t.Errorf("the form of %s leads to %s", page, at)
		}
	}
	events := s.Events()
	if len(events) != 2 {
		t.Fatalf("got %d events: %+v", len(events), events)
	}
	s.PassGate()
	if page := text(t, ctx, s.URL+"/executions/"+handlerstest.GatedExecution); strings.Contains(page, "condition isn't met") || !strings.Contains(page, "Overridden by admin") {
		t.Errorf("a condition that was overridden is still a problem:\n%s", page)
	}
	for _, e := range events {
		if e.Type != pipeline.OverrideWanted || e.Stage != "Production" || e.Hook != pipeline.BeforeEntryHook || e.Reason != "agreed with the harbour master" {
			t.Errorf("overriding: %+v", e)
		}
	}
}

// TestStartForm starts by what the form takes: names, short commits, variables.
func TestStartForm(t *testing.T) {
	s := handlerstest.New(t)
	s.AddGated(time.Now())
	ctx := browser(t)
	run(t, ctx, scripts(false))
	text(t, ctx, s.URL+s.Handlers.SignInPath())
	page := s.URL + "/pipelines/" + handlerstest.Gated
	run(t, ctx, chromedp.Navigate(page), chromedp.SendKeys(chromedp.CSS(`#start [name="sha"]`), "4f2a9c1"), chromedp.SendKeys(chromedp.CSS(`#start [name="variable.LEVEL"]`), "debug"))
	press(t, ctx, "#start button")
	run(t, ctx, chromedp.Clear(chromedp.CSS(`#start [name="branch"]`)), chromedp.SendKeys(chromedp.CSS(`#start [name="branch"]`), "v1.4.0"))
	press(t, ctx, "#start button")
	events := s.Events()
	if len(events) != 2 {
		t.Fatalf("got %d events: %+v", len(events), events)
	}
	if m := events[0].Manual; len(m.Revisions) != 1 || len(m.Revisions[0].Value) != 40 || m.Variables["LEVEL"] != "debug" {
		t.Errorf("a short commit with a variable: %+v", m)
	}
	if m := events[1].Manual; m.Ref != "refs/heads/v1.4.0" || len(m.Variables) != 0 {
		t.Errorf("a name: %+v", m)
	}
	run(t, ctx, chromedp.Clear(chromedp.CSS(`#start [name="branch"]`)), chromedp.SendKeys(chromedp.CSS(`#start [name="branch"]`), "nowhere"))
	press(t, ctx, "#start button")
	wants(t, "an unknown branch", get(t, ctx, chromedp.Evaluate[string](`document.body.innerText`)), `there is no branch, tag or commit "nowhere"`)
}
