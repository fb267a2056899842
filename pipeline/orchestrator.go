package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// ErrConsumed: the event was committed before; there is nothing left to do.
var ErrConsumed = errors.New("the event was handled before")

// Store is the state that the orchestrator keeps. Commit is its only write of
// a Board.
type Store interface {
	// Board loads a Board and its version; ErrNotFound if there is none.
	Board(ctx context.Context, key string) (*Board, int64, error)
	// Commit writes all of the change or nothing: ErrConflict if the Board has
	// another version by now, ErrConsumed if the event was committed before.
	Commit(ctx context.Context, c Change) error
	Execution(ctx context.Context, id string) (Execution, error)
	Executions(ctx context.Context, q Query) (Page[Summary], error)
}

// Deliveries turns raw deliveries into events; one for each forge entry.
type Deliveries interface {
	// Event reads an authentic delivery in the words all forges share. A
	// *forge.RetryError means that it can't be read for now.
	Event(ctx context.Context, d Delivery) (forge.Event, error)
	// OpenPull finds the open pull request of a branch of the repository
	// itself, if the forge can be asked.
	OpenPull(ctx context.Context, e forge.Event, branch string) (number int, found bool, err error)
}

// Definitions finds the pipelines that a repository defines at a commit. No
// pipelines and no error mean that it has none, not even an implied one; the
// reason says so. A *UserError is a mistake in the definition, or a commit
// that isn't there.
type Definitions interface {
	Pipelines(ctx context.Context, repo forge.Repo, t Trigger) (found []Definition, reason string, err error)
}

// Definition is one pipeline at one commit, and the project it belongs to.
type Definition struct {
	Project  string
	Pipeline Pipeline
}

// Relayer carries out a Board's committed effects.
type Relayer interface {
	Relay(ctx context.Context, board string) error
}

// Orchestrator turns deliveries and events into steps of Boards. It is the
// only writer of Boards; any number of them share the work.
type Orchestrator struct {
	store       Store
	deliveries  Deliveries
	definitions Definitions
	relay       Relayer
	rules       Rules
	now         func() time.Time
	log         *slog.Logger
}

// NewOrchestrator wires one.
func NewOrchestrator(s Store, d Deliveries, defs Definitions, r Relayer, rules Rules, now func() time.Time, log *slog.Logger) *Orchestrator {
	return &Orchestrator{store: s, deliveries: d, definitions: defs, relay: r, rules: rules, now: now, log: log}
}

// Event takes one step: load, Advance, commit, and carry out what was decided.
// It is safe to call again for the same event.
func (o *Orchestrator) Event(ctx context.Context, e Event) error {
	if e.Type != RerunRequested {
		return o.step(ctx, e, nil)
	}
	_, err := o.Rerun(ctx, e.Execution, "api", e.ID, 0, forge.User{Login: e.By})
	if errors.Is(err, ErrNotFound) {
		return nil // retention was faster
	}
	return err
}

// advance computes one step. What it needs of executions that have left the
// Board is loaded for it.
func (o *Orchestrator) advance(ctx context.Context, b *Board, e Event) (c Change, err error) {
	switch e.Type {
	case RetryRequested:
		e.Revive, err = o.spokenOf(ctx, b, e.Execution)
	case RollbackWanted:
		e.Found, err = o.spokenOf(ctx, b, e.Target)
	default:
	}
	if err != nil {
		return c, err
	}
	c = Advance(b, e, o.rules)
	if c.Wants == "" {
		return c, nil
	}
	if e.Found, err = o.spokenOf(ctx, b, c.Wants); err != nil {
		return c, err
	}
	e.Missing = e.Found == nil
	return Advance(b, e, o.rules), nil
}

// spokenOf is an execution of the Board, or one that has left it; nil if
// retention has taken it.
func (o *Orchestrator) spokenOf(ctx context.Context, b *Board, id string) (*Execution, error) {
	if x := b.Live[id]; x != nil {
		return x, nil
	}
	x, err := o.store.Execution(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("loading execution %s: %w", id, err)
	}
	return &x, nil
}

// commitTries bounds how often a step is computed anew because another server
// was faster. Each failure means that somebody else got on.
const commitTries = 50

// step computes and commits one event. fresh is the Board to begin with where
// none is stored yet; without it such an event is for a Board that retention
// has removed, and nothing is done.
func (o *Orchestrator) step(ctx context.Context, e Event, fresh *Board) error {
	for range commitTries {
		b, version, err := o.store.Board(ctx, e.Board)
		switch {
		case errors.Is(err, ErrNotFound) && fresh == nil:
			return nil
		case errors.Is(err, ErrNotFound):
			b, version = fresh, 0
		case err != nil:
			return fmt.Errorf("loading board %s: %w", e.Board, err)
		}
		c, err := o.advance(ctx, b, e)
		if err != nil {
			return err
		}
		c.Version = version
		err = o.store.Commit(ctx, c)
		switch {
		case errors.Is(err, ErrConflict):
			continue
		case errors.Is(err, ErrConsumed):
			return nil // if its relay was cut short, the sweeper sees to it
		case err != nil:
			return fmt.Errorf("committing to board %s: %w", e.Board, err)
		}
		o.committed(ctx, c)
		return nil
	}
	return fmt.Errorf("committing to board %s: %w", e.Board, ErrConflict)
}

