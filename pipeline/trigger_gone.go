package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

// endGone ends what an event leaves without its ground: what waits for a worker
// at a ref that was deleted, and all of an App's installation that was suspended
// or removed, since nothing can be fetched or told with it any more (forges
// reference 2.5, 1.7); and what checks a merge group that its queue has merged or
// dropped. The answer says how many ended; "" for none.
func (o *Orchestrator) endGone(ctx context.Context, d Delivery, e forge.Event) (string, error) {
	var q Query
	var why string
	var gone func(Execution) bool
	switch {
	case e.Push != nil && e.Push.Deleted:
		q = Query{Forge: e.Repo.Forge, Repo: e.Repo.FullName()}
		why = e.Push.Ref + " was deleted"
		gone = func(x Execution) bool { return x.Trigger.Ref == e.Push.Ref && x.Trigger.Pull == nil && x.unclaimed() }
	case e.Install != nil && e.Install.Deleted, e.Install != nil && e.Install.Suspended && e.Action == "suspend":
		q = Query{Forge: d.Forge}
		why = "the App's installation was suspended"
		if e.Install.Deleted {
			why = "the App was uninstalled"
		}
		gone = func(x Execution) bool { return x.Trigger.Installation == e.Install.ID }
	case e.Merge != nil && e.Merge.Gone:
		q = Query{Forge: e.Repo.Forge, Repo: e.Repo.FullName(), SHA: e.Merge.HeadSHA}
		why = "the merge queue is done with " + e.Merge.HeadRef
		gone = func(x Execution) bool { return x.Trigger.Event == MergeGroupEvent && x.Trigger.Ref == e.Merge.HeadRef }
	default:
		return "", nil
	}
	ended, err := o.endAll(ctx, d, q, why, gone)
	if err != nil || ended == 0 {
		return "", err
	}
	return fmt.Sprintf("; %d executions end", ended), nil
}

// unclaimed reports whether no worker has begun anything of x.
func (x *Execution) unclaimed() bool {
	for _, st := range x.Stages {
		for _, a := range st.Actions {
			if a.Worker != "" {
				return false
			}
		}
	}
	return true
}

// endPages bounds the pages of 200 executions that are looked through.
const endPages = 50

// endAll stops the running executions of a query that match.
func (o *Orchestrator) endAll(ctx context.Context, d Delivery, q Query, why string, match func(Execution) bool) (ended int, err error) {
	q.Status, q.Limit = InProgress, 200
	for range endPages {
		page, err := o.store.Executions(ctx, q)
		if err != nil {
			return ended, fmt.Errorf("looking for what ends because %s: %w", why, err)
		}
		for _, s := range page.Items {
			x, err := o.store.Execution(ctx, s.ID)
			switch {
			case errors.Is(err, ErrNotFound), err == nil && !match(x):
				continue
			case err != nil:
				return ended, err
			}
			id := strings.Join([]string{"gone", d.Forge, d.ID, itoa(d.Attempt), x.ID}, ":")
			stop := Event{V: 1, ID: id, Type: StopRequested, Board: x.Board, At: o.now().UTC(), Execution: x.ID, Reason: why, Revive: &x}
			if err := o.step(ctx, stop, nil); err != nil {
				return ended, err
			}
			ended++
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	return ended, nil
}
