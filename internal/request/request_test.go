package request

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func host(t *testing.T, raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// Attacks: 30.
func TestTriesAgain(t *testing.T) {
	var keys []string
	var body string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		data, _ := io.ReadAll(r.Body)
		body = string(data)
		if len(keys) < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, "done")
	}))
	defer s.Close()
	o := Options{Allow: []string{host(t, s.URL)}, Pause: time.Millisecond}
	var said strings.Builder
	a, err := Do(t.Context(), o, Request{ID: "k", Method: "POST", URL: s.URL + "/?token=hidden", Body: `{"a":1}`}, func(f string, args ...any) { fmt.Fprintf(&said, f+"\n", args...) })
	if err != nil || a.Status != 200 || string(a.Body) != "done" || body != `{"a":1}` {
		t.Errorf("%+v, %v, sent %q", a, err, body)
	}
	if strings.Join(keys, " ") != "k k k" {
		t.Errorf("keys %q", keys)
	}
	if strings.Contains(said.String(), "hidden") {
		t.Errorf("the URL was told: %s", said.String())
	}
}

func TestAnswersThatARepeatWouldNotChange(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { n++; w.WriteHeader(404) }))
	defer s.Close()
	a, err := Do(t.Context(), Options{Allow: []string{"127.0.0.1"}}, Request{Method: "GET", URL: s.URL}, t.Logf)
	if err != nil || a.Status != 404 || n != 1 {
		t.Errorf("%+v, %v after %d tries", a, err, n)
	}
}

// The host itself, private networks and link-local addresses are out of reach,
// by any name and after any redirect.
//
// Attacks: 17, 21.
func TestForbiddenAddresses(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the host itself was reached") }))
	defer inside.Close()
	outside := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusTemporaryRedirect))
	defer outside.Close()
	_, port, _ := strings.Cut(host(t, inside.URL), ":")
	for _, to := range []string{
		inside.URL, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://0.0.0.0:" + port,
		"http://169.254.169.254/latest/meta-data", "http://10.0.0.1", "http://[fd00:ec2::254]/latest/meta-data", outside.URL,
	} {
		o := Options{Allow: []string{host(t, outside.URL)}, Pause: time.Millisecond}
		if _, err := Do(t.Context(), o, Request{Method: "GET", URL: to}, t.Logf); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestEndsInTime(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Do(ctx, Options{Allow: []string{"127.0.0.1"}}, Request{Method: "GET", URL: s.URL}, t.Logf); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, r := range []Request{
		{Method: "GET", URL: "ftp://x"}, {Method: "GET", URL: "/x"}, {Method: "TRACE", URL: "http://x"}, {Method: "", URL: "http://x"},
	} {
		if Check(r) == nil {
			t.Errorf("%+v passes", r)
		}
	}
	if err := Check(Request{Method: "PATCH", URL: "https://x/y"}); err != nil {
		t.Error(err)
	}
}
