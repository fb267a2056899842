package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
)

const testSHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"

// world is a fake GitHub with one repository, and a client as an App.
type world struct {
	*forgetest.GitHub
	client *Client
	repo   forge.Repo
}

var testKey = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

func newWorld(t *testing.T, fake forgetest.Options, own Options) world {
	t.Helper()
	spec := filepath.Join(testenv.Root(), "..", "shared", "openapi", "github.json")
	if _, err := os.Stat(spec); err == nil {
		fake.Spec = spec
	}
	fake.Key = &testKey.PublicKey
	g := forgetest.NewGitHub(t, fake)
	r := g.AddRepo(forgetest.Repo{ID: 42, Owner: "octo", Name: "hello"})
	own.BaseURL, own.Spacing = g.URL, -1
	if own.Token == "" {
		own.AppID, own.Key = 1, testKey
	}
	client, err := New(own)
	if err != nil {
		t.Fatal(err)
	}
	return world{g, client, forge.Repo{Forge: "github", ID: "42", Owner: r.Owner, Name: r.Name}}
}

func (w world) put(t *testing.T, run *forge.CheckRun) {
	t.Helper()
	if err := w.client.PutCheckRun(t.Context(), w.repo, 1, run); err != nil {
		t.Fatal(err)
	}
}

func queued() *forge.CheckRun {
	return &forge.CheckRun{
		Name: "slipway / default", SHA: testSHA, ExternalID: "e1:1", Status: "queued",
		DetailsURL: "https://ci.example/executions/e1", Title: "Queued", Summary: "Waiting for a runner.",
	}
}

func TestDescriptionIsUsed(t *testing.T) {
	testenv.Shared(t, "openapi/github.json")
	w := newWorld(t, forgetest.Options{}, Options{})
	w.put(t, queued())
}

func TestC13CheckRunLife(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	run := queued()
	w.put(t, run)
	run.Status, run.Title, run.StartedAt = "in_progress", "Build 1/2", time.Now()
	w.put(t, run)
	run.Status, run.Conclusion, run.Title, run.CompletedAt = "completed", "success", "Passed in 4s", time.Now()
	w.put(t, run)

	checks := w.CheckRuns("octo/hello", testSHA)
	if len(checks) != 1 || checks[0].ID != run.ID {
		t.Fatalf("got %+v, want one check run %d", checks, run.ID)
	}
	var states []string
	for _, h := range checks[0].History {
		states = append(states, h.Status+" "+h.Conclusion)
	}
	if got, want := strings.Join(states, ", "), "queued , in_progress , completed success"; got != want {
		t.Errorf("history: got %q, want %q", got, want)
	}
	if checks[0].StartedAt == nil || checks[0].CompletedAt == nil {
		t.Error("times are missing")
	}
	calls := ""
	for _, r := range w.Requests("check-runs") {
		calls += r.Method + " "
	}
	if calls != "POST PATCH PATCH " {
		t.Errorf("calls: got %s", calls)
	}
	if got := len(w.Requests("access_tokens")); got != 1 {
		t.Errorf("minted %d tokens, want 1", got)
	}
	if body := w.Requests("access_tokens")[0].Body; !strings.Contains(body, `"repository_ids":[42]`) || !strings.Contains(body, `"checks":"write"`) {
		t.Errorf("token is not down-scoped: %s", body)
	}
}

func remarks(n int) []forge.Annotation {
	var list []forge.Annotation
	for i := range n {
		list = append(list, forge.Annotation{Path: "a.go", StartLine: i + 1, EndLine: i + 1, Level: "failure", Message: "broken"})
	}
	return list
}

func finished(annotations int) *forge.CheckRun {
	run := queued()
	run.Status, run.Conclusion, run.Annotations = "completed", "failure", remarks(annotations)
	return run
}

func TestC35Batches(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	run := queued()
	w.put(t, run)
	run.Status, run.Conclusion, run.Annotations = "completed", "failure", remarks(120)
	run.Summary = strings.Repeat("😀 line\n", 9000) + "```\n" + strings.Repeat("😀 code\n", 9000)
	w.put(t, run)
	if got := len(w.Requests("PATCH")); got != 3 {
		t.Errorf("got %d PATCHes, want 3", got)
	}
	check := w.CheckRuns("octo/hello", "")[0]
	if len(check.Annotations) != 120 || run.Sent != 120 {
		t.Errorf("got %d annotations, %d counted, want 120", len(check.Annotations), run.Sent)
	}
}

