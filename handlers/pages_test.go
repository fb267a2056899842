package handlers_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
)

// screenshots is where TestScreenshots puts pictures for people to look at;
// empty: it does not.
var screenshots = os.Getenv("SLIPWAY_TEST_SCREENSHOTS")

const pageTime = 60 * time.Second

// browser starts a Chromium that ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	testenv.Need(t, "chromium")
	options := []chromedp.ExecAllocatorOption{
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(pageTime),
	}
	for _, flag := range []string{
		"headless", "hide-scrollbars", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*pageTime)
	t.Cleanup(cancel)
	ctx, cancelAll := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancelAll)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func openReading(o *handlers.Options) { o.Access.OpenReading = true }

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// sampled is a server with all samples.
func sampled(t *testing.T, change ...func(*handlers.Options)) *handlerstest.Server {
	t.Helper()
	fleet := handlerstest.NewFleet(time.Now())
	s := handlerstest.New(t, append(change, fleet.With)...)
	s.AddSamples(time.Now())
	s.AddReleases(time.Now())
	return s
}

// get runs one action that has a result.
func get[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// send sends one command of the browser's protocol.
func send[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func scripts(on bool) chromedp.Action[chromedp.Void] {
	return send(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// press uses what leads to another page, by keyboard, and waits for that page:
// not for a load event alone, which may be that of the page before. A click is
// lost where the layout moves between finding a place and clicking there.
func press(t *testing.T, ctx context.Context, what chromedp.CSS) {
	t.Helper()
	if _, err := chromedp.RunResponse(ctx, chromedp.SendKeys(what, kb.Enter)); err != nil {
		t.Fatal(err)
	}
}

// text is what a user reads on the page at path. It is asked for in one go: a
// node that is looked up first may be gone when its text is wanted.
func text(t *testing.T, ctx context.Context, address string) string {
	t.Helper()
	run(t, ctx, chromedp.Navigate(address))
	return get(t, ctx, chromedp.Evaluate[string](`document.body.innerText`))
}

func wants(t *testing.T, page, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: %q is not on the page:\n%s", page, w, got)
		}
	}
}

// pagesWant is what a user must be able to read, with JavaScript and without.
var pagesWant = []struct {
	name, path string
	want       []string
}{
	{"executions", "/", []string{"Swing the jib faster", "Failed", "In progress", "Succeeded", "harbour/crane", "default #42", `command "go test ./..." exited with code 1`, "12 min ago"}},
	{"filtered", "/?status=Failed", []string{"Swing the jib faster"}},
	{"repo", "/repos/github/harbour/crane", []string{"harbour/crane", "Lift containers", "Succeeded lately", "75 %, 3 of 4", "Usually takes"}},
	{"failed execution", "/executions/" + handlerstest.FailedExecution, []string{"Swing the jib faster", "Failed", "go test ./...", "got 11 m/s", "Show it in the log", "21 s waiting", "Download source", "attempt 2", "Its check passes: ada has overridden it", "No wind today."}},
	{"good execution", "/executions/" + handlerstest.GoodExecution, []string{"Succeeded", "Deployment d-ABCDEFGHI", "BuildArtifact", "ValidateService"}},
	{"failed build", "/builds/" + handlerstest.FailedBuild, []string{"harbour-crane #41", "COMMAND_EXECUTION_ERROR", "Jump to the first error", "--- FAIL: TestJib (0.03s)", "Log", "<script>document.title=", "click me and gone"}},
	{"good build", "/builds/" + handlerstest.GoodBuild, []string{"BuildArtifact", "3.3 MiB", "VERSION", "1.4.0", "golang:1.26", "Upload artifacts", "crane-unit", "5 tests, 3 passed, 1 failed (1 new, 1 known flaky), 1 skipped", "TestHook", "hook_test.go:12", "<script>alert(2)</script>"}},
	{"pipelines", "/pipelines", []string{"harbour/crane release", "#4 Shorten the jib", "Production", "asks for approval", "1 waiting", "disabled"}},
	{"pipeline", "/pipelines/" + handlerstest.Releases, []string{
		"one inside, the newest waits", "#3 Show the wind speed", "crane 3 is being inspected", "by ann", "who waits is given up on",
		"Production / ask waits for approval", "Look at the wind <b>first</b>.", "Latest executions", "Grease the winch",
	}},
	{"deployments", "/deployments", []string{"web d-1", "41d0c1e5", "1 in progress", "1 pending", "TwoHealthy, at least 2 healthy hosts", "too few healthy instances are left"}},
	{"running fleet", "/deployments/" + handlerstest.RunningRollout, []string{"web-1", "web-2", "web-3", "Pending", "ApplicationStop", "production", "TwoHealthy", "1 succeeded"}},
	{"failed fleet", "/deployments/" + handlerstest.FailedRollout, []string{"HEALTH_CONSTRAINTS", "scripts/start.sh exited with code 1", "address already in use <b>8080</b>", "Skipped", "28 s", "Whole log"}},
	{"agents", "/agents", []string{"web-2", "zone=b", "version 1.3.9", "Silent", "1 d ago", "0badcafe", "d-1 is being deployed"}},
	{"all reports", "/reports", []string{"harbour/crane", "crane-unit", "5 tests, 3 passed, 2 failed (1 new, 1 known flaky)", "Pass rate 60.0%"}},
	{"reports", "/repos/github/harbour/crane/reports", []string{"crane-unit", "5 tests, 3 passed, 2 failed (1 new, 1 known flaky)"}},
	{"report group", "/repos/github/harbour/crane/reports/crane-unit", []string{"Pass rate: 60.0%", "Duration: 2.0 s", "Tests: 5 tests", "pr/7"}},
	{"report", "/builds/" + handlerstest.GoodBuild + "/reports/crane-unit", []string{"5 tests, 3 passed, 1 failed (1 new, 1 known flaky), 1 skipped", "TestHook", "New failures 1", "Slowest first", "new failure", "<script>alert(2)</script>", "hook_test.go:12", "bad in 1 of the last 2 reports", "TestStorm", "Skipped", "weather", "1.2 s"}},
	{"failed cases", "/builds/" + handlerstest.GoodBuild + "/reports/crane-unit?status=bad", []string{"TestHook", "got 3 t, want 4 t"}},
	{"slowest cases", "/builds/" + handlerstest.GoodBuild + "/reports/crane-unit?order=slowest", []string{"TestLift", "1.2 s"}},
	{"running build", "/builds/" + handlerstest.RunningBuild, []string{"In progress", "mixing yellow"}},
	{"deployment", "/deployments/" + handlerstest.GoodDeployment, []string{"Lifecycle events", "ApplicationStart", "production", "212 files installed"}},
	{"deliveries", "/deliveries", []string{"pull_request.synchronize", "no trigger matched: refs/tags/v1 is a tag", "Refused", "signature", "Queued", "Execution 0b5c7d1e"}},
	{"delivery", "/deliveries/72d3162e-cc78-11e3-81ab-4c9367dc0902?forge=github", []string{"pull_request.synchronize", "harbour/crane", "X-Github-Event", "GitHub-Hookshot/a1b2c3", "\"number\": 12", "<script>alert(1)</script>"}},
	{"dead letters", "/dead-letters", []string{"inbox 3", "connection refused", "8 attempts"}},
	{"sign-in", "/sign-in", []string{"Sign in", "Token"}},
}

func TestPagesRead(t *testing.T) {
	for _, mode := range []struct {
		name   string
		script bool
	}{{"with JavaScript", true}, {"without JavaScript", false}} {
		t.Run(mode.name, func(t *testing.T) {
			s := sampled(t, openReading)
			ctx := browser(t)
			run(t, ctx, scripts(mode.script))
			for _, p := range pagesWant {
				got := text(t, ctx, s.URL+p.path)
				wants(t, p.name, got, p.want...)
				title := get(t, ctx, chromedp.Title())
				if !strings.HasSuffix(title, "· Slipway") || strings.Contains(title, "owned") {
					t.Errorf("%s: title %q", p.name, title)
				}
			}
		})
	}
}

func TestNotYetAndNotThere(t *testing.T) {
	s := handlerstest.New(t, openReading)
	ctx := browser(t)
	wants(t, "no executions", text(t, ctx, s.URL+"/"), "Nothing here yet")
	wants(t, "no deliveries", text(t, ctx, s.URL+"/deliveries"), "No delivery yet")
	wants(t, "no such build", text(t, ctx, s.URL+"/builds/x"), "Not Found")
	wants(t, "no such path", text(t, ctx, s.URL+"/nothing/here"), "Not Found", "there is nothing at this path", "All executions")
	s.AddBuild(pipeline.Build{ID: "queued", Status: pipeline.BuildQueued})
	wants(t, "a queued build", text(t, ctx, s.URL+"/builds/queued"), "Queued", "Waiting for a runner", "Nothing was written yet")
}

func TestLogPagesWithoutJavaScript(t *testing.T) {
	s := handlerstest.New(t, openReading)
	s.AddSamples(time.Now())
	ctx := browser(t)
	run(t, ctx, scripts(false), chromedp.Navigate(s.URL+"/builds/"+handlerstest.FailedBuild+"?line=1"))
	for _, line := range []string{"L1", "L501"} {
		run(t, ctx, chromedp.WaitReady(chromedp.CSS("#"+line)))
		if line == "L1" {
			run(t, ctx, chromedp.Click(chromedp.CSS("#later a")))
		}
	}
	run(t, ctx, chromedp.Click(chromedp.CSS("#earlier a")), chromedp.WaitReady(chromedp.CSS("#L1")))
}

func TestLogScrollsToItsEnds(t *testing.T) {
	s := handlerstest.New(t, openReading)
	s.AddBuild(pipeline.Build{ID: "long", Status: pipeline.BuildSucceeded, Project: "long"})
	var b strings.Builder
	for n := range 20_000 {
		fmt.Fprintf(&b, "line number %d\n", n+1)
	}
	s.WriteLog("long", b.String(), true)
	ctx := browser(t)
	run(t, ctx, chromedp.Navigate(s.URL+"/builds/long"), chromedp.WaitReady(chromedp.CSS("#L1")))
	for _, line := range []int{501, 1500, 3500} { // by scrolling down
		run(t, ctx,
			chromedp.Poll[chromedp.Void](fmt.Sprintf(`(() => { const l = document.getElementById("log"); l.scrollTop = l.scrollHeight; return !!document.getElementById("L%d"); })()`, line), chromedp.WithPollingInterval(50*time.Millisecond)))
	}
	if rows := get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll(".line").length`)); rows > 3500 {
		t.Errorf("%d lines are in the page", rows)
	}
	run(t, ctx, // and up again
		chromedp.Poll[chromedp.Void](`(() => { document.getElementById("log").scrollTop = 0; return !!document.getElementById("L1"); })()`, chromedp.WithPollingInterval(50*time.Millisecond)))
	run(t, ctx, chromedp.Click(chromedp.CSS(`[data-jump="end"]`)), chromedp.WaitVisible(chromedp.CSS("#L20000")))
	wants(t, "the last line", get(t, ctx, chromedp.Text(chromedp.CSS("#L20000"))), "line number 20000")
	run(t, ctx, chromedp.Navigate(s.URL+"/builds/long#L12345"), chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#L12345.hit")))
}

func TestPageIsLive(t *testing.T) {
	s := handlerstest.New(t, openReading)
	s.AddSamples(time.Now())
	ctx := browser(t)
	run(t, ctx, chromedp.Navigate(s.URL+"/builds/"+handlerstest.RunningBuild), chromedp.WaitVisible(chromedp.CSS("#follow")))
	s.WriteLog(handlerstest.RunningBuild, "second coat\n\x1b[32mdry\x1b[0m\n", false)
	run(t, ctx, chromedp.WaitReady(chromedp.CSS("#L6 .a2")))
	b, err := s.Build(t.Context(), handlerstest.RunningBuild)
	if err != nil {
		t.Fatal(err)
	}
	b.Status, b.EndedAt = pipeline.BuildSucceeded, time.Now()
	s.AddBuild(b)
	s.WriteLog(b.ID, "all done\n", true)
	run(t, ctx, chromedp.WaitReady(chromedp.CSS("#L7")), chromedp.WaitReady(chromedp.CSS("#summary .state.good")))
}

func TestPhasesFold(t *testing.T) {
	s := handlerstest.New(t, openReading)
	s.AddSamples(time.Now())
	ctx := browser(t)
	run(t, ctx, chromedp.Navigate(s.URL+"/builds/"+handlerstest.GoodBuild), chromedp.WaitVisible(chromedp.CSS("#L2")),
		chromedp.SendKeys(chromedp.CSS(`details[data-phase="BUILD"] summary`), kb.Enter),
		chromedp.Poll[chromedp.Void](`!document.getElementById("L2").checkVisibility()`))
	if !get(t, ctx, chromedp.Evaluate[bool](`document.getElementById("L4").checkVisibility()`)) {
		t.Error("folding one phase hides another")
	}
}

// TestPeopleActOnPages signs in by the one-time address, and stops, replays
// and signs out with forms.
func TestPeopleActOnPages(t *testing.T) {
	s := handlerstest.New(t)
	s.AddSamples(time.Now())
	ctx := browser(t)
	wants(t, "signed out", text(t, ctx, s.URL+"/deliveries"), "Sign in", "admin token")
	ticket := s.URL + s.Handlers.SignInPath()
	wants(t, "signed in", text(t, ctx, ticket), "Executions", "Sign out")
	run(t, ctx, chromedp.Navigate(s.URL+"/executions/"+handlerstest.RunningExecution))
	press(t, ctx, ".danger")
	if e := s.Events(); len(e) != 1 || e[0].Type != pipeline.StopRequested || e[0].Execution != handlerstest.RunningExecution {
		t.Errorf("got events %+v", e)
	}
	run(t, ctx, chromedp.Navigate(s.URL+"/deliveries"))
	press(t, ctx, `form[action*="replay"] button`)
	if q := s.Queued(); len(q) != 1 {
		t.Errorf("got %v", q)
	}
	press(t, ctx, ".top form button")
	wants(t, "signed out again", text(t, ctx, s.URL+"/deliveries"), "admin token")
	wants(t, "the ticket's second use", text(t, ctx, ticket), "used before")
	run(t, ctx, chromedp.SendKeys(chromedp.CSS(`input[name="token"]`), handlerstest.AdminToken))
	press(t, ctx, ".primary")
	run(t, ctx, chromedp.WaitReady(chromedp.CSS(".filter")))
}

// TestPeopleApproveOnPages answers approvals with the form of the execution's
// page.
func TestPeopleApproveOnPages(t *testing.T) {
	s := handlerstest.New(t)
	s.AddSamples(time.Now())
	for _, id := range []string{"ask-1", "ask-2"} {
		x := asking(id, "token-of-"+id)
		x.Repo.Forge, x.Repo.Owner, x.Repo.Name = "github", "harbour", "crane"
		x.Stages[0].Actions[0].Approval.Message = "Ship <b>it</b>?"
		x.Stages[0].Actions[0].Approval.Link = "javascript:alert(1)"
		s.AddExecution(x)
	}
	ctx := browser(t)
	run(t, ctx, scripts(false))
	text(t, ctx, s.URL+s.Handlers.SignInPath())
	wants(t, "what is asked", text(t, ctx, s.URL+"/executions/ask-1"), "Prod / ok waits for approval", "Ship <b>it</b>?", "May answer: octo/release", "Approve", "Reject")
	if bad := get(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll('a[href^="javascript:"]').length`)); bad > 0 {
		t.Error("an approval's link runs a script")
	}
	run(t, ctx, chromedp.SendKeys(chromedp.CSS(`.answer input[name="message"]`), "fine by me"))
	press(t, ctx, ".answer .primary")
	run(t, ctx, chromedp.Navigate(s.URL+"/executions/ask-2"))
	press(t, ctx, ".answer .danger")
	events := s.Events()
	if len(events) != 2 {
		t.Fatalf("got events %+v", events)
	}
	if e := events[0]; e.Type != pipeline.ApprovalGiven || !e.Enable || e.Token != "token-of-ask-1" || e.Reason != "fine by me" || e.Execution != "ask-1" {
		t.Errorf("approved: %+v", e)
	}
	if e := events[1]; e.Enable || e.Execution != "ask-2" {
		t.Errorf("rejected: %+v", e)
	}
}

