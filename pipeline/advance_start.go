package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// start puts a new execution in front of its first stage.
func (s *step) start() {
	in := s.e.Start
	if in == nil || s.b.Live[in.ID] != nil {
		return
	}
	s.b.Repo = in.Repo
	s.notePull(in.Trigger)
	s.b.Executions++
	x := &Execution{
		V: 1, ID: in.ID, Number: s.b.Executions, Attempt: 1, Board: s.b.Key, Pipeline: in.Pipeline, Project: in.Project,
		Repo: in.Repo, Trigger: in.Trigger, Status: InProgress, CreatedAt: s.e.At,
		Problem: in.Problem, Annotations: in.Annotations, Gate: in.Gate,
	}
	if x.Problem == nil && x.Gate == "" {
		x.Variables, x.Problem = variablesOf(in.Pipeline, in.Variables)
	}
	for _, st := range in.Pipeline.Stages {
		sx := StageExecution{Name: st.Name}
		for _, a := range st.Actions {
			sx.Actions = append(sx.Actions, ActionExecution{Name: a.Name})
		}
		x.Stages = append(x.Stages, sx)
	}
	s.touch(x)
	if x.Gate != "" {
		s.remark(x, in.Skip)
		return
	}
	if s.overtaken(x) {
		return
	}
	if s.b.underWay(x.Pipeline) > x.Pipeline.maxExecutions() {
		s.end(x, Failed, tooMany(x.Pipeline).Error())
		return
	}
	if in.Problem == nil { // what stands in for an unreadable definition says nothing
		s.define(in.Pipeline)
		s.update(in.Pipeline, in.Trigger)
	}
	if s.supersedeOlderHeads(x); !x.Status.Ended() {
		s.arrive(x, 0)
	}
}

// remark ends what only tells the forge why nothing runs. The approval of a
// stranger's commit isn't one of the next (forges reference 4.2).
func (s *step) remark(x *Execution, skip bool) {
	s.b.Executions-- // it is no execution
	x.Number = 0
	if skip {
		s.end(x, Skipped, x.Gate)
		return
	}
	if s.supersedeOlderHeads(x); !x.Status.Ended() {
		s.end(x, Stopped, x.Gate)
	}
}

// maxExecutions is how many executions of a pipeline with mode queued or
// parallel may be under way (CodePipeline reference 2.2). Superseded ones keep
// their number down themselves, and implied pipelines have no definition that
// asks for a mode.
func (p Pipeline) maxExecutions() int { return cmp.Or(p.MaxExecutions, 50) }

// underWay counts the executions that share the number which p may have; 0 where
// there is no such number.
func (b *Board) underWay(p Pipeline) int {
	n := 0
	for _, x := range b.Live {
		if !x.Status.Ended() && !p.Implied && p.Mode != SupersededMode && x.Pipeline.Mode == p.Mode {
			n++
		}
	}
	return n
}

func tooMany(p Pipeline) error {
	return refuse(TooManyExecutions, "%d executions with mode %s are under way, and there may be no more", p.maxExecutions(), strings.ToLower(string(p.Mode)))
}

// define notes what the newest execution's definition says of the Board.
func (s *step) define(p Pipeline) {
	s.b.Mode, s.b.Order = p.Mode, nil
	for _, st := range p.Stages {
		s.b.Order = append(s.b.Order, st.Name)
		s.stage(st.Name).Definition = st.digest()
	}
}

// update ends the executions whose definition p replaces, where they want that:
// those in front of a stage at once, those inside when what runs has ended
// (CodePipeline reference 3.11). Pull requests and other branches have
// definitions of their own.
func (s *step) update(p Pipeline, t Trigger) {
	for _, id := range s.liveIDs() {
		o := s.b.Live[id]
		if !o.Pipeline.CancelOnUpdate || o.Target != "" || o.Trigger.Pull != nil || t.Pull != nil || o.Trigger.Ref != t.Ref ||
			o.Status != InProgress || o.Replaced || o.Pipeline.digest() == p.digest() {
			continue
		}
		x := s.execution(id)
		inside := slices.IndexFunc(x.Stages, func(sx StageExecution) bool { return sx.Status == InProgress })
		if inside < 0 {
			s.end(x, Cancelled, replacedReason)
			continue
		}
		x.Replaced, x.Reason = true, replacedReason
		s.proceed(x, inside)
	}
}

