package bitbucket

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

type serverPayload struct {
	Date           timestamp      `json:"date"`
	Actor          serverUser     `json:"actor"`
	Repository     *serverRepo    `json:"repository"`
	Changes        []serverChange `json:"changes"`
	ToCommit       *serverCommit  `json:"toCommit"`
	PullRequest    serverPull     `json:"pullRequest"`
	PreviousTarget struct {
		ID string `json:"id"`
	} `json:"previousTarget"`
	Comment serverComment `json:"comment"`
}

type serverUser struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"` // NORMAL, SERVICE
}

func (u serverUser) user() forge.User {
	out := forge.User{Login: u.Name, Bot: u.Type == "SERVICE"}
	if u.ID > 0 {
		out.ID = strconv.FormatInt(u.ID, 10)
	}
	return out
}

type serverRepo struct {
	ID       int64  `json:"id"`
	Slug     string `json:"slug"`
	Public   *bool  `json:"public"`
	Archived bool   `json:"archived"`
	Project  struct {
		Key string `json:"key"`
	} `json:"project"`
}

type serverChange struct {
	Ref struct {
		ID string `json:"id"`
	} `json:"ref"`
	From string `json:"fromHash"`
	To   string `json:"toHash"`
	Type string `json:"type"` // ADD, UPDATE, DELETE
}

type serverCommit struct {
	ID      string `json:"id"`
	Message string `json:"message"`
}

type serverPull struct {
	ID          int        `json:"id"`
	Title       string     `json:"title"`
	State       string     `json:"state"` // OPEN, MERGED, DECLINED
	Draft       bool       `json:"draft"`
	UpdatedDate timestamp  `json:"updatedDate"`
	FromRef     serverSide `json:"fromRef"`
	ToRef       serverSide `json:"toRef"`
	Author      struct {
		User serverUser `json:"user"`
	} `json:"author"`
	Properties struct {
		MergeCommit serverCommit `json:"mergeCommit"`
	} `json:"properties"`
}

type serverSide struct {
	ID         string      `json:"id"` // full ref
	Commit     string      `json:"latestCommit"`
	Repository *serverRepo `json:"repository"`
}

type serverComment struct {
	ID          int64      `json:"id"`
	Version     int        `json:"version"`
	Text        string     `json:"text"`
	Author      serverUser `json:"author"`
	CreatedDate timestamp  `json:"createdDate"`
	Anchor      *struct{}  `json:"anchor"` // of one at a line of code
}

// DecodeServer turns a delivery of Bitbucket Data Center into an event, with
// More for a push of several refs. An event that we do not act on has Kind Other.
// base is the address of the Bitbucket, below which git finds repositories.
func DecodeServer(forgeName string, header http.Header, body []byte, base string) (forge.Event, error) {
	var p serverPayload
	if err := unmarshal(body, &p); err != nil {
		return forge.Event{}, fmt.Errorf("reading a delivery: %w", err)
	}
	e := forge.Event{
		Forge: forgeName, Delivery: header.Get(ServerDeliveryHeader), Name: header.Get(EventHeader),
		Kind: forge.Other, Sender: p.Actor.user(), UserAgent: header.Get("User-Agent"),
	}
	if p.Repository == nil {
		p.Repository = p.PullRequest.ToRef.Repository
	}
	repo, err := p.Repository.repo(forgeName, base)
	if err == nil {
		e.Repo = repo
	}
	var readErr error
	switch action, isPull := serverPullActions[e.Name]; {
	case e.Name == pingEvent:
		e.Kind = forge.Ping
		return e, nil
	case e.Name == "repo:refs_changed":
		readErr = p.readPush(&e)
	case isPull:
		e.Action = action
		readErr = p.readPull(&e)
	case e.Name == "pr:comment:added":
		readErr = p.readComment(&e)
	default:
		return e, nil
	}
	if err := errors.Join(readErr, err); err != nil {
		return forge.Event{}, fmt.Errorf("reading %s: %w", short(e.Name), err)
	}
	return e, nil
}

// serverPullActions are the words that all forges share for what becomes of a
// pull request.
var serverPullActions = map[string]string{
	"pr:opened": "opened", "pr:from_ref_updated": "synchronize", "pr:modified": "edited",
	"pr:merged": "closed", "pr:declined": "closed", "pr:deleted": "closed",
}

func (p serverPayload) readPush(e *forge.Event) error {
	if len(p.Changes) > changeLimit {
		return fmt.Errorf("changes: want at most %d, have %d", changeLimit, len(p.Changes))
	}
	var pushes []forge.PushEvent
	for i, c := range p.Changes {
		if !forge.ValidRef(c.Ref.ID) || !forge.ValidSHA(c.From) || !forge.ValidSHA(c.To) {
			return fmt.Errorf("changes[%d]: want a ref and two commits, have %q, %q, %q", i, short(c.Ref.ID), short(c.From), short(c.To))
		}
		push := forge.PushEvent{
			Ref: c.Ref.ID, Before: c.From, After: c.To, At: p.Date.Time,
			Created: c.Type == "ADD" || zero(c.From), Deleted: c.Type == "DELETE" || zero(c.To),
		}
		if p.ToCommit != nil && forge.ValidSHA(p.ToCommit.ID) && len(p.Changes) == 1 && !push.Deleted {
			// Of an annotated tag toHash is the tag; builds want the commit.
			push.After, push.Message = p.ToCommit.ID, p.ToCommit.Message
		}
		pushes = append(pushes, push)
	}
	setPushes(e, pushes)
	return nil
}