func TestC35BatchIsNotSentTwice(t *testing.T) {
	for name, fault := range map[string]forgetest.Fault{
		"refused for now":   {On: "PATCH", Status: 429, Times: 1, Every: 2},
		"answer lost":       {On: "PATCH", Drop: true, Times: 1, Every: 2},
		"lost when created": {On: "POST /repos/octo/hello/check-runs", Drop: true, Times: 1},
		"gateway fails":     {On: "PATCH", Status: 502, Times: 1, Every: 2},
		"many answers lost": {On: "check-runs", Drop: true, Every: 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, forgetest.Options{}, Options{})
			w.Fail(fault)
			run := finished(120)
			for tries := 0; ; tries++ {
				err := w.client.PutCheckRun(t.Context(), w.repo, 1, run)
				if err == nil {
					break
				}
				if _, ok := errors.AsType[*forge.RetryError](err); !ok || tries > 10 {
					t.Fatalf("got %v, want a RetryError", err)
				}
			}
			checks := w.CheckRuns("octo/hello", "")
			if len(checks) != 1 || len(checks[0].Annotations) != 120 || checks[0].Conclusion != "failure" {
				t.Fatalf("%d check runs; want one with 120 annotations", len(checks))
			}
		})
	}
}

func TestC37Refusals(t *testing.T) {
	reset := time.Now().Add(90 * time.Second)
	tests := []struct {
		name     string
		fault    forgetest.Fault
		min, max time.Duration
		sure     bool
	}{
		{"429 with Retry-After", forgetest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}}, 7 * time.Second, 7 * time.Second, true},
		{"429 without", forgetest.Fault{Status: 429}, time.Minute, time.Minute, true},
		{"secondary limit without a header", forgetest.Fault{Status: 403, Body: `{"message":"You have exceeded a secondary rate limit."}`}, time.Minute, time.Minute, true},
		{"primary limit", forgetest.Fault{Status: 403, Body: `{"message":"API rate limit exceeded"}`, Header: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(reset.Unix(), 10)}}, 80 * time.Second, 92 * time.Second, true},
		{"a reset far away", forgetest.Fault{Status: 429, Header: map[string]string{"Retry-After": "86400"}}, 15 * time.Minute, 15 * time.Minute, true},
		{"502", forgetest.Fault{Status: 502}, 0, 0, false},
		{"lost answer", forgetest.Fault{Drop: true}, 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, forgetest.Options{}, Options{})
			tt.fault.On, tt.fault.Times = "POST /repos/octo/hello/check-runs", 1
			w.Fail(tt.fault)
			run := queued()
			err := w.client.PutCheckRun(t.Context(), w.repo, 1, run)
			retry, ok := errors.AsType[*forge.RetryError](err)
			if !ok || retry.After < tt.min || retry.After > tt.max {
				t.Fatalf("got %v, want a RetryError after %s", err, tt.min)
			}
			if run.Unsure == tt.sure {
				t.Errorf("Unsure is %v", run.Unsure)
			}
			w.put(t, run)
			if n := len(w.CheckRuns("octo/hello", "")); n != 1 {
				t.Errorf("got %d check runs, want 1", n)
			}
		})
	}
}

