package github

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// payload holds the fields of all the events that we act on. go-github's own
// types are not used: they fail on timestamps with a space and on
// custom properties with several values (forges.md 2.6).
type payload struct {
	Action       string       `json:"action"`
	Number       int          `json:"number"`
	Ref          string       `json:"ref"`
	Before       string       `json:"before"`
	After        string       `json:"after"`
	Created      bool         `json:"created"`
	Deleted      bool         `json:"deleted"`
	Forced       bool         `json:"forced"`
	HeadCommit   *headCommit  `json:"head_commit"`
	Repository   *repository  `json:"repository"`
	Sender       account      `json:"sender"`
	Installation installation `json:"installation"`
	PullRequest  pullRequest  `json:"pull_request"`
	Changes      struct {
		Base *struct{} `json:"base"`
	} `json:"changes"`
	CheckRun struct {
		HeadSHA    string `json:"head_sha"`
		ExternalID string `json:"external_id"`
		Name       string `json:"name"`
		App        app    `json:"app"`
	} `json:"check_run"`
	CheckSuite struct {
		HeadSHA string `json:"head_sha"`
		App     app    `json:"app"`
	} `json:"check_suite"`
	Issue struct {
		Number      int       `json:"number"`
		State       string    `json:"state"`
		PullRequest *struct{} `json:"pull_request"`
	} `json:"issue"`
	Comment    comment `json:"comment"`
	Review     comment `json:"review"`
	MergeGroup struct {
		HeadSHA    string      `json:"head_sha"`
		HeadRef    string      `json:"head_ref"`
		BaseSHA    string      `json:"base_sha"`
		BaseRef    string      `json:"base_ref"`
		HeadCommit *headCommit `json:"head_commit"`
	} `json:"merge_group"`
	Release struct {
		TagName string `json:"tag_name"`
		Name    string `json:"name"`
		Draft   bool   `json:"draft"`
	} `json:"release"`
	RequestedAction struct {
		Identifier string `json:"identifier"`
	} `json:"requested_action"`
	Repositories        []repository `json:"repositories"`
	RepositoriesAdded   []repository `json:"repositories_added"`
	RepositoriesRemoved []repository `json:"repositories_removed"`
}

// comment is a comment or a review.
type comment struct {
	ID          ident     `json:"id"`
	Body        string    `json:"body"`
	HTMLURL     string    `json:"html_url"`
	CommitID    string    `json:"commit_id"`
	User        account   `json:"user"`
	CreatedAt   timestamp `json:"created_at"`
	SubmittedAt timestamp `json:"submitted_at"`
}

type app struct {
	ID int64 `json:"id"`
}

type headCommit struct {
	ID      string `json:"id"`
	Message string `json:"message"`
}

type installation struct {
	ID          int64     `json:"id"`
	Account     account   `json:"account"`
	SuspendedAt timestamp `json:"suspended_at"`
}

type pullRequest struct {
	Number         int       `json:"number"`
	Title          string    `json:"title"`
	State          string    `json:"state"`
	Draft          bool      `json:"draft"`
	Merged         bool      `json:"merged"`
	MergeCommitSHA string    `json:"merge_commit_sha"`
	HTMLURL        string    `json:"html_url"`
	User           account   `json:"user"`
	UpdatedAt      timestamp `json:"updated_at"`
	Head           side      `json:"head"`
	Base           side      `json:"base"`
}

// side is one end of a pull request. Repo is nil if the fork was deleted.
type side struct {
	Ref  string      `json:"ref"`
	SHA  string      `json:"sha"`
	Repo *repository `json:"repo"`
}

type account struct {
	ID    ident  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"`
}

func (a account) user() forge.User {
	return forge.User{ID: string(a.ID), Login: a.Login, Bot: a.Type == "Bot"}
}

