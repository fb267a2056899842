package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-ci/slipway/forge"
)

// SetStatus sets a commit status. Setting the same again does no harm, so it
// can be repeated whenever an answer was lost.
func (c *Client) SetStatus(ctx context.Context, repo forge.Repo, installation int64, s forge.CommitStatus) error {
	switch {
	case checkSHA("", s.SHA) != nil:
		return fmt.Errorf("commit status of %s: %w: %q is no commit", repo.FullName(), forge.ErrRejected, short(s.SHA))
	case !slices.Contains([]string{"pending", "success", "failure", "error"}, s.State):
		return fmt.Errorf("commit status of %s: %w: state %q", repo.FullName(), forge.ErrRejected, s.State)
	}
	ctx, client, err := c.on(ctx, installation, repo, Permissions{"statuses": "write"})
	if err != nil {
		return fmt.Errorf("commit status of %s: %w", repo.FullName(), err)
	}
	status := &gh.RepoStatus{
		State: gh.String(s.State), Context: gh.String(line(s.Context, contextLimit)),
		Description: gh.String(line(s.Description, descriptionLimit)),
	}
	if target := webURL(s.TargetURL); target != "" {
		status.TargetURL = gh.String(target)
	}
	if _, _, err := client.Repositories.CreateStatus(ctx, repo.Owner, repo.Name, s.SHA, status); err != nil {
		return fmt.Errorf("commit status %q of %s at %s: %w", s.Context, repo.FullName(), s.SHA, refusal(ctx, err))
	}
	return nil
}

// OpenPull finds the open pull request whose head is a branch of the repository
// itself; found is false if there is none, or the branch is gone.
func (c *Client) OpenPull(ctx context.Context, repo forge.Repo, branch string) (number int, found bool, err error) {
	if err := checkRef("refs/heads/" + branch); err != nil {
		return 0, false, fmt.Errorf("open pull request of %s: %w: %w", repo.FullName(), forge.ErrRejected, err)
	}
	ctx, client, err := c.on(ctx, 0, repo, Permissions{"contents": "read", "pull_requests": "read"})
	if err == nil {
		number, err = openPull(ctx, client, repo, branch)
	}
	if errors.Is(err, forge.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("open pull request of %s %q: %w", repo.FullName(), branch, err)
	}
	return number, number != 0, nil
}

func openPull(ctx context.Context, client *gh.Client, repo forge.Repo, branch string) (int, error) {
	var head struct {
		Commit struct {
			SHA string `json:"sha"`
		} `json:"commit"`
	}
	base := fmt.Sprintf("repos/%s/%s/", repo.Owner, repo.Name)
	if err := send(ctx, client, http.MethodGet, base+"branches/"+url.PathEscape(branch), nil, &head); err != nil {
		return 0, err
	}
	if err := checkSHA("commit.sha", head.Commit.SHA); err != nil {
		return 0, err
	}
	var pulls []pullRequest
	if err := send(ctx, client, http.MethodGet, base+"commits/"+head.Commit.SHA+"/pulls?per_page=100", nil, &pulls); err != nil {
		return 0, err
	}
	for _, pr := range pulls {
		own := pr.Head.Repo.id() == repo.ID || repo.ID == "" && pr.Head.Repo != nil && strings.EqualFold(pr.Head.Repo.FullName, repo.FullName())
		// A draft starts nothing, so it must not keep its branch's pushes from it.
		if pr.State == "open" && !pr.Draft && pr.Head.Ref == branch && own {
			return pr.Number, nil
		}
	}
	return 0, nil
}

// File reads a file of the repository at a commit. Of a file over 1 MiB, and of
// a folder or a symbolic link that leads nowhere, it is forge.ErrRejected or
// forge.ErrNotFound.
func (c *Client) File(ctx context.Context, repo forge.Repo, sha, name string) ([]byte, error) {
	if checkSHA("", sha) != nil || name == "" || path.IsAbs(name) || path.Clean(name) != name || strings.Contains(name, "..") {
		return nil, fmt.Errorf("reading %q of %s at %q: %w: want a clean path and a commit", short(name), repo.FullName(), short(sha), forge.ErrRejected)
	}
	ctx, client, err := c.on(ctx, 0, repo, Permissions{"contents": "read"})
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", name, repo.FullName(), err)
	}
	content, err := file(ctx, client, repo, sha, name)
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s at %s: %w", name, repo.FullName(), sha, err)
	}
	return content, nil
}

func file(ctx context.Context, client *gh.Client, repo forge.Repo, sha, name string) ([]byte, error) {
	content, _, _, err := client.Repositories.GetContents(ctx, repo.Owner, repo.Name, name, &gh.RepositoryContentGetOptions{Ref: sha})
	if err != nil {
		return nil, refusal(ctx, err)
	}
	if content.GetType() != "file" {
		return nil, fmt.Errorf("%w: not a file", forge.ErrNotFound)
	}
	// GitHub leaves out the content of files over 1 MB.
	if content.GetSize() > fileLimitBytes || content.GetEncoding() == "none" {
		return nil, fmt.Errorf("%w: %s bytes are more than 1 MiB", forge.ErrRejected, strconv.Itoa(content.GetSize()))
	}
	text, err := content.GetContent()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", forge.ErrRejected, err)
	}
	return []byte(text), nil
}
