package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/runner/runnertest"
)

// TestBadInput gives mistakes of all kinds: each is told where its maker looks,
// and Slipway goes on.
func TestBadInput(t *testing.T) {
	s := shared(t)
	t.Run("buildspec", func(t *testing.T) { badBuildspecs(t, s) })
	t.Run("missing git ref", func(t *testing.T) { missingRef(t, s) })
	t.Run("webhook", func(t *testing.T) { badWebhooks(t, s) })
	r := s.repo(t, owner, "after-bad-input")
	sha := s.push(t, r, "main", "good", buildspec("echo still here"))
	if x := s.awaitExecution(t, sha); x.Status != "Succeeded" {
		t.Errorf("a good push after the bad ones: %s: %s", x.Status, x.Reason)
	}
	for _, p := range s.processes() {
		if p.exits > 0 {
			t.Errorf("%s has ended by itself", p.name)
		}
	}
}

// badBuildspecs are told in the check, with their place in the file.
func badBuildspecs(t *testing.T, s *system) {
	tests := []struct {
		name, text string
		want       []string // in the check's summary
	}{
		{"unreadable YAML", "version: 0.2\nphases:\n  build:\n    commands: [\"echo\n", []string{"buildspec.yml:", "DOWNLOAD_SOURCE"}},
		{"a map for a list", "version: 0.2\nphases:\n  build:\n    commands:\n      a: b\n", []string{"buildspec.yml:5:7", "DOWNLOAD_SOURCE"}},
		{"unknown phase", "version: 0.2\nphases:\n  biuld:\n    commands: [\"true\"]\n", []string{"buildspec.yml:3:3", "biuld"}},
		{"failing command", "version: 0.2\nphases:\n  build:\n    commands:\n      - echo about to fail; exit 7\n", []string{"exit 7", "about to fail"}},
	}
	for i, tt := range tests {
		r := s.repo(t, owner, fmt.Sprintf("bad-buildspec-%d", i))
		sha := s.push(t, r, "main", tt.name, map[string]string{"buildspec.yml": tt.text})
		x := s.awaitExecution(t, sha)
		check := s.awaitChecks(t, r, sha, 1)[0]
		if x.Status != "Failed" || check.Conclusion != "failure" {
			t.Errorf("%s: got %s and check %s, want a failure", tt.name, x.Status, check.Conclusion)
		}
		summary := strings.ReplaceAll(check.Summary, `\`, "")
		for _, want := range tt.want {
			if !strings.Contains(summary, want) {
				t.Errorf("%s: the check lacks %q:\n%s", tt.name, want, summary)
			}
		}
	}
}

// missingRef is a push of a commit that the git host hasn't.
func missingRef(t *testing.T, s *system) {
	r := s.repo(t, owner, "missing-ref")
	s.commit(t, r, "main", "another", buildspec("true"))
	const gone = "0123456789abcdef0123456789abcdef01234567"
	s.deliver(t, "push", forgetest.Push{Ref: "refs/heads/main", After: gone, Message: "lost"}.Payload(r))
	x := s.awaitExecution(t, gone)
	check := s.awaitChecks(t, r, gone, 1)[0]
	if x.Status != "Failed" || check.Conclusion != "failure" || !strings.Contains(check.Summary, gone[:7]) {
		t.Errorf("got %s (%s) and check %s, want a failure that names the commit", x.Status, x.Reason, check.Summary)
	}
}

func badWebhooks(t *testing.T, s *system) {
	good := []byte(`{"zen":"x","hook_id":1}`)
	huge := bytes.Repeat([]byte("x"), 26<<20)
	tests := []struct {
		name   string
		method string
		body   []byte
		header map[string]string
		want   int
		says   string
	}{
		{"26 MiB", "POST", huge, nil, http.StatusRequestEntityTooLarge, "26214400"},
		{"not JSON", "POST", []byte("Hello, World!"), nil, http.StatusBadRequest, "payload"},
		{"plain text", "POST", good, map[string]string{"Content-Type": "text/plain"}, http.StatusUnsupportedMediaType, "application/json"},
		{"no event", "POST", good, map[string]string{"X-GitHub-Event": ""}, http.StatusBadRequest, "X-GitHub-Event"},
		{"wrong signature", "POST", good, map[string]string{"X-Hub-Signature-256": forgetest.Sign("other", good)}, http.StatusUnauthorized, "signature"},
		{"no signature", "POST", good, map[string]string{"X-Hub-Signature-256": ""}, http.StatusUnauthorized, "signature"},
		{"GET", "GET", nil, nil, http.StatusMethodNotAllowed, ""},
	}
	for _, tt := range tests {
		status, said, err := post(t.Context(), s.url+"/webhooks/github", tt.method, tt.body, tt.header)
		if err != nil || status != tt.want || !strings.Contains(said, tt.says) {
			t.Errorf("%s: got %d %.200s (%v), want %d that says %q", tt.name, status, said, err, tt.want, tt.says)
		}
	}
}

// post sends bytes signed as they are; headers that are empty are left out.
func post(ctx context.Context, address, method string, body []byte, header map[string]string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	all := map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": "ping", "X-GitHub-Delivery": "bad-input",
		"X-Hub-Signature-256": forgetest.Sign(webhookSecret, body),
	}
	for k, v := range header {
		all[k] = v
	}
	for k, v := range all {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var said bytes.Buffer
	_, err = said.ReadFrom(resp.Body)
	return resp.StatusCode, said.String(), err
}

// TestBadConfiguration starts the server with mistakes in its configuration:
// it doesn't start, and says what is wrong and where.
func TestBadConfiguration(t *testing.T) {
	needs(t)
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, file string
		env        []string
		want       []string
	}{
		{"unknown key", "listen: 127.0.0.1:0\ngithub:\n  api_ulr: http://x/\n", nil, []string{"slipway.yaml:3:3", "api_ulr"}},
		{"not YAML", "listen: [\n", nil, []string{"slipway.yaml:"}},
		{"a number that is none", "", []string{"SLIPWAY_RUNNER_SLOTS=many"}, []string{"SLIPWAY_RUNNER_SLOTS", "many"}},
		{"a duration that is none", "limits:\n  lease: soon\n", nil, []string{"slipway.yaml:2:10", "soon"}},
		{"an engine that is none", "engine: steam\n", nil, []string{"engine", "steam"}},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		file := filepath.Join(dir, "slipway.yaml")
		if err := os.WriteFile(file, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), bin, "server", "--config", file)
		cmd.Env = append(tt.env, "PATH="+os.Getenv("PATH"), "HOME="+dir, "SLIPWAY_DATA="+dir, "SLIPWAY_LISTEN=127.0.0.1:0")
		out, _ := cmd.CombinedOutput() // its code is looked at
		if code := cmd.ProcessState.ExitCode(); code != 2 {
			t.Errorf("%s: exit code %d, want 2: %s", tt.name, code, out)
		}
		for _, want := range tt.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: got %q, want it to say %q", tt.name, out, want)
			}
		}
	}
}

// TestMissingImage builds in an image that nobody can pull, and then in one
// that is there.
func TestMissingImage(t *testing.T) {
	t.Parallel()
	testenv.Need(t, "docker")
	const missing = "127.0.0.1:1/no/such:image"
	s := newSystem(t, setup{
		runners: []string{"docker"}, slots: 1, image: missing,
		config: fmt.Sprintf("projects:\n  - repository: github/%s/good-image\n    image: %s\n", owner, runnertest.BusyboxImage(t)),
	})
	bad, good := s.repo(t, owner, "missing-image"), s.repo(t, owner, "good-image")
	sha := s.push(t, bad, "main", "first", buildspec("echo never"))
	x := s.awaitExecution(t, sha)
	check := s.awaitChecks(t, bad, sha, 1)[0]
	if x.Status != "Failed" || check.Conclusion != "failure" || !strings.Contains(check.Summary, missing) || !strings.Contains(check.Summary, "PROVISIONING") {
		t.Errorf("got %s (%s) and check %s: %s, want a failure in PROVISIONING that names the image", x.Status, x.Reason, check.Conclusion, check.Summary)
	}
	sha = s.push(t, good, "main", "first", buildspec("echo built"))
	if x := s.awaitExecution(t, sha); x.Status != "Succeeded" {
		t.Errorf("a good image after the missing one: %s: %s", x.Status, x.Reason)
	}
}
