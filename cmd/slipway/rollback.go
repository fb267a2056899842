package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

func (a *app) rollbackCommand() *cobra.Command {
	var group string
	var asJSON bool
	c := a.asker("rollback [DEPLOYMENT]", "Undo a deployment: deploy the last good revision before it",
		"Deploys the newest revision that succeeded in the deployment group before DEPLOYMENT, or before the group's\nlatest one, to all of the group's instances. A deployment that runs is ended first."+serverNote,
		cobra.MaximumNArgs(1), func(ctx context.Context, api *client.Client, args []string) error {
			id, err := toUndo(ctx, api, args, group)
			if err != nil {
				return err
			}
			d, err := api.RollBack(ctx, id)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(d)
			}
			fmt.Fprintf(a.stdout, "%s goes back to %s\n", d.ID, pipeline.ShortSHA(d.Revision.SHA))
			return nil
		})
	c.Flags().StringVar(&group, "group", "", "undo this deployment group's latest deployment")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// toUndo is the deployment that the words name.
func toUndo(ctx context.Context, api *client.Client, args []string, group string) (string, error) {
	if (len(args) == 1) == (group != "") {
		return "", usage(errors.New("name a deployment, or a group with --group"))
	}
	if len(args) == 1 {
		return args[0], nil
	}
	page, err := api.Deployments(ctx, pipeline.DeploymentQuery{Group: group, Limit: 1})
	if err == nil && len(page.Items) == 0 {
		err = usage(fmt.Errorf("deployment group %s has no deployments", group))
	}
	if err != nil {
		return "", err
	}
	return page.Items[0].ID, nil
}
