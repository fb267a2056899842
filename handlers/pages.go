package handlers

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// pageLines is the window of a log that comes with a page.
	pageLines = 500
	// linesBefore are shown above the line that a reader asked for.
	linesBefore = 100
	// buildsShown bounds the builds that one page loads.
	buildsShown = 60
)

func (s *Server) frame(c *gin.Context, title string) ui.Frame {
	p := who(c)
	if p == nil { // pages that need nobody, such as the one that signs in
		p, _ = s.guard.identify(c.Request)
	}
	f := ui.Frame{Title: title, Now: s.Now().UTC(), Path: c.Request.URL.RequestURI()}
	if c.FullPath() == "/sign-in" || strings.HasSuffix(c.FullPath(), "/callback") {
		f.Path, f.Apart = "/", true // theirs have a ticket or a code, and lead nowhere
	}
	f.Server = p.onServer().AtLeast(forge.Read) && (p != nil || s.guard.OpenReading)
	if p != nil && p.session != "" {
		f.SignedIn, f.User, f.Admin = true, p.name, p.admin
	}
	return f
}

// page answers with what render makes.
func (s *Server) page(c *gin.Context, status int, render func() ([]byte, error)) {
	body, err := render()
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.Data(status, "text/html; charset=utf-8", body)
	c.Abort()
}

// failPage shows a problem to a person.
func (s *Server) failPage(c *gin.Context, err error) {
	p := problemOf(err)
	p.sayWhen(c)
	if p.Status >= http.StatusInternalServerError {
		s.Log.ErrorContext(c.Request.Context(), "page failed", "route", c.FullPath(), "error", err)
	}
	s.page(c, p.Status, func() ([]byte, error) {
		return s.pages.Failure(ui.Failure{Frame: s.frame(c, p.Title), Status: p.Status, Detail: p.Detail})
	})
}

// deny answers who may not: a program gets a problem, a person a page.
func (s *Server) deny(c *gin.Context, err error) {
	page := !strings.HasPrefix(c.Request.URL.Path, apiRoot) && strings.Contains(c.GetHeader("Accept"), "text/html")
	switch {
	case !page:
		s.fail(c, err)
	case errors.Is(err, errUnauthorized) && c.Request.Method == http.MethodGet:
		// A strict cookie does not come along with a link from another site; it
		// does once the browser opens the page from here.
		again := c.GetHeader("Sec-Fetch-Site") == "cross-site"
		s.page(c, http.StatusUnauthorized, func() ([]byte, error) {
			return s.pages.SignIn(ui.SignIn{Frame: s.frame(c, "Sign in"), Next: localPath(c.Request.URL.RequestURI()), Again: again, Login: s.loginPath(localPath(c.Request.URL.RequestURI()))})
		})
	default:
		s.failPage(c, err)
	}
}

func (s *Server) executionsPage(c *gin.Context) {
	q := pipeline.Query{
		Forge: c.Query("forge"), Repo: strings.TrimSpace(c.Query("repo")), SHA: strings.TrimSpace(c.Query("sha")),
		PipelineID: c.Query("pipeline"), Status: pipeline.Status(c.Query("status")), Limit: 50, After: c.Query("after"),
	}
	v := ui.Executions{Frame: s.frame(c, "Executions"), Query: q}
	s.showExecutions(c, v)
}

func (s *Server) repoPage(c *gin.Context) {
	repo := c.Param("owner") + "/" + c.Param("name")
	v := ui.Executions{
		Frame: s.frame(c, repo), Repo: repo,
		Badge: "/badges/" + url.PathEscape(c.Param("forge")) + "/" + url.PathEscape(c.Param("owner")) + "/" + url.PathEscape(c.Param("name")) + ".svg",
		Query: pipeline.Query{Forge: c.Param("forge"), Repo: repo, Limit: 50, After: c.Query("after")},
	}
	s.showExecutions(c, v)
}

