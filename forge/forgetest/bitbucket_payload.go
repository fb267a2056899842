package forgetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"time"
)

// This file shapes answers and webhook payloads as the two Bitbuckets do.

func cloudUserOf(name string) map[string]any {
	sum := crc32.ChecksumIEEE([]byte(name))
	return map[string]any{
		"type": "user", "nickname": name, "display_name": name, "account_id": fmt.Sprintf("557058:%08x", sum),
		"uuid": CloudUserID(name),
	}
}

// CloudUserID is the UUID that the fake gives to somebody.
func CloudUserID(name string) string {
	return fmt.Sprintf("{%08x-8a11-452c-8fbc-bdffc340e584}", crc32.ChecksumIEEE([]byte(name)))
}

func serverUserOf(name string) map[string]any {
	return map[string]any{"name": name, "slug": name, "displayName": name, "active": true, "type": "NORMAL", "id": ServerUserID(name)}
}

// ServerUserID is the number that the fake gives to somebody.
func ServerUserID(name string) int64 { return int64(crc32.ChecksumIEEE([]byte(name)))%100_000 + 1 }

func (r BitbucketRepo) cloud() map[string]any {
	return map[string]any{
		"type": "repository", "full_name": r.FullName(), "name": r.Name, "uuid": r.UUID, "is_private": r.Private, "scm": "git",
		"links":      map[string]any{"html": map[string]any{"href": "https://bitbucket.org/" + r.FullName()}},
		"mainbranch": map[string]any{"type": "branch", "name": cmp.Or(r.DefaultBranch, "main")},
	}
}

// cloudWebhook is the repository as deliveries have it: without its main branch.
func (r BitbucketRepo) cloudWebhook() map[string]any {
	repo := r.cloud()
	delete(repo, "mainbranch")
	return repo
}

func (r BitbucketRepo) server() map[string]any {
	return map[string]any{
		"id": r.ID, "slug": r.Name, "name": r.Name, "public": !r.Private, "archived": false, "state": "AVAILABLE", "scmId": "git",
		"project": map[string]any{"key": r.Owner, "id": 1, "name": r.Owner, "type": "NORMAL"},
	}
}

// shortHash is how Cloud writes the commits of pull requests.
func shortHash(sha string) string { return sha[:min(12, len(sha))] }

func (r BitbucketRepo) cloudPull(p Pull) map[string]any {
	source := any(r.cloudWebhook())
	switch {
	case p.HeadRepo < 0:
		source = nil
	case p.HeadRepo > 0:
		fork := BitbucketRepo{ID: p.HeadRepo, UUID: fmt.Sprintf("{aaaaaaaa-116b-436a-9f77-%012d}", p.HeadRepo), Owner: "fork", Name: r.Name}
		source = fork.cloudWebhook()
	}
	return map[string]any{
		"type": "pullrequest", "id": p.Number, "title": p.Title, "draft": p.Draft, "state": cmp.Or(p.State, "OPEN"),
		"author": cloudUserOf(cmp.Or(p.Author, "octocat")), "updated_on": time.Now().UTC().Format(time.RFC3339Nano),
		"links": map[string]any{"html": map[string]any{"href": fmt.Sprintf("https://bitbucket.org/%s/pull-requests/%d", r.FullName(), p.Number)}},
		"source": map[string]any{
			"branch": map[string]any{"name": p.Head}, "commit": map[string]any{"type": "commit", "hash": shortHash(p.HeadSHA)}, "repository": source,
		},
		"destination": map[string]any{
			"branch": map[string]any{"name": cmp.Or(p.Base, r.DefaultBranch)}, "commit": map[string]any{"type": "commit", "hash": shortHash(p.BaseSHA)}, "repository": r.cloudWebhook(),
		},
		"merge_commit": nil,
	}
}

func (r BitbucketRepo) serverPull(p Pull) map[string]any {
	from := r.server()
	if p.HeadRepo > 0 {
		from = BitbucketRepo{ID: p.HeadRepo, Owner: "~fork", Name: r.Name}.server()
	}
	side := func(branch, sha string, repo map[string]any) map[string]any {
		return map[string]any{"id": "refs/heads/" + branch, "displayId": branch, "latestCommit": sha, "repository": repo}
	}
	state := cmp.Or(p.State, "OPEN")
	return map[string]any{
		"id": p.Number, "version": 0, "title": p.Title, "draft": p.Draft, "state": state, "open": state == "OPEN", "closed": state != "OPEN",
		"createdDate": time.Now().UnixMilli(), "updatedDate": time.Now().UnixMilli(),
		"fromRef": side(p.Head, p.HeadSHA, from), "toRef": side(cmp.Or(p.Base, r.DefaultBranch), p.BaseSHA, r.server()),
		"author": map[string]any{"user": serverUserOf(cmp.Or(p.Author, "octocat")), "role": "AUTHOR"}, "reviewers": []any{},
	}
}

func cloudCommentOf(c BitbucketComment) map[string]any {
	return map[string]any{
		"type": "pullrequest_comment", "id": c.ID, "content": map[string]any{"raw": c.Body, "markup": "markdown"}, "deleted": c.Deleted,
		"user": cloudUserOf(c.Author), "created_on": time.Now().UTC().Format(time.RFC3339Nano), "pullrequest": map[string]any{"type": "pullrequest", "id": c.Pull},
	}
}

