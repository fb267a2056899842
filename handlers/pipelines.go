package handlers

import (
	"cmp"
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// boards reads the live state of pipelines.
type boards interface {
	// Board is one, with its version; ErrNotFound if there is none.
	Board(ctx context.Context, key string) (*pipeline.Board, int64, error)
	// Boards lists the keys of Boards that had executions, the one that changed
	// last first.
	Boards(ctx context.Context, limit int, after string) (pipeline.Page[string], error)
}

// answerRequest answers an approval. Stage, action and token may be left out
// where one approval alone waits.
type answerRequest struct {
	Stage   string `json:"stage,omitempty"`
	Action  string `json:"action,omitempty"`
	Token   string `json:"token,omitempty"`
	Message string `json:"message,omitempty"` // at most 512 characters
	// Fields is what else the approval asks for, by name.
	Fields map[string]string `json:"fields,omitempty"`
}

type transitionRequest struct {
	Enabled bool   `json:"enabled"`
	Reason  string `json:"reason,omitempty"` // required to disable; at most 300 characters
}

type rollbackRequest struct {
	Target string `json:"target"` // the execution to go back to
}

func (s *Server) listPipelines(c *gin.Context) {
	limit, err := pageLimit(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		page, err := s.seenBoards(ctx, who(c), limit, c.Query("after"))
		out := pipeline.Page[pipeline.View]{Items: make([]pipeline.View, 0, len(page.Items)), Next: page.Next}
		for _, b := range page.Items {
			out.Items = append(out.Items, b.View())
		}
		return out, false, err
	})
}

func (s *Server) getPipeline(c *gin.Context) {
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		b, _, err := s.Boards.Board(ctx, c.Param("id"))
		if err != nil {
			return nil, false, err
		}
		return b.View(), false, nil
	})
}

func (s *Server) changeTransition(c *gin.Context) {
	var in transitionRequest
	err := readJSON(c, &in)
	var id string
	if err == nil {
		id, err = s.flipTransition(c, in)
	}
	s.submitted(c, id, err)
}

// flipTransition disables or enables the way into the path's stage.
func (s *Server) flipTransition(c *gin.Context, in transitionRequest) (string, error) {
	return s.command(c, pipeline.Event{
		Type: pipeline.TransitionFlips, Board: c.Param("id"), Stage: c.Param("stage"), Enable: in.Enabled, Reason: in.Reason,
	})
}

func (s *Server) rollbackStage(c *gin.Context) {
	var in rollbackRequest
	err := readJSON(c, &in)
	var id string
	if err == nil {
		id, err = s.rollBackTo(c, in)
	}
	s.submitted(c, id, err)
}

// rollBackTo runs the path's stage again with what an earlier execution
// brought to it.
func (s *Server) rollBackTo(c *gin.Context, in rollbackRequest) (string, error) {
	found, err := s.Executions.Execution(c.Request.Context(), in.Target)
	if err == nil {
		err = s.mayRollBack(c, found)
	}
	if err != nil {
		return "", err
	}
	return s.command(c, pipeline.Event{
		Type: pipeline.RollbackWanted, Board: c.Param("id"), Stage: c.Param("stage"), Target: in.Target, Found: &found,
	})
}

func (s *Server) startPipeline(c *gin.Context) {
	var in pipeline.ManualRequest
	err := readJSON(c, &in)
	var id string
	if err == nil {
		id, err = s.start(c, in)
	}
	s.submitted(c, id, err)
}

// start asks for an execution. Advance decides no such request, so that there
// is nothing of the Board to check.
func (s *Server) start(c *gin.Context, in pipeline.ManualRequest) (string, error) {
	ctx := c.Request.Context()
	b, _, err := s.Boards.Board(ctx, c.Param("id"))
	if err != nil {
		return "", err
	}
	newest, err := s.Executions.Execution(ctx, b.Newest())
	if err != nil {
		return "", err
	}
	if in, err = pipeline.Pin(ctx, s.Revisions, newest, in); err != nil {
		return "", err
	}
	if err := pipeline.CheckManual(newest, in); err != nil {
		return "", err
	}
	return s.submit(c, pipeline.Event{Type: pipeline.ManualStart, Board: b.Key, Manual: &in})
}

