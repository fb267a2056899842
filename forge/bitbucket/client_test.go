package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
	"github.com/slipway-ci/slipway/internal/testenv"
)

// fake is what both fakes can do.
type fake interface {
	AddRepo(forgetest.BitbucketRepo) forgetest.BitbucketRepo
	AddCommit(fullName, sha string)
	SetPull(fullName string, p forgetest.Pull)
	SetChanges(fullName, base, head string, files []forgetest.File)
	SetPermission(fullName, user, permission string)
	Statuses(fullName, sha string) []forgetest.BuildStatus
	Reports(fullName, sha string) []forgetest.InsightReport
	Comments(fullName string, pull int) []forgetest.BitbucketComment
	Write(fullName string, pull int, author, body string) forgetest.BitbucketComment
	Requests(what string) []forgetest.Request
	Fail(forgetest.Fault)
	Heal()
}

// client is what both adapters can do.
type client interface {
	Check(ctx context.Context) error
	Login() (user, password string, err error)
	Resolve(ctx context.Context, e forge.Event) (forge.Event, error)
	SetStatus(ctx context.Context, repo forge.Repo, installation int64, s forge.CommitStatus) error
	PutReport(ctx context.Context, repo forge.Repo, installation int64, check forge.CheckRun) error
	OpenPull(ctx context.Context, repo forge.Repo, branch string) (int, bool, error)
	PullFiles(ctx context.Context, repo forge.Repo, number int) (forge.Changes, error)
	Compare(ctx context.Context, repo forge.Repo, base, head string) (forge.Changes, error)
	PullRequest(ctx context.Context, repo forge.Repo, installation int64, number int) (forge.PullRequest, error)
	Permission(ctx context.Context, repo forge.Repo, installation int64, user forge.User) (forge.Permission, error)
	Comment(ctx context.Context, repo forge.Repo, installation int64, number int, marker, body string) error
	React(ctx context.Context, repo forge.Repo, installation int64, c forge.Comment, content string) error
	TeamMember(ctx context.Context, repo forge.Repo, installation int64, org, team string, user forge.User) (bool, error)
}

var (
	_ client = (*Cloud)(nil)
	_ client = (*Server)(nil)
)

// world is one product, real in one half and fake in the other.
type world struct {
	fake
	client
	repo  forge.Repo
	touch func(id int64)
}

