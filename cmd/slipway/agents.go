package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/internal/config"
)

func (a *app) agentsCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("agents", "List agents: the hosts that can be deployed to", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		all, err := api.Agents(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(all)
		}
		return a.table("NAME\tONLINE\tSEEN\tTAGS\tVERSION", func(row func(...any)) {
			for _, g := range all {
				row(g.Name, g.Online, age(g.SeenAt), tagList(g.Tags), g.Version)
			}
		})
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(a.agentTokenCommand(), a.agentRemoveCommand())
	return c
}

func tagList(tags map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, key+"="+tags[key])
	}
	return strings.Join(out, ",")
}

func (a *app) agentTokenCommand() *cobra.Command {
	var tags string
	var ttl time.Duration
	var asJSON bool
	c := a.asker("token", "Make a one-time token with which one agent may register", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		pairs, err := config.Pairs(tags)
		if err != nil {
			return usage(fmt.Errorf("tags: %w", err))
		}
		in, err := api.InviteAgent(ctx, pairs, ttl)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(in)
		}
		fmt.Fprintln(a.stdout, in.Token)
		fmt.Fprintf(a.stderr, "good for one agent until %s\n", in.ExpiresAt.Local().Format(time.DateTime))
		return nil
	})
	f := c.Flags()
	f.StringVar(&tags, "tags", "", "`KEY=VALUE,...` that the agent will have, whatever it says")
	f.DurationVar(&ttl, "for", time.Hour, "how long the token is good")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) agentRemoveCommand() *cobra.Command {
	return a.asker("remove NAME", "Revoke an agent: its token is worth nothing from now on", serverNote, cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
		if err := api.RemoveAgent(ctx, args[0]); err != nil {
			return err
		}
		fmt.Fprintln(a.stderr, "removed", args[0])
		return nil
	})
}
