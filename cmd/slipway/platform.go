package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/dispatch"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/local"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/notify"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/runner/source"
	"github.com/slipway-ci/slipway/store"
	"github.com/slipway-ci/slipway/store/artifacts"
	blobstore "github.com/slipway-ci/slipway/store/blobs"
	"github.com/slipway-ci/slipway/store/caches"
	"github.com/slipway-ci/slipway/store/logs"
	"github.com/slipway-ci/slipway/store/secrets"
)

// platform is the server's side of Slipway, wired: what hears, carries,
// decides, remembers and tells.
type platform struct {
	cfg          config.Config
	log          *slog.Logger
	inbox        *queue.Inbox
	jobs         *queue.Jobs
	store        *store.Store
	bucket       *blobstore.Bucket
	bucketCheck  *recentCheck
	blobs        artifactStore
	logs         logStore
	caches       *caches.Store
	secrets      secrets.Source
	forges       *forges
	host         *local.Host
	mirrors      *source.Store
	control      *dispatch.Service
	fleet        *dispatch.Fleet
	admission    *dispatch.Admission // of agents
	orchestrator *pipeline.Orchestrator
	revisions    *revisions
	relay        *pipeline.Relay
	reporters    []teller
	targets      map[string]*notify.Target // of notifications, by name
	removed      removals                  // by retention
	closers      []func() error
}

