package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/deployer"
	"github.com/slipway-ci/slipway/deployer/agent"
	"github.com/slipway-ci/slipway/dispatch"
	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

func (a *app) agentCommand() *cobra.Command {
	var server, token, data, name, tags, root string
	c := &cobra.Command{
		Use:   "agent",
		Short: "Apply a server's deployments to this host",
		Long: `Takes this host's part of deployments from the server and applies it: it fetches
the revision, checks its digest, and runs the lifecycle events. It speaks to the
server only. At the first start it registers with a one-time token, which
slipway agents token makes; what it gets for it lies in its data folder.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			for to, value := range map[*string]string{
				&cfg.Server: server, &cfg.Token: token, &cfg.Data: data, &cfg.Agent.Name: name, &cfg.Agent.Tags: tags, &cfg.Agent.Root: root,
			} {
				if value != "" {
					*to = value
				}
			}
			return a.remoteAgent(c.Context(), cfg)
		},
	}
	f := c.Flags()
	f.StringVar(&server, "server", "", "the server's `URL`")
	f.StringVar(&token, "token", "", "the one-time `token` of the first start; better set SLIPWAY_TOKEN")
	f.StringVar(&data, "data", "", "data `folder`")
	f.StringVar(&name, "name", "", "its name, which no other agent has (default: the host's)")
	f.StringVar(&tags, "tags", "", "`KEY=VALUE,...` by which deployment groups choose it; they count at the first start")
	f.StringVar(&root, "root", "", "`folder` that goes before every destination (default: /)")
	return c
}

func (a *app) remoteAgent(ctx context.Context, cfg config.Config) error {
	if err := cfg.Check(); err != nil {
		return usage(err)
	}
	var err error
	if cfg.Data, err = filepath.Abs(cfg.Data); err != nil {
		return usage(err)
	}
	unlock, err := lockData(cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()
	log := a.serverLog(cfg)
	me, err := a.identity(ctx, cfg, log)
	if err != nil {
		return err
	}
	api, err := client.New(me.Server, me.Token)
	if err != nil {
		return usage(err)
	}
	d, err := applier(cfg, cfg.Agent.Root, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "Slipway %s agent %s for %s\n", version, me.Name, me.Server)
	return agent.New(agent.Options{
		Control: api.Agent(), ID: uuid.NewString(), Name: me.Name, Version: version, Deployer: d,
		Temp: filepath.Join(cfg.Data, "tmp"), Log: log, Now: time.Now, Drain: cfg.Limits.Drain, Hurry: a.hurry, Retryable: client.Retryable,
	}).Run(ctx)
}

// applier applies revisions below root, or to the host itself.
func applier(cfg config.Config, root string, log *slog.Logger) (*deployer.Deployer, error) {
	state, err := stateFolder(cfg.Data, root)
	if err != nil {
		return nil, err
	}
	return deployer.New(deployer.Options{Root: state, TargetRoot: root, MaxRevisions: cfg.Agent.MaxRevisions, Log: log})
}

// identity is who an agent is to its server. It lies in the data folder for
// this user's eyes only.
type identity struct {
	Server string `json:"server"`
	Name   string `json:"name"`
	Token  string `json:"token"`
	// Registered: the server knows the token.
	Registered bool `json:"registered"`
}

const identityFile = "agent.json"

// identity is this agent's, which it gets at its first start. Its token is kept
// before the server hears of it, so that a lost answer costs nothing.
func (a *app) identity(ctx context.Context, cfg config.Config, log *slog.Logger) (identity, error) {
	path := filepath.Join(cfg.Data, identityFile)
	var me identity
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &me)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return me, fmt.Errorf("reading %s: %w", path, err)
	}
	if me.Registered {
		if cfg.Server != "" {
			me.Server = cfg.Server // it may have moved
		}
		return me, nil
	}
	if cfg.Server == "" || cfg.Token == "" {
		return me, usage(errors.New("an agent's first start needs a server and a one-time token, see slipway agents token: set SLIPWAY_SERVER and SLIPWAY_TOKEN"))
	}
	me.Server, me.Name = cfg.Server, orDefault(cfg.Agent.Name, runnerName(config.Config{}))
	if me.Token == "" {
		me.Token = dispatch.NewAgentToken()
	}
	if err := me.keep(path); err != nil {
		return me, err
	}
	if err := register(ctx, cfg, me, log); err != nil {
		return me, err
	}
	me.Registered = true
	return me, me.keep(path)
}

func (me identity) keep(path string) error {
	data, err := json.Marshal(me)
	if err != nil {
		return err
	}
	// Written beside and renamed: a crash leaves the old one or the new one.
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keeping the agent's token: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keeping the agent's token: %w", err)
	}
	return nil
}

// register makes the agent known; a server that is away is asked again.
func register(ctx context.Context, cfg config.Config, me identity, log *slog.Logger) error {
	api, err := client.New(me.Server, "")
	if err != nil {
		return usage(err)
	}
	tags, err := config.Pairs(cfg.Agent.Tags)
	if err != nil {
		return usage(fmt.Errorf("agent.tags: %w", err))
	}
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		_, err = api.RegisterAgent(ctx, pipeline.AgentRegistration{
			Registration: cfg.Token, Name: me.Name, Tags: tags, Version: version, Token: me.Token,
		})
		if !client.Retryable(err) {
			return asked(err)
		}
		log.WarnContext(ctx, "registering", "error", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// runAgent applies deployments of groups without tags to this host, in the
// server's own process.
func (p *platform) runAgent(ctx context.Context, control pipeline.Control) error {
	groups := map[string]*deployer.Deployer{}
	for _, g := range p.cfg.DeploymentGroups {
		if len(g.Tags) > 0 {
			continue
		}
		d, err := applier(p.cfg, g.Root, p.log)
		if err != nil {
			return fmt.Errorf("deployment group %s: %w", g.Name, err)
		}
		groups[g.Name] = d
	}
	if len(groups) == 0 {
		return nil
	}
	if err := p.admission.AddLocal(ctx, version); err != nil {
		return err
	}
	return agent.New(agent.Options{
		Control: control, ID: uuid.NewString(), Name: dispatch.LocalAgent, Version: version, Groups: groups,
		Temp: filepath.Join(p.cfg.Data, "tmp"), Log: p.log, Now: time.Now, Drain: p.cfg.Limits.Drain,
	}).Run(ctx)
}
