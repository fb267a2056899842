package pipeline

import (
	"fmt"
	"slices"
	"time"
)

// proceed starts what may start in stage i, and closes the stage when nothing
// is left to do (CodePipeline reference 1.2: actions of one run order start
// together, the next order after all of them succeeded).
func (s *step) proceed(x *Execution, i int) {
	for !x.Status.Ended() && x.Stages[i].Status == InProgress {
		if x.Stages[i].running() {
			return
		}
		if failed := x.Stages[i].failed(); failed != nil || x.Status == Stopping {
			s.closeStage(x, i, failed)
			return
		}
		order, ok := x.nextOrder(i)
		if !ok {
			s.succeedStage(x, i)
			return
		}
		for j, a := range x.Pipeline.Stages[i].Actions {
			if a.RunOrder == order && x.Stages[i].Actions[j].Status == Pending {
				s.begin(x, i, j)
			}
		}
	}
}

func (s *step) succeedStage(x *Execution, i int) {
	sx := &x.Stages[i]
	sx.Status, sx.EndedAt = Succeeded, s.e.At
	s.release(x, i)
	s.arrive(x, i+1)
}

// closeStage ends a stage that failed or was stopped, and x with it.
func (s *step) closeStage(x *Execution, i int, failed *ActionExecution) {
	sx := &x.Stages[i]
	sx.EndedAt = s.e.At
	if x.Status == Stopping {
		sx.Status = Stopped
		s.end(x, Stopped, x.Reason)
	} else {
		sx.Status = Failed
		s.end(x, Failed, failed.Error.Message)
	}
	s.release(x, i)
}

// nextOrder is the lowest run order of stage i with an action that was not
// started.
func (x *Execution) nextOrder(i int) (int, bool) {
	order, found := 0, false
	for j, a := range x.Pipeline.Stages[i].Actions {
		if x.Stages[i].Actions[j].Status == Pending && (!found || a.RunOrder < order) {
			order, found = a.RunOrder, true
		}
	}
	return order, found
}

func (sx *StageExecution) running() bool {
	return slices.ContainsFunc(sx.Actions, func(a ActionExecution) bool { return a.Status == InProgress })
}

func (sx *StageExecution) failed() *ActionExecution {
	for j := range sx.Actions {
		if a := &sx.Actions[j]; a.Status == Failed || a.Status == Abandoned {
			return a
		}
	}
	return nil
}

// begin starts one action. What it needs no worker for ends here and now.
func (s *step) begin(x *Execution, i, j int) {
	def, a := x.Pipeline.Stages[i].Actions[j], &x.Stages[i].Actions[j]
	a.Status, a.QueuedAt = InProgress, s.e.At
	a.Attempt++
	switch def.Category {
	case Source:
		a.StartedAt = s.e.At
		if x.Problem != nil {
			s.fail(a, ConfigurationError, x.Problem.Error(), BuildFailed)
			return
		}
		a.Status, a.EndedAt = Succeeded, s.e.At // the revision was pinned by the trigger
	case BuildCat:
		s.b.Builds++
		a.Number, a.Kind = s.b.Builds, BuildJob
		s.enqueue(x, i, j, time.Time{})
	case Deploy:
		a.Kind = DeployJob
		s.enqueue(x, i, j, time.Time{})
	default:
		s.fail(a, ConfigurationError, fmt.Sprintf("nothing here performs actions of category %q", def.Category), BuildFailed)
	}
}

// enqueue hands the present attempt to the queue.
func (s *step) enqueue(x *Execution, i, j int, notBefore time.Time) {
	def, a := x.Pipeline.Stages[i].Actions[j], &x.Stages[i].Actions[j]
	stage := x.Stages[i].Name
	if a.Kind == DeployJob {
		a.Job = DeploymentID(x.ID, stage, a.Name, a.Attempt)
	} else {
		a.Job = BuildID(x.ID, stage, a.Name, a.Attempt)
	}
	a.Class = ClassOf(a.Kind, def.Labels, def.Compute)
	s.do(Effect{Type: AddJob, Execution: x.ID, Job: &Job{
		V: 1, ID: a.Job, Kind: a.Kind, Repo: x.Repo.Forge + "/" + x.Repo.ID, Project: x.Project, Pipeline: x.Board,
		Execution: x.ID, Stage: stage, Action: a.Name, Attempt: a.Attempt,
		Labels: def.Labels, Compute: def.Compute, Concurrency: def.Concurrency, Timeout: def.Timeout,
		NotBefore: notBefore, Trusted: x.Trigger.Trusted,
	}})
	s.timer(x, stage, a, timerQueued, s.e.At.Add(s.rules.queuedTimeout()))
}

