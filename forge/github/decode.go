package github

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// Decode turns a delivery into an event. The body is the raw one or what Payload
// made of it. An event we do not act on has Kind Other and names its repository
// if it can; one that we act on must have what the action needs, so a missing
// SHA, ref or repository is an error.
//
// cloneBase, such as https://github.com/, replaces scheme and host of the
// payload's clone_url. Without one the payload's is kept only if it is
// https://github.com. CloneBase gives the right one for an API URL.
func Decode(forgeName string, header http.Header, body []byte, cloneBase string) (forge.Event, error) {
	if !isObject(body) {
		var err error
		if body, err = Payload(header.Get("Content-Type"), body); err != nil {
			return forge.Event{}, fmt.Errorf("reading a delivery: %w", err)
		}
	}
	var p payload
	if err := unmarshal(body, &p); err != nil {
		return forge.Event{}, fmt.Errorf("reading a delivery: %w", err)
	}
	e := forge.Event{
		Forge:        forgeName,
		Delivery:     header.Get("X-GitHub-Delivery"),
		Name:         header.Get("X-GitHub-Event"),
		Action:       p.Action,
		Kind:         forge.Other,
		Sender:       p.Sender.user(),
		Installation: p.Installation.ID,
		UserAgent:    header.Get("User-Agent"),
	}
	repo, err := p.Repository.repo(forgeName, cloneBase)
	if err == nil {
		e.Repo = repo
	}
	read, ok := readers[e.Name+"."+p.Action]
	if !ok {
		read, ok = readers[e.Name]
	}
	if !ok {
		return e, nil
	}
	if err := errors.Join(read.read(&e, p), missing(err, read.anyRepo)); err != nil {
		return forge.Event{}, fmt.Errorf("reading %s: %w", strings.TrimSpace(e.Name+" "+p.Action), err)
	}
	return e, nil
}

func missing(err error, allowed bool) error {
	if allowed {
		return nil
	}
	return err
}

// reader fills in the part of an event that its kind has.
type reader struct {
	read    func(*forge.Event, payload) error
	anyRepo bool // works without a repository
}

// readers holds the events we act on, by name or by name and action.
var readers = map[string]reader{
	"push":                          {read: readPush},
	"pull_request":                  {read: readPull},
	"check_run.rerequested":         {read: readCheck(forge.CheckRerun)},
	"check_run.requested_action":    {read: readCheck(forge.CheckButton)},
	"check_suite.rerequested":       {read: readSuite},
	"issue_comment.created":         {read: readComment},
	"pull_request_review.submitted": {read: readReview},
	"merge_group.checks_requested":  {read: readMergeGroup},
	"merge_group.destroyed":         {read: readMergeGroup},
	"release.released":              {read: readRelease},
	"release.prereleased":           {read: readRelease},
	"ping":                          {read: readPing, anyRepo: true},
	"installation":                  {read: readInstallation, anyRepo: true},
	"installation_repositories":     {read: readInstallation, anyRepo: true},
}

func readPing(e *forge.Event, _ payload) error {
	e.Kind = forge.Ping
	return nil
}

func readPush(e *forge.Event, p payload) error {
	if err := errors.Join(checkRef(p.Ref), checkSHA("before", p.Before), checkSHA("after", p.After)); err != nil {
		return err
	}
	e.Kind = forge.Push
	e.Push = &forge.PushEvent{
		Ref: p.Ref, Before: p.Before, After: p.After,
		Created: p.Created || zero(p.Before),
		Deleted: p.Deleted || zero(p.After),
		Forced:  p.Forced,
		At:      p.Repository.pushed(),
	}
	if p.HeadCommit == nil || e.Push.Deleted {
		return nil
	}
	e.Push.Message = p.HeadCommit.Message
	// An annotated tag's "after" is the tag; builds and checks want the commit.
	if strings.HasPrefix(p.Ref, "refs/tags/") && checkSHA("head_commit.id", p.HeadCommit.ID) == nil {
		e.Push.After = p.HeadCommit.ID
	}
	return nil
}

