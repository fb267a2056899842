package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/redact"
	"github.com/slipway-ci/slipway/pipeline"
)

func (a *app) serverCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the server: webhooks, API, pages and the engine that decides",
		Long: `Runs everything but builds and deployments: those are a runner's and an agent's.
Any number of servers share one Redis and one blob store.`,
		Args: usageArgs(cobra.NoArgs),
	}
	change := a.serveFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.serve(c.Context(), change, serving{})
	}
	return c
}

func (a *app) upCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Run all of Slipway in one process",
		Long: `Runs server, runner and agent in one process. Without redis.url it starts the
redis-server on PATH, or keeps the state in this process where there is none.`,
		Args: usageArgs(cobra.NoArgs),
	}
	change := a.serveFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.serve(c.Context(), change, serving{runner: true, agent: true})
	}
	return c
}

// serveFlags are the flags of commands that serve; what they change is applied
// to the configuration last.
func (a *app) serveFlags(c *cobra.Command) func(*config.Config) {
	var listen, data, redisURL, external, engine string
	f := c.Flags()
	f.StringVar(&listen, "listen", "", "`address` to listen on")
	f.StringVar(&data, "data", "", "data `folder`")
	f.StringVar(&redisURL, "redis-url", "", "Redis `address`")
	f.StringVar(&external, "external-url", "", "how browsers and forges reach this server")
	f.StringVar(&engine, "engine", "", "docker or host")
	return func(cfg *config.Config) {
		for to, value := range map[*string]string{
			&cfg.Listen: listen, &cfg.Data: data, &cfg.Redis.URL: redisURL, &cfg.ExternalURL: external, &cfg.Engine: engine,
		} {
			if value != "" {
				*to = value
			}
		}
	}
}

// serving says which roles share the process, and what to do when it serves.
type serving struct {
	runner, agent bool
	// busyOK takes another port if the configured one is busy.
	busyOK bool
	// quiet leaves the greeting to ready.
	quiet bool
	// ready is called once the server answers; when it returns, the process ends
	// with its error.
	ready func(ctx context.Context, p *platform) error
}

// serve runs a server, and the other roles asked for, until ctx ends.
func (a *app) serve(ctx context.Context, change func(*config.Config), s serving) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	change(&cfg)
	if err := cfg.Check(); err != nil {
		return usage(err)
	}
	if err := cfg.CheckExposure(); err != nil {
		return usage(err)
	}
	cfg.Data, err = filepath.Abs(cfg.Data)
	if err != nil {
		return usage(err)
	}
	unlock, err := lockData(cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()
	if err := ensureToken(&cfg); err != nil {
		return err
	}
	if err := findSecrets(&cfg); err != nil {
		return err
	}
	log := a.serverLog(cfg)
	if cfg.Redis.URL == "" {
		embedded, err := startEmbedded(ctx, cfg.Data, log)
		if err != nil {
			return err
		}
		defer embedded.close()
		cfg.Redis.URL = embedded.url
		if !embedded.durable {
			cfg.Redis.Durability = "relaxed"
		}
	}
	return a.serveOn(ctx, cfg, log, s)
}

// serverLog masks the configuration's secrets, wherever they turn up.
func (a *app) serverLog(cfg config.Config) *slog.Logger {
	m := redact.New(config.Secrets(cfg)...)
	out := m.Writer(a.stderr)
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Log)) // checked with the configuration
	return slog.New(newRepeats(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})))
}