func (s *Server) approveExecution(c *gin.Context) { s.answerExecution(c, true) }
func (s *Server) rejectExecution(c *gin.Context)  { s.answerExecution(c, false) }

func (s *Server) answerExecution(c *gin.Context, approve bool) {
	var in answerRequest
	err := readJSON(c, &in)
	var id string
	if err == nil {
		id, err = s.answerApproval(c, in, approve)
	}
	s.submitted(c, id, err)
}

// answerApproval approves or rejects in the name of the request's sender.
func (s *Server) answerApproval(c *gin.Context, in answerRequest, approve bool) (string, error) {
	x, err := s.spokenOf(c)
	if err != nil {
		return "", err
	}
	e := pipeline.Event{
		Type: pipeline.ApprovalGiven, Board: x.Board, Execution: x.ID, Stage: in.Stage, Action: in.Action,
		Token: in.Token, Enable: approve, Reason: in.Message, Fields: in.Fields, Voter: who(c).voter(), Revive: &x,
	}
	asked, err := askedFor(x, in)
	if err != nil {
		return "", err
	}
	if asked != nil {
		e.Stage, e.Action = asked.Stage, asked.Action
		if e.Token == "" {
			e.Token = asked.Token
		}
		if e.Denied, err = s.denied(c, x, asked.Stage, asked.Approvers); err != nil {
			return "", err
		}
	}
	return s.command(c, e)
}

// askedFor is the waiting approval that the request means; nil if it names one
// that doesn't wait.
func askedFor(x pipeline.Execution, in answerRequest) (*pipeline.Waiting, error) {
	var found []pipeline.Waiting
	for _, w := range x.Waiting() {
		if (in.Stage == "" || in.Stage == w.Stage) && (in.Action == "" || in.Action == w.Action) && (in.Token == "" || in.Action != "" || in.Token == w.Token) {
			found = append(found, w)
		}
	}
	switch {
	case len(found) == 1:
		return &found[0], nil
	case len(found) > 1:
		return nil, refuse(http.StatusConflict, "ambiguous", "several approvals wait: name stage and action")
	case in.Stage == "" || in.Action == "" || in.Token == "":
		return nil, refuse(http.StatusConflict, pipeline.InvalidApprovalToken, "the execution waits for no such approval")
	}
	return nil, nil
}

// overrideRequest names a condition. Stage and condition may be left out where
// one alone keeps the execution.
type overrideRequest struct {
	Stage     string        `json:"stage,omitempty"`
	Condition pipeline.Hook `json:"condition,omitempty"` // BEFORE_ENTRY or ON_SUCCESS
	Message   string        `json:"message,omitempty"`   // why; at most 512 characters
}

func (s *Server) overrideExecution(c *gin.Context) {
	var in overrideRequest
	err := readJSON(c, &in)
	var id string
	if err == nil {
		id, err = s.override(c, in)
	}
	s.submitted(c, id, err)
}

// override lets an execution past a condition. Those may who may answer what its
// stage asks.
func (s *Server) override(c *gin.Context, in overrideRequest) (string, error) {
	x, err := s.spokenOf(c)
	if err != nil {
		return "", err
	}
	stage, hook, ok := x.Overridable()
	if in.Stage == "" && !ok {
		return "", &pipeline.Refusal{Code: pipeline.ConditionNotOverridable, Msg: "no condition that can be overridden keeps the execution"}
	}
	e := pipeline.Event{
		Type: pipeline.OverrideWanted, Board: x.Board, Execution: x.ID, Stage: cmp.Or(in.Stage, stage), Hook: cmp.Or(in.Condition, hook),
		Reason: in.Message, Revive: &x,
	}
	if e.Denied, err = s.denied(c, x, e.Stage, nil); err != nil {
		return "", err
	}
	return s.command(c, e)
}

// command submits what a person asks of a pipeline, unless the pipeline would
// refuse it. Events about an execution that has ended carry it in Revive.
func (s *Server) command(c *gin.Context, e pipeline.Event) (string, error) {
	b, _, err := s.Boards.Board(c.Request.Context(), e.Board)
	if err != nil {
		return "", err
	}
	s.sign(c, &e)
	if err := pipeline.Check(b, e); err != nil {
		return "", err
	}
	return e.ID, s.Events.Submit(c.Request.Context(), e)
}
