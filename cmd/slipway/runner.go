package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/worker"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/docker"
	"github.com/slipway-ci/slipway/runner/host"
	"github.com/slipway-ci/slipway/runner/source"
)

func (a *app) runnerCommand() *cobra.Command {
	var server, token, data, engine, labels, name string
	var slots int
	c := &cobra.Command{
		Use:   "runner",
		Short: "Run builds for a server",
		Long: `Takes builds from the server and runs them, each in a fresh container. It speaks
to the server only, never to Redis or the blob store. When it is told to end it
takes no more builds and lets those under way finish, for limits.drain at most;
told so twice, it ends them at once, and another runner does them again.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			for to, value := range map[*string]string{
				&cfg.Server: server, &cfg.Token: token, &cfg.Data: data, &cfg.Engine: engine, &cfg.Runner.Labels: labels, &cfg.Runner.Name: name,
			} {
				if value != "" {
					*to = value
				}
			}
			if slots != 0 {
				cfg.Runner.Slots = slots
			}
			return a.remoteRunner(c.Context(), cfg)
		},
	}
	f := c.Flags()
	f.StringVar(&server, "server", "", "the server's `URL`")
	f.StringVar(&token, "token", "", "the runners' `token`; better set SLIPWAY_TOKEN")
	f.StringVar(&data, "data", "", "data `folder`")
	f.StringVar(&engine, "engine", "", "docker or host")
	f.StringVar(&labels, "labels", "", "labels of the jobs that it takes, comma-separated")
	f.StringVar(&name, "name", "", "its name for people (default: the host's)")
	f.IntVar(&slots, "slots", 0, "builds at a time (default: the number of cores)")
	return c
}

func (a *app) remoteRunner(ctx context.Context, cfg config.Config) error {
	if err := cfg.Check(); err != nil {
		return usage(err)
	}
	if cfg.Server == "" || cfg.Token == "" {
		return usage(fmt.Errorf("a runner needs a server and a token: set SLIPWAY_SERVER and SLIPWAY_TOKEN"))
	}
	api, err := client.New(cfg.Server, cfg.Token)
	if err != nil {
		return usage(err)
	}
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return usage(err)
	}
	log := a.serverLog(cfg)
	fmt.Fprintf(a.stderr, "Slipway %s runner for %s, %d slots, engine %s\n", version, cfg.Server, cfg.Runner.Slots, cfg.Engine)
	return a.work(ctx, cfg, api, log, true, client.Retryable)
}

// runRunner runs builds in the server's own process.
func (a *app) runRunner(ctx context.Context, cfg config.Config, control workerControl, log *slog.Logger) error {
	return a.work(ctx, cfg, control, log, false, nil)
}

// work runs builds until ctx ends and those under way have finished. Artifacts
// on their way to a server elsewhere, if remote, are kept until they are there.
func (a *app) work(ctx context.Context, cfg config.Config, control workerControl, log *slog.Logger, remote bool, retryable func(error) bool) error {
	place, err := a.openEngine(ctx, cfg, cfg.Runner.Slots, log)
	if err != nil {
		return err
	}
	defer place.close(ctx, log)
	var tidying sync.WaitGroup
	defer tidying.Wait()
	until, stop := context.WithCancel(ctx)
	defer stop()
	tidying.Go(func() { place.tidy(until, log) })
	mirrors, err := source.New(source.Options{Dir: filepath.Join(cfg.Data, "mirrors"), Env: gitEnvironment()})
	if err != nil {
		return err
	}
	temp := ""
	if remote {
		temp = place.temp // goes with what is left of builds if we are killed
	}
	me := runnerName(cfg)
	serves, err := classes(cfg)
	if err != nil {
		return err
	}
	_, terminals := place.Engine.(*docker.Engine)
	return worker.Run(ctx, worker.Options{
		Control: control, Log: log, Drain: cfg.Limits.Drain, Hurry: a.hurry, Temp: temp, Retryable: retryable, Ready: place.Answers,
		Worker: pipeline.Worker{
			ID: uuid.NewString(), Name: me, Kind: pipeline.BuildJob, Slots: cfg.Runner.Slots, Version: version,
			Classes: serves,
		},
		Do: func(ctx context.Context, job pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
			if job.Build == nil {
				return pipeline.Build{}, pipeline.Outcome{Status: pipeline.BuildFault, Message: "the job has no order"}
			}
			o := runner.Options{
				Engine: place.Engine, Source: mirrors, Temp: place.temp, Name: me, Log: log, Cache: jobCache{control, job.Job.Ref()},
				Inputs: func(ctx context.Context, digest string) (io.ReadCloser, error) {
					return control.Artifact(ctx, job.Job.Ref(), digest)
				},
			}
			if d := job.Build.Debug; d != nil {
				o.Debug = remoteShell{control, job.Job.Ref(), *d, d.TTY && terminals, log}.look
			}
			return runner.Run(ctx, o, *job.Build, s)
		},
	})
}

func runnerName(cfg config.Config) string {
	if cfg.Runner.Name != "" {
		return cfg.Runner.Name
	}
	name, err := os.Hostname()
	if err != nil {
		return "runner"
	}
	return name
}

// labelLimit bounds a runner's labels: it serves every subset of them.
const labelLimit = 8

// classes are the queues that a runner serves: those of every job whose labels
// it has all of. The server adds its compute types.
func classes(cfg config.Config) ([]string, error) {
	labels := config.Labels(cfg.Runner.Labels)
	if len(labels) > labelLimit {
		return nil, usage(fmt.Errorf("runner.labels: want at most %d, have %d", labelLimit, len(labels)))
	}
	var out []string
	for subset := range 1 << len(labels) {
		var some []string
		for i, l := range labels {
			if subset&(1<<i) != 0 {
				some = append(some, l)
			}
		}
		out = append(out, pipeline.ClassOf(pipeline.BuildJob, strings.Join(some, ","), ""))
	}
	return out, nil
}

// enginePlace is an engine and the folder that its builds are prepared in.
type enginePlace struct {
	runner.Engine
	temp    string
	scratch *scratch // nil: the engine sees to its folders itself
	// reap removes what dead processes left; nil: scratch does.
	reap func(context.Context) error
}

// reapInterval is how often the dead are looked for: what Docker was still
// making for a process when it was killed appears after the next one's start.
const reapInterval = time.Minute

// tidy reaps now and then until ctx ends.
func (p enginePlace) tidy(ctx context.Context, log *slog.Logger) {
	if p.reap == nil {
		return
	}
	ticker := time.NewTicker(reapInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.reapNow(ctx, log)
		}
	}
}

func (p enginePlace) reapNow(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	if err := p.reap(ctx); err != nil {
		log.WarnContext(ctx, "leftovers of dead runners remain", "error", err)
	}
}

// closeTime is what the removal of the last containers gets.
const closeTime = time.Minute

func (p enginePlace) close(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if p.reap != nil {
		p.reapNow(ctx, log)
	}
	if err := p.Engine.Close(ctx); err != nil {
		log.WarnContext(ctx, "closing the engine", "error", err)
	}
	if p.scratch == nil {
		return
	}
	if err := p.scratch.close(); err != nil {
		log.WarnContext(ctx, "removing the folder for builds", "error", err)
	}
}

// openEngine opens the configured engine, with so many networks ready for
// builds to come (less than none: none). Only auto may fall back, and it says
// so.
func (a *app) openEngine(ctx context.Context, cfg config.Config, prepared int, log *slog.Logger) (enginePlace, error) {
	if cfg.Engine == "host" {
		return a.hostEngine(cfg)
	}
	p, err := dockerEngine(ctx, cfg, docker.Options{Host: a.getenv("DOCKER_HOST"), Prepared: prepared, Spare: cfg.Runner.Spare}, log)
	if err == nil || cfg.Engine != "auto" {
		return p, err
	}
	fmt.Fprintf(a.stderr, "Builds run on this host, which isolates nothing: %v\n", err)
	return a.hostEngine(cfg)
}

func (a *app) hostEngine(cfg config.Config) (enginePlace, error) {
	s, err := openScratch(filepath.Join(cfg.Data, "tmp", "builds"))
	if err != nil {
		return enginePlace{}, err
	}
	return enginePlace{Engine: host.New(host.Options{Env: hostEnvironment(a.getenv)}), temp: s.path, scratch: s}, nil
}

// dockerEngine opens Docker. For auto it must also have the image that builds
// use when they name none.
func dockerEngine(ctx context.Context, cfg config.Config, o docker.Options, log *slog.Logger) (enginePlace, error) {
	o.Data, o.Log, o.PullTimeout, o.Capabilities = cfg.Data, log, pullTime(cfg), cfg.Runner.Capabilities()
	e, err := docker.Open(ctx, o)
	if err != nil {
		return enginePlace{}, fmt.Errorf("no Docker engine answers: %w", err)
	}
	p := enginePlace{Engine: e, temp: e.Temp()}
	if o.Prepared >= 0 {
		p.reap = e.Reap // for one build, opening it was enough
	}
	if cfg.Engine == "auto" {
		if err := e.Ready(ctx, resolveImage(cfg.Images, cfg.Image)); err != nil {
			p.close(ctx, log)
			return enginePlace{}, err
		}
	}
	return p, nil
}

// pullTime is short where there is something to fall back to.
func pullTime(cfg config.Config) time.Duration {
	if cfg.Engine == "auto" {
		return time.Minute
	}
	return 0
}

// gitEnvironment is what git needs of ours: nothing that configures it. A proxy
// is never used for this host, where the built-in git host may be.
func gitEnvironment() []string {
	var out []string
	for _, name := range []string{"PATH", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v := os.Getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	direct := orDefault(os.Getenv("no_proxy"), os.Getenv("NO_PROXY"))
	return append(out, "no_proxy="+strings.TrimPrefix(direct+",localhost,127.0.0.1,::1", ","))
}