// spec is a description that requests are checked against; empty where the
// shared data isn't there, which only loosens the tests.
func spec(name string) string {
	file := filepath.Join(testenv.Root(), "..", "shared", "openapi", name)
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

func eachProduct(t *testing.T, test func(t *testing.T, w world)) {
	t.Run("cloud", func(t *testing.T) {
		b := forgetest.NewBitbucketCloud(t, forgetest.BitbucketOptions{Spec: spec("bitbucket-cloud.json")})
		c, err := NewCloud(Options{BaseURL: b.URL, Token: "secret-token"})
		if err != nil {
			t.Fatal(err)
		}
		b.AddRepo(someRepo)
		id := (&cloudRepo{UUID: someRepo.UUID}).id()
		test(t, world{b, c, forge.Repo{Forge: "bitbucket", ID: id, Owner: "octo", Name: "web"}, b.Touch})
	})
	t.Run("data center", func(t *testing.T) {
		b := forgetest.NewBitbucketServer(t, forgetest.BitbucketOptions{Spec: spec("bitbucket-datacenter.json")})
		s, err := NewServer(Options{BaseURL: b.Web, Token: "secret-token"})
		if err != nil {
			t.Fatal(err)
		}
		b.AddRepo(someRepo)
		test(t, world{b, s, forge.Repo{Forge: "bitbucket-server", ID: "7", Owner: "octo", Name: "web"}, b.Touch})
	})
}

func TestSetStatus(t *testing.T) {
	tests := []struct{ state, conclusion, cloud, server string }{
		{"pending", "", "INPROGRESS", "INPROGRESS"},
		{"pending", "action_required", "INPROGRESS", "INPROGRESS"},
		{"success", "success", "SUCCESSFUL", "SUCCESSFUL"},
		{"error", "neutral", "SUCCESSFUL", "SUCCESSFUL"},
		{"failure", "failure", "FAILED", "FAILED"},
		{"failure", "timed_out", "FAILED", "FAILED"},
		{"error", "failure", "FAILED", "FAILED"}, // ours, not the author's
		{"error", "cancelled", "STOPPED", "CANCELLED"},
		{"success", "skipped", "STOPPED", "CANCELLED"},
		{"success", "", "SUCCESSFUL", "SUCCESSFUL"},
	}
	eachProduct(t, func(t *testing.T, w world) {
		var want []string
		for _, tt := range tests {
			s := forge.CommitStatus{
				SHA: shaA, Context: "slipway/default", Name: "slipway / default", State: tt.state, Conclusion: tt.conclusion, Ref: "refs/heads/topic/x",
				Description: strings.Repeat("ü", 300), TargetURL: "https://ci.example.com/executions/{1}",
			}
			if err := w.SetStatus(t.Context(), w.repo, 0, s); err != nil {
				t.Fatal(err)
			}
			want = append(want, map[bool]string{true: tt.cloud, false: tt.server}[w.repo.Forge == "bitbucket"])
		}
		all := w.Statuses("octo/web", shaA)
		if len(all) != 1 {
			t.Fatalf("got %d statuses, want one: they have the same key", len(all))
		}
		got := all[0]
		if diff := cmp.Diff(want, got.History); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		wantKey, wantRef := "slipway/default", "refs/heads/topic/x"
		if w.repo.Forge == "bitbucket" {
			wantKey, wantRef = key("slipway / default"), "topic/x"
		}
		if got.Key != wantKey || got.Ref != wantRef || got.Name != "slipway / default" || got.URL != "https://ci.example.com/executions/%7B1%7D" {
			t.Errorf("got %+v", got)
		}
		if n := len([]rune(got.Description)); n != 255 {
			t.Errorf("the description has %d characters", n)
		}
		for name, s := range map[string]forge.CommitStatus{"no commit": {SHA: "main", State: "success"}, "no state": {SHA: shaA, State: "fine"}} {
			if err := w.SetStatus(t.Context(), w.repo, 0, s); !errors.Is(err, forge.ErrRejected) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}

// A status leads somewhere even if nobody said where people reach us.
func TestStatusWithoutAddress(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		if err := w.SetStatus(t.Context(), w.repo, 0, forge.CommitStatus{SHA: shaA, Context: "x", State: "success"}); err != nil {
			t.Fatal(err)
		}
		if got := w.Statuses("octo/web", shaA)[0].URL; !strings.HasSuffix(got, "/commits/"+shaA) || !strings.Contains(got, "octo") {
			t.Errorf("got %q", got)
		}
	})
}

// C49: 250 annotations arrive in batches of 100, 100 and 50, and a second report
// takes the place of the first.
func TestPutReport(t *testing.T) {
	check := forge.CheckRun{SHA: shaA, Name: "slipway / default", Title: "2 tests failed", Conclusion: "failure", DetailsURL: "https://ci.example.com/x"}
	for i := range 250 {
		check.Annotations = append(check.Annotations, forge.Annotation{
			Path: "./a/b.go", StartLine: i, Level: []string{"failure", "warning", "notice"}[i%3], Message: strings.Repeat("m", 3000),
		})
	}
	check.Annotations = append(check.Annotations, forge.Annotation{Path: "../x", Message: "m"}, forge.Annotation{Path: "/x", Message: "m"}, forge.Annotation{Path: "y"})
	eachProduct(t, func(t *testing.T, w world) {
		for range 2 {
			if err := w.PutReport(t.Context(), w.repo, 0, check); err != nil {
				t.Fatal(err)
			}
		}
		reports := w.Reports("octo/web", shaA)
		if len(reports) != 1 || len(reports[0].Annotations) != 250 || !strings.HasPrefix(reports[0].Result, "FAIL") {
			t.Fatalf("got %d reports, the first with %d annotations", len(reports), len(reports[0].Annotations))
		}
		if diff := cmp.Diff([]int{100, 100, 50}, reports[0].Batches); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		ids := map[any]bool{}
		for _, a := range reports[0].Annotations {
			ids[fmt.Sprint(a["external_id"], a["externalId"])] = true
		}
		if len(ids) != 250 || reports[0].Annotations[0]["path"] != "a/b.go" {
			t.Errorf("got %d IDs, first %v", len(ids), reports[0].Annotations[0])
		}
		check := check
		check.Conclusion, check.Annotations = "success", nil
		if err := w.PutReport(t.Context(), w.repo, 0, check); err != nil {
			t.Fatal(err)
		}
		if got := w.Reports("octo/web", shaA)[0]; len(got.Annotations) != 0 || !strings.HasPrefix(got.Result, "PASS") {
			t.Errorf("got %+v", got)
		}
	})
}

func TestChanges(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		w.SetChanges("octo/web", "release/1", shaA, []forgetest.File{{Name: "api/x.go"}, {Name: "b", Former: "a"}})
		got, err := w.Compare(t.Context(), w.repo, "release/1", shaA)
		if diff := cmp.Diff(forge.Changes{Paths: []string{"api/x.go", "b", "a"}}, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
		if _, err := w.Compare(t.Context(), w.repo, "gone", shaA); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		for n, whole := range map[int]bool{0: true, 1: true, 250: true, 3100: false} {
			files := make([]forgetest.File, n)
			for i := range files {
				files[i].Name = fmt.Sprintf("f%d", i)
			}
			w.SetPull("octo/web", forgetest.Pull{Number: 4, Head: "x", HeadSHA: shaA, BaseSHA: shaB, Files: files})
			got, err := w.PullFiles(t.Context(), w.repo, 4)
			if err != nil || (got.Unknown == "") != whole || whole && len(got.Paths) != n {
				t.Errorf("%d files: got %d, unknown because %q, %v", n, len(got.Paths), got.Unknown, err)
			}
		}
	})
}

func TestPulls(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		find := func() int {
			t.Helper()
			n, found, err := w.OpenPull(t.Context(), w.repo, "topic")
			if err != nil || found != (n != 0) {
				t.Fatal(n, found, err)
			}
			return n
		}
		w.SetPull("octo/web", forgetest.Pull{Number: 1, Head: "topic", HeadSHA: shaA, BaseSHA: shaB, State: "DECLINED"})
		w.SetPull("octo/web", forgetest.Pull{Number: 2, Head: "topic", HeadSHA: shaA, BaseSHA: shaB, HeadRepo: 99})
		w.SetPull("octo/web", forgetest.Pull{Number: 3, Head: "topic", HeadSHA: shaA, BaseSHA: shaB, Draft: true})
		if n := find(); n != 0 {
			t.Errorf("declined, a fork's, a draft: got %d", n)
		}
		w.SetPull("octo/web", forgetest.Pull{Number: 7, Head: "topic", HeadSHA: shaA, BaseSHA: shaB, Author: "ada"})
		if n := find(); n != 7 {
			t.Errorf("got %d, want 7", n)
		}
		pr, err := w.PullRequest(t.Context(), w.repo, 0, 7)
		if err != nil || pr.HeadSHA != shaA || pr.BaseSHA != shaB || !pr.Internal() || pr.Author.Login != "ada" || pr.FetchRef == "" {
			t.Errorf("%v, got %+v", err, pr)
		}
		if _, err := w.PullRequest(t.Context(), w.repo, 0, 70); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestPermission(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		user := func(name string) forge.User {
			if w.repo.Forge == "bitbucket" {
				return forge.User{ID: forgetest.CloudUserID(name), Login: name}
			}
			return forge.User{ID: fmt.Sprint(forgetest.ServerUserID(name)), Login: name}
		}
		for name, level := range map[string]string{"ada": "admin", "bob": "write", "bobby": "admin", "cyd": "read"} {
			who := name
			if w.repo.Forge == "bitbucket" {
				who = user(name).ID
			}
			w.SetPermission("octo/web", who, level)
		}
		for name, want := range map[string]forge.Permission{"ada": forge.Admin, "bob": forge.Write, "cyd": forge.Read, "eve": forge.NoPermission, "bo": forge.NoPermission} {
			got, err := w.Permission(t.Context(), w.repo, 0, user(name))
			if got != want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
		stranger := forge.User{ID: "1", Login: "ada"}
		if got, err := w.Permission(t.Context(), w.repo, 0, stranger); got != forge.NoPermission || err != nil {
			t.Errorf("somebody with a name that was given to another: got %q, %v", got, err)
		}
	})
}

// C48: an update answered with a conflict is made once more with the version
// that the comment has by then.
func TestComment(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		w.SetPull("octo/web", forgetest.Pull{Number: 7, Head: "topic", HeadSHA: shaA, BaseSHA: shaB})
		w.Write("octo/web", 7, "mallory", "look: \n\n"+marked("summary"))
		say := func(marker, body string) {
			t.Helper()
			if err := w.Comment(t.Context(), w.repo, 0, 7, marker, body); err != nil {
				t.Fatal(err)
			}
		}
		say("summary", "one")
		say("summary", "one")
		ours := w.Comments("octo/web", 7)[1]
		if len(w.Comments("octo/web", 7)) != 2 || ours.Version != 0 || !strings.HasPrefix(ours.Body, "one\n") {
			t.Fatalf("got %+v", w.Comments("octo/web", 7))
		}
		w.Fail(forgetest.Fault{On: "PUT", Status: 409, Times: 1})
		if w.repo.Forge == "bitbucket" {
			w.Heal()
		}
		say("summary", "two")
		w.touch(ours.ID)
		say("summary", strings.Repeat("long ", 10_000))
		say("other", "three")
		all := w.Comments("octo/web", 7)
		if len(all) != 3 || !strings.HasPrefix(all[1].Body, "long long") || len([]rune(all[1].Body)) > commentLimit || !hasMarker(all[1].Body, "summary") {
			t.Errorf("got %d comments", len(all))
		}
		if all[0].Version != 0 {
			t.Error("somebody else's comment was changed")
		}
	})
}

