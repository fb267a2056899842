package forgetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// BitbucketOptions say how a fake Bitbucket behaves. The zero value will do.
type BitbucketOptions struct {
	// Listen is the address; empty: a free port on 127.0.0.1.
	Listen string
	// Spec is the file of the product's OpenAPI description. With one, every
	// request is checked against it; see Violations.
	Spec string
	// Token is the one that may do everything; empty: "secret-token".
	Token string
	// Git serves what is not the REST interface.
	Git http.Handler
}

// BitbucketRepo is a repository of a fake Bitbucket.
type BitbucketRepo struct {
	ID    int64  // of Data Center
	UUID  string // of Cloud, with braces
	Owner string // workspace, or project's key
	Name  string
	// DefaultBranch is main if empty.
	DefaultBranch string
	Private       bool
}

// FullName is owner/name.
func (r BitbucketRepo) FullName() string { return r.Owner + "/" + r.Name }

// BuildStatus is a build status as a Bitbucket keeps it: one for each key.
type BuildStatus struct {
	Repo, SHA, Key, State, URL, Name, Description, Ref string
	History                                            []string // of states, in order
}

// InsightReport is a Code Insights report.
type InsightReport struct {
	Repo, SHA, Key, Title, Details, Result string
	Annotations                            []map[string]any
	Batches                                []int // how many annotations each request had
}

// BitbucketComment is a comment on a pull request.
type BitbucketComment struct {
	ID        int64
	Repo      string
	Pull      int
	Version   int
	Body      string
	Author    string
	Deleted   bool
	Reactions []string
}

type bitbucketRepo struct {
	BitbucketRepo
	commits     []string
	pulls       map[int]*Pull
	changes     map[string][]File // by base..head
	permissions map[string]string // admin, write or read, by user
}

// bitbucket is what both products have.
type bitbucket struct {
	host
	token    string
	repos    map[string]*bitbucketRepo
	statuses []*BuildStatus
	reports  map[string]*InsightReport
	comments []*BitbucketComment
	groups   map[string]bool // by group/user
}

func (b *bitbucket) init(o BitbucketOptions, patch func(*openapi3.T)) error {
	b.token, b.beside, b.now = cmp.Or(o.Token, "secret-token"), o.Git, time.Now
	b.repos, b.reports, b.groups = map[string]*bitbucketRepo{}, map[string]*InsightReport{}, map[string]bool{}
	if o.Spec == "" {
		return nil
	}
	var err error
	b.spec, err = loadSpec(o.Spec, patch)
	return err
}

// watch ends a fake with its test, which fails if a request did not match the
// description.
func (b *bitbucket) watch(t testing.TB) {
	t.Cleanup(func() {
		b.Close()
		for _, v := range b.Violations() {
			t.Errorf("request against Bitbucket's description: %s", v)
		}
	})
}

// AddRepo adds a repository. It gets what r leaves out.
func (b *bitbucket) AddRepo(r BitbucketRepo) BitbucketRepo {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextID++
	if r.ID == 0 {
		r.ID = b.nextID
	}
	r.UUID = cmp.Or(r.UUID, fmt.Sprintf("{94189367-116b-436a-9f77-%012d}", r.ID))
	r.DefaultBranch = cmp.Or(r.DefaultBranch, "main")
	b.repos[strings.ToLower(r.FullName())] = &bitbucketRepo{
		BitbucketRepo: r, pulls: map[int]*Pull{}, changes: map[string][]File{}, permissions: map[string]string{},
	}
	return r
}

// change runs f on a repository that AddRepo added, and panics on another.
func (b *bitbucket) change(fullName string, f func(*bitbucketRepo)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.repos[strings.ToLower(fullName)]
	if r == nil {
		panic("forgetest: no repository " + fullName)
	}
	f(r)
}

// AddCommit makes a commit known.
func (b *bitbucket) AddCommit(fullName, sha string) {
	b.change(fullName, func(r *bitbucketRepo) { r.commits = append(r.commits, sha) })
}

// SetPull adds or replaces a pull request, and makes its commits known.
func (b *bitbucket) SetPull(fullName string, p Pull) {
	b.change(fullName, func(r *bitbucketRepo) {
		r.pulls[p.Number] = &p
		r.commits = append(r.commits, p.HeadSHA, p.BaseSHA)
	})
}

// SetChanges says which files differ between the merge base of base and head,
// and head.
func (b *bitbucket) SetChanges(fullName, base, head string, files []File) {
	b.change(fullName, func(r *bitbucketRepo) { r.changes[base+".."+head] = files })
}

