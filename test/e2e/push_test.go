package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

const owner = "acme"

// awaitChecks waits for n completed check runs of a commit.
func (s *system) awaitChecks(t *testing.T, r forgetest.Repo, sha string, n int) (list []forgetest.CheckRun) {
	t.Helper()
	await(t, buildLimit, func(context.Context) error {
		list = s.github.CheckRuns(r.FullName(), sha)
		if len(list) != n {
			return fmt.Errorf("checks of %s: %s, want %d", sha, brief(list), n)
		}
		for _, c := range list {
			if c.Status != "completed" {
				return fmt.Errorf("checks of %s: %s, want all completed", sha, brief(list))
			}
		}
		return nil
	})
	return list
}

// open fetches a page or a file as a signed-in person sees it.
func (s *system) open(t *testing.T, address string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s (%v): %.300s", address, resp.Status, err, body)
	}
	return body
}

func TestPushToGreenCheck(t *testing.T) {
	t.Parallel()
	s := newSystem(t, setup{runners: []string{"host"}, slots: 1})
	r := s.repo(t, owner, "green")
	files := map[string]string{
		"buildspec.yml": `version: 0.2
phases:
  install:
    commands: ["echo installing"]
  build:
    commands:
      - echo "hello from $CODEBUILD_RESOLVED_SOURCE_VERSION on $CODEBUILD_WEBHOOK_TRIGGER"
      - mkdir -p out && echo result > out/result.txt
      - sleep 1
artifacts:
  files: ["out/**/*"]
`,
	}
	// While the only runner is away the check says that the build waits.
	if err := s.runners[0].stop(); err != nil {
		t.Fatal(err)
	}
	sha := s.push(t, r, "main", "first", files)
	await(t, startLimit, func(context.Context) error {
		if list := s.github.CheckRuns(r.FullName(), sha); len(list) != 1 || list[0].Title != "Queued (1st in line)" {
			return fmt.Errorf("checks of %s: %s, want one that is queued", sha, brief(list))
		}
		return nil
	})
	if err := s.runners[0].start(); err != nil {
		t.Fatal(err)
	}
	x := s.awaitExecution(t, sha)
	if x.Status != "Succeeded" {
		t.Fatalf("got %s: %s, want Succeeded", x.Status, x.Reason)
	}
	check := s.awaitChecks(t, r, sha, 1)[0]
	if check.Name != "slipway / default" || check.Conclusion != "success" || check.DetailsURL != x.URL {
		t.Errorf("got check %q %s at %s, want slipway / default, success at %s", check.Name, check.Conclusion, check.DetailsURL, x.URL)
	}
	var states []string
	for _, h := range check.History {
		if n := len(states); n == 0 || states[n-1] != h.Status {
			states = append(states, h.Status)
		}
	}
	if diff := cmp.Diff([]string{"queued", "in_progress", "completed"}, states); diff != "" {
		t.Errorf("states of the check (-want +got)\n%s", diff)
	}
	for _, want := range []string{"| Phase | State | Duration |", "| INSTALL | ✅ succeeded |", "| BUILD | ✅ succeeded |", "| UPLOAD\\_ARTIFACTS | ✅ succeeded |"} {
		if !strings.Contains(strings.ReplaceAll(check.Summary, "\\_", "_"), strings.ReplaceAll(want, "\\_", "_")) {
			t.Errorf("the check's summary lacks %q:\n%s", want, check.Summary)
		}
	}
	s.checkPages(t, check, x, "hello from "+sha+" on branch/main")
	s.checkArtifact(t, x)
}

// checkPages follows the check's link, as its reader does, to the log.
func (s *system) checkPages(t *testing.T, check forgetest.CheckRun, x execution, line string) {
	t.Helper()
	b := x.buildAction().Build
	if page := string(s.open(t, check.DetailsURL)); !strings.Contains(page, "/builds/"+b) {
		t.Errorf("the page at details_url has no link to build %s", b)
	}
	if page := string(s.open(t, s.url+"/builds/"+b)); !strings.Contains(page, line) {
		t.Errorf("the build's page doesn't show %q", line)
	}
	if log := string(s.open(t, s.url+"/api/v1/builds/"+b+"/log")); strings.Count(log, line) != 1 {
		t.Errorf("want %q once in the log:\n%s", line, log)
	}
}

func (s *system) checkArtifact(t *testing.T, x execution) {
	t.Helper()
	var b build
	if err := s.call(t.Context(), "GET", "/api/v1/builds/"+x.buildAction().Build, nil, &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Artifacts) != 1 {
		t.Fatalf("got artifacts %+v, want one", b.Artifacts)
	}
	a := b.Artifacts[0]
	data := s.open(t, s.url+"/api/v1/builds/"+b.ID+"/artifacts/"+a.Name)
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != a.Digest || int64(len(data)) != a.Bytes {
		t.Errorf("the artifact has %d bytes and sum %x, want %+v", len(data), sum, a)
	}
}

