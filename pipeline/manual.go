package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// ManualRequest asks for an execution without a push (CodePipeline reference
// 3.2).
type ManualRequest struct {
	// Ref is the branch or tag, or refs/..., that the commit is taken for; empty
	// means the source's branch or, with a commit, that of the newest execution.
	Ref string `json:"ref,omitempty"`
	// Revisions pin the commit, of which the beginning may be enough; none means
	// the head of Ref.
	Revisions []SourceRevision  `json:"source_revisions,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
}

// SourceRevision pins what a source action brings.
type SourceRevision struct {
	Action string `json:"action_name"`
	Type   string `json:"revision_type"` // COMMIT_ID
	Value  string `json:"revision_value"`
}

// CommitID is the type of revision that a git source has.
const CommitID = "COMMIT_ID"

// CheckManual says what is wrong with a request, going by the newest execution
// of the pipeline: a *Refusal, or nil. The definition at the request's own
// commit has the last word.
func CheckManual(newest Execution, m ManualRequest) error {
	if len(m.Revisions) != 1 {
		return refuse(ValidationException, "source_revisions: want the commit of one source action, have %d", len(m.Revisions))
	}
	r := m.Revisions[0]
	known := false
	for _, st := range newest.Pipeline.Stages {
		known = known || slices.ContainsFunc(st.Actions, func(a Action) bool { return a.isRepository() && a.Name == r.Action })
	}
	switch {
	case !known:
		return refuse(ValidationException, "source_revisions: the pipeline has no source action %q", r.Action)
	case r.Type != CommitID:
		return refuse(ValidationException, "source_revisions: want the type %s, have %q", CommitID, r.Type)
	case !isCommit(r.Value):
		return refuse(ValidationException, "source_revisions: want a whole commit ID, have %q", r.Value)
	case newest.Trigger.Pull != nil && m.Ref == "":
		return refuse(ValidationException, "ref: say for which branch, the newest execution is a pull request's")
	}
	return nil
}

// Pin completes a request that names its commit by a branch, a tag or the
// beginning of its ID. r may be nil, which finds none.
func Pin(ctx context.Context, r Revisions, newest Execution, m ManualRequest) (ManualRequest, error) {
	named := len(m.Revisions) == 0
	if r == nil || !named && (len(m.Revisions) > 1 || m.Revisions[0].Type != CommitID || isCommit(m.Revisions[0].Value)) {
		return m, nil
	}
	name := m.Ref
	switch {
	case !named:
		name = m.Revisions[0].Value
	case name == "":
		name = newest.Pipeline.Branch
	}
	sha, ref, err := r.Resolve(ctx, newest.Repo, newest.Trigger.Installation, name)
	if err != nil {
		if mistake, ok := errors.AsType[*UserError](err); ok {
			return m, refuse(ValidationException, "%s", mistake.Msg)
		}
		return m, err
	}
	if named {
		m.Ref, m.Revisions = ref, []SourceRevision{{Action: newest.source(), Type: CommitID, Value: sha}}
		return m, nil
	}
	if m.Ref == "" {
		m.Ref = ref
	}
	m.Revisions = []SourceRevision{{Action: m.Revisions[0].Action, Type: CommitID, Value: sha}}
	return m, nil
}

// isRepository reports whether the action is the source that triggers and people
// pin: the repository itself. What lies beside it is always the newest.
func (a Action) isRepository() bool { return a.Category == Source && a.kind() == "" }

// source is the name of the execution's source action.
func (x *Execution) source() string {
	for _, st := range x.Pipeline.Stages {
		for _, a := range st.Actions {
			if a.isRepository() {
				return a.Name
			}
		}
	}
	return ""
}

func isCommit(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && (len(s) == 40 || len(s) == 64)
}

// manual starts what a person asked for. Its definition is the commit's.
func (o *Orchestrator) manual(ctx context.Context, e Event) error {
	b, _, err := o.store.Board(ctx, e.Board)
	if err != nil {
		return fmt.Errorf("loading board %s: %w", e.Board, err)
	}
	newest, err := o.store.Execution(ctx, b.Newest())
	if err != nil {
		return fmt.Errorf("loading the newest execution of %s: %w", e.Board, err)
	}
	if e.Manual == nil || CheckManual(newest, *e.Manual) != nil {
		return nil
	}
	t := Trigger{
		Type: "StartPipelineExecution", Delivery: e.ID, Actor: forge.User{Login: e.By}, Installation: newest.Trigger.Installation,
		SHA: e.Manual.Revisions[0].Value, Ref: newest.Trigger.Ref, Trusted: true,
	}
	if ref := e.Manual.Ref; ref != "" {
		if t.Ref = ref; !strings.HasPrefix(ref, "refs/") {
			t.Ref = "refs/heads/" + ref
		}
	}
	t.FetchRef = t.Ref
	start := &Start{
		ID: ExecutionID("api", e.ID, e.Board, 0), Pipeline: newest.Pipeline, Project: b.Project, Repo: b.Repo, Trigger: t, Variables: e.Manual.Variables,
	}
	if err := o.redefine(ctx, start); err != nil {
		return err
	}
	return o.submitStart(ctx, e.Board, start)
}
