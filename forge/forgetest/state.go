package forgetest

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Repo is a repository of the fake.
type Repo struct {
	ID            int64
	Owner, Name   string
	DefaultBranch string
	Private       bool
	Installation  int64
	// CloneURL is what payloads say; empty: https://github.com/OWNER/NAME.git.
	CloneURL string
}

// FullName is owner/name.
func (r Repo) FullName() string { return r.Owner + "/" + r.Name }

type repo struct {
	Repo
	files       map[string][]byte // by sha:path
	branches    map[string]string
	pulls       map[int]*Pull
	permissions map[string]string // by login
	changes     map[string][]File // by base...head
}

// Pull is a pull request.
type Pull struct {
	Number   int
	Title    string
	Head     string // branch
	HeadSHA  string
	HeadRepo int64 // 0: the repository itself; negative: the fork is gone
	Base     string
	BaseSHA  string
	State    string // empty: open
	Draft    bool
	Merged   bool
	MergeSHA string // of the merge commit
	Author   string
	Files    []File // that it changes
}

type installation struct {
	id          int64
	permissions map[string]string
	suspended   bool
}

// CheckRun is a check run as GitHub keeps it.
type CheckRun struct {
	ID          int64
	Repo        string // owner/name
	AppID       int64
	Name        string
	SHA         string
	ExternalID  string
	DetailsURL  string
	Status      string
	Conclusion  string
	StartedAt   *time.Time
	CompletedAt *time.Time
	Title       string
	Summary     string
	Text        string
	Annotations []Annotation
	Actions     []Action
	History     []CheckState
}

// CheckState is what a check run said after one request.
type CheckState struct {
	At                        time.Time
	Status, Conclusion, Title string
}

// Annotation is one of a check run.
type Annotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn int    `json:"start_column,omitempty"`
	EndColumn   int    `json:"end_column,omitempty"`
	Level       string `json:"annotation_level"`
	Message     string `json:"message"`
	Title       string `json:"title,omitempty"`
	RawDetails  string `json:"raw_details,omitempty"`
}

// Action is a button of a check run.
type Action struct {
	Label       string `json:"label"`
	Description string `json:"description"`
	Identifier  string `json:"identifier"`
}

// Status is a commit status.
type Status struct {
	At                                                time.Time
	Repo, SHA, State, Context, Description, TargetURL string
}

// Comment is a comment on an issue or a pull request.
type Comment struct {
	ID        int64
	Repo      string
	Issue     int
	Body      string
	Login     string
	Edits     int
	Reactions []string
}

// AddRepo adds a repository. It gets an ID, the default branch main and the
// installation 1, which may do everything, unless r says otherwise.
func (g *GitHub) AddRepo(r Repo) Repo {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.ID == 0 {
		r.ID = g.id()
	}
	r.DefaultBranch = cmp.Or(r.DefaultBranch, "main")
	r.Installation = cmp.Or(r.Installation, 1)
	g.repos[strings.ToLower(r.FullName())] = &repo{
		Repo: r, files: map[string][]byte{}, branches: map[string]string{}, pulls: map[int]*Pull{}, permissions: map[string]string{}, changes: map[string][]File{},
	}
	if g.installs[r.Installation] == nil {
		g.installs[r.Installation] = &installation{id: r.Installation, permissions: everything()}
	}
	return r
}

func everything() map[string]string {
	return map[string]string{
		"metadata": "read", "contents": "read", "checks": "write", "statuses": "write",
		"pull_requests": "write", "issues": "read", "deployments": "write", "members": "read",
	}
}

func (g *GitHub) id() int64 {
	g.nextID++
	return g.nextID
}

// change runs f on a repository that AddRepo added, and panics on another.
func (g *GitHub) change(fullName string, f func(*repo)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.repos[strings.ToLower(fullName)]
	if r == nil {
		panic("forgetest: no repository " + fullName)
	}
	f(r)
}

// SetFile makes a file readable at a commit.
func (g *GitHub) SetFile(fullName, sha, path string, content []byte) {
	g.change(fullName, func(r *repo) { r.files[sha+":"+path] = content })
}

// SetBranch moves a branch; an empty sha removes it.
func (g *GitHub) SetBranch(fullName, branch, sha string) {
	g.change(fullName, func(r *repo) {
		r.branches[branch] = sha
		if sha == "" {
			delete(r.branches, branch)
		}
	})
}

// SetPull adds or replaces a pull request.
func (g *GitHub) SetPull(fullName string, p Pull) {
	g.change(fullName, func(r *repo) { r.pulls[p.Number] = &p })
}

// SetPermission says what a user may do: admin, write, read or none.
func (g *GitHub) SetPermission(fullName, login, permission string) {
	g.change(fullName, func(r *repo) { r.permissions[login] = permission })
}

// SetTeamMember makes a user a member of a team, org/team: active or pending.
func (g *GitHub) SetTeamMember(team, login, state string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.teams[team+"/"+login] = state
}

// Write adds a comment of a person on a pull request.
func (g *GitHub) Write(fullName string, pull int, login, body string) Comment {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &Comment{ID: g.id(), Repo: fullName, Issue: pull, Body: body, Login: login}
	g.comments[c.ID] = c
	return clone(*c)
}

// Rename moves a repository. Requests to the old name are redirected nowhere:
// they find nothing, as when GitHub has forgotten it.
func (g *GitHub) Rename(fullName, owner, name string) {
	g.change(fullName, func(r *repo) {
		delete(g.repos, strings.ToLower(fullName))
		r.Owner, r.Name = owner, name
		g.repos[strings.ToLower(r.FullName())] = r
	})
}

// Suspend suspends an installation or ends that.
func (g *GitHub) Suspend(id int64, suspended bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := g.installs[id]; i != nil {
		i.suspended = suspended
	}
}

// Grant replaces the permissions that an installation's owner granted.
func (g *GitHub) Grant(id int64, permissions map[string]string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.installs[id] = &installation{id: id, permissions: maps.Clone(permissions)}
}

// CheckRuns are the check runs of a repository, in order of creation; sha
// empty: of all commits.
func (g *GitHub) CheckRuns(fullName, sha string) []CheckRun {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []CheckRun
	for _, id := range slices.Sorted(maps.Keys(g.checks)) {
		c := g.checks[id]
		if strings.EqualFold(c.Repo, fullName) && (sha == "" || c.SHA == sha) {
			list = append(list, clone(*c))
		}
	}
	return list
}

// clone is a copy that shares nothing.
func clone[T any](v T) T {
	var out T
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		panic(err) // our own types
	}
	return out
}

// Statuses are the commit statuses of a repository in order; sha empty: all.
func (g *GitHub) Statuses(fullName, sha string) []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Status
	for _, s := range g.statuses {
		if strings.EqualFold(s.Repo, fullName) && (sha == "" || s.SHA == sha) {
			list = append(list, s)
		}
	}
	return list
}

// Comments are the comments on an issue or pull request, in order.
func (g *GitHub) Comments(fullName string, issue int) []Comment {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Comment
	for _, id := range slices.Sorted(maps.Keys(g.comments)) {
		if c := g.comments[id]; strings.EqualFold(c.Repo, fullName) && c.Issue == issue {
			list = append(list, clone(*c))
		}
	}
	return list
}
