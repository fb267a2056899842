package handlers

import (
	"net/http"
	"runtime/debug"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

// route is one entry of the table from which both the router and the OpenAPI
// document are made.
type route struct {
	method, path string // the path as OpenAPI writes it: /executions/{id}
	need         level
	handle       gin.HandlerFunc
	summary      string
	query        []param
	in           body // what it reads; the zero value: nothing
	status       int  // of success
	out          body
}

// body describes what is sent: a value of the Go type that becomes JSON, or
// bytes of a media type.
type body struct {
	value any
	media string
}

func asJSON(v any) body         { return body{value: v, media: "application/json"} }
func asBytes(media string) body { return body{media: media} }

type param struct{ name, kind, about string }

const apiRoot = "/api/v1"

var paging = []param{
	{"limit", "integer", "items in the answer, 1 to 200"},
	{"after", "string", "the next of the page before"},
}

var followable = param{"follow", "boolean", "1 streams changes as server-sent events"}

var fence = []param{
	{"class", "string", "the class of the job's queue"},
	{"fence", "integer", "the job's fencing token"},
}

// api is the table of /api/v1.
func (s *Server) api() []route {
	get, post, put := http.MethodGet, http.MethodPost, http.MethodPut
	routes := []route{
		{get, "/executions", reading, s.listExecutions, "List executions, newest first",
			append([]param{{"forge", "string", "name of the forge entry"}, {"repo", "string", "owner/name"}, {"sha", "string", "commit"}, {"pipeline", "string", "ID of a pipeline"}, {"status", "string", "such as Succeeded"}, followable}, paging...),
			body{}, 200, asJSON(pipeline.Page[executionItem]{})},
		{get, "/executions/{id}", reading, s.getExecution, "One execution with its stages and actions", []param{followable}, body{}, 200, asJSON(executionDetail{})},
		{post, "/executions/{id}/stop", writing, s.stopExecution, "Stop an execution", nil, asJSON(stopRequest{}), 202, asJSON(submitted{})},
		{post, "/executions/{id}/retry", writing, s.retryExecution, "Retry the failed stage of an execution", nil, asJSON(retryRequest{}), 202, asJSON(submitted{})},
		{post, "/executions/{id}/override", writing, s.overrideExecution, "Let an execution go on although a condition of its stage isn't met", nil, asJSON(overrideRequest{}), 202, asJSON(submitted{})},
		{post, "/executions/{id}/rerun", writing, s.rerunExecution, "Start a new execution of the same commit and definition", nil, body{}, 202, asJSON(submitted{})},
		{post, "/executions/{id}/approve", writing, s.approveExecution, "Approve what an execution waits for", nil, asJSON(answerRequest{}), 202, asJSON(submitted{})},
		{post, "/executions/{id}/reject", writing, s.rejectExecution, "Reject what an execution waits for", nil, asJSON(answerRequest{}), 202, asJSON(submitted{})},
		{get, "/pipelines", reading, s.listPipelines, "List pipelines with the state of their stages", append([]param{followable}, paging...), body{}, 200, asJSON(pipeline.Page[pipeline.View]{})},
		{get, "/pipelines/{id}", reading, s.getPipeline, "One pipeline: who is in which stage, who waits, and which transitions are disabled", []param{followable}, body{}, 200, asJSON(pipeline.View{})},
		{post, "/pipelines/{id}/start", writing, s.startPipeline, "Start an execution of a commit", nil, asJSON(pipeline.ManualRequest{}), 202, asJSON(submitted{})},
		{post, "/pipelines/{id}/stages/{stage}/transition", writing, s.changeTransition, "Disable or enable the way into a stage", nil, asJSON(transitionRequest{}), 202, asJSON(submitted{})},
		{post, "/pipelines/{id}/stages/{stage}/rollback", writing, s.rollbackStage, "Run a stage again with what an earlier execution brought to it", nil, asJSON(rollbackRequest{}), 202, asJSON(submitted{})},
		{get, "/builds/{id}", reading, s.getBuild, "One build with its phases", []param{followable}, body{}, 200, asJSON(buildDetail{})},
		{get, "/builds/{id}/log", reading, s.getLog, "A build's log as plain text; takes Range",
			[]param{{"line", "integer", "begin at this line, from 1"}, {"lines", "integer", "at most so many lines, with line"}, followable}, body{}, 200, asBytes("text/plain")},
		{get, "/builds/{id}/lines", reading, s.getLines, "Lines of a build's log, coloured and ready to show",
			[]param{{"from", "integer", "the first line, from 1"}, {"count", "integer", "1 to 2000"}, followable}, body{}, 200, asJSON(ui.Window{})},
		{get, "/builds/{id}/artifacts/{name}", reading, s.getBuildArtifact, "Download an artifact of a build", nil, body{}, 200, asBytes("application/octet-stream")},
		{get, "/builds/{id}/reports", reading, s.listReports, "The test and coverage reports of a build: counts and the first bad cases", nil, body{}, 200, asJSON(pipeline.Page[pipeline.Report]{})},
		{get, "/builds/{id}/reports/{name}", reading, s.getReport, "One report of a build with all that was kept of its cases", nil, body{}, 200, asBytes("application/json")},
		{get, "/reports", reading, s.listAllReportGroups, "The report groups of all repositories, each with its last report, the newest first", paging, body{}, 200, asJSON(pipeline.Page[pipeline.ReportGroup]{})},
		{get, "/repos/{forge}/{owner}/{name}/reports", reading, s.listReportGroups, "The report groups of a repository, each with its last report", nil, body{}, 200, asJSON(pipeline.Page[pipeline.ReportGroup]{})},
		{get, "/repos/{forge}/{owner}/{name}/reports/{group}", reading, s.getReportGroup, "A report group with its history, the newest first: counts, coverage, what is new and what is flaky", nil, body{}, 200, asJSON(reportGroup{})},
		{get, "/repos/{forge}/{owner}/{name}/reports/{group}/case", reading, s.getCaseHistory, "How one case went in the reports of its group, the newest first",
			[]param{{"name", "string", "the case's name"}, {"prefix", "string", "its prefix, as the report has it"}, {"suite", "string", "its suite, as the report has it"}, {"key", "string", "instead of these, its key in bad_keys"}}, body{}, 200, asJSON(pipeline.CaseHistory{})},
		{post, "/builds/{id}/debug", writing, s.debugBuild, "Retry a failed build and have it wait for a shell where it fails", nil, asJSON(debugRequest{}), 202, asJSON(debugOpened{})},
		{post, "/builds/{id}/debug/input", writing, s.debugInput, "Type into the shell of a build that waits", nil, asJSON(debugSaid{}), 204, body{}},
		{get, "/builds/{id}/debug/output", writing, s.debugOutput, "Wait for what the shell of a build prints", debugQuery, body{}, 200, asJSON(pipeline.DebugFrames{})},
		{get, "/deployments/{id}", reading, s.getDeployment, "One deployment with its instances and their lifecycle events", []param{followable}, body{}, 200, asJSON(deploymentDetail{})},
		{get, "/deliveries", reading, s.listDeliveries, "List webhook deliveries, newest first",
			append([]param{{"forge", "string", "name of the forge entry"}}, paging...), body{}, 200, asJSON(pipeline.Page[deliveryItem]{})},
		{get, "/deliveries/{id}", reading, s.getDelivery, "One delivery with its headers and body", []param{{"forge", "string", "name of the forge entry; any if empty"}}, body{}, 200, asJSON(pipeline.Delivery{})},
		{post, "/deliveries/{id}/replay", writing, s.replayDelivery, "Run a recorded delivery again", []param{{"forge", "string", "name of the forge entry; any if empty"}}, body{}, 202, asJSON(replayed{})},
		{get, "/dead-letters", reading, s.listDeadLetters, "List what failed too often", paging, body{}, 200, asJSON(pipeline.Page[DeadLetter]{})},
		{post, "/dead-letters/{id}/replay", writing, s.replayDeadLetter, "Give a dead letter another chance", nil, body{}, 204, body{}},
		{get, "/workers", reading, s.listWorkers, "List runners and agents", nil, body{}, 200, asJSON(pipeline.Page[Worker]{})},
		{get, "/retention", writing, s.tryRetention, "What the next pass of retention would remove from the blob store", nil, body{}, 200, asJSON(pipeline.Removal{})},
		{post, "/retention", writing, s.runRetention, "Remove what is too old from the blob store now", nil, body{}, 200, asJSON(pipeline.Removal{})},
		{post, "/sign-in", writing, s.newTicket, "Make a one-time sign-in address", nil, body{}, 201, asJSON(signInTicket{})},
		{get, "/openapi.json", open, s.getOpenAPI, "This document", nil, body{}, 200, asBytes("application/json")},
	}
	routes = append(routes, s.fleetAPI()...)
	routes = append(routes, s.tokenAPI()...)
	for _, kind := range []struct {
		root string
		job  pipeline.JobKind
	}{{"/runner", pipeline.BuildJob}, {"/agent", pipeline.DeployJob}} {
		w := workerAPI{s, kind.job}
		job := kind.root + "/jobs/{id}"
		routes = append(routes,
			route{post, kind.root + "/claim", working, w.claim, "Wait for a job; 204 if none came", []param{{"wait", "integer", "seconds, at most 60"}}, asJSON(pipeline.Worker{}), 200, asJSON(pipeline.Assignment{})},
			route{post, job + "/renew", working, w.renew, "Extend the lease of a job", fence, body{}, 200, asJSON(pipeline.Renewal{})},
			route{post, job + "/log", working, w.appendLog, "Append to the job's log at an offset", append([]param{{"offset", "integer", "where in the log the bytes begin"}}, fence...), asBytes("application/octet-stream"), 200, asJSON(logLength{})},
			route{put, job + "/build", working, w.report, "Report the phases so far", fence, asJSON(pipeline.Build{}), 204, body{}},
			route{put, job + "/artifacts", working, w.putArtifact, "Store an artifact", append([]param{{"name", "string", "of the artifact"}, {"format", "string", "zip, tar.gz or tar.zst"}, {"files", "integer", "in the artifact"}}, fence...), asBytes("application/octet-stream"), 201, asJSON(pipeline.Artifact{})},
			route{get, job + "/artifacts/{digest}", working, w.getArtifact, "Fetch an artifact that the job's assignment names", fence, body{}, 200, asBytes("application/octet-stream")},
			route{get, job + "/cache/entry", working, w.findCache, "Find an entry of the project's cache", append(slices.Clone(cacheQuery), fence...), body{}, 200, asJSON(pipeline.CacheEntry{})},
			route{get, job + "/cache", working, w.getCache, "Fetch an entry of the project's cache", append(slices.Clone(cacheQuery), fence...), body{}, 200, asBytes("application/octet-stream")},
			route{put, job + "/cache", working, w.putCache, "Save an entry of the project's cache", append(slices.Clone(cacheQuery), fence...), asBytes("application/octet-stream"), 201, asJSON(pipeline.CacheEntry{})},
			route{get, job + "/debug", working, w.debugInput, "Wait for what a person types who looks into the build", append(slices.Clone(debugQuery), fence...), body{}, 200, asJSON(pipeline.DebugFrames{})},
			route{post, job + "/debug", working, w.debugOutput, "Say what the shell of a build prints", fence, asJSON(debugSaid{}), 204, body{}},
			route{post, job + "/complete", working, w.complete, "End a job", fence, asJSON(completion{}), 204, body{}},
		)
	}
	return routes
}

func (s *Server) router() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.UseEscapedPath = true // a slash within an ID or a name stays within it
	e.UnescapePathValues = true

	hooks := newReceiver(s)
	e.POST("/webhooks/:forge", s.recover, s.timed, hooks.receive)

	e.GET("/healthz", s.healthz)
	e.GET("/readyz", s.readyz)

	web := e.Group("/", s.recover, secureHeaders, s.hostCheck)
	metricsNeed, badgeNeed := reading, reading
	if s.Access.OpenMetrics {
		metricsNeed = open
	}
	if s.Access.OpenBadges {
		badgeNeed = open
	}
	web.GET("/metrics", s.need(metricsNeed), s.serveMetrics)
	web.GET("/badges/:forge/:owner/:name", s.need(badgeNeed), s.badge)
	if s.Git != nil {
		e.Match([]string{http.MethodGet, http.MethodPost}, "/git/*path", s.recover, s.hostCheck, s.gitAccess)
	}
	for _, r := range s.api() {
		web.Handle(r.method, apiRoot+ginPath(r.path), s.need(r.need), r.handle)
	}
	s.pageRoutes(web)
	e.NoRoute(s.recover, secureHeaders, func(c *gin.Context) {
		s.deny(c, refuse(http.StatusNotFound, "not-found", "there is nothing at this path"))
	})
	e.NoMethod(s.recover, secureHeaders, func(c *gin.Context) {
		s.deny(c, refuse(http.StatusMethodNotAllowed, "method", "this path does not take %s", c.Request.Method))
	})
	return e
}

