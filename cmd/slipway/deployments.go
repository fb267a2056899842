package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

func (a *app) deploymentsCommand() *cobra.Command {
	var q pipeline.DeploymentQuery
	var status string
	var asJSON bool
	c := a.asker("deployments [DEPLOYMENT]", "List deployments, or show one with its instances", serverNote, cobra.MaximumNArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
		if len(args) == 1 {
			return a.showDeployment(ctx, api, args[0], asJSON)
		}
		q.Status = pipeline.DeploymentStatus(status)
		page, err := api.Deployments(ctx, q)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(page)
		}
		return a.table("ID\tSTATUS\tGROUP\tCOMMIT\tCREATOR\tINSTANCES\tAGE\tTOOK", func(row func(...any)) {
			for _, d := range page.Items {
				row(d.ID, d.Status, d.Group, pipeline.ShortSHA(d.Revision.SHA), d.Creator, countList(d.Counts), age(d.CreatedAt), took(d.StartedAt, d.EndedAt))
			}
		})
	})
	f := c.Flags()
	f.StringVar(&q.Group, "group", "", "only this deployment group's")
	f.StringVar(&status, "status", "", "only those with this status, such as InProgress or Failed")
	f.IntVar(&q.Limit, "limit", 20, "how many, at most 200")
	f.StringVar(&q.After, "after", "", "the page before's `next`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(a.stopDeploymentCommand())
	return c
}

// countList is such as 2 Succeeded, 1 Failed.
func countList(counts map[pipeline.DeploymentStatus]int) string {
	var out []string
	for _, s := range []pipeline.DeploymentStatus{
		pipeline.DeploymentPending, pipeline.DeploymentInProgress, pipeline.DeploymentSucceeded,
		pipeline.DeploymentFailed, pipeline.DeploymentStopped, pipeline.DeploymentSkipped,
	} {
		if n := counts[s]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(out, ", ")
}

func (a *app) showDeployment(ctx context.Context, api *client.Client, id string, asJSON bool) error {
	d, err := api.Deployment(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(d)
	}
	a.sayf("%s: %s\ngroup:     %s (%s)\nrevision:  %s of %s\n", d.ID, d.Status, d.Group, d.Config, pipeline.ShortSHA(d.Revision.SHA), d.Revision.Repo)
	for _, line := range []struct{ label, value string }{
		{"undoes:    ", d.RollbackOf}, {"undone by: ", d.RollbackBy}, {"rollback:  ", d.RollbackMessage},
		{"alarms:    ", strings.Join(d.Alarms, ", ")}, {"watched:   ", watchedUntil(d.Deployment)},
	} {
		if line.value != "" {
			a.sayf("%s\n", line.label+line.value)
		}
	}
	if d.Error != nil {
		a.sayf("error:     %s: %s\n", d.Error.Code, d.Error.Message)
	}
	fmt.Fprintln(a.stdout)
	return a.table("INSTANCE\tEVENT\tSTATUS\tTOOK\tMESSAGE", func(row func(...any)) {
		for _, i := range d.Instances {
			message := ""
			if i.Error != nil {
				message = i.Error.Code + ": " + i.Error.Message
			}
			row(i.Agent, "", i.Status, took(i.StartedAt, i.EndedAt), message)
			for _, e := range i.Events {
				row("", e.Name, e.Status, took(e.StartedAt, e.EndedAt), "")
			}
		}
	})
}

// watchedUntil is until when a deployment whose instances are done is watched.
func watchedUntil(d pipeline.Deployment) string {
	if d.BakeUntil.IsZero() || d.Status.Ended() {
		return ""
	}
	return "until " + d.BakeUntil.Format(time.RFC3339)
}

func (a *app) stopDeploymentCommand() *cobra.Command {
	var reason string
	c := a.asker("stop DEPLOYMENT", "End a deployment: what was not begun is left out", serverNote, cobra.ExactArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
		if err := api.StopDeployment(ctx, args[0], reason); err != nil {
			return err
		}
		fmt.Fprintln(a.stderr, "stopping", args[0])
		return nil
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the page and the check")
	return c
}
