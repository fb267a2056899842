package forgetest

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// handle answers one request with a status and a value that becomes JSON. The
// lock is held meanwhile.
type handle func(r *http.Request, body []byte) (int, any)

// routes are the operations that the fake knows; another one is a 404.
func (g *GitHub) routes() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, h handle) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, h) })
	}
	app := func(h handle) handle {
		return func(r *http.Request, body []byte) (int, any) {
			if p := g.asApp(r); p != nil {
				return fail(p.status, p.message)
			}
			return h(r, body)
		}
	}
	on("GET /app", app(func(*http.Request, []byte) (int, any) {
		return http.StatusOK, map[string]any{"id": g.o.AppID, "slug": "slipway", "name": "Slipway"}
	}))
	on("GET /app/installations", app(g.listInstallations))
	on("GET /app/hook/deliveries", app(g.listAttempts))
	on("POST /app/hook/deliveries/{delivery}/attempts", app(g.redeliver))
	on("POST /app/installations/{installation}/access_tokens", app(g.mint))
	on("GET /repos/{owner}/{repo}/installation", app(g.findInstallation))
	on("DELETE /installation/token", g.revoke)
	on("GET /user", g.user)
	g.webRoutes(mux, on)

	const repo = " /repos/{owner}/{repo}"
	on("GET"+repo, g.in("metadata", "read", func(r *repository) (int, any) { return http.StatusOK, repositoryOf(r.Repo) }))
	on("POST"+repo+"/check-runs", g.in("checks", "write", g.createCheck))
	on("PATCH"+repo+"/check-runs/{id}", g.in("checks", "write", g.updateCheck))
	on("GET"+repo+"/check-runs/{id}", g.in("checks", "read", g.getCheck))
	on("GET"+repo+"/commits/{sha}/check-runs", g.in("checks", "read", g.listChecks))
	on("POST"+repo+"/statuses/{sha}", g.in("statuses", "write", g.createStatus))
	on("GET"+repo+"/branches/{branch}", g.in("contents", "read", getBranch))
	on("GET"+repo+"/contents/{path...}", g.in("contents", "read", getFile))
	on("GET"+repo+"/commits/{sha}/pulls", g.in("pull_requests", "read", listPulls))
	on("GET"+repo+"/pulls/{number}", g.in("pull_requests", "read", getPull))
	on("GET"+repo+"/pulls/{number}/files", g.in("pull_requests", "read", listPullFiles))
	on("GET"+repo+"/compare/{basehead...}", g.in("contents", "read", compare))
	on("POST"+repo+"/issues/{number}/comments", g.in("pull_requests", "write", g.createComment))
	on("GET"+repo+"/issues/{number}/comments", g.in("pull_requests", "read", g.listComments))
	on("PATCH"+repo+"/issues/comments/{id}", g.in("pull_requests", "write", g.updateComment))
	on("POST"+repo+"/issues/comments/{id}/reactions", g.in("pull_requests", "write", g.react))
	on("POST"+repo+"/deployments", g.in("deployments", "write", g.createDeployment))
	on("GET"+repo+"/deployments", g.in("deployments", "read", g.listDeployments))
	on("POST"+repo+"/deployments/{id}/statuses", g.in("deployments", "write", g.setDeployment))
	on("GET"+repo+"/collaborators/{login}/permission", g.in("metadata", "read", getPermission))
	on("GET /orgs/{org}/teams/{team}/memberships/{login}", g.membership)
	return mux
}

func (g *GitHub) serve(w http.ResponseWriter, r *http.Request, h handle) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g.mu.Lock()
	status, value := h(r, body)
	if list, ok := value.(linked); ok {
		value = list.items
		if list.next != "" {
			w.Header().Set("Link", "<"+list.next+`>; rel="next"`)
		}
	}
	data, err := json.Marshal(value)
	g.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		w.Write(data)
	}
}

func fail(status int, message string) (int, any) {
	return status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest"}
}

// repository is one request on one repository.
type repository struct {
	*repo
	r     *http.Request
	body  []byte
	grant *grant
}

// read decodes the body.
func (r *repository) read(v any) bool { return json.Unmarshal(r.body, v) == nil }