func (s *Server) pageRoutes(web *gin.RouterGroup) {
	web.GET("/assets/*file", gin.WrapH(http.StripPrefix("/assets/", s.pages.Assets())))
	web.GET("/sign-in", s.signIn)
	web.POST("/sign-in", s.sameOrigin, s.signInForm)
	web.POST("/sign-out", s.need(open), s.signOut)
	web.GET("/login", s.startLogin)
	web.GET("/login/callback", s.endLogin)
	web.GET("/setup/github/callback", s.endSetup)
	read, write := s.need(reading), s.need(writing)
	web.GET("/", read, s.executionsPage)
	web.GET("/repos/:forge/:owner/:name", read, s.repoPage)
	web.GET("/repos/:forge/:owner/:name/reports", read, s.reportGroupsPage)
	web.GET("/repos/:forge/:owner/:name/reports/:group", read, s.reportGroupPage)
	web.GET("/executions/:id", read, s.executionPage)
	web.POST("/executions/:id/stop", write, s.stopForm)
	web.POST("/executions/:id/approve", write, s.approveForm)
	web.POST("/executions/:id/reject", write, s.rejectForm)
	web.POST("/executions/:id/retry", write, s.retryForm)
	web.POST("/executions/:id/override", write, s.overrideForm)
	web.POST("/executions/:id/rerun", write, s.rerunForm)
	web.GET("/pipelines", read, s.pipelinesPage)
	web.GET("/pipelines/:id", read, s.pipelinePage)
	web.POST("/pipelines/:id/start", write, s.startForm)
	web.POST("/pipelines/:id/stages/:stage/transition", write, s.transitionForm)
	web.POST("/pipelines/:id/stages/:stage/rollback", write, s.rollbackForm)
	web.GET("/builds/:id", read, s.buildPage)
	web.GET("/builds/:id/reports/:name", read, s.reportPage)
	web.GET("/reports", read, s.allReportGroupsPage)
	web.GET("/deployments", read, s.deploymentsPage)
	web.GET("/deployments/:id", read, s.deploymentPage)
	web.POST("/deployments/:id/stop", write, s.stopDeploymentForm)
	web.POST("/deployments/:id/rollback", write, s.rollBackDeploymentForm)
	web.GET("/agents", read, s.agentsPage)
	web.GET("/deliveries", read, s.deliveriesPage)
	web.GET("/deliveries/:id", read, s.deliveryPage)
	web.POST("/deliveries/:id/replay", write, s.replayForm)
	web.GET("/dead-letters", read, s.deadLettersPage)
	web.POST("/dead-letters/:id/replay", write, s.replayDeadLetterForm)
	web.GET("/audit", read, s.auditPage)
	web.GET("/setup/github", read, s.setupPage)
}

