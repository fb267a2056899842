package pipeline

// stop ends an execution because somebody asked for it.
func (s *step) stop() {
	if Check(s.b, s.e) != nil {
		return
	}
	reason := s.e.Reason
	if reason == "" {
		reason = "stopped"
		if s.e.By != "" {
			reason = "stopped by " + s.e.By
		}
	}
	s.halt(s.execution(s.e.Execution), reason, s.e.Stop)
}

// halt stops x: no action starts any more, and those that run end by
// themselves, because their workers are told, or at once.
func (s *step) halt(x *Execution, reason string, mode StopMode) {
	if x == nil || x.Status.Ended() || (x.Status == Stopping && mode.strength() <= x.Stop.strength()) {
		return
	}
	if x.Status == InProgress {
		x.Reason = reason
	}
	x.Status, x.Stop = Stopping, mode
	inside := -1
	for i := range x.Stages {
		if st := x.Stages[i].Status; st == InProgress || st == Stopping {
			inside = i
		}
	}
	if inside < 0 {
		s.end(x, Stopped, reason)
		return
	}
	x.Stages[inside].Status = Stopping
	for j := range x.Stages[inside].Actions {
		s.haltAction(x, inside, &x.Stages[inside].Actions[j], mode)
	}
	if c := x.Stages[inside].open(); c != nil {
		for j := range c.Rules {
			s.haltAction(x, inside, &c.Rules[j], mode)
		}
	}
	s.shown(x, inside)
	s.proceed(x, inside)
}

// haltAction stops one action, or rule, if it runs. Nobody is at work on an
// approval, so it ends whatever the mode is.
func (s *step) haltAction(x *Execution, i int, a *ActionExecution, mode StopMode) {
	stage := x.Stages[i].Name
	switch {
	case a.Status != InProgress:
	case a.Batch != nil: // ends with its builds
	case a.Job == "":
		s.abandon(a, x.Reason)
	case mode == StopAbandon && a.Worker != "" && x.detached(i, a.Name):
		s.abandon(a, x.Reason)
	case mode == StopAbandon:
		s.cancel(x, stage, a, x.Reason)
		s.abandon(a, x.Reason)
	case mode == StopCancel:
		s.cancel(x, stage, a, x.Reason)
		s.timer(x, stage, a, timerStop, s.e.At.Add(s.rules.stopGrace()))
	case mode == StopWait:
	}
}

func (x *Execution) detached(i int, action string) bool {
	t, ok := x.task(i, action)
	return ok && t.def.detached()
}

func (s *step) abandon(a *ActionExecution, why string) {
	a.Status, a.EndedAt, a.Outcome = Abandoned, s.e.At, BuildStopped
	a.Error = &ActionError{Code: JobFailed, Message: why}
}

// cancel has the attempt's job taken out of the queue, or its worker told.
func (s *step) cancel(x *Execution, stage string, a *ActionExecution, reason string) {
	if a.Job == "" {
		return
	}
	s.do(Effect{
		Type: CancelJob, Execution: x.ID, Reason: reason,
		Ref: &JobRef{ID: a.Job, Class: a.Class},
		Job: &Job{V: 1, ID: a.Job, Kind: a.Kind, Pipeline: x.Board, Execution: x.ID, Stage: stage, Action: a.Name, Attempt: a.Attempt},
	})
}

// deadline is a time that came: an attempt waits or runs for too long.
func (s *step) deadline() {
	if s.e.Reason == timerOpening {
		s.opening()
		return
	}
	x, t, ok := s.attempt()
	if !ok {
		return
	}
	a, limit := t.a, s.rules.timeout(t.def)
	if a.Batch != nil {
		s.batchDeadline(x, t)
		return
	}
	switch s.e.Reason {
	case timerQueued:
		if a.Worker != "" || a.Job == "" {
			return
		}
		s.fail(a, TimedOut, "no worker took the job for "+s.rules.queuedTimeout(t.def).String(), BuildTimedOut)
	case timerRunning:
		s.fail(a, TimedOut, "timed out after "+limit.String(), BuildTimedOut)
	case timerAnswer:
		s.fail(a, TimedOut, "nobody answered within "+limit.String(), BuildTimedOut)
	case timerStop:
		s.abandon(a, "the worker did not answer the stop")
	case timerWindow, timerLook:
		if a.Job == "" && a.Approval == nil {
			s.lookAgain(x, t)
			s.proceed(x, t.i)
		}
		return
	default:
		return
	}
	s.cancel(x, x.Stages[t.i].Name, a, "timed out")
	s.proceed(x, t.i)
}
