package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// maxQuorum bounds how many people one approval may want.
const maxQuorum = 20

// VoterOf is a person of a forge as Event.Voter; empty for one without an ID.
func VoterOf(forgeName string, u forge.User) string {
	if u.ID == "" {
		return ""
	}
	return forgeName + "/" + u.ID
}

// OperatorVoter is the Event.Voter of the server's administrators, who share a
// token and so are one.
const OperatorVoter = "admin"

// Missing is how many are yet to approve.
func (p *ApprovalState) Missing() int { return max(p.Quorum, 1) - len(p.Votes) }

// voters are the names of those who approved.
func (p *ApprovalState) voters() string {
	var names []string
	for _, v := range p.Votes {
		names = append(names, v.By)
	}
	return strings.Join(names, ", ")
}

// Barred says why a person may not approve, whoever the approvers are; empty
// if nothing keeps them from it. Who is not known by name can be neither told
// from the author nor counted.
func (x *Execution) Barred(p *ApprovalState, voter string) string {
	voted := slices.ContainsFunc(p.Votes, func(v Vote) bool { return v.Voter == voter })
	switch {
	case voter == "" && (p.ForbidAuthor || p.Quorum > 1):
		return "only people whom the forge knows may approve this: sign in, or say it in a comment"
	case p.ForbidAuthor && slices.Contains(x.authors(), voter):
		return "who started it, or opened its pull request, may not approve it"
	case voted:
		return fmt.Sprintf("you have approved it already, %d more must", p.Missing())
	}
	return ""
}

// authors are those whose change the execution is of: who started it, and who
// opened the pull request.
func (x *Execution) authors() []string {
	list := []string{VoterOf(x.Repo.Forge, x.Trigger.Actor)}
	if x.Trigger.Pull != nil {
		list = append(list, VoterOf(x.Repo.Forge, x.Trigger.Pull.Author))
	}
	return list
}

// ask begins a manual approval (CodePipeline reference 3.9).
func (s *step) ask(x *Execution, t task) {
	def, a, stage := t.def, t.a, x.Stages[t.i].Name
	a.StartedAt = s.e.At
	a.Approval = &ApprovalState{
		Token:   approvalToken(x.ID, stage, a.Name, a.Attempt),
		Message: a.Resolved.Configuration[ConfigMessage], Link: a.Resolved.Configuration[ConfigLink],
		Approvers: def.Approvers, Expires: s.e.At.Add(s.rules.timeout(def)), Quorum: def.Quorum, ForbidAuthor: def.ForbidAuthor,
		Fields: def.Fields,
	}
	s.timer(x, stage, a, timerAnswer, a.Approval.Expires)
	if newer := s.newerInFront(x, stage); newer != nil && def.AutoReject {
		s.rejectFor(a, newer)
	}
}

// newerInFront is an execution that waits in front of a stage that an older
// one, x, is in; nil if there is none.
func (s *step) newerInFront(x *Execution, stage string) *Execution {
	if x.Pipeline.Mode != SupersededMode || x.Target != "" {
		return nil
	}
	for _, id := range s.stage(stage).Inbound {
		if o := s.b.Live[id]; o != nil && o.Number > x.Number {
			return o
		}
	}
	return nil
}

// rejectFor rejects an approval in the name of a newer execution that waits for
// its stage (CodePipeline reference 3.9, autoRejectOnSupersede).
func (s *step) rejectFor(a *ActionExecution, newer *Execution) {
	a.Approval.AnsweredBy, a.Approval.AnsweredAt = "execution "+itoa(newer.Number), s.e.At
	s.fail(a, Rejected, "rejected because "+ShortSHA(newer.Trigger.SHA)+" has come to the stage", BuildFailed)
}

// answer takes a person's word on an approval.
func (s *step) answer() {
	if s.b.Live[s.e.Execution] == nil || Check(s.b, s.e) != nil {
		return
	}
	x := s.execution(s.e.Execution)
	i := x.stageIndex(s.e.Stage)
	a := x.Stages[i].Action(s.e.Action)
	p, by := a.Approval, cmp.Or(s.e.By, "somebody")
	if s.e.Enable {
		p.Values, _ = p.Fill(s.e.Fields) // Check has found no mistake
	}
	if s.e.Enable && p.Quorum > 1 {
		if p.Votes = append(slices.Clip(p.Votes), Vote{Voter: s.e.Voter, By: by, At: s.e.At}); p.Missing() > 0 {
			return
		}
		by = p.voters()
	}
	p.AnsweredBy, p.AnsweredAt, p.Approved, p.Comment = by, s.e.At, s.e.Enable, s.e.Reason
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
	switch o := s.b.Live[st.Holder]; {
	case o == nil:
		return
	case !x.Pipeline.SupersedeApprovals || !s.onlyAsks(o, x):
		s.rejectWaiting(x, x.Stages[i].Name)
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

// rejectWaiting rejects the approvals of a stage that x, a newer execution,
// waits in front of, if they say so.
func (s *step) rejectWaiting(x *Execution, stage string) {
	o := s.execution(s.stage(stage).Holder)
	i := o.stageIndex(stage)
	newer := s.newerInFront(o, stage)
	if i < 0 || o.Status != InProgress || newer == nil || newer.ID != x.ID {
		return
	}
	rejected := false
	for j, def := range o.Pipeline.Stages[i].Actions {
		if a := &o.Stages[i].Actions[j]; def.AutoReject && a.Status == InProgress && a.Approval != nil {
			s.rejectFor(a, x)
			rejected = true
		}
	}
	if rejected {
		s.proceed(o, i)
	}
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