func (s *Server) showExecutions(c *gin.Context, v ui.Executions) {
	page, err := s.seenExecutions(c.Request.Context(), who(c), v.Query)
	if err != nil {
		s.failPage(c, err)
		return
	}
	v.Items = page.Items
	v.Newer, v.Older = neighbours(c, page.Next)
	if v.Query.After == "" {
		live := url.Values{"follow": {"1"}, "limit": {"50"}}
		for name, value := range map[string]string{"forge": v.Query.Forge, "repo": v.Query.Repo, "sha": v.Query.SHA, "pipeline": v.Query.PipelineID, "status": string(v.Query.Status)} {
			if value != "" {
				live.Set(name, value)
			}
		}
		v.Live = apiRoot + "/executions?" + live.Encode()
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Executions(v) })
}

// neighbours are the addresses of the first and the next page of a list.
func neighbours(c *gin.Context, next string) (newer, older string) {
	q := c.Request.URL.Query()
	if q.Get("after") != "" {
		q.Del("after")
		newer = c.Request.URL.Path + "?" + q.Encode()
	}
	if next != "" {
		q.Set("after", next)
		older = c.Request.URL.Path + "?" + q.Encode()
	}
	return newer, older
}

func (s *Server) executionPage(c *gin.Context) {
	x, err := s.Executions.Execution(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.failPage(c, err)
		return
	}
	v := ui.Execution{Frame: s.frame(c, x.Repo.FullName()+" #"+x.Trigger.Name()), Execution: x, Builds: map[string]pipeline.Build{}}
	for _, st := range x.Stages {
		for _, a := range st.Tasks() {
			s.addAction(c.Request.Context(), &v, st, a)
		}
	}
	if v.Asks, err = s.asks(c, x, "/executions/"+url.PathEscape(x.ID)); err == nil {
		err = s.unmet(c, &v)
	}
	if err != nil {
		s.failPage(c, err)
		return
	}
	v.CanAct = v.SignedIn && s.mayWrite(c, x.Repo)
	v.CanStop = !x.Status.Ended()
	v.Waits = s.waits(c.Request.Context(), x)
	v.CanRetry = x.Status == pipeline.Failed || x.Status == pipeline.Stopped
	if v.CanStop {
		v.Live = apiRoot + "/executions/" + url.PathEscape(x.ID) + "?follow=1"
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Execution(v) })
}

// unmet puts the conditions that keep the execution in the place of their rules'
// failures, with what the reader may do about them. What a person has let pass
// is no problem any more.
func (s *Server) unmet(c *gin.Context, v *ui.Execution) error {
	for i := range v.Execution.Stages {
		st := &v.Execution.Stages[i]
		conditions, err := s.overridable(c, v.Execution, v.Conditions(*st), "/executions/"+url.PathEscape(v.ID))
		if err != nil {
			return err
		}
		for _, cond := range conditions {
			v.Problems = slices.DeleteFunc(v.Problems, func(p ui.Problem) bool {
				return p.Stage == st.Name && slices.ContainsFunc(cond.Rules, func(r pipeline.ActionExecution) bool { return r.Name == p.Action })
			})
			fails := cond.Status == pipeline.ConditionFailed || cond.Status == pipeline.ConditionErrored
			if cond.Hook != pipeline.OnFailureHook && (fails || cond.Execution != "") {
				v.Problems = append(v.Problems, ui.Problem{Stage: st.Name, Condition: &cond})
			}
		}
	}
	return nil
}

// overridable says of the conditions of one of x's stages which one a person may
// let x past, and whether the reader may.
func (s *Server) overridable(c *gin.Context, x pipeline.Execution, conditions []ui.Condition, back string) ([]ui.Condition, error) {
	p := who(c)
	stage, hook, ok := x.Overridable()
	if !ok || p == nil || p.session == "" || !s.mayWrite(c, x.Repo) {
		return conditions, nil
	}
	for i := range conditions {
		cond := &conditions[i]
		if cond.Stage != stage || cond.Hook != hook {
			continue
		}
		var err error
		if cond.Denied, err = s.denied(c, x, stage, nil); err != nil {
			return nil, err
		}
		cond.Execution, cond.Back = x.ID, back
	}
	return conditions, nil
}