func TestHangingForge(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Fail(forgetest.Fault{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	run := queued()
	if err := w.client.PutCheckRun(ctx, w.repo, 1, run); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the caller's deadline", err)
	}
	if !run.Unsure {
		t.Error("the caller isn't told to look first")
	}
}

func TestC38Suspended(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Suspend(1, true)
	for range 3 {
		err := w.client.PutCheckRun(t.Context(), w.repo, 1, queued())
		if !errors.Is(err, ErrSuspended) || !errors.Is(err, forge.ErrForbidden) {
			t.Fatalf("got %v, want ErrSuspended", err)
		}
	}
	if got := len(w.Requests("access_tokens")); got != 1 {
		t.Errorf("asked for a token %d times, want once", got)
	}
	w.Suspend(1, false)
	w.client.Forget(1)
	w.put(t, queued())
}

func TestWrongKey(t *testing.T) {
	w := newWorld(t, forgetest.Options{AppID: 9}, Options{}) // the client is App 1
	err := w.client.PutCheckRun(t.Context(), w.repo, 1, queued())
	if !errors.Is(err, forge.ErrForbidden) || errors.Is(err, ErrSuspended) || !strings.Contains(err.Error(), "credentials are refused") {
		t.Errorf("got %v, want refused credentials", err)
	}
	if err := w.client.Check(t.Context()); !errors.Is(err, forge.ErrForbidden) {
		t.Errorf("Check: %v", err)
	}
}

func TestSuspendedWithToken(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.put(t, queued())
	w.Suspend(1, true)
	run := queued()
	if err := w.client.PutCheckRun(t.Context(), w.repo, 1, run); !errors.Is(err, forge.ErrForbidden) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
}

func TestMissingPermission(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Grant(1, map[string]string{"contents": "read", "statuses": "write"})
	if err := w.client.PutCheckRun(t.Context(), w.repo, 1, queued()); !errors.Is(err, forge.ErrForbidden) || errors.Is(err, ErrSuspended) {
		t.Errorf("check run: got %v, want ErrForbidden", err)
	}
	status := forge.CommitStatus{SHA: testSHA, Context: "slipway/default", State: "pending", Description: strings.Repeat("é", 300), TargetURL: "https://ci.example/"}
	if err := w.client.SetStatus(t.Context(), w.repo, 0, status); err != nil {
		t.Fatal(err)
	}
	got := w.Statuses("octo/hello", testSHA)
	if len(got) != 1 || got[0].State != "pending" || len([]rune(got[0].Description)) != 140 {
		t.Errorf("got %+v", got)
	}
}

func TestExpiredToken(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	run := queued()
	w.put(t, run)
	w.ExpireTokens()
	w.put(t, run)
	if got := len(w.Requests("access_tokens")); got != 2 {
		t.Errorf("minted %d tokens, want 2", got)
	}
	// A forge that refuses every token is not asked for ever.
	w.Fail(forgetest.Fault{On: "check-runs", Status: 401, Body: `{"message":"Bad credentials"}`})
	if err := w.client.PutCheckRun(t.Context(), w.repo, 1, run); !errors.Is(err, forge.ErrForbidden) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
	if got := len(w.Requests("access_tokens")); got != 3 {
		t.Errorf("minted %d tokens, want 3", got)
	}
}

func TestTokenIsRenewedInTime(t *testing.T) {
	now := time.Now()
	w := newWorld(t, forgetest.Options{}, Options{Now: func() time.Time { return now }})
	w.put(t, queued())
	now = now.Add(54 * time.Minute)
	w.put(t, queued())
	if got := len(w.Requests("access_tokens")); got != 1 {
		t.Errorf("minted %d tokens after 54 minutes, want 1", got)
	}
}

func TestClockSkew(t *testing.T) {
	ahead := func() time.Time { return time.Now().Add(-7 * time.Minute) } // GitHub is behind us
	w := newWorld(t, forgetest.Options{Now: ahead}, Options{})
	// The token that GitHub's clock gives is 53 minutes long for us.
	w.put(t, queued())
	if got := w.client.ClockOffset().Round(time.Minute); got != -7*time.Minute {
		t.Errorf("offset: got %s, want -7m", got)
	}
	if got := len(w.Requests("access_tokens")); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
}

// Attacks: 1.
func TestC41CloneToken(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	value, expires, err := w.client.Token(t.Context(), 0, w.repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(value) < 500 || time.Until(expires) < 50*time.Minute {
		t.Errorf("got a token of %d bytes until %s", len(value), expires)
	}
	if body := w.Requests("access_tokens")[0].Body; body != `{"repository_ids":[42],"permissions":{"contents":"read"}}`+"\n" {
		t.Errorf("asked for %s", body)
	}
	if got := len(w.Requests("GET /repos/octo/hello/installation")); got != 1 {
		t.Errorf("looked for the installation %d times, want once", got)
	}
	for range 2 { // also when it's gone already
		if err := w.client.Revoke(t.Context(), value); err != nil {
			t.Error(err)
		}
	}
	if got := len(w.Requests("DELETE /installation/token")); got != 2 {
		t.Errorf("%d revocations", got)
	}
}

func TestStaticToken(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{Token: "ghp_personal"})
	w.AddToken("ghp_personal")
	if err := w.client.PutCheckRun(t.Context(), w.repo, 0, queued()); !errors.Is(err, forge.ErrForbidden) {
		t.Errorf("check run: got %v, want ErrForbidden", err)
	}
	if err := w.client.SetStatus(t.Context(), w.repo, 0, forge.CommitStatus{SHA: testSHA, Context: "c", State: "success"}); err != nil {
		t.Error(err)
	}
	if value, _, err := w.client.Token(t.Context(), 0, w.repo, nil); value != "ghp_personal" || err != nil {
		t.Errorf("Token: %q, %v", value, err)
	}
	if err := w.client.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNoCredentials(t *testing.T) {
	client, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	repo := forge.Repo{Owner: "o", Name: "r"}
	if err := client.PutCheckRun(t.Context(), repo, 1, queued()); !errors.Is(err, forge.ErrNoCredentials) {
		t.Errorf("got %v", err)
	}
	if _, _, err := client.Token(t.Context(), 1, repo, nil); !errors.Is(err, forge.ErrNoCredentials) {
		t.Errorf("got %v", err)
	}
}

func TestC50EnterprisePrefix(t *testing.T) {
	w := newWorld(t, forgetest.Options{Prefix: "/api/v3"}, Options{})
	w.put(t, queued())
	if !strings.HasSuffix(w.URL, "/api/v3/") || len(w.CheckRuns("octo/hello", "")) != 1 {
		t.Errorf("no check run below %s", w.URL)
	}
}

func TestC43OwnHostOnly(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	other := forgetest.NewGitHub(t, forgetest.Options{})
	w.Fail(forgetest.Fault{On: "/contents/", Status: 302, Header: map[string]string{"Location": other.URL + "secret"}})
	if _, err := w.client.File(t.Context(), w.repo, testSHA, "a"); err == nil {
		t.Error("followed a redirect to another host")
	}
	if got := len(other.Requests("")); got != 0 {
		t.Errorf("the other host got %d requests", got)
	}
	bad := w.repo
	bad.Owner = "../app"
	if err := w.client.PutCheckRun(t.Context(), bad, 1, queued()); !errors.Is(err, forge.ErrRejected) {
		t.Errorf("got %v, want ErrRejected", err)
	}
}

func TestCreatedAgainWithAllAnnotations(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	run := finished(60)
	run.Sent, run.Unsure = 50, true // of a check run that the forge no longer has
	w.put(t, run)
	if got := w.CheckRuns("octo/hello", "")[0]; len(got.Annotations) != 60 {
		t.Errorf("got %d annotations, want 60", len(got.Annotations))
	}
}

func TestRejected(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Fail(forgetest.Fault{On: "POST /repos/octo/hello/check-runs", Status: 422, Times: 1, Body: `{"message":"Invalid request","errors":[{"field":"annotations","message":"is odd"}]}`})
	run := finished(3)
	err := w.client.PutCheckRun(t.Context(), w.repo, 1, run)
	if !errors.Is(err, forge.ErrRejected) || !strings.Contains(err.Error(), "annotations is odd") || run.Unsure || run.Sent != 0 {
		t.Errorf("got %v, %+v", err, run)
	}
}

// Attacks: 30.
func TestErrorsTellNoSecret(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{Token: "ghp_verysecret"})
	for _, status := range []int{http.StatusUnauthorized, http.StatusBadGateway, http.StatusUnprocessableEntity} {
		w.Heal()
		w.Fail(forgetest.Fault{Status: status})
		err := w.client.PutCheckRun(t.Context(), w.repo, 1, queued())
		if err == nil || strings.Contains(err.Error(), "verysecret") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// Whatever the forge does, each check run is there once, whole, and with its
// last word.
func TestChaos(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Fail(forgetest.Fault{On: "check-runs", Drop: true, Probability: 0.25})
	w.Fail(forgetest.Fault{On: "check-runs", Status: 502, Probability: 0.2})
	w.Fail(forgetest.Fault{On: "check-runs", Status: 429, Probability: 0.1})
	w.Fail(forgetest.Fault{On: "access_tokens", Status: 500, Probability: 0.3})
	const runs = 20
	for i := range runs {
		run := queued()
		run.ExternalID = "e" + strconv.Itoa(i)
		for _, status := range []string{"queued", "in_progress", "completed"} {
			if run.Status = status; status == "completed" {
				run.Conclusion, run.Annotations = "success", remarks(120)
			}
			for tries := 0; ; tries++ {
				err := w.client.PutCheckRun(t.Context(), w.repo, 1, run)
				if err == nil {
					break
				}
				if _, ok := errors.AsType[*forge.RetryError](err); !ok || tries > 200 {
					t.Fatalf("try %d: %v", tries, err)
				}
			}
		}
	}
	checks := w.CheckRuns("octo/hello", "")
	if len(checks) != runs {
		t.Errorf("got %d check runs, want %d", len(checks), runs)
	}
	for _, c := range checks {
		if c.Conclusion != "success" || len(c.Annotations) != 120 {
			t.Errorf("%s: %s with %d annotations", c.ExternalID, c.Conclusion, len(c.Annotations))
		}
	}
}
