// Package forge holds the words that all git hosts share. The adapters below
// it (github, local, ...) translate between these and one host's own.
package forge

import (
	"errors"
	"fmt"
	"time"
)

// Repo is one repository of one forge. Its identity is (Forge, ID); Owner and
// Name are an alias that may change when it is renamed or moved.
type Repo struct {
	Forge string `json:"forge"` // the forge entry's name: github, bitbucket, bitbucket-server, local
	ID    string `json:"id"`    // the forge's numeric ID or UUID
	Owner string `json:"owner"`
	Name  string `json:"name"`
	// CloneURL is where git fetches from, without credentials. It is built from
	// the configured base, not taken from a payload, where a base is configured.
	CloneURL      string `json:"clone_url,omitempty"`
	WebURL        string `json:"web_url,omitempty"`
	DefaultBranch string `json:"default_branch,omitempty"`
	Private       bool   `json:"private,omitempty"`
	Archived      bool   `json:"archived,omitempty"`
}

// FullName is owner/name.
func (r Repo) FullName() string { return r.Owner + "/" + r.Name }

// Slug is owner-name, the default name of the repository's project.
func (r Repo) Slug() string { return r.Owner + "-" + r.Name }

// User is an account of a forge. ID is what permissions are decided by; Login
// is for display.
type User struct {
	ID    string `json:"id"`
	Login string `json:"login"`
	Bot   bool   `json:"bot,omitempty"`
	// Nickname says that Login is nobody's own: anyone may choose the same one.
	Nickname bool `json:"nickname,omitempty"`
}

// Kind says what sort of thing happened.
type Kind string

// The kinds of events that Slipway acts on or records.
const (
	Push         Kind = "push"
	Pull         Kind = "pull_request"
	Ping         Kind = "ping"
	CheckRerun   Kind = "check_run.rerequested"
	SuiteRerun   Kind = "check_suite.rerequested"
	CheckButton  Kind = "check_run.requested_action"
	Commented    Kind = "comment" // new, on a pull request
	Installation Kind = "installation"
	MergeGroup   Kind = "merge_group" // what a merge queue is about to merge
	Release      Kind = "release"     // a tag was released, for all to use or as a preview
	Other        Kind = "other"       // known to be authentic, nothing to do
)

// Event is one delivery in the words all forges share. Exactly the part that
// Kind names is set.
type Event struct {
	Forge        string            `json:"forge"`
	Delivery     string            `json:"delivery"`
	Kind         Kind              `json:"kind"`
	Name         string            `json:"name"`             // the forge's own event name, such as "issues"
	Action       string            `json:"action,omitempty"` // the forge's own action, such as "synchronize"
	Repo         Repo              `json:"repo"`
	Sender       User              `json:"sender"`
	Installation int64             `json:"installation,omitempty"` // 0: none named
	UserAgent    string            `json:"user_agent,omitempty"`
	Push         *PushEvent        `json:"push,omitempty"`
	Pull         *PullRequest      `json:"pull,omitempty"`
	Check        *CheckRef         `json:"check,omitempty"`
	Comment      *Comment          `json:"comment,omitempty"`
	Install      *InstallationSpec `json:"install,omitempty"`
	Merge        *MergeGroupSpec   `json:"merge,omitempty"`
	Release      *ReleaseSpec      `json:"release,omitempty"`
	// More are the other things that the same delivery says happened, as in a
	// Bitbucket push of several refs. They have none of their own.
	More []Event `json:"more,omitempty"`
}

