package forgetest

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// This file shapes answers and webhook payloads as GitHub does.

func userOf(login string) map[string]any {
	login = cmp.Or(login, "octocat")
	kind := "User"
	if strings.HasSuffix(login, "[bot]") {
		kind = "Bot"
	}
	return map[string]any{
		"login": login, "id": int64(crc32.ChecksumIEEE([]byte(login))), "type": kind, "site_admin": false,
		"url": "https://api.github.com/users/" + login, "html_url": "https://github.com/" + login,
	}
}

func repositoryOf(r Repo) map[string]any {
	web := "https://github.com/" + r.FullName()
	return map[string]any{
		"id": r.ID, "node_id": "R_" + strconv.FormatInt(r.ID, 10), "name": r.Name, "full_name": r.FullName(), "private": r.Private,
		"owner": userOf(r.Owner), "html_url": web, "url": "https://api.github.com/repos/" + r.FullName(), "fork": false,
		"clone_url": cmp.Or(r.CloneURL, web+".git"), "default_branch": cmp.Or(r.DefaultBranch, "main"), "archived": false,
		"created_at": "2024-01-02T03:04:05Z", "updated_at": "2024-01-02T03:04:05Z", "pushed_at": time.Now().UTC().Format(time.RFC3339),
		"custom_properties": map[string]any{"team": []string{"a", "b"}},
	}
}

func pullOf(r Repo, p Pull) map[string]any {
	head := any(repositoryOf(r))
	switch {
	case p.HeadRepo < 0:
		head = nil
	case p.HeadRepo > 0 && p.HeadRepo != r.ID:
		fork := r
		fork.ID, fork.Owner = p.HeadRepo, cmp.Or(p.Author, "octocat")
		head = repositoryOf(fork)
	}
	number := strconv.Itoa(p.Number)
	return map[string]any{
		"id": r.ID*1000 + int64(p.Number), "number": p.Number, "state": cmp.Or(p.State, "open"), "title": p.Title,
		"draft": p.Draft, "merged": p.Merged, "merge_commit_sha": mergeSHA(p), "user": userOf(p.Author), "labels": []any{},
		"html_url": "https://github.com/" + r.FullName() + "/pull/" + number, "updated_at": time.Now().UTC().Format(time.RFC3339),
		"head": map[string]any{"ref": p.Head, "sha": p.HeadSHA, "repo": head, "user": userOf(p.Author), "label": p.Author + ":" + p.Head},
		"base": map[string]any{"ref": cmp.Or(p.Base, r.DefaultBranch), "sha": p.BaseSHA, "repo": repositoryOf(r), "user": userOf(r.Owner)},
	}
}