func readPull(e *forge.Event, p payload) error {
	pr := p.PullRequest
	number := pr.Number
	if number == 0 {
		number = p.Number
	}
	err := errors.Join(checkSHA("head.sha", pr.Head.SHA), checkSHA("base.sha", pr.Base.SHA),
		checkRef("refs/heads/"+pr.Head.Ref), checkRef("refs/heads/"+pr.Base.Ref))
	if number <= 0 {
		err = errors.Join(err, fmt.Errorf("pull_request.number: want a positive number, have %d", number))
	}
	if err != nil {
		return err
	}
	e.Kind = forge.Pull
	e.Pull = &forge.PullRequest{
		Number: number, Title: pr.Title, Draft: pr.Draft, Merged: pr.Merged,
		Closed:  pr.State == "closed" || p.Action == "closed",
		HeadSHA: pr.Head.SHA, HeadRef: pr.Head.Ref, HeadRepoID: pr.Head.Repo.id(),
		BaseSHA: pr.Base.SHA, BaseRef: pr.Base.Ref, BaseRepoID: firstOf(pr.Base.Repo.id(), p.Repository.id()),
		Author:      pr.User.user(),
		WebURL:      webURL(pr.HTMLURL),
		BaseChanged: p.Action == "edited" && p.Changes.Base != nil,
		UpdatedAt:   pr.UpdatedAt.Time,
		FetchRef:    "refs/pull/" + strconv.Itoa(number) + "/head",
	}
	if pr.Merged && checkSHA("", pr.MergeCommitSHA) == nil {
		e.Pull.MergeSHA = pr.MergeCommitSHA
	}
	return nil
}

// readMergeGroup reads what a merge queue wants checked, or wants no longer.
func readMergeGroup(e *forge.Event, p payload) error {
	g := p.MergeGroup
	base, ok := strings.CutPrefix(g.BaseRef, "refs/heads/")
	if !ok {
		return fmt.Errorf("merge_group.base_ref: want a branch, have %q", short(g.BaseRef))
	}
	if err := errors.Join(checkRef(g.HeadRef), checkRef(g.BaseRef), checkSHA("merge_group.head_sha", g.HeadSHA), checkSHA("merge_group.base_sha", g.BaseSHA)); err != nil {
		return err
	}
	e.Kind = forge.MergeGroup
	e.Merge = &forge.MergeGroupSpec{
		HeadSHA: g.HeadSHA, HeadRef: g.HeadRef, BaseSHA: g.BaseSHA, BaseRef: base, Gone: p.Action == "destroyed",
	}
	if g.HeadCommit != nil {
		e.Merge.Message = g.HeadCommit.Message
	}
	return nil
}

// readRelease reads that a release was published, or that what was a preview is
// for all to use now. Of its other actions "published" says the same again
// (CodeBuild reference 8.2).
func readRelease(e *forge.Event, p payload) error {
	if p.Release.Draft {
		return nil
	}
	if err := checkRef("refs/tags/" + p.Release.TagName); err != nil {
		return fmt.Errorf("release.tag_name: %w", err)
	}
	e.Kind = forge.Release
	e.Release = &forge.ReleaseSpec{Tag: p.Release.TagName, Name: p.Release.Name, Prerelease: p.Action == "prereleased"}
	return nil
}

// readComment reads a comment on a pull request; one on an issue is nothing to us.
func readComment(e *forge.Event, p payload) error {
	if p.Issue.PullRequest == nil {
		return nil
	}
	if p.Issue.Number <= 0 || p.Comment.ID == "" {
		return errors.New("issue.number, comment.id: want positive numbers")
	}
	e.Kind = forge.Commented
	e.Comment = &forge.Comment{
		ID: string(p.Comment.ID), Body: p.Comment.Body, Author: p.Comment.User.user(), Pull: p.Issue.Number,
		Closed: p.Issue.State == "closed", CreatedAt: p.Comment.CreatedAt.Time, WebURL: webURL(p.Comment.HTMLURL),
	}
	return nil
}

