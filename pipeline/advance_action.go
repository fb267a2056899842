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
	for !x.Status.Ended() && !x.Stages[i].Status.Ended() && s.advance(x, i) {
	}
}

// advance takes the next step in stage i; false: there is something to wait for.
func (s *step) advance(x *Execution, i int) bool {
	s.batches(x, i)
	sx, stopping := &x.Stages[i], x.Status == Stopping || x.Replaced
	if c := sx.open(); c != nil {
		s.judge(x, i, c)
		return c.Status != ConditionInProgress
	}
	if !stopping {
		switch s.weigh(x, i, BeforeEntryHook) {
		case weighing:
			return false
		case unmet:
			s.keepOut(x, i)
			return true
		case met:
		}
	}
	order, ok := x.nextOrder(i)
	failed := sx.failed()
	switch {
	case sx.running():
		// Only what was retried beside actions of its order starts next to them.
		if !ok || order > x.runningOrder(i) || stopping || failed != nil {
			return false
		}
		s.beginOrder(x, i, order)
	case stopping:
		s.stopStage(x, i)
	case failed != nil:
		return s.failing(x, i, failed.Error.Message)
	case ok:
		s.beginOrder(x, i, order)
	default:
		return s.completing(x, i)
	}
	return true
}

func (s *step) beginOrder(x *Execution, i, order int) {
	for j, a := range x.Pipeline.Stages[i].Actions {
		if a.Task == nil && a.RunOrder == order && x.Stages[i].Actions[j].Status == Pending {
			s.begin(x, x.taskAt(i, j))
		}
	}
}

// task is an action, or a rule of a condition: the stage, the definition, and
// the latest attempt.
type task struct {
	i   int
	def Action
	a   *ActionExecution
}

func (x *Execution) taskAt(i, j int) task {
	return task{i, x.Pipeline.Stages[i].Actions[j], &x.Stages[i].Actions[j]}
}

