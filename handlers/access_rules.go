package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// subject is what a route is about: whose permissions decide.
type subject string

const (
	nobody      subject = "no one"              // needs no proof, or has one of its own
	workerOwn   subject = "the worker"          // a runner's or agent's own jobs
	visible     subject = "what the reader may" // a list that leaves out the rest
	server      subject = "the server"          // all of it
	ofExecution subject = "the execution's repository"
	ofPipeline  subject = "the pipeline's repository"
	ofBuild     subject = "the build's repository"
	ofDeploy    subject = "the deployment's repository"
	ofDelivery  subject = "the delivery's repository"
	ofRepo      subject = "the repository"
)

// right is what a route needs: a permission for what it is about.
type right struct {
	about subject
	least forge.Permission
}

// rights is the one table of who may do what. A route that is not in it is for
// administrators; TestEveryRouteHasARight fails for it.
var rights = map[string]right{
	"GET /api/v1/openapi.json":                                  {nobody, ""},
	"GET /healthz":                                              {nobody, ""},
	"GET /readyz":                                               {nobody, ""},
	"POST /webhooks/:forge":                                     {nobody, ""},
	"GET /assets/*file":                                         {nobody, ""},
	"GET /sign-in":                                              {nobody, ""},
	"POST /sign-in":                                             {nobody, ""},
	"POST /sign-out":                                            {nobody, ""},
	"POST /api/v1/agent/register":                               {nobody, ""},
	"GET /login":                                                {nobody, ""},
	"GET /login/callback":                                       {nobody, ""},
	"GET /setup/github":                                         {server, forge.Admin},
	"GET /setup/github/callback":                                {nobody, ""},
	"GET /audit":                                                {server, forge.Admin},
	"GET /git/*path":                                            {nobody, ""},
	"POST /git/*path":                                           {nobody, ""},
	"GET /api/v1/executions":                                    {visible, forge.Read},
	"GET /api/v1/executions/:id":                                {ofExecution, forge.Read},
	"POST /api/v1/executions/:id/stop":                          {ofExecution, forge.Write},
	"POST /api/v1/executions/:id/retry":                         {ofExecution, forge.Write},
	"POST /api/v1/executions/:id/override":                      {ofExecution, forge.Write},
	"POST /api/v1/executions/:id/rerun":                         {ofExecution, forge.Write},
	"POST /api/v1/executions/:id/approve":                       {ofExecution, forge.Write},
	"POST /api/v1/executions/:id/reject":                        {ofExecution, forge.Write},
	"GET /api/v1/pipelines":                                     {visible, forge.Read},
	"GET /api/v1/pipelines/:id":                                 {ofPipeline, forge.Read},
	"POST /api/v1/pipelines/:id/start":                          {ofPipeline, forge.Write},
	"POST /api/v1/pipelines/:id/stages/:stage/transition":       {ofPipeline, forge.Write},
	"POST /api/v1/pipelines/:id/stages/:stage/rollback":         {ofPipeline, forge.Write},
	"GET /api/v1/builds/:id":                                    {ofBuild, forge.Read},
	"GET /api/v1/builds/:id/log":                                {ofBuild, forge.Read},
	"GET /api/v1/builds/:id/lines":                              {ofBuild, forge.Read},
	"GET /api/v1/builds/:id/artifacts/:name":                    {ofBuild, forge.Read},
	"GET /api/v1/builds/:id/reports":                            {ofBuild, forge.Read},
	"GET /api/v1/builds/:id/reports/:name":                      {ofBuild, forge.Read},
	"POST /api/v1/builds/:id/debug":                             {ofBuild, forge.Write},
	"POST /api/v1/builds/:id/debug/input":                       {ofBuild, forge.Write},
	"GET /api/v1/builds/:id/debug/output":                       {ofBuild, forge.Write},
	"GET /api/v1/deployments":                                   {visible, forge.Read},
	"GET /api/v1/deployments/:id":                               {ofDeploy, forge.Read},
	"POST /api/v1/deployments/:id/stop":                         {ofDeploy, forge.Write},
	"POST /api/v1/deployments/:id/rollback":                     {ofDeploy, forge.Write},
	"GET /api/v1/deliveries":                                    {visible, forge.Read},
	"GET /api/v1/deliveries/:id":                                {ofDelivery, forge.Read},
	"POST /api/v1/deliveries/:id/replay":                        {ofDelivery, forge.Write},
	"GET /api/v1/dead-letters":                                  {server, forge.Read},
	"POST /api/v1/dead-letters/:id/replay":                      {server, forge.Admin},
	"GET /api/v1/workers":                                       {server, forge.Read},
	"GET /api/v1/agents":                                        {server, forge.Read},
	"POST /api/v1/agents/tokens":                                {server, forge.Admin},
	"DELETE /api/v1/agents/:name":                               {server, forge.Admin},
	"POST /api/v1/sign-in":                                      {server, forge.Admin},
	"GET /api/v1/retention":                                     {server, forge.Admin},
	"POST /api/v1/retention":                                    {server, forge.Admin},
	"GET /api/v1/tokens":                                        {server, forge.Admin},
	"POST /api/v1/tokens":                                       {server, forge.Admin},
	"DELETE /api/v1/tokens/:id":                                 {server, forge.Admin},
	"GET /api/v1/audit":                                         {server, forge.Admin},
	"GET /metrics":                                              {server, forge.Read},
	"GET /badges/:forge/:owner/:name":                           {ofRepo, forge.Read},
	"GET /":                                                     {visible, forge.Read},
	"GET /repos/:forge/:owner/:name":                            {ofRepo, forge.Read},
	"GET /api/v1/repos/:forge/:owner/:name/reports":             {ofRepo, forge.Read},
	"GET /api/v1/repos/:forge/:owner/:name/reports/:group":      {ofRepo, forge.Read},
	"GET /reports":                                              {visible, forge.Read},
	"GET /api/v1/reports":                                       {visible, forge.Read},
	"GET /api/v1/repos/:forge/:owner/:name/reports/:group/case": {ofRepo, forge.Read},
	"GET /repos/:forge/:owner/:name/reports":                    {ofRepo, forge.Read},
	"GET /repos/:forge/:owner/:name/reports/:group":             {ofRepo, forge.Read},
	"GET /executions/:id":                                       {ofExecution, forge.Read},
	"POST /executions/:id/stop":                                 {ofExecution, forge.Write},
	"POST /executions/:id/approve":                              {ofExecution, forge.Write},
	"POST /executions/:id/reject":                               {ofExecution, forge.Write},
	"POST /executions/:id/retry":                                {ofExecution, forge.Write},
	"POST /executions/:id/override":                             {ofExecution, forge.Write},
	"POST /executions/:id/rerun":                                {ofExecution, forge.Write},
	"GET /pipelines":                                            {visible, forge.Read},
	"GET /pipelines/:id":                                        {ofPipeline, forge.Read},
	"POST /pipelines/:id/start":                                 {ofPipeline, forge.Write},
	"POST /pipelines/:id/stages/:stage/transition":              {ofPipeline, forge.Write},
	"POST /pipelines/:id/stages/:stage/rollback":                {ofPipeline, forge.Write},
	"GET /builds/:id":                                           {ofBuild, forge.Read},
	"GET /builds/:id/reports/:name":                             {ofBuild, forge.Read},
	"GET /deployments/:id":                                      {ofDeploy, forge.Read},
	"GET /deployments":                                          {visible, forge.Read},
	"POST /deployments/:id/stop":                                {ofDeploy, forge.Write},
	"POST /deployments/:id/rollback":                            {ofDeploy, forge.Write},
	"GET /agents":                                               {server, forge.Read},
	"GET /deliveries":                                           {visible, forge.Read},
	"GET /deliveries/:id":                                       {ofDelivery, forge.Read},
	"POST /deliveries/:id/replay":                               {ofDelivery, forge.Write},
	"GET /dead-letters":                                         {server, forge.Read},
	"POST /dead-letters/:id/replay":                             {server, forge.Admin},
}

