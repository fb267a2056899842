package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	var limit int
	var after string
	c := a.asker("reports [EXECUTION|BUILD [NAME]]", "List report groups, or show the reports of a build or of an execution",
		"Without an argument the groups of all repositories are listed, each with its last report. Of a build or an execution each report has a line with its counts, "+
			"and below it the first of the cases that failed. With NAME the whole report is printed as JSON, "+
			"as it was stored: every case with its message, or every file with its coverage."+serverNote,
		cobra.MaximumNArgs(2), func(ctx context.Context, api *client.Client, args []string) error {
			if len(args) == 0 {
				return a.listReportGroups(ctx, api, limit, after, asJSON)
			}
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
	f := c.Flags()
	f.IntVar(&limit, "limit", 20, "how many groups, at most 200")
	f.StringVar(&after, "after", "", "the page before's `next`")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(a.caseHistoryCommand())
	return c
}

func (a *app) listReportGroups(ctx context.Context, api *client.Client, limit int, after string, asJSON bool) error {
	page, err := api.ReportGroups(ctx, limit, after)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(page)
	}
	return a.table("REPOSITORY\tNAME\tSTATUS\tRESULT\tON\tAGE\tBUILD", func(row func(...any)) {
		for _, g := range page.Items {
			row(g.Repo.FullName(), g.Name, g.Last.Status, g.Last.Counts(), g.Last.On, age(g.Last.At), g.Last.Build)
		}
	})
}

func (a *app) caseHistoryCommand() *cobra.Command {
	var asJSON bool
	c := a.asker("history BUILD NAME CASE", "Say how a test case of a build's report went in the reports before and after it",
		"CASE is the case's name; where several have it, put its suite and prefix before it. Reports remember which cases were bad, and no others."+serverNote,
		cobra.ExactArgs(3), func(ctx context.Context, api *client.Client, args []string) error {
			found, err := findCase(ctx, api, args[0], args[1], args[2])
			if err != nil {
				return err
			}
			b, err := api.Build(ctx, args[0])
			if err != nil {
				return err
			}
			x, err := api.Execution(ctx, b.Execution)
			if err != nil {
				return err
			}
			h, err := api.CaseHistory(ctx, x.Forge, x.Repo, args[1], found.Key())
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(h)
			}
			fmt.Fprintf(a.stdout, "%s: bad in %d of the last %d reports\n\n", caseName(found), h.Bad, len(h.Items))
			return a.table("RESULT\tON\tCOMMIT\tAGE\tBUILD", func(row func(...any)) {
				for _, p := range h.Items {
					row(map[bool]string{true: "bad", false: "not bad"}[p.Bad], p.On, pipeline.ShortSHA(p.SHA), age(p.At), p.Build)
				}
			})
		})
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// findCase is the one case of a build's report that a person means.
func findCase(ctx context.Context, api *client.Client, build, report, name string) (pipeline.ReportCase, error) {
	body, err := api.BuildReport(ctx, build, report)
	if err != nil {
		return pipeline.ReportCase{}, err
	}
	defer func() { _ = body.Close() }() // only read from
	var whole struct{ Cases []pipeline.ReportCase }
	if err := json.NewDecoder(body).Decode(&whole); err != nil {
		return pipeline.ReportCase{}, fmt.Errorf("reading report %s: %w", report, err)
	}
	meant := map[string]pipeline.ReportCase{}
	for _, c := range whole.Cases {
		if c.Name == name || caseName(c) == name {
			meant[c.Key()] = c
		}
	}
	var names []string
	for _, c := range meant {
		names = append(names, strconv.Quote(caseName(c)))
	}
	switch len(meant) {
	case 0:
		return pipeline.ReportCase{}, usage(fmt.Errorf("report %s has no case %q", report, name))
	case 1:
		return slices.Collect(maps.Values(meant))[0], nil
	}
	slices.Sort(names)
	return pipeline.ReportCase{}, usage(fmt.Errorf("report %s has %d cases %q: say which one, as in %s", report, len(meant), name, strings.Join(names[:2], " or ")))
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
