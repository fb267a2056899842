package github

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/testenv"
)

// facts is what a decision hangs on.
type facts struct {
	Kind               forge.Kind
	Action, Repo       string
	SHA, Ref, External string
	Flags              string
}

func factsOf(e forge.Event) facts {
	f := facts{Kind: e.Kind, Action: e.Action}
	if e.Repo.ID != "" {
		f.Repo = e.Repo.ID + " " + e.Repo.FullName()
	}
	var flags []string
	flag := func(name string, set bool) {
		if set {
			flags = append(flags, name)
		}
	}
	if p := e.Push; p != nil {
		f.SHA, f.Ref = p.After, p.Ref
		flag("created", p.Created)
		flag("deleted", p.Deleted)
		flag("forced", p.Forced)
		flag("message", p.Message != "")
	}
	if p := e.Pull; p != nil {
		f.SHA, f.Ref = p.HeadSHA, p.FetchRef+" "+p.HeadRef+">"+p.BaseRef
		flag("draft", p.Draft)
		flag("closed", p.Closed)
		flag("merged", p.Merged)
		flag("internal", p.Internal())
	}
	if c := e.Check; c != nil {
		f.SHA, f.External = c.SHA, c.ExternalID
		f.Ref = c.Name
		flag("button "+c.Identifier, c.Identifier != "")
	}
	if i := e.Install; i != nil {
		f.Ref = i.Account
		flag("suspended", i.Suspended)
		flag("deleted", i.Deleted)
		flag("added "+strings.Join(i.Added, " "), i.Added != nil)
		flag("removed "+strings.Join(i.Removed, " "), i.Removed != nil)
	}
	f.Flags = strings.Join(flags, ", ")
	return f
}

func headers(event string) http.Header {
	h := http.Header{}
	h.Set("X-GitHub-Event", event)
	h.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	h.Set("Content-Type", "application/json")
	return h
}

// In the wild: 45.
func TestDecodeCorpus(t *testing.T) {
	dir := testenv.Shared(t, "corpus/github")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no payloads in %s: %v", dir, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		body := readFile(t, file)
		event, _, _ := strings.Cut(name, ".")
		got, err := Decode("github", headers(event), body, "https://github.com/")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, known := corpus[name]
		if !known {
			t.Errorf("%s: no expectation; have\n\t%q: %#v,", name, name, factsOf(got))
			continue
		}
		if diff := gocmp.Diff(want, factsOf(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.Repo.ID != "" && got.Repo.CloneURL != "https://github.com/"+got.Repo.FullName()+".git" {
			t.Errorf("%s: clone URL %q", name, got.Repo.CloneURL)
		}
		scan, err := Scan(headers(event), body)
		if err != nil {
			t.Errorf("%s: scanning: %v", name, err)
		}
		if scan.RepoID != got.Repo.ID || scan.Action != got.Action || scan.Installation != got.Installation {
			t.Errorf("%s: Scan %+v disagrees with Decode %+v", name, scan, got)
		}
		if sha := factsOf(got).SHA; sha != "" && scan.SHA != sha {
			t.Errorf("%s: Scan has SHA %q, Decode %q", name, scan.SHA, sha)
		}
	}
}

func readFile(t testing.TB, file string) []byte {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// change is a payload of the corpus with some fields set, by dotted path.
func change(t *testing.T, file string, fields map[string]any) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(readFile(t, filepath.Join(testenv.Shared(t, "corpus/github"), file)), &doc); err != nil {
		t.Fatal(err)
	}
	for path, value := range fields {
		at := doc
		keys := strings.Split(path, ".")
		for _, k := range keys[:len(keys)-1] {
			at = at[k].(map[string]any)
		}
		at[keys[len(keys)-1]] = value
	}
	return mustJSON(t, doc)
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestC06FormIsTheSameEvent(t *testing.T) {
	body := change(t, "push.none.6.json", nil)
	want, err := Decode("github", headers("push"), body, "")
	if err != nil {
		t.Fatal(err)
	}
	h := headers("push")
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := Decode("github", h, []byte("payload="+url.QueryEscape(string(body))), "")
	if diff := gocmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-JSON +form):\n%s", err, diff)
	}
}

const zeros = "0000000000000000000000000000000000000000"

// group are the fields that make a merge_group of another event's payload.
func group(sha, action, base string) map[string]any {
	return map[string]any{"action": action, "merge_group": map[string]any{
		"head_sha": sha, "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-1", "base_sha": sha, "base_ref": base,
		"head_commit": map[string]any{"id": sha, "message": "m"},
	}}
}

