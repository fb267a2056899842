package pipeline

import (
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// Board is the live state of one pipeline of one repository: who holds which
// stage, who waits in front of it, and the executions that have not ended.
// Advance alone changes it. Executions that ended are taken off the Board and
// kept as records.
type Board struct {
	V        int        `json:"v"`
	Key      string     `json:"key"`
	Repo     forge.Repo `json:"repo"`
	Pipeline string     `json:"pipeline"`
	Project  string     `json:"project"`
	// Executions counts those ever started; the next one's number is one more.
	Executions int `json:"executions"`
	// Builds counts the builds ever numbered.
	Builds int                    `json:"builds"`
	Stages map[string]*StageState `json:"stages"`
	// Pulls are the open pull requests by head branch, so that a push to such a
	// branch is built once, as the pull request's execution. One without a
	// number was closed, or is a draft: an older event doesn't open it again.
	Pulls map[string]OpenPull `json:"pulls,omitempty"`
	// Live are the executions that have not ended, by ID. The store keeps each
	// in a field of its own.
	Live map[string]*Execution `json:"-"`
}

// StageState is the live state of one stage.
type StageState struct {
	Holder  string   `json:"holder,omitempty"`  // the execution inside
	Inbound []string `json:"inbound,omitempty"` // those waiting in front, in order
	// Latest is the number of the newest execution that ever entered.
	Latest int `json:"latest,omitempty"`
	// Disabled is the reason why the transition into the stage is off; empty:
	// it is on.
	Disabled string `json:"disabled,omitempty"`
}

// OpenPull is the last word on the pull requests of a branch of the repository
// itself: the number of the open one, 0 if there is none.
type OpenPull struct {
	Number    int       `json:"number"`
	UpdatedAt time.Time `json:"updated_at"`
}

// BoardKey names the Board of a repository's pipeline. It is used between the
// braces of Redis keys and in URLs, so it holds no brace, slash or colon.
func BoardKey(repo forge.Repo, project, pipeline string) string {
	return clean(repo.Forge) + "." + clean(repo.ID) + "." + clean(project) + "." + clean(pipeline)
}

// NewBoard is the Board of a pipeline that nothing has happened to.
func NewBoard(key string, repo forge.Repo, project, pipeline string) *Board {
	return &Board{
		V: 1, Key: key, Repo: repo, Project: project, Pipeline: pipeline,
		Stages: map[string]*StageState{}, Pulls: map[string]OpenPull{}, Live: map[string]*Execution{},
	}
}
