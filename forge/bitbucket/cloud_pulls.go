package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

type diffStat struct {
	Old *diffPath `json:"old"`
	New *diffPath `json:"new"`
}

type diffPath struct {
	Path string `json:"path"`
}

// Compare lists the files that changed between the merge base of base and head,
// and head; both are commits or branches. forge.ErrNotFound: one of them is gone.
func (c *Cloud) Compare(ctx context.Context, repo forge.Repo, base, head string) (forge.Changes, error) {
	// The newer one comes first, the other way round than with git diff.
	out, err := c.diffStat(ctx, repo, []string{"diffstat", head + ".." + base}, url.Values{"topic": {"true"}})
	if err != nil {
		return out, fmt.Errorf("comparing %s with %s of %s: %w", short(head), short(base), repo.FullName(), err)
	}
	return out, nil
}

// PullFiles lists the files that a pull request changes.
func (c *Cloud) PullFiles(ctx context.Context, repo forge.Repo, number int) (forge.Changes, error) {
	out, err := c.diffStat(ctx, repo, []string{"pullrequests", strconv.Itoa(number), "diffstat"}, url.Values{})
	if err != nil {
		return out, fmt.Errorf("listing files of %s#%d: %w", repo.FullName(), number, err)
	}
	return out, nil
}

func (c *Cloud) diffStat(ctx context.Context, repo forge.Repo, segments []string, query url.Values) (forge.Changes, error) {
	var out forge.Changes
	where, err := c.in(repo, segments...)
	if err != nil {
		return out, err
	}
	query.Set("pagelen", "500")
	total := 0
	whole, err := pages(ctx, c.rest, where, query, func(d diffStat) bool {
		total++
		out.Paths = addPaths(out.Paths, d.Old, d.New)
		return total > forge.MaxChanges
	})
	if err != nil {
		return forge.Changes{}, err
	}
	if !whole || total > forge.MaxChanges {
		out.Unknown = fmt.Sprintf("more than %d files changed", forge.MaxChanges)
	}
	return out, nil
}

// addPaths adds the names of a file; a renamed one has two.
func addPaths(names []string, old, now *diffPath) []string {
	if now != nil && now.Path != "" {
		names = append(names, now.Path)
	}
	if old != nil && old.Path != "" && (now == nil || old.Path != now.Path) {
		names = append(names, old.Path)
	}
	return names
}

// OpenPull finds the open pull request whose head is a branch of the repository
// itself; found is false if there is none.
func (c *Cloud) OpenPull(ctx context.Context, repo forge.Repo, branch string) (number int, found bool, err error) {
	where, err := c.in(repo, "pullrequests")
	if err == nil && !forge.ValidRef("refs/heads/"+branch) {
		err = fmt.Errorf("%w: branch %q", forge.ErrRejected, short(branch))
	}
	if err == nil {
		query := url.Values{"state": {"OPEN"}, "pagelen": {"50"}, "q": {`state="OPEN" AND source.branch.name=` + quoted(branch)}}
		_, err = pages(ctx, c.rest, where, query, func(p cloudPull) bool {
			pr, bad := p.pull(&cloudRepo{UUID: repo.ID})
			// A draft starts nothing, so it must not keep its branch's pushes from it.
			if bad == nil && !pr.Closed && !pr.Draft && pr.HeadRef == branch && pr.Internal() {
				number = pr.Number
			}
			return number != 0
		})
	}
	if errors.Is(err, forge.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("open pull request of %s %q: %w", repo.FullName(), short(branch), err)
	}
	return number, number != 0, nil
}

// quoted is a string in Bitbucket's query language.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// PullRequest is a pull request as it is now, with whole commits.
func (c *Cloud) PullRequest(ctx context.Context, repo forge.Repo, _ int64, number int) (forge.PullRequest, error) {
	var answer cloudPull
	err := c.call(ctx, http.MethodGet, repo, []string{"pullrequests", strconv.Itoa(number)}, nil, nil, &answer)
	var pr forge.PullRequest
	if err == nil {
		pr, err = answer.pull(&cloudRepo{UUID: repo.ID})
	}
	if err == nil {
		pr, err = c.resolve(ctx, repo, pr)
	}
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("pull request #%d of %s: %w", number, repo.FullName(), err)
	}
	return pr, nil
}

