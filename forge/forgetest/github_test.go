package forgetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
)

const sha = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"

// newFake is a fake with the repository o/r and the token "t" of an installation.
func newFake(t *testing.T, o Options) *GitHub {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	r := g.AddRepo(Repo{Owner: "o", Name: "r"})
	g.tokens["t"] = &grant{installation: r.Installation, permissions: everything(), expires: g.o.Now().AddDate(1, 0, 0)}
	return g
}

// call sends a request with the token and returns status and body.
func call(t *testing.T, g *GitHub, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer t")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestDescriptionCatches(t *testing.T) {
	spec := testenv.Shared(t, "openapi/github.json")
	tests := []struct {
		name, method, path, body string
		want                     string // in the violation; empty: none
	}{
		{"good", "POST", "repos/o/r/check-runs", `{"name":"c","head_sha":"` + sha + `","status":"queued"}`, ""},
		{"good path with slashes", "GET", "repos/o/r/contents/ci/build/x.yml?ref=" + sha, "", ""},
		{"good branch with a slash", "GET", "repos/o/r/branches/a%2Fb", "", ""},
		{"misspelt key", "POST", "repos/o/r/check-runs", `{"name":"c","head_sha":"` + sha + `","status":"queued","detail_url":"x"}`, "detail_url"},
		{"no conclusion", "POST", "repos/o/r/check-runs", `{"name":"c","head_sha":"` + sha + `","status":"completed"}`, "conclusion"},
		{"branch as SHA", "POST", "repos/o/r/check-runs", `{"name":"c","head_sha":"main","status":"queued"}`, "head_sha"},
		{"long description", "POST", "repos/o/r/statuses/" + sha, `{"state":"success","description":"` + strings.Repeat("x", 141) + `"}`, "description"},
		{"unknown operation", "PUT", "repos/o/r/check-runs", `{}`, "no such operation"},
		{"bad query", "GET", "repos/o/r/commits/" + sha + "/check-runs?filter=newest", "", "filter"},
	}
	for _, tt := range tests {
		g := newFake(t, Options{Spec: spec})
		call(t, g, tt.method, tt.path, tt.body)
		got := fmt.Sprint(g.Violations())
		if (tt.want == "") != (len(g.Violations()) == 0) || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %s, want %q", tt.name, got, tt.want)
		}
	}
}

func TestLimits(t *testing.T) {
	check := func(fields string) string {
		return `{"name":"c","head_sha":"` + sha + `","status":"queued"` + fields + `}`
	}
	output := func(summary string, annotations int) string {
		one := `{"path":"a","start_line":1,"end_line":1,"annotation_level":"notice","message":"m"},`
		list := strings.TrimSuffix(strings.Repeat(one, annotations), ",")
		return check(`,"output":{"title":"t","summary":"` + summary + `","annotations":[` + list + `]}`)
	}
	action := `{"label":"l","description":"d","identifier":"i"},`
	tests := []struct {
		name, path, body string
		want             int
	}{
		{"at the edge", "check-runs", output(strings.Repeat("x", 65535), 50), 201},
		{"summary", "check-runs", output(strings.Repeat("x", 65536), 1), 422},
		{"annotations", "check-runs", output("s", 51), 422},
		{"columns over lines", "check-runs", check(`,"output":{"title":"t","summary":"s","annotations":[{"path":"a","start_line":1,"end_line":2,"start_column":1,"annotation_level":"notice","message":"m"}]}`), 422},
		{"no title", "check-runs", check(`,"output":{"summary":"s"}`), 422},
		{"three actions", "check-runs", check(`,"actions":[` + strings.TrimSuffix(strings.Repeat(action, 3), ",") + `]`), 201},
		{"four actions", "check-runs", check(`,"actions":[` + strings.TrimSuffix(strings.Repeat(action, 4), ",") + `]`), 422},
		{"completed without conclusion", "check-runs", strings.Replace(check(""), "queued", "completed", 1), 422},
		{"description at the edge", "statuses/" + sha, `{"state":"success","description":"` + strings.Repeat("x", 140) + `"}`, 201},
		{"description", "statuses/" + sha, `{"state":"success","description":"` + strings.Repeat("x", 141) + `"}`, 422},
		{"comment", "issues/1/comments", `{"body":"` + strings.Repeat("x", 65537) + `"}`, 422},
	}
	g := newFake(t, Options{})
	for _, tt := range tests {
		if got, answer := call(t, g, "POST", "repos/o/r/"+tt.path, tt.body); got != tt.want {
			t.Errorf("%s: got %d %.200s, want %d", tt.name, got, answer, tt.want)
		}
	}
}