func checkOf(c CheckRun) map[string]any {
	return map[string]any{
		"id": c.ID, "head_sha": c.SHA, "external_id": c.ExternalID, "name": c.Name, "details_url": c.DetailsURL,
		"status": c.Status, "conclusion": orNull(c.Conclusion), "started_at": c.StartedAt, "completed_at": c.CompletedAt,
		"output": map[string]any{
			"title": c.Title, "summary": c.Summary, "text": orNull(c.Text), "annotations_count": len(c.Annotations),
		},
		"app":         map[string]any{"id": c.AppID, "slug": "slipway"},
		"check_suite": map[string]any{"id": c.ID + 1, "head_sha": c.SHA}, "pull_requests": []any{},
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func commentOf(c Comment) map[string]any {
	return map[string]any{"id": c.ID, "body": c.Body, "user": userOf(c.Login)}
}

// Zeros is the SHA of nothing, before a branch is created and after it is deleted.
const Zeros = "0000000000000000000000000000000000000000"

// Push is a change of a ref, to make a payload of.
type Push struct {
	Ref           string // full
	Before, After string // Zeros, or empty: created, deleted
	Message       string // of the head commit
	Forced        bool
	Sender        string // login; empty: octocat
}

// Payload is the body of a push event.
func (p Push) Payload(r Repo) map[string]any {
	before, after := cmp.Or(p.Before, Zeros), cmp.Or(p.After, Zeros)
	repo := repositoryOf(r)
	repo["pushed_at"] = time.Now().Unix()
	repo["created_at"] = 1704164645
	repo["owner"].(map[string]any)["name"] = r.Owner // in pushes only
	payload := map[string]any{
		"ref": p.Ref, "before": before, "after": after, "base_ref": nil, "forced": p.Forced,
		"created": before == Zeros, "deleted": after == Zeros, "head_commit": nil, "commits": []any{},
		"compare":    fmt.Sprintf("https://github.com/%s/compare/%.12s...%.12s", r.FullName(), before, after),
		"repository": repo, "pusher": map[string]any{"name": cmp.Or(p.Sender, "octocat")}, "sender": userOf(p.Sender),
		"installation": installationOf(r),
	}
	if after != Zeros {
		person := map[string]any{"name": "Octo Cat", "email": "octocat@example.com", "username": cmp.Or(p.Sender, "octocat")}
		commit := map[string]any{
			"id": after, "tree_id": after, "distinct": true, "message": p.Message, "timestamp": time.Now().UTC().Format(time.RFC3339),
			"author": person, "committer": person, "added": []string{}, "removed": []string{}, "modified": []string{"README.md"},
		}
		payload["head_commit"], payload["commits"] = commit, []any{commit}
	}
	return payload
}

func installationOf(r Repo) map[string]any {
	return map[string]any{"id": cmp.Or(r.Installation, 1), "node_id": "I_1"}
}

// PullPayload is the body of a pull_request event.
func PullPayload(r Repo, p Pull, action string) map[string]any {
	return map[string]any{
		"action": action, "number": p.Number, "pull_request": pullOf(r, p), "repository": repositoryOf(r),
		"sender": userOf(p.Author), "installation": installationOf(r),
	}
}

// CommentPayload is the body of issue_comment.created on a pull request.
func CommentPayload(r Repo, p Pull, c Comment) map[string]any {
	comment := commentOf(c)
	comment["created_at"] = time.Now().UTC().Format(time.RFC3339)
	return map[string]any{
		"action": "created", "comment": comment, "repository": repositoryOf(r), "sender": userOf(c.Login), "installation": installationOf(r),
		"issue": map[string]any{
			"number": p.Number, "title": p.Title, "state": cmp.Or(p.State, "open"), "user": userOf(p.Author),
			"pull_request": map[string]any{"url": fmt.Sprintf("https://api.github.com/repos/%s/pulls/%d", r.FullName(), p.Number)},
		},
	}
}

// PingPayload is the body of the ping of an App's webhook.
func PingPayload(appID int64) map[string]any {
	return map[string]any{
		"zen": "Half measures are as bad as nothing at all.", "hook_id": 1,
		"hook": map[string]any{
			"type": "App", "id": 1, "name": "web", "active": true, "app_id": appID,
			"events": []string{"push", "pull_request", "check_run", "check_suite"},
			"config": map[string]any{"content_type": "json", "insecure_ssl": "0"},
		},
	}
}

// CheckPayload is the body of a check_run event: rerequested, or
// requested_action with the identifier of a button.
func CheckPayload(r Repo, c CheckRun, action, identifier string) map[string]any {
	payload := map[string]any{
		"action": action, "check_run": checkOf(c), "repository": repositoryOf(r), "sender": userOf(""), "installation": installationOf(r),
	}
	if identifier != "" {
		payload["requested_action"] = map[string]any{"identifier": identifier}
	}
	return payload
}

// SuitePayload is the body of check_suite.rerequested.
func SuitePayload(r Repo, sha string, appID int64) map[string]any {
	return map[string]any{
		"action": "rerequested", "repository": repositoryOf(r), "sender": userOf(""), "installation": installationOf(r),
		"check_suite": map[string]any{"id": 1, "head_sha": sha, "head_branch": nil, "pull_requests": []any{}, "app": map[string]any{"id": appID}},
	}
}

// mergeSHA is null until a pull request was merged.
func mergeSHA(p Pull) any {
	if p.MergeSHA == "" {
		return nil
	}
	return p.MergeSHA
}