func TestReact(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		c := w.Write("octo/web", 7, "ada", "/test")
		err := w.React(t.Context(), w.repo, 0, forge.Comment{ID: fmt.Sprint(c.ID), Pull: 7}, "+1")
		if w.repo.Forge == "bitbucket" {
			if !errors.Is(err, forge.ErrUnsupported) {
				t.Errorf("got %v, want ErrUnsupported", err)
			}
			return
		}
		if got := w.Comments("octo/web", 7)[0].Reactions; err != nil || len(got) != 1 || got[0] != "thumbsup" {
			t.Errorf("%v, got %v", err, got)
		}
	})
}

func TestGroups(t *testing.T) {
	b := forgetest.NewBitbucketServer(t, forgetest.BitbucketOptions{Spec: spec("bitbucket-datacenter.json")})
	s, err := NewServer(Options{BaseURL: b.Web, Token: "secret-token"})
	if err != nil {
		t.Fatal(err)
	}
	b.SetGroupMember("ops", "ada")
	for name, want := range map[string]bool{"ada": true, "ad": false, "bob": false} {
		got, err := s.TeamMember(t.Context(), forge.Repo{}, 0, "octo", "ops", forge.User{Login: name})
		if got != want || err != nil {
			t.Errorf("%s: got %t, %v", name, got, err)
		}
	}
}

