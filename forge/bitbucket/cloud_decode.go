package bitbucket

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

type cloudPayload struct {
	Actor      cloudUser  `json:"actor"`
	Repository *cloudRepo `json:"repository"`
	Push       struct {
		Changes []cloudChange `json:"changes"`
	} `json:"push"`
	PullRequest cloudPull    `json:"pullrequest"`
	Comment     cloudComment `json:"comment"`
}

type cloudRepo struct {
	UUID       string `json:"uuid"`
	FullName   string `json:"full_name"`
	Private    bool   `json:"is_private"`
	Links      links  `json:"links"`
	MainBranch *struct {
		Name string `json:"name"`
	} `json:"mainbranch"`
}

type links struct {
	HTML struct {
		Href string `json:"href"`
	} `json:"html"`
}

type cloudUser struct {
	UUID        string `json:"uuid"`
	AccountID   string `json:"account_id"`
	Nickname    string `json:"nickname"`
	Username    string `json:"username"` // of payloads before 2019, and of teams
	DisplayName string `json:"display_name"`
	Type        string `json:"type"`
}

// user names the account by its UUID, as CodeBuild's filters do. Since 2019
// nobody has a login: people choose their nickname freely.
func (u cloudUser) user() forge.User {
	return forge.User{
		ID: cmp.Or(u.UUID, u.AccountID), Login: cmp.Or(u.Nickname, u.Username, u.DisplayName),
		Bot: u.Type == "app_user", Nickname: true,
	}
}

type cloudChange struct {
	New    *cloudRef `json:"new"`
	Old    *cloudRef `json:"old"`
	Closed bool      `json:"closed"`
	Forced bool      `json:"forced"`
}

type cloudRef struct {
	Type   string `json:"type"` // branch, tag
	Name   string `json:"name"`
	Target struct {
		Hash    string `json:"hash"`
		Message string `json:"message"`
	} `json:"target"`
}

type cloudPull struct {
	ID          int        `json:"id"`
	Title       string     `json:"title"`
	Draft       bool       `json:"draft"`
	State       string     `json:"state"` // OPEN, MERGED, DECLINED, SUPERSEDED
	Source      cloudSide  `json:"source"`
	Destination cloudSide  `json:"destination"`
	Author      cloudUser  `json:"author"`
	UpdatedOn   timestamp  `json:"updated_on"`
	Links       links      `json:"links"`
	MergeCommit *cloudHash `json:"merge_commit"`
}

type cloudHash struct {
	Hash string `json:"hash"`
}

// cloudSide is one end of a pull request. Repository is nil if the fork is gone.
type cloudSide struct {
	Branch struct {
		Name string `json:"name"`
	} `json:"branch"`
	Commit     cloudHash  `json:"commit"`
	Repository *cloudRepo `json:"repository"`
}

type cloudComment struct {
	ID      int64 `json:"id"`
	Content struct {
		Raw string `json:"raw"`
	} `json:"content"`
	User      cloudUser       `json:"user"`
	Inline    json.RawMessage `json:"inline"`
	Deleted   bool            `json:"deleted"`
	CreatedOn timestamp       `json:"created_on"`
	Links     links           `json:"links"`
}

// DecodeCloud turns a delivery of Bitbucket Cloud into an event, with More for a
// push of several refs. An event that we do not act on has Kind Other. cloneBase
// is where git finds repositories; see CloneBase.
//
// Bitbucket shortens the commits of pull requests to 12 digits: before use they
// are to be resolved with Cloud.Resolve.
func DecodeCloud(forgeName string, header http.Header, body []byte, cloneBase string) (forge.Event, error) {
	var p cloudPayload
	if err := unmarshal(body, &p); err != nil {
		return forge.Event{}, fmt.Errorf("reading a delivery: %w", err)
	}
	e := forge.Event{
		Forge: forgeName, Delivery: strings.Trim(header.Get(CloudDeliveryHeader), "{}"), Name: header.Get(EventHeader),
		Kind: forge.Other, Sender: p.Actor.user(), UserAgent: header.Get("User-Agent"),
	}
	repo, err := p.Repository.repo(forgeName, cloneBase)
	if err == nil {
		e.Repo = repo
	}
	var readErr error
	switch action, isPull := cloudPullActions[e.Name]; {
	case e.Name == "repo:push":
		readErr = p.readPush(&e)
	case isPull:
		e.Action = action
		readErr = p.readPull(&e)
	case e.Name == "pullrequest:comment_created":
		readErr = p.readComment(&e)
	default:
		return e, nil
	}
	if err := errors.Join(readErr, err); err != nil {
		return forge.Event{}, fmt.Errorf("reading %s: %w", short(e.Name), err)
	}
	return e, nil
}