// task is that of a name.
func (x *Execution) task(i int, name string) (task, bool) {
	a := x.Stages[i].Action(name)
	if a == nil {
		return task{}, false
	}
	for _, def := range x.Pipeline.Stages[i].Tasks() {
		if def.Name == name {
			return task{i, def, a}, true
		}
	}
	return task{}, false
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

// completing ends a stage whose actions have all succeeded, if its condition
// agrees.
func (s *step) completing(x *Execution, i int) bool {
	switch s.weigh(x, i, OnSuccessHook) {
	case weighing:
		return false
	case met:
		s.succeedStage(x, i)
		return true
	case unmet:
	}
	c := x.Stages[i].Condition(OnSuccessHook)
	if c.Result == RollbackResult {
		s.failStage(x, i, c.Message, true)
		return true
	}
	return s.failing(x, i, c.Message)
}

// failing ends a stage that did not succeed, as it says what is to be done then.
func (s *step) failing(x *Execution, i int, why string) bool {
	if s.retriesItself(x, i) {
		return true
	}
	back := false
	if x.Pipeline.Stages[i].OnFailure.Rollback {
		switch s.weigh(x, i, OnFailureHook) {
		case weighing:
			return false
		case met:
			back = true
		case unmet:
		}
	}
	s.failStage(x, i, why, back)
	return true
}

// failStage ends a stage that failed, and x with it; back: an earlier execution
// takes its place, if there is one.
func (s *step) failStage(x *Execution, i int, why string, back bool) {
	sx := &x.Stages[i]
	sx.Status, sx.EndedAt = Failed, s.e.At
	s.end(x, Failed, why)
	back = back && s.rollsBack(x, i)
	s.shown(x, i)
	if !back {
		s.release(x, i)
	}
}

// stopStage ends a stage in which nothing runs any more, and x with it.
func (s *step) stopStage(x *Execution, i int) {
	sx := &x.Stages[i]
	status := Stopped
	if x.Status != Stopping {
		status = Cancelled // it was replaced
	}
	sx.Status, sx.EndedAt = status, s.e.At
	s.end(x, status, x.Reason)
	s.shown(x, i)
	s.release(x, i)
}

// keepOut ends a stage whose condition lets x not in: x goes on behind it, or
// fails.
func (s *step) keepOut(x *Execution, i int) {
	sx := &x.Stages[i]
	c := sx.Condition(BeforeEntryHook)
	if c.Result != SkipResult {
		s.failStage(x, i, c.Message, false)
		return
	}
	sx.Status, sx.EndedAt = Skipped, s.e.At
	s.shown(x, i)
	s.release(x, i)
	s.arrive(x, i+1)
}

// nextOrder is the lowest run order of stage i with an action that was not
// started.
func (x *Execution) nextOrder(i int) (int, bool) {
	order, found := 0, false
	for j, a := range x.Pipeline.Stages[i].Actions {
		if a.Task == nil && x.Stages[i].Actions[j].Status == Pending && (!found || a.RunOrder < order) {
			order, found = a.RunOrder, true
		}
	}
	return order, found
}

// open is the condition whose rules are at work; nil if there is none.
func (sx *StageExecution) open() *ConditionExecution {
	for k := range sx.Conditions {
		if sx.Conditions[k].Status == ConditionInProgress {
			return &sx.Conditions[k]
		}
	}
	return nil
}

func (sx *StageExecution) running() bool {
	return slices.ContainsFunc(sx.Actions, func(a ActionExecution) bool { return a.Status == InProgress })
}

func (sx *StageExecution) failed() *ActionExecution {
	for j := range sx.Actions {
		if a := &sx.Actions[j]; a.TaskOf == "" && (a.Status == Failed || a.Status == Abandoned) {
			return a
		}
	}
	return nil
}

// begin starts one action or rule: its variables are filled in, its inputs found
// (CodePipeline reference 3.3, 3.12). What it needs no worker for ends here and
// now.
func (s *step) begin(x *Execution, t task) {
	def, a := t.def, t.a
	a.Status, a.QueuedAt = InProgress, s.e.At
	a.Attempt++
	if def.Category == Source && (x.Problem != nil || def.kind() == "") {
		s.beginSource(x, a)
		return
	}
	settings, err := x.settle(t, s.rules)
	if err == nil {
		a.Resolved = settings
		_, err = x.Inputs(x.Stages[t.i].Name, a.Name)
	}
	kind := def.kind()
	switch {
	case err != nil:
		s.fail(a, ConfigurationError, err.Error(), BuildFailed)
	case def.Category == Approval:
		s.ask(x, t)
	case def.Category == Rule && s.beginRule(x, t):
	case kind == "":
		s.fail(a, ConfigurationError, fmt.Sprintf("nothing here performs actions of category %q by provider %q", def.Category, def.Provider), BuildFailed)
	default:
		if kind == BuildJob {
			s.b.Builds++
			a.Number = s.b.Builds
		}
		s.enqueue(x, t, time.Time{})
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
	case a.Category == Source && (a.Provider == RepositoryProvider || a.Provider == S3Provider):
		return SourceJob
	case a.Category == Source, a.Category == Approval:
		return ""
	case a.Batch != nil, a.Task != nil && a.Task.ID == "":
		return BatchJob
	case a.Provider == CodeBuildProvider, a.Provider == CommandsProvider:
		return BuildJob
	case a.Provider == CodeDeployProvider:
		return DeployJob
	case a.Provider == HTTPProvider, a.Provider == AlarmProvider, a.Provider == PrometheusProvider:
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
func (s *step) enqueue(x *Execution, t task, notBefore time.Time) {
	def, a, stage := t.def, t.a, x.Stages[t.i].Name
	a.Kind = def.kind()
	if a.Kind == DeployJob {
		a.Job = DeploymentID(x.ID, stage, a.Name, a.Attempt)
	} else {
		a.Job = BuildID(x.ID, stage, a.Name, a.Attempt)
	}
	if a.Kind == BatchJob || a.Kind == SourceJob { // the server's own
		def.Labels, def.Compute, def.Concurrency, def.QueuedTimeout = "", "", 0, 0
	}
	a.Class = ClassOf(a.Kind, def.Labels, def.Compute)
	s.do(Effect{Type: AddJob, Execution: x.ID, Job: &Job{
		V: 1, ID: a.Job, Kind: a.Kind, Repo: x.Repo.Forge + "/" + x.Repo.ID, Project: x.Project, Pipeline: x.Board,
		Execution: x.ID, Stage: stage, Action: a.Name, Attempt: a.Attempt,
		Labels: def.Labels, Compute: def.Compute, Concurrency: def.Concurrency, Timeout: s.rules.timeout(def),
		NotBefore: notBefore, Trusted: x.Trigger.Trusted,
	}})
	s.timer(x, stage, a, timerQueued, s.e.At.Add(s.rules.queuedTimeout(def)))
}

func (s *step) fail(a *ActionExecution, code, message string, outcome BuildStatus) {
	a.Status, a.EndedAt, a.Outcome = Failed, s.e.At, outcome
	a.Error = &ActionError{Code: code, Message: message}
}

// attempt finds the running attempt that the event speaks of; ok is false if
// there is none any more.
func (s *step) attempt() (x *Execution, t task, ok bool) {
	live := s.b.Live[s.e.Execution]
	if live == nil {
		return nil, t, false
	}
	i := live.stageIndex(s.e.Stage)
	if i < 0 {
		return nil, t, false
	}
	if t, ok = live.task(i, s.e.Action); !ok || t.a.Attempt != s.e.Attempt || t.a.Status != InProgress {
		return nil, t, false
	}
	x = s.execution(s.e.Execution)
	t, ok = x.task(i, s.e.Action)
	return x, t, ok
}

// work is attempt, for what workers say: nobody works at an approval, nor at a
// rule that waits for its time, nor at a batch whose builds run.
func (s *step) work() (x *Execution, t task, ok bool) {
	if x, t, ok = s.attempt(); ok && (t.a.Job == "" || t.a.Batch != nil) {
		return nil, t, false
	}
	return x, t, ok
}

func (s *step) claimed() {
	x, t, ok := s.work()
	if !ok || t.a.Worker != "" {
		return
	}
	t.a.Worker, t.a.StartedAt = s.e.Worker, s.e.At
	s.timer(x, x.Stages[t.i].Name, t.a, timerRunning, s.e.At.Add(s.rules.timeout(t.def)+overrun))
}

// ended takes an attempt's result.
func (s *step) ended() {
	x, t, ok := s.work()
	if !ok || s.e.Outcome == nil {
		return
	}
	o, a := s.e.Outcome, t.a
	a.Artifacts, a.Exported, a.Outcome, a.EndedAt = o.Artifacts, o.Exported, o.Status, s.e.At
	if a.Worker == "" {
		a.Worker, a.StartedAt = s.e.Worker, s.e.At
	}
	x.Annotations = append(x.Annotations, o.Annotations...)
	switch o.Status {
	case BuildSucceeded:
		s.succeed(x, t)
	case BuildStopped:
		a.Status = Abandoned
		a.Error = &ActionError{Code: JobFailed, Message: orText(o.Message, "stopped")}
	case BuildTimedOut:
		s.fail(a, TimedOut, orText(o.Message, "timed out"), o.Status)
	case BuildFault:
		s.infrastructure(x, t, SystemUnavailable, orText(o.Message, "the service failed"))
	case BuildFailed:
		if o.Retry && a.Retried < buildRetryLimit && !x.stopping(t) {
			retried := a.Retried + 1
			s.again(x, t, time.Time{})
			a.Retried = retried
			break
		}
		s.fail(a, JobFailed, orText(o.Message, "failed"), BuildFailed)
	default:
		s.fail(a, JobFailed, orText(o.Message, "failed"), BuildFailed)
	}
	s.proceed(x, t.i)
}

// buildRetryLimit is the most that a buildspec may ask for (CodeBuild
// reference 1.6).
const buildRetryLimit = 100

// succeed ends an action whose worker says that it went well, if it made what
// it should.
func (s *step) succeed(x *Execution, t task) {
	def, a := t.def, t.a
	missing := x.lacks(def, a.Artifacts)
	switch {
	case s.watches(x, t):
	case def.Batch != nil:
		s.expand(x, t)
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
	x, t, ok := s.work()
	switch {
	case !ok:
		return
	case s.e.Unbegun && t.a.Unbegun < unbegunLimit && !x.stopping(t):
		t.a.Unbegun++
		s.again(x, t, time.Time{})
	default:
		s.infrastructure(x, t, RunnerLost, "the worker of this attempt is gone")
	}
	s.proceed(x, t.i)
}

// retryDelay spaces attempts that the service failed.
const retryDelay = 2 * time.Second

func (s *step) infrastructure(x *Execution, t task, code, message string) {
	a := t.a
	a.Lost++
	if x.stopping(t) || a.Lost > s.rules.retries() {
		s.fail(a, code, fmt.Sprintf("%s (attempt %d)", message, a.Attempt), BuildFault)
		return
	}
	var notBefore time.Time
	if code != RunnerLost {
		notBefore = s.e.At.Add(retryDelay * time.Duration(a.Lost))
	}
	s.again(x, t, notBefore)
}

// again makes an action's next attempt.
func (s *step) again(x *Execution, t task, notBefore time.Time) {
	a := t.a
	*a = ActionExecution{
		Name: a.Name, Status: InProgress, Attempt: a.Attempt + 1, Lost: a.Lost, Unbegun: a.Unbegun, Retried: a.Retried, Kind: a.Kind,
		Number: a.Number, QueuedAt: s.e.At, Earlier: append(a.Earlier, a.Job), Resolved: a.Resolved, TaskOf: a.TaskOf, LookUntil: a.LookUntil,
	}
	s.enqueue(x, t, notBefore)
}

// refused ends an attempt that can't be given to any worker.
func (s *step) refused() {
	x, t, ok := s.work()
	if !ok {
		return
	}
	s.fail(t.a, ConfigurationError, orText(s.e.Reason, "the job can't be given out"), BuildFault)
	s.cancel(x, x.Stages[t.i].Name, t.a, s.e.Reason)
	s.proceed(x, t.i)
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