// Permission is what a user may do with the repository. Bitbucket says so to
// credentials with the repository's admin permission only; others get
// forge.ErrForbidden.
func (c *Cloud) Permission(ctx context.Context, repo forge.Repo, _ int64, user forge.User) (forge.Permission, error) {
	if user.ID == "" || !forge.ValidName(repo.Owner) || !forge.ValidName(repo.Name) {
		return forge.NoPermission, nil
	}
	field := "user.account_id"
	if uuidShape.MatchString(user.ID) {
		field = "user.uuid"
	}
	type entry struct {
		Permission string    `json:"permission"`
		User       cloudUser `json:"user"`
	}
	best := forge.NoPermission
	_, err := pages(ctx, c.rest, path("workspaces", repo.Owner, "permissions", "repositories", repo.Name),
		url.Values{"q": {field + "=" + quoted(user.ID)}, "pagelen": {"100"}}, func(e entry) bool {
			// Compared here too: a filter that the forge passed over must give nobody anything.
			if e.User.UUID == user.ID || e.User.AccountID == user.ID {
				best = best.Higher(forge.Permission(e.Permission))
			}
			return false
		})
	if errors.Is(err, forge.ErrNotFound) {
		return forge.NoPermission, nil
	}
	if err != nil {
		return forge.NoPermission, fmt.Errorf("permission for %s: %w", repo.FullName(), err)
	}
	return best, nil
}

// TeamMember is forge.ErrUnsupported: Bitbucket Cloud tells nobody who is in a
// group.
func (c *Cloud) TeamMember(context.Context, forge.Repo, int64, string, string, forge.User) (bool, error) {
	return false, fmt.Errorf("groups of a workspace: %w", forge.ErrUnsupported)
}

// React is forge.ErrUnsupported: Bitbucket Cloud has no reactions, so a reply
// stands in.
func (c *Cloud) React(context.Context, forge.Repo, int64, forge.Comment, string) error {
	return fmt.Errorf("reactions: %w", forge.ErrUnsupported)
}

// commentTries is how many comments with our marker are tried: people can paste
// a marker, and theirs can't be changed by us.
const commentTries = 3

// Comment makes the pull request have one comment of ours with the marker, and
// that body. An empty marker adds a comment each time.
func (c *Cloud) Comment(ctx context.Context, repo forge.Repo, _ int64, number int, marker, body string) error {
	if err := c.comment(ctx, repo, number, marker, body); err != nil {
		return fmt.Errorf("commenting on pull request #%d of %s: %w", number, repo.FullName(), err)
	}
	return nil
}

func (c *Cloud) comment(ctx context.Context, repo forge.Repo, number int, marker, body string) error {
	segments := []string{"pullrequests", strconv.Itoa(number), "comments"}
	where, err := c.in(repo, segments...)
	if err != nil {
		return err
	}
	text := commentText(marker, body)
	content := map[string]any{"content": map[string]string{"raw": text}}
	var found []cloudComment
	if marker != "" {
		query := url.Values{"pagelen": {"100"}, "sort": {"-created_on"}}
		_, err = pages(ctx, c.rest, where, query, func(one cloudComment) bool {
			if !one.Deleted && hasMarker(one.Content.Raw, marker) {
				found = append(found, one)
			}
			return len(found) == commentTries
		})
	}
	if err != nil {
		return err
	}
	for _, one := range found {
		if strings.TrimSpace(one.Content.Raw) == strings.TrimSpace(text) {
			return nil
		}
		err := c.call(ctx, http.MethodPut, repo, append(segments, strconv.FormatInt(one.ID, 10)), nil, content, nil)
		if !errors.Is(err, forge.ErrForbidden) && !errors.Is(err, forge.ErrNotFound) {
			return err
		}
	}
	return c.rest.send(ctx, http.MethodPost, where, nil, content, nil)
}
