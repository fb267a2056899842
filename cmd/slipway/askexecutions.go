package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

func (a *app) executionsCommand() *cobra.Command {
	var q pipeline.Query
	var status string
	var asJSON bool
	c := a.asker("executions [EXECUTION]", "List executions, newest first, or show one with its stages",
		"With --json, EXECUTION's stages have their conditions, too."+serverNote, cobra.MaximumNArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			if len(args) == 1 {
				return a.showExecution(ctx, api, args[0], asJSON)
			}
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

func (a *app) showExecution(ctx context.Context, api *client.Client, id string, asJSON bool) error {
	x, err := api.Execution(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(x)
	}
	message, _, _ := strings.Cut(x.Message, "\n")
	a.sayf("%s %s #%s: %s\ncommit:  %s %s\ntrigger: %s by %s, %s ago\npage:    %s\n", x.Repo, x.Pipeline, strconv.Itoa(x.Number), x.Status,
		pipeline.ShortSHA(x.SHA), message, x.Trigger, orDefault(x.Actor, "nobody"), age(x.CreatedAt), x.URL)
	for _, why := range []struct{ label, text string }{{"reason:  ", x.Reason}, {"problem: ", x.Problem}, {"waits:   ", x.Gate}} {
		if why.text != "" {
			a.sayf("%s\n", why.label+why.text)
		}
	}
	fmt.Fprintln(a.stdout)
	return a.table("STAGE\tACTION\tSTATUS\tTOOK\tBUILD OR DEPLOYMENT\tERROR", func(row func(...any)) {
		for _, st := range x.Stages {
			for _, cond := range st.Conditions {
				row(st.Name, "condition "+strings.ToLower(strings.ReplaceAll(string(cond.Condition), "_", "-")), cmp.Or(cond.Status, "-"), took(cond.StartedAt, cond.EndedAt), "", cond.Message)
			}
			for _, act := range st.Actions {
				row(st.Name, act.Name, cmp.Or(act.Status, "-"), took(act.StartedAt, act.EndedAt), act.Build+act.Deployment, mistake(act.Error))
			}
		}
	})
}

// mistake is what an action failed with, on one line.
func mistake(e *pipeline.ActionError) string {
	if e == nil {
		return ""
	}
	line, _, _ := strings.Cut(e.Message, "\n")
	return line
}