func (a *app) serveOn(ctx context.Context, cfg config.Config, log *slog.Logger, s serving) error {
	l, err := listen(cfg.Listen, s.busyOK)
	if err != nil {
		return err
	}
	defer l.Close()
	cfg.Listen = l.Addr().String()
	if cfg.ExternalURL == "" {
		cfg.ExternalURL = "http://" + cfg.Listen
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p, err := newPlatform(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	h, err := p.handler(openReads(cfg, l.Addr()))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(cfg.Data, "url"), []byte("http://"+cfg.Listen+"\n"), 0o600); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.run(gctx) })
	front := http.Handler(h)
	if cfg.WebhookListen != "" {
		hooks, err := listen(cfg.WebhookListen, false)
		if err != nil {
			return err
		}
		defer hooks.Close()
		front = below("/webhooks/", http.NotFoundHandler(), h)
		g.Go(func() error { return serveHTTP(gctx, hooks, below("/webhooks/", h, http.NotFoundHandler()), h.Drain) })
	}
	g.Go(func() error { return serveHTTP(gctx, l, front, h.Drain) })
	control := inParts{observed{newEveryCompute(p.control, cfg), h}, p.control, p.control}
	g.Go(func() error { return runRequests(gctx, cfg, p.control, log) })
	g.Go(func() error { return p.batches().run(gctx, cfg, p.control, log) })
	g.Go(func() error { return p.fetcher().run(gctx, cfg, log) })
	if s.runner {
		g.Go(func() error { return a.runRunner(gctx, cfg, control, log) })
	}
	if s.agent {
		g.Go(func() error { return p.runAgent(gctx, observed{p.fleet, h}) })
	}
	g.Go(func() error {
		if !s.quiet {
			a.greet(cfg, h.SignInPath())
		}
		if s.ready == nil {
			return nil
		}
		defer stop()
		return s.ready(gctx, p)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// observed counts the builds that end in this process, as the worker API does
// those of other processes.
type observed struct {
	pipeline.Control
	server *handlers.Server
}

func (o observed) Complete(ctx context.Context, ref pipeline.JobRef, b pipeline.Build, out pipeline.Outcome) error {
	err := o.Control.Complete(ctx, ref, b, out)
	if err == nil {
		o.server.ObserveBuild(b)
	}
	return err
}

func (a *app) greet(cfg config.Config, signIn string) {
	fmt.Fprintf(a.stderr, "Slipway %s listens on %s\n", version, cfg.ExternalURL)
	fmt.Fprintf(a.stderr, "Sign in once, within 15 minutes: %s%s\n", cfg.ExternalURL, signIn)
	if readToken(cfg.Data) == cfg.AdminToken {
		fmt.Fprintf(a.stderr, "The admin token is in %s\n", filepath.Join(cfg.Data, tokenFile))
	}
	secrets := map[string][]string{
		"github": cfg.GitHub.Secrets(), "bitbucket": cfg.Bitbucket.Secrets(), "bitbucket_server": cfg.BitbucketServer.Secrets(),
	}
	if len(secrets["github"])+len(secrets["bitbucket"])+len(secrets["bitbucket_server"]) == 0 {
		fmt.Fprintln(a.stderr, "No forge is configured yet: push to the built-in git host, make a GitHub App on the page /setup/github, or see docs/how-to/bitbucket.md")
	}
	for _, section := range slices.Sorted(maps.Keys(secrets)) {
		if slices.ContainsFunc(secrets[section], func(s string) bool { return len(s) < 16 }) {
			fmt.Fprintf(a.stderr, "warning: %s.webhook_secret is short; use at least 32 random characters\n", section)
		}
	}
}

func listen(addr string, busyOK bool) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil && busyOK {
		host, _, splitErr := net.SplitHostPort(addr)
		if splitErr == nil {
			l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
		}
	}
	if err != nil {
		return nil, usage(fmt.Errorf("listening on %s: %w", addr, err))
	}
	return l, nil
}

// openReads decides who may read without signing in. Behind a proxy that is on
// this host a request from anywhere looks like one from here, so an external
// URL elsewhere closes the door.
func openReads(cfg config.Config, a net.Addr) bool {
	switch cfg.OpenReads {
	case "yes":
		return true
	case "no":
		return false
	}
	u, err := url.Parse(cfg.ExternalURL)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return loopback(a) && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// shutdownTime is what requests under way get when the server ends.
const shutdownTime = 10 * time.Second

// below sends requests for paths below prefix to one handler, all others to
// the other one.
func below(prefix string, inside, outside http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, prefix) {
			inside.ServeHTTP(w, r)
			return
		}
		outside.ServeHTTP(w, r)
	})
}

// serveHTTP serves until ctx ends, and then ends what is under way in order;
// drain ends the streams that would never end by themselves.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, drain func()) error {
	srv := &http.Server{Handler: defaultBodyLimits.wrap(h), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	srv.RegisterOnShutdown(drain)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("shutting down: %w", err), srv.Close())
	}
	return nil
}