// ruleOf is the right that a route needs. The worker API has one for all.
func ruleOf(method, path string) right {
	if r, ok := rights[method+" "+path]; ok {
		return r
	}
	if strings.HasPrefix(path, apiRoot+"/runner/") || strings.HasPrefix(path, apiRoot+"/agent/") {
		return right{workerOwn, ""}
	}
	return right{server, forge.Admin}
}

// Right is one row of the table, as documents print it.
type Right struct {
	Route string // method and path
	Least forge.Permission
	About string
}

// Rights is the table of who may do what, by path.
func Rights() []Right {
	var out []Right
	for _, route := range slices.SortedFunc(maps.Keys(rights), func(a, b string) int {
		methodA, pathA, _ := strings.Cut(a, " ")
		methodB, pathB, _ := strings.Cut(b, " ")
		return cmp.Or(cmp.Compare(pathA, pathB), cmp.Compare(methodA, methodB))
	}) {
		r := rights[route]
		out = append(out, Right{route, r.least, string(r.about)})
	}
	return out
}

// allow decides whether p may use the request's route. Nobody learns that a
// thing exists that they may not read.
func (s *Server) allow(c *gin.Context, p *principal) error {
	r := ruleOf(c.Request.Method, c.FullPath())
	everything := p.onServer().AtLeast(r.least)
	switch r.about {
	case nobody, workerOwn, visible: // the handler leaves out what isn't visible
		return nil
	case server:
		if everything {
			return nil
		}
		return lacking(p)
	}
	if everything && c.Request.Method == http.MethodGet {
		return nil
	}
	repo, err := s.subjectRepo(c, r.about)
	if err == nil {
		c.Set(repoKey, repo) // for the audit log
	}
	if everything {
		return nil // what isn't there the handler says
	}
	if err != nil {
		return err
	}
	have, err := s.guard.roles.of(c.Request.Context(), p, repo)
	switch {
	case err != nil:
		return err
	case have.AtLeast(r.least):
		return nil
	case have.AtLeast(forge.Read):
		return lacking(p)
	}
	return pipeline.ErrNotFound
}

