package github

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
)

func TestPermission(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.SetPermission("octo/hello", "alice", "write")
	w.SetPermission("octo/hello", "root", "admin")
	w.SetPermission("octo/hello", "weird", "none")
	for login, want := range map[string]forge.Permission{
		"alice": forge.Write, "root": forge.Admin, "weird": forge.NoPermission, "stranger": forge.NoPermission, "../x": forge.NoPermission, "": forge.NoPermission,
	} {
		if got, err := w.client.Permission(t.Context(), w.repo, 1, forge.User{Login: login}); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", login, got, err, want)
		}
	}
	if got, err := w.client.Permission(t.Context(), w.repo, 1, forge.User{Login: "root", ID: "1"}); got != forge.NoPermission || err != nil {
		t.Errorf("a login that is somebody else's by now: got %q, %v", got, err)
	}
}

func TestPermissionWords(t *testing.T) {
	for _, tt := range []struct {
		permission, role string
		want             forge.Permission
	}{
		{"read", "triage", forge.Triage}, {"write", "maintain", forge.Maintain}, {"write", "our-own-role", forge.Write},
		{"admin", "admin", forge.Admin}, {"none", "none", forge.NoPermission}, {"", "", forge.NoPermission},
	} {
		if got := permissionOf(tt.permission).Higher(permissionOf(tt.role)); got != tt.want {
			t.Errorf("%s, %s: got %q, want %q", tt.permission, tt.role, got, tt.want)
		}
	}
}

func TestTeamMember(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.SetTeamMember("octo/ops", "alice", "active")
	w.SetTeamMember("octo/ops", "bob", "pending")
	for login, want := range map[string]bool{"alice": true, "bob": false, "eve": false, "a/b": false} {
		if got, err := w.client.TeamMember(t.Context(), w.repo, 1, "octo", "ops", forge.User{Login: login}); got != want || err != nil {
			t.Errorf("%s: got %t, %v", login, got, err)
		}
	}
}

func TestPullRequestAsItIsNow(t *testing.T) {
	w := newWorld(t, forgetest.Options{}, Options{})
	w.SetPull("octo/hello", forgetest.Pull{Number: 7, Head: "topic", HeadSHA: testSHA, HeadRepo: 99, Base: "main", BaseSHA: testSHA, Author: "eve"})
	pr, err := w.client.PullRequest(t.Context(), w.repo, 1, 7)
	if err != nil || pr.HeadSHA != testSHA || pr.Internal() || pr.Author.Login != "eve" || pr.FetchRef != "refs/pull/7/head" {
		t.Errorf("got %+v, %v", pr, err)
	}
}

// A comment is made once and updated in place, also by a client that is new
// and although somebody else wrote the marker first.
func TestCommentIsUpdatedInPlace(t *testing.T) {
	for name, own := range map[string]Options{"App": {}, "token": {Token: "t0ken"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, forgetest.Options{}, own)
			w.AddToken("t0ken")
			foreign := w.Write("octo/hello", 7, "eve", marked("summary"))
			for _, body := range []string{"one", "two", "two"} {
				if err := w.client.Comment(t.Context(), w.repo, 1, 7, "summary", body); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.client.Comment(t.Context(), w.repo, 1, 7, "help", "three"); err != nil {
				t.Fatal(err)
			}
			list := w.Comments("octo/hello", 7)
			if len(list) != 3 || list[0].ID != foreign.ID || list[0].Edits != 0 || list[1].Body != "two\n"+marked("summary") || list[1].Edits != 1 || list[2].Body != "three\n"+marked("help") {
				t.Errorf("got %+v", list)
			}
			comment := forge.Comment{ID: jsonNumber(t, list[1].ID)}
			for range 2 {
				if err := w.client.React(t.Context(), w.repo, 1, comment, "eyes"); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.client.React(t.Context(), w.repo, 1, forge.Comment{ID: "5", Review: true}, "eyes"); err != nil {
				t.Error(err)
			}
			if got := w.Comments("octo/hello", 7)[1].Reactions; len(got) != 1 {
				t.Errorf("reactions %v", got)
			}
		})
	}
}

func jsonNumber(t *testing.T, n int64) string {
	t.Helper()
	data, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Attacks: 3.
func TestDecodeComments(t *testing.T) {
	r := forgetest.Repo{ID: 42, Owner: "octo", Name: "hello"}
	payload := forgetest.CommentPayload(r, forgetest.Pull{Number: 7}, forgetest.Comment{ID: 5, Body: "/test", Login: "alice"})
	decode := func(event, action string, change func(map[string]any)) forge.Event {
		t.Helper()
		var copied map[string]any
		data, err := json.Marshal(payload)
		if err == nil {
			err = json.Unmarshal(data, &copied)
		}
		if err != nil {
			t.Fatal(err)
		}
		copied["action"] = action
		change(copied)
		if data, err = json.Marshal(copied); err != nil {
			t.Fatal(err)
		}
		e, err := Decode("github", http.Header{"X-Github-Event": {event}, "Content-Type": {"application/json"}}, data, "")
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := decode("issue_comment", "created", func(map[string]any) {})
	if e.Kind != forge.Commented || e.Comment.Body != "/test" || e.Comment.Pull != 7 || e.Comment.Author.Login != "alice" || e.Comment.CreatedAt.IsZero() || e.Comment.Closed {
		t.Errorf("got %+v, %+v", e, e.Comment)
	}
	for _, action := range []string{"edited", "deleted"} {
		if e := decode("issue_comment", action, func(map[string]any) {}); e.Kind != forge.Other {
			t.Errorf("%s: %s", action, e.Kind)
		}
	}
	if e := decode("issue_comment", "created", func(p map[string]any) { delete(p["issue"].(map[string]any), "pull_request") }); e.Kind != forge.Other {
		t.Errorf("on an issue: %s", e.Kind)
	}
	e = decode("pull_request_review", "submitted", func(p map[string]any) {
		p["pull_request"] = map[string]any{"number": 7, "state": "open"}
		p["review"] = map[string]any{"id": 9, "body": "/approve", "commit_id": testSHA, "user": map[string]any{"id": 3, "login": "bob"}, "submitted_at": "2026-11-23T01:00:00Z"}
	})
	if e.Kind != forge.Commented || !e.Comment.Review || e.Comment.SHA != testSHA || e.Comment.Author.ID != "3" {
		t.Errorf("a review: %+v, %+v", e, e.Comment)
	}
}