func readReview(e *forge.Event, p payload) error {
	if p.PullRequest.Number <= 0 || p.Review.ID == "" {
		return errors.New("pull_request.number, review.id: want positive numbers")
	}
	e.Kind = forge.Commented
	e.Comment = &forge.Comment{
		ID: string(p.Review.ID), Body: p.Review.Body, Author: p.Review.User.user(), Pull: p.PullRequest.Number,
		Closed: p.PullRequest.State == "closed", CreatedAt: p.Review.SubmittedAt.Time, WebURL: webURL(p.Review.HTMLURL),
		Review: true, SHA: p.Review.CommitID,
	}
	return checkSHA("review.commit_id", e.Comment.SHA)
}

func readCheck(kind forge.Kind) func(*forge.Event, payload) error {
	return func(e *forge.Event, p payload) error {
		e.Kind = kind
		e.Check = &forge.CheckRef{
			SHA: p.CheckRun.HeadSHA, ExternalID: p.CheckRun.ExternalID, Name: p.CheckRun.Name,
			AppID: p.CheckRun.App.ID, Identifier: p.RequestedAction.Identifier,
		}
		return checkSHA("check_run.head_sha", e.Check.SHA)
	}
}

func readSuite(e *forge.Event, p payload) error {
	e.Kind = forge.SuiteRerun
	e.Check = &forge.CheckRef{SHA: p.CheckSuite.HeadSHA, AppID: p.CheckSuite.App.ID}
	return checkSHA("check_suite.head_sha", e.Check.SHA)
}

func readInstallation(e *forge.Event, p payload) error {
	if p.Installation.ID <= 0 {
		return fmt.Errorf("installation.id: want a positive number, have %d", p.Installation.ID)
	}
	e.Kind = forge.Installation
	gone := e.Name == "installation" && p.Action == "deleted"
	e.Install = &forge.InstallationSpec{
		ID: p.Installation.ID, Account: p.Installation.Account.Login,
		Suspended: p.Action == "suspend" || p.Action != "unsuspend" && !p.Installation.SuspendedAt.IsZero(),
		Deleted:   gone,
		Added:     names(p.RepositoriesAdded),
		Removed:   names(p.RepositoriesRemoved),
	}
	switch {
	case gone:
		e.Install.Removed = names(p.Repositories)
	case e.Name == "installation" && p.Action == "created":
		e.Install.Added = names(p.Repositories)
	}
	return nil
}

// names are the valid full names of repos.
func names(repos []repository) []string {
	var list []string
	for _, r := range repos {
		if _, _, err := forge.SplitName(r.FullName); err == nil {
			list = append(list, r.FullName)
		}
	}
	return slices.Compact(list)
}

var shaShape = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

func checkSHA(field, sha string) error {
	if !shaShape.MatchString(sha) {
		return fmt.Errorf("%s: want 40 or 64 hex digits, have %q", field, short(sha))
	}
	return nil
}

func zero(sha string) bool { return strings.Trim(sha, "0") == "" }

// checkRef refuses what git could not have as a ref (git-check-ref-format), as
// far as it could do harm later. Quotes, $ and ; are legal.
func checkRef(ref string) error {
	_, rest, _ := strings.Cut(ref, "refs/")
	bad := !strings.HasPrefix(ref, "refs/") || rest == "" || len(ref) > 1024 ||
		strings.HasSuffix(ref, "/") || strings.Contains(ref, "..") || strings.Contains(ref, "//") ||
		strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
	if bad {
		return fmt.Errorf("ref: not a git ref: %q", short(ref))
	}
	return nil
}

// short keeps outside text in errors small.
func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
