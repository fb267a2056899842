package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// executionItem is an execution in a list.
type executionItem struct {
	pipeline.Summary
	URL string `json:"url"`
}

// executionDetail is an execution with all that happened in it.
type executionDetail struct {
	executionItem
	Project     string             `json:"project"`
	Revision    int64              `json:"revision"`
	Source      pipeline.Trigger   `json:"source"` // on what it was started
	Stages      []stageView        `json:"stages"`
	Problem     string             `json:"problem,omitempty"`
	Gate        string             `json:"gate,omitempty"`
	Annotations []forge.Annotation `json:"annotations,omitempty"`
	Variables   map[string]string  `json:"variables,omitempty"` // the pipeline's
	Target      string             `json:"target,omitempty"`    // of a rollback: the execution that it goes back to
	Approvals   []pipeline.Waiting `json:"approvals,omitempty"` // that somebody is to answer
}

type stageView struct {
	Name      string          `json:"name"`
	Status    pipeline.Status `json:"status,omitempty"` // absent: not entered
	StartedAt time.Time       `json:"started_at,omitzero"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	Actions   []actionView    `json:"actions"`
	// Conditions are those that were weighed, with their rules.
	Conditions []conditionView `json:"conditions,omitempty"`
}

// conditionView is how one condition of a stage was weighed.
type conditionView struct {
	Condition    pipeline.Hook            `json:"condition"` // BEFORE_ENTRY, ON_SUCCESS or ON_FAILURE
	Result       pipeline.ConditionResult `json:"result,omitempty"`
	Status       pipeline.ConditionStatus `json:"status,omitempty"`
	StartedAt    time.Time                `json:"started_at,omitzero"`
	EndedAt      time.Time                `json:"ended_at,omitzero"`
	Message      string                   `json:"message,omitempty"` // why it isn't met
	OverriddenBy string                   `json:"overridden_by,omitempty"`
	Comment      string                   `json:"comment,omitempty"`
	Rules        []actionView             `json:"rules"`
}

type actionView struct {
	Name       string                `json:"name"`
	Category   pipeline.Category     `json:"category,omitempty"`
	Provider   string                `json:"provider,omitempty"`
	Status     pipeline.Status       `json:"status,omitempty"`
	Attempt    int                   `json:"attempt,omitempty"`
	Build      string                `json:"build,omitempty"`
	Deployment string                `json:"deployment,omitempty"`
	Earlier    []string              `json:"earlier,omitempty"` // builds or deployments of the attempts before
	Outcome    pipeline.BuildStatus  `json:"outcome,omitempty"`
	Worker     string                `json:"worker,omitempty"`
	QueuedAt   time.Time             `json:"queued_at,omitzero"`
	StartedAt  time.Time             `json:"started_at,omitzero"`
	EndedAt    time.Time             `json:"ended_at,omitzero"`
	Error      *pipeline.ActionError `json:"error,omitempty"`
	Artifacts  []pipeline.Artifact   `json:"artifacts,omitempty"`
	Exported   map[string]string     `json:"exported,omitempty"`
	// Resolved are the settings with their variables filled in; Approval is what
	// an approve action asks, and its answer.
	Resolved *pipeline.Settings      `json:"resolved,omitempty"`
	Approval *pipeline.ApprovalState `json:"approval,omitempty"`
	// Batch is set on a batch whose buildspec has been read, Task on each of its
	// builds.
	Batch *pipeline.BatchState `json:"batch,omitempty"`
	Task  *pipeline.Task       `json:"task,omitempty"`
}

func (s *Server) item(x pipeline.Summary) executionItem {
	return executionItem{Summary: x, URL: s.ExternalURL + "/executions/" + url.PathEscape(x.ID)}
}

func (s *Server) detail(x pipeline.Execution) executionDetail {
	d := executionDetail{
		executionItem: s.item(x.Summary()), Project: x.Project, Revision: x.Revision, Source: x.Trigger,
		Stages: []stageView{}, Gate: x.Gate, Annotations: x.Annotations,
		Variables: x.Variables, Target: x.Target, Approvals: x.Waiting(),
	}
	if x.Problem != nil {
		d.Problem = x.Problem.Error()
	}
	for i, st := range x.Stages {
		v := stageView{Name: st.Name, Status: st.Status, StartedAt: st.StartedAt, EndedAt: st.EndedAt, Actions: []actionView{}}
		for _, a := range st.Actions {
			v.Actions = append(v.Actions, viewAction(definedAction(x.Pipeline, i, a.Name), a))
		}
		for _, cond := range st.Conditions {
			v.Conditions = append(v.Conditions, viewCondition(x.Pipeline, i, cond))
		}
		d.Stages = append(d.Stages, v)
	}
	return d
}

func viewCondition(p pipeline.Pipeline, stage int, c pipeline.ConditionExecution) conditionView {
	v := conditionView{
		Condition: c.Hook, Result: c.Result, Status: c.Status, StartedAt: c.StartedAt, EndedAt: c.EndedAt,
		Message: c.Message, OverriddenBy: c.OverriddenBy, Comment: c.Comment, Rules: []actionView{},
	}
	for _, a := range c.Rules {
		v.Rules = append(v.Rules, viewAction(definedAction(p, stage, a.Name), a))
	}
	return v
}

// definedAction is the definition of an action; the zero Action if the
// pipeline has none of that name.
func definedAction(p pipeline.Pipeline, stage int, name string) pipeline.Action {
	if stage < len(p.Stages) {
		for _, a := range p.Stages[stage].Tasks() {
			if a.Name == name {
				return a
			}
		}
	}
	return pipeline.Action{}
}

func viewAction(def pipeline.Action, a pipeline.ActionExecution) actionView {
	v := actionView{
		Name: a.Name, Category: def.Category, Provider: def.Provider, Status: a.Status, Attempt: a.Attempt, Earlier: a.Earlier,
		Outcome: a.Outcome, Worker: a.Worker, QueuedAt: a.QueuedAt, StartedAt: a.StartedAt, EndedAt: a.EndedAt,
		Error: a.Error, Artifacts: a.Artifacts, Exported: a.Exported, Resolved: a.Resolved, Approval: a.Approval,
		Batch: a.Batch, Task: def.Task,
	}
	if a.Kind == pipeline.DeployJob {
		v.Deployment = a.Job
	} else {
		v.Build = a.Job
	}
	return v
}

// executionStatuses are those that an execution as a whole can have.
var executionStatuses = []pipeline.Status{
	pipeline.InProgress, pipeline.Stopping, pipeline.Stopped, pipeline.Succeeded, pipeline.Superseded, pipeline.Failed, pipeline.Cancelled,
}

func (s *Server) listExecutions(c *gin.Context) {
	limit, err := pageLimit(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	q := pipeline.Query{
		Forge: c.Query("forge"), Repo: c.Query("repo"), SHA: c.Query("sha"),
		PipelineID: c.Query("pipeline"), Status: pipeline.Status(c.Query("status")), Limit: limit, After: c.Query("after"),
	}
	if q.Status != "" && !slices.Contains(executionStatuses, q.Status) {
		s.fail(c, refuse(http.StatusBadRequest, "status", "status: want one of %v, have %q", executionStatuses, cut(string(q.Status), 40)))
		return
	}
	load := func(ctx context.Context) (any, bool, error) {
		page, err := s.seenExecutions(ctx, who(c), q)
		out := pipeline.Page[executionItem]{Items: make([]executionItem, 0, len(page.Items)), Next: page.Next}
		for _, x := range page.Items {
			out.Items = append(out.Items, s.item(x))
		}
		return out, false, err
	}
	s.answer(c, load)
}

func (s *Server) getExecution(c *gin.Context) {
	s.answer(c, func(ctx context.Context) (any, bool, error) {
		x, err := s.Executions.Execution(ctx, c.Param("id"))
		if err != nil {
			return nil, false, err
		}
		return s.detail(x), x.Status.Ended(), nil
	})
}

type stopRequest struct {
	Reason string `json:"reason,omitempty"` // at most 200 characters
	// Mode is wait, which lets running actions end; cancel, the default, which
	// tells their workers to; or abandon, which doesn't wait for them.
	Mode string `json:"mode,omitempty"`
}

type retryRequest struct {
	// Stage is the one to retry; empty: the one that failed.
	Stage string `json:"stage,omitempty"`
	// Mode is FAILED_ACTIONS, the default, or ALL_ACTIONS.
	Mode pipeline.RetryMode `json:"mode,omitempty"`
}

// submitted is the answer to what a pipeline was asked to do.
type submitted struct {
	Event string `json:"event"` // the ID of the request
}

func (s *Server) stopExecution(c *gin.Context) {
	var in stopRequest
	if err := readJSON(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	id, err := s.stop(c, in)
	s.submitted(c, id, err)
}

func (s *Server) retryExecution(c *gin.Context) {
	var in retryRequest
	if err := readJSON(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	id, err := s.retry(c, in)
	s.submitted(c, id, err)
}

func (s *Server) rerunExecution(c *gin.Context) {
	id, err := s.rerun(c)
	s.submitted(c, id, err)
}

func (s *Server) submitted(c *gin.Context, id string, err error) {
	if err != nil {
		id, err = s.repeated(c, err)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusAccepted, submitted{Event: id})
}

// boardKey holds, within a request, the key of the Board that it speaks of.
const boardKey = "slipway.board"

// spokenOf is the execution of the request's path.
func (s *Server) spokenOf(c *gin.Context) (pipeline.Execution, error) {
	x, err := s.Executions.Execution(c.Request.Context(), c.Param("id"))
	c.Set(boardKey, x.Board)
	return x, err
}

// repeated answers a request whose Idempotency-Key is known before its refusal
// does: what was done once can't be done again, and yet a repeat is answered as
// the first time; another request with the key gets that refusal.
func (s *Server) repeated(c *gin.Context, refused error) (id string, err error) {
	board := c.Param("id")
	if b, ok := c.Get(boardKey); ok {
		board, _ = b.(string)
	}
	if c.GetHeader("Idempotency-Key") == "" {
		return "", refused
	}
	e := pipeline.Event{Board: board}
	s.sign(c, &e)
	switch known, err := s.Events.Submitted(c.Request.Context(), e); {
	case err != nil:
		return "", err
	case known:
		return e.ID, nil
	}
	return "", refused
}

func (s *Server) stop(c *gin.Context, in stopRequest) (string, error) {
	x, err := s.spokenOf(c)
	if err != nil {
		return "", err
	}
	mode := pipeline.StopMode(in.Mode)
	if mode == "cancel" {
		mode = pipeline.StopCancel
	}
	return s.command(c, pipeline.Event{
		Type: pipeline.StopRequested, Board: x.Board, Execution: x.ID, Reason: in.Reason, Stop: mode, Revive: &x,
	})
}

func (s *Server) retry(c *gin.Context, in retryRequest) (string, error) {
	x, err := s.spokenOf(c)
	if err != nil {
		return "", err
	}
	if in.Stage == "" {
		if in.Stage = x.Retryable(); in.Stage == "" {
			return "", &pipeline.Refusal{Code: pipeline.StageNotRetryable, Msg: "no stage of the execution failed"}
		}
	}
	return s.command(c, pipeline.Event{
		Type: pipeline.RetryRequested, Board: x.Board, Execution: x.ID, Stage: in.Stage, Retry: in.Mode, Revive: &x,
	})
}

func (s *Server) rerun(c *gin.Context) (string, error) {
	x, err := s.spokenOf(c)
	if err != nil {
		return "", err
	}
	return s.submit(c, pipeline.Event{Type: pipeline.RerunRequested, Board: x.Board, Execution: x.ID})
}

// submit sends an event in the name of the request's sender.
func (s *Server) submit(c *gin.Context, e pipeline.Event) (string, error) {
	s.sign(c, &e)
	return e.ID, s.Events.Submit(c.Request.Context(), e)
}

// sign makes e an event of the request's sender. A request that is sent again
// with the same Idempotency-Key is the same event; another request to the same
// pipeline with that key will be refused.
func (s *Server) sign(c *gin.Context, e *pipeline.Event) {
	e.V, e.At, e.ID = 1, s.Now().UTC(), uuid.NewString()
	if p := who(c); p != nil {
		e.By = p.name
	}
	if key := c.GetHeader("Idempotency-Key"); key != "" {
		what := strings.Join([]string{e.Board, e.By, key}, "\x00")
		e.ID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(what)).String()
		e.Contents = hexSum(c.Request.URL.Path + "\x00" + c.GetString(bodyKey))
	}
}

// requestLimitBytes bounds JSON that people and scripts send.
const requestLimitBytes = 64 << 10

// bodyKey holds, within a request, its JSON body as it was understood.
const bodyKey = "slipway.body"

// readJSON reads a JSON body that may be left out.
func readJSON(c *gin.Context, into any) error {
	if c.Request.ContentLength != 0 {
		if err := readJSONUpTo(c, into, requestLimitBytes); err != nil {
			return err
		}
	}
	body, err := json.Marshal(into)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	c.Set(bodyKey, string(body))
	return nil
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func readJSONUpTo(c *gin.Context, into any, limitBytes int64) error {
	d := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, limitBytes))
	err := d.Decode(into)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return err
	}
	return refuse(http.StatusBadRequest, "unreadable", "the body isn't the JSON that is wanted: %v", err)
}

// pageLimit is the limit parameter: 1 to 200, 0 if absent.
func pageLimit(c *gin.Context) (int, error) {
	text := c.Query("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 200 {
		return 0, refuse(http.StatusBadRequest, "limit", "limit: want 1 to 200, have %q", cut(text, 40))
	}
	return n, nil
}