// addAction loads the build of an action, and puts what failed first. The
// page is worth showing without a build that can't be read.
func (s *Server) addAction(ctx context.Context, v *ui.Execution, st pipeline.StageExecution, a pipeline.ActionExecution) {
	var found *pipeline.Build
	if a.Job != "" && len(v.Builds) < buildsShown {
		b, err := s.Builds.Build(ctx, a.Job)
		switch {
		case err == nil:
			v.Builds[a.Job] = b
			found = &b
		case !errors.Is(err, pipeline.ErrNotFound):
			s.Log.WarnContext(ctx, "build left out of a page", "execution", v.ID, "job", a.Job, "error", err)
		}
	}
	if a.Status == pipeline.Failed && tellsMore(v.Execution, st.Name, a) {
		p := ui.Problem{Stage: st.Name, Action: a.Name, Build: found}
		if a.TaskOf == st.Name {
			p.Stage = a.Name // says it all
		}
		if a.Error != nil {
			p.Code, p.Message = a.Error.Code, a.Error.Message
		}
		v.Problems = append(v.Problems, p)
	}
}

func (s *Server) buildPage(c *gin.Context) {
	b, err := s.Builds.Build(c.Request.Context(), c.Param("id"))
	if err != nil {
		s.failPage(c, err)
		return
	}
	v, err := s.viewLog(c, b)
	if err != nil {
		s.failPage(c, err)
		return
	}
	title := b.Project
	if b.Deployment != "" {
		title = b.Deployment
	}
	if v.Source, err = s.sourceOf(c.Request.Context(), b); err != nil {
		s.failPage(c, err)
		return
	}
	v.Frame = s.frame(c, title)
	if s.Debugging != nil && b.Failure != nil && b.Failure.Command != "" {
		_, err := s.debuggable(c.Request.Context(), b)
		v.Debuggable = err == nil // else it is not worth a hint
	}
	if !b.Status.Ended() {
		v.Live = apiRoot + "/builds/" + url.PathEscape(b.ID) + "?follow=1"
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Build(v) })
}

// viewLog is a build with the window of its log that the request asks for.
func (s *Server) viewLog(c *gin.Context, b pipeline.Build) (ui.Build, error) {
	from, err := s.firstLine(c, b)
	if err != nil {
		return ui.Build{}, err
	}
	w, err := s.window(c.Request.Context(), b.ID, from, pageLines)
	return ui.Build{Build: b, Log: w, Page: pagesOf(w)}, err
}

// firstLine is where the window of a build's page begins: a little above the
// line that is asked for, or above the first error; at the end of a log that
// still grows.
func (s *Server) firstLine(c *gin.Context, b pipeline.Build) (int64, error) {
	line, err := number(c, "line", 0, 1, math.MaxInt64)
	if err != nil {
		return 0, err
	}
	switch {
	case line > 0:
	case b.Failure != nil && b.Failure.LogLine > 0:
		line = b.Failure.LogLine
	case b.Status.Ended():
		return 1, nil
	}
	_, lines, _, err := s.statLog(c.Request.Context(), b.ID)
	if err != nil {
		return 0, err
	}
	if line == 0 || line > lines {
		return max(1, lines-pageLines+1), nil
	}
	return max(1, line-linesBefore), nil
}

func pagesOf(w ui.Window) ui.Paging {
	p := ui.Paging{First: 1, Last: max(1, w.Total)}
	if w.From > 1 {
		p.Previous = max(1, w.From-pageLines+linesBefore)
	}
	if end := w.From + int64(len(w.Lines)); end <= w.Total {
		p.Next = end + linesBefore
	}
	return p
}