// TestPageLoadsNothingForeign checks the policy by what the browser reports:
// no violation, no request to another host, little weight.
//
// Attacks: 20.
func TestPageLoadsNothingForeign(t *testing.T) {
	s := sampled(t, openReading)
	ctx := browser(t)
	for _, p := range pagesWant {
		run(t, ctx, chromedp.Navigate(s.URL+p.path))
		foreign := get(t, ctx, chromedp.Evaluate[[]string](`performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith(location.origin))`))
		weight := get(t, ctx, chromedp.Evaluate[int](`document.documentElement.outerHTML.length + performance.getEntriesByType("resource").reduce((sum, r) => sum + r.decodedBodySize, 0)`))
		if len(foreign) > 0 || weight > 200_000 {
			t.Errorf("%s: %d bytes, foreign %v", p.name, weight, foreign)
		}
	}
}

func TestScreenshots(t *testing.T) {
	if screenshots == "" {
		return // a picture is for people; the other tests read the pages
	}
	s := sampled(t)
	ctx := browser(t)
	run(t, ctx, chromedp.Navigate(s.URL+s.Handlers.SignInPath()))
	for _, p := range pagesWant {
		t.Run(p.name, func(t *testing.T) { shoot(t, ctx, p.name, s.URL+p.path) })
	}
}

// shoot takes pictures of a page, in light and dark, wide and narrow.
func shoot(t *testing.T, ctx context.Context, name, address string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		for _, width := range []int64{1280, 390} {
			run(t, ctx, send(emulation.SetEmulatedMedia, media), chromedp.EmulateViewport(width, 900), chromedp.Navigate(address), chromedp.WaitReady(chromedp.CSS("main")))
			picture := get(t, ctx, chromedp.FullScreenshot(100))
			file := fmt.Sprintf("%s-%s-%d.png", strings.ReplaceAll(name, " ", "-"), scheme, width)
			if err := os.WriteFile(filepath.Join(screenshots, file), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
