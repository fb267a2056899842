package handlers_test

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/pipeline"
)

// TestSeveralPeopleApproveOnPages has the author and two others look at an
// approval that wants two people and forbids the author, and fill in its form.
func TestSeveralPeopleApproveOnPages(t *testing.T) {
	s := people(t)
	for _, login := range []string{"ada", "bea", "cid"} {
		s.Allow(login, "harbour/crane", forge.Write)
	}
	s.AddBallot(forge.User{ID: "id-ada", Login: "ada"}, time.Now())
	ctx := browser(t)
	run(t, ctx, scripts(false))
	page := s.URL + "/executions/" + handlerstest.BallotExecution
	as := func(login string) string {
		t.Helper()
		k := sessionOf(t, s, signInAs(t, s, login))
		run(t, ctx, send(network.SetCookie, network.SetCookieParams{Name: k.Name, Value: k.Value, URL: s.URL}))
		return text(t, ctx, page)
	}
	wants(t, "what the author sees", as("ada"), "Which half of the fleet?", "0 of 2 people have approved", "Not by whose change it is", "You can't answer: ", "may not approve it")

	wants(t, "what another one sees", as("bea"), "0 of 2 people have approved", "HALF: seen from astern (needed)", "SLOWLY", "Approve")
	choose(t, ctx, "starboard")
	press(t, ctx, ".answer .primary")
	if x := s.Tally(); x.Status != pipeline.InProgress || len(x.Waiting()) != 1 {
		t.Fatalf("one of two has approved, and the execution is %s", x.Status)
	}
	wants(t, "who has voted", text(t, ctx, page), "1 of 2 people have approved: bea", "HALF: starboard", "SLOWLY: true", "You can't answer: ", "you have approved it already, 1 more must")

	wants(t, "what the second one sees", as("cid"), "1 of 2 people have approved: bea", "HALF: starboard", "Approve")
	if n := get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll(".answer select").length`)); n > 0 {
		t.Error("the second one is asked for what the first one gave")
	}
	press(t, ctx, ".answer .primary")
	x := s.Tally()
	got := x.Stage("Release").Action("ask").Exported
	if x.Status != pipeline.Succeeded || got["ApprovedBy"] != "bea, cid" || got["HALF"] != "starboard" || got["SLOWLY"] != "true" {
		t.Errorf("the execution is %s with %v", x.Status, got)
	}
}

// choose picks the option of an approval's only list, by its first letters.
func choose(t *testing.T, ctx context.Context, option string) {
	t.Helper()
	run(t, ctx, chromedp.SendKeys(chromedp.CSS(`.answer select`), option))
}