// PushEvent is a change of one ref.
type PushEvent struct {
	Ref     string `json:"ref"` // full: refs/heads/main
	Before  string `json:"before"`
	After   string `json:"after"`
	Created bool   `json:"created,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	Forced  bool   `json:"forced,omitempty"`
	Message string `json:"message,omitempty"` // of the head commit
	// At is when the forge saw the push; zero: it does not say. Deliveries may
	// arrive in another order.
	At time.Time `json:"at,omitzero"`
}

// MergeGroupSpec is what a merge queue wants checked before it merges: the
// changes of one or more pull requests on top of the branch that they aim at.
type MergeGroupSpec struct {
	HeadSHA string `json:"head_sha"`
	HeadRef string `json:"head_ref"` // full, a branch that the queue made
	BaseSHA string `json:"base_sha"`
	BaseRef string `json:"base_ref"` // branch name, without refs/heads/
	Message string `json:"message,omitempty"`
	// Gone: the queue has merged it, or wants it no longer.
	Gone bool `json:"gone,omitempty"`
}

// ReleaseSpec is a release: a tag that somebody declared fit for use.
type ReleaseSpec struct {
	Tag        string `json:"tag"`            // without refs/tags/
	Name       string `json:"name,omitempty"` // for people; empty: it has none but the tag's
	Prerelease bool   `json:"prerelease,omitempty"`
}

// PullRequest is a pull request as one delivery saw it.
type PullRequest struct {
	Number     int    `json:"number"`
	Title      string `json:"title,omitempty"`
	Draft      bool   `json:"draft,omitempty"`
	Closed     bool   `json:"closed,omitempty"`
	Merged     bool   `json:"merged,omitempty"`
	HeadSHA    string `json:"head_sha"`
	HeadRef    string `json:"head_ref"`               // branch name, without refs/heads/
	HeadRepoID string `json:"head_repo_id,omitempty"` // empty: the fork is gone
	BaseSHA    string `json:"base_sha"`
	BaseRef    string `json:"base_ref"`
	BaseRepoID string `json:"base_repo_id"`
	Author     User   `json:"author"`
	WebURL     string `json:"web_url,omitempty"`
	MergeSHA   string `json:"merge_sha,omitempty"` // of the merge; only when Merged
	// BaseChanged: this delivery says that the pull request now aims at another branch.
	BaseChanged bool `json:"base_changed,omitempty"`
	// HeadMayBeOld: the forge sends such a delivery for any edit, so the head may
	// be the one that it told us of before.
	HeadMayBeOld bool `json:"head_may_be_old,omitempty"`
	// UpdatedAt orders deliveries about one pull request; zero: the forge does not say.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	// FetchRef is the ref of the base repository that holds the head, such as
	// refs/pull/7/head.
	FetchRef string `json:"fetch_ref,omitempty"`
}

// Internal reports whether the head lives in the base repository itself, so
// that somebody with push rights made it.
func (p PullRequest) Internal() bool {
	return p.HeadRepoID != "" && p.HeadRepoID == p.BaseRepoID
}

// Changes are the files that a push or a pull request changed. A renamed file
// counts with both names.
type Changes struct {
	Paths []string
	// Unknown, if set, is why Paths doesn't hold them all: a filter of paths
	// takes such an event for a match.
	Unknown string
}

// MaxChanges is how many changed files an adapter lists at most.
const MaxChanges = 3000

// CheckRef names checks that somebody asked to run again.
type CheckRef struct {
	SHA        string `json:"sha"`
	ExternalID string `json:"external_id,omitempty"` // of the one check run; empty for a whole suite
	Name       string `json:"name,omitempty"`
	AppID      int64  `json:"app_id,omitempty"`
	// Identifier is that of the CheckAction that was pressed, for a CheckButton.
	Identifier string `json:"identifier,omitempty"`
}

// InstallationSpec is what an installation event says.
type InstallationSpec struct {
	ID        int64    `json:"id"`
	Account   string   `json:"account"`
	Suspended bool     `json:"suspended,omitempty"`
	Deleted   bool     `json:"deleted,omitempty"`
	Added     []string `json:"added,omitempty"` // full names
	Removed   []string `json:"removed,omitempty"`
}

// CheckRun is the state of a check that we want the forge to show.
type CheckRun struct {
	ID          int64 // the forge's; 0 before it was created
	Name        string
	SHA         string
	ExternalID  string // ours; finds a check whose creation's answer was lost
	DetailsURL  string
	Status      string // queued, in_progress, completed
	Conclusion  string // success, failure, neutral, cancelled, skipped, timed_out, action_required; only when completed
	StartedAt   time.Time
	CompletedAt time.Time
	Title       string
	Summary     string // Markdown
	Text        string // Markdown
	Annotations []Annotation
	Actions     []CheckAction
	// Sent counts the annotations that the forge has already. Updates append, so
	// a caller that tries again keeps it. The adapter counts it up.
	Sent int
	// Unsure: an earlier request may have reached the forge although its answer
	// did not reach us, so look before writing. The adapter sets it when an
	// answer is lost; a caller that cannot know, as after a crash, sets it too.
	Unsure bool
}

// Annotation is a remark at a place in a file of the repository.
type Annotation struct {
	Path      string `json:"path"` // relative to the repository's root
	StartLine int    `json:"start_line"`
	EndLine   int    `json:"end_line"`
	Column    int    `json:"column,omitempty"` // 0: the whole line
	Level     string `json:"level"`            // notice, warning, failure
	Title     string `json:"title,omitempty"`
	Message   string `json:"message"`
}

// CheckAction is a button on a completed check.
type CheckAction struct {
	Label, Description, Identifier string
}

// CommitStatus is the older, smaller report: one word per commit and context.
type CommitStatus struct {
	SHA         string
	Context     string
	State       string // pending, success, failure, error
	Description string // at most 140 characters
	TargetURL   string
	// For forges whose statuses say more. Name is the check run's; Conclusion is
	// its word for how it ended, empty before; Ref is the full ref that was
	// built, empty if unknown.
	Name, Conclusion, Ref string
}

// What callers of an adapter branch on.
var (
	// ErrNotFound: the forge says that there is no such thing, or that we may
	// not know of it.
	ErrNotFound = errors.New("not found at the forge")
	// ErrForbidden: our credentials lack a permission that this needs.
	ErrForbidden = errors.New("the forge's permission is missing")
	// ErrNoCredentials: no credentials are configured, so nothing can be asked
	// or reported.
	ErrNoCredentials = errors.New("no credentials for this forge")
	// ErrRejected: the forge refuses the request itself; sending it again is no use.
	ErrRejected = errors.New("the forge refuses the request")
	// ErrUnsupported: this forge has nothing of the kind.
	ErrUnsupported = errors.New("this forge does not have that")
)

// RetryError is a refusal for now: a rate limit, an outage, a time-out. The
// request may be sent again after After (0: the forge named no time).
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("%v (retry after %s)", e.Err, e.After)
	}
	return e.Err.Error()
}

func (e *RetryError) Unwrap() error { return e.Err }
