package source_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/runnertest"
	"github.com/slipway-ci/slipway/runner/source"
)

func store(t *testing.T, o source.Options) *source.Store {
	t.Helper()
	testenv.Need(t, "git")
	o.Dir = t.TempDir()
	s, err := source.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Attacks: 30.
func TestCheckoutLeavesNoCredentials(t *testing.T) {
	testenv.Need(t, "git")
	o := runnertest.Served(t, runnertest.Repo(t, map[string]string{"a/b": "text", "buildspec.yml": "x"}))
	s := store(t, source.Options{})
	dir := t.TempDir()
	if err := s.Checkout(t.Context(), o, dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a/b")); string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := strings.TrimSpace(runnertest.Git(t, dir, "rev-parse", "HEAD")); got != o.SHA {
		t.Errorf("got HEAD %s, want %s", got, o.SHA)
	}
	if got := runnertest.Git(t, dir, "status", "--porcelain"); got != "" {
		t.Errorf("the checkout is not clean: %s", got)
	}
	runnertest.Git(t, dir, "fsck", "--full", "--strict")
	if out, _ := exec.Command("grep", "-r", "-l", "-e", runnertest.Password, "-e", "Authorization", dir).Output(); len(out) > 0 {
		t.Errorf("credentials left in %s", out)
	}
}

// Attacks: 14, 30.
func TestMistakesOfUsersNameTheCommitAndNoSecret(t *testing.T) {
	testenv.Need(t, "git")
	good := runnertest.Served(t, runnertest.Repo(t, map[string]string{"a": "b"}))
	tests := []struct {
		name   string
		change func(*pipeline.SourceOrder)
	}{
		{"wrong password", func(o *pipeline.SourceOrder) { o.Password = "wrong-pass-word" }},
		{"no password", func(o *pipeline.SourceOrder) { o.Password = "" }},
		{"no such commit", func(o *pipeline.SourceOrder) { o.SHA = strings.Repeat("1", 40); o.FetchRef = "" }},
		{"no such commit in the ref", func(o *pipeline.SourceOrder) { o.SHA = strings.Repeat("1", 40) }},
		{"no such repository", func(o *pipeline.SourceOrder) { o.URL += "-other" }},
		{"an option as commit", func(o *pipeline.SourceOrder) { o.SHA = "--upload-pack=touch /tmp/x" }},
		{"an option as ref", func(o *pipeline.SourceOrder) { o.FetchRef = "--upload-pack=x" }},
		{"an option as URL", func(o *pipeline.SourceOrder) { o.URL = "--upload-pack=x" }},
		{"a file URL", func(o *pipeline.SourceOrder) { o.URL = "file:///etc" }},
		{"another protocol", func(o *pipeline.SourceOrder) { o.URL = "ext::sh -c id" }},
		{"credentials in the URL", func(o *pipeline.SourceOrder) {
			o.URL = strings.Replace(o.URL, "://", "://u:"+runnertest.Password+"@", 1)
		}},
		{"two dots in the ref", func(o *pipeline.SourceOrder) { o.FetchRef = "refs/heads/a..b" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			err := store(t, source.Options{}).Checkout(t.Context(), o, t.TempDir())
			var mistake *pipeline.UserError
			if !errors.As(err, &mistake) || mistake.Code != "CLIENT_ERROR" {
				t.Fatalf("got %v, want a UserError", err)
			}
			if !strings.Contains(err.Error(), o.SHA) || !strings.Contains(err.Error(), "octo/app") || strings.Contains(err.Error(), "pass-word") {
				t.Errorf("got %q", err)
			}
		})
	}
}

func TestAServerThatIsAwayIsNobodysMistake(t *testing.T) {
	o := runnertest.Repo(t, nil)
	o.URL = "http://127.0.0.1:1/x.git"
	err := store(t, source.Options{}).Checkout(t.Context(), o, t.TempDir())
	if err == nil || errors.As(err, new(*pipeline.UserError)) {
		t.Errorf("got %v", err)
	}
}

func TestReadFile(t *testing.T) {
	o := runnertest.Repo(t, map[string]string{"buildspec.yml": "spec", "dir/x": "y"})
	s := store(t, source.Options{AllowFile: true})
	if got, err := s.ReadFile(t.Context(), o, "buildspec.yml"); string(got) != "spec" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, name := range []string{"appspec.yml", "dir", "*", "../x", "-x"} {
		if _, err := s.ReadFile(t.Context(), o, name); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	got, err := s.Files(t.Context(), o, "appspec.yml", "buildspec.yml", "dir", "dir/x")
	if err != nil || !slices.Equal(got, []string{"buildspec.yml", "dir/x"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestList(t *testing.T) {
	o := runnertest.Repo(t, map[string]string{".slipway/b.yml": "b", ".slipway/a.yml": "a", ".slipway/deep/c.yml": "c", ".slipwayx": "d"})
	s := store(t, source.Options{AllowFile: true})
	for folder, want := range map[string][]string{".slipway": {".slipway/a.yml", ".slipway/b.yml"}, "none": nil, ".slipwayx": nil} {
		if got, err := s.List(t.Context(), o, folder); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", folder, got, err, want)
		}
	}
}

func TestDepths(t *testing.T) {
	o := runnertest.Repo(t, map[string]string{"a": "1"})
	for range 4 {
		runnertest.Git(t, o.URL, "commit", "--quiet", "--allow-empty", "--message=more")
	}
	o.SHA = strings.TrimSpace(runnertest.Git(t, o.URL, "rev-parse", "HEAD"))
	s := store(t, source.Options{AllowFile: true})
	for _, tt := range []struct {
		depth int
		want  string
	}{{0, "1"}, {2, "2"}, {-1, "5"}, {0, "1"}} {
		o := o
		o.Depth = tt.depth
		dir := t.TempDir()
		if err := s.Checkout(t.Context(), o, dir); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(runnertest.Git(t, dir, "rev-list", "--count", "HEAD")); got != tt.want {
			t.Errorf("depth %d: got %s commits, want %s", tt.depth, got, tt.want)
		}
	}
}

func TestStoresShareAFolder(t *testing.T) {
	testenv.Need(t, "git")
	dir := t.TempDir()
	o := runnertest.Repo(t, map[string]string{"a": "1"})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := source.New(source.Options{Dir: dir, AllowFile: true, KeepCommits: 2})
			if err == nil {
				err = s.Checkout(t.Context(), o, t.TempDir())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestCheckoutEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(pipeline.ErrStopped)
	err := store(t, source.Options{AllowFile: true}).Checkout(ctx, runnertest.Repo(t, nil), t.TempDir())
	if !errors.Is(err, pipeline.ErrStopped) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestResolve(t *testing.T) {
	testenv.Need(t, "git")
	o := runnertest.Repo(t, map[string]string{"a": "b"})
	dir := o.URL
	runnertest.Git(t, dir, "branch", "release/1")
	runnertest.Git(t, dir, "update-ref", "refs/pull/7/head", "HEAD")
	runnertest.Git(t, dir, "-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "v1", "-m", "x")
	o.Repo.DefaultBranch = strings.TrimSpace(runnertest.Git(t, dir, "symbolic-ref", "--short", "HEAD"))
	o = runnertest.Served(t, o)
	s := store(t, source.Options{})
	for name, want := range map[string]string{
		"": "refs/heads/" + o.Repo.DefaultBranch, "release/1": "refs/heads/release/1", "v1": "refs/tags/v1", "refs/tags/v1": "refs/tags/v1",
		o.SHA[:8]: "refs/heads/" + o.Repo.DefaultBranch, o.SHA: "",
	} {
		if sha, ref, err := s.Resolve(t.Context(), o, name); err != nil || sha != o.SHA || ref != want {
			t.Errorf("%q: got %s %s, %v, want %s", name, sha, ref, err, want)
		}
	}
	for _, name := range []string{"nope", "0000000", o.SHA[:4], "--upload-pack=x", "HEAD", "refs/pull/7/head"} {
		var mistake *pipeline.UserError
		if sha, _, err := s.Resolve(t.Context(), o, name); !errors.As(err, &mistake) {
			t.Errorf("%q: got %s, %v", name, sha, err)
		}
	}
}

// A repository of a stranger runs nothing when it is fetched and laid out: no
// hook, no filter, no submodule, and no name that looks like an option.
//
// Attacks: 14.
func TestHostileRepositoryRunsNothing(t *testing.T) {
	testenv.Need(t, "git")
	box := t.TempDir()
	ran := filepath.Join(box, "ran")
	o := runnertest.Repo(t, map[string]string{
		".gitmodules":                "[submodule \"x\"]\n\tpath = sub\n\turl = ext::sh -c \"touch " + ran + "\"\n\tupdate = !touch " + ran + "\n",
		".gitattributes":             "* filter=evil diff=evil\n",
		".githooks/post-checkout":    "#!/bin/sh\ntouch " + ran + "\n",
		"--upload-pack=touch " + "x": "text",
		"-rf":                        "text",
	})
	dir := o.URL
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	runnertest.Git(t, dir, "add", "--", "link")
	runnertest.Git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+o.SHA+",sub")
	runnertest.Git(t, dir, "config", "filter.evil.smudge", "touch "+ran)
	runnertest.Git(t, dir, "commit", "--quiet", "--message=hostile")
	o.SHA = strings.TrimSpace(runnertest.Git(t, dir, "rev-parse", "HEAD"))
	hooks := filepath.Join(dir, ".git", "hooks")
	for _, name := range []string{"pre-upload", "post-checkout", "reference-transaction", "post-index-change"} {
		if err := os.WriteFile(filepath.Join(hooks, name), []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(box, "checkout")
	if err := store(t, source.Options{AllowFile: true}).Checkout(t.Context(), o, to); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(ran); err == nil {
		t.Error("something of the repository ran")
	}
	if at, err := os.Readlink(filepath.Join(to, "link")); at != "/etc/passwd" {
		t.Errorf("the link became %q, %v", at, err)
	}
	if left, err := os.ReadDir(filepath.Join(to, "sub")); err == nil && len(left) > 0 {
		t.Errorf("the submodule was fetched: %v", left)
	}
	if _, err := os.Stat(filepath.Join(to, "-rf")); err != nil {
		t.Error(err)
	}
}
