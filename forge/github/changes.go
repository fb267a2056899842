package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-ci/slipway/forge"
)

// compareLimit is how many files GitHub lists of a comparison, all on its first
// page; a pull request's list has up to forge.MaxChanges.
const compareLimit = 300

type changedFile struct {
	Name   string `json:"filename"`
	Former string `json:"previous_filename"`
}

// Compare lists the files that changed between the merge base of base and head,
// and head; both are commits or branches. forge.ErrNotFound: one of them is
// gone, or they have no history in common.
func (c *Client) Compare(ctx context.Context, repo forge.Repo, base, head string) (forge.Changes, error) {
	ctx, client, err := c.on(ctx, 0, repo, Permissions{"contents": "read"})
	if err != nil {
		return forge.Changes{}, fmt.Errorf("comparing commits of %s: %w", repo.FullName(), err)
	}
	var answer struct {
		Files []changedFile `json:"files"`
	}
	// One commit a page: it is the files that we want.
	path := fmt.Sprintf("repos/%s/%s/compare/%s...%s?per_page=1", repo.Owner, repo.Name, url.PathEscape(base), url.PathEscape(head))
	if err := send(ctx, client, http.MethodGet, path, nil, &answer); err != nil {
		return forge.Changes{}, fmt.Errorf("comparing %s with %s of %s: %w", short(head), short(base), repo.FullName(), err)
	}
	out := forge.Changes{}
	out.Paths = addNames(nil, answer.Files)
	if len(answer.Files) >= compareLimit {
		out.Unknown = fmt.Sprintf("GitHub lists at most %d changed files of a push", compareLimit)
	}
	return out, nil
}

// PullFiles lists the files that a pull request changes.
func (c *Client) PullFiles(ctx context.Context, repo forge.Repo, number int) (forge.Changes, error) {
	ctx, client, err := c.on(ctx, 0, repo, Permissions{"pull_requests": "read"})
	if err != nil {
		return forge.Changes{}, fmt.Errorf("listing files of %s#%d: %w", repo.FullName(), number, err)
	}
	out, err := pullFiles(ctx, client, repo, number)
	if err != nil {
		return forge.Changes{}, fmt.Errorf("listing files of %s#%d: %w", repo.FullName(), number, err)
	}
	return out, nil
}

func pullFiles(ctx context.Context, client *gh.Client, repo forge.Repo, number int) (forge.Changes, error) {
	const perPage = 100
	out, total := forge.Changes{}, 0
	for page := 1; page <= forge.MaxChanges/perPage; page++ {
		var files []changedFile
		path := fmt.Sprintf("repos/%s/%s/pulls/%d/files?per_page=%d&page=%d", repo.Owner, repo.Name, number, perPage, page)
		if err := send(ctx, client, http.MethodGet, path, nil, &files); err != nil {
			return out, err
		}
		out.Paths = addNames(out.Paths, files)
		if total += len(files); len(files) < perPage {
			return out, nil
		}
	}
	out.Unknown = fmt.Sprintf("GitHub lists at most %d changed files", total)
	return out, nil
}

// addNames adds the names of files; a renamed one has two.
func addNames(names []string, files []changedFile) []string {
	for _, f := range files {
		names = append(names, f.Name)
		if f.Former != "" && f.Former != f.Name {
			names = append(names, f.Former)
		}
	}
	return names
}
