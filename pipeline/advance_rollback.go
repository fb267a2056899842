package pipeline

import (
	"slices"
	"time"
)

// rollback goes back, at a person's word, to what an earlier execution did in a
// stage.
func (s *step) rollback() {
	if Check(s.b, s.e) != nil {
		return
	}
	s.goBack(s.e.Found, s.e.Stage, "ManualRollback")
}

// rollsBack goes back from a stage that failed, where there is something to go
// back to. The lock passes from x to the rollback, so that nobody who
// waits comes between (CodePipeline reference 3.7).
func (s *step) rollsBack(x *Execution, i int) bool {
	st := s.stage(x.Stages[i].Name)
	if x.Target != "" || x.Pipeline.Mode == ParallelMode || i == 0 ||
		st.Holder != x.ID || st.Good == "" || st.GoodDefinition != x.Pipeline.Stages[i].digest() {
		return false
	}
	t := s.b.Live[st.Good]
	if t == nil && s.e.Found != nil && s.e.Found.ID == st.Good {
		t = s.e.Found
	}
	switch {
	case t == nil && s.e.Missing: // retention was faster
		return false
	case t == nil:
		s.wants = st.Good
		return false
	}
	s.goBack(t, x.Stages[i].Name, "AutomatedRollback")
	return true
}

// goBack starts an execution that is t's, up to the stage, which runs again.
// Nothing comes after it.
func (s *step) goBack(t *Execution, stage, why string) {
	i := t.stageIndex(stage)
	s.b.Executions++
	x := t.clone()
	x.ID, x.Target = rollbackID(s.e.ID, s.b.Key, stage), t.ID
	x.Number, x.Attempt, x.Revision = s.b.Executions, 1, 0
	x.Status, x.Reason, x.Stop, x.Annotations = InProgress, "", StopCancel, nil
	x.CreatedAt, x.StartedAt, x.EndedAt = s.e.At, s.e.At, time.Time{}
	x.Trigger.Type, x.Trigger.Rerun = why, ""
	if s.e.Type == RollbackWanted {
		x.Trigger.Actor.Login = s.e.By
	}
	x.Stages = x.Stages[:i+1]
	x.Pipeline.Stages = slices.Clone(x.Pipeline.Stages[:i+1])
	x.Pipeline.Stages[i] = x.Pipeline.Stages[i].withoutTasks()
	x.Pipeline.Stages[i].OnFailure, x.Pipeline.Stages[i].BeforeEntry, x.Pipeline.Stages[i].OnSuccess = OnFailure{}, nil, nil
	x.Stages[i] = StageExecution{Name: stage}
	for _, a := range x.Pipeline.Stages[i].Actions {
		x.Stages[i].Actions = append(x.Stages[i].Actions, ActionExecution{Name: a.Name})
	}
	s.touch(x)
	s.stage(stage).Holder = x.ID
	s.enter(x, i)
}
