package sender

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/notify"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares JSON with a file, laid out for people.
func golden(t *testing.T, name string, raw []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func failed() notify.Message {
	return notify.Message{
		ID: "0b0b5e3e-0000-5000-8000-000000000001", Event: "pipeline-execution-failed", Time: time.Date(2026, 3, 1, 12, 4, 31, 0, time.UTC),
		State: "FAILED", Forge: "github", Repo: "octo/web", Pipeline: "default", Execution: "x1", Number: 128, Ref: "refs/heads/main", Branch: "main",
		SHA: "abc1234def5678900000000000000000000000ff", Author: "ann", Subject: "Try <!channel> & more", Elapsed: 271 * time.Second,
		Culprit: "Build/unit",
		Problem: "go test ./... exited with code 1", Tail: []string{"--- FAIL: TestSum", "```", "FAIL"},
		URL: "https://ci.example.com/executions/x1", LogURL: "https://ci.example.com/builds/b1?line=42",
		DetailType: "CodePipeline Pipeline Execution State Change", Detail: json.RawMessage(`{"pipeline":"default","state":"FAILED"}`),
		Additional: json.RawMessage(`{"failedStage":"Build"}`),
	}
}

func asked() notify.Message {
	m := failed()
	m.Event, m.State, m.Stage, m.Action, m.Question = "manual-approval-needed", "WAITING", "Prod", "ok", "Release 1.2?"
	m.Culprit, m.Problem, m.Tail, m.LogURL, m.Elapsed, m.Additional = "", "", nil, "", 0, nil
	m.Approval = json.RawMessage(`{"region":"local","approval":{"token":"t-1"}}`)
	return m
}

// request is what a server got.
type request struct {
	path   string
	header http.Header
	body   []byte
}

// requests are what a server got.
type requests struct {
	mu   sync.Mutex
	list []request
}

func (r *requests) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// serve answers each request with the next answer, the last one again.
func serve(t *testing.T, answers ...func(w http.ResponseWriter)) (base string, got *requests) {
	got = &requests{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.mu.Lock()
		n := len(got.list)
		got.list = append(got.list, request{r.URL.Path, r.Header.Clone(), body})
		got.mu.Unlock()
		answers[min(n, len(answers)-1)](w)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func status(code int, header ...string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func says(text string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
}

// CodePipeline reference 3.15: CloudEvents 1.0, signed, with an ID that repeats
// keep.
func TestWebhook(t *testing.T) {
	base, got := serve(t, status(204))
	w := NewWebhook(Network{}, base+"/hook", "s3cret", "https://ci.example.com")
	for range 2 {
		if _, err := w.Send(t.Context(), failed(), ""); err != nil {
			t.Fatal(err)
		}
	}
	r := got.all()[0]
	if h := r.header.Get(SignatureHeader); h != Sign("s3cret", r.body) || h == Sign("other", r.body) {
		t.Errorf("signature %q", h)
	}
	if ct := r.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/cloudevents+json") {
		t.Errorf("content type %q", ct)
	}
	if string(got.all()[1].body) != string(r.body) {
		t.Error("a repeat has another body")
	}
	golden(t, "webhook", r.body)
}

// HMAC-SHA256 as RFC 4231 has it (test case 2).
func TestSign(t *testing.T) {
	if got := Sign("Jefe", []byte("what do ya want for nothing?")); got != "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" {
		t.Error(got)
	}
}

// Attacks: 36.
func TestSlackWebhook(t *testing.T) {
	base, got := serve(t, says("ok"))
	s := NewSlackWebhook(Network{}, base+"/services/T/B/secret")
	for _, m := range []notify.Message{failed(), asked()} {
		if thread, err := s.Send(t.Context(), m, ""); err != nil || thread != "" {
			t.Fatal(thread, err)
		}
	}
	golden(t, "slack_failed", got.all()[0].body)
	golden(t, "slack_approval", got.all()[1].body)
}

// A bot's messages of one execution are one thread; Slack says no with 200.
func TestSlackBot(t *testing.T) {
	base, got := serve(t, says(`{"ok":true,"ts":"1.2"}`), says(`{"ok":false,"error":"channel_not_found"}`), says(`{"ok":false,"error":"ratelimited"}`), says(`<html>`))
	s := NewSlackBot(Network{}, base, "xoxb-1", "#releases")
	thread, err := s.Send(t.Context(), failed(), "")
	if err != nil || thread != "1.2" {
		t.Fatal(thread, err)
	}
	_, err = s.Send(t.Context(), failed(), thread)
	if !errors.Is(err, notify.ErrRefused) {
		t.Errorf("channel_not_found: %v", err)
	}
	for range 2 {
		if _, err = s.Send(t.Context(), failed(), thread); !retries(err) {
			t.Errorf("a passing trouble: %v", err)
		}
	}
	r := got.all()[1]
	var post slackPost
	if err := json.Unmarshal(r.body, &post); err != nil || post.Thread != "1.2" || post.Channel != "#releases" {
		t.Errorf("%s, %v", r.body, err)
	}
	if r.path != "/chat.postMessage" || r.header.Get("Authorization") != "Bearer xoxb-1" {
		t.Errorf("%s %v", r.path, r.header)
	}
}

func retries(err error) bool {
	_, ok := errors.AsType[*forge.RetryError](err)
	return ok && !errors.Is(err, notify.ErrRefused)
}

// What a repeat may mend is told from what it won't, and no error names the
// address, which may be a secret.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter)
		retry  bool
		after  time.Duration
	}{
		{"500", status(500), true, 0},
		{"502", status(502), true, 0},
		{"503 with a time", status(503, "Retry-After", "9"), true, 9 * time.Second},
		{"429 with a time", status(429, "Retry-After", "7"), true, 7 * time.Second},
		{"429 without", status(429), true, 0},
		{"408", status(408), true, 0},
		{"400", status(400), false, 0},
		{"404", status(404), false, 0},
		{"410", status(410), false, 0},
		{"a redirect is not followed", status(302, "Location", "http://169.254.169.254/"), false, 0},
		{"hangs up", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base, got := serve(t, tt.answer)
			_, err := NewWebhook(Network{}, base+"/very-secret", "", "").Send(t.Context(), failed(), "")
			if err == nil || retries(err) != tt.retry || errors.Is(err, notify.ErrRefused) == tt.retry {
				t.Fatalf("%v, want a retry: %v", err, tt.retry)
			}
			if e, ok := errors.AsType[*forge.RetryError](err); ok && e.After != tt.after {
				t.Errorf("after %s, want %s", e.After, tt.after)
			}
			if strings.Contains(err.Error(), "very-secret") {
				t.Errorf("the error names the address: %v", err)
			}
			if len(got.all()) != 1 {
				t.Errorf("%d requests", len(got.all()))
			}
		})
	}
}

