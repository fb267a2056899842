package pipeline

// ask begins a manual approval (CodePipeline reference 3.9).
func (s *step) ask(x *Execution, t task) {
	def, a, stage := t.def, t.a, x.Stages[t.i].Name
	a.StartedAt = s.e.At
	a.Approval = &ApprovalState{
		Token:   approvalToken(x.ID, stage, a.Name, a.Attempt),
		Message: a.Resolved.Configuration[ConfigMessage], Link: a.Resolved.Configuration[ConfigLink],
		Approvers: def.Approvers, Expires: s.e.At.Add(s.rules.timeout(def)),
	}
	s.timer(x, stage, a, timerAnswer, a.Approval.Expires)
}

// answer takes a person's word on an approval.
func (s *step) answer() {
	if s.b.Live[s.e.Execution] == nil || Check(s.b, s.e) != nil {
		return
	}
	x := s.execution(s.e.Execution)
	i := x.stageIndex(s.e.Stage)
	a := x.Stages[i].Action(s.e.Action)
	p := a.Approval
	p.AnsweredBy, p.AnsweredAt, p.Approved, p.Comment = s.e.By, s.e.At, s.e.Enable, s.e.Reason
	if p.AnsweredBy == "" {
		p.AnsweredBy = "somebody"
	}
	if p.Approved {
		a.Status, a.EndedAt, a.Outcome, a.Exported = Succeeded, s.e.At, BuildSucceeded, approvalOutputs(*p)
	} else {
		message := "rejected by " + p.AnsweredBy
		if p.Comment != "" {
			message += ": " + p.Comment
		}
		s.fail(a, Rejected, message, BuildFailed)
	}
	s.proceed(x, i)
}

// displace lets x, which waits in front of stage i, take the place of one that
// only waits for an approval there, where the pipeline wants that
// (CodePipeline reference 3.9, supersede: approvals).
func (s *step) displace(x *Execution, i int) {
	st := s.stage(x.Stages[i].Name)
	if !x.Pipeline.SupersedeApprovals || s.b.Live[st.Holder] == nil || !s.onlyAsks(s.b.Live[st.Holder], x) {
		return
	}
	o := s.execution(st.Holder)
	why := "superseded by " + ShortSHA(x.Trigger.SHA)
	inside := o.stageIndex(x.Stages[i].Name)
	sx := &o.Stages[inside]
	for j := range sx.Actions {
		if sx.Actions[j].Status == InProgress {
			s.abandon(&sx.Actions[j], why)
		}
	}
	sx.Status, sx.EndedAt = Cancelled, s.e.At
	s.shown(o, inside)
	s.end(o, Superseded, why)
	s.release(o, inside)
}

// onlyAsks reports whether o, older than x, does nothing but wait for people.
func (s *step) onlyAsks(o, x *Execution) bool {
	if o.Status != InProgress || o.Number > x.Number || o.Target != "" || o.Pipeline.Mode != SupersededMode {
		return false
	}
	asks := false
	for _, st := range o.Stages {
		for _, a := range st.Actions {
			if a.Status == InProgress && a.Approval == nil {
				return false
			}
			asks = asks || a.Status == InProgress
		}
	}
	return asks
}
