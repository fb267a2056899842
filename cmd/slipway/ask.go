package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

// server is the API that a command talks to: SLIPWAY_SERVER, or the server on
// this machine, whose token lies in the data folder.
func (a *app) server() (*client.Client, error) {
	cfg, err := a.settings()
	if err != nil {
		return nil, err
	}
	base := cfg.Server
	if base == "" {
		base = runningServer(cfg)
	}
	token := cfg.Token
	if token == "" {
		token = orDefault(cfg.AdminToken, readToken(cfg.Data))
	}
	c, err := client.New(base, token)
	return c, usage(err)
}

// runningServer is where the server of this data folder listens.
func runningServer(cfg config.Config) string {
	if data, err := os.ReadFile(filepath.Join(cfg.Data, "url")); err == nil {
		return strings.TrimSpace(string(data))
	}
	return "http://" + cfg.Listen
}

// asked turns an error of the API into an exit code.
func asked(err error) error {
	refused, ok := errors.AsType[*client.Error](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pipeline.ErrNotFound):
		return usage(err)
	case ok && refused.Status >= 400 && refused.Status < 500 && !client.Retryable(err):
		return usage(err) // the server understood, and says what is wrong with the question
	}
	return err
}

// asker is a command that talks to a server.
func (a *app) asker(use, short, long string, args cobra.PositionalArgs, run func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: long, Args: usageArgs(args), RunE: func(c *cobra.Command, args []string) error {
		api, err := a.server()
		if err != nil {
			return err
		}
		return asked(run(c.Context(), api, args))
	}}
}

const serverNote = "The server is SLIPWAY_SERVER, or the one that runs on this data folder; the token is SLIPWAY_TOKEN, or that server's own."

func (a *app) executionsCommand() *cobra.Command {
	var q pipeline.Query
	var status string
	var asJSON bool
	c := a.asker("executions", "List executions, newest first", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		q.Status = pipeline.Status(status)
		page, err := api.Executions(ctx, q)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(page)
		}
		return a.table("ID\tSTATUS\tREPOSITORY\tTRIGGER\tCOMMIT\tAGE\tTOOK", func(row func(...any)) {
			for _, x := range page.Items {
				row(x.ID, x.Status, x.Repo, x.Trigger, pipeline.ShortSHA(x.SHA), age(x.CreatedAt), took(x.StartedAt, x.EndedAt))
			}
		})
	})
	f := c.Flags()
	f.StringVar(&q.Forge, "forge", "", "only this forge entry's")
	f.StringVar(&q.Repo, "repo", "", "only this repository's, as owner/name")
	f.StringVar(&q.SHA, "sha", "", "only this commit's; seven digits do")
	f.StringVar(&status, "status", "", "only those with this status, such as InProgress or Failed")
	f.IntVar(&q.Limit, "limit", 20, "how many, at most 200")
	f.StringVar(&q.After, "after", "", "the page before's `next`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	c := a.asker("logs ID", "Print the log of a build, a deployment or a whole execution",
		"ID is a build's, a deployment's or an execution's. With -f the command ends with the build, and fails if it failed. "+serverNote,
		cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			ids, err := jobsOf(ctx, api, args[0])
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := a.printLog(ctx, api, id, follow); err != nil {
					return err
				}
			}
			return nil
		})
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows")
	return c
}

