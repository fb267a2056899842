package handlers_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// A push is in the audit log with whose token it came; one that fetches isn't.
func TestPushesAreNoted(t *testing.T) {
	s := handlerstest.New(t, func(o *handlers.Options) {
		o.Git = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		o.Access.Git = func(r *http.Request) bool { // as the host does, which knows these two itself
			_, password, _ := r.BasicAuth()
			return password == "a job's own" || password == handlerstest.AdminToken
		}
	})
	writer := makeToken(t, s, `{"name":"writer","role":"write"}`)
	for _, password := range []string{handlerstest.AdminToken, writer, "a job's own"} {
		for _, service := range []string{"git-upload-pack", "git-receive-pack"} {
			r := request(t, "POST", s.URL+"/git/octo/app.git/"+service)
			r.SetBasicAuth("git", password)
			visit(t, visitor(t), r)
		}
	}
	page, err := s.Audit(t.Context(), 3, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range page.Items {
		got = append(got, e.Who+" "+e.Target)
	}
	want := []string{" /git/octo/app.git/git-receive-pack", "token:writer /git/octo/app.git/git-receive-pack", "admin /git/octo/app.git/git-receive-pack"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the audit log differs (-want +got):\n%s", diff)
	}
}

// The built-in git host opens to API tokens as far as their role goes.
func TestGitAccess(t *testing.T) {
	s := handlerstest.New(t, func(o *handlers.Options) {
		o.Git = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "refs") })
		o.Access.Git = func(r *http.Request) bool {
			_, password, _ := r.BasicAuth()
			return password == "a job's own"
		}
	})
	reader := makeToken(t, s, `{"name":"reader","role":"read"}`)
	writer := makeToken(t, s, `{"name":"writer","role":"write","repo":"local/octo/app"}`)
	elsewhere := makeToken(t, s, `{"name":"elsewhere","role":"admin","repo":"github/octo/app"}`)
	const (
		fetch, fetching = "/git/octo/app.git/info/refs?service=git-upload-pack", "/git/octo/app.git/git-upload-pack"
		push, pushing   = "/git/octo/app.git/info/refs?service=git-receive-pack", "/git/octo/app.git/git-receive-pack"
		other           = "/git/octo/other.git/info/refs?service=git-upload-pack"
	)
	for _, tt := range []struct {
		name, method, path, password string
		want                         int
	}{
		{"a reader fetches", "GET", fetch, reader, 200},
		{"a reader fetches on", "POST", fetching, reader, 200},
		{"a reader of everything fetches another", "GET", other, reader, 200},
		{"a reader doesn't push", "GET", push, reader, 403},
		{"a reader doesn't push at once", "POST", pushing, reader, 403},
		{"a writer fetches", "GET", fetch, writer, 200},
		{"a writer pushes", "GET", push, writer, 200},
		{"a writer pushes on", "POST", pushing, writer, 200},
		{"a writer sees no other repository", "GET", other, writer, 401},
		{"the same name at a forge is another repository", "GET", fetch, elsewhere, 401},
		{"a job's own", "GET", fetch, "a job's own", 200},
		{"the admin token", "POST", pushing, handlerstest.AdminToken, 200},
		{"a runner's token", "GET", fetch, handlerstest.RunnerToken, 401},
		{"nobody's token", "GET", fetch, "slt_nobody", 401},
		{"an API token for what is no repository", "GET", "/git/octo", writer, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL+tt.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth("git", tt.password)
			if status, _, body := answer(t, r); status != tt.want {
				t.Errorf("got %d %s, want %d", status, body, tt.want)
			}
		})
	}
}
