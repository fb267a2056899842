package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-ci/slipway/forge"
)

// commentPages bounds how many pages of 100 comments are looked through.
const commentPages = 10

var loginShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(\[bot\])?$`)

// Permission is what a user may do with the repository: the higher of what the
// two fields of GitHub's answer say, which know custom roles differently
// (forges reference 4.4). Nobody that GitHub doesn't know has any.
func (c *Client) Permission(ctx context.Context, repo forge.Repo, installation int64, user forge.User) (forge.Permission, error) {
	if !loginShape.MatchString(user.Login) {
		return forge.NoPermission, nil
	}
	ctx, client, err := c.on(ctx, installation, repo, Permissions{"metadata": "read"})
	if err != nil {
		return forge.NoPermission, fmt.Errorf("permission for %s: %w", repo.FullName(), err)
	}
	var answer struct {
		Permission string  `json:"permission"`
		RoleName   string  `json:"role_name"`
		User       account `json:"user"`
	}
	path := fmt.Sprintf("repos/%s/%s/collaborators/%s/permission", repo.Owner, repo.Name, url.PathEscape(user.Login))
	err = send(ctx, client, http.MethodGet, path, nil, &answer)
	if errors.Is(err, forge.ErrNotFound) {
		return forge.NoPermission, nil
	}
	if err != nil {
		return forge.NoPermission, fmt.Errorf("permission for %s: %w", repo.FullName(), err)
	}
	if user.ID != "" && answer.User.ID != "" && string(answer.User.ID) != user.ID {
		return forge.NoPermission, nil // the login is somebody else's by now
	}
	return permissionOf(answer.Permission).Higher(permissionOf(answer.RoleName)), nil
}

// permissionOf is a word of GitHub's on the ladder; that of a custom role is on none.
func permissionOf(word string) forge.Permission {
	if p := forge.Permission(word); p.AtLeast(forge.Read) {
		return p
	}
	return forge.NoPermission
}

// PullRequest is a pull request as it is now.
func (c *Client) PullRequest(ctx context.Context, repo forge.Repo, installation int64, number int) (forge.PullRequest, error) {
	ctx, client, err := c.on(ctx, installation, repo, Permissions{"pull_requests": "read"})
	var pr pullRequest
	if err == nil {
		err = send(ctx, client, http.MethodGet, fmt.Sprintf("repos/%s/%s/pulls/%d", repo.Owner, repo.Name, number), nil, &pr)
	}
	var e forge.Event
	if err == nil {
		err = readPull(&e, payload{PullRequest: pr, Repository: &repository{ID: ident(repo.ID)}})
	}
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("pull request #%d of %s: %w", number, repo.FullName(), err)
	}
	return *e.Pull, nil
}

// React adds a reaction, such as eyes or rocket, to a comment; twice is once.
// Reviews take none, so nothing happens then.
func (c *Client) React(ctx context.Context, repo forge.Repo, installation int64, comment forge.Comment, content string) error {
	if comment.Review {
		return nil
	}
	id, err := strconv.ParseInt(comment.ID, 10, 64)
	if err != nil {
		return fmt.Errorf("reacting to comment %q: %w", short(comment.ID), forge.ErrRejected)
	}
	ctx, client, err := c.on(ctx, installation, repo, Permissions{"pull_requests": "write"})
	if err == nil {
		err = send(ctx, client, http.MethodPost, fmt.Sprintf("repos/%s/%s/issues/comments/%d/reactions", repo.Owner, repo.Name, id), map[string]string{"content": content}, nil)
	}
	if err != nil {
		return fmt.Errorf("reacting to a comment of %s: %w", repo.FullName(), err)
	}
	return nil
}

// marked is the line by which a comment of ours is found again.
func marked(marker string) string { return "<!-- slipway:" + marker + " -->" }

// Comment makes the pull request have one comment of ours with the marker, and
// that body. The marker is hidden in it, so a comment is found again after a
// lost answer, and is updated in place.
func (c *Client) Comment(ctx context.Context, repo forge.Repo, installation int64, number int, marker, body string) error {
	ctx, client, err := c.on(ctx, installation, repo, Permissions{"pull_requests": "write"})
	if err == nil {
		err = c.upsert(ctx, client, repo, number, marker, body)
	}
	if err != nil {
		return fmt.Errorf("commenting on pull request #%d of %s: %w", number, repo.FullName(), err)
	}
	return nil
}

func (c *Client) upsert(ctx context.Context, client *gh.Client, repo forge.Repo, number int, marker, body string) error {
	text := map[string]string{"body": markdown(body, "") + "\n" + marked(marker)}
	base := fmt.Sprintf("repos/%s/%s/issues/", repo.Owner, repo.Name)
	own, err := c.ownComments(ctx, client)
	if err != nil {
		return err
	}
	id, same, err := findComment(ctx, client, fmt.Sprintf("%s%d/comments", base, number), marked(marker), text["body"], own)
	switch {
	case err != nil || same:
		return err
	case id != 0:
		return send(ctx, client, http.MethodPatch, fmt.Sprintf("%scomments/%d", base, id), text, nil)
	}
	return send(ctx, client, http.MethodPost, fmt.Sprintf("%s%d/comments", base, number), text, nil)
}

// ownComments says whose comments are ours: a bot's, as no person can write,
// or with a token those of the account that it belongs to. Anybody could write
// a comment that holds a marker.
func (c *Client) ownComments(ctx context.Context, client *gh.Client) (func(account) bool, error) {
	if c.app != nil {
		return func(a account) bool { return a.Type == "Bot" }, nil
	}
	var self account
	if err := send(ctx, client, http.MethodGet, "user", nil, &self); err != nil {
		return nil, err
	}
	return func(a account) bool { return a.ID != "" && a.ID == self.ID }, nil
}

// findComment looks for the comment of our own that has the mark; same says
// that it has this body already.
func findComment(ctx context.Context, client *gh.Client, path, mark, body string, own func(account) bool) (id int64, same bool, err error) {
	for page := 1; page <= commentPages; page++ {
		var list []struct {
			ID   int64   `json:"id"`
			Body string  `json:"body"`
			User account `json:"user"`
		}
		if err := send(ctx, client, http.MethodGet, fmt.Sprintf("%s?per_page=100&page=%d", path, page), nil, &list); err != nil {
			return 0, false, err
		}
		for _, c := range list {
			if own(c.User) && strings.Contains(c.Body, mark) {
				return c.ID, c.Body == body, nil
			}
		}
		if len(list) < 100 {
			break
		}
	}
	return 0, false, nil
}

// TeamMember reports whether a user is an active member of org's team.
func (c *Client) TeamMember(ctx context.Context, repo forge.Repo, installation int64, org, team string, user forge.User) (bool, error) {
	if !forge.ValidName(org) || !forge.ValidName(team) || !loginShape.MatchString(user.Login) {
		return false, nil
	}
	ctx, client, err := c.on(ctx, installation, repo, Permissions{"members": "read"})
	var answer struct {
		State string `json:"state"`
	}
	if err == nil {
		err = send(ctx, client, http.MethodGet, fmt.Sprintf("orgs/%s/teams/%s/memberships/%s", org, team, url.PathEscape(user.Login)), nil, &answer)
	}
	if errors.Is(err, forge.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("membership of a team of %s: %w", org, err)
	}
	return answer.State == "active", nil
}
