package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/handlers"
	"github.com/slipway-ci/slipway/internal/client"
)

func (a *app) tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Make, list and revoke API tokens",
		Long: "An API token lets a script or a person do what its role allows, with one repository or all of them." + serverNote,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
	return c
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var t access.Token
	var role, expires string
	var asJSON bool
	c := a.asker("create", "Make an API token; it is shown this once", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		life, err := days(expires)
		if err != nil {
			return usage(fmt.Errorf("expires: %w", err))
		}
		t.Role = forge.Permission(role)
		if err := t.Check(time.Now()); err != nil {
			return usage(err)
		}
		made, err := api.CreateToken(ctx, t, life)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(made)
		}
		fmt.Fprintln(a.stdout, made.Value)
		fmt.Fprintf(a.stderr, "token %s, %s, good %s; it is not shown again\n", made.ID, scope(made.Token), goodUntil(made.ExpiresAt))
		return nil
	})
	f := c.Flags()
	f.StringVar(&t.Name, "name", "", "what it is for")
	f.StringVar(&role, "role", "read", "read, write or admin")
	f.StringVar(&t.Repo, "repo", "", "the one repository that it is for, as `FORGE/OWNER/NAME` (default all, and the server)")
	f.StringVar(&expires, "expires", "", "how `long` it is good, such as 12h or 30d (default until it is revoked)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// days reads a duration that may be given in days; empty is 0.
func days(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	number, inDays := strings.CutSuffix(text, "d")
	if n, err := strconv.Atoi(number); inDays && err == nil && n > 0 && n <= 3660 {
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("want a time such as 12h or 30d, have %q", text)
	}
	return d, nil
}

func scope(t access.Token) string { return string(t.Role) + " of " + orDefault(t.Repo, "everything") }

func goodUntil(t time.Time) string {
	if t.IsZero() {
		return "until it is revoked"
	}
	return "until " + t.Local().Format(time.DateTime)
}

func (a *app) tokenListCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("list", "List API tokens, without their values", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		all, err := api.Tokens(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(all)
		}
		return a.table("ID\tNAME\tROLE\tREPOSITORY\tUSED\tGOOD\tBY", func(row func(...any)) {
			for _, t := range all {
				used := "never"
				if !t.UsedAt.IsZero() {
					used = age(t.UsedAt) + " ago"
				}
				row(t.ID, t.Name, t.Role, orDefault(t.Repo, "all"), used, goodUntil(t.ExpiresAt), t.By)
			}
		})
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return a.asker("revoke ID", "Revoke an API token: it is worth nothing from now on", serverNote, cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
		if err := api.RevokeToken(ctx, args[0]); err != nil {
			return err
		}
		fmt.Fprintln(a.stderr, "revoked", args[0])
		return nil
	})
}

func (a *app) auditCommand() *cobra.Command {
	var limit int
	var after string
	var asJSON bool
	c := a.asker("audit", "Show who did what: every change asked for, by comments too, and every sign-in", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		page, err := api.Audit(ctx, limit, after)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(page)
		}
		return a.table("TIME\tWHO\tBY\tFROM\tOUTCOME\tACTION\tTARGET\tDETAIL", func(row func(...any)) {
			for _, e := range page.Items {
				row(e.At.Local().Format(time.DateTime), orDefault(e.Who, "-"), orDefault(e.Via, "-"), e.From, e.Outcome, e.Action, e.Target, e.Detail)
			}
		})
	})
	f := c.Flags()
	f.IntVar(&limit, "limit", 50, "how many, at most 200")
	f.StringVar(&after, "after", "", "the page before's `next`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// accessDocs prints the table of who may do what.
func (a *app) accessDocs() *cobra.Command {
	return &cobra.Command{Use: "access", Short: "Who may do what", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
		fmt.Fprint(a.stdout, `# Who may do what

Made from the code by `+"`slipway docs access`; `make generate` renews it. [Sign in](how-to/sign-in.md) says how people get these\npermissions, and [security](security.md) what they hold against."+`

A permission for a repository is that of the forge, or an API token's role. "The server" is everything: the admin token,
administrators, and API tokens that aren't for one repository. Who may not read a thing gets 404, as if it weren't there; who may read
it but not do this gets 403. Routes below `+"`/api/v1/runner/` and `/api/v1/agent/`"+` are for workers' tokens alone.

| route | needs | of |
| --- | --- | --- |
`)
		for _, r := range handlers.Rights() {
			fmt.Fprintf(a.stdout, "| `%s` | %s | %s |\n", r.Route, orDefault(string(r.Least), "nothing"), r.About)
		}
	}}
}