// Deliveries of pull requests have 12 digits of a commit in Cloud, and those of
// pushes have no main branch in either.
func TestResolve(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		w.AddCommit("octo/web", shaA)
		w.AddCommit("octo/web", shaB)
		e, err := w.Resolve(t.Context(), forge.Event{Kind: forge.Push, Repo: w.repo, Push: &forge.PushEvent{}, More: []forge.Event{{Repo: w.repo}}})
		if err != nil || e.Repo.DefaultBranch != "main" || e.More[0].Repo.DefaultBranch != "main" {
			t.Errorf("%v, got %+v", err, e)
		}
		w.Fail(forgetest.Fault{Status: 403, Times: 1})
		if e, err := w.Resolve(t.Context(), forge.Event{Kind: forge.Push, Repo: w.repo, Push: &forge.PushEvent{}}); err != nil || e.Repo.DefaultBranch != "" {
			t.Errorf("not allowed to ask: %v, got %+v", err, e)
		}
		w.Fail(forgetest.Fault{Status: 503, Times: 1})
		if _, err := w.Resolve(t.Context(), forge.Event{Kind: forge.Push, Repo: w.repo, Push: &forge.PushEvent{}}); err == nil {
			t.Error("an outage is no reason to try again")
		}
		if w.repo.Forge != "bitbucket" {
			return
		}
		e, err = w.Resolve(t.Context(), forge.Event{Kind: forge.Pull, Repo: w.repo, Pull: &forge.PullRequest{HeadSHA: shaA[:12], BaseSHA: shaB[:12]}})
		if err != nil || e.Pull.HeadSHA != shaA || e.Pull.BaseSHA != shaB {
			t.Errorf("%v, got %+v", err, e.Pull)
		}
		if _, err := w.Resolve(t.Context(), forge.Event{Kind: forge.Pull, Repo: w.repo, Pull: &forge.PullRequest{HeadSHA: "cccccccccccc"}}); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	status := forge.CommitStatus{SHA: shaA, Context: "x", State: "success"}
	tests := []struct {
		name  string
		fault forgetest.Fault
		want  error         // nil: a RetryError
		after time.Duration // that the RetryError names
	}{
		{"limited", forgetest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}}, nil, 7 * time.Second},
		{"limited without a time", forgetest.Fault{Status: 429}, nil, limitedWait},
		{"limited for a day", forgetest.Fault{Status: 429, Header: map[string]string{"Retry-After": "86400"}}, nil, longestWait},
		{"500", forgetest.Fault{Status: 500}, nil, 0},
		{"503", forgetest.Fault{Status: 503, Header: map[string]string{"Retry-After": "3"}}, nil, 3 * time.Second},
		{"lost answer", forgetest.Fault{Drop: true}, nil, 0},
		{"401", forgetest.Fault{Status: 401}, forge.ErrForbidden, 0},
		{"403", forgetest.Fault{Status: 403}, forge.ErrForbidden, 0},
		{"400", forgetest.Fault{Status: 400}, forge.ErrRejected, 0},
		{"elsewhere", forgetest.Fault{Status: 302, Header: map[string]string{"Location": "http://169.254.169.254/x"}}, forge.ErrRejected, 0},
	}
	eachProduct(t, func(t *testing.T, w world) {
		for _, tt := range tests {
			w.Fail(tt.fault)
			err := w.SetStatus(t.Context(), w.repo, 0, status)
			w.Heal()
			retry, again := errors.AsType[*forge.RetryError](err)
			switch {
			case again != (tt.want == nil), tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			case again && retry.After != tt.after:
				t.Errorf("%s: got %s, want %s", tt.name, retry.After, tt.after)
			case strings.Contains(err.Error(), "secret-token"):
				t.Errorf("%s: the token is in %q", tt.name, err)
			}
		}
		if err := w.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.SetStatus(t.Context(), forge.Repo{Owner: "..", Name: "x"}, 0, status); !errors.Is(err, forge.ErrRejected) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTimeOut(t *testing.T) {
	eachProduct(t, func(t *testing.T, w world) {
		w.Fail(forgetest.Fault{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := w.SetStatus(ctx, w.repo, 0, forge.CommitStatus{SHA: shaA, Context: "x", State: "success"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLogin(t *testing.T) {
	tests := []struct{ token, cloud, server string }{
		{"abc", "x-token-auth:abc", "x-token-auth:abc"},
		{"ada@example.com:abc", "x-bitbucket-api-token-auth:abc", "ada@example.com:abc"},
		{"", ":", ":"},
	}
	for _, tt := range tests {
		cloud, err := NewCloud(Options{Token: tt.token})
		if err != nil {
			t.Fatal(err)
		}
		server, err := NewServer(Options{BaseURL: "https://git.example.com", Token: tt.token})
		if err != nil {
			t.Fatal(err)
		}
		for c, want := range map[client]string{cloud: tt.cloud, server: tt.server} {
			user, password, err := c.Login()
			if got := user + ":" + password; got != want || (err != nil) != (tt.token == "") {
				t.Errorf("%q: got %q, %v, want %q", tt.token, got, err, want)
			}
		}
	}
	if _, err := NewServer(Options{}); err == nil {
		t.Error("a server without an address was made")
	}
}