func (o *Orchestrator) committed(ctx context.Context, c Change) {
	for _, x := range c.Touched {
		o.log.InfoContext(ctx, "execution changed", "execution", x.ID, "status", string(x.Status), "repo", x.Repo.FullName(), "sha", x.Trigger.SHA)
	}
	if err := o.relay.Relay(ctx, c.Board.Key); err != nil {
		o.log.WarnContext(ctx, "effects are left to the sweeper", "board", c.Board.Key, "error", err)
	}
}

// Delivery decides what becomes of one webhook. An error means that it is to
// be tried again.
func (o *Orchestrator) Delivery(ctx context.Context, d Delivery) (Decision, error) {
	e, err := o.deliveries.Event(ctx, d)
	if _, later := RetryAfter(err); later {
		return Decision{}, err
	}
	if err != nil {
		return Decision{Decision: DecisionFailed, Reason: "reading the payload: " + err.Error()}, nil
	}
	switch e.Kind {
	case forge.CheckRerun, forge.SuiteRerun:
		return o.rerun(ctx, d, e)
	case forge.CheckButton:
		return o.button(ctx, d, e)
	default:
	}
	if e.Kind == forge.Pull {
		if err := o.notePull(ctx, d, e); err != nil {
			return Decision{}, err
		}
	}
	v := Decide(e)
	if !v.Start {
		return Decision{Decision: DecisionIgnored, Reason: v.Reason}, nil
	}
	return o.startAll(ctx, d, e, v)
}

// startAll starts every pipeline that the commit defines.
func (o *Orchestrator) startAll(ctx context.Context, d Delivery, e forge.Event, v Verdict) (Decision, error) {
	v.Trigger.Attempt = d.Attempt
	if v.Gate != "" {
		return o.gate(ctx, d, e, v)
	}
	covered, err := o.coveredByPull(ctx, e, v)
	if err != nil {
		return Decision{}, err
	}
	if covered != "" {
		return Decision{Decision: DecisionIgnored, Reason: covered}, nil
	}
	defs, problem, reason, err := o.define(ctx, e.Repo, v.Trigger)
	switch {
	case err != nil:
		return Decision{}, err
	case len(defs) == 0:
		return Decision{Decision: DecisionIgnored, Reason: reason}, nil
	case v.Skip != "":
		return o.remark(ctx, d, e, v, v.Skip)
	}
	out := Decision{Decision: DecisionStarted, Reason: v.Reason}
	for _, def := range defs {
		id, err := o.startOne(ctx, d, e, v, def, problem)
		if err != nil {
			return Decision{}, err
		}
		out.Executions = append(out.Executions, id)
	}
	return out, nil
}

// defineTries, definePause and defineTime bound how long an unreachable
// repository is waited for before its execution fails for all to see. The time
// is less than what the inbox gives a delivery, so that a repository that never
// answers ends in a check and not in a dead letter.
const (
	defineTries = 4
	definePause = time.Second
	defineTime  = 90 * time.Second
)

// define reads the pipelines at a commit. A mistake in them, a commit that
// isn't there and a repository that stays out of reach are problems, which an
// execution reports; only what the forge asks us to try later is an error.
func (o *Orchestrator) define(ctx context.Context, repo forge.Repo, t Trigger) (defs []Definition, problem *UserError, reason string, err error) {
	asking, cancel := context.WithTimeout(ctx, defineTime)
	defer cancel()
	for try := range defineTries {
		if try > 0 && !sleep(asking, definePause<<(try-1)) {
			break
		}
		defs, reason, err = o.definitions.Pipelines(asking, repo, t)
		if err == nil {
			return defs, nil, reason, nil
		}
		if mistake, ok := errors.AsType[*UserError](err); ok {
			return []Definition{broken(repo)}, mistake, "", nil
		}
		if _, later := RetryAfter(err); later || ctx.Err() != nil {
			break
		}
		o.log.WarnContext(ctx, "a repository is out of reach", "repo", repo.FullName(), "sha", t.SHA, "error", err)
	}
	if _, later := RetryAfter(err); later || ctx.Err() != nil {
		return nil, nil, "", fmt.Errorf("reading the pipelines of %s at %s: %w", repo.FullName(), ShortSHA(t.SHA), err)
	}
	return []Definition{broken(repo)}, &UserError{
		Code: SystemUnavailable,
		Msg:  "the repository " + repo.FullName() + " could not be reached; run this again when it can",
	}, "", nil
}

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// askTime bounds a question to the forge that a push has to wait for.
const askTime = 3 * time.Second

