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

// examples are those of each command, by what is typed for it.
// TestEveryCommandHasAnExample wants one for each that does something.
var examples = map[string][]string{
	"slipway": {
		"slipway demo                      # see it all work, in one minute",
		"slipway build                     # run this folder's buildspec.yml, as a runner would",
		"slipway validate .                # find the mistakes before a push",
		"slipway up                        # everything in one process, on http://127.0.0.1:8080",
		"slipway executions                # what ran on it; then: slipway logs -f ID",
	},
	"slipway agent": {"SLIPWAY_TOKEN=slo_... slipway agent --server https://ci.example.com --tags env=prod,role=web"},
	"slipway agents": {
		"slipway agents",
		"slipway agents token --tags env=prod    # a one-time token for a new host",
	},
	"slipway agents remove":   {"slipway agents remove web-1"},
	"slipway agents token":    {"slipway agents token --tags env=prod,role=web --for 24h"},
	"slipway approve":         {`slipway approve EXECUTION --message "looks good"`},
	"slipway reports history": {"slipway reports history BUILD unit TestLift"},
	"slipway reports": {
		"slipway reports                   # the report groups of all repositories",
		"slipway reports EXECUTION",
		"slipway reports BUILD unit | jq '.cases[] | select(.status == \"FAILED\")'",
	},
	"slipway artifacts": {
		"slipway artifacts EXECUTION",
		"slipway artifacts EXECUTION BuildArtifact --unpack out",
	},
	"slipway audit": {"slipway audit --limit 20"},
	"slipway build": {
		"slipway build",
		"slipway build --image golang:1.26 --env STAGE=dev --artifacts dist .",
		"slipway build --batch --artifacts out .",
		"slipway build --engine host    # on this host, as you; isolates nothing",
	},
	"slipway dead-letters":        {"slipway dead-letters"},
	"slipway dead-letters replay": {"slipway dead-letters replay ID"},
	"slipway debug": {
		"slipway debug BUILD",
		"echo 'ls -l; env' | slipway debug BUILD    # without a terminal",
	},
	"slipway deliveries": {"slipway deliveries --forge github --limit 5"},
	"slipway demo": {
		"slipway demo",
		"slipway demo --once --fail    # end with the pipeline, which fails",
	},
	"slipway deploy": {
		"slipway deploy --root /tmp/try ./dist",
		"slipway deploy --events BeforeInstall,Install,AfterInstall bundle.zip",
	},
	"slipway deployments": {
		"slipway deployments --group web-prod",
		"slipway deployments d-8F03AD5FL    # its instances and lifecycle events",
	},
	"slipway deployments stop": {`slipway deployments stop d-8F03AD5FL --reason "wrong version"`},
	"slipway doctor": {
		"slipway doctor",
		"slipway doctor --config /etc/slipway/slipway.yaml --role server",
	},
	"slipway executions": {
		"slipway executions --repo octo/web --status Failed",
		"slipway executions EXECUTION    # its stages and actions",
	},
	"slipway explain": {"slipway explain DELIVERY"},
	"slipway import codedeploy": {
		"slipway import codedeploy --application web --group web-prod /opt/codedeploy-agent/deployment-root/deployment-instructions/GROUP-cleanup",
	},
	"slipway import codepipeline": {
		"aws codepipeline get-pipeline --name web | slipway import codepipeline - > .slipway/pipeline.yml",
		"slipway import codepipeline --report import.md template.yml > .slipway/deploy.yml",
	},
	"slipway logs":      {"slipway logs -f EXECUTION"},
	"slipway override":  {`slipway override EXECUTION --message "hotfix, agreed with the shift"`},
	"slipway pipelines": {"slipway pipelines"},
	"slipway reject":    {`slipway reject EXECUTION --message "not on a Friday"`},
	"slipway replay":    {"slipway replay DELIVERY"},
	"slipway retention": {"slipway retention --dry-run"},
	"slipway retry": {
		"slipway retry EXECUTION",
		"slipway retry --all --stage Prod EXECUTION",
	},
	"slipway rollback": {
		"slipway rollback d-8F03AD5FL",
		"slipway rollback --group web-prod",
	},
	"slipway rollback-stage": {"slipway rollback-stage PIPELINE Prod EXECUTION"},
	"slipway runner":         {"SLIPWAY_TOKEN=slr_... slipway runner --server https://ci.example.com --slots 4"},
	"slipway runners":        {"slipway runners"},
	"slipway server":         {"SLIPWAY_REDIS_URL=redis://redis.example.com:6379/0 slipway server --external-url https://ci.example.com"},
	"slipway start": {
		"slipway start PIPELINE --ref v1.4.0",
		"slipway start PIPELINE --commit 4f2a9c1 --var LEVEL=debug",
	},
	"slipway stop": {`slipway stop EXECUTION --reason "wrong branch"`},
	"slipway token": {
		"slipway token create --name dashboard --role read",
		"slipway token create --name release --role write --repo github/octo/app --expires 30d",
		"slipway token list",
		"slipway token revoke ID",
	},
	"slipway token create":       {"slipway token create --name release --role write --repo github/octo/app --expires 30d"},
	"slipway token list":         {"slipway token list"},
	"slipway token revoke":       {"slipway token revoke ID"},
	"slipway transition disable": {`slipway transition disable PIPELINE Prod --reason "freeze until Monday"`},
	"slipway transition enable":  {"slipway transition enable PIPELINE Prod"},
	"slipway up":                 {"SLIPWAY_IMAGE=busybox:stable slipway up --data /var/lib/slipway"},
	"slipway validate": {
		"slipway validate .",
		"slipway validate .slipway",
		"slipway validate --format github buildspec.yml",
	},
	"slipway version": {"slipway version"},
}

