package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

func TestNewRefusesAddresses(t *testing.T) {
	for _, base := range []string{"", "localhost:8080", "ftp://x", "http://", "::"} {
		if _, err := client.New(base, ""); err == nil {
			t.Errorf("New(%q) is accepted", base)
		}
	}
}

func TestRetryable(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	c, err := client.New(closed.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	_, unreachable := c.Execution(t.Context(), "x")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, cancelled := c.Execution(over, "x")
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"unreachable", unreachable, true},
		{"cancelled", cancelled, false},
		{"busy", &client.Error{Status: 503, After: time.Second}, true},
		{"a fault", &client.Error{Status: 500}, true},
		{"too many", &client.Error{Status: 429}, true},
		{"stale", &client.Error{Status: 409, Code: "stale"}, false},
		{"unknown", &client.Error{Status: 404, Code: "not-found"}, false},
		{"a stream that broke off", io.ErrUnexpectedEOF, true},
	}
	for _, tt := range tests {
		if got := client.Retryable(tt.err); got != tt.want {
			t.Errorf("%s: got %v, want %v (%v)", tt.name, got, tt.want, tt.err)
		}
	}
}

func TestRefusalsKeepTheirKind(t *testing.T) {
	s := handlerstest.New(t)
	_, err := dial(t, s, handlerstest.AdminToken).Execution(t.Context(), "nope")
	if !errors.Is(err, pipeline.ErrNotFound) || client.Retryable(err) {
		t.Errorf("got %v", err)
	}
	var refused *client.Error
	_, err = dial(t, s, "wrong").Execution(t.Context(), "nope")
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("got %v", err)
	}
	s.GoDown(errors.New("no Redis"))
	s.AddExecution(pipeline.Execution{ID: "x", Status: pipeline.InProgress})
	if _, err := dial(t, s, handlerstest.AdminToken).Stop(t.Context(), "x", "", ""); !client.Retryable(err) || strings.Contains(err.Error(), "Redis") {
		t.Errorf("a fault: got %v", err)
	}
}

// Attacks: 30.
func TestTokenStaysHome(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed with %q", r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	door := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusFound))
	defer door.Close()
	c, err := client.New(door.URL, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Execution(t.Context(), "x"); err == nil {
		t.Error("a redirect to another host is an answer")
	}
}

func TestFollowLog(t *testing.T) {
	s := handlerstest.New(t)
	c := dial(t, s, handlerstest.AdminToken)
	s.AddBuild(pipeline.Build{ID: "b", Status: pipeline.BuildSucceeded})
	s.WriteLog("b", "one\ntwo\n", false)
	var out seen
	out.when = map[string]func(){
		"one\ntwo\n":            func() { s.WriteLog("b", "thr", false); s.WriteLog("b", "ee\nü", false) },
		"one\ntwo\nthree\n":     func() { s.WriteLog("b", "ber", true) },
		"one\ntwo\nthree\nüber": func() {},
	}
	end, status, err := c.FollowLog(t.Context(), "b", 0, &out)
	if err != nil || status != pipeline.BuildSucceeded || end != int64(len("one\ntwo\nthree\nüber")) {
		t.Errorf("got %d, %s, %v", end, status, err)
	}
	if out.text != "one\ntwo\nthree\nüber" {
		t.Errorf("got %q", out.text)
	}
	out = seen{}
	if _, _, err := c.FollowLog(t.Context(), "b", 4, &out); err != nil || out.text != "two\nthree\nüber" {
		t.Errorf("from an offset: got %q, %v", out.text, err)
	}
}

// seen does something once its text is what is written in when.
type seen struct {
	text string
	when map[string]func()
}

func (s *seen) Write(p []byte) (int, error) {
	s.text += string(p)
	if do := s.when[s.text]; do != nil {
		do()
	}
	return len(p), nil
}

func TestLogFromAnOffset(t *testing.T) {
	s := handlerstest.New(t)
	c := dial(t, s, handlerstest.AdminToken)
	s.AddBuild(pipeline.Build{ID: "b"})
	s.WriteLog("b", "0123456789", true)
	for offset, want := range map[int64]string{0: "0123456789", 4: "456789", 10: "", 99: ""} {
		r, err := c.Log(t.Context(), "b", offset)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(text) != want {
			t.Errorf("from %d: got %q, %v, want %q", offset, text, err, want)
		}
	}
}

func TestFollowExecution(t *testing.T) {
	s := handlerstest.New(t)
	x := pipeline.Execution{ID: "x", Status: pipeline.InProgress}
	s.AddExecution(x)
	var got []pipeline.Status
	err := dial(t, s, handlerstest.AdminToken).FollowExecution(t.Context(), "x", func(now client.Execution) {
		got = append(got, now.Status)
		x.Status = pipeline.Succeeded
		s.AddExecution(x)
	})
	if err != nil || len(got) != 2 || got[1] != pipeline.Succeeded {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCommands(t *testing.T) {
	s := handlerstest.New(t)
	c := dial(t, s, handlerstest.AdminToken)
	ctx := t.Context()
	s.AddExecution(pipeline.Execution{ID: "run", Board: "b1", Status: pipeline.InProgress})
	s.AddExecution(pipeline.Execution{ID: "bad", Board: "b2", Status: pipeline.Failed, Stages: []pipeline.StageExecution{{Name: "Source", Status: pipeline.Succeeded}, {Name: "Build", Status: pipeline.Failed}}})
	for name, do := range map[string]func() error{
		"stop":  func() error { _, err := c.Stop(ctx, "run", "enough", ""); return err },
		"retry": func() error { _, err := c.Retry(ctx, "bad", "", ""); return err },
		"rerun": func() error { return c.Rerun(ctx, "bad") },
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, do := range map[string]func() error{
		"stop what ended":       func() error { _, err := c.Stop(ctx, "bad", "", ""); return err },
		"retry what still runs": func() error { _, err := c.Retry(ctx, "run", "", ""); return err },
	} {
		if err := do(); !errors.Is(err, pipeline.ErrConflict) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	var mistake *pipeline.UserError
	if _, err := c.Retry(ctx, "bad", "Nope", ""); !errors.As(err, &mistake) {
		t.Errorf("an unknown stage: got %v", err)
	}
	for _, e := range s.Events() {
		if e.By != "admin" || e.ID == "" || e.Board == "" || e.Type == pipeline.RetryRequested && e.Stage != "Build" {
			t.Errorf("event %+v", e)
		}
	}
	if n := len(s.Events()); n != 3 {
		t.Errorf("got %d events", n)
	}
	page, err := c.Executions(ctx, pipeline.Query{Status: pipeline.Failed, Limit: 1})
	if err != nil || len(page.Items) != 1 || page.Items[0].ID != "bad" || page.Items[0].URL != "/executions/bad" {
		t.Errorf("got %+v, %v", page, err)
	}
	address, err := c.SignIn(ctx)
	if err != nil || !strings.HasPrefix(address, "/sign-in?token=") {
		t.Errorf("got %q, %v", address, err)
	}
}