// cloudPullActions are the words that all forges share for what becomes of a
// pull request. "updated" is also sent for edits of the title.
var cloudPullActions = map[string]string{
	"pullrequest:created": "opened", "pullrequest:updated": "synchronize", "pullrequest:push": "synchronize",
	"pullrequest:fulfilled": "closed", "pullrequest:rejected": "closed",
}

// changeLimit is how many refs of one push are read; nobody pushes more by hand.
const changeLimit = 100

func (p cloudPayload) readPush(e *forge.Event) error {
	changes := p.Push.Changes
	if len(changes) > changeLimit {
		return fmt.Errorf("push.changes: want at most %d, have %d", changeLimit, len(changes))
	}
	var pushes []forge.PushEvent
	for i, c := range changes {
		push, err := c.push()
		if err != nil {
			return fmt.Errorf("push.changes[%d]: %w", i, err)
		}
		pushes = append(pushes, push)
	}
	setPushes(e, pushes)
	return nil
}

// setPushes makes an event of pushes; without any it stays as it is.
func setPushes(e *forge.Event, pushes []forge.PushEvent) {
	one := *e
	one.Kind = forge.Push
	for i := range pushes {
		one.Push = &pushes[i]
		if i == 0 {
			*e = one
		} else {
			e.More = append(e.More, one)
		}
	}
}

func (c cloudChange) push() (forge.PushEvent, error) {
	ref := c.New
	if ref == nil {
		ref = c.Old
	}
	if ref == nil {
		return forge.PushEvent{}, errors.New("want new or old, have neither")
	}
	out := forge.PushEvent{Ref: "refs/heads/" + ref.Name, Created: c.Old == nil, Deleted: c.New == nil || c.Closed, Forced: c.Forced}
	if strings.HasSuffix(ref.Type, "tag") {
		out.Ref = "refs/tags/" + ref.Name
	}
	if !forge.ValidRef(out.Ref) || ref.Name == "" {
		return out, fmt.Errorf("name: not a git ref: %q", short(ref.Name))
	}
	var err error
	if out.Before, err = c.Old.hash("old"); err != nil {
		return out, err
	}
	if out.After, err = c.New.hash("new"); err != nil {
		return out, err
	}
	if c.New != nil {
		out.Message = c.New.Target.Message
	}
	if out.Deleted {
		out.After = strings.Repeat("0", len(out.Before))
	}
	return out, nil
}

// hash is the commit of a ref, zeros where there is none.
func (r *cloudRef) hash(field string) (string, error) {
	if r == nil {
		return noCommit, nil
	}
	if !forge.ValidSHA(r.Target.Hash) {
		return "", fmt.Errorf("%s.target.hash: want 40 or 64 hex digits, have %q", field, short(r.Target.Hash))
	}
	return r.Target.Hash, nil
}

const noCommit = "0000000000000000000000000000000000000000"

var hashShape = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

func (p cloudPayload) readPull(e *forge.Event) error {
	pr, err := p.PullRequest.pull(p.Repository)
	if err != nil {
		return err
	}
	// The event says more than the state: "rejected" may still read OPEN.
	if e.Action == "closed" {
		pr.Closed, pr.Merged = true, pr.Merged || e.Name == "pullrequest:fulfilled"
	}
	pr.HeadMayBeOld = e.Action == "synchronize"
	e.Kind, e.Pull = forge.Pull, &pr
	return nil
}

// pull is a pull request of repo; its commits may be short.
func (pr cloudPull) pull(repo *cloudRepo) (forge.PullRequest, error) {
	out := forge.PullRequest{
		Number: pr.ID, Title: pr.Title, Draft: pr.Draft,
		Closed: pr.State != "OPEN" && pr.State != "", Merged: pr.State == "MERGED",
		HeadSHA: pr.Source.Commit.Hash, HeadRef: pr.Source.Branch.Name, HeadRepoID: pr.Source.Repository.id(),
		BaseSHA: pr.Destination.Commit.Hash, BaseRef: pr.Destination.Branch.Name,
		BaseRepoID: cmp.Or(pr.Destination.Repository.id(), repo.id()),
		Author:     pr.Author.user(), WebURL: webURL(pr.Links.HTML.Href), UpdatedAt: pr.UpdatedOn.Time,
	}
	if out.HeadRepoID != "" && out.HeadRepoID == out.BaseRepoID && !strings.EqualFold(pr.Source.Repository.fullName(), pr.Destination.Repository.fullName()) {
		// One UUID, two repositories: nothing is taken for our own on such terms.
		out.HeadRepoID = pr.Source.Repository.fullName()
	}
	if pr.MergeCommit != nil && hashShape.MatchString(pr.MergeCommit.Hash) {
		out.MergeSHA = pr.MergeCommit.Hash
	}
	// Bitbucket Cloud has no refs for pull requests: a head of our own is its
	// branch, and a fork's can't be fetched from here.
	if out.Internal() {
		out.FetchRef = "refs/heads/" + out.HeadRef
	}
	return out, checkPull("pullrequest", out, hashShape)
}

