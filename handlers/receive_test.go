package handlers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
)

const guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958"

// delivery is a signed push; change alters it before it is sent.
func delivery(t testing.TB, s *handlerstest.Server, body []byte, change ...func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/webhooks/github", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", guid)
	r.Header.Set("X-Hub-Signature-256", handlerstest.Sign(handlerstest.Secret, body))
	for _, c := range change {
		c(r)
	}
	return r
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// wide writes large bodies in large pieces: on a busy machine, many small
// ones don't arrive in time.
var wide = func() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.WriteBufferSize = 1 << 20
	return t
}()

// answer sends r and returns status, header and body.
func answer(t testing.TB, r *http.Request) (int, http.Header, string) {
	t.Helper()
	resp, err := wide.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

var push = []byte(`{"ref":"refs/heads/main","repository":{"full_name":"harbour/crane"}}`)

// TestReceiverAnswers are the conformance cases of the forges reference,
// section 9, as far as the receiver answers them.
//
// Attacks: 7.
func TestReceiverAnswers(t *testing.T) {
	form := []byte("payload=" + url.QueryEscape(string(push)))
	large := bytes.Repeat([]byte(" "), 26<<20)
	tests := []struct {
		name   string
		body   []byte
		change []func(*http.Request)
		status int
		want   string // in the answer
		queued int
	}{
		{"C01 ping", []byte(`{"zen":"x"}`), []func(*http.Request){set("X-GitHub-Event", "ping")}, 202, `"status":"pong"`, 0},
		{"C02 the second of two secrets", push, []func(*http.Request){set("X-Hub-Signature-256", handlerstest.Sign(handlerstest.OldSecret, push))}, 202, `"status":"queued"`, 1},
		{"C03 one flipped bit", push, []func(*http.Request){set("X-Hub-Signature-256", handlerstest.Sign(handlerstest.Secret, append([]byte("["), push[1:]...)))}, 401, `{"error":"signature"}`, 0},
		{"C04 only SHA-1", push, []func(*http.Request){func(r *http.Request) { r.Header.Del("X-Hub-Signature-256"); r.Header.Set("X-Hub-Signature", "sha1=00") }}, 401, `{"error":"signature"}`, 0},
		{"C05 signed, not JSON", []byte("Hello, World!"), nil, 400, `"error":"payload"`, 0},
		{"C05 signed, cut off", push[:len(push)-1], nil, 400, `"error":"payload"`, 0},
		{"C06 form-encoded", form, []func(*http.Request){set("Content-Type", "application/x-www-form-urlencoded")}, 202, `"status":"queued"`, 1},
		{"C07 text/plain", push, []func(*http.Request){set("Content-Type", "text/plain")}, 415, `"error":"type"`, 0},
		{"C07 GET", push, []func(*http.Request){func(r *http.Request) { r.Method = http.MethodGet }}, 405, `"status":405`, 0},
		{"C07 26 MiB announced", large, nil, 413, `"error":"size"`, 0},
		{"C07 26 MiB not announced", large, []func(*http.Request){func(r *http.Request) { r.ContentLength = -1 }}, 413, `"error":"size"`, 0},
		{"C07 no event header", push, []func(*http.Request){func(r *http.Request) { r.Header.Del("X-GitHub-Event") }}, 400, `"error":"headers"`, 0},
		{"no delivery header", push, []func(*http.Request){func(r *http.Request) { r.Header.Del("X-GitHub-Delivery") }}, 400, `"error":"headers"`, 0},
		{"an ID that is a path", push, []func(*http.Request){set("X-GitHub-Delivery", "../x")}, 400, `"error":"payload"`, 0},
		{"an unknown forge", push, []func(*http.Request){func(r *http.Request) { r.URL.Path = "/webhooks/gitlab" }}, 404, `"error":"forge"`, 0},
		{"C10 an unknown event", []byte(`{"action":"created"}`), []func(*http.Request){set("X-GitHub-Event", "sponsorship")}, 202, `"status":"ignored"`, 0},
		{"C10 a known event with an unknown action", []byte(`{"action":"never_heard"}`), []func(*http.Request){set("X-GitHub-Event", "pull_request")}, 202, `"status":"queued"`, 1},
		{"C11 custom properties that are lists", []byte(`{"repository":{"full_name":"a/b","custom_properties":{"t":["a","b"]}}}`), nil, 202, `"status":"queued"`, 1},
		{"C12 meant for another App", push, []func(*http.Request){set("X-GitHub-Hook-Installation-Target-ID", "999")}, 202, `"status":"ignored"`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := handlerstest.New(t)
			status, h, got := answer(t, delivery(t, s, tt.body, tt.change...))
			if status != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("got %d %s, want %d %s", status, got, tt.status, tt.want)
			}
			if n := len(s.Queued()); n != tt.queued {
				t.Errorf("got %d queued, want %d", n, tt.queued)
			}
			if status == 405 && h.Get("Allow") != "POST" {
				t.Errorf("Allow is %q", h.Get("Allow"))
			}
			checkLedger(t, s, status)
		})
	}
}