// lacking is the answer to somebody who may see a thing but not do this.
func lacking(p *principal) error {
	if p == nil {
		return errUnauthorized
	}
	return errForbidden
}

const repoKey = "slipway.repo"

// subjectRepo is the repository of the thing that the request's path names. It
// is the zero Repo for a thing that belongs to none.
func (s *Server) subjectRepo(c *gin.Context, about subject) (forge.Repo, error) {
	ctx, id := c.Request.Context(), c.Param("id")
	switch about {
	case ofExecution:
		return s.executionRepo(ctx, id)
	case ofPipeline:
		b, _, err := s.Boards.Board(ctx, id)
		if err != nil {
			return forge.Repo{}, err
		}
		return b.Repo, nil
	case ofBuild:
		return s.buildRepo(ctx, id)
	case ofDeploy:
		return s.deploymentRepo(ctx, id)
	case ofDelivery:
		d, err := s.findDelivery(ctx, c.Query("forge"), id)
		return deliveryRepo(d), err
	case ofRepo:
		return forge.Repo{Forge: c.Param("forge"), Owner: c.Param("owner"), Name: strings.TrimSuffix(c.Param("name"), ".svg")}, nil
	}
	return forge.Repo{}, fmt.Errorf("no repository is known for %q", about)
}

// executionRepo is the repository of an execution, which never changes.
func (s *Server) executionRepo(ctx context.Context, id string) (forge.Repo, error) {
	if repo, ok := s.guard.roles.known(id); ok {
		return repo, nil
	}
	x, err := s.Executions.Execution(ctx, id)
	if err != nil {
		return forge.Repo{}, err
	}
	s.guard.roles.remember(id, x.Repo)
	return x.Repo, nil
}

func (s *Server) buildRepo(ctx context.Context, id string) (forge.Repo, error) {
	b, err := s.Builds.Build(ctx, id)
	switch {
	case errors.Is(err, pipeline.ErrNotFound):
		return s.fleetRepo(ctx, id)
	case err != nil:
		return forge.Repo{}, err
	case b.Execution != "":
		return s.executionRepo(ctx, b.Execution)
	}
	return s.fleetRepo(ctx, cmp.Or(b.Deployment, id))
}

func (s *Server) deploymentRepo(ctx context.Context, id string) (forge.Repo, error) {
	repo, err := s.fleetRepo(ctx, id)
	if errors.Is(err, pipeline.ErrNotFound) {
		return s.buildRepo(ctx, id)
	}
	return repo, err
}

// fleetRepo is the repository of a deployment that the fleet knows.
func (s *Server) fleetRepo(ctx context.Context, id string) (forge.Repo, error) {
	if s.Fleet == nil {
		return forge.Repo{}, pipeline.ErrNotFound
	}
	d, _, err := s.Fleet.Deployment(ctx, id)
	if err != nil {
		return forge.Repo{}, err
	}
	return s.repoOfDeployment(ctx, d)
}

func (s *Server) repoOfDeployment(ctx context.Context, d pipeline.Deployment) (forge.Repo, error) {
	if d.Execution != "" {
		return s.executionRepo(ctx, d.Execution)
	}
	repo, err := access.ParseRepo(d.Revision.Repo)
	if err != nil {
		return forge.Repo{}, nil // of no repository: the server's own
	}
	return repo, nil
}

func deliveryRepo(d pipeline.Delivery) forge.Repo {
	owner, name, _ := strings.Cut(d.Repo, "/")
	return forge.Repo{Forge: d.Forge, Owner: owner, Name: name}
}
