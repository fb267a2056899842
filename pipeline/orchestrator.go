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
	// Consumed reports whether an event of a Board was committed, as far back as
	// Commit knows.
	Consumed(ctx context.Context, board, event string) (bool, error)
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
	// Changed are the files that a push or a pull request changed. What can't be
	// known is no error, but said in the answer; a *forge.RetryError is to be
	// tried again.
	Changed(ctx context.Context, e forge.Event) (forge.Changes, error)
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
	// Triggers are those of a pipeline file; nil means the implied ones.
	Triggers *Triggers
	// Filters, if set, take the place of the implied triggers.
	Filters FilterGroups
	// Problem, if set, is a mistake in the definition, which its executions fail
	// with, and Annotations are all mistakes.
	Problem     *UserError
	Annotations []forge.Annotation
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
	chat        Chat
	revisions   Revisions // nil: schedules start nothing
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
	var err error
	switch e.Type {
	case RerunRequested:
		_, err = o.Rerun(ctx, e.Execution, "api", e.ID, 0, forge.User{Login: e.By})
	case ManualStart:
		err = o.manual(ctx, e)
	case ScheduleDue:
		err = o.due(ctx, e)
	default:
		return o.step(ctx, e, nil)
	}
	if errors.Is(err, ErrNotFound) {
		return nil // retention was faster
	}
	return err
}

// advance computes one step. What it needs of executions that have left the
// Board is loaded for it.
func (o *Orchestrator) advance(ctx context.Context, b *Board, e Event) (c Change, err error) {
	switch e.Type {
	case RetryRequested, OverrideWanted, CheckOverridden:
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
	if len(e.More) > 0 {
		return o.several(ctx, d, e)
	}
	return o.decide(ctx, d, e)
}

// decide decides about one thing that happened.
func (o *Orchestrator) decide(ctx context.Context, d Delivery, e forge.Event) (Decision, error) {
	switch e.Kind {
	case forge.CheckRerun, forge.SuiteRerun:
		return o.rerun(ctx, d, e)
	case forge.CheckButton:
		return o.button(ctx, d, e)
	case forge.Commented:
		return o.comment(ctx, d, e)
	default:
	}
	if e.Kind == forge.Pull {
		if err := o.notePull(ctx, d, e); err != nil {
			return Decision{}, err
		}
	}
	v := Decide(e)
	if !v.Start {
		ended, err := o.endGone(ctx, d, e)
		return Decision{Decision: DecisionIgnored, Reason: v.Reason + ended}, err
	}
	if why, err := o.knownHead(ctx, d, e); err != nil || why != "" {
		return Decision{Decision: DecisionIgnored, Reason: why}, err
	}
	return o.startAll(ctx, d, e, v)
}