// checkLedger expects a trace of every delivery, of refused ones without body.
func checkLedger(t *testing.T, s *handlerstest.Server, status int) {
	t.Helper()
	ledger := s.Ledger()
	if status == 404 || status == 405 {
		return
	}
	if len(ledger) != 1 {
		t.Fatalf("the ledger has %d entries", len(ledger))
	}
	d := ledger[0]
	for name := range d.Headers {
		if strings.Contains(name, "Signature") || name == "Authorization" {
			t.Errorf("the ledger holds header %s", name)
		}
	}
	if status == 202 {
		if d.Verdict != pipeline.Accepted || len(d.Body) == 0 || d.Digest == "" || d.ID != guid {
			t.Errorf("got %+v", d)
		}
		return
	}
	if d.Verdict != pipeline.Refused || d.Reason == "" || d.Body != nil || d.BodyBlob != "" {
		t.Errorf("got %+v", d)
	}
}

func TestC08OneOfManyIsQueued(t *testing.T) {
	s := handlerstest.New(t)
	words := make(chan string, 50)
	var all sync.WaitGroup
	for range cap(words) {
		r := delivery(t, s, push)
		all.Go(func() {
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var a struct{ Status string }
			if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != 202 {
				t.Errorf("got %d, %v", resp.StatusCode, err)
			}
			words <- a.Status
		})
	}
	all.Wait()
	close(words)
	count := map[string]int{}
	for w := range words {
		count[w]++
	}
	if count["queued"] != 1 || count["duplicate"] != 49 || len(s.Queued()) != 1 {
		t.Errorf("got %v and %v", count, s.Queued())
	}
}

func TestC09RedisDown(t *testing.T) {
	s := handlerstest.New(t)
	s.GoDown(errors.New("dial tcp 10.0.0.7: connection refused"))
	status, h, body := answer(t, delivery(t, s, push))
	if status != 503 || h.Get("Retry-After") == "" || strings.Contains(body, "10.0.0.7") {
		t.Errorf("got %d %v %s", status, h, body)
	}
	s.GoDown(nil)
	if status, _, body := answer(t, delivery(t, s, push)); status != 202 || !strings.Contains(body, "queued") {
		t.Errorf("the redelivery: got %d %s", status, body)
	}
}

func TestLargeBodiesGoToTheBlobStore(t *testing.T) {
	s := handlerstest.New(t)
	body := []byte(`{"repository":{"full_name":"a/b"},"x":"` + strings.Repeat("y", 2<<20) + `"}`)
	if status, _, text := answer(t, delivery(t, s, body)); status != 202 {
		t.Fatalf("got %d %s", status, text)
	}
	d := s.Ledger()[0]
	kept, err := s.Body(t.Context(), d.BodyBlob)
	if err != nil || d.Body != nil || d.Bytes != int64(len(body)) || !bytes.Equal(kept, body) {
		t.Errorf("got %d bytes in line, blob %q of %d, %v", len(d.Body), d.BodyBlob, len(kept), err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/api/v1/deliveries/"+d.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	admin(r)
	status, _, text := answer(t, r)
	var shown pipeline.Delivery
	if err := json.Unmarshal([]byte(text), &shown); err != nil || status != 200 || !bytes.Equal(shown.Body, body) {
		t.Errorf("the API shows %d bytes with status %d, %v", len(shown.Body), status, err)
	}
}

// TestSlowBody sends half a body over a bare connection.
//
// Attacks: 34.
func TestSlowBody(t *testing.T) {
	if testing.Short() {
		return
	}
	s := handlerstest.New(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /webhooks/github HTTP/1.1\r\nHost: localhost\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: 1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\nhalf")
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 12)
	if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 408" {
		t.Errorf("got %q, %v", line, err)
	}
}

// TestCorpus answers every recorded webhook with 202.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.Shared(t, "corpus/github"), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	s := handlerstest.New(t)
	for i, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		event, _, _ := strings.Cut(filepath.Base(file), ".")
		if status, _, text := answer(t, delivery(t, s, body, set("X-GitHub-Event", event), set("X-GitHub-Delivery", fmt.Sprint("d", i)))); status != 202 {
			t.Errorf("%s: got %d %s", filepath.Base(file), status, text)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(push, "push", guid, "application/json")
	f.Add([]byte("payload=%7B%7D"), "ping", "x", "application/x-www-form-urlencoded; charset=utf-8")
	s := handlerstest.New(f)
	f.Fuzz(func(t *testing.T, body []byte, event, id, media string) {
		r := httptest.NewRequest(http.MethodPost, "/webhooks/github", bytes.NewReader(body))
		r.Header.Set("X-GitHub-Event", event)
		r.Header.Set("X-GitHub-Delivery", id)
		r.Header.Set("Content-Type", media)
		r.Header.Set("X-Hub-Signature-256", handlerstest.Sign(handlerstest.Secret, body))
		w := httptest.NewRecorder()
		s.Handlers.ServeHTTP(w, r)
		if w.Code != 202 && w.Code != 400 && w.Code != 415 {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}
