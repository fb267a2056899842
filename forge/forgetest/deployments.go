package forgetest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Deployment is a deployment as GitHub keeps it.
type Deployment struct {
	ID          int64
	Repo        string // owner/name
	SHA         string
	Task        string
	Environment string
	Description string
	Production  bool
	Payload     json.RawMessage
	Statuses    []DeploymentStatus
}

// DeploymentStatus is one of a deployment's.
type DeploymentStatus struct {
	State, Description, LogURL, EnvironmentURL string
}

// Deployments are those of a repository, in order of creation.
func (g *GitHub) Deployments(fullName string) []Deployment {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Deployment
	for _, id := range slices.Sorted(maps.Keys(g.deployments)) {
		if d := g.deployments[id]; strings.EqualFold(d.Repo, fullName) {
			list = append(list, clone(*d))
		}
	}
	return list
}

// createDeployment refuses what only goes well by luck: without auto_merge
// GitHub merges, and without required_contexts it wants all checks green.
func (g *GitHub) createDeployment(r *repository) (int, any) {
	var b struct {
		Ref              string          `json:"ref"`
		Task             string          `json:"task"`
		AutoMerge        *bool           `json:"auto_merge"`
		RequiredContexts []string        `json:"required_contexts"`
		Environment      string          `json:"environment"`
		Description      string          `json:"description"`
		Payload          json.RawMessage `json:"payload"`
		Production       bool            `json:"production_environment"`
	}
	switch {
	case !r.read(&b):
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	case !shaShape.MatchString(b.Ref):
		return fail(http.StatusUnprocessableEntity, "No ref found for: "+b.Ref)
	case b.AutoMerge == nil || *b.AutoMerge:
		return http.StatusAccepted, map[string]any{"message": "Auto-merged the default branch into " + b.Ref}
	case b.RequiredContexts == nil:
		return fail(http.StatusConflict, "Conflict: Commit status checks failed for "+b.Ref)
	case units(b.Description) > 140:
		return fail(http.StatusUnprocessableEntity, "description is too long (maximum is 140 characters)")
	}
	d := &Deployment{
		ID: g.id(), Repo: r.FullName(), SHA: b.Ref, Task: b.Task, Environment: b.Environment, Description: b.Description,
		Production: b.Production, Payload: b.Payload,
	}
	g.deployments[d.ID] = d
	return http.StatusCreated, deploymentOf(*d)
}

func deploymentOf(d Deployment) map[string]any {
	return map[string]any{"id": d.ID, "sha": d.SHA, "ref": d.SHA, "task": d.Task, "environment": d.Environment, "payload": d.Payload}
}

func (g *GitHub) listDeployments(r *repository) (int, any) {
	q := r.r.URL.Query()
	list := []any{}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(g.deployments))) {
		d := g.deployments[id]
		if d.Repo == r.FullName() && q.Get("sha") == d.SHA && q.Get("environment") == d.Environment && q.Get("task") == d.Task {
			list = append(list, deploymentOf(*d))
		}
	}
	return http.StatusOK, list
}

// setDeployment adds a status. A success makes earlier successes inactive, as
// auto_inactive says, unless the environment is for production.
func (g *GitHub) setDeployment(r *repository) (int, any) {
	d := g.deployments[r.number("id")]
	var b struct {
		State          string `json:"state"`
		Description    string `json:"description"`
		LogURL         string `json:"log_url"`
		EnvironmentURL string `json:"environment_url"`
		AutoInactive   *bool  `json:"auto_inactive"`
	}
	switch {
	case d == nil || d.Repo != r.FullName():
		return fail(http.StatusNotFound, "Not Found")
	case !r.read(&b):
		return fail(http.StatusBadRequest, "Problems parsing JSON")
	case !slices.Contains([]string{"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}, b.State):
		return fail(http.StatusUnprocessableEntity, "state is not included in the list")
	case units(b.Description) > 140:
		return fail(http.StatusUnprocessableEntity, "description is too long (maximum is 140 characters)")
	}
	if b.State == "success" && (b.AutoInactive == nil || *b.AutoInactive) && !d.Production {
		g.retire(*d)
	}
	d.Statuses = append(d.Statuses, DeploymentStatus{b.State, b.Description, b.LogURL, b.EnvironmentURL})
	return http.StatusCreated, map[string]any{"id": g.id(), "state": b.State}
}

func (g *GitHub) retire(by Deployment) {
	for _, o := range g.deployments {
		n := len(o.Statuses)
		if o.ID < by.ID && o.Repo == by.Repo && o.Environment == by.Environment && n > 0 && o.Statuses[n-1].State == "success" {
			o.Statuses = append(o.Statuses, DeploymentStatus{State: "inactive"})
		}
	}
}
