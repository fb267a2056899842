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

type serverChangedFile struct {
	Path    serverPath  `json:"path"`
	SrcPath *serverPath `json:"srcPath"` // before it was renamed
}

type serverPath struct {
	Name string `json:"toString"`
}

// Compare lists the files that changed between the merge base of base and head,
// and head; both are commits or branches. forge.ErrNotFound: one of them is gone.
func (s *Server) Compare(ctx context.Context, repo forge.Repo, base, head string) (forge.Changes, error) {
	// "from" holds the changes, "to" is what they are compared with.
	out, err := s.changes(ctx, repo, []string{"compare", "changes"}, url.Values{"from": {head}, "to": {base}})
	if err != nil {
		return out, fmt.Errorf("comparing %s with %s of %s: %w", short(head), short(base), repo.FullName(), err)
	}
	return out, nil
}

// PullFiles lists the files that a pull request changes.
func (s *Server) PullFiles(ctx context.Context, repo forge.Repo, number int) (forge.Changes, error) {
	out, err := s.changes(ctx, repo, []string{"pull-requests", strconv.Itoa(number), "changes"}, url.Values{})
	if err != nil {
		return out, fmt.Errorf("listing files of %s#%d: %w", repo.FullName(), number, err)
	}
	return out, nil
}

func (s *Server) changes(ctx context.Context, repo forge.Repo, segments []string, query url.Values) (forge.Changes, error) {
	var out forge.Changes
	where, err := s.in("api", repo, segments...)
	if err != nil {
		return out, err
	}
	query.Set("limit", "500")
	total := 0
	whole, err := serverPages(ctx, s.rest, where, query, func(f serverChangedFile) bool {
		total++
		old := (*diffPath)(nil)
		if f.SrcPath != nil {
			old = &diffPath{f.SrcPath.Name}
		}
		out.Paths = addPaths(out.Paths, old, &diffPath{f.Path.Name})
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

// OpenPull finds the open pull request whose head is a branch of the repository
// itself; found is false if there is none.
func (s *Server) OpenPull(ctx context.Context, repo forge.Repo, branch string) (number int, found bool, err error) {
	where, err := s.in("api", repo, "pull-requests")
	if err == nil && !forge.ValidRef("refs/heads/"+branch) {
		err = fmt.Errorf("%w: branch %q", forge.ErrRejected, short(branch))
	}
	if err == nil {
		query := url.Values{"state": {"OPEN"}, "direction": {"OUTGOING"}, "at": {"refs/heads/" + branch}, "limit": {"100"}}
		_, err = serverPages(ctx, s.rest, where, query, func(p serverPull) bool {
			pr, bad := p.pull()
			// A draft starts nothing, so it must not keep its branch's pushes from it.
			if bad == nil && !pr.Closed && !pr.Draft && pr.HeadRef == branch && pr.Internal() && pr.BaseRepoID == repo.ID {
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

// PullRequest is a pull request as it is now.
func (s *Server) PullRequest(ctx context.Context, repo forge.Repo, _ int64, number int) (forge.PullRequest, error) {
	var answer serverPull
	err := s.call(ctx, http.MethodGet, "api", repo, []string{"pull-requests", strconv.Itoa(number)}, nil, nil, &answer)
	var pr forge.PullRequest
	if err == nil {
		pr, err = answer.pull()
	}
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("pull request #%d of %s: %w", number, repo.FullName(), err)
	}
	return pr, nil
}

// serverPermissions are Bitbucket's words, from most to least.
var serverPermissions = []struct {
	word string
	is   forge.Permission
}{{"REPO_ADMIN", forge.Admin}, {"REPO_WRITE", forge.Write}, {"REPO_READ", forge.Read}}

// Permission is what a user may do with the repository, by whatever way they
// came to it.
func (s *Server) Permission(ctx context.Context, repo forge.Repo, _ int64, user forge.User) (forge.Permission, error) {
	if user.Login == "" || !forge.ValidName(repo.Owner) || !forge.ValidName(repo.Name) {
		return forge.NoPermission, nil
	}
	for _, p := range serverPermissions {
		has := false
		_, err := serverPages(ctx, s.rest, "/api/latest/users", url.Values{
			"filter": {user.Login}, "limit": {"100"}, "permission.1": {p.word},
			"permission.1.projectKey": {repo.Owner}, "permission.1.repositorySlug": {repo.Name},
		}, func(found serverUser) bool {
			// The filter finds parts of names; who has the name by now may be another.
			has = strings.EqualFold(found.Name, user.Login) && (user.ID == "" || found.user().ID == user.ID)
			return has
		})
		if errors.Is(err, forge.ErrNotFound) {
			return forge.NoPermission, nil
		}
		if err != nil {
			return forge.NoPermission, fmt.Errorf("permission for %s: %w", repo.FullName(), err)
		}
		if has {
			return p.is, nil
		}
	}
	return forge.NoPermission, nil
}

// TeamMember reports whether a user is in a group. Groups belong to the whole
// Bitbucket, so org is not used.
func (s *Server) TeamMember(ctx context.Context, _ forge.Repo, _ int64, _, team string, user forge.User) (bool, error) {
	if user.Login == "" || team == "" {
		return false, nil
	}
	member := false
	_, err := serverPages(ctx, s.rest, "/api/latest/users", url.Values{"filter": {user.Login}, "group": {team}, "limit": {"100"}}, func(found serverUser) bool {
		member = strings.EqualFold(found.Name, user.Login) && (user.ID == "" || found.user().ID == user.ID)
		return member
	})
	if errors.Is(err, forge.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("membership of a group: %w", err)
	}
	return member, nil
}

// emoticons are Data Center's names for the reactions that we give.
var emoticons = map[string]string{
	"+1": "thumbsup", "-1": "thumbsdown", "eyes": "eyes", "confused": "confused", "rocket": "rocket", "heart": "heart", "hooray": "tada", "laugh": "laughing",
}

// React adds a reaction, by GitHub's name for it, to a comment; twice is once.
// The comment's pull request is Pull.
func (s *Server) React(ctx context.Context, repo forge.Repo, _ int64, comment forge.Comment, content string) error {
	emoticon := emoticons[content]
	if emoticon == "" {
		return fmt.Errorf("reaction %q: %w", short(content), forge.ErrRejected)
	}
	err := s.call(ctx, http.MethodPut, "comment-likes", repo,
		[]string{"pull-requests", strconv.Itoa(comment.Pull), "comments", comment.ID, "reactions", emoticon}, nil, nil, nil)
	if err != nil {
		return fmt.Errorf("reacting to a comment of %s: %w", repo.FullName(), err)
	}
	return nil
}

// Comment makes the pull request have one comment of ours with the marker, and
// that body. An empty marker adds a comment each time.
func (s *Server) Comment(ctx context.Context, repo forge.Repo, _ int64, number int, marker, body string) error {
	if err := s.comment(ctx, repo, number, marker, body); err != nil {
		return fmt.Errorf("commenting on pull request #%d of %s: %w", number, repo.FullName(), err)
	}
	return nil
}

func (s *Server) comment(ctx context.Context, repo forge.Repo, number int, marker, body string) error {
	pull := []string{"pull-requests", strconv.Itoa(number)}
	text := commentText(marker, body)
	found, err := s.marked(ctx, repo, number, marker)
	if err != nil {
		return err
	}
	for _, c := range found {
		if strings.TrimSpace(c.Text) == strings.TrimSpace(text) {
			return nil
		}
		err := s.update(ctx, repo, append(pull, "comments", strconv.FormatInt(c.ID, 10)), c.Version, text)
		if !errors.Is(err, forge.ErrForbidden) && !errors.Is(err, forge.ErrNotFound) {
			return err
		}
	}
	return s.call(ctx, http.MethodPost, "api", repo, append(pull, "comments"), nil, map[string]any{"text": text}, nil)
}

// marked are the newest comments with the marker. They are found among all that
// happened to the pull request: there is no list of comments alone.
func (s *Server) marked(ctx context.Context, repo forge.Repo, number int, marker string) ([]serverComment, error) {
	if marker == "" {
		return nil, nil
	}
	where, err := s.in("api", repo, "pull-requests", strconv.Itoa(number), "activities")
	if err != nil {
		return nil, err
	}
	type activity struct {
		Action        string        `json:"action"`
		CommentAction string        `json:"commentAction"`
		Comment       serverComment `json:"comment"`
	}
	var found []serverComment
	_, err = serverPages(ctx, s.rest, where, url.Values{"limit": {"100"}}, func(a activity) bool {
		if a.Action == "COMMENTED" && a.CommentAction != "DELETED" && hasMarker(a.Comment.Text, marker) {
			found = append(found, a.Comment)
		}
		return len(found) == commentTries
	})
	return found, err
}

// updateTries bounds how often a comment is read anew because it has changed.
const updateTries = 3

// update replaces a comment's text. It needs the version that the comment has
// now, and is refused otherwise.
func (s *Server) update(ctx context.Context, repo forge.Repo, where []string, version int, text string) error {
	var err error
	for range updateTries {
		err = s.call(ctx, http.MethodPut, "api", repo, where, nil, map[string]any{"text": text, "version": version}, nil)
		if !errors.Is(err, errConflict) {
			return err
		}
		var now serverComment
		if err := s.call(ctx, http.MethodGet, "api", repo, where, nil, nil, &now); err != nil {
			return err
		}
		version = now.Version
	}
	return err
}
