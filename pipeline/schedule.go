package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/cron"
)

// Schedule starts a pipeline at times: five fields of cron in a time zone.
type Schedule struct {
	Cron string `json:"cron"`
	Zone string `json:"zone,omitempty"` // empty: UTC
}

// next is the schedule's first time after t; false: there is none.
func (s Schedule) next(t time.Time) (time.Time, bool) {
	zone, err := parseZone(s.Zone)
	if err != nil {
		return time.Time{}, false
	}
	when, err := cron.Parse(s.Cron, zone)
	if err != nil {
		return time.Time{}, false
	}
	next, ok := when.Next(t)
	return next.UTC(), ok
}

// Timetable is when a Board's pipeline starts by itself.
type Timetable struct {
	Schedules    []Schedule `json:"schedules"`
	Installation int64      `json:"installation,omitempty"`
	// Next is the next time, and Last the one that was due last; zero: none.
	Next time.Time `json:"next,omitzero"`
	Last time.Time `json:"last,omitzero"`
}

// schedule takes the schedules of the newest definition, and sets the timer of
// the next time. Of times that were missed, because no server ran, one is made
// good: by the timer that was late.
func (s *step) schedule() {
	if s.e.Timetable == nil {
		return
	}
	t := *s.e.Timetable
	if old := s.b.Timetable; old != nil {
		t.Last = old.Last
		if s.e.Attempt > 0 && !old.Next.IsZero() && !old.Next.After(s.e.At) {
			t.Last = old.Next
		}
	}
	for _, one := range t.Schedules {
		if next, ok := one.next(s.e.At); ok && (t.Next.IsZero() || next.Before(t.Next)) {
			t.Next = next
		}
	}
	s.b.Timetable = &t
	if t.Next.IsZero() {
		return
	}
	s.do(Effect{Type: SetTimer, Timer: &Event{
		V: 1, ID: fmt.Sprintf("timer:schedule:%s:%d", s.b.Key, t.Next.Unix()), Type: ScheduleDue, Board: s.b.Key, At: t.Next,
	}})
}

// Revisions finds commits by name.
type Revisions interface {
	// Resolve finds the commit that a branch, a tag or the beginning of a commit
	// ID means; "" is the default branch. ref is the full branch or tag, "" if
	// there is none to be named. A *UserError: there is no such commit.
	Resolve(ctx context.Context, repo forge.Repo, installation int64, name string) (sha, ref string, err error)
}

// Resolves has schedules start the newest commit of their branch. Without it
// none do.
func (o *Orchestrator) Resolves(r Revisions) { o.revisions = r }

// timetables tells Boards of the schedules of their definitions, which count as
// the default branch has them.
func (o *Orchestrator) timetables(ctx context.Context, d Delivery, e forge.Event, defs []Definition) error {
	if e.Push == nil || e.Push.Ref != "refs/heads/"+e.Repo.DefaultBranch {
		return nil
	}
	for _, def := range defs {
		if def.Triggers == nil || def.Problem != nil {
			continue
		}
		key := BoardKey(e.Repo, def.Project, def.Pipeline.Name)
		b, _, err := o.store.Board(ctx, key)
		known := err == nil && b.Timetable != nil
		switch {
		case err != nil && !errors.Is(err, ErrNotFound):
			return fmt.Errorf("loading board %s: %w", key, err)
		case !known && len(def.Triggers.Schedules) == 0, known && slices.Equal(b.Timetable.Schedules, def.Triggers.Schedules):
			continue
		}
		set := Event{
			V: 1, ID: "schedules:" + ExecutionID(d.Forge, d.ID, key, d.Attempt), Type: ScheduleSet, Board: key, At: o.now().UTC(),
			Timetable: &Timetable{Schedules: def.Triggers.Schedules, Installation: e.Installation},
		}
		if err := o.step(ctx, set, NewBoard(key, e.Repo, def.Project, def.Pipeline.Name)); err != nil {
			return err
		}
	}
	return nil
}

// due starts what is scheduled, and sets the next time. The next time is set
// first, so that a repository that is out of reach costs one execution and not
// all that follow.
func (o *Orchestrator) due(ctx context.Context, e Event) error {
	b, _, err := o.store.Board(ctx, e.Board)
	if err != nil {
		return fmt.Errorf("loading board %s: %w", e.Board, err)
	}
	t := b.Timetable
	if o.revisions == nil || t == nil || (!t.Next.Equal(e.At) && !t.Last.Equal(e.At)) {
		return nil // it is scheduled otherwise by now
	}
	if err := o.reschedule(ctx, e, "next", *t); err != nil {
		return err
	}
	def, found, err := o.scheduled(ctx, b)
	if err != nil {
		return err
	}
	if !found || def.Problem == nil && len(def.Triggers.Schedules) == 0 {
		return o.reschedule(ctx, e, "gone", Timetable{Installation: t.Installation})
	}
	sha, ref, err := o.revisions.Resolve(ctx, b.Repo, t.Installation, def.Triggers.Branch)
	if err != nil {
		return fmt.Errorf("finding the head of %s: %w", b.Repo.FullName(), err)
	}
	start := &Start{
		ID: ExecutionID("schedule", e.ID, b.Key, 0), Pipeline: def.Pipeline, Project: b.Project, Repo: b.Repo,
		Problem: def.Problem, Annotations: def.Annotations,
		Trigger: Trigger{
			Type: "Schedule", Delivery: e.ID, Actor: forge.User{Login: "schedule"}, Installation: t.Installation,
			SHA: sha, Ref: ref, FetchRef: ref, Trusted: true,
		},
	}
	return o.submitStart(ctx, b.Key, start)
}

func (o *Orchestrator) reschedule(ctx context.Context, e Event, what string, t Timetable) error {
	now := o.now().UTC()
	if now.Before(e.At) { // another server's clock is ahead
		now = e.At
	}
	set := Timetable{Schedules: t.Schedules, Installation: t.Installation}
	return o.step(ctx, Event{V: 1, ID: e.ID + ":" + what, Type: ScheduleSet, Board: e.Board, At: now, Attempt: 1, Timetable: &set}, nil)
}

// scheduled is the definition of a Board's pipeline at the head of the default
// branch (CodePipeline reference, section 6).
func (o *Orchestrator) scheduled(ctx context.Context, b *Board) (def Definition, found bool, err error) {
	sha, ref, err := o.revisions.Resolve(ctx, b.Repo, b.Timetable.Installation, "")
	if err != nil {
		return def, false, fmt.Errorf("finding the head of %s: %w", b.Repo.FullName(), err)
	}
	defs, _, err := o.define(ctx, b.Repo, Trigger{SHA: sha, Ref: ref, FetchRef: ref, Installation: b.Timetable.Installation, Trusted: true})
	if err != nil {
		return def, false, err
	}
	for _, d := range defs {
		if d.Pipeline.Name == b.Pipeline && d.Triggers != nil {
			return d, true, nil
		}
	}
	return def, false, nil
}