// coveredByPull says why a push starts nothing: its branch has an open pull
// request of the same repository, which runs instead. The forge is asked when
// it can be, since a lost "closed" event must not stop a branch's builds.
func (o *Orchestrator) coveredByPull(ctx context.Context, e forge.Event, v Verdict) (string, error) {
	if e.Kind != forge.Push {
		return "", nil
	}
	branch := v.Trigger.Ref[len("refs/heads/"):]
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	number, found, err := o.deliveries.OpenPull(asking, e, branch)
	if err != nil {
		b, _, berr := o.store.Board(ctx, BoardKey(e.Repo, e.Repo.Slug(), DefaultPipeline))
		if berr != nil && !errors.Is(berr, ErrNotFound) {
			return "", berr
		}
		if b != nil {
			number = b.Pulls[branch].Number
			found = number != 0
		}
	}
	if !found {
		return "", nil
	}
	return fmt.Sprintf("branch %s has open pull request #%d, which runs for this commit", branch, number), nil
}

// broken stands in for a definition that can't be read, so that the mistake
// has an execution, and with it a check, to be reported in.
func broken(repo forge.Repo) Definition {
	return Definition{Project: repo.Slug(), Pipeline: Pipeline{
		Name: DefaultPipeline, Mode: ParallelMode, Implied: true,
		Stages: []Stage{{Name: "Source", Actions: []Action{SourceAction()}}},
	}}
}

// SourceAction is the action of the implied Source stage: the revision that
// the trigger pinned.
func SourceAction() Action {
	return Action{Name: "Source", Category: Source, Provider: "Git", RunOrder: 1, Outputs: []string{"SourceArtifact"}}
}

func (o *Orchestrator) startOne(ctx context.Context, d Delivery, e forge.Event, v Verdict, def Definition, problem *UserError) (string, error) {
	key := BoardKey(e.Repo, def.Project, def.Pipeline.Name)
	start := &Start{
		ID: ExecutionID(d.Forge, d.ID, key, d.Attempt), Pipeline: def.Pipeline, Project: def.Project,
		Repo: e.Repo, Trigger: v.Trigger, Problem: problem, Annotations: annotate(problem),
	}
	return start.ID, o.submitStart(ctx, key, start)
}

func annotate(p *UserError) []forge.Annotation {
	if p == nil || p.File == "" {
		return nil
	}
	return []forge.Annotation{{
		Path: p.File, StartLine: max(p.Line, 1), EndLine: max(p.Line, 1), Column: p.Column,
		Level: "failure", Title: p.Code, Message: p.Msg,
	}}
}

func (o *Orchestrator) submitStart(ctx context.Context, key string, start *Start) error {
	e := Event{V: 1, ID: "start:" + start.ID, Type: StartRequested, Board: key, At: o.now().UTC(), Start: start}
	return o.step(ctx, e, NewBoard(key, start.Repo, start.Project, start.Pipeline.Name))
}

// gate holds what an outsider sent. The base branch says whether there would be
// anything to run at all; in doubt the author is told.
func (o *Orchestrator) gate(ctx context.Context, d Delivery, e forge.Event, v Verdict) (Decision, error) {
	base := v.Trigger
	base.SHA, base.Ref, base.FetchRef = e.Pull.BaseSHA, "refs/heads/"+e.Pull.BaseRef, "refs/heads/"+e.Pull.BaseRef
	defs, reason, err := o.definitions.Pipelines(ctx, e.Repo, base)
	if err == nil && len(defs) == 0 {
		return Decision{Decision: DecisionIgnored, Reason: v.Gate + " Besides, " + reason + "."}, nil
	}
	return o.remark(ctx, d, e, v, v.Gate)
}

// remark tells the forge why nothing runs. It leaves a record for the reporter
// but no execution in any list.
func (o *Orchestrator) remark(ctx context.Context, d Delivery, e forge.Event, v Verdict, why string) (Decision, error) {
	def := broken(e.Repo)
	key := BoardKey(e.Repo, def.Project, def.Pipeline.Name)
	start := &Start{
		ID: ExecutionID(d.Forge, d.ID, key, d.Attempt), Pipeline: def.Pipeline, Project: def.Project,
		Repo: e.Repo, Trigger: v.Trigger, Gate: why, Skip: v.Skip != "",
	}
	if err := o.submitStart(ctx, key, start); err != nil {
		return Decision{}, err
	}
	return Decision{Decision: DecisionIgnored, Reason: why}, nil
}

// notePull keeps the Board's list of open pull requests right, also for events
// that start nothing.
func (o *Orchestrator) notePull(ctx context.Context, d Delivery, e forge.Event) error {
	opened := !e.Pull.Closed && !e.Pull.Draft
	if !e.Pull.Internal() || (opened && e.Action != "opened" && e.Action != "reopened" && e.Action != "ready_for_review") {
		return nil
	}
	key := BoardKey(e.Repo, e.Repo.Slug(), DefaultPipeline)
	reason := fmt.Sprintf("pull request #%d was closed", e.Pull.Number)
	if e.Pull.Draft {
		reason = fmt.Sprintf("pull request #%d is a draft now", e.Pull.Number)
	}
	event := Event{
		V: 1, ID: fmt.Sprintf("pull:%s:%s:%d", d.Forge, d.ID, d.Attempt), Type: PullChanged, Board: key, At: o.now().UTC(),
		Pull: e.Pull, PullOpened: opened, Reason: reason,
	}
	return o.step(ctx, event, NewBoard(key, e.Repo, e.Repo.Slug(), DefaultPipeline))
}
