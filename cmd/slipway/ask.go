package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// advised says what to do where the server at base wasn't reached or refuses
// whoever asks.
func advised(err error, base string) error {
	refused, ok := errors.AsType[*client.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no server answers at %s: %w; start one with slipway up, or name yours in SLIPWAY_SERVER", base, syscall.ECONNREFUSED)
	case ok && refused.Status == http.StatusUnauthorized:
		return fmt.Errorf("the server at %s doesn't know this token: %w; set SLIPWAY_TOKEN to the admin token or to one that slipway token create made", base, refused)
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
		err = run(c.Context(), api, args)
		if refused, ok := errors.AsType[*client.Error](err); ok && len(args) > 0 && errors.Is(err, pipeline.ErrNotFound) {
			err = fmt.Errorf("%s: %w, or it isn't yours to see", strings.Join(args, " "), refused)
		}
		return asked(advised(err, api.Base()))
	}}
}

const serverNote = "\n\nThe server is SLIPWAY_SERVER, or the one that runs on this data folder; the token is SLIPWAY_TOKEN, or that server's own."

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	c := a.asker("logs EXECUTION|BUILD|DEPLOYMENT", "Print the log of a build, a deployment or a whole execution",
		"Of an execution it is the logs of all its builds and deployments, one after the other. With -f the command ends with the build, and fails if it failed."+serverNote,
		cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			ids, err := jobsOf(ctx, api, args[0])
			if err != nil {
				return err
			}
			for _, id := range ids {
				err := a.printLog(ctx, api, id, follow)
				if errors.Is(err, pipeline.ErrNotFound) {
					return fmt.Errorf("there is no execution, build or deployment %s, or no log of it any more; slipway executions lists what there is: %w", id, pipeline.ErrNotFound)
				}
				if err != nil {
					return err
				}
			}
			if len(ids) == 0 {
				fmt.Fprintln(a.stderr, "nothing of it has begun yet")
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
	out := a.logOutput()
	if !follow {
		body, err := api.Log(ctx, id, 0)
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(out, body)
		return err
	}
	offset, status, err := int64(0), pipeline.BuildStatus(""), error(nil)
	for try := 0; try < 5; try++ {
		var at int64
		at, status, err = api.FollowLog(ctx, id, offset, out)
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
		"DELIVERY is the forge's delivery ID, or FORGE/ID."+serverNote, cobra.ExactArgs(1),
		func(ctx context.Context, api *client.Client, args []string) error {
			d, err := findDelivery(ctx, api, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(d)
			}
			a.sayf("%s %s of %s, received %s\nverdict:  %s\ndecision: %s\nreason:   %s\n",
				d.Forge, strings.TrimSuffix(d.Event+"."+d.Action, "."), orDefault(d.Repo, "no repository"),
				d.ReceivedAt.Format(time.RFC3339), d.Verdict, orDefault(d.Decision, "not decided yet"), d.Reason)
			for _, id := range d.Executions {
				a.sayf("execution: %s\n", id)
			}
			return nil
		})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with headers and body")
	return c
}

func (a *app) replayCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("replay DELIVERY", "Run a recorded webhook delivery again",
		"DELIVERY is the forge's delivery ID, or FORGE/ID."+serverNote, cobra.ExactArgs(1),
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
	c := a.asker("dead-letters", "List what failed too often", "A dead letter is a delivery, event or job that could not be handled however often it was tried."+serverNote,
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
	d, err := api.Delivery(ctx, "", name)
	if errors.Is(err, pipeline.ErrNotFound) {
		return d, fmt.Errorf("delivery %s: %w; slipway deliveries lists them", name, pipeline.ErrNotFound)
	}
	return d, err
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
				row(w.Name, w.Kind, w.Slots, len(w.Jobs), age(w.SeenAt), classList(w.Classes))
			}
		})
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// classList are the classes of jobs that a worker takes: kind, labels and
// compute type, as far as they say anything.
func classList(classes []string) string {
	var out []string
	for _, c := range classes {
		out = append(out, strings.TrimRight(c, "|"))
	}
	return strings.Join(out, " ")
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table prints rows below head. If there are none, it says so to people.
func (a *app) table(head string, rows func(row func(...any))) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	some := false
	rows(func(cells ...any) {
		some = true
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, printable(fmt.Sprint(c)))
		}
		fmt.Fprintln(w)
	})
	err := w.Flush()
	if !some {
		fmt.Fprintln(a.stderr, "there are none")
	}
	return err
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