type repository struct {
	ID            ident     `json:"id"`
	FullName      string    `json:"full_name"`
	CloneURL      string    `json:"clone_url"`
	HTMLURL       string    `json:"html_url"`
	DefaultBranch string    `json:"default_branch"`
	Private       bool      `json:"private"`
	Archived      bool      `json:"archived"`
	PushedAt      timestamp `json:"pushed_at"`
}

func (r *repository) id() string {
	if r == nil {
		return ""
	}
	return string(r.ID)
}

func (r *repository) pushed() time.Time {
	if r == nil {
		return time.Time{}
	}
	return r.PushedAt.Time
}

// repo checks the repository's identity and name.
func (r *repository) repo(forgeName, cloneBase string) (forge.Repo, error) {
	if r == nil {
		return forge.Repo{}, errors.New("repository: missing")
	}
	if r.ID == "" {
		return forge.Repo{}, errors.New("repository.id: want a positive number")
	}
	owner, name, err := forge.SplitName(r.FullName)
	if err != nil {
		return forge.Repo{}, fmt.Errorf("repository.full_name: %w", err)
	}
	return forge.Repo{
		Forge: forgeName, ID: string(r.ID), Owner: owner, Name: name,
		CloneURL:      cloneURL(cloneBase, r.CloneURL, r.FullName),
		WebURL:        webURL(r.HTMLURL),
		DefaultBranch: r.DefaultBranch,
		Private:       r.Private,
		Archived:      r.Archived,
	}, nil
}

// ident is a numeric ID; whatever else stands there is no ID.
type ident string

// UnmarshalJSON never fails, so that an odd ID spoils nothing but itself.
func (i *ident) UnmarshalJSON(data []byte) error {
	*i = ""
	if n, err := strconv.ParseInt(string(data), 10, 64); err == nil && n > 0 {
		*i = ident(strconv.FormatInt(n, 10))
	}
	return nil
}

// webURL passes a link for people if it is one.
func webURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return s
}

// CloneBase is where git finds the repositories of the GitHub whose REST
// interface is at apiURL: https://api.github.com/ has https://github.com/,
// https://HOST/api/v3/ has https://HOST/. It is empty if apiURL is no URL.
func CloneBase(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + strings.TrimPrefix(u.Host, "api.") + "/"
}

var clonePathShape = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)

// cloneURL is where git fetches fullName from. Only the path is taken from the
// payload's URL, and only if it ends in the repository's own name.
func cloneURL(base, given, fullName string) string {
	own := base
	if own == "" {
		own = "https://github.com/"
	}
	b, err := url.Parse(own)
	if err != nil || b.Scheme == "" {
		return ""
	}
	u, err := url.Parse(given)
	if base == "" && (err != nil || u.Scheme != b.Scheme || u.Host != b.Host || u.User != nil) {
		return ""
	}
	where := "/" + fullName + ".git"
	if err == nil && clonePathShape.MatchString(u.Path) && path.Clean(u.Path) == u.Path &&
		(strings.HasSuffix(u.Path, where) || strings.HasSuffix(u.Path, "/"+fullName)) {
		where = u.Path
	}
	b.Path, b.RawPath, b.RawQuery, b.Fragment = strings.TrimSuffix(b.Path, "/")+where, "", "", ""
	return b.String()
}

// timestamp reads what GitHub writes for a time: seconds since 1970, RFC 3339,
// or a date and a time with a space between. Anything else is the zero time.
type timestamp struct{ time.Time }

// UnmarshalJSON never fails: no decision hangs on a time alone.
func (t *timestamp) UnmarshalJSON(data []byte) error {
	t.Time = time.Time{}
	if seconds, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		// Later than year 9999 could not be written as JSON again.
		if seconds > 0 && seconds < 253402300800 {
			t.Time = time.Unix(seconds, 0).UTC()
		}
		return nil
	}
	text := string(bytes.Trim(data, `"`))
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04:05 MST"} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() > 0 {
			t.Time = at.UTC()
			return nil
		}
	}
	return nil
}
