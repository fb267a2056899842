package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store"
)

const (
	// retentionInterval is how often one of the servers looks for what may go.
	retentionInterval = 6 * time.Hour
	// retentionRetry is how soon it looks again if it couldn't.
	retentionRetry = 10 * time.Minute
	// retentionTime bounds a pass. The next one goes on where this one ended,
	// since what it removed is gone.
	retentionTime = time.Hour
	// retentionBatch is how many things of a kind are weighed at a time.
	retentionBatch = 10_000
	// bodyMargin keeps a body longer than the delivery that names it.
	bodyMargin = 24 * time.Hour
)

// retention removes from the blob store what nobody needs any more. What is in
// Redis expires there.
type retention struct {
	cfg    config.Retention
	groups []config.DeploymentGroup
	store  *store.Store
	blobs  artifactStore
	logs   logStore
	log    *slog.Logger
	batch  int
	now    func() time.Time
	// removed adds up what passes removed; nil: nobody does.
	removed *removals
}

func (p *platform) retention() *retention {
	return &retention{
		cfg: p.cfg.Retention, groups: p.cfg.DeploymentGroups, store: p.store, blobs: p.blobs, logs: p.logs,
		log: p.log, batch: retentionBatch, now: time.Now, removed: &p.removed,
	}
}

// run makes a pass every retentionInterval on one of all servers, until ctx
// ends.
func (r *retention) run(ctx context.Context) {
	tick := time.NewTicker(retentionRetry)
	defer tick.Stop()
	for {
		if err := r.turn(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "retention did not finish", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// turn makes a pass if it is time for one. The lease of a pass that ended well
// is left to run out: nobody makes another one before.
func (r *retention) turn(ctx context.Context) error {
	release, ok, err := r.store.Lease(ctx, "retention", retentionInterval)
	if err != nil || !ok {
		return err
	}
	start := r.now()
	out, err := r.Pass(ctx, false)
	level := slog.LevelInfo
	if out.Logs.Count+out.Artifacts.Count+out.Bodies.Count == 0 {
		level = slog.LevelDebug
	}
	r.log.Log(ctx, level, "retention", "logs", out.Logs.Count, "artifacts", out.Artifacts.Count, "bodies", out.Bodies.Count,
		"bytes", out.Logs.Bytes+out.Artifacts.Bytes+out.Bodies.Bytes, "spared", out.Logs.Spared+out.Artifacts.Spared, "duration", r.now().Sub(start))
	if err != nil {
		release()
	}
	return err
}

// Pass removes what may go, or only counts it. On an error the counts are of
// what was done until then.
func (r *retention) Pass(ctx context.Context, trial bool) (pipeline.Removal, error) {
	out, err := r.pass(ctx, trial)
	if !trial && r.removed != nil {
		r.removed.add(out, r.now())
	}
	return out, err
}

func (r *retention) pass(ctx context.Context, trial bool) (pipeline.Removal, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, retentionTime, errors.New("retention takes too long, and goes on later"))
	defer cancel()
	out, now := pipeline.Removal{Trial: trial}, r.now()
	bodies, err := r.blobs.ExpireBodies(ctx, now.Add(-r.cfg.Deliveries-bodyMargin), trial)
	out.Bodies = pipeline.Removed{Count: bodies.Objects, Bytes: bodies.Bytes}
	if err != nil {
		return out, fmt.Errorf("removing bodies of deliveries: %w", err)
	}
	logsOf := func(n named) []string { return n.builds }
	err = r.weigh(ctx, trial, &out.Logs, kind{now.Add(-r.cfg.Logs), r.logs.Old, logsOf, func(ctx context.Context, id string, _ time.Time) (bool, error) {
		return true, r.logs.Remove(ctx, id)
	}})
	if err != nil {
		return out, fmt.Errorf("removing logs: %w", err)
	}
	digestsOf := func(n named) []string { return n.digests }
	if err := r.weigh(ctx, trial, &out.Artifacts, kind{now.Add(-r.cfg.Artifacts), r.blobs.Old, digestsOf, r.blobs.Expire}); err != nil {
		return out, fmt.Errorf("removing artifacts: %w", err)
	}
	if err := r.reports(ctx, trial, &out.Artifacts, now); err != nil {
		return out, fmt.Errorf("removing reports: %w", err)
	}
	return out, nil
}

// reports removes stored reports that have to go before the artifacts of their
// builds.
func (r *retention) reports(ctx context.Context, trial bool, out *pipeline.Removed, now time.Time) error {
	if r.cfg.Reports >= r.cfg.Artifacts {
		return nil
	}
	before := now.Add(-r.cfg.Reports)
	expired, err := r.expiredReports(ctx, now.Add(-r.cfg.Artifacts), before)
	if err != nil || len(expired) == 0 {
		return err
	}
	old := func(ctx context.Context, before time.Time, from string, limit int) (map[string]int64, string, error) {
		old, next, err := r.blobs.Old(ctx, before, from, limit)
		maps.DeleteFunc(old, func(digest string, _ int64) bool { return !expired[digest] })
		return old, next, err
	}
	return r.weigh(ctx, trial, out, kind{before, old, func(n named) []string { return n.digests }, r.blobs.Expire})
}

// expiredReports are the digests of reports by executions that ended between two
// times.
func (r *retention) expiredReports(ctx context.Context, after, before time.Time) (map[string]bool, error) {
	digests := map[string]bool{}
	q := pipeline.Query{Limit: 200}
	for {
		page, err := r.store.Executions(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, x := range page.Items {
			if !x.Status.Ended() || x.EndedAt.After(before) || x.EndedAt.Before(after) {
				continue
			}
			builds, err := r.store.Builds(ctx, x.ID)
			if err != nil {
				return nil, err
			}
			for _, b := range builds {
				for _, report := range b.Reports {
					if report.Stored != nil {
						digests[report.Stored.Digest] = true
					}
				}
			}
		}
		if q.After = page.Next; q.After == "" {
			return digests, nil
		}
	}
}

// kind is what retention removes by what names it.
type kind struct {
	before time.Time
	old    func(ctx context.Context, before time.Time, from string, limit int) (old map[string]int64, next string, err error)
	of     func(named) []string
	remove func(ctx context.Context, id string, before time.Time) (bool, error)
}

// weigh removes all old ones of a kind but those that somebody names who stays.
func (r *retention) weigh(ctx context.Context, trial bool, out *pipeline.Removed, k kind) error {
	for from := ""; ; {
		old, next, err := k.old(ctx, k.before, from, r.batch)
		if err != nil {
			return err
		}
		all := len(old)
		if all > 0 {
			err = r.staying(ctx, k.before, func(n named) {
				for _, id := range k.of(n) {
					delete(old, id)
				}
			})
		}
		if err != nil {
			return err
		}
		out.Spared += all - len(old)
		for id, bytes := range old {
			removed := true
			if !trial {
				removed, err = k.remove(ctx, id, k.before)
			}
			if err != nil {
				return err
			}
			if removed {
				out.Count++
				out.Bytes += bytes
			}
		}
		if next == "" {
			return nil
		}
		from = next
	}
}

// named is what one execution or deployment names.
type named struct {
	builds, digests []string
}

func (n *named) add(artifacts []pipeline.Artifact) {
	for _, a := range artifacts {
		n.digests = append(n.digests, a.Digest)
	}
}

// staying tells what is named by all that stay: what runs or ended after a
// time, and the last good one of each branch and deployment group.
func (r *retention) staying(ctx context.Context, after time.Time, tell func(named)) error {
	if err := r.stayingExecutions(ctx, after, tell); err != nil {
		return err
	}
	return r.stayingDeployments(ctx, after, tell)
}

func (r *retention) stayingExecutions(ctx context.Context, after time.Time, tell func(named)) error {
	good := map[string]bool{}
	q := pipeline.Query{Limit: 200}
	for {
		page, err := r.store.Executions(ctx, q)
		if err != nil {
			return err
		}
		for _, x := range page.Items { // the newest first
			branch := strings.Join([]string{x.Forge, strings.ToLower(x.Repo), x.Pipeline, x.Trigger}, " ")
			last := x.Status == pipeline.Succeeded && strings.HasPrefix(x.Trigger, "branch/") && !good[branch]
			good[branch] = good[branch] || last
			if last || !x.Status.Ended() || x.EndedAt.After(after) || x.CreatedAt.After(after) {
				if err := r.execution(ctx, x.ID, tell); err != nil {
					return err
				}
			}
		}
		if q.After = page.Next; q.After == "" {
			return nil
		}
	}
}

func (r *retention) execution(ctx context.Context, id string, tell func(named)) error {
	var n named
	x, err := r.store.Execution(ctx, id)
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		return err
	}
	n.add(x.Artifacts())
	builds, err := r.store.Builds(ctx, id)
	if err != nil {
		return err
	}
	for _, b := range builds {
		n.builds = append(n.builds, b.ID)
		n.add(b.Artifacts)
		n.add(b.Inputs)
		if b.Manifest != nil {
			n.add([]pipeline.Artifact{*b.Manifest})
		}
		for _, r := range b.Reports {
			if r.Stored != nil {
				n.add([]pipeline.Artifact{*r.Stored})
			}
		}
	}
	tell(n)
	return nil
}

func (r *retention) stayingDeployments(ctx context.Context, after time.Time, tell func(named)) error {
	revision := func(d pipeline.Deployment) { tell(named{digests: []string{d.Revision.Digest}}) }
	for _, g := range r.groups {
		good, _, err := r.store.GroupState(ctx, g.Name)
		if err != nil {
			return err
		}
		if good != nil {
			revision(*good)
		}
	}
	seen := map[string]bool{}
	q := pipeline.DeploymentQuery{Limit: 200}
	for {
		page, err := r.store.Deployments(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range page.Items { // the newest first
			last := d.Status == pipeline.DeploymentSucceeded && !seen[d.Group]
			seen[d.Group] = seen[d.Group] || last
			if last || !d.Status.Ended() || d.CreatedAt.After(after) {
				revision(d)
			}
		}
		if q.After = page.Next; q.After == "" {
			return nil
		}
	}
}