// In the wild: 45.
func TestDecodeMutated(t *testing.T) {
	sha := strings.Repeat("ab", 20)
	tests := []struct {
		name   string
		event  string
		file   string
		fields map[string]any
		want   func(forge.Event) bool
	}{
		{"C10 unknown event", "sponsorship", "ping.none.2.json", nil,
			func(e forge.Event) bool { return e.Kind == forge.Other && e.Repo.ID != "" }},
		{"C10 unknown action", "check_run", "check_run.created.1.json", map[string]any{"action": "polished"},
			func(e forge.Event) bool { return e.Kind == forge.Other && e.Action == "polished" }},
		{"C11 custom property with several values", "push", "push.none.6.json",
			map[string]any{"repository.custom_properties": map[string]any{"t": []string{"a", "b"}}},
			func(e forge.Event) bool { return e.Kind == forge.Push }},
		{"C11 timestamp with a space", "check_run", "check_run.rerequested.2.json",
			map[string]any{"check_run.started_at": "2018-04-25 20:42:10"},
			func(e forge.Event) bool { return e.Kind == forge.CheckRerun }},
		{"C11 pushed_at with a space", "push", "push.none.6.json",
			map[string]any{"repository.pushed_at": "2018-04-25 20:42:10"},
			func(e forge.Event) bool { return e.Push.At.Unix() == 1524688930 }},
		{"C15 branch deleted", "push", "push.none.6.json",
			map[string]any{"after": zeros, "before": sha, "created": false, "deleted": true, "head_commit": nil},
			func(e forge.Event) bool { return e.Push.Deleted && !e.Push.Created && e.Push.Message == "" }},
		{"C16 forced", "push", "push.none.6.json", map[string]any{"forced": true, "created": false, "before": sha},
			func(e forge.Event) bool { return e.Push.Forced && !e.Push.Created }},
		{"C21 fork", "pull_request", "pull_request.opened.2.json", map[string]any{"pull_request.head.repo.id": 42},
			func(e forge.Event) bool { return !e.Pull.Internal() && e.Pull.HeadRepoID == "42" }},
		{"the fork is gone", "pull_request", "pull_request.opened.2.json", map[string]any{"pull_request.head.repo": nil},
			func(e forge.Event) bool { return !e.Pull.Internal() && e.Pull.HeadRepoID == "" }},
		{"head repository of another type", "pull_request", "pull_request.opened.2.json",
			map[string]any{"pull_request.head.repo": "x"},
			func(e forge.Event) bool { return !e.Pull.Internal() }},
		{"base changed", "pull_request", "pull_request.opened.2.json",
			map[string]any{"action": "edited", "changes": map[string]any{"base": map[string]any{"ref": map[string]any{"from": "x"}}}},
			func(e forge.Event) bool { return e.Pull.BaseChanged }},
		{"title changed", "pull_request", "pull_request.opened.2.json",
			map[string]any{"action": "edited", "changes": map[string]any{"title": map[string]any{"from": "x"}, "base": nil}},
			func(e forge.Event) bool { return !e.Pull.BaseChanged }},
		{"merged", "pull_request", "pull_request.closed.1.json",
			map[string]any{"pull_request.merged": true, "pull_request.merge_commit_sha": sha},
			func(e forge.Event) bool { return e.Pull.Merged && e.Pull.MergeSHA == sha }},
		{"C34 button", "check_run", "check_run.requested_action.1.json",
			map[string]any{"requested_action": map[string]any{"identifier": "rerun_failed"}, "check_run.external_id": "e:1"},
			func(e forge.Event) bool {
				return e.Kind == forge.CheckButton && e.Check.Identifier == "rerun_failed" && e.Check.ExternalID == "e:1"
			}},
		{"C40 merge group", "merge_group", "pull_request.opened.2.json", group(sha, "checks_requested", "refs/heads/main"),
			func(e forge.Event) bool {
				g := e.Merge
				return e.Kind == forge.MergeGroup && !g.Gone && g.HeadSHA == sha && g.BaseRef == "main" &&
					g.HeadRef == "refs/heads/gh-readonly-queue/main/pr-7-1" && g.Message == "m"
			}},
		{"C40 merge group without a head commit", "merge_group", "pull_request.opened.2.json",
			map[string]any{"action": "checks_requested", "merge_group": map[string]any{
				"head_sha": sha, "base_sha": sha, "head_ref": "refs/heads/q", "base_ref": "refs/heads/main", "head_commit": nil}},
			func(e forge.Event) bool { return e.Kind == forge.MergeGroup && e.Merge.Message == "" }},
		{"C40 merge group destroyed", "merge_group", "pull_request.opened.2.json", group(sha, "destroyed", "refs/heads/main"),
			func(e forge.Event) bool { return e.Kind == forge.MergeGroup && e.Merge.Gone }},
		{"C40 merge group with another action", "merge_group", "pull_request.opened.2.json", group(sha, "polished", "refs/heads/main"),
			func(e forge.Event) bool { return e.Kind == forge.Other }},
		{"release", "release", "release.published.1.json", map[string]any{"action": "released", "release.name": "One"},
			func(e forge.Event) bool {
				return e.Kind == forge.Release && *e.Release == forge.ReleaseSpec{Tag: "0.0.1", Name: "One"}
			}},
		{"prerelease without a name", "release", "release.published.1.json", map[string]any{"action": "prereleased"},
			func(e forge.Event) bool {
				return e.Kind == forge.Release && *e.Release == forge.ReleaseSpec{Tag: "0.0.1", Prerelease: true}
			}},
		{"release that says the same again", "release", "release.published.1.json", nil, func(e forge.Event) bool { return e.Kind == forge.Other }},
		{"draft", "release", "release.published.1.json", map[string]any{"action": "released", "release.draft": true},
			func(e forge.Event) bool { return e.Kind == forge.Other }},
		{"annotated tag", "push", "push.none.6.json",
			map[string]any{"ref": "refs/tags/v1", "after": sha},
			func(e forge.Event) bool { return e.Push.After == "6113728f27ae82c7b1a177c8d03f9e96e0adf246" }},
		{"SHA-256 repository", "push", "push.none.6.json",
			map[string]any{"before": strings.Repeat("0", 64), "after": strings.Repeat("a", 64)},
			func(e forge.Event) bool { return e.Push.Created && !e.Push.Deleted }},
		{"C42 branch with shell syntax", "push", "push.none.6.json", map[string]any{"ref": `refs/heads/a";curl${IFS}x;#`},
			func(e forge.Event) bool { return e.Push.Ref == `refs/heads/a";curl${IFS}x;#` }},
		{"C42 title with a newline", "pull_request", "pull_request.opened.2.json",
			map[string]any{"pull_request.title": "x\n::set-env"},
			func(e forge.Event) bool { return e.Pull.Title == "x\n::set-env" }},
		{"C43 clone URL elsewhere", "push", "push.none.6.json",
			map[string]any{"repository.clone_url": "http://169.254.169.254/latest", "repository.comments_url": "http://169.254.169.254/"},
			func(e forge.Event) bool { return e.Repo.CloneURL == "https://github.com/Codertocat/Hello-World.git" }},
		{"bot", "push", "push.none.6.json", map[string]any{"sender.type": "Bot"},
			func(e forge.Event) bool { return e.Sender.Bot && e.Sender.ID == "21031067" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Decode("github", headers(tt.event), change(t, tt.file, tt.fields), "https://github.com/")
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want(e) {
				t.Errorf("not as expected: %+v\npush %+v\npull %+v\ncheck %+v", e, e.Push, e.Pull, e.Check)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name, event, file string
		fields            map[string]any
		want              string
	}{
		{"ref that git can't have", "push", "push.none.6.json", map[string]any{"ref": "refs/heads/../x"}, "not a git ref"},
		{"ref like a flag", "push", "push.none.6.json", map[string]any{"ref": "--upload-pack=x"}, "not a git ref"},
		{"ref with a newline", "push", "push.none.6.json", map[string]any{"ref": "refs/heads/a\nb"}, "not a git ref"},
		{"ref of another type", "push", "push.none.6.json", map[string]any{"ref": 1}, "not a git ref"},
		{"no SHA", "push", "push.none.6.json", map[string]any{"after": "HEAD"}, "after: want 40 or 64 hex digits"},
		{"owner leaves its folder", "push", "push.none.6.json", map[string]any{"repository.full_name": "../etc"}, "want owner/name"},
		{"no repository", "push", "push.none.6.json", map[string]any{"repository": nil}, "repository: missing"},
		{"no repository ID", "push", "push.none.6.json", map[string]any{"repository.id": "x"}, "repository.id"},
		{"no head", "pull_request", "pull_request.opened.2.json", map[string]any{"pull_request.head": nil}, "head.sha"},
		{"merge group of no commit", "merge_group", "pull_request.opened.2.json", group("HEAD", "destroyed", "refs/heads/main"), "merge_group.head_sha"},
		{"release of no tag", "release", "release.published.1.json", map[string]any{"action": "released", "release.tag_name": ""}, "release.tag_name"},
		{"release of a tag that git can't have", "release", "release.published.1.json",
			map[string]any{"action": "released", "release.tag_name": "../heads/main"}, "release.tag_name"},
		{"merge group for no branch", "merge_group", "pull_request.opened.2.json", group(zeros, "checks_requested", "main"), "merge_group.base_ref"},
		{"no number", "pull_request", "pull_request.opened.2.json",
			map[string]any{"pull_request.number": 0, "number": -1}, "positive number"},
	}
	for _, tt := range tests {
		_, err := Decode("github", headers(tt.event), change(t, tt.file, tt.fields), "")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestCloneURL(t *testing.T) {
	tests := []struct{ name, base, given, want string }{
		{"base replaces scheme and host", "http://127.0.0.1:3000/", "https://github.com/o/r.git", "http://127.0.0.1:3000/o/r.git"},
		{"base with a path", "http://127.0.0.1:3000/git", "https://github.com/o/r.git", "http://127.0.0.1:3000/git/o/r.git"},
		{"path in front of the name is kept", "http://127.0.0.1:3000", "https://x/git/o/r.git", "http://127.0.0.1:3000/git/o/r.git"},
		{"a folder", "file:///srv/repos/", "https://github.com/o/r.git", "file:///srv/repos/o/r.git"},
		{"another repository's path", "https://ghes/", "https://ghes/o/other.git", "https://ghes/o/r.git"},
		{"dots", "https://ghes/", "https://ghes/../x/o/r.git", "https://ghes/o/r.git"},
		{"no URL", "https://ghes/", "", "https://ghes/o/r.git"},
		{"github.com without a base", "", "https://github.com/o/r.git", "https://github.com/o/r.git"},
		{"C43 elsewhere without a base", "", "https://169.254.169.254/o/r.git", ""},
		{"no TLS without a base", "", "http://github.com/o/r.git", ""},
		{"user info without a base", "", "https://a:b@github.com/o/r.git", ""},
		{"neither", "", "", ""},
	}
	for _, tt := range tests {
		if got := cloneURL(tt.base, tt.given, "o/r"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCloneBase(t *testing.T) {
	for api, want := range map[string]string{
		"https://api.github.com/":       "https://github.com/",
		"https://ghes.example/api/v3/":  "https://ghes.example/",
		"https://api.tenant.ghe.com":    "https://tenant.ghe.com/",
		"http://127.0.0.1:4000/api/v3/": "http://127.0.0.1:4000/",
		"nonsense":                      "",
	} {
		if got := CloneBase(api); got != want {
			t.Errorf("CloneBase(%q) = %q, want %q", api, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("push", []byte(`{"ref":"refs/heads/a","before":"`+zeros+`","after":"`+strings.Repeat("a", 40)+`","repository":{"id":1,"full_name":"o/r"}}`))
	f.Add("pull_request", []byte(`{"pull_request":{"head":{"repo":null},"updated_at":1}}`))
	f.Add("installation", []byte(`{"installation":{"id":1,"suspended_at":"x"}}`))
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		e, err := Decode("github", headers(event), body, "https://github.com/")
		if err != nil {
			return
		}
		// Whatever passes can be stored and is safe to build URLs and commands of.
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("event can't be stored: %v", err)
		}
		if e.Repo.ID != "" && (!forge.ValidName(e.Repo.Owner) || !forge.ValidName(e.Repo.Name)) {
			t.Errorf("repository %q", e.Repo.FullName())
		}
		if u := e.Repo.CloneURL; u != "" && !strings.HasPrefix(u, "https://github.com/") {
			t.Errorf("clone URL %q", u)
		}
		if sha := factsOf(e).SHA; sha != "" && !shaShape.MatchString(sha) {
			t.Errorf("SHA %q", sha)
		}
		if e.Push != nil && strings.HasPrefix(cmp.Or(e.Push.Ref, "-"), "-") {
			t.Errorf("ref %q", e.Push.Ref)
		}
	})
}