func TestFaults(t *testing.T) {
	g := newFake(t, Options{})
	g.Fail(Fault{On: "POST /repos/o/r/statuses", Status: 429, Header: map[string]string{"Retry-After": "7"}, Times: 1})
	g.Fail(Fault{On: "POST /repos/o/r/statuses", Drop: true, Times: 1})
	var got []int
	for range 3 {
		status, _ := call(t, g, "POST", "repos/o/r/statuses/"+sha, `{"state":"success"}`)
		got = append(got, status)
	}
	if fmt.Sprint(got) != "[429 0 201]" {
		t.Errorf("got %v", got)
	}
	if n := len(g.Statuses("o/r", sha)); n != 2 {
		t.Errorf("got %d statuses, want 2: the dropped one was done", n)
	}
	g.Fail(Fault{Every: 3})
	got = nil
	for range 6 {
		status, _ := call(t, g, "GET", "repos/o/r", "")
		got = append(got, status)
	}
	if fmt.Sprint(got) != "[200 200 500 200 200 500]" {
		t.Errorf("each third: got %v", got)
	}
}

func TestPermissionsOfTokens(t *testing.T) {
	g := newFake(t, Options{})
	g.tokens["t"].permissions = map[string]string{"contents": "read"}
	if got, _ := call(t, g, "POST", "repos/o/r/check-runs", `{"name":"c","head_sha":"`+sha+`"}`); got != http.StatusForbidden {
		t.Errorf("got %d, want 403", got)
	}
	g.tokens["t"].repos = []int64{7}
	if got, _ := call(t, g, "GET", "repos/o/r/branches/main", ""); got != http.StatusNotFound {
		t.Errorf("another repository's token: got %d, want 404", got)
	}
	g.ExpireTokens()
	if got, _ := call(t, g, "GET", "repos/o/r/branches/main", ""); got != http.StatusUnauthorized {
		t.Errorf("no token: got %d, want 401", got)
	}
}

func TestDeliver(t *testing.T) {
	var header http.Header
	var body []byte
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer receiver.Close()
	repo := Repo{ID: 7, Owner: "o", Name: "r"}
	answer, err := Deliver(t.Context(), receiver.URL, Delivery{
		Event: "push", Secret: "s", Payload: Push{Ref: "refs/heads/main", After: sha, Message: "m"}.Payload(repo), Form: true,
	})
	if err != nil || answer.Status != http.StatusAccepted || answer.ID == "" {
		t.Fatal(answer, err)
	}
	if header.Get("X-Hub-Signature-256") != Sign("s", body) || !bytes.HasPrefix(body, []byte("payload=%7B")) {
		t.Errorf("signature %q over %.40s", header.Get("X-Hub-Signature-256"), body)
	}
}

// The payloads made here say nothing that recorded ones of the same event do
// not say, and say it with values of the same type.
func TestPayloadsAreShapedAsRecorded(t *testing.T) {
	dir := testenv.Shared(t, "corpus/github")
	repo := Repo{ID: 7, Owner: "o", Name: "r", DefaultBranch: "main"}
	pull := Pull{Number: 2, Head: "b", HeadSHA: sha, BaseSHA: sha}
	tests := []struct {
		recorded string
		payload  any
	}{
		{"push.none.6.json", Push{Ref: "refs/heads/main", After: sha, Message: "m"}.Payload(repo)},
		{"push.none.7.json", Push{Ref: "refs/heads/main", Before: sha}.Payload(repo)},
		{"pull_request.opened.2.json", PullPayload(repo, pull, "opened")},
		{"check_run.rerequested.2.json", CheckPayload(repo, CheckRun{SHA: sha, Status: "completed", Conclusion: "failure"}, "rerequested", "")},
		{"check_run.requested_action.1.json", CheckPayload(repo, CheckRun{SHA: sha}, "requested_action", "rerun_all")},
		{"check_suite.rerequested.1.json", SuitePayload(repo, sha, 1)},
	}
	for _, tt := range tests {
		recorded, err := os.ReadFile(filepath.Join(dir, tt.recorded))
		if err != nil {
			t.Fatal(err)
		}
		made, err := json.Marshal(tt.payload)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := errors.Join(json.Unmarshal(recorded, &want), json.Unmarshal(made, &got)); err != nil {
			t.Fatal(err)
		}
		for _, d := range unlike("", want, got) {
			t.Errorf("%s: %s", tt.recorded, d)
		}
	}
}

// optional are fields that other payloads of these events have.
var optional = []string{"custom_properties", "details_url", "username", "installation", "slug"}

// unlike lists where got is not shaped as want.
func unlike(path string, want, got any) []string {
	w, isObject := want.(map[string]any)
	g, ok := got.(map[string]any)
	if want == nil || got == nil {
		return nil
	}
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
		return []string{fmt.Sprintf("%s: want a %T, have a %T", path, want, got)}
	}
	if !isObject || !ok {
		return nil
	}
	var list []string
	for k, v := range g {
		if slices.Contains(optional, k) {
			continue
		}
		if _, known := w[k]; !known {
			list = append(list, path+"."+k+": GitHub does not send this")
			continue
		}
		list = append(list, unlike(path+"."+k, w[k], v)...)
	}
	return list
}
