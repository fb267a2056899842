package pipeline

import (
	"slices"
	"time"
)

// retry runs actions of a stage again, with the revisions and the definition
// that the execution has (CodePipeline reference 3.6).
func (s *step) retry() {
	if Check(s.b, s.e) != nil {
		return
	}
	x := s.revived()
	i := x.stageIndex(s.e.Stage)
	if x.Pipeline.Mode != ParallelMode {
		s.stage(s.e.Stage).Holder = x.ID
	}
	x.Attempt++
	x.Stages[i].ManualRetries++
	s.restart(x, i, s.e.Retry)
	s.proceed(x, i)
}

// restart makes stage i as if the actions that are to run again had not.
func (s *step) restart(x *Execution, i int, mode RetryMode) {
	sx := &x.Stages[i]
	sx.Status, sx.EndedAt = InProgress, time.Time{}
	before := StageExecution{Actions: slices.Clone(sx.Actions)}
	for j := range sx.Actions {
		a := &sx.Actions[j]
		if !before.restarts(*a, mode) {
			continue
		}
		*a = a.blank()
	}
	sx.forgetConditions()
	s.shown(x, i)
}

// blank is an action that is to be tried again: it remembers its attempts.
func (a ActionExecution) blank() ActionExecution {
	again := ActionExecution{Name: a.Name, Attempt: a.Attempt, Earlier: a.Earlier, TaskOf: a.TaskOf}
	if a.Job != "" {
		again.Earlier = append(again.Earlier, a.Job)
	}
	return again
}

// retriesItself starts a failed stage again where its definition says so: once
// for each stage execution, and not after a person said no.
func (s *step) retriesItself(x *Execution, i int) bool {
	mode, sx := x.Pipeline.Stages[i].OnFailure.Retry, &x.Stages[i]
	if mode == "" || sx.AutoRetries > 0 || sx.ManualRetries > 0 || x.Problem != nil {
		return false
	}
	for _, a := range sx.Actions {
		if a.Error != nil && a.Error.Code == Rejected {
			return false
		}
	}
	sx.AutoRetries++
	s.restart(x, i, mode)
	return true
}