// newPlatform wires the server. It connects to Redis and opens the stores, and
// starts nothing.
func newPlatform(ctx context.Context, cfg config.Config, log *slog.Logger) (*platform, error) {
	p := &platform{cfg: cfg, log: log}
	if err := p.open(ctx); err != nil {
		p.close()
		return nil, err
	}
	if err := errors.Join(bundles{data: cfg.Data}.sweep(), combiner{dir: cfg.Data}.sweep()); err != nil {
		return nil, err
	}
	p.wire()
	if err := p.wireTargets(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *platform) open(ctx context.Context) (err error) {
	if err := p.openState(ctx); err != nil {
		return err
	}
	cfg, log := p.cfg, p.log
	p.host, err = local.New(local.Options{
		Dir: filepath.Join(cfg.Data, "git"), URL: cfg.ExternalURL + "/", Tokens: []string{cfg.AdminToken},
		Deliver: p.localPush, Log: log,
	})
	if err != nil {
		return err
	}
	if p.forges, err = newForges(cfg, p.host, p.blobs); err != nil {
		return err
	}
	p.mirrors, err = source.New(source.Options{Dir: filepath.Join(cfg.Data, "mirrors"), Env: gitEnvironment(), Timeout: time.Minute})
	return err
}

func (p *platform) openState(ctx context.Context) error {
	rdb, err := queue.Open(p.cfg.Redis.URL)
	if err != nil {
		return usage(fmt.Errorf("redis.url: %w", err))
	}
	p.closers = append(p.closers, rdb.Close)
	p.inbox = queue.NewInbox(rdb, queue.InboxOptions{Lease: p.cfg.Limits.Lease, Keep: p.cfg.Retention.Deliveries, KeepCount: p.cfg.Retention.DeliveryCount}, p.log)
	p.jobs = queue.NewJobs(rdb, queue.JobsOptions{Lease: p.cfg.Limits.Lease}, p.log)
	p.closers = append(p.closers, p.jobs.Close)
	p.store = store.New(rdb, store.Options{Keep: p.cfg.Retention.Executions, KeepReports: p.cfg.Retention.Reports}, p.log)
	if p.bucket, err = openBucket(ctx, p.cfg, p.log); err != nil {
		return err
	}
	p.closers = append(p.closers, p.bucket.Close)
	p.bucketCheck = newRecentCheck(p.bucket.Check)
	p.blobs = artifactStore{artifacts.New(p.bucket, p.store.Removals())}
	p.logs = logStore{logs.New(p.bucket, p.store.LogTail(), time.Now)}
	p.caches = caches.New(p.bucket, time.Now)
	if p.secrets, err = openSecrets(ctx, p.cfg, os.Getenv); err != nil {
		return err
	}
	return nil
}

func (p *platform) wire() {
	now := time.Now
	o := &orders{
		cfg: p.cfg, credentials: p.forges, bundler: bundles{p.mirrors, p.cfg.Data}, blobs: p.blobs,
		files: p.mirrors, secrets: p.secrets, now: now, lends: p.forges.Lends,
	}
	marks := &announcements{Store: p.store, lists: p.lists()}
	p.control = dispatch.New(p.jobs, marks, p.logs, p.blobs, o, p.inbox, now, p.log)
	p.control.KeepCaches(p.caches)
	p.control.KeepReports(p.store)
	if p.cfg.Limits.Debug > 0 {
		p.control.KeepDebugging(p.store, p.cfg.Limits.Debug)
	}
	p.fleet = p.control.Fleet(p.store, fleetOptions(p.cfg))
	p.admission = dispatch.NewAdmission(p.store, now)
	p.relay = pipeline.NewRelay(marks, p.control, p.inbox, p.cfg.Limits.Lease, now, p.log)
	defs := &definitions{cfg: p.cfg, credentials: p.forges, files: p.mirrors}
	retries := p.cfg.Limits.InfrastructureRetries
	if retries == 0 {
		retries = -1 // the zero value of Rules means its default
	}
	rules := pipeline.Rules{
		InfrastructureRetries: retries, QueuedTimeout: p.cfg.Limits.QueuedTimeout,
		BuildTimeout: p.cfg.Limits.BuildTimeout, ExternalURL: p.cfg.ExternalURL,
	}
	p.revisions = &revisions{p.forges, p.mirrors}
	p.orchestrator = pipeline.NewOrchestrator(p.store, p.forges, defs, p.relay, rules, now, p.log)
	p.orchestrator.Resolves(p.revisions)
	p.listen()
	p.reporters = p.wireReporters()
}

// wireReporters makes one reporter for each forge. The built-in host's checks
// are Slipway's own pages, so its list is only emptied.
func (p *platform) wireReporters() []teller {
	spacing := p.cfg.Limits.ReportSpacing
	if spacing == 0 {
		spacing = notify.Spacing(p.cfg.GitHub.APIURL)
	}
	reported := map[string]notify.Forge{githubForge: {Checks: p.forges.github, Statuses: p.forges.github, Spacing: spacing}}
	p.forges.bitbucketReports(reported, p.cfg.Limits.ReportSpacing)
	for name, to := range reported {
		to.Pace = notify.NewPace(to.Spacing)
		if p.cfg.Notifications.Statuses == "only" {
			to.Checks = nil
		}
		reported[name] = to
	}
	out := p.wireForgeTellers(reported)
	for _, name := range []string{githubForge, cloudForge, serverForge, localForge} {
		out = append(out, notify.New(p.store.Reports(name), p.store, notify.Options{
			Forges: reported, BaseURL: p.cfg.ExternalURL, Log: p.log, Line: p.line,
			// What a killed server had claimed is reported when its claim runs out:
			// soon enough for somebody who waits for a check.
			SendTimeout: 2 * p.cfg.Limits.Lease, Lease: 5 * p.cfg.Limits.Lease,
		}))
	}
	return out
}

// localPush puts a push to the built-in git host into the inbox, like any
// other forge's delivery.
func (p *platform) localPush(ctx context.Context, e forge.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = p.inbox.Receive(ctx, pipeline.Delivery{
		V: 1, Forge: localForge, ID: e.Delivery, Event: string(e.Kind), Repo: e.Repo.FullName(),
		ReceivedAt: time.Now().UTC(), Body: body, Bytes: int64(len(body)), Verdict: pipeline.Accepted,
	})
	return err
}

// watchInterval is how often the relay looks for what no event announces.
const watchInterval = time.Second

// run does the server's work until ctx ends.
func (p *platform) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return p.inbox.Run(ctx, queue.Handler{Delivery: p.orchestrator.Delivery, Event: p.orchestrator.Event})
	})
	g.Go(func() error { return p.relay.Run(ctx, watchInterval) })
	for _, r := range p.reporters {
		g.Go(func() error { return r.Run(ctx) })
	}
	for _, t := range p.targets {
		g.Go(func() error { return t.Run(ctx) })
	}
	g.Go(func() error { return p.host.Run(ctx) })
	g.Go(func() error { return p.fleet.Run(ctx) })
	g.Go(func() error { p.tidy(ctx); return nil })
	g.Go(func() error { p.retention().run(ctx); return nil })
	if p.cfg.GitHub.AppID != 0 {
		missed := &recovery{hooks: p.forges.github, state: p.store, log: p.log, now: time.Now}
		g.Go(func() error { missed.run(ctx); return nil })
	}
	return g.Wait()
}

// uploadTime is the age at which an upload that never ended is taken away.
const uploadTime = 24 * time.Hour

// cacheTime is how long an entry of a cache is kept after it was saved.
const cacheTime = 14 * 24 * time.Hour

// tidyInterval is how often leftovers are looked for.
const tidyInterval = time.Hour

func (p *platform) tidy(ctx context.Context) {
	tick := time.NewTicker(tidyInterval)
	defer tick.Stop()
	for {
		if err := p.mirrors.Sweep(time.Now()); err != nil {
			p.log.WarnContext(ctx, "tidying the mirrors", "error", err)
		}
		if _, err := p.blobs.Sweep(ctx, time.Now().Add(-uploadTime)); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "tidying the blob store", "error", err)
		}
		if _, err := p.caches.Sweep(ctx, time.Now().Add(-cacheTime)); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "tidying the caches", "error", err)
		}
		if err := p.bucket.SweepProbes(ctx, time.Now().Add(-tidyInterval)); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "tidying the blob store", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *platform) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		if err := p.closers[i](); err != nil {
			p.log.Warn("closing", "error", err)
		}
	}
}

