package handlerstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/pipeline"
)

// The tokens and secrets of a Server.
const (
	AdminToken  = "admin-token-of-the-test"
	RunnerToken = "runner-token-of-the-test"
	AgentToken  = "agent-token-of-the-test"
	Secret      = "the first secret of the webhook"
	OldSecret   = "the second secret of the webhook"
)

// Server is a handlers.Server over a State on a loopback port.
type Server struct {
	*State
	URL      string
	Handlers *handlers.Server
}

// New starts a Server that ends with the test. Each change may alter its
// options first.
func New(t testing.TB, change ...func(*handlers.Options)) *Server {
	t.Helper()
	state := NewState()
	o := handlers.Options{
		Hooks: map[string]handlers.Hook{"github": Hook()},
		Inbox: state, Bodies: state, Deliveries: state, Executions: state, Boards: state, Builds: state, ReportGroups: state, Logs: state, Artifacts: state,
		Events: state, Revisions: state, DeadLetters: state, Workers: state, Control: state,
		Access: handlers.Access{
			AdminTokens: []string{AdminToken}, Tokens: state, Notes: state, Audit: state,
			Workers: []handlers.WorkerToken{
				{Name: "runner-1", Token: RunnerToken, Kind: pipeline.BuildJob}, {Name: "agent-1", Token: AgentToken, Kind: pipeline.DeployJob},
			},
		},
		Version: "test",
	}
	for _, c := range change {
		c(&o)
	}
	h, err := handlers.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		h.Drain()
		server.Close()
	})
	return &Server{State: state, URL: server.URL, Handlers: h}
}

// Sign is the signature header of a body.
func Sign(secret string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// Hook reads deliveries as GitHub sends them, with Secret and OldSecret.
func Hook() handlers.Hook {
	return handlers.Hook{
		EventHeader: "X-GitHub-Event", DeliveryHeader: "X-GitHub-Delivery",
		Verify: verify, Payload: payload, Scan: scan,
	}
}

func verify(h http.Header, body []byte) (int, error) {
	for i, secret := range []string{Secret, OldSecret} {
		if hmac.Equal([]byte(h.Get("X-Hub-Signature-256")), []byte(Sign(secret, body))) {
			return i, nil
		}
	}
	return 0, errors.New("no secret signed this")
}

func payload(contentType string, body []byte) ([]byte, error) {
	if !strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	return []byte(form.Get("payload")), err
}

func scan(h http.Header, payload []byte) (handlers.Scan, error) {
	var p struct {
		Action     string `json:"action"`
		Repository struct {
			FullName string `json:"full_name"`
		} `json:"repository"`
	}
	s := handlers.Scan{ID: h.Get("X-GitHub-Delivery"), Event: h.Get("X-GitHub-Event")}
	if err := json.Unmarshal(payload, &p); err != nil {
		return s, err
	}
	s.Action, s.Repo, s.Ping = p.Action, p.Repository.FullName, s.Event == "ping"
	switch {
	case s.Event != "push" && s.Event != "pull_request" && s.Event != "check_run" && !s.Ping:
		s.Ignore = "nothing is done for " + s.Event
	case h.Get("X-GitHub-Hook-Installation-Target-ID") == "999":
		s.Ignore = "it is meant for another App"
	}
	return s, nil
}
