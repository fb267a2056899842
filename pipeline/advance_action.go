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
	for !x.Status.Ended() && !x.Stages[i].Status.Ended() {
		order, ok := x.nextOrder(i)
		if x.Stages[i].running() {
			// Only what was retried beside actions of its order starts next to them.
			if !ok || order > x.runningOrder(i) || x.Status == Stopping || x.Stages[i].failed() != nil {
				return
			}
			s.beginOrder(x, i, order)
			continue
		}
		if failed := x.Stages[i].failed(); failed != nil || x.Status == Stopping {
			if x.Status != Stopping && s.retriesItself(x, i) {
				continue
			}
			s.closeStage(x, i, failed)
			return
		}
		if !ok {
			s.succeedStage(x, i)
			return
		}
		s.beginOrder(x, i, order)
	}
}

func (s *step) beginOrder(x *Execution, i, order int) {
	for j, a := range x.Pipeline.Stages[i].Actions {
		if a.RunOrder == order && x.Stages[i].Actions[j].Status == Pending {
			s.begin(x, i, j)
		}
	}
}

// runningOrder is the run order of the actions of stage i that run; there are
// some.
func (x *Execution) runningOrder(i int) int {
	for j, a := range x.Pipeline.Stages[i].Actions {
		if x.Stages[i].Actions[j].Status == InProgress {
			return a.RunOrder
		}
	}
	return 0
}

func (s *step) succeedStage(x *Execution, i int) {
	sx := &x.Stages[i]
	sx.Status, sx.EndedAt = Succeeded, s.e.At
	s.shown(x, i)
	if x.Target == "" && x.Pipeline.Mode != ParallelMode {
		st := s.stage(sx.Name)
		st.Good, st.GoodDefinition = x.ID, x.Pipeline.Stages[i].digest()
	}
	s.release(x, i)
	s.arrive(x, i+1)
}

