package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// fleet carries out deployments.
type fleet interface {
	Deployments(ctx context.Context, q pipeline.DeploymentQuery) (pipeline.Page[pipeline.Deployment], error)
	// Deployment is a deployment and what its instances did.
	Deployment(ctx context.Context, id string) (pipeline.Deployment, []pipeline.InstanceDetail, error)
	// StopDeployment ends a deployment; ErrConflict: it has ended.
	StopDeployment(ctx context.Context, id, reason string) error
	// RollBack undoes a deployment and answers with the one that does.
	RollBack(ctx context.Context, id, by string) (pipeline.Deployment, error)
}

// deploymentItem is a deployment in a list.
type deploymentItem struct {
	pipeline.Deployment
	Counts map[pipeline.DeploymentStatus]int `json:"counts"` // of instances
	URL    string                            `json:"url"`
}

// deploymentDetail is a deployment with all that happened on its instances.
type deploymentDetail struct {
	pipeline.Deployment
	// DeploymentID and Phases show it as the build record that it has, too.
	DeploymentID string                    `json:"deployment"`
	Instances    []pipeline.InstanceDetail `json:"instances"`
	Phases       []pipeline.Phase          `json:"phases"`
	LogBytes     int64                     `json:"log_bytes"`
	URL          string                    `json:"url"`
	// record is the build record, if there is one; fleet says that the fleet
	// knows the deployment.
	record *pipeline.Build
	fleet  bool
}

// reasonRequest is why something is asked for.
type reasonRequest struct {
	Reason string `json:"reason,omitempty"`
}

func (s *Server) deploymentURL(id string) string {
	return s.ExternalURL + "/deployments/" + url.PathEscape(id)
}

func (s *Server) deploymentItem(d pipeline.Deployment) deploymentItem {
	return deploymentItem{Deployment: public(d), Counts: d.Counts(), URL: s.deploymentURL(d.ID)}
}

// public leaves out what only the server's own parts tell each other.
func public(d pipeline.Deployment) pipeline.Deployment {
	d.Job, d.Told, d.Closed = nil, false, false
	return d
}

func (s *Server) listDeployments(c *gin.Context) {
	limit, err := pageLimit(c)
	if err == nil && s.Fleet == nil {
		err = errNoFleet
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	q := pipeline.DeploymentQuery{Group: c.Query("group"), Status: pipeline.DeploymentStatus(c.Query("status")), Limit: limit, After: c.Query("after")}
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		page, err := s.seenDeployments(ctx, who(c), q)
		out := pipeline.Page[deploymentItem]{Items: make([]deploymentItem, 0, len(page.Items)), Next: page.Next}
		for _, d := range page.Items {
			out.Items = append(out.Items, s.deploymentItem(d))
		}
		return out, false, err
	})
}

func (s *Server) getDeployment(c *gin.Context) {
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		d, err := s.deployment(ctx, c.Param("id"))
		return d, d.Status.Ended(), err
	})
}

// deployment is a deployment, or what its record says of one whose fleet is
// not this server's.
func (s *Server) deployment(ctx context.Context, id string) (deploymentDetail, error) {
	out := deploymentDetail{URL: s.deploymentURL(id), Phases: []pipeline.Phase{}, Instances: []pipeline.InstanceDetail{}}
	err := pipeline.ErrNotFound
	if s.Fleet != nil {
		out.Deployment, out.Instances, err = s.Fleet.Deployment(ctx, id)
	}
	known := err == nil
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		return out, err
	}
	if known {
		id, out.Deployment = out.ID, public(out.Deployment)
	}
	b, err := s.Builds.Build(ctx, id)
	switch {
	case err == nil && !known:
		out.Deployment = recorded(b)
	case known && errors.Is(err, pipeline.ErrNotFound): // it waits for its group
	case err != nil:
		return out, err
	}
	if out.fleet = known; err == nil {
		out.record = &b
	}
	out.DeploymentID, out.LogBytes = id, b.LogBytes
	out.Phases = append(out.Phases, b.Phases...)
	return out, nil
}

// recorded is a deployment as its record alone tells it.
func recorded(b pipeline.Build) pipeline.Deployment {
	d := pipeline.Deployment{
		V: b.V, ID: b.ID, Group: b.Group, Creator: pipeline.CreatorUser, Status: b.DeploymentStatus(),
		Revision:  pipeline.Revision{SHA: b.SHA, Ref: b.Ref, Repo: b.Repo},
		Execution: b.Execution, Stage: b.Stage, Action: b.Action,
		CreatedAt: b.CreatedAt, StartedAt: b.StartedAt, EndedAt: b.EndedAt,
	}
	if b.Failure != nil {
		d.Error = &pipeline.DeploymentError{Code: b.Failure.Code, Message: b.Failure.Message}
	}
	return d
}

func (s *Server) stopDeployment(c *gin.Context) {
	var in reasonRequest
	err := readJSON(c, &in)
	if err == nil {
		err = s.endDeployment(c, in)
	}
	var d pipeline.Deployment
	if err == nil {
		d, _, err = s.Fleet.Deployment(c.Request.Context(), c.Param("id"))
	}
	s.acceptedDeployment(c, d, err)
}

// endDeployment ends the path's deployment in the name of the sender.
func (s *Server) endDeployment(c *gin.Context, in reasonRequest) error {
	if s.Fleet == nil {
		return errNoFleet
	}
	reason := "stopped by " + sender(c)
	if in.Reason != "" {
		reason += ": " + cut(in.Reason, 500)
	}
	err := s.Fleet.StopDeployment(c.Request.Context(), c.Param("id"), reason)
	if errors.Is(err, pipeline.ErrConflict) {
		return refuse(http.StatusConflict, "conflict", "the deployment has ended")
	}
	return err
}

func (s *Server) rollBackDeployment(c *gin.Context) {
	d, err := s.undoDeployment(c)
	s.acceptedDeployment(c, d, err)
}

// undoDeployment deploys what was there before the path's deployment.
func (s *Server) undoDeployment(c *gin.Context) (pipeline.Deployment, error) {
	if s.Fleet == nil {
		return pipeline.Deployment{}, errNoFleet
	}
	d, _, err := s.Fleet.Deployment(c.Request.Context(), c.Param("id"))
	var repo forge.Repo
	if err == nil {
		repo, err = s.repoOfDeployment(c.Request.Context(), d)
	}
	if err == nil {
		err = s.mayDeploy(c, repo, d.Environment)
	}
	if err != nil {
		return d, err
	}
	return s.Fleet.RollBack(c.Request.Context(), d.ID, sender(c))
}

func (s *Server) acceptedDeployment(c *gin.Context, d pipeline.Deployment, err error) {
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusAccepted, s.deploymentItem(d))
}

// sender is the name of who sends the request.
func sender(c *gin.Context) string {
	if p := who(c); p != nil {
		return p.name
	}
	return "somebody"
}