func zero(sha string) bool { return strings.Trim(sha, "0") == "" }

func (p serverPayload) readPull(e *forge.Event) error {
	pr, err := p.PullRequest.pull()
	if err != nil {
		return err
	}
	if e.Action == "closed" {
		pr.Closed, pr.Merged = true, pr.Merged || e.Name == "pr:merged"
	}
	// An edit of the title names the target too.
	pr.BaseChanged = e.Name == "pr:modified" && p.PreviousTarget.ID != "" && p.PreviousTarget.ID != p.PullRequest.ToRef.ID
	e.Kind, e.Pull = forge.Pull, &pr
	return nil
}

var fullHash = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

func (pr serverPull) pull() (forge.PullRequest, error) {
	out := forge.PullRequest{
		Number: pr.ID, Title: pr.Title, Draft: pr.Draft,
		Closed: pr.State != "OPEN" && pr.State != "", Merged: pr.State == "MERGED",
		HeadSHA: pr.FromRef.Commit, HeadRef: pr.FromRef.branch(), HeadRepoID: pr.FromRef.Repository.id(),
		BaseSHA: pr.ToRef.Commit, BaseRef: pr.ToRef.branch(), BaseRepoID: pr.ToRef.Repository.id(),
		Author: pr.Author.User.user(), UpdatedAt: pr.UpdatedDate.Time,
		FetchRef: "refs/pull-requests/" + strconv.Itoa(pr.ID) + "/from",
	}
	if out.HeadRepoID != "" && out.HeadRepoID == out.BaseRepoID && !pr.FromRef.Repository.same(pr.ToRef.Repository) {
		// One number, two repositories: nothing is taken for our own on such terms.
		out.HeadRepoID = pr.FromRef.Repository.fullName()
	}
	if forge.ValidSHA(pr.Properties.MergeCommit.ID) {
		out.MergeSHA = pr.Properties.MergeCommit.ID
	}
	return out, checkPull("pullRequest", out, fullHash)
}

// branch is the ref's name without refs/heads/ or refs/tags/: a pull request
// can come from a tag, too.
func (s serverSide) branch() string {
	name := strings.TrimPrefix(s.ID, "refs/heads/")
	return strings.TrimPrefix(name, "refs/tags/")
}

func (p serverPayload) readComment(e *forge.Event) error {
	c := p.Comment
	if c.Anchor != nil {
		return nil
	}
	if c.ID <= 0 || p.PullRequest.ID <= 0 {
		return errors.New("comment.id, pullRequest.id: want positive numbers")
	}
	e.Kind, e.Action = forge.Commented, "created"
	e.Comment = &forge.Comment{
		ID: strconv.FormatInt(c.ID, 10), Body: c.Text, Author: c.Author.user(), Pull: p.PullRequest.ID,
		Closed:    p.PullRequest.State != "OPEN" && p.PullRequest.State != "",
		CreatedAt: cmp.Or(c.CreatedDate.Time, p.Date.Time),
	}
	return nil
}

func (r *serverRepo) id() string {
	if r == nil || r.ID <= 0 {
		return ""
	}
	return strconv.FormatInt(r.ID, 10)
}

func (r *serverRepo) fullName() string { return r.Project.Key + "/" + r.Slug }

func (r *serverRepo) same(other *serverRepo) bool {
	return r != nil && other != nil && strings.EqualFold(r.Slug, other.Slug) && strings.EqualFold(r.Project.Key, other.Project.Key)
}

func (r *serverRepo) repo(forgeName, base string) (forge.Repo, error) {
	if r == nil {
		return forge.Repo{}, errors.New("repository: missing")
	}
	if !forge.ValidName(r.Project.Key) || !forge.ValidName(r.Slug) {
		return forge.Repo{}, fmt.Errorf("repository: want a project's key and a slug, have %q and %q", short(r.Project.Key), short(r.Slug))
	}
	if r.id() == "" {
		return forge.Repo{}, errors.New("repository.id: want a positive number")
	}
	base = strings.TrimSuffix(base, "/")
	return forge.Repo{
		Forge: forgeName, ID: r.id(), Owner: r.Project.Key, Name: r.Slug, Archived: r.Archived,
		Private:  r.Public != nil && !*r.Public,
		CloneURL: base + "/scm/" + strings.ToLower(r.Project.Key) + "/" + r.Slug + ".git",
		WebURL:   base + "/" + webPath(r.Project.Key) + "/repos/" + r.Slug,
	}, nil
}

// webPath is a project's place among Bitbucket's pages; a personal one's key is
// the user's name behind a tilde.
func webPath(key string) string {
	if user, personal := strings.CutPrefix(key, "~"); personal {
		return "users/" + strings.ToLower(user)
	}
	return "projects/" + key
}