func (s *step) fail(a *ActionExecution, code, message string, outcome BuildStatus) {
	a.Status, a.EndedAt, a.Outcome = Failed, s.e.At, outcome
	a.Error = &ActionError{Code: code, Message: message}
}

// attempt finds the running attempt that the event speaks of; a is nil if
// there is none any more.
func (s *step) attempt() (x *Execution, i, j int, a *ActionExecution) {
	live := s.b.Live[s.e.Execution]
	if live == nil {
		return nil, 0, 0, nil
	}
	i = live.stageIndex(s.e.Stage)
	if i < 0 {
		return nil, 0, 0, nil
	}
	j = slices.IndexFunc(live.Stages[i].Actions, func(a ActionExecution) bool { return a.Name == s.e.Action })
	if j < 0 {
		return nil, 0, 0, nil
	}
	if a := live.Stages[i].Actions[j]; a.Attempt != s.e.Attempt || a.Status != InProgress {
		return nil, 0, 0, nil
	}
	x = s.execution(s.e.Execution)
	return x, i, j, &x.Stages[i].Actions[j]
}

func (s *step) claimed() {
	x, i, j, a := s.attempt()
	if a == nil || a.Worker != "" {
		return
	}
	a.Worker, a.StartedAt = s.e.Worker, s.e.At
	if limit := x.Pipeline.Stages[i].Actions[j].Timeout; limit > 0 {
		s.timer(x, x.Stages[i].Name, a, timerRunning, s.e.At.Add(limit+overrun))
	}
}

// ended takes an attempt's result.
func (s *step) ended() {
	x, i, j, a := s.attempt()
	if a == nil || s.e.Outcome == nil {
		return
	}
	o := s.e.Outcome
	a.Artifacts, a.Exported, a.Outcome, a.EndedAt = o.Artifacts, o.Exported, o.Status, s.e.At
	if a.Worker == "" {
		a.Worker, a.StartedAt = s.e.Worker, s.e.At
	}
	x.Annotations = append(x.Annotations, o.Annotations...)
	switch o.Status {
	case BuildSucceeded:
		a.Status = Succeeded
	case BuildStopped:
		a.Status = Abandoned
		a.Error = &ActionError{Code: JobFailed, Message: orText(o.Message, "stopped")}
	case BuildTimedOut:
		s.fail(a, TimedOut, orText(o.Message, "timed out"), o.Status)
	case BuildFault:
		s.infrastructure(x, i, j, SystemUnavailable, orText(o.Message, "the service failed"))
	default:
		s.fail(a, JobFailed, orText(o.Message, "failed"), BuildFailed)
	}
	s.proceed(x, i)
}

// unbegunLimit is how many attempts may be lost on their way to a worker, on
// top of those that count as retries: nothing of them has run, so a server that
// is restarted often should not fail a build by it.
const unbegunLimit = 20

// lost ends an attempt whose worker is gone; the next one starts by itself
// unless too many were lost.
func (s *step) lost() {
	x, i, j, a := s.attempt()
	switch {
	case a == nil:
		return
	case s.e.Unbegun && a.Unbegun < unbegunLimit && x.Status != Stopping:
		a.Unbegun++
		s.again(x, i, j, time.Time{})
	default:
		s.infrastructure(x, i, j, RunnerLost, "the worker of this attempt is gone")
	}
	s.proceed(x, i)
}

// retryDelay spaces attempts that the service failed.
const retryDelay = 2 * time.Second

func (s *step) infrastructure(x *Execution, i, j int, code, message string) {
	a := &x.Stages[i].Actions[j]
	a.Lost++
	if x.Status == Stopping || a.Lost > s.rules.retries() {
		s.fail(a, code, fmt.Sprintf("%s (attempt %d)", message, a.Attempt), BuildFault)
		return
	}
	var notBefore time.Time
	if code != RunnerLost {
		notBefore = s.e.At.Add(retryDelay * time.Duration(a.Lost))
	}
	s.again(x, i, j, notBefore)
}

// again makes an action's next attempt.
func (s *step) again(x *Execution, i, j int, notBefore time.Time) {
	a := &x.Stages[i].Actions[j]
	*a = ActionExecution{
		Name: a.Name, Status: InProgress, Attempt: a.Attempt + 1, Lost: a.Lost, Unbegun: a.Unbegun, Kind: a.Kind,
		Number: a.Number, QueuedAt: s.e.At, Earlier: append(a.Earlier, a.Job),
	}
	s.enqueue(x, i, j, notBefore)
}