func TestRerun(t *testing.T) {
	s := shared(t)
	r := s.repo(t, owner, "rerun")
	sha := s.push(t, r, "main", "first", buildspec("echo once more"))
	first := s.awaitExecution(t, sha)
	check := s.awaitChecks(t, r, sha, 1)[0]
	s.github.SetPermission(r.FullName(), "octocat", "read")
	d := s.awaitDecision(t, s.deliver(t, "check_run", forgetest.CheckPayload(r, check, "rerequested", "")))
	if d.Decision != "ignored" || !strings.Contains(d.Reason, "octocat may not run it again") {
		t.Errorf("asked by one who may only read: got %+v, want it refused", d)
	}
	s.github.SetPermission(r.FullName(), "octocat", "write")
	tests := []struct {
		event   string
		payload any
	}{
		{"check_run", forgetest.CheckPayload(r, check, "rerequested", "")},
		{"check_run", forgetest.CheckPayload(r, check, "requested_action", "rerun_all")},
		{"check_suite", forgetest.SuitePayload(r, sha, appID)},
	}
	for i, tt := range tests {
		d := s.awaitDecision(t, s.deliver(t, tt.event, tt.payload))
		if d.Decision != "started" || len(d.Executions) != 1 || d.Executions[0] == first.ID {
			t.Fatalf("%s %s: got %+v, want a new execution", d.Event, d.Action, d)
		}
		checks := s.awaitChecks(t, r, sha, i+2)
		again := checks[len(checks)-1]
		if again.Name != check.Name || again.Conclusion != "success" || !strings.HasPrefix(again.ExternalID, d.Executions[0]) {
			t.Errorf("got check %s, want success for execution %s", brief(checks), d.Executions[0])
		}
	}
}

func TestStop(t *testing.T) {
	s := shared(t)
	r := s.repo(t, owner, "stop")
	sha := s.push(t, r, "main", "endless", buildspec("echo begun", "sleep 300"))
	x := s.awaitLog(t, sha, "begun")
	if err := s.call(t.Context(), "POST", "/api/v1/executions/"+x.ID+"/stop", map[string]string{"reason": "changed my mind"}, nil); err != nil {
		t.Fatal(err)
	}
	x = s.awaitExecution(t, sha)
	if x.Status != "Stopped" || !strings.Contains(x.Reason, "changed my mind") {
		t.Errorf("got %s because %q, want Stopped because of our reason", x.Status, x.Reason)
	}
	var b build
	if err := s.call(t.Context(), "GET", "/api/v1/builds/"+x.buildAction().Build, nil, &b); err != nil || b.Status != "STOPPED" {
		t.Errorf("the build is %s (%v), want STOPPED", b.Status, err)
	}
	if c := s.awaitChecks(t, r, sha, 1)[0]; c.Conclusion != "cancelled" {
		t.Errorf("got check %s, want cancelled", brief([]forgetest.CheckRun{c}))
	}
}

// awaitLog waits until the build of a commit has said something.
func (s *system) awaitLog(t *testing.T, sha, line string) execution {
	t.Helper()
	x := s.awaitState(t, sha, func(x execution) bool { return x.buildAction().Build != "" })
	await(t, buildLimit, func(ctx context.Context) error {
		var log string
		if err := s.call(ctx, "GET", "/api/v1/builds/"+x.buildAction().Build+"/log", nil, &log); err != nil {
			return err
		}
		if !strings.Contains(log, line) {
			return fmt.Errorf("the log has no %q", line)
		}
		return nil
	})
	return x
}

// TestServerRestartMidBuild kills the server under a build that its runner
// goes on with: nothing is lost, and nothing is done twice. What GitHub could
// not deliver meanwhile, it is asked for (C39).
func TestServerRestartMidBuild(t *testing.T) {
	t.Parallel()
	s := newSystem(t, setup{runners: []string{"host"}, slots: 1})
	r := s.repo(t, owner, "restart")
	sha := s.push(t, r, "main", "long", buildspec(`for i in $(seq 1 40); do echo "line $i."; sleep 0.1; done`))
	s.awaitLog(t, sha, "line 5.")
	if err := s.server.kill(); err != nil {
		t.Fatal(err)
	}
	s.github.Hook(s.url + "/webhooks/github")
	missed := s.commit(t, r, "missed", "while nobody listens", buildspec("true"))
	delivery := forgetest.Delivery{Event: "push", Secret: webhookSecret, Payload: missed.Payload(r)}
	if a := s.github.Send(t.Context(), delivery, time.Hour); a.StatusCode != 0 {
		t.Errorf("a dead server answered %d", a.StatusCode)
	}
	if err := s.server.start(); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), startLimit, func(ctx context.Context) error { return s.call(ctx, "GET", "/readyz", nil, nil) }); err != nil {
		t.Fatal(err)
	}
	x := s.awaitExecution(t, sha)
	a := x.buildAction()
	if x.Status != "Succeeded" || len(a.Earlier) > 0 {
		t.Errorf("got %s: %s after lost attempts %v, want Succeeded at once", x.Status, x.Reason, a.Earlier)
	}
	var log string
	if err := s.call(t.Context(), "GET", "/api/v1/builds/"+a.Build+"/log", nil, &log); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 40; i++ {
		if n := strings.Count(log, fmt.Sprintf("line %d.\n", i)); n != 1 {
			t.Errorf("line %d is %d times in the log", i, n)
		}
	}
	for _, sha := range []string{sha, missed.After} {
		if c := s.awaitChecks(t, r, sha, 1)[0]; c.Conclusion != "success" {
			t.Errorf("got check %s, want success", brief([]forgetest.CheckRun{c}))
		}
	}
}
