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
	// Order and Mode are those of the newest execution's definition: the names
	// of its stages, and how executions meet.
	Order []string `json:"order,omitempty"`
	Mode  Mode     `json:"mode,omitempty"`
	// Timetable is when the pipeline starts by itself; nil: never.
	Timetable *Timetable `json:"timetable,omitempty"`
	// Pulls are the open pull requests by head branch, so that a push to such a
	// branch is built once, as the pull request's execution. One without a
	// number was closed, or is a draft: an older event doesn't open it again.
	Pulls map[string]OpenPull `json:"pulls,omitempty"`
	// Pushed are the newest pushes, by ref, that started executions which keep
	// an order.
	Pushed map[string]PushedRef `json:"pushed,omitempty"`
	// Live are the executions that have not ended, by ID. The store keeps each
	// in a field of its own.
	Live map[string]*Execution `json:"-"`
}

// StageState is the live state of one stage.
type StageState struct {
	Holder  string   `json:"holder,omitempty"`  // the execution inside
	Inbound []string `json:"inbound,omitempty"` // those waiting in front, in order
	// Latest is the number of the newest execution that ever entered and took
	// the lock.
	Latest int `json:"latest,omitempty"`
	// Disabled is the reason why the transition into the stage is off; empty:
	// it is on.
	Disabled string `json:"disabled,omitempty"`
	// ChangedAt and ChangedBy say since when, and by whom, the transition is as
	// it is.
	ChangedAt time.Time `json:"changed_at,omitzero"`
	ChangedBy string    `json:"changed_by,omitempty"`
	// Expires is when those who wait in front of a disabled transition end.
	Expires time.Time `json:"expires,omitzero"`
	// Last is the execution that entered last, and how it is doing there.
	Last       string `json:"last,omitempty"`
	LastNumber int    `json:"last_number,omitempty"`
	LastStatus Status `json:"last_status,omitempty"`
	// Definition is the digest of the stage in the newest execution's
	// definition. Good is the execution that succeeded in the stage last, with
	// the stage defined as GoodDefinition: what a rollback goes back to.
	Definition     string `json:"definition,omitempty"`
	Good           string `json:"good,omitempty"`
	GoodDefinition string `json:"good_definition,omitempty"`
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

// Newest is the execution that entered the pipeline last, ended or not; empty
// if there was none.
func (b *Board) Newest() string {
	newest, number := "", -1
	for _, st := range b.Stages {
		if st.LastNumber > number && st.Last != "" {
			newest, number = st.Last, st.LastNumber
		}
	}
	return newest
}

// NewBoard is the Board of a pipeline that nothing has happened to.
func NewBoard(key string, repo forge.Repo, project, pipeline string) *Board {
	return &Board{
		V: 1, Key: key, Repo: repo, Project: project, Pipeline: pipeline,
		Stages: map[string]*StageState{}, Pulls: map[string]OpenPull{}, Live: map[string]*Execution{},
	}
}