func TestNoAnswerInTime(t *testing.T) {
	gone := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-gone }))
	defer s.Close()
	defer close(gone)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := NewWebhook(Network{}, s.URL, "", "").Send(ctx, failed(), ""); !retries(err) {
		t.Error(err)
	}
}

// C43 for targets: what clouds keep at link-local addresses is never dialled.
// Attacks: 17.
func TestC43LinkLocalIsNotDialled(t *testing.T) {
	for _, target := range []string{"http://169.254.169.254/", "http://[fe80::1]/", "http://[fd00:ec2::254]/"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := NewWebhook(Network{}, target, "", "").Send(ctx, failed(), "")
		cancel()
		if !errors.Is(err, notify.ErrRefused) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	tests := []struct {
		url   string
		plain bool
		ok    bool
	}{
		{"https://hooks.slack.com/services/T/B/X", false, true},
		{"http://127.0.0.1:9/", false, true},
		{"http://example.com/", false, false},
		{"http://example.com/", true, true},
		{"https://user:password@example.com/", false, false},
		{"file:///etc/passwd", true, false},
		{"example.com", false, false},
		{"", false, false},
	}
	for _, tt := range tests {
		err := CheckURL(tt.url, tt.plain)
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.url, err)
		}
		if err != nil && tt.url != "" && strings.Contains(err.Error(), tt.url) {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
}

const topic = "arn:aws:sns:eu-central-1:123456789012:builds"

func newTopic(t *testing.T, base, arn string, chat bool) *Topic {
	t.Helper()
	s, err := NewTopic(t.Context(), TopicOptions{ARN: arn, Endpoint: base, AccessKey: "AKIDEXAMPLE", SecretKey: "secret", Chat: chat, Source: "https://ci.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const published = `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>`

func TestTopic(t *testing.T) {
	base, got := serve(t, says(published))
	for _, s := range []struct {
		topic   *Topic
		message notify.Message
	}{{newTopic(t, base, topic, false), failed()}, {newTopic(t, base, topic+".fifo", false), asked()}, {newTopic(t, base, topic, true), failed()}} {
		if _, err := s.topic.Send(t.Context(), s.message, ""); err != nil {
			t.Fatal(err)
		}
	}
	forms := make([]url.Values, 3)
	for i, r := range got.all() {
		var err error
		if forms[i], err = url.ParseQuery(string(r.body)); err != nil {
			t.Fatal(err)
		}
		if a := r.header.Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") || !strings.Contains(a, "/eu-central-1/sns/aws4_request") {
			t.Errorf("authorization %q", a)
		}
	}
	if f := forms[0]; f.Get("Action") != "Publish" || f.Get("TopicArn") != topic || f.Get("Subject") != "[FAILED] web #128 - Build/unit" {
		t.Errorf("%v", f)
	}
	golden(t, "sns_event", []byte(forms[0].Get("Message")))
	if f := forms[1]; f.Get("MessageGroupId") != "x1" || f.Get("MessageDeduplicationId") != asked().ID || f.Get("Subject") != "[WAITING] web #128 - Prod/ok" {
		t.Errorf("%v", f)
	}
	// CodePipeline reference 3.9: the approval's own document.
	if got := forms[1].Get("Message"); got != string(asked().Approval) {
		t.Errorf("approval %s", got)
	}
	golden(t, "sns_chat", []byte(forms[2].Get("Message")))
}

func TestTopicAnswers(t *testing.T) {
	refuse := func(code int, name string) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>`+name+`</Code><Message>m</Message></Error></ErrorResponse>`)
		}
	}
	for _, tt := range []struct {
		answer func(w http.ResponseWriter)
		retry  bool
	}{
		{refuse(500, "InternalError"), true}, {refuse(400, "Throttling"), true}, {refuse(429, "TooManyRequests"), true},
		{refuse(404, "NotFound"), false}, {refuse(403, "AuthorizationError"), false},
		{func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, true},
	} {
		base, got := serve(t, tt.answer)
		_, err := newTopic(t, base, topic, false).Send(t.Context(), failed(), "")
		if err == nil || retries(err) != tt.retry || len(got.all()) != 1 {
			t.Errorf("%v after %d requests, want a retry: %v", err, len(got.all()), tt.retry)
		}
	}
	if _, err := NewTopic(t.Context(), TopicOptions{ARN: "builds"}); err == nil {
		t.Error("a topic without an ARN passes")
	}
}