const replacedReason = "the pipeline's definition was replaced"

// digest tells whether a pipeline is defined as it was.
func (p Pipeline) digest() string { return digestOf(p.withoutTasks()) }

// digest tells whether a stage is defined as it was: its actions with their
// artifacts, and not what happens when it fails (CodePipeline reference 3.7).
func (st Stage) digest() string { return digestOf(st.withoutTasks().Actions) }

func digestOf(definition any) string {
	data, err := json.Marshal(definition)
	if err != nil {
		panic(err) // a definition is made of strings and numbers
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// notePull remembers an open pull request of the repository itself. What is
// older than the last word on its branch says nothing: deliveries arrive in
// any order.
func (s *step) notePull(t Trigger) {
	if t.Pull == nil || !t.Pull.Internal() || t.Pull.Closed || t.Rerun != "" {
		return
	}
	if !s.b.Pulls[t.Pull.HeadRef].UpdatedAt.After(t.Pull.UpdatedAt) {
		s.b.Pulls[t.Pull.HeadRef] = OpenPull{Number: t.Pull.Number, UpdatedAt: t.Pull.UpdatedAt}
	}
}

// pullChanged ends the executions of a pull request that was closed or turned
// into a draft (forges reference 2.5). Only those of the repository itself are
// listed.
func (s *step) pullChanged() {
	pr := s.e.Pull
	if pr == nil || pr.Internal() && !s.notePullChanged(pr) {
		return
	}
	for _, id := range s.liveIDs() {
		if x := s.b.Live[id]; x.Trigger.Pull != nil && x.Trigger.Pull.Number == pr.Number && !x.Trigger.Pull.UpdatedAt.After(pr.UpdatedAt) {
			s.halt(s.execution(id), s.e.Reason, StopCancel)
		}
	}
}

// notePullChanged keeps the list of open pull requests, and reports whether the
// event says that one is not open any more.
func (s *step) notePullChanged(pr *forge.PullRequest) (gone bool) {
	known := s.b.Pulls[pr.HeadRef]
	if known.UpdatedAt.After(pr.UpdatedAt) {
		return false
	}
	if s.e.PullOpened {
		s.b.Pulls[pr.HeadRef] = OpenPull{Number: pr.Number, UpdatedAt: pr.UpdatedAt}
		return false
	}
	s.forgetPulls()
	if known.Number == pr.Number || known.Number == 0 {
		s.b.Pulls[pr.HeadRef] = OpenPull{UpdatedAt: pr.UpdatedAt}
	}
	return true
}

// rememberClosed is how long an event of a closed pull request may be late.
const rememberClosed = 24 * time.Hour

// forgetPulls drops the marks of pull requests that were closed long ago.
func (s *step) forgetPulls() {
	maps.DeleteFunc(s.b.Pulls, func(_ string, p OpenPull) bool {
		return p.Number == 0 && s.e.At.Sub(p.UpdatedAt) > rememberClosed
	})
}

// supersedeOlderHeads ends executions of the same pull request that test a
// commit which is no longer its head (forges reference 2.5, synchronize): x
// itself, if its delivery came or was handled late (forges reference 2.4).
func (s *step) supersedeOlderHeads(x *Execution) {
	pr := x.Trigger.Pull
	if pr == nil || x.Trigger.Rerun != "" {
		return
	}
	var others []string
	for _, id := range s.liveIDs() {
		o := s.b.Live[id]
		if id == x.ID || o.Target != "" || o.Trigger.Pull == nil || o.Trigger.Pull.Number != pr.Number || o.Trigger.SHA == x.Trigger.SHA {
			continue
		}
		if o.Trigger.Rerun == "" && o.Trigger.Pull.UpdatedAt.After(pr.UpdatedAt) {
			s.end(x, Superseded, "superseded by "+ShortSHA(o.Trigger.SHA))
			return
		}
		others = append(others, id)
	}
	for _, id := range others {
		s.halt(s.execution(id), "superseded by "+ShortSHA(x.Trigger.SHA), StopCancel)
	}
}

// liveIDs are the live executions in the order of their numbers.
func (s *step) liveIDs() []string {
	ids := make([]string, 0, len(s.b.Live))
	for id := range s.b.Live {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return s.b.Live[a].Number - s.b.Live[b].Number })
	return ids
}

// arrive brings x in front of stage i (CodePipeline reference 3.4): it enters,
// or it waits, or it takes the place of the one that waits.
func (s *step) arrive(x *Execution, i int) {
	if i == len(x.Stages) {
		s.end(x, Succeeded, "")
		return
	}
	st := s.stage(x.Stages[i].Name)
	if x.Pipeline.Mode == ParallelMode {
		if st.Disabled != "" {
			st.Inbound = append(st.Inbound, x.ID)
			return
		}
		s.enter(x, i)
		return
	}
	if st.Holder == "" && st.Disabled == "" {
		st.Holder = x.ID
		s.enter(x, i)
		return
	}
	if x.Pipeline.Mode == QueuedMode {
		st.Inbound = append(st.Inbound, x.ID)
		return
	}
	s.supersede(x, st)
	if !x.Status.Ended() && st.Disabled == "" {
		s.displace(x, i)
	}
}

// supersede lets the newest of x and those who wait stay; the others end.
func (s *step) supersede(x *Execution, st *StageState) {
	newest := x
	for _, id := range st.Inbound {
		if o := s.b.Live[id]; o != nil && o.Number > newest.Number {
			newest = o
		}
	}
	waiting := append(slices.Clone(st.Inbound), x.ID)
	st.Inbound = []string{newest.ID}
	for _, id := range waiting {
		if id == newest.ID {
			continue
		}
		if o := s.execution(id); o != nil {
			s.end(o, Superseded, "superseded by "+ShortSHA(newest.Trigger.SHA))
		}
	}
}

// enter takes x into stage i and starts its first actions.
func (s *step) enter(x *Execution, i int) {
	sx := &x.Stages[i]
	sx.Status, sx.StartedAt = InProgress, s.e.At
	st := s.stage(sx.Name)
	if x.Pipeline.Mode != ParallelMode {
		st.Latest = max(st.Latest, x.Number)
	}
	s.shown(x, i)
	if x.StartedAt.IsZero() {
		x.StartedAt = s.e.At
	}
	s.proceed(x, i)
}

// release frees the stage that x leaves and lets the next one in.
func (s *step) release(x *Execution, i int) {
	if x.Pipeline.Mode == ParallelMode {
		return
	}
	st := s.stage(x.Stages[i].Name)
	if st.Holder != x.ID {
		return
	}
	st.Holder = ""
	s.admit(x.Stages[i].Name)
}

// shown notes how x is doing in stage i, for those who look at the pipeline.
func (s *step) shown(x *Execution, i int) {
	st := s.stage(x.Stages[i].Name)
	if st.Last == x.ID || x.Number >= st.LastNumber {
		st.Last, st.LastNumber, st.LastStatus = x.ID, x.Number, x.Stages[i].Status
	}
}

// admit lets waiting executions into a stage that is free and open.
func (s *step) admit(name string) {
	st := s.stage(name)
	for st.Disabled == "" && len(st.Inbound) > 0 {
		x := s.execution(st.Inbound[0])
		if x == nil {
			st.Inbound = st.Inbound[1:]
			continue
		}
		if x.Pipeline.Mode != ParallelMode && st.Holder != "" {
			return
		}
		st.Inbound = st.Inbound[1:]
		if x.Pipeline.Mode != ParallelMode {
			st.Holder = x.ID
		}
		s.enter(x, x.stageIndex(name))
	}
}

func (x *Execution) stageIndex(name string) int {
	return slices.IndexFunc(x.Stages, func(sx StageExecution) bool { return sx.Name == name })
}

// ShortSHA is the commit as people write it.
func ShortSHA(sha string) string {
	if len(sha) > 7 {
		return sha[:7]
	}
	return sha
}

// end gives x its final status and takes it out of every waiting line.
func (s *step) end(x *Execution, status Status, reason string) {
	x.Status, x.EndedAt = status, s.e.At
	if reason != "" {
		x.Reason = reason
	}
	for name, st := range s.b.Stages {
		if slices.Contains(st.Inbound, x.ID) {
			w := s.stage(name)
			w.Inbound = slices.DeleteFunc(w.Inbound, func(id string) bool { return id == x.ID })
		}
	}
}

// ForkGate is the reason why a pull request from elsewhere starts nothing.
func ForkGate(pr forge.PullRequest) string {
	if pr.HeadRepoID == "" {
		return "The pull request's head repository is gone; it needs approval before it may run."
	}
	return "The pull request comes from a fork; it needs approval before it may run."
}
