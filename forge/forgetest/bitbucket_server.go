package forgetest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// BitbucketServer is a fake Bitbucket Data Center. It is safe for concurrent
// use. What it returns are copies.
type BitbucketServer struct {
	bitbucket
	// Web is the address for people, below which is everything.
	Web string
}

// NewBitbucketServer starts a fake for a test, which fails if a request did not
// match the description in Spec.
func NewBitbucketServer(t testing.TB, o BitbucketOptions) *BitbucketServer {
	t.Helper()
	b := &BitbucketServer{}
	err := b.init(o, nil)
	if err == nil {
		err = b.start(o.Listen, "/rest", b.routes())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.Web = strings.TrimSuffix(b.URL, "/rest/")
	b.watch(t)
	return b
}

func (b *BitbucketServer) routes() http.Handler {
	mux := http.NewServeMux()
	const repo = "/latest/projects/{owner}/repos/{repo}"
	const commit, pull = repo + "/commits/{sha}", repo + "/pull-requests/{number}"
	b.on(mux, "GET /api"+repo+"/branches/default", func(r bbRequest) (int, any) {
		return http.StatusOK, map[string]any{"id": "refs/heads/" + r.repo.DefaultBranch, "displayId": r.repo.DefaultBranch}
	})
	b.on(mux, "POST /api"+commit+"/builds", b.serverStatus)
	b.on(mux, "PUT /insights"+commit+"/reports/{key}", b.putReport)
	b.on(mux, "DELETE /insights"+commit+"/reports/{key}", b.deleteReport)
	b.on(mux, "POST /insights"+commit+"/reports/{key}/annotations", b.serverAnnotate)
	b.on(mux, "GET /api"+repo+"/compare/changes", serverDiff)
	b.on(mux, "GET /api"+repo+"/pull-requests", b.serverPulls)
	b.on(mux, "GET /api"+pull, b.serverPull)
	b.on(mux, "GET /api"+pull+"/changes", serverPullDiff)
	b.on(mux, "GET /api"+pull+"/activities", b.activities)
	b.on(mux, "POST /api"+pull+"/comments", b.serverComment)
	b.on(mux, "GET /api"+pull+"/comments/{id}", b.serverGetComment)
	b.on(mux, "PUT /api"+pull+"/comments/{id}", b.serverEdit)
	b.on(mux, "PUT /comment-likes"+pull+"/comments/{id}/reactions/{emoticon}", b.serverReact)
	b.on(mux, "GET /api/latest/users", b.users)
	b.on(mux, "GET /api/latest/projects", func(r bbRequest) (int, any) { return serverPageOf(r, nil) })
	return mux
}

func (b *BitbucketServer) serverStatus(r bbRequest) (int, any) {
	var body struct{ Key, State, URL, Name, Description, Ref string }
	if !r.read(&body) || body.URL == "" || body.Key == "" || len(body.Key) > 255 {
		return bbFail(http.StatusBadRequest, "key and url are required")
	}
	b.setStatus(BuildStatus{
		Repo: r.repo.FullName(), SHA: r.PathValue("sha"), Key: body.Key, State: body.State, URL: body.URL,
		Name: body.Name, Description: body.Description, Ref: body.Ref,
	})
	return http.StatusNoContent, nil
}

func (b *BitbucketServer) serverAnnotate(r bbRequest) (int, any) {
	var body struct{ Annotations []map[string]any }
	report := b.reports[b.reportKey(r)]
	switch {
	case report == nil:
		return bbFail(http.StatusNotFound, "no such report")
	case !r.read(&body) || len(body.Annotations) == 0 || len(report.Annotations)+len(body.Annotations) > 1000:
		return bbFail(http.StatusBadRequest, "at most 1000 annotations")
	}
	report.Annotations, report.Batches = append(report.Annotations, body.Annotations...), append(report.Batches, len(body.Annotations))
	return http.StatusNoContent, nil
}

func serverPageOf(r bbRequest, list []any) (int, any) {
	from, err := strconv.Atoi(r.URL.Query().Get("start"))
	if err != nil || from < 0 {
		from = 0
	}
	from = min(from, len(list))
	to := min(from+pageSize, len(list))
	return http.StatusOK, map[string]any{
		"values": append([]any{}, list[from:to]...), "size": to - from, "isLastPage": to == len(list), "start": from, "limit": pageSize, "nextPageStart": to,
	}
}

func serverDiff(r bbRequest) (int, any) {
	q := r.URL.Query()
	files, ok := r.repo.changes[q.Get("to")+".."+q.Get("from")]
	if !ok {
		return bbFail(http.StatusNotFound, "Commit does not exist")
	}
	return serverPageOf(r, serverFiles(files))
}

func serverPullDiff(r bbRequest) (int, any) {
	p := r.repo.pulls[int(r.number("number"))]
	if p == nil {
		return bbFail(http.StatusNotFound, "no such pull request")
	}
	return serverPageOf(r, serverFiles(p.Files))
}

func serverFiles(files []File) []any {
	var list []any
	for _, f := range files {
		one := map[string]any{"type": "MODIFY", "path": map[string]any{"toString": f.Name}}
		if f.Former != "" {
			one["type"], one["srcPath"] = "MOVE", map[string]any{"toString": f.Former}
		}
		list = append(list, one)
	}
	return list
}

func (b *BitbucketServer) serverPulls(r bbRequest) (int, any) {
	var list []any
	for n := range 1000 {
		if p := r.repo.pulls[n]; p != nil && (p.State == "" || p.State == "OPEN") && "refs/heads/"+p.Head == r.URL.Query().Get("at") {
			list = append(list, r.repo.serverPull(*p))
		}
	}
	return serverPageOf(r, list)
}

func (b *BitbucketServer) serverPull(r bbRequest) (int, any) {
	p := r.repo.pulls[int(r.number("number"))]
	if p == nil {
		return bbFail(http.StatusNotFound, "no such pull request")
	}
	return http.StatusOK, r.repo.serverPull(*p)
}

func (b *BitbucketServer) activities(r bbRequest) (int, any) {
	list := []any{map[string]any{"id": 1, "action": "OPENED"}}
	for _, c := range b.comments {
		if c.Repo == r.repo.FullName() && c.Pull == int(r.number("number")) && !c.Deleted {
			list = append([]any{map[string]any{"id": c.ID, "action": "COMMENTED", "commentAction": "ADDED", "comment": serverCommentOf(*c)}}, list...)
		}
	}
	return serverPageOf(r, list)
}

func (b *BitbucketServer) serverComment(r bbRequest) (int, any) {
	var body struct{ Text string }
	if !r.read(&body) || body.Text == "" || len([]rune(body.Text)) > 32768 {
		return bbFail(http.StatusBadRequest, "text: 1 to 32768 characters")
	}
	return http.StatusCreated, serverCommentOf(*b.write(r.repo.FullName(), int(r.number("number")), ours, body.Text))
}

func (b *BitbucketServer) serverGetComment(r bbRequest) (int, any) {
	if c := b.find(r.number("id")); c != nil {
		return http.StatusOK, serverCommentOf(*c)
	}
	return bbFail(http.StatusNotFound, "no such comment")
}

func (b *BitbucketServer) serverEdit(r bbRequest) (int, any) {
	var body struct {
		Text    string
		Version int
	}
	c := b.find(r.number("id"))
	switch {
	case c == nil:
		return bbFail(http.StatusNotFound, "no such comment")
	case c.Author != ours:
		return bbFail(http.StatusForbidden, "You are not permitted to edit this comment")
	case !r.read(&body) || body.Version != c.Version:
		return bbFail(http.StatusConflict, "You are attempting to modify a comment based on out-of-date information.")
	}
	c.Body, c.Version = body.Text, c.Version+1
	return http.StatusOK, serverCommentOf(*c)
}

func (b *BitbucketServer) serverReact(r bbRequest) (int, any) {
	c := b.find(r.number("id"))
	if c == nil {
		return bbFail(http.StatusNotFound, "no such comment")
	}
	if e := r.PathValue("emoticon"); !slices.Contains(c.Reactions, e) {
		c.Reactions = append(c.Reactions, e)
	}
	return http.StatusOK, map[string]any{"emoticon": map[string]any{"shortcut": r.PathValue("emoticon")}}
}

// users are those whose name has the filter in it, and who have the permission
// or are in the group.
func (b *BitbucketServer) users(r bbRequest) (int, any) {
	q := r.URL.Query()
	repo := b.repos[strings.ToLower(q.Get("permission.1.projectKey")+"/"+q.Get("permission.1.repositorySlug"))]
	var names []string
	if group := q.Get("group"); group != "" {
		for member := range b.groups {
			if name, ok := strings.CutPrefix(member, group+"/"); ok {
				names = append(names, name)
			}
		}
	} else if repo != nil {
		ladder := []string{"read", "write", "admin"}
		want := slices.Index(ladder, strings.ToLower(strings.TrimPrefix(q.Get("permission.1"), "REPO_")))
		for name, has := range repo.permissions {
			if slices.Index(ladder, has) >= want {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	var list []any
	for _, name := range names {
		if strings.Contains(name, q.Get("filter")) {
			list = append(list, serverUserOf(name))
		}
	}
	return serverPageOf(r, list)
}
