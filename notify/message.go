package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/pipeline"
)

// Message is one change of an execution, as targets are told of it. It holds
// all that a target needs to say it in its own form.
type Message struct {
	// ID is the same for every try to tell the change, also after a restart.
	ID string `json:"id"`
	// Event is one of Events, such as pipeline-execution-failed.
	Event string    `json:"event"`
	Time  time.Time `json:"time"` // of the change, UTC
	State string    `json:"state"`

	Forge     string `json:"forge"`
	Repo      string `json:"repo"` // owner/name
	Pipeline  string `json:"pipeline"`
	Execution string `json:"execution"`
	Number    int    `json:"number"`
	Stage     string `json:"stage,omitempty"`
	Action    string `json:"action,omitempty"`

	Ref     string `json:"ref,omitempty"`
	Branch  string `json:"branch,omitempty"` // empty for a tag
	SHA     string `json:"sha"`
	Pull    int    `json:"pull,omitempty"`
	Author  string `json:"author,omitempty"`
	Subject string `json:"subject,omitempty"` // first line of the commit message

	// Elapsed is how long what ended had taken; 0: it did not end.
	Elapsed time.Duration `json:"elapsed,omitempty"`
	// Culprit is the action, as stage/action, that Problem speaks of.
	Culprit string `json:"culprit,omitempty"`
	// Problem says why it did not succeed, and Tail is what the failing command
	// wrote last.
	Problem string   `json:"problem,omitempty"`
	Tail    []string `json:"tail,omitempty"`
	// Question is what an approval asks.
	Question string `json:"question,omitempty"`
	URL      string `json:"url,omitempty"`
	LogURL   string `json:"log_url,omitempty"`

	// Notify are the targets that an approval names itself; they are told
	// whatever events they ask for.
	Notify []string `json:"-"`

	// DetailType and Detail are the change in AWS's words (CodePipeline reference
	// 3.15), and Additional what its notification rules add.
	DetailType string          `json:"detail_type"`
	Detail     json.RawMessage `json:"detail"`
	Additional json.RawMessage `json:"additional,omitempty"`
	// Approval is the document of a waiting approval (CodePipeline reference 3.9).
	Approval json.RawMessage `json:"approval,omitempty"`
}

// The events that targets may ask for, by the words of notification rules
// without their prefix codepipeline-pipeline- (CodePipeline reference 3.15).
// Those of deployments are ours.
var Events = []string{
	"pipeline-execution-started", "pipeline-execution-resumed", "pipeline-execution-succeeded", "pipeline-execution-failed",
	"pipeline-execution-canceled", "pipeline-execution-superseded",
	"stage-execution-started", "stage-execution-resumed", "stage-execution-succeeded", "stage-execution-failed",
	"stage-execution-canceled", "stage-execution-skipped",
	"action-execution-started", "action-execution-succeeded", "action-execution-failed", "action-execution-canceled",
	"manual-approval-needed", "manual-approval-succeeded", "manual-approval-failed",
	"deployment-started", "deployment-succeeded", "deployment-failed", "deployment-stopped",
}

// eventPrefix is what AWS puts before the words of pipelines.
const eventPrefix = "codepipeline-pipeline-"

// DefaultEvents are those of a target that asks for none: how executions end,
// and what waits for people.
var DefaultEvents = []string{
	"pipeline-execution-succeeded", "pipeline-execution-failed", "pipeline-execution-canceled",
	"pipeline-execution-superseded", "manual-approval-needed",
}

// messageSpace is the namespace of the IDs of messages.
var messageSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/slipway-ci/slipway/messages"))

// messageID names a change: the same for the same parts.
func messageID(parts ...string) string {
	return uuid.NewSHA1(messageSpace, []byte(strings.Join(parts, "\x00"))).String()
}

// Title is the change in one line: [FAILED] web #128 · Deploy/prod.
func (m Message) Title() string {
	name := m.Repo
	if _, short, ok := strings.Cut(m.Repo, "/"); ok {
		name = short
	}
	if m.Pipeline != pipeline.DefaultPipeline {
		name += " " + m.Pipeline
	}
	title := fmt.Sprintf("[%s] %s", m.State, name)
	if m.Number > 0 {
		title += fmt.Sprintf(" #%d", m.Number)
	}
	switch {
	case m.Action != "":
		title += " · " + m.Stage + "/" + m.Action
	case m.Culprit != "":
		title += " · " + m.Culprit
	case m.Stage != "":
		title += " · " + m.Stage
	}
	return cut(plain(title), 150)
}

// Revision is what was run, in one line: octo/web · main · abc1234.
func (m Message) Revision() string {
	parts := []string{m.Repo}
	switch {
	case m.Pull > 0:
		parts = append(parts, fmt.Sprintf("pull request #%d", m.Pull))
	case m.Branch != "":
		parts = append(parts, m.Branch)
	case m.Ref != "":
		parts = append(parts, strings.TrimPrefix(m.Ref, "refs/tags/"))
	}
	return strings.Join(append(parts, pipeline.ShortSHA(m.SHA)), " · ")
}

// Took is how long what ended had taken, as people read it; empty: it goes on.
func (m Message) Took() string {
	if m.Elapsed <= 0 {
		return ""
	}
	return short(m.Elapsed)
}