// checkPull refuses a pull request without what everybody needs of it.
func checkPull(field string, pr forge.PullRequest, hash *regexp.Regexp) error {
	var errs []error
	if pr.Number <= 0 {
		errs = append(errs, fmt.Errorf("%s.id: want a positive number, have %d", field, pr.Number))
	}
	for _, sha := range []string{pr.HeadSHA, pr.BaseSHA} {
		if !hash.MatchString(sha) {
			errs = append(errs, fmt.Errorf("%s: not a commit: %q", field, short(sha)))
		}
	}
	for _, branch := range []string{pr.HeadRef, pr.BaseRef} {
		if !forge.ValidRef("refs/heads/" + branch) {
			errs = append(errs, fmt.Errorf("%s: not a branch: %q", field, short(branch)))
		}
	}
	return errors.Join(errs...)
}

// readComment reads a comment on a pull request. Those at a line of code are
// nothing to us.
func (p cloudPayload) readComment(e *forge.Event) error {
	c := p.Comment
	if len(c.Inline) > 0 && string(c.Inline) != "null" || c.Deleted {
		return nil
	}
	if c.ID <= 0 || p.PullRequest.ID <= 0 {
		return errors.New("comment.id, pullrequest.id: want positive numbers")
	}
	e.Kind, e.Action = forge.Commented, "created"
	e.Comment = &forge.Comment{
		ID: strconv.FormatInt(c.ID, 10), Body: c.Content.Raw, Author: c.User.user(), Pull: p.PullRequest.ID,
		Closed:    p.PullRequest.State != "OPEN" && p.PullRequest.State != "",
		CreatedAt: c.CreatedOn.Time, WebURL: webURL(c.Links.HTML.Href),
	}
	return nil
}

// uuidShape is how Bitbucket writes UUIDs. The braces stay out of our keys.
var uuidShape = regexp.MustCompile(`^\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?$`)

func (r *cloudRepo) id() string {
	if r == nil {
		return ""
	}
	if m := uuidShape.FindStringSubmatch(r.UUID); m != nil {
		return strings.ToLower(m[1])
	}
	return ""
}

func (r *cloudRepo) fullName() string {
	if r == nil {
		return ""
	}
	return r.FullName
}

func (r *cloudRepo) repo(forgeName, cloneBase string) (forge.Repo, error) {
	if r == nil {
		return forge.Repo{}, errors.New("repository: missing")
	}
	owner, name, err := forge.SplitName(r.FullName)
	if err != nil {
		return forge.Repo{}, fmt.Errorf("repository.full_name: %w", err)
	}
	if r.id() == "" {
		return forge.Repo{}, fmt.Errorf("repository.uuid: want a UUID, have %q", short(r.UUID))
	}
	out := forge.Repo{
		Forge: forgeName, ID: r.id(), Owner: owner, Name: name, Private: r.Private, WebURL: webURL(r.Links.HTML.Href),
		CloneURL: strings.TrimSuffix(cloneBase, "/") + "/" + r.FullName + ".git",
	}
	if r.MainBranch != nil {
		out.DefaultBranch = r.MainBranch.Name
	}
	return out, nil
}

// CloneBase is where git finds the repositories of the Bitbucket Cloud whose
// REST interface is at apiURL: https://api.bitbucket.org/2.0 has
// https://bitbucket.org/. It is empty if apiURL is no URL.
func CloneBase(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + strings.TrimPrefix(u.Host, "api.") + "/"
}

// webURL passes a link for people if it is one.
func webURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return s
}

// timestamp reads what both products write for a time: RFC 3339, with or
// without a colon in the zone, or milliseconds since 1970. Anything else is the
// zero time.
type timestamp struct{ time.Time }

// UnmarshalJSON never fails: no decision hangs on a time alone.
func (t *timestamp) UnmarshalJSON(data []byte) error {
	t.Time = time.Time{}
	if ms, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		// Later than year 9999 could not be written as JSON again.
		if ms > 0 && ms < 253402300800_000 {
			t.Time = time.UnixMilli(ms).UTC()
		}
		return nil
	}
	text := strings.Trim(string(data), `"`)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700"} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() > 0 {
			t.Time = at.UTC()
			return nil
		}
	}
	return nil
}