// closeStage ends a stage that failed or was stopped, and x with it.
func (s *step) closeStage(x *Execution, i int, failed *ActionExecution) {
	sx := &x.Stages[i]
	sx.EndedAt = s.e.At
	back := false
	if x.Status == Stopping {
		sx.Status = Stopped
		s.end(x, Stopped, x.Reason)
	} else {
		sx.Status = Failed
		s.end(x, Failed, failed.Error.Message)
		back = s.rollsBack(x, i)
	}
	s.shown(x, i)
	if !back {
		s.release(x, i)
	}
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

// begin starts one action: its variables are filled in, its inputs found
// (CodePipeline reference 3.3, 3.12). What it needs no worker for ends here and
// now.
func (s *step) begin(x *Execution, i, j int) {
	def, a := x.Pipeline.Stages[i].Actions[j], &x.Stages[i].Actions[j]
	a.Status, a.QueuedAt = InProgress, s.e.At
	a.Attempt++
	if def.Category == Source {
		s.beginSource(x, a)
		return
	}
	settings, err := x.settle(i, j, s.rules)
	if err == nil {
		a.Resolved = settings
		_, err = x.Inputs(x.Stages[i].Name, a.Name)
	}
	kind := def.kind()
	switch {
	case err != nil:
		s.fail(a, ConfigurationError, err.Error(), BuildFailed)
	case def.Category == Approval:
		s.ask(x, i, j)
	case kind == "":
		s.fail(a, ConfigurationError, fmt.Sprintf("nothing here performs actions of category %q by provider %q", def.Category, def.Provider), BuildFailed)
	default:
		if a.Kind = kind; kind == BuildJob {
			s.b.Builds++
			a.Number = s.b.Builds
		}
		s.enqueue(x, i, j, time.Time{})
	}
}

func (s *step) beginSource(x *Execution, a *ActionExecution) {
	a.StartedAt = s.e.At
	if x.Problem != nil {
		s.fail(a, ConfigurationError, x.Problem.Error(), BuildFailed)
		return
	}
	a.Status, a.EndedAt = Succeeded, s.e.At // the revision was pinned by the trigger
	a.Exported = sourceOutputs(x)
}

// kind is the kind of the action's jobs; empty for one that no worker does.
func (a Action) kind() JobKind {
	switch {
	case a.Category == Source, a.Category == Approval:
		return ""
	case a.Provider == CodeBuildProvider, a.Provider == CommandsProvider:
		return BuildJob
	case a.Provider == CodeDeployProvider:
		return DeployJob
	case a.Provider == HTTPProvider:
		return HTTPJob
	case a.Provider != "":
		return ""
	case a.Category == BuildCat, a.Category == Test:
		return BuildJob
	case a.Category == Deploy:
		return DeployJob
	}
	return ""
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
		Labels: def.Labels, Compute: def.Compute, Concurrency: def.Concurrency, Timeout: s.rules.timeout(def),
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

// work is attempt, for what workers say: nobody works at an approval.
func (s *step) work() (x *Execution, i, j int, a *ActionExecution) {
	if x, i, j, a = s.attempt(); a != nil && a.Job == "" {
		return nil, 0, 0, nil
	}
	return x, i, j, a
}

func (s *step) claimed() {
	x, i, j, a := s.work()
	if a == nil || a.Worker != "" {
		return
	}
	a.Worker, a.StartedAt = s.e.Worker, s.e.At
	limit := s.rules.timeout(x.Pipeline.Stages[i].Actions[j])
	s.timer(x, x.Stages[i].Name, a, timerRunning, s.e.At.Add(limit+overrun))
}

// ended takes an attempt's result.
func (s *step) ended() {
	x, i, j, a := s.work()
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
		s.succeed(x, i, j)
	case BuildStopped:
		a.Status = Abandoned
		a.Error = &ActionError{Code: JobFailed, Message: orText(o.Message, "stopped")}
	case BuildTimedOut:
		s.fail(a, TimedOut, orText(o.Message, "timed out"), o.Status)
	case BuildFault:
		s.infrastructure(x, i, j, SystemUnavailable, orText(o.Message, "the service failed"))
	case BuildFailed:
		if o.Retry && a.Retried < buildRetryLimit && x.Status != Stopping {
			retried := a.Retried + 1
			s.again(x, i, j, time.Time{})
			a.Retried = retried
			break
		}
		s.fail(a, JobFailed, orText(o.Message, "failed"), BuildFailed)
	default:
		s.fail(a, JobFailed, orText(o.Message, "failed"), BuildFailed)
	}
	s.proceed(x, i)
}

// buildRetryLimit is the most that a buildspec may ask for (CodeBuild
// reference 1.6).
const buildRetryLimit = 100

// succeed ends an action whose worker says that it went well, if it made what
// it should.
func (s *step) succeed(x *Execution, i, j int) {
	def, a := x.Pipeline.Stages[i].Actions[j], &x.Stages[i].Actions[j]
	missing := x.lacks(def, a.Artifacts)
	switch {
	case tooLarge(a.Exported):
		a.Exported = nil
		s.fail(a, OutputVariablesSizeExceeded, fmt.Sprintf("the exported variables have more than %d bytes", outputsLimitBytes), BuildFailed)
	case missing != "":
		s.fail(a, JobFailed, fmt.Sprintf("the output artifact %s was not made: the buildspec has no artifacts, or none of that name", missing), BuildFailed)
	default:
		a.Status = Succeeded
	}
}

// unbegunLimit is how many attempts may be lost on their way to a worker, on
// top of those that count as retries: nothing of them has run, so a server that
// is restarted often should not fail a build by it.
const unbegunLimit = 20

// lost ends an attempt whose worker is gone; the next one starts by itself
// unless too many were lost.
func (s *step) lost() {
	x, i, j, a := s.work()
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
		Name: a.Name, Status: InProgress, Attempt: a.Attempt + 1, Lost: a.Lost, Unbegun: a.Unbegun, Retried: a.Retried, Kind: a.Kind,
		Number: a.Number, QueuedAt: s.e.At, Earlier: append(a.Earlier, a.Job), Resolved: a.Resolved,
	}
	s.enqueue(x, i, j, notBefore)
}

// refused ends an attempt that can't be given to any worker.
func (s *step) refused() {
	x, i, _, a := s.work()
	if a == nil {
		return
	}
	s.fail(a, ConfigurationError, orText(s.e.Reason, "the job can't be given out"), BuildFault)
	s.cancel(x, a, s.e.Reason)
	s.proceed(x, i)
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
