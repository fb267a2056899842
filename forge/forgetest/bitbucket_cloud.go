package forgetest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// BitbucketCloud is a fake Bitbucket Cloud. It is safe for concurrent use. What
// it returns are copies.
type BitbucketCloud struct{ bitbucket }

// NewBitbucketCloud starts a fake for a test, which fails if a request did not
// match the description in Spec.
func NewBitbucketCloud(t testing.TB, o BitbucketOptions) *BitbucketCloud {
	t.Helper()
	b := &BitbucketCloud{}
	err := b.init(o, mendCloud)
	if err == nil {
		err = b.start(o.Listen, "/2.0", b.routes())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.watch(t)
	return b
}

// mendCloud drops what the description wants and Bitbucket does not, and adds
// the limits that it enforces.
func mendCloud(doc *openapi3.T) {
	object := doc.Components.Schemas["object"].Value
	object.Required, object.Discriminator = nil, nil
	for _, part := range doc.Components.Schemas["commitstatus"].Value.AllOf {
		for name, limit := range map[string]uint64{"key": 40, "name": 255, "description": 255, "url": 450} {
			if property := part.Value.Properties[name]; property != nil {
				property.Value.MaxLength = &limit
			}
		}
	}
}

func (b *BitbucketCloud) routes() http.Handler {
	mux := http.NewServeMux()
	const repo = " /repositories/{owner}/{repo}"
	b.on(mux, "GET /user", func(bbRequest) (int, any) { return http.StatusOK, cloudUserOf(ours) })
	b.on(mux, "GET"+repo, func(r bbRequest) (int, any) { return http.StatusOK, r.repo.cloud() })
	b.on(mux, "GET"+repo+"/commit/{sha}", cloudCommit)
	b.on(mux, "POST"+repo+"/commit/{sha}/statuses/build", b.cloudStatus)
	b.on(mux, "PUT"+repo+"/commit/{sha}/reports/{key}", b.putReport)
	b.on(mux, "DELETE"+repo+"/commit/{sha}/reports/{key}", b.deleteReport)
	b.on(mux, "POST"+repo+"/commit/{sha}/reports/{key}/annotations", b.cloudAnnotate)
	b.on(mux, "GET"+repo+"/diffstat/{spec}", b.cloudDiff)
	b.on(mux, "GET"+repo+"/pullrequests", b.cloudPulls)
	b.on(mux, "GET"+repo+"/pullrequests/{number}", cloudPull)
	b.on(mux, "GET"+repo+"/pullrequests/{number}/diffstat", b.cloudPullDiff)
	b.on(mux, "GET"+repo+"/pullrequests/{number}/comments", b.cloudComments)
	b.on(mux, "POST"+repo+"/pullrequests/{number}/comments", b.cloudComment)
	b.on(mux, "PUT"+repo+"/pullrequests/{number}/comments/{id}", b.cloudEdit)
	b.on(mux, "GET /workspaces/{owner}/permissions/repositories/{repo}", b.cloudPermissions)
	return mux
}

func cloudCommit(r bbRequest) (int, any) {
	for _, sha := range r.repo.commits {
		if strings.HasPrefix(sha, r.PathValue("sha")) {
			return http.StatusOK, map[string]any{"type": "commit", "hash": sha}
		}
	}
	return bbFail(http.StatusNotFound, "Commit not found")
}

func (b *BitbucketCloud) cloudStatus(r bbRequest) (int, any) {
	var body struct{ Key, State, URL, Name, Description, Refname string }
	if !r.read(&body) || body.URL == "" || strings.ContainsAny(body.URL, "{}") || len(body.Key) > 40 || body.Key == "" {
		return bbFail(http.StatusBadRequest, "key: at most 40 characters; url: required")
	}
	b.setStatus(BuildStatus{
		Repo: r.repo.FullName(), SHA: r.PathValue("sha"), Key: body.Key, State: body.State, URL: body.URL,
		Name: body.Name, Description: body.Description, Ref: body.Refname,
	})
	return http.StatusCreated, map[string]any{"type": "build", "key": body.Key, "state": body.State}
}

func (b *bitbucket) reportKey(r bbRequest) string {
	return r.repo.FullName() + " " + r.PathValue("sha") + " " + r.PathValue("key")
}

func (b *bitbucket) putReport(r bbRequest) (int, any) {
	var body struct{ Title, Details, Result string }
	if !r.read(&body) || body.Title == "" {
		return bbFail(http.StatusBadRequest, "title is required")
	}
	report := b.reports[b.reportKey(r)]
	if report == nil {
		report = &InsightReport{Repo: r.repo.FullName(), SHA: r.PathValue("sha"), Key: r.PathValue("key")}
		b.reports[b.reportKey(r)] = report
	}
	report.Title, report.Details, report.Result = body.Title, body.Details, body.Result
	return http.StatusOK, map[string]any{"type": "report", "title": body.Title}
}

func (b *bitbucket) deleteReport(r bbRequest) (int, any) {
	delete(b.reports, b.reportKey(r))
	return http.StatusNoContent, nil
}

func (b *BitbucketCloud) cloudAnnotate(r bbRequest) (int, any) {
	var list []map[string]any
	report := b.reports[b.reportKey(r)]
	switch {
	case report == nil:
		return bbFail(http.StatusNotFound, "no such report")
	case !r.read(&list) || len(list) == 0 || len(list) > 100 || len(report.Annotations)+len(list) > 1000:
		return bbFail(http.StatusBadRequest, "want 1 to 100 annotations, 1000 in all")
	}
	for _, a := range list {
		if summary, _ := a["summary"].(string); summary == "" || utf8.RuneCountInString(summary) > 450 {
			return bbFail(http.StatusBadRequest, "summary: 1 to 450 characters")
		}
	}
	report.Annotations, report.Batches = append(report.Annotations, list...), append(report.Batches, len(list))
	return http.StatusOK, list
}

// pageSize is how many entries of a list the fakes answer with at most, however
// many are asked for.
const pageSize = 100

// cloudPage is a page of a list, which names the next.
func (b *BitbucketCloud) cloudPage(r bbRequest, list []any) (int, any) {
	at, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || at < 1 {
		at = 1
	}
	from := min((at-1)*pageSize, len(list))
	to := min(from+pageSize, len(list))
	answer := map[string]any{"pagelen": pageSize, "page": at, "values": append([]any{}, list[from:to]...)}
	if to < len(list) {
		query := r.URL.Query()
		query.Set("page", strconv.Itoa(at+1))
		answer["next"] = strings.TrimSuffix(b.URL, "/") + r.URL.EscapedPath() + "?" + query.Encode()
	}
	return http.StatusOK, answer
}

func (b *BitbucketCloud) cloudDiff(r bbRequest) (int, any) {
	newer, older, _ := strings.Cut(r.PathValue("spec"), "..")
	files, ok := r.repo.changes[older+".."+newer]
	if !ok || r.URL.Query().Get("topic") != "true" {
		return bbFail(http.StatusNotFound, "Commit not found")
	}
	return b.cloudPage(r, cloudFiles(files))
}

func (b *BitbucketCloud) cloudPullDiff(r bbRequest) (int, any) {
	p := r.repo.pulls[int(r.number("number"))]
	if p == nil {
		return bbFail(http.StatusNotFound, "no such pull request")
	}
	return b.cloudPage(r, cloudFiles(p.Files))
}

func cloudFiles(files []File) []any {
	var list []any
	for _, f := range files {
		one := map[string]any{"type": "diffstat", "status": "modified", "new": map[string]any{"path": f.Name}, "old": map[string]any{"path": f.Name}}
		if f.Former != "" {
			one["status"], one["old"] = "renamed", map[string]any{"path": f.Former}
		}
		list = append(list, one)
	}
	return list
}

func (b *BitbucketCloud) cloudPulls(r bbRequest) (int, any) {
	var list []any
	for n := range 1000 {
		p := r.repo.pulls[n]
		if p == nil || p.State != "" && p.State != "OPEN" {
			continue
		}
		if strings.Contains(r.URL.Query().Get("q"), fmt.Sprintf("source.branch.name=%q", p.Head)) {
			list = append(list, r.repo.cloudPull(*p))
		}
	}
	return b.cloudPage(r, list)
}

func cloudPull(r bbRequest) (int, any) {
	p := r.repo.pulls[int(r.number("number"))]
	if p == nil {
		return bbFail(http.StatusNotFound, "no such pull request")
	}
	return http.StatusOK, r.repo.cloudPull(*p)
}

func (b *BitbucketCloud) cloudComments(r bbRequest) (int, any) {
	var list []any
	for _, c := range b.comments {
		if c.Repo == r.repo.FullName() && c.Pull == int(r.number("number")) && !c.Deleted {
			list = append([]any{cloudCommentOf(*c)}, list...)
		}
	}
	return b.cloudPage(r, list)
}

func (r bbRequest) cloudText() string {
	var body struct {
		Content struct{ Raw string } `json:"content"`
	}
	r.read(&body)
	return body.Content.Raw
}

func (b *BitbucketCloud) cloudComment(r bbRequest) (int, any) {
	if r.cloudText() == "" {
		return bbFail(http.StatusBadRequest, "content.raw is required")
	}
	c := b.write(r.repo.FullName(), int(r.number("number")), ours, r.cloudText())
	return http.StatusCreated, cloudCommentOf(*c)
}

func (b *BitbucketCloud) cloudEdit(r bbRequest) (int, any) {
	c := b.find(r.number("id"))
	switch {
	case c == nil:
		return bbFail(http.StatusNotFound, "no such comment")
	case c.Author != ours:
		return bbFail(http.StatusForbidden, "You can only edit your own comments")
	}
	c.Body, c.Version = r.cloudText(), c.Version+1
	return http.StatusOK, cloudCommentOf(*c)
}

// cloudPermissions looks at no filter: whoever asks has to.
func (b *BitbucketCloud) cloudPermissions(r bbRequest) (int, any) {
	var list []any
	for user, permission := range r.repo.permissions {
		list = append(list, map[string]any{"type": "repository_permission", "permission": permission, "user": map[string]any{"type": "user", "uuid": user}})
	}
	return b.cloudPage(r, list)
}
