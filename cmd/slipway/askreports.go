package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/pipeline"
)

// buildReport is a report and the build that made it.
type buildReport struct {
	Build string `json:"build"`
	pipeline.Report
}

func (a *app) reportsCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("reports EXECUTION|BUILD [NAME]", "Show the test and coverage reports of a build or of an execution",
		"Each report has a line with its counts, and below it the first of the cases that failed. With NAME the whole report is printed as JSON, "+
			"as it was stored: every case with its message, or every file with its coverage."+serverNote,
		cobra.RangeArgs(1, 2), func(ctx context.Context, api *client.Client, args []string) error {
			list, err := reportsOf(ctx, api, args[0])
			switch {
			case err != nil:
				return err
			case len(args) == 2:
				return a.printReport(ctx, api, list, args[1])
			case asJSON:
				return a.printJSON(list)
			}
			return a.showReports(list)
		})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// reportsOf are the reports of a build, or of all builds of an execution.
func reportsOf(ctx context.Context, api *client.Client, id string) ([]buildReport, error) {
	jobs, err := jobsOf(ctx, api, id)
	if err != nil {
		return nil, err
	}
	list := []buildReport{}
	for _, job := range jobs {
		if strings.HasPrefix(job, "d-") {
			continue // a deployment has none
		}
		b, err := api.Build(ctx, job)
		if err != nil {
			return nil, err
		}
		for _, r := range b.Reports {
			list = append(list, buildReport{job, r})
		}
	}
	return list, nil
}

func (a *app) showReports(list []buildReport) error {
	err := a.table("BUILD\tNAME\tSTATUS\tRESULT", func(row func(...any)) {
		for _, r := range list {
			row(r.Build, r.Name, r.Status, r.Counts())
		}
	})
	if err != nil {
		return err
	}
	for _, r := range list {
		for _, p := range r.Problems {
			fmt.Fprintf(a.stdout, "\n%s: %s\n", printable(r.Name), printable(p))
		}
		for _, c := range r.Bad {
			fmt.Fprintf(a.stdout, "\n%s: %s %s%s\n", printable(r.Name), caseName(c), strings.ToLower(string(c.Status)), casePlace(c))
			for line := range strings.Lines(strings.TrimSpace(c.Message)) {
				fmt.Fprintf(a.stdout, "    %s\n", printable(strings.TrimRight(line, "\r\n")))
			}
		}
	}
	return nil
}

func caseName(c pipeline.ReportCase) string {
	return printable(strings.Join(slices.DeleteFunc([]string{c.Suite, c.Prefix, c.Name}, func(s string) bool { return s == "" }), " "))
}

func casePlace(c pipeline.ReportCase) string {
	if c.File == "" {
		return ""
	}
	place := " at " + printable(c.File)
	if c.Line > 0 {
		place += ":" + strconv.Itoa(c.Line)
	}
	return place
}

// printReport prints the one report of that name.
func (a *app) printReport(ctx context.Context, api *client.Client, list []buildReport, name string) error {
	found := slices.DeleteFunc(slices.Clone(list), func(r buildReport) bool { return r.Name != name })
	switch {
	case len(found) == 0:
		return usage(fmt.Errorf("there is no report %q: leave the name out to list them", name))
	case len(found) > 1:
		return usage(fmt.Errorf("%d builds have made a report %q: give a build's ID", len(found), name))
	}
	body, err := api.BuildReport(ctx, found[0].Build, name)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // only read from
	_, err = io.Copy(a.stdout, body)
	return err
}
