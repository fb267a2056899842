package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Execution is an execution as the API shows it. Lists leave Stages out.
type Execution struct {
	pipeline.Summary
	URL     string  `json:"url"`
	Stages  []Stage `json:"stages,omitempty"`
	Problem string  `json:"problem,omitempty"`
	Gate    string  `json:"gate,omitempty"`
	// Approvals are those that somebody is to answer.
	Approvals []pipeline.Waiting `json:"approvals,omitempty"`
}

// Stage is an execution's way through one stage.
type Stage struct {
	Name      string          `json:"name"`
	Status    pipeline.Status `json:"status,omitempty"`
	StartedAt time.Time       `json:"started_at,omitzero"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	Actions   []Action        `json:"actions"`
	// Conditions are those that were weighed.
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is how a condition of a stage was weighed.
type Condition struct {
	Condition    pipeline.Hook            `json:"condition"`
	Result       pipeline.ConditionResult `json:"result,omitempty"`
	Status       pipeline.ConditionStatus `json:"status,omitempty"`
	StartedAt    time.Time                `json:"started_at,omitzero"`
	EndedAt      time.Time                `json:"ended_at,omitzero"`
	Message      string                   `json:"message,omitempty"` // why it isn't met
	OverriddenBy string                   `json:"overridden_by,omitempty"`
	Comment      string                   `json:"comment,omitempty"`
	Rules        []Action                 `json:"rules"`
}

// Action is the latest attempt of an action.
type Action struct {
	Name       string                `json:"name"`
	Status     pipeline.Status       `json:"status,omitempty"`
	Attempt    int                   `json:"attempt,omitempty"`
	Build      string                `json:"build,omitempty"`
	Deployment string                `json:"deployment,omitempty"`
	Outcome    pipeline.BuildStatus  `json:"outcome,omitempty"`
	QueuedAt   time.Time             `json:"queued_at,omitzero"`
	StartedAt  time.Time             `json:"started_at,omitzero"`
	EndedAt    time.Time             `json:"ended_at,omitzero"`
	Error      *pipeline.ActionError `json:"error,omitempty"`
}

// DeadLetter is an entry of a queue that failed too often.
type DeadLetter struct {
	ID       string          `json:"id"`
	Queue    string          `json:"queue"`
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	FailedAt time.Time       `json:"failed_at"`
	Entry    json.RawMessage `json:"entry,omitempty"`
}

// Worker is a runner or agent.
type Worker struct {
	pipeline.Worker
	SeenAt time.Time `json:"seen_at"`
	Jobs   []string  `json:"jobs"`
}

// Executions lists executions, newest first.
func (c *Client) Executions(ctx context.Context, q pipeline.Query) (pipeline.Page[Execution], error) {
	query := paged(q.Limit, q.After)
	for name, value := range map[string]string{"forge": q.Forge, "repo": q.Repo, "sha": q.SHA, "pipeline": q.PipelineID, "status": string(q.Status)} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var page pipeline.Page[Execution]
	err := c.get(ctx, "/executions", query, &page)
	return page, err
}

func paged(limit int, after string) url.Values {
	query := url.Values{}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if after != "" {
		query.Set("after", after)
	}
	return query
}

// Execution is one execution with its stages.
func (c *Client) Execution(ctx context.Context, id string) (Execution, error) {
	var x Execution
	err := c.get(ctx, "/executions/"+url.PathEscape(id), nil, &x)
	return x, err
}

// Rerun asks for a new execution of the same commit and definition.
func (c *Client) Rerun(ctx context.Context, id string) error {
	return c.send(ctx, http.MethodPost, "/executions/"+url.PathEscape(id)+"/rerun", nil, nil, nil)
}

// Build is one build.
func (c *Client) Build(ctx context.Context, id string) (pipeline.Build, error) {
	var b pipeline.Build
	err := c.get(ctx, "/builds/"+url.PathEscape(id), nil, &b)
	return b, err
}

// BuildArtifact opens an artifact of a build by its name.
func (c *Client) BuildArtifact(ctx context.Context, build, name string) (io.ReadCloser, error) {
	return c.open(ctx, call{method: http.MethodGet, path: "/builds/" + url.PathEscape(build) + "/artifacts/" + url.PathEscape(name)})
}

// BuildReport is a report of a build as it is stored, JSON with all of its
// cases. The caller closes it.
func (c *Client) BuildReport(ctx context.Context, build, name string) (io.ReadCloser, error) {
	return c.open(ctx, call{method: http.MethodGet, path: "/builds/" + url.PathEscape(build) + "/reports/" + url.PathEscape(name)})
}

// ReportGroups lists the report groups of all repositories, the one that was
// reported to last first.
func (c *Client) ReportGroups(ctx context.Context, limit int, after string) (pipeline.Page[pipeline.ReportGroup], error) {
	var page pipeline.Page[pipeline.ReportGroup]
	err := c.get(ctx, "/reports", paged(limit, after), &page)
	return page, err
}

// CaseHistory is how a case went in the reports of a group of the repository,
// which is owner/name.
func (c *Client) CaseHistory(ctx context.Context, forge, repo, group, key string) (pipeline.CaseHistory, error) {
	owner, name, _ := strings.Cut(repo, "/")
	var h pipeline.CaseHistory
	err := c.get(ctx, "/repos/"+url.PathEscape(forge)+"/"+url.PathEscape(owner)+"/"+url.PathEscape(name)+"/reports/"+url.PathEscape(group)+"/case", url.Values{"key": {key}}, &h)
	return h, err
}

// Deliveries lists webhook deliveries, newest first; an empty forge means all.
func (c *Client) Deliveries(ctx context.Context, forge string, limit int, after string) (pipeline.Page[pipeline.Delivery], error) {
	query := paged(limit, after)
	if forge != "" {
		query.Set("forge", forge)
	}
	var page pipeline.Page[pipeline.Delivery]
	err := c.get(ctx, "/deliveries", query, &page)
	return page, err
}

// Delivery is one delivery with headers and body.
func (c *Client) Delivery(ctx context.Context, forge, id string) (pipeline.Delivery, error) {
	var d pipeline.Delivery
	err := c.get(ctx, "/deliveries/"+url.PathEscape(id), ofForge(forge), &d)
	return d, err
}

// Replay runs a recorded delivery again and answers with the attempt's number.
func (c *Client) Replay(ctx context.Context, forge, id string) (int, error) {
	var out struct {
		Attempt int `json:"attempt"`
	}
	err := c.send(ctx, http.MethodPost, "/deliveries/"+url.PathEscape(id)+"/replay", ofForge(forge), nil, &out)
	return out.Attempt, err
}

func ofForge(forge string) url.Values {
	if forge == "" {
		return nil
	}
	return url.Values{"forge": {forge}}
}

// DeadLetters lists what failed too often.
func (c *Client) DeadLetters(ctx context.Context, limit int, after string) (pipeline.Page[DeadLetter], error) {
	var page pipeline.Page[DeadLetter]
	err := c.get(ctx, "/dead-letters", paged(limit, after), &page)
	return page, err
}

// ReplayDeadLetter gives a dead letter another chance.
func (c *Client) ReplayDeadLetter(ctx context.Context, id string) error {
	return c.send(ctx, http.MethodPost, "/dead-letters/"+url.PathEscape(id)+"/replay", nil, nil, nil)
}

// Workers lists runners and agents.
func (c *Client) Workers(ctx context.Context) ([]Worker, error) {
	var page pipeline.Page[Worker]
	err := c.get(ctx, "/workers", nil, &page)
	return page.Items, err
}

// SignIn makes an address that signs in the browser that opens it first.
func (c *Client) SignIn(ctx context.Context) (string, error) {
	var out struct {
		URL string `json:"url"`
	}
	err := c.send(ctx, http.MethodPost, "/sign-in", nil, nil, &out)
	return out.URL, err
}

// Retention removes from the server's blob store what is too old, or only says
// what that would be. It takes as long as that takes.
func (c *Client) Retention(ctx context.Context, trial bool) (out pipeline.Removal, err error) {
	method := http.MethodPost
	if trial {
		method = http.MethodGet
	}
	return out, c.finish(ctx, call{method: method, path: "/retention"}, &out)
}