// SetPermission says what a user, by UUID in Cloud and by name in Data Center,
// may do: admin, write or read.
func (b *bitbucket) SetPermission(fullName, user, permission string) {
	b.change(fullName, func(r *bitbucketRepo) { r.permissions[user] = permission })
}

// SetGroupMember puts a user into a group.
func (b *bitbucket) SetGroupMember(group, user string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.groups[group+"/"+user] = true
}

// Statuses are the build statuses of a commit; sha empty: of all.
func (b *bitbucket) Statuses(fullName, sha string) []BuildStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []BuildStatus
	for _, s := range b.statuses {
		if strings.EqualFold(s.Repo, fullName) && (sha == "" || s.SHA == sha) {
			list = append(list, clone(*s))
		}
	}
	return list
}

// Reports are the Code Insights reports of a commit.
func (b *bitbucket) Reports(fullName, sha string) []InsightReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []InsightReport
	for _, key := range slices.Sorted(maps.Keys(b.reports)) {
		if r := b.reports[key]; strings.EqualFold(r.Repo, fullName) && r.SHA == sha {
			list = append(list, clone(*r))
		}
	}
	return list
}

// Comments are the comments on a pull request, in order.
func (b *bitbucket) Comments(fullName string, pull int) []BitbucketComment {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []BitbucketComment
	for _, c := range b.comments {
		if strings.EqualFold(c.Repo, fullName) && c.Pull == pull && !c.Deleted {
			list = append(list, clone(*c))
		}
	}
	return list
}

// Write adds a comment of a person on a pull request.
func (b *bitbucket) Write(fullName string, pull int, author, body string) BitbucketComment {
	b.mu.Lock()
	defer b.mu.Unlock()
	return clone(*b.write(fullName, pull, author, body))
}

func (b *bitbucket) write(fullName string, pull int, author, body string) *BitbucketComment {
	b.nextID++
	c := &BitbucketComment{ID: b.nextID, Repo: fullName, Pull: pull, Author: author, Body: body}
	b.comments = append(b.comments, c)
	return c
}

// Touch counts a comment's version up, as if somebody had edited it.
func (b *bitbucket) Touch(id int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.find(id); c != nil {
		c.Version++
	}
}

// ours is who the token belongs to.
const ours = "slipway"

func (b *bitbucket) find(id int64) *BitbucketComment {
	for _, c := range b.comments {
		if c.ID == id && !c.Deleted {
			return c
		}
	}
	return nil
}

// setStatus keeps a status; that of a key replaces the one before.
func (b *bitbucket) setStatus(s BuildStatus) {
	for _, old := range b.statuses {
		if old.Repo == s.Repo && old.SHA == s.SHA && old.Key == s.Key {
			s.History = append(old.History, s.State)
			*old = s
			return
		}
	}
	s.History = []string{s.State}
	b.statuses = append(b.statuses, &s)
}

// bbRequest is one request on one repository; repo is nil for other requests.
type bbRequest struct {
	*http.Request
	repo *bitbucketRepo
	body []byte
}

func (r bbRequest) read(v any) bool { return json.Unmarshal(r.body, v) == nil }

func (r bbRequest) number(name string) int64 {
	var n int64
	if _, err := fmt.Sscan(r.PathValue(name), &n); err != nil {
		return -1
	}
	return n
}

type bbHandle func(r bbRequest) (int, any)

// on adds an operation that needs the token. Paths with {owner} need that
// repository too.
func (b *bitbucket) on(mux *http.ServeMux, pattern string, h bbHandle) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.mu.Lock()
		status, value := b.handle(bbRequest{Request: r, body: body}, h)
		data, err := json.Marshal(value)
		b.mu.Unlock()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if status != http.StatusNoContent {
			w.Write(data)
		}
	})
}

func (b *bitbucket) handle(r bbRequest, h bbHandle) (int, any) {
	if bearer(r.Request) != b.token {
		return bbFail(http.StatusUnauthorized, "Token is invalid or not supported for this endpoint.")
	}
	if owner := r.PathValue("owner"); owner != "" {
		if r.repo = b.repos[strings.ToLower(owner+"/"+r.PathValue("repo"))]; r.repo == nil {
			return bbFail(http.StatusNotFound, "Repository not found")
		}
	}
	return h(r)
}

// bbFail is an error as both products write it: Cloud reads the one, Data
// Center the other.
func bbFail(status int, message string) (int, any) {
	return status, map[string]any{"type": "error", "error": map[string]any{"message": message}, "errors": []any{map[string]any{"message": message}}}
}