func (r *repository) number(name string) int64 {
	n, err := strconv.ParseInt(r.r.PathValue(name), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (g *GitHub) in(permission, level string, h func(*repository) (int, any)) handle {
	return func(r *http.Request, body []byte) (int, any) {
		found, grant, p := g.access(r, permission, level)
		if p != nil {
			return fail(p.status, p.message)
		}
		return h(&repository{repo: found, r: r, body: body, grant: grant})
	}
}

func (g *GitHub) listInstallations(*http.Request, []byte) (int, any) {
	list := []any{}
	for _, id := range slices.Sorted(maps.Keys(g.installs)) {
		list = append(list, map[string]any{"id": id, "app_id": g.o.AppID, "permissions": g.installs[id].permissions})
	}
	return http.StatusOK, list
}

func (g *GitHub) findInstallation(r *http.Request, _ []byte) (int, any) {
	found := g.repos[strings.ToLower(r.PathValue("owner")+"/"+r.PathValue("repo"))]
	if found == nil || g.installs[found.Installation] == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	return http.StatusOK, map[string]any{"id": found.Installation, "app_id": g.o.AppID}
}

func (g *GitHub) revoke(r *http.Request, _ []byte) (int, any) {
	t := g.tokens[bearer(r)]
	if t == nil || t.personal {
		return fail(http.StatusUnauthorized, "Bad credentials")
	}
	delete(g.tokens, bearer(r))
	return http.StatusNoContent, nil
}

func (g *GitHub) user(r *http.Request, _ []byte) (int, any) {
	t := g.tokens[bearer(r)]
	if t == nil || !t.personal {
		return fail(http.StatusUnauthorized, "Bad credentials")
	}
	return http.StatusOK, userOf(cmp.Or(t.login, "slipway"))
}

func getBranch(r *repository) (int, any) {
	sha := r.branches[r.r.PathValue("branch")]
	if sha == "" {
		return fail(http.StatusNotFound, "Branch not found")
	}
	return http.StatusOK, map[string]any{"name": r.r.PathValue("branch"), "commit": map[string]any{"sha": sha}, "protected": false}
}

// GitHub leaves out the content of larger files.
const contentLimitBytes = 1 << 20

func getFile(r *repository) (int, any) {
	path, ref := r.r.PathValue("path"), r.r.URL.Query().Get("ref")
	if sha := r.branches[ref]; sha != "" {
		ref = sha
	}
	content, ok := r.files[ref+":"+path]
	if !ok {
		return fail(http.StatusNotFound, "Not Found")
	}
	answer := map[string]any{"type": "file", "path": path, "size": len(content), "encoding": "base64", "content": base64.StdEncoding.EncodeToString(content)}
	if len(content) > contentLimitBytes {
		answer["encoding"], answer["content"] = "none", ""
	}
	return http.StatusOK, answer
}

func listPulls(r *repository) (int, any) {
	list := []any{}
	for _, n := range slices.Sorted(maps.Keys(r.pulls)) {
		if p := r.pulls[n]; p.HeadSHA == r.r.PathValue("sha") {
			list = append(list, pullOf(r.Repo, *p))
		}
	}
	return http.StatusOK, list
}

func getPull(r *repository) (int, any) {
	p := r.pulls[int(r.number("number"))]
	if p == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	return http.StatusOK, pullOf(r.Repo, *p)
}

func getPermission(r *repository) (int, any) {
	login := r.r.PathValue("login")
	permission, ok := r.permissions[login]
	if !ok {
		return fail(http.StatusNotFound, login+" is not a user")
	}
	return http.StatusOK, map[string]any{"permission": permission, "role_name": permission, "user": userOf(login)}
}

// membership needs a token that may read the organisation's members.
func (g *GitHub) membership(r *http.Request, _ []byte) (int, any) {
	if t := g.tokens[bearer(r)]; t == nil || !t.personal && t.permissions["members"] == "" {
		return fail(http.StatusForbidden, "Resource not accessible by integration")
	}
	state := g.teams[r.PathValue("org")+"/"+r.PathValue("team")+"/"+r.PathValue("login")]
	if state == "" {
		return fail(http.StatusNotFound, "Not Found")
	}
	return http.StatusOK, map[string]any{"state": state, "role": "member", "url": "https://api.github.com/teams/1/memberships/" + r.PathValue("login")}
}

const commentLimit = 65536

func (g *GitHub) createComment(r *repository) (int, any) {
	c := &Comment{Repo: r.FullName(), Issue: int(r.number("number")), Login: "slipway[bot]"}
	if r.grant.personal {
		c.Login = "slipway"
	}
	if status, answer := r.comment(c); status != 0 {
		return status, answer
	}
	c.ID = g.id()
	g.comments[c.ID] = c
	return http.StatusCreated, commentOf(*c)
}

// comment reads the body into c; a status other than 0 is a refusal.
func (r *repository) comment(c *Comment) (int, any) {
	var body struct {
		Body string `json:"body"`
	}
	if !r.read(&body) || body.Body == "" {
		return fail(http.StatusUnprocessableEntity, "body is required")
	}
	if units(body.Body) > commentLimit {
		return fail(http.StatusUnprocessableEntity, "body is too long (maximum is 65536 characters)")
	}
	c.Body = body.Body
	return 0, nil
}

func (g *GitHub) updateComment(r *repository) (int, any) {
	c := g.comments[r.number("id")]
	if c == nil || c.Repo != r.FullName() {
		return fail(http.StatusNotFound, "Not Found")
	}
	if status, answer := r.comment(c); status != 0 {
		return status, answer
	}
	c.Edits++
	return http.StatusOK, commentOf(*c)
}

func (g *GitHub) listComments(r *repository) (int, any) {
	list := []any{}
	for _, id := range slices.Sorted(maps.Keys(g.comments)) {
		if c := g.comments[id]; c.Repo == r.FullName() && c.Issue == int(r.number("number")) {
			list = append(list, commentOf(*c))
		}
	}
	return http.StatusOK, list
}

var reactions = []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}

func (g *GitHub) react(r *repository) (int, any) {
	var body struct {
		Content string `json:"content"`
	}
	c := g.comments[r.number("id")]
	switch {
	case c == nil:
		return fail(http.StatusNotFound, "Not Found")
	case !r.read(&body) || !slices.Contains(reactions, body.Content):
		return fail(http.StatusUnprocessableEntity, "content is not one of the reactions")
	}
	status := http.StatusOK
	if !slices.Contains(c.Reactions, body.Content) {
		c.Reactions = append(c.Reactions, body.Content)
		status = http.StatusCreated
	}
	return status, map[string]any{"id": g.id(), "content": body.Content}
}
