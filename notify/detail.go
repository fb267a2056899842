package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// detail is a change in the words of AWS's events (CodePipeline reference
// 3.15). What names a region or a bucket has no meaning here and is left out.
type detail struct {
	Pipeline  string            `json:"pipeline"`
	Execution string            `json:"execution-id"`
	Version   int               `json:"version"`
	State     string            `json:"state"`
	Attempt   int               `json:"pipeline-execution-attempt,omitempty"`
	Stage     string            `json:"stage,omitempty"`
	Action    string            `json:"action,omitempty"`
	Type      *actionType       `json:"type,omitempty"`
	Outputs   []artifactName    `json:"output-artifacts,omitempty"`
	Result    *executionResult  `json:"execution-result,omitempty"`
	Trigger   *executionTrigger `json:"execution-trigger,omitempty"`
	Stop      string            `json:"stop-execution-comments,omitempty"`
	// The rest is ours.
	Repository string `json:"repository"` // forge/owner/name
	Ref        string `json:"ref,omitempty"`
	Commit     string `json:"commit"`
	Pull       int    `json:"pull-request,omitempty"`
	URL        string `json:"url,omitempty"`
}

type actionType struct {
	Owner    string `json:"owner"`
	Category string `json:"category"`
	Provider string `json:"provider"`
	Version  string `json:"version"`
}

type artifactName struct {
	Name string `json:"name"`
}

type executionResult struct {
	URL     string `json:"external-execution-url,omitempty"`
	Summary string `json:"external-execution-summary,omitempty"`
	ID      string `json:"external-execution-id,omitempty"`
	Code    string `json:"error-code,omitempty"`
}

type executionTrigger struct {
	Type   string `json:"trigger-type"`
	Detail string `json:"trigger-detail,omitempty"`
}

// detailOf is a change's detail-type, detail, and what notification rules add.
func detailOf(h *teller, c change) (kind string, data, additional json.RawMessage) {
	x := h.x
	d := detail{
		Pipeline: x.Pipeline.Name, Execution: x.ID, Version: 1, State: c.state, Attempt: x.Attempt, Stage: c.stage,
		Repository: x.Repo.Forge + "/" + x.Repo.FullName(), Ref: x.Trigger.Ref, Commit: x.Trigger.SHA, URL: pageURL(h.base, "executions", x.ID),
		Trigger: &executionTrigger{Type: x.Trigger.Type, Detail: x.Trigger.Name()},
	}
	if x.Trigger.Pull != nil {
		d.Pull = x.Trigger.Pull.Number
	}
	kind = "CodePipeline Pipeline Execution State Change"
	switch {
	case strings.HasPrefix(c.event, "deployment-"):
		return "CodeDeploy Deployment State-change Notification", encoded(deploymentDetail(h, c)), nil
	case c.work != nil:
		kind = "CodePipeline Action Execution State Change"
		d.describe(h, c)
	case c.stage != "":
		kind = "CodePipeline Stage Execution State Change"
	case c.state == "STOPPED":
		d.Stop = x.Reason
	}
	return kind, encoded(d), encoded(additionalOf(h, c))
}

// describe adds what events of actions have.
func (d *detail) describe(h *teller, c change) {
	w := c.work
	d.Action = w.def.Name
	d.Type = &actionType{Owner: "AWS", Category: string(w.def.Category), Provider: w.def.Provider, Version: "1"}
	if c.since.IsZero() {
		return
	}
	for _, a := range w.exec.Artifacts {
		d.Outputs = append(d.Outputs, artifactName{a.Name})
	}
	d.Result = &executionResult{URL: logURL(h.base, *w, 0), ID: w.exec.Job}
	if c.why != nil {
		d.Result.Summary, d.Result.Code = cut(printable(c.why.text), 1000), c.why.code
	}
}

// failedAction is one of additionalAttributes.failedActions.
type failedAction struct {
	Action string `json:"action"`
	Info   string `json:"additionalInformation,omitempty"`
}

// additionalOf is what notification rules add to an event.
func additionalOf(h *teller, c change) map[string]any {
	out := map[string]any{}
	switch {
	case c.event == "pipeline-execution-failed":
		list := []failedAction{}
		stage := ""
		for _, w := range h.list {
			if w.exec.Status != pipeline.Failed {
				continue
			}
			if p := h.problemOf(w); p != nil {
				list = append(list, failedAction{w.def.Name, cut(printable(p.text), 500)})
			}
			stage = w.stage
		}
		out["failedActionCount"], out["failedActions"], out["failedStage"] = len(list), list, stage
	case c.event == "action-execution-failed" && c.why != nil:
		out["additionalInformation"] = cut(printable(c.why.text), 500)
	case c.event == "manual-approval-needed":
		p := c.work.exec.Approval
		out["customData"], out["externalEntityLink"], out["token"] = p.Message, p.Link, p.Token
	}
	return out
}

// approvalDocument is what an approval publishes once (CodePipeline reference
// 3.9).
func approvalDocument(h *teller, c change) json.RawMessage {
	p, page := c.work.exec.Approval, pageURL(h.base, "executions", h.x.ID)
	return encoded(map[string]any{
		"region": "local", "consoleLink": page,
		"approval": map[string]any{
			"pipelineName": h.x.Pipeline.Name, "stageName": c.stage, "actionName": c.work.def.Name, "token": p.Token,
			"expires": p.Expires.UTC().Format("2006-01-02T15:04Z"), "externalEntityLink": p.Link, "approvalReviewLink": page, "customData": p.Message,
		},
	})
}

// deploymentDetail is what CodeDeploy's triggers say (CodeDeploy reference
// 5.8).
func deploymentDetail(h *teller, c change) map[string]any {
	names := map[string][2]string{
		"deployment-started": {"DeploymentStart", "STARTED"}, "deployment-succeeded": {"DeploymentSuccess", "SUCCEEDED"},
		"deployment-failed": {"DeploymentFailure", "FAILED"}, "deployment-stopped": {"DeploymentStop", "STOPPED"},
	}
	config := c.work.def.Configuration
	if r := c.work.exec.Resolved; r != nil && r.Configuration != nil {
		config = r.Configuration
	}
	out := map[string]any{
		"eventTriggerName": names[c.event][0], "status": names[c.event][1], "deploymentId": c.work.exec.Job,
		"applicationName": config[pipeline.ConfigApplication], "deploymentGroupName": config[pipeline.ConfigGroup],
		"createTime":   cmpTime(c.since, c.at).Format(time.RFC3339),
		"execution-id": h.x.ID, "pipeline": h.x.Pipeline.Name, "stage": c.stage, "action": c.work.def.Name,
		"repository": h.x.Repo.Forge + "/" + h.x.Repo.FullName(), "commit": h.x.Trigger.SHA,
	}
	if !c.since.IsZero() {
		out["completeTime"] = c.at.UTC().Format(time.RFC3339)
	}
	if c.why != nil {
		out["errorInformation"] = fmt.Sprintf("%s: %s", orText(c.why.code, "FAILED"), cut(printable(c.why.text), 500))
	}
	return out
}

// encoded is JSON of our own types; nil for an empty map.
func encoded(v any) json.RawMessage {
	if m, ok := v.(map[string]any); ok && len(m) == 0 {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers, lists and maps of them
	}
	return data
}