// helped finishes a command and those below it: examples, a description that
// fits a terminal, and what can be completed.
func (a *app) helped(c *cobra.Command) {
	if lines := examples[c.CommandPath()]; len(lines) > 0 {
		c.Example = "    " + strings.Join(lines, "\n    ")
	}
	c.Long = wrapped(c.Long, 80)
	if c.ValidArgsFunction == nil && c.Args != nil {
		c.ValidArgsFunction = a.completion(strings.Fields(c.Use)[1:])
	}
	for name, values := range flagValues {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values(c), cobra.ShellCompDirectiveNoFileComp)) // fails for a second one only
		}
	}
	for _, sub := range c.Commands() {
		a.helped(sub)
	}
}

// wrapped breaks the lines of paragraphs that are longer than width.
func wrapped(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		var b strings.Builder
		column := 0
		for _, word := range strings.Fields(p) {
			switch {
			case column == 0:
			case column+1+len(word) > width:
				b.WriteByte('\n')
				column = 0
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += len(word)
		}
		paragraphs[i] = b.String()
	}
	return strings.Join(paragraphs, "\n\n")
}

// flagValues are the values of flags that take few.
var flagValues = map[string]func(*cobra.Command) []string{
	"engine": func(*cobra.Command) []string { return []string{"docker", "host"} },
	"role": func(c *cobra.Command) []string {
		if c.Name() == "doctor" {
			return []string{"up", "server", "runner", "agent"}
		}
		return []string{"read", "write", "admin"}
	},
	"format":               func(*cobra.Command) []string { return []string{"text", "json", "github"} },
	"kind":                 func(*cobra.Command) []string { return []string{"buildspec", "appspec", "pipeline"} },
	"condition":            func(*cobra.Command) []string { return []string{"before-entry", "on-success"} },
	"phase":                func(*cobra.Command) []string { return []string{"install", "pre_build", "build", "post_build"} },
	"file-exists-behavior": func(*cobra.Command) []string { return []string{"DISALLOW", "OVERWRITE", "RETAIN"} },
	"status": func(c *cobra.Command) []string {
		if c.Name() == "deployments" {
			return []string{"Created", "InProgress", "Succeeded", "Failed", "Stopped"}
		}
		return []string{"InProgress", "Succeeded", "Failed", "Stopped", "Superseded", "Cancelled"}
	},
}

// completionTime is for how long a shell waits for what it may complete.
const completionTime = 2 * time.Second

// completion completes arguments that a server knows: what it listed last.
func (a *app) completion(words []string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(words) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		word, _, _ := strings.Cut(strings.Trim(words[len(args)], "[]."), "|")
		list, ok := completed[word]
		if !ok {
			return nil, cobra.ShellCompDirectiveDefault
		}
		api, err := a.server()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		found, _ := list(ctx, api) // a shell has no place for an error
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completed lists what may stand for a word of a command's usage.
var completed = map[string]func(context.Context, *client.Client) ([]cobra.Completion, error){
	"EXECUTION": func(ctx context.Context, api *client.Client) ([]cobra.Completion, error) {
		page, err := api.Executions(ctx, pipeline.Query{Limit: 20})
		return each(page.Items, func(x client.Execution) (string, string) {
			return x.ID, fmt.Sprintf("%s %s %s", x.Status, x.Repo, x.Trigger)
		}), err
	},
	"PIPELINE": func(ctx context.Context, api *client.Client) ([]cobra.Completion, error) {
		page, err := api.Pipelines(ctx, 50, "")
		return each(page.Items, func(v pipeline.View) (string, string) { return v.ID, v.Repo + " " + v.Name }), err
	},
	"DELIVERY": func(ctx context.Context, api *client.Client) ([]cobra.Completion, error) {
		page, err := api.Deliveries(ctx, "", 20, "")
		return each(page.Items, func(d pipeline.Delivery) (string, string) {
			return d.Forge + "/" + d.ID, fmt.Sprintf("%s of %s: %s", d.Event, d.Repo, d.Decision)
		}), err
	},
	"DEPLOYMENT": func(ctx context.Context, api *client.Client) ([]cobra.Completion, error) {
		page, err := api.Deployments(ctx, pipeline.DeploymentQuery{Limit: 20})
		return each(page.Items, func(d client.DeploymentItem) (string, string) {
			return d.ID, fmt.Sprintf("%s %s", d.Status, d.Group)
		}), err
	},
}

func each[T any](items []T, of func(T) (name, about string)) []cobra.Completion {
	var out []cobra.Completion
	for _, item := range items {
		name, about := of(item)
		out = append(out, cobra.CompletionWithDesc(name, about))
	}
	return out
}

// versionCommand prints what --version does.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: usageArgs(cobra.NoArgs), Run: func(*cobra.Command, []string) {
		fmt.Fprintln(a.stdout, "slipway version", version)
	}}
}

// hint adds to a mistake in how a command was called where it says more.
func hint(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\nUsage: %s; `%s --help` says more", err, c.UseLine(), c.CommandPath())
}