// refused ends an attempt that can't be given to any worker.
func (s *step) refused() {
	x, i, _, a := s.attempt()
	if a == nil {
		return
	}
	s.fail(a, ConfigurationError, orText(s.e.Reason, "the job can't be given out"), BuildFault)
	s.cancel(x, a, s.e.Reason)
	s.proceed(x, i)
}

// retry runs the failed actions of a stage again, with the revisions and the
// definition that the execution has (CodePipeline reference 3.6). It is refused,
// by doing nothing, where nothing failed or a newer execution was in the stage.
func (s *step) retry() {
	x := s.e.Revive
	if x == nil || x.Gate != "" || s.b.Live[x.ID] != nil || (x.Status != Failed && x.Status != Stopped) {
		return
	}
	i := x.stageIndex(s.e.Stage)
	if i < 0 || x.Stages[i].failed() == nil {
		return
	}
	if st := s.stage(s.e.Stage); x.Pipeline.Mode != ParallelMode {
		if st.Holder != "" || st.Latest > x.Number {
			return
		}
		st.Holder = x.ID
	}
	x = s.touch(x.clone())
	x.Attempt++
	x.Status, x.Reason, x.EndedAt = InProgress, "", time.Time{}
	sx := &x.Stages[i]
	sx.Status, sx.EndedAt = InProgress, time.Time{}
	for j := range sx.Actions {
		if a := &sx.Actions[j]; a.Status == Failed || a.Status == Abandoned {
			again := ActionExecution{Name: a.Name, Attempt: a.Attempt, Earlier: a.Earlier}
			if a.Job != "" {
				again.Earlier = append(again.Earlier, a.Job)
			}
			*a = again
		}
	}
	s.proceed(x, i)
}

// stop ends an execution because somebody asked for it.
func (s *step) stop() {
	if s.b.Live[s.e.Execution] == nil || s.b.Live[s.e.Execution].Status == Stopping {
		return
	}
	reason := s.e.Reason
	if reason == "" {
		reason = "stopped"
		if s.e.By != "" {
			reason = "stopped by " + s.e.By
		}
	}
	s.halt(s.execution(s.e.Execution), reason)
}

// halt stops x: its workers are told, and it ends when they have said so, or
// at once if there are none.
func (s *step) halt(x *Execution, reason string) {
	if x == nil || x.Status != InProgress {
		return
	}
	x.Status, x.Reason = Stopping, reason
	inside := -1
	for i := range x.Stages {
		if x.Stages[i].Status == InProgress {
			inside = i
		}
	}
	if inside < 0 {
		s.end(x, Stopped, reason)
		return
	}
	for j := range x.Stages[inside].Actions {
		a := &x.Stages[inside].Actions[j]
		if a.Status == InProgress {
			s.cancel(x, a, reason)
			s.timer(x, x.Stages[inside].Name, a, timerStop, s.e.At.Add(s.rules.stopGrace()))
		}
	}
	s.proceed(x, inside)
}

func (s *step) cancel(x *Execution, a *ActionExecution, reason string) {
	s.do(Effect{
		Type: CancelJob, Execution: x.ID, Reason: reason,
		Ref: &JobRef{ID: a.Job, Class: a.Class},
		Job: &Job{V: 1, ID: a.Job, Kind: a.Kind, Pipeline: x.Board, Execution: x.ID, Stage: s.stageOf(x, a), Action: a.Name, Attempt: a.Attempt},
	})
}

func (s *step) stageOf(x *Execution, a *ActionExecution) string {
	for i := range x.Stages {
		for j := range x.Stages[i].Actions {
			if &x.Stages[i].Actions[j] == a {
				return x.Stages[i].Name
			}
		}
	}
	return ""
}

// deadline ends an attempt that waits or runs for too long.
func (s *step) deadline() {
	x, i, j, a := s.attempt()
	if a == nil {
		return
	}
	switch s.e.Reason {
	case timerQueued:
		if a.Worker != "" {
			return
		}
		s.fail(a, TimedOut, "no worker took the job for "+s.rules.queuedTimeout().String(), BuildTimedOut)
	case timerRunning:
		limit := x.Pipeline.Stages[i].Actions[j].Timeout
		s.fail(a, TimedOut, "timed out after "+limit.String(), BuildTimedOut)
	case timerStop:
		a.Status, a.EndedAt, a.Outcome = Abandoned, s.e.At, BuildStopped
		a.Error = &ActionError{Code: JobFailed, Message: "the worker did not answer the stop"}
	default:
		return
	}
	s.cancel(x, a, "timed out")
	s.proceed(x, i)
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