func (s *Server) deliveriesPage(c *gin.Context) {
	v := ui.Deliveries{Frame: s.frame(c, "Deliveries"), Forge: c.Query("forge"), Forges: s.forges()}
	page, err := s.seenDeliveries(c.Request.Context(), who(c), v.Forge, 50, c.Query("after"))
	if err != nil {
		s.failPage(c, err)
		return
	}
	v.Items = page.Items
	// Of many repositories some may not be the reader's to change; the form says
	// so then.
	v.CanReplay = v.SignedIn && (v.Admin || who(c).role == "" || who(c).role.AtLeast(forge.Write))
	v.Newer, v.Older = neighbours(c, page.Next)
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Deliveries(v) })
}

// The forms of pages do what the API does and lead back to the page.

func (s *Server) stopForm(c *gin.Context) {
	_, err := s.stop(c, stopRequest{Reason: "stopped on the dashboard"})
	s.backTo(c, "/executions/"+url.PathEscape(c.Param("id")), err)
}

func (s *Server) retryForm(c *gin.Context) {
	_, err := s.retry(c, retryRequest{})
	s.backTo(c, "/executions/"+url.PathEscape(c.Param("id")), err)
}

func (s *Server) overrideForm(c *gin.Context) {
	_, err := s.override(c, overrideRequest{Stage: c.PostForm("stage"), Condition: pipeline.Hook(c.PostForm("condition")), Message: c.PostForm("message")})
	s.backTo(c, formOrigin(c), err)
}

func (s *Server) approveForm(c *gin.Context) { s.answerForm(c, true) }
func (s *Server) rejectForm(c *gin.Context)  { s.answerForm(c, false) }

func (s *Server) answerForm(c *gin.Context, approve bool) {
	_, err := s.answerApproval(c, answerRequest{
		Stage: c.PostForm("stage"), Action: c.PostForm("action"), Token: c.PostForm("token"), Message: c.PostForm("message"), Fields: formFields(c),
	}, approve)
	s.backTo(c, formOrigin(c), err)
}

// fieldPrefix begins the names of a form's inputs for the fields of an approval.
const fieldPrefix = "field."

func formFields(c *gin.Context) map[string]string {
	_ = c.PostForm("") // parses the form
	var fields map[string]string
	for key, values := range c.Request.PostForm {
		if name, ok := strings.CutPrefix(key, fieldPrefix); ok {
			if fields == nil {
				fields = map[string]string{}
			}
			fields[name] = values[len(values)-1] // a box that is ticked comes after its false
		}
	}
	return fields
}

// formOrigin is the page that a form about an execution stands on: its own, or
// a pipeline's.
func formOrigin(c *gin.Context) string {
	if page := c.PostForm("back"); strings.HasPrefix(page, "/pipelines/") {
		return localPath(page)
	}
	return "/executions/" + url.PathEscape(c.Param("id"))
}

func (s *Server) rerunForm(c *gin.Context) {
	_, err := s.rerun(c)
	s.backTo(c, "/", err)
}

func (s *Server) replayForm(c *gin.Context) {
	_, err := s.replay(c, c.Query("forge"))
	s.backTo(c, "/deliveries", err)
}

func (s *Server) backTo(c *gin.Context, path string, err error) {
	if err != nil {
		s.failPage(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, path)
}

// tellsMore reports whether the failure of an action is worth a place at the
// top: a batch's is that of one of its builds, and some builds may fail.
func tellsMore(x pipeline.Execution, stage string, a pipeline.ActionExecution) bool {
	for _, t := range x.TasksOf(stage, a.TaskOf) {
		if a.TaskOf != "" && t.State.Name == a.Name {
			return !t.Task.IgnoreFailure
		}
	}
	if a.Batch == nil {
		return true
	}
	return !slices.ContainsFunc(x.TasksOf(stage, a.Name), func(t pipeline.TaskExecution) bool {
		return t.State.Status == pipeline.Failed && !t.Task.IgnoreFailure
	})
}
