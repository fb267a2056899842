package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

func (a *app) retentionCommand() *cobra.Command {
	var trial, asJSON bool
	c := a.asker("retention", "Remove logs, artifacts and deliveries that are too old",
		"One of the servers does this every six hours by itself; this does it now. With --dry-run it only counts."+serverNote,
		cobra.NoArgs, func(ctx context.Context, api *client.Client, _ []string) error {
			out, err := api.Retention(ctx, trial)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(out)
			}
			head := "KIND\tREMOVED\tBYTES\tSPARED"
			if trial {
				head = "KIND\tTO REMOVE\tBYTES\tSPARED"
			}
			return a.table(head, func(row func(...any)) {
				for _, kind := range []struct {
					name string
					pipeline.Removed
				}{{"logs", out.Logs}, {"artifacts", out.Artifacts}, {"bodies", out.Bodies}} {
					row(kind.name, kind.Count, kind.Bytes, kind.Spared)
				}
			})
		})
	c.Flags().BoolVar(&trial, "dry-run", false, "remove nothing, only count")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