func serverCommentOf(c BitbucketComment) map[string]any {
	return map[string]any{"id": c.ID, "version": c.Version, "text": c.Body, "author": serverUserOf(c.Author), "createdDate": time.Now().UnixMilli(), "comments": []any{}}
}

// CloudPush is the body of repo:push.
func CloudPush(r BitbucketRepo, pushes ...Push) map[string]any {
	ref := func(p Push, sha string) any {
		if sha == "" || sha == Zeros {
			return nil
		}
		kind, name, _ := strings.Cut(strings.TrimPrefix(p.Ref, "refs/"), "/")
		return map[string]any{
			"type": map[string]string{"heads": "branch", "tags": "tag"}[kind], "name": name,
			"target": map[string]any{"type": "commit", "hash": sha, "message": p.Message},
		}
	}
	changes := []any{}
	for _, p := range pushes {
		before, after := ref(p, p.Before), ref(p, p.After)
		changes = append(changes, map[string]any{
			"old": before, "new": after, "created": before == nil, "closed": after == nil, "forced": p.Forced, "truncated": false, "commits": []any{},
		})
	}
	return map[string]any{"push": map[string]any{"changes": changes}, "repository": r.cloudWebhook(), "actor": cloudUserOf(sender(pushes))}
}

func sender(pushes []Push) string {
	if len(pushes) > 0 && pushes[0].Sender != "" {
		return pushes[0].Sender
	}
	return "octocat"
}

// ServerPush is the body of repo:refs_changed.
func ServerPush(r BitbucketRepo, pushes ...Push) map[string]any {
	changes := []any{}
	for _, p := range pushes {
		before, after, kind := cmp.Or(p.Before, Zeros), cmp.Or(p.After, Zeros), "UPDATE"
		switch {
		case before == Zeros:
			kind = "ADD"
		case after == Zeros:
			kind = "DELETE"
		}
		changes = append(changes, map[string]any{
			"ref": map[string]any{"id": p.Ref, "displayId": p.Ref, "type": "BRANCH"}, "refId": p.Ref, "fromHash": before, "toHash": after, "type": kind,
		})
	}
	return map[string]any{
		"eventKey": "repo:refs_changed", "date": time.Now().Format("2006-01-02T15:04:05-0700"), "changes": changes,
		"repository": r.server(), "actor": serverUserOf(sender(pushes)),
	}
}

// CloudPullPayload is the body of the events of a pull request of Cloud.
func CloudPullPayload(r BitbucketRepo, p Pull) map[string]any {
	return map[string]any{"pullrequest": r.cloudPull(p), "repository": r.cloudWebhook(), "actor": cloudUserOf(cmp.Or(p.Author, "octocat"))}
}

// ServerPullPayload is the body of the events of a pull request of Data Center.
func ServerPullPayload(r BitbucketRepo, p Pull) map[string]any {
	return map[string]any{"pullRequest": r.serverPull(p), "actor": serverUserOf(cmp.Or(p.Author, "octocat")), "date": time.Now().Format("2006-01-02T15:04:05-0700")}
}

// CloudCommentPayload is the body of pullrequest:comment_created.
func CloudCommentPayload(r BitbucketRepo, p Pull, c BitbucketComment) map[string]any {
	payload := CloudPullPayload(r, p)
	payload["comment"], payload["actor"] = cloudCommentOf(c), cloudUserOf(c.Author)
	return payload
}

// ServerCommentPayload is the body of pr:comment:added.
func ServerCommentPayload(r BitbucketRepo, p Pull, c BitbucketComment) map[string]any {
	payload := ServerPullPayload(r, p)
	payload["comment"], payload["actor"] = serverCommentOf(c), serverUserOf(c.Author)
	return payload
}

// DeliverBitbucket signs a delivery and posts it to a receiver, as Cloud does if
// the receiver's address ends in /bitbucket, else as Data Center does.
func DeliverBitbucket(ctx context.Context, receiver string, d Delivery) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	body, raw := d.Payload.([]byte)
	if !raw {
		var err error
		if body, err = json.Marshal(d.Payload); err != nil {
			return Answer{}, fmt.Errorf("delivering %s: %w", d.Event, err)
		}
	}
	answer := Answer{ID: cmp.Or(d.ID, newID())}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, receiver, bytes.NewReader(body))
	if err != nil {
		return answer, fmt.Errorf("delivering %s: %w", d.Event, err)
	}
	idHeader, mediaType := "X-Request-Id", "application/json; charset=utf-8"
	if strings.HasSuffix(receiver, "/bitbucket") {
		idHeader, mediaType = "X-Request-UUID", "application/json"
		req.Header.Set("X-Hook-UUID", "{aaaa0000-1111-2222-3333-444455556666}")
		req.Header.Set("X-Attempt-Number", "1")
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("X-Event-Key", d.Event)
	req.Header.Set(idHeader, answer.ID)
	if d.Secret != "" {
		req.Header.Set("X-Hub-Signature", Sign(d.Secret, body))
	}
	for k, v := range d.Header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer, fmt.Errorf("delivering %s: %w", d.Event, err)
	}
	defer resp.Body.Close()
	answer.Status, answer.Header = resp.StatusCode, resp.Header
	if answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err != nil {
		return answer, fmt.Errorf("delivering %s: reading the answer: %w", d.Event, err)
	}
	return answer, nil
}