// jobsOf are the builds and deployments of an execution, or the one that id
// names itself.
func jobsOf(ctx context.Context, api *client.Client, id string) ([]string, error) {
	x, err := api.Execution(ctx, id)
	if errors.Is(err, pipeline.ErrNotFound) {
		return []string{id}, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, st := range x.Stages {
		for _, action := range st.Actions {
			if job := action.Build + action.Deployment; job != "" {
				ids = append(ids, job)
			}
		}
	}
	return ids, nil
}

func (a *app) printLog(ctx context.Context, api *client.Client, id string, follow bool) error {
	if !follow {
		body, err := api.Log(ctx, id, 0)
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(a.stdout, body)
		return err
	}
	offset, status, err := int64(0), pipeline.BuildStatus(""), error(nil)
	for try := 0; try < 5; try++ {
		var at int64
		at, status, err = api.FollowLog(ctx, id, offset, a.stdout)
		if err == nil || ctx.Err() != nil || !client.Retryable(err) {
			break
		}
		if at > offset {
			offset, try = at, 0
		}
	}
	if err == nil && status != pipeline.BuildSucceeded {
		return &exitError{exitFailed, fmt.Errorf("%s: %s", id, status)}
	}
	return err
}

func (a *app) deliveriesCommand() *cobra.Command {
	var forgeName, after string
	var limit int
	var asJSON bool
	c := a.asker("deliveries", "List webhook deliveries and what became of them", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		page, err := api.Deliveries(ctx, forgeName, limit, after)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(page)
		}
		return a.table("FORGE\tID\tEVENT\tREPOSITORY\tVERDICT\tDECISION\tAGE\tREASON", func(row func(...any)) {
			for _, d := range page.Items {
				row(d.Forge, d.ID, strings.TrimSuffix(d.Event+"."+d.Action, "."), d.Repo, d.Verdict, d.Decision, age(d.ReceivedAt), d.Reason)
			}
		})
	})
	f := c.Flags()
	f.StringVar(&forgeName, "forge", "", "only this forge entry's: github or local")
	f.IntVar(&limit, "limit", 20, "how many, at most 200")
	f.StringVar(&after, "after", "", "the page before's `next`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) explainCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("explain DELIVERY", "Say why a delivery did or didn't start something",
		"DELIVERY is the forge's delivery ID, or FORGE/ID. "+serverNote, cobra.ExactArgs(1),
		func(ctx context.Context, api *client.Client, args []string) error {
			d, err := findDelivery(ctx, api, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(d)
			}
			fmt.Fprintf(a.stdout, "%s %s of %s, received %s\nverdict:  %s\ndecision: %s\nreason:   %s\n",
				d.Forge, strings.TrimSuffix(d.Event+"."+d.Action, "."), orDefault(d.Repo, "no repository"),
				d.ReceivedAt.Format(time.RFC3339), d.Verdict, orDefault(d.Decision, "not decided yet"), d.Reason)
			for _, id := range d.Executions {
				fmt.Fprintln(a.stdout, "execution:", id)
			}
			return nil
		})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with headers and body")
	return c
}

func (a *app) replayCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("replay DELIVERY", "Run a recorded webhook delivery again",
		"DELIVERY is the forge's delivery ID, or FORGE/ID. "+serverNote, cobra.ExactArgs(1),
		func(ctx context.Context, api *client.Client, args []string) error {
			d, err := findDelivery(ctx, api, args[0])
			if err != nil {
				return err
			}
			n, err := api.Replay(ctx, d.Forge, d.ID)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(map[string]any{"forge": d.Forge, "delivery": d.ID, "attempt": n})
			}
			fmt.Fprintf(a.stderr, "replaying %s/%s, attempt %d\n", d.Forge, d.ID, n)
			return nil
		})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) deadLettersCommand() *cobra.Command {
	var after string
	var limit int
	var asJSON bool
	c := a.asker("dead-letters", "List what failed too often", "A dead letter is a delivery, event or job that could not be handled however often it was tried. "+serverNote,
		cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
			page, err := api.DeadLetters(ctx, limit, after)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(page)
			}
			return a.table("ID\tQUEUE\tATTEMPTS\tAGE\tREASON", func(row func(...any)) {
				for _, d := range page.Items {
					row(d.ID, d.Queue, d.Attempts, age(d.FailedAt), d.Reason)
				}
			})
		})
	f := c.Flags()
	f.IntVar(&limit, "limit", 20, "how many, at most 200")
	f.StringVar(&after, "after", "", "the page before's `next`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(a.asker("replay ID...", "Give dead letters another chance", serverNote, cobra.MinimumNArgs(1),
		func(ctx context.Context, api *client.Client, ids []string) error {
			for _, id := range ids {
				if err := api.ReplayDeadLetter(ctx, id); err != nil {
					return fmt.Errorf("dead letter %s: %w", id, err)
				}
				fmt.Fprintln(a.stderr, "replaying", id)
			}
			return nil
		}))
	return c
}

// findDelivery takes FORGE/ID, or an ID of whichever forge knows it.
func findDelivery(ctx context.Context, api *client.Client, name string) (pipeline.Delivery, error) {
	if forgeName, id, ok := strings.Cut(name, "/"); ok {
		return api.Delivery(ctx, forgeName, id)
	}
	for _, forgeName := range []string{githubForge, localForge} {
		d, err := api.Delivery(ctx, forgeName, name)
		if !errors.Is(err, pipeline.ErrNotFound) {
			return d, err
		}
	}
	return pipeline.Delivery{}, fmt.Errorf("delivery %s: %w", name, pipeline.ErrNotFound)
}

func (a *app) runnersCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("runners", "List runners and agents, and what they hold", serverNote, cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
		workers, err := api.Workers(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(workers)
		}
		return a.table("NAME\tKIND\tSLOTS\tBUSY\tSEEN\tCLASSES", func(row func(...any)) {
			for _, w := range workers {
				row(w.Name, w.Kind, w.Slots, len(w.Jobs), age(w.SeenAt), strings.Join(w.Classes, " "))
			}
		})
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) table(head string, rows func(row func(...any))) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	})
	return w.Flush()
}

func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}

func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return to.Sub(from).Round(time.Millisecond).String()
}
