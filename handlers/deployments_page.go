package handlers

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

// fleetHistory is how many deployments the agents' page looks through.
const fleetHistory = 200

func deploymentPath(id string) string { return "/deployments/" + url.PathEscape(id) }

func (s *Server) deploymentsPage(c *gin.Context) {
	v := ui.Deployments{Frame: s.frame(c, "Deployments"), Query: pipeline.DeploymentQuery{
		Group: strings.TrimSpace(c.Query("group")), Status: pipeline.DeploymentStatus(c.Query("status")), Limit: 50, After: c.Query("after"),
	}}
	if s.Fleet != nil {
		page, err := s.seenDeployments(c.Request.Context(), who(c), v.Query)
		if err != nil {
			s.failPage(c, err)
			return
		}
		v.Items = page.Items
		v.Newer, v.Older = neighbours(c, page.Next)
	}
	if s.Fleet != nil && v.Query.After == "" {
		live := url.Values{"follow": {"1"}, "limit": {"50"}, "group": {v.Query.Group}, "status": {string(v.Query.Status)}}
		v.Live = apiRoot + "/deployments?" + live.Encode()
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Deployments(v) })
}

func (s *Server) deploymentPage(c *gin.Context) {
	v, err := s.viewDeployment(c)
	if err != nil {
		s.failPage(c, err)
		return
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Deployment(v) })
}

// viewDeployment loads what a deployment's page shows: that of a fleet's with
// its instances, or that of the agent in this process with its one record.
func (s *Server) viewDeployment(c *gin.Context) (ui.Deployment, error) {
	ctx := c.Request.Context()
	d, err := s.deployment(ctx, c.Param("id"))
	if err != nil {
		return ui.Deployment{}, err
	}
	v := ui.Deployment{Frame: s.frame(c, "Deployment "+d.ID), Deployment: d.Deployment}
	if !d.Status.Ended() {
		v.Live = apiRoot + deploymentPath(d.ID) + "?follow=1"
	}
	for _, i := range d.Instances {
		shown := ui.Instance{InstanceDetail: i, Now: v.Now, Open: len(d.Instances) == 1 || i.Status != pipeline.DeploymentSucceeded && len(i.Events) > 0}
		if i.Job != "" {
			shown.Log = "/builds/" + url.PathEscape(i.Job)
		}
		v.Instances = append(v.Instances, shown)
	}
	if d.record != nil {
		if err := s.addRecord(c, &v, *d.record, d.fleet); err != nil {
			return v, err
		}
	}
	if d.fleet && v.SignedIn {
		return v, s.offerDeployment(c, &v)
	}
	return v, nil
}

// addRecord adds a deployment's own record: its log, and where no fleet knows
// it, the one host.
func (s *Server) addRecord(c *gin.Context, v *ui.Deployment, b pipeline.Build, fleet bool) error {
	log, err := s.viewLog(c, b)
	if err != nil {
		return err
	}
	if !fleet {
		one := pipeline.InstanceDetail{Events: b.LifecycleEvents(), Instance: pipeline.Instance{
			Agent: cmp.Or(b.Runner, "this host"), Status: b.DeploymentStatus(), StartedAt: b.StartedAt, EndedAt: b.EndedAt,
		}}
		v.Instances = []ui.Instance{{InstanceDetail: one, Now: v.Now, Open: true, Log: deploymentPath(b.ID), Here: true}}
	} else if log.Log.Total == 0 {
		return nil // what happened is in the instances' logs
	}
	log.Frame = v.Frame
	v.Record = &log
	return nil
}

// offerDeployment says what the reader may do about a deployment.
func (s *Server) offerDeployment(c *gin.Context, v *ui.Deployment) error {
	ctx := c.Request.Context()
	repo, err := s.repoOfDeployment(ctx, v.Deployment)
	if err != nil || !s.mayWrite(c, repo) {
		return err
	}
	v.CanStop = !v.Status.Ended() && v.StopReason == ""
	if v.RollbackBy == "" {
		v.CanRollBack, err = s.deploysTo(c, repo, v.Environment)
	}
	return err
}

func (s *Server) stopDeploymentForm(c *gin.Context) {
	err := s.endDeployment(c, reasonRequest{Reason: strings.TrimSpace(c.PostForm("reason"))})
	s.backTo(c, deploymentPath(c.Param("id")), err)
}

// rollBackDeploymentForm leads to the deployment that undoes this one.
func (s *Server) rollBackDeploymentForm(c *gin.Context) {
	d, err := s.undoDeployment(c)
	s.backTo(c, deploymentPath(d.ID), err)
}

func (s *Server) agentsPage(c *gin.Context) {
	v := ui.Agents{Frame: s.frame(c, "Agents")}
	err := s.addAgents(c.Request.Context(), &v)
	if err != nil {
		s.failPage(c, err)
		return
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Agents(v) })
}

// addAgents loads who is there, and what of the newest deployments runs there.
func (s *Server) addAgents(ctx context.Context, v *ui.Agents) error {
	if s.Agents == nil {
		return nil
	}
	all, err := s.Agents.Agents(ctx)
	if err != nil {
		return err
	}
	var past []pipeline.Deployment
	if s.Fleet != nil {
		page, err := s.Fleet.Deployments(ctx, pipeline.DeploymentQuery{Limit: fleetHistory})
		if err != nil {
			return err
		}
		past = page.Items
	}
	slices.SortFunc(all, func(a, b pipeline.Agent) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range all {
		v.Items = append(v.Items, agentRow(a, past))
	}
	return nil
}

// agentRow finds what runs on an agent: of each group the newest deployment
// that succeeded there.
func agentRow(a pipeline.Agent, past []pipeline.Deployment) ui.AgentRow {
	row := ui.AgentRow{Agent: a}
	groups := map[string]bool{}
	for _, d := range past {
		i := d.Instance(a.Name)
		switch {
		case i == nil || groups[d.Group]:
		case i.Status == pipeline.DeploymentSucceeded:
			groups[d.Group] = true
			row.Runs = append(row.Runs, d)
		case !i.Status.Ended():
			row.Busy = append(row.Busy, d)
		}
	}
	return row
}
