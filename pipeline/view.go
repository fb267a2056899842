package pipeline

import (
	"maps"
	"slices"
	"time"
)

// View is a Board as people look at it.
type View struct {
	ID      string      `json:"id"` // the Board's key
	Forge   string      `json:"forge"`
	Repo    string      `json:"repo"` // owner/name
	Name    string      `json:"name"`
	Project string      `json:"project"`
	Mode    Mode        `json:"mode,omitempty"`
	Started int         `json:"started"` // executions ever
	Stages  []StageView `json:"stages"`
	// Timetable is when the pipeline starts by itself.
	Timetable *Timetable `json:"timetable,omitempty"`
}

// StageView is one stage of it (CodePipeline reference 3.4).
type StageView struct {
	Name       string         `json:"name"`
	Transition TransitionView `json:"transition"`
	// Holder is inside, Waiting are in front in the order of their turns. In
	// PARALLEL mode nobody holds a stage: Inside are all who are in it.
	Holder  *LiveView  `json:"holder,omitempty"`
	Inside  []LiveView `json:"inside,omitempty"`
	Waiting []LiveView `json:"waiting,omitempty"`
	// Latest is the execution that entered last, ended or not.
	Latest *LatestView `json:"latest,omitempty"`
	// Good is the execution that a rollback would go back to.
	Good string `json:"good,omitempty"`
}

// TransitionView is the way into a stage.
type TransitionView struct {
	Enabled   bool      `json:"enabled"`
	Reason    string    `json:"reason,omitempty"` // why it is disabled
	ChangedAt time.Time `json:"changed_at,omitzero"`
	ChangedBy string    `json:"changed_by,omitempty"`
	// Expires is when those who wait are given up; zero: never.
	Expires time.Time `json:"expires,omitzero"`
}

// LiveView is an execution that has not ended.
type LiveView struct {
	ID        string    `json:"id"`
	Number    int       `json:"number"`
	Status    Status    `json:"status"`
	SHA       string    `json:"sha"`
	Ref       string    `json:"ref"`
	Approvals []Waiting `json:"approvals,omitempty"`
}

// LatestView is the execution that entered a stage last, and how it did there.
type LatestView struct {
	ID     string `json:"id"`
	Number int    `json:"number"`
	Status Status `json:"status"`
}

// View is the Board as people look at it, its stages in the order of the
// newest definition, and then those that it has no longer but somebody is in.
func (b *Board) View() View {
	v := View{
		ID: b.Key, Forge: b.Repo.Forge, Repo: b.Repo.FullName(), Name: b.Pipeline, Project: b.Project,
		Mode: b.Mode, Started: b.Executions, Stages: []StageView{}, Timetable: b.Timetable,
	}
	names := slices.Clone(b.Order)
	for _, name := range slices.Sorted(maps.Keys(b.Stages)) {
		st := b.Stages[name]
		if !slices.Contains(names, name) && (st.Holder != "" || len(st.Inbound) > 0 || st.Disabled != "") {
			names = append(names, name)
		}
	}
	for _, name := range names {
		v.Stages = append(v.Stages, b.viewStage(name))
	}
	return v
}

func (b *Board) viewStage(name string) StageView {
	v := StageView{Name: name, Transition: TransitionView{Enabled: true}}
	for _, id := range slices.Sorted(maps.Keys(b.Live)) {
		x := b.Live[id]
		if st := x.Stage(name); st != nil && (st.Status == InProgress || st.Status == Stopping) {
			v.Inside = append(v.Inside, x.live())
		}
	}
	slices.SortFunc(v.Inside, func(a, b LiveView) int { return a.Number - b.Number })
	st := b.Stages[name]
	if st == nil {
		return v
	}
	v.Transition = TransitionView{Enabled: st.Disabled == "", Reason: st.Disabled, ChangedAt: st.ChangedAt, ChangedBy: st.ChangedBy}
	if st.Disabled != "" {
		v.Transition.Expires = st.Expires
	}
	if x := b.Live[st.Holder]; x != nil {
		holder := x.live()
		v.Holder = &holder
	}
	for _, id := range st.Inbound {
		if x := b.Live[id]; x != nil {
			v.Waiting = append(v.Waiting, x.live())
		}
	}
	if st.Last != "" {
		v.Latest = &LatestView{ID: st.Last, Number: st.LastNumber, Status: st.LastStatus}
	}
	v.Good = st.Good
	return v
}

func (x *Execution) live() LiveView {
	return LiveView{ID: x.ID, Number: x.Number, Status: x.Status, SHA: x.Trigger.SHA, Ref: x.Trigger.Ref, Approvals: x.Waiting()}
}
