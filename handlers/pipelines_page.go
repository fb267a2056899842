package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// pipelinesShown is a page of the list; each row loads an execution.
	pipelinesShown = 30
	// recentShown is how many executions a pipeline's page loads and lists.
	recentShown = 12
)

func pipelinePath(id string) string { return "/pipelines/" + url.PathEscape(id) }

func (s *Server) pipelinesPage(c *gin.Context) {
	ctx := c.Request.Context()
	v := ui.Pipelines{Frame: s.frame(c, "Pipelines")}
	page, err := s.seenBoards(ctx, who(c), pipelinesShown, c.Query("after"))
	if err != nil {
		s.failPage(c, err)
		return
	}
	for _, b := range page.Items {
		found := executionsOf(b)
		if err := s.find(ctx, found, b.Newest()); err != nil {
			s.failPage(c, err)
			return
		}
		row := ui.PipelineRow{View: b.View()}
		if x, ok := found[b.Newest()]; ok {
			row.Newest = &x
		}
		v.Items = append(v.Items, row)
	}
	v.Newer, v.Older = neighbours(c, page.Next)
	if c.Query("after") == "" {
		v.Live = apiRoot + "/pipelines?follow=1&limit=30"
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Pipelines(v) })
}

// executionsOf are those on the Board, by ID.
func executionsOf(b *pipeline.Board) map[string]pipeline.Execution {
	found := map[string]pipeline.Execution{}
	for id, x := range b.Live {
		found[id] = *x
	}
	return found
}

// find adds executions to those that are loaded, but for those that retention
// has taken.
func (s *Server) find(ctx context.Context, found map[string]pipeline.Execution, ids ...string) error {
	for _, id := range ids {
		if _, ok := found[id]; ok || id == "" {
			continue
		}
		x, err := s.Executions.Execution(ctx, id)
		if errors.Is(err, pipeline.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		found[id] = x
	}
	return nil
}

func (s *Server) pipelinePage(c *gin.Context) {
	b, _, err := s.Boards.Board(c.Request.Context(), c.Param("id"))
	var v ui.Pipeline
	if err == nil {
		v, err = s.viewPipeline(c, b)
	}
	if err != nil {
		s.failPage(c, err)
		return
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Pipeline(v) })
}

// viewPipeline loads what a pipeline's page shows.
func (s *Server) viewPipeline(c *gin.Context, b *pipeline.Board) (ui.Pipeline, error) {
	ctx := c.Request.Context()
	v := ui.Pipeline{Frame: s.frame(c, b.Repo.FullName()+" "+b.Pipeline), View: b.View()}
	v.Live = apiRoot + "/pipelines/" + url.PathEscape(b.Key) + "?follow=1"
	v.CanAct = v.SignedIn && s.mayWrite(c, b.Repo)
	page, err := s.Executions.Executions(ctx, pipeline.Query{Forge: b.Repo.Forge, Repo: b.Repo.FullName(), PipelineID: b.Key, Limit: recentShown})
	if err != nil {
		return v, err
	}
	found := executionsOf(b)
	ids := []string{b.Newest()}
	for _, st := range v.View.Stages {
		ids = append(ids, st.Good)
		if st.Latest != nil {
			ids = append(ids, st.Latest.ID)
		}
	}
	for _, x := range page.Items {
		ids = append(ids, x.ID)
	}
	if err := s.find(ctx, found, ids...); err != nil {
		return v, err
	}
	for _, x := range page.Items {
		if full, ok := found[x.ID]; ok {
			v.Recent = append(v.Recent, full)
		}
	}
	if page.Next != "" {
		v.Older = "/?" + url.Values{"repo": {b.Repo.FullName()}, "pipeline": {b.Key}}.Encode()
	}
	for i, st := range v.View.Stages {
		shown, err := s.viewStage(c, b, i, st, found)
		if err != nil {
			return v, err
		}
		v.Stages = append(v.Stages, shown)
	}
	if newest, ok := found[b.Newest()]; ok && v.CanAct {
		v.Start = proposeStart(newest)
	}
	if !v.CanAct {
		return v, nil
	}
	return v, s.offerRollbacks(c, b, &v, found)
}