// handler is the HTTP side.
func (p *platform) handler(openReads bool) (*handlers.Server, error) {
	login, err := p.login()
	if err != nil {
		return nil, err
	}
	o := handlers.Options{
		Hooks: p.forges.hooks(), Inbox: p.inbox, Bodies: p.blobs, Deliveries: p.inbox,
		Executions: p.store, Boards: p.store, Revisions: p.revisions, Builds: p.store, ReportGroups: p.store, Logs: p.logs, Artifacts: p.blobs, Events: p.inbox,
		DeadLetters: deadLetters{p.inbox, p}, Retention: p.retention(), Workers: workers{p.jobs}, Control: newEveryCompute(p.control, p.cfg),
		Fleet: p.fleet, Agents: p.admission, AgentControl: p.fleet,
		Git: gitHost{p.host, p.cfg.AdminToken, p.log},
		Access: handlers.Access{
			AdminTokens: []string{p.cfg.AdminToken},
			Workers:     []handlers.WorkerToken{{Name: "worker", Token: workerToken(p.cfg), Kind: pipeline.BuildJob}},
			SessionKey:  derive(p.cfg, "sessions"), OpenReading: openReads, Agent: p.admission.AgentOf,
			Tokens: p.store, Notes: p.store, Audit: p.store, Forges: p.forges.permissions(), Login: login,
			Environment: p.environment,
			Git:         p.host.Allowed, TrustedProxies: p.cfg.Proxies(),
		},
		Setup:  appSetup{p.cfg, p.forges.github},
		Checks: p.checks(), QueueDepths: p.depths, Standing: p.standing, ExternalURL: p.cfg.ExternalURL, Version: version, Log: p.log,
	}
	if p.cfg.Limits.Debug > 0 {
		o.Debugging = p.store
	}
	return handlers.New(o)
}

// checks are what /readyz asks.
func (p *platform) checks() []handlers.Check {
	return []handlers.Check{
		{Name: "redis", Run: p.checkRedis},
		{Name: "blobs", Run: p.bucketCheck.run},
		{Name: "github", Run: func(ctx context.Context) error {
			if err := p.forges.github.Check(ctx); !errors.Is(err, forge.ErrNoCredentials) {
				return err
			}
			return nil // it can receive, and report nothing: a valid configuration
		}},
		{Name: "bitbucket", Run: p.forges.checkBitbucket},
	}
}

func (p *platform) checkRedis(ctx context.Context) error {
	d, err := p.inbox.Durability(ctx)
	if err != nil {
		return err
	}
	if d.Mode == queue.NotDurable && p.cfg.Redis.Durability != "relaxed" {
		return errors.New("an acknowledged webhook may be lost when Redis dies: set appendonly yes and appendfsync always, or redis.durability: relaxed")
	}
	return nil
}

// depths count the waiting jobs of each class.
func (p *platform) depths(ctx context.Context) (map[string]int64, error) {
	classes, err := p.jobs.Classes(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, c := range classes {
		n, err := p.jobs.Waiting(ctx, c)
		if err != nil {
			return nil, err
		}
		out[c] = int64(n.Waiting)
	}
	return out, nil
}

// deadLetters and workers say the queue's words in the API's types.
type deadLetters struct {
	inbox    *queue.Inbox
	platform *platform
}

func (d deadLetters) DeadLetters(ctx context.Context, limit int, after string) (pipeline.Page[handlers.DeadLetter], error) {
	if limit <= 0 {
		limit = 50
	}
	var out pipeline.Page[handlers.DeadLetter]
	if after == "" || strings.HasPrefix(after, messagePrefix) {
		messages, err := d.platform.deadMessages(ctx, limit, after)
		if err != nil {
			return out, err
		}
		out.Items, after, limit = messages, "", limit-len(messages)
		if limit == 0 {
			out.Next = messages[len(messages)-1].ID
			return out, nil
		}
	}
	page, err := d.inbox.DeadLetters(ctx, limit, after)
	out.Next = page.Next
	for _, l := range page.Items {
		out.Items = append(out.Items, handlers.DeadLetter(l))
	}
	return out, err
}

func (d deadLetters) ReplayDeadLetter(ctx context.Context, id string) error {
	if strings.HasPrefix(id, messagePrefix) {
		return d.platform.resend(ctx, id)
	}
	return d.inbox.ReplayDead(ctx, id)
}

type workers struct{ jobs *queue.Jobs }

func (w workers) Workers(ctx context.Context) ([]handlers.Worker, error) {
	states, err := w.jobs.Workers(ctx)
	out := make([]handlers.Worker, 0, len(states))
	for _, s := range states {
		out = append(out, handlers.Worker(s))
	}
	return out, err
}
