package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge/forgetest"
)

const hookKey = "key of the webhook's signatures"

// audience is everybody who is told something: a Slack, a webhook's receiver,
// a topic, and somebody who has moved away.
type audience struct {
	*httptest.Server
	mu     sync.Mutex
	slack  []map[string]any
	hooks  []map[string]any
	topics []url.Values
	// down has the webhook's receiver fail.
	down bool
	back atomic.Bool // who had moved away is there again
	odd  []string    // what should not have come
}

func newAudience(t *testing.T) *audience {
	a := &audience{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /slack/chat.postMessage", a.onSlack)
	mux.HandleFunc("POST /hook", a.onHook)
	mux.HandleFunc("POST /sns/", a.onTopic)
	mux.HandleFunc("POST /nobody", func(w http.ResponseWriter, _ *http.Request) {
		if !a.back.Load() {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *audience) onSlack(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var post map[string]any
	if err := json.NewDecoder(r.Body).Decode(&post); err != nil || r.Header.Get("Authorization") != "Bearer xoxb-e2e" {
		a.odd = append(a.odd, fmt.Sprint("slack: ", err, r.Header))
	}
	a.slack = append(a.slack, post)
	fmt.Fprintf(w, `{"ok":true,"ts":"%d.0"}`, len(a.slack))
}

func (a *audience) onHook(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(hookKey))
	mac.Write(body)
	if have, want := r.Header.Get("X-Slipway-Signature-256"), "sha256="+hex.EncodeToString(mac.Sum(nil)); err != nil || have != want {
		a.odd = append(a.odd, fmt.Sprintf("webhook: %v, signature %q, want %q", err, have, want))
	}
	if a.down {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		a.odd = append(a.odd, err.Error())
	}
	a.hooks = append(a.hooks, event)
}

func (a *audience) onTopic(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	form, parseErr := url.ParseQuery(string(body))
	if err != nil || parseErr != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") {
		a.odd = append(a.odd, fmt.Sprint("sns: ", err, parseErr, r.Header))
	}
	a.topics = append(a.topics, form)
	_, _ = io.WriteString(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`)
}

// setDown has the webhook's receiver fail or work.
func (a *audience) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

// heard are the types of the events of an execution that the webhook's receiver
// got, without repeats of the same ID.
func (a *audience) heard(execution string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []string
	seen := map[string]bool{}
	for _, e := range a.hooks {
		id, subject := fmt.Sprint(e["id"]), fmt.Sprint(e["subject"])
		if x, _, _ := strings.Cut(subject, "/"); x == execution && !seen[id] {
			seen[id] = true
			list = append(list, strings.TrimPrefix(fmt.Sprint(e["type"]), "slipway."))
		}
	}
	return list
}

func (a *audience) config(root string) string {
	return fmt.Sprintf(`notifications:
  comments: failures
  statuses: also
  targets:
    - {name: chat, type: slack, token: xoxb-e2e, channel: "#builds", api: %[1]s/slack/}
    - {name: hook, type: webhook, url: %[1]s/hook, secret: %[2]q, events: ["pipeline-*", "manual-*", "deployment-*"]}
    - {name: topic, type: sns, topic_arn: "arn:aws:sns:eu-central-1:123456789012:builds", endpoint: %[1]s/sns/,
       access_key_id: AKIDEXAMPLE, secret_access_key: s3cr3t-key, repositories: [github/acme/*]}
    - {name: moved, type: webhook, url: %[1]s/nobody, events: [pipeline-execution-failed]}
    - {name: elsewhere, type: webhook, url: %[1]s/nobody, repositories: [github/other/*]}
environments:
  - {name: production, url: "https://web.example.com", production: true}
deployment_groups:
  - {name: web, application: web, repository: github/acme/told, root: %[3]s, branches: ["**"]}
`, a.URL, hookKey, root)
}

const toldPipeline = `slipway: 1
name: web
on:
  push: [{branches: [main]}]
stages:
  - name: Build
    actions:
      - build: unit
        out: site
  - name: Prod
    environment: production
    actions:
      - approve: go-live
        message: "Go live?"
      - codedeploy: roll-out
        application: web
        group: web
        in: site
`

// TestNotifications: a pull request that fails, and a release that asks and
// deploys, as everybody hears of them; meanwhile a receiver fails and the
// server is killed.
func TestNotifications(t *testing.T) {
	t.Parallel()
	a := newAudience(t)
	root := t.TempDir()
	s := newSystem(t, setup{up: true, slots: 2, config: a.config(root), lease: "3s"})
	r := s.repo(t, owner, "told")
	p := s.pull(t, r, 7, buildspec("echo testing", "echo it breaks; exit 3"))
	failed := s.awaitExecution(t, p.HeadSHA)
	await(t, buildLimit, func(context.Context) error {
		if got := a.heard(failed.ID); !slices.Equal(got, []string{"pipeline-execution-started", "pipeline-execution-failed"}) {
			return fmt.Errorf("the webhook heard %v", got)
		}
		return nil
	})
	s.checkComment(t, r, p)

	// The receiver fails, and the server is killed with messages on their way.
	a.setDown(true)
	files := buildspec("echo built")
	files[".slipway/pipeline.yml"] = toldPipeline
	files["buildspec.yml"] += "artifacts: {files: ['**/*']}\n"
	files["appspec.yml"] = "version: 0.0\nos: linux\nfiles:\n  - {source: /index.html, destination: /srv/web}\n"
	files["index.html"] = "hello"
	sha := s.push(t, r, "main", "Release it", files)
	waits := s.awaitState(t, sha, waitsAtGate)
	if err := s.server.kill(); err != nil {
		t.Fatal(err)
	}
	a.setDown(false)
	if err := s.server.start(); err != nil {
		t.Fatal(err)
	}
	await(t, startLimit, func(ctx context.Context) error {
		return s.call(ctx, http.MethodPost, "/api/v1/executions/"+waits.ID+"/approve", map[string]string{"stage": "Prod", "action": "go-live"}, nil)
	})
	want := []string{
		"pipeline-execution-started", "manual-approval-needed", "manual-approval-succeeded",
		"deployment-started", "deployment-succeeded", "pipeline-execution-succeeded",
	}
	await(t, buildLimit, func(context.Context) error {
		if diff := cmp.Diff(want, a.heard(waits.ID)); diff != "" {
			return fmt.Errorf("what the webhook heard (-want +got)\n%s", diff)
		}
		return nil
	})
	s.checkDeployment(t, r, sha)
	a.checkOthers(t)
	s.checkDeadLetters(t, a)
	s.checkStatuses(t, r, sha)
}

func (s *system) checkComment(t *testing.T, r forgetest.Repo, p forgetest.Pull) {
	t.Helper()
	await(t, startLimit, func(context.Context) error {
		list := s.github.Comments(r.FullName(), p.Number)
		if len(list) != 1 || !strings.Contains(list[0].Body, "exit 3") {
			return fmt.Errorf("comments %+v, want one that says why", list)
		}
		t.Logf("comment on the pull request:\n%s", list[0].Body)
		return nil
	})
}

func (s *system) checkDeployment(t *testing.T, r forgetest.Repo, sha string) {
	t.Helper()
	await(t, startLimit, func(context.Context) error {
		list := s.github.Deployments(r.FullName())
		if len(list) != 1 || len(list[0].Statuses) == 0 || list[0].Statuses[len(list[0].Statuses)-1].State != "success" {
			return fmt.Errorf("deployments %+v", list)
		}
		d := list[0] // states that passed while the server was dead are not shown
		if d.SHA != sha || d.Environment != "production" || !d.Production || d.Statuses[0].EnvironmentURL != "https://web.example.com" {
			t.Errorf("deployment %+v", d)
		}
		t.Logf("deployment: %+v", d)
		return nil
	})
}

// checkOthers looks at what Slack and the topic got.
func (a *audience) checkOthers(t *testing.T) {
	t.Helper()
	await(t, startLimit, func(context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		var titles, subjects []string
		for _, m := range a.slack {
			titles = append(titles, fmt.Sprint(m["text"]))
		}
		for _, f := range a.topics {
			subjects = append(subjects, f.Get("Subject"))
		}
		want := []string{"[FAILED] told #1 · Build/Build", "[WAITING] told web #1 · Prod/go-live", "[SUCCEEDED] told web #1"}
		if !slices.Equal(slices.Compact(slices.Clone(titles)), want) || len(subjects) < len(want) {
			return fmt.Errorf("Slack: %q, SNS: %q", titles, subjects)
		}
		if a.slack[len(a.slack)-1]["thread_ts"] != "2.0" {
			t.Errorf("the release's last message is in thread %v", a.slack[len(a.slack)-1]["thread_ts"])
		}
		return nil
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, list := range []any{a.slack, a.hooks, a.topics, a.odd} {
		data, _ := json.MarshalIndent(list, "", " ")
		for _, secret := range []string{hookKey, "xoxb-e2e", "s3cr3t-key", adminToken, webhookSecret} {
			if strings.Contains(string(data), secret) {
				t.Errorf("a message holds a secret: %s", data)
			}
		}
		t.Logf("%s", data)
	}
	if len(a.odd) > 0 {
		t.Error(a.odd)
	}
}

// checkDeadLetters: the message to who has moved away is kept for people, and
// can be sent again.
func (s *system) checkDeadLetters(t *testing.T, a *audience) {
	t.Helper()
	var page struct {
		Items []struct {
			ID, Queue, Reason string
			Entry             struct{ Target, Title string }
		}
	}
	if err := s.call(t.Context(), http.MethodGet, "/api/v1/dead-letters", nil, &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 1 || page.Items[0].Queue != "notification" || page.Items[0].Entry.Target != "moved" || !strings.HasPrefix(page.Items[0].Reason, "moved: ") {
		t.Fatalf("dead letters %+v", page)
	}
	t.Logf("dead letter: %+v", page.Items[0])
	replay := "/api/v1/dead-letters/" + page.Items[0].ID + "/replay"
	if err := s.call(t.Context(), http.MethodPost, replay, nil, nil); err == nil || !strings.Contains(err.Error(), "422") {
		t.Errorf("a replay that is refused again: %v, want 422", err)
	}
	a.back.Store(true)
	if err := s.call(t.Context(), http.MethodPost, replay, nil, nil); err != nil {
		t.Error(err)
	}
	if err := s.call(t.Context(), http.MethodPost, replay, nil, nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a replay of what is gone: %v, want 404", err)
	}
}

func (s *system) checkStatuses(t *testing.T, r forgetest.Repo, sha string) {
	t.Helper()
	await(t, startLimit, func(context.Context) error {
		list := s.github.Statuses(r.FullName(), sha)
		if len(list) == 0 || list[len(list)-1].State != "success" {
			return fmt.Errorf("statuses %+v", list)
		}
		return nil
	})
}
