package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// askTime bounds a question to the forge that a push has to wait for.
const askTime = 3 * time.Second

// coveredByPull says why a push starts nothing: its branch has an open pull
// request of the same repository, which runs instead. The forge is asked when
// it can be, since a lost "closed" event must not stop a branch's builds.
func (o *Orchestrator) coveredByPull(ctx context.Context, e forge.Event, v Verdict) (string, error) {
	if e.Kind != forge.Push {
		return "", nil
	}
	branch, isBranch := strings.CutPrefix(v.Trigger.Ref, "refs/heads/")
	if !isBranch {
		return "", nil
	}
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

// notePull keeps the Board's list of open pull requests right, also for events
// that start nothing.
func (o *Orchestrator) notePull(ctx context.Context, d Delivery, e forge.Event) error {
	opened := !e.Pull.Closed && !e.Pull.Draft
	if !e.Pull.Internal() && !e.Pull.Closed || opened && e.Action != "opened" && e.Action != "reopened" && e.Action != "ready_for_review" {
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
	if err := o.step(ctx, event, NewBoard(key, e.Repo, e.Repo.Slug(), DefaultPipeline)); err != nil || opened {
		return err
	}
	return o.endPull(ctx, e.Repo, event)
}

// endPull ends what runs for a pull request on the Boards of pipeline files.
func (o *Orchestrator) endPull(ctx context.Context, repo forge.Repo, event Event) error {
	page, err := o.store.Executions(ctx, Query{Forge: repo.Forge, Repo: repo.FullName(), Status: InProgress, Limit: 200})
	if err != nil {
		return fmt.Errorf("looking for what runs for pull request #%d: %w", event.Pull.Number, err)
	}
	done := map[string]bool{event.Board: true}
	first := event.ID
	for _, s := range page.Items {
		if s.Trigger != "pr/"+itoa(event.Pull.Number) {
			continue
		}
		x, err := o.store.Execution(ctx, s.ID)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && done[x.Board]:
			continue
		case err != nil:
			return err
		}
		done[x.Board] = true
		event.Board, event.ID = x.Board, first+":"+x.Board
		if err := o.step(ctx, event, nil); err != nil {
			return err
		}
	}
	return nil
}