// ginPath is an OpenAPI path as gin writes it.
func ginPath(path string) string {
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		switch path[i] {
		case '{':
			out = append(out, ':')
		case '}':
		default:
			out = append(out, path[i])
		}
	}
	return string(out)
}

const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// secureHeaders go on everything but webhooks and git. The referrer is kept
// within this server: with none at all, browsers send forms without an Origin.
func secureHeaders(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Next()
}

func (s *Server) sameOrigin(c *gin.Context) {
	if err := s.guard.cross.Check(c.Request); err != nil {
		s.deny(c, refuse(http.StatusForbidden, "origin", "the request comes from another site"))
	}
}

// recover turns a panic into an answer: one bad request never ends the server.
func (s *Server) recover(c *gin.Context) {
	defer s.recovered(c)
	c.Next()
}

func (s *Server) recovered(c *gin.Context) {
	reason := recover()
	if reason == nil {
		return
	}
	if reason == http.ErrAbortHandler {
		panic(reason)
	}
	s.Log.ErrorContext(c.Request.Context(), "handler panicked", "route", c.FullPath(), "error", reason, "stack", string(debug.Stack()))
	if c.Writer.Written() {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	s.fail(c, refuse(http.StatusInternalServerError, "fault", "a fault of the server; its log says more"))
}