// viewStage is who is in a stage, or was last, and what they ask.
func (s *Server) viewStage(c *gin.Context, b *pipeline.Board, index int, st pipeline.StageView, found map[string]pipeline.Execution) (ui.PipelineStage, error) {
	v := ui.PipelineStage{StageView: st, Index: index}
	defined := found[b.Newest()].Pipeline.Stages
	for _, live := range st.Inside {
		x := found[live.ID]
		v.Shown = append(v.Shown, ui.StageRun{Execution: x, Stage: *x.Stage(st.Name)})
		asks, err := s.asks(c, x, pipelinePath(b.Key))
		if err != nil {
			return v, err
		}
		for _, a := range asks {
			if a.Stage == st.Name {
				v.Asks = append(v.Asks, a)
			}
		}
	}
	if len(v.Shown) == 0 && st.Latest != nil {
		if x, ok := found[st.Latest.ID]; ok && x.Stage(st.Name) != nil {
			v.Shown = append(v.Shown, ui.StageRun{Execution: x, Stage: *x.Stage(st.Name)})
		}
	}
	if len(v.Shown) > 0 {
		defined = v.Shown[0].Pipeline.Stages
	}
	at := slices.IndexFunc(defined, func(def pipeline.Stage) bool { return def.Name == st.Name })
	if at < 0 {
		return v, nil
	}
	if len(v.Shown) == 0 {
		v.Conditions = ui.ConditionsOf(defined[at], nil)
		return v, nil
	}
	var err error
	v.Conditions, err = s.overridable(c, v.Shown[0].Execution, ui.ConditionsOf(defined[at], &v.Shown[0].Stage), pipelinePath(b.Key))
	return v, err
}

// asks are the approvals that an execution waits for, with what the reader may
// do about them.
func (s *Server) asks(c *gin.Context, x pipeline.Execution, back string) ([]ui.Ask, error) {
	var out []ui.Ask
	p := who(c)
	acts := p != nil && p.session != "" && s.mayWrite(c, x.Repo)
	for _, w := range x.Waiting() {
		a := ui.Ask{Waiting: w, Execution: x.ID, Number: x.Number, Back: back}
		if acts {
			var err error
			if a.Denied, err = s.denied(c, x, w.Stage, w.Approvers); err != nil {
				return nil, err
			}
			a.Denied = cmp.Or(a.Denied, x.Barred(&w.ApprovalState, p.voter()))
			a.CanAnswer = a.Denied == ""
		}
		out = append(out, a)
	}
	return out, nil
}

// proposeStart proposes what the newest execution ran on.
func proposeStart(newest pipeline.Execution) *ui.StartForm {
	f := &ui.StartForm{SHA: newest.Trigger.SHA, Variables: newest.Pipeline.Variables}
	if branch, ok := strings.CutPrefix(newest.Trigger.Ref, "refs/heads/"); ok && newest.Trigger.Pull == nil {
		f.Branch = branch
	} else {
		f.Branch = newest.Repo.DefaultBranch
	}
	for _, st := range newest.Pipeline.Stages {
		for _, a := range st.Actions {
			if a.Category == pipeline.Source {
				f.Action = a.Name
				return f
			}
		}
	}
	return nil
}

// offerRollbacks finds what the reader may roll each stage back to among the
// executions that are loaded.
func (s *Server) offerRollbacks(c *gin.Context, b *pipeline.Board, v *ui.Pipeline, found map[string]pipeline.Execution) error {
	newest := found[b.Newest()]
	for i := range v.Stages {
		st := &v.Stages[i]
		for _, x := range found {
			e := pipeline.Event{Type: pipeline.RollbackWanted, Board: b.Key, Stage: st.Name, Target: x.ID, Found: &x}
			if pipeline.Check(b, e) != nil || st.Latest != nil && st.Latest.ID == x.ID {
				continue
			}
			may, err := s.deploysTo(c, b.Repo, newest.Pipeline.EnvironmentOf(st.Name), x.Pipeline.EnvironmentOf(st.Name))
			if err != nil {
				return err
			}
			if may {
				st.Targets = append(st.Targets, x)
			}
		}
		slices.SortFunc(st.Targets, func(a, b pipeline.Execution) int {
			return cmp.Or(boolCompare(b.ID == st.Good, a.ID == st.Good), cmp.Compare(b.Number, a.Number))
		})
	}
	return nil
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// The forms of a pipeline's page.

func (s *Server) startForm(c *gin.Context) {
	in := pipeline.ManualRequest{Ref: strings.TrimSpace(c.PostForm("branch"))}
	if sha := strings.TrimSpace(c.PostForm("sha")); sha != "" {
		in.Revisions = []pipeline.SourceRevision{{Action: c.PostForm("action"), Type: pipeline.CommitID, Value: sha}}
	}
	for field, values := range c.Request.PostForm {
		if name, ok := strings.CutPrefix(field, "variable."); ok && values[0] != "" {
			if in.Variables == nil {
				in.Variables = map[string]string{}
			}
			in.Variables[name] = values[0]
		}
	}
	_, err := s.start(c, in)
	s.backTo(c, pipelinePath(c.Param("id")), err)
}

func (s *Server) transitionForm(c *gin.Context) {
	_, err := s.flipTransition(c, transitionRequest{Enabled: c.PostForm("enabled") == "true", Reason: strings.TrimSpace(c.PostForm("reason"))})
	s.backTo(c, pipelinePath(c.Param("id")), err)
}

func (s *Server) rollbackForm(c *gin.Context) {
	_, err := s.rollBackTo(c, rollbackRequest{Target: c.PostForm("target")})
	s.backTo(c, pipelinePath(c.Param("id")), err)
}
