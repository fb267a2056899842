package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-ci/slipway/chat"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// docsCommand prints the references that lie in docs/, so that they never
// differ from the code: scripts/generated compares them in make check.
func (a *app) docsCommand() *cobra.Command {
	c := &cobra.Command{Use: "docs", Short: "Print a reference made from the code", Hidden: true}
	c.AddCommand(
		&cobra.Command{Use: "cli", Short: "The commands", Args: cobra.NoArgs, Run: func(c *cobra.Command, _ []string) {
			writeCLI(a.stdout, c.Root())
		}},
		&cobra.Command{Use: "configuration", Short: "The configuration", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
			writeConfiguration(a.stdout)
		}},
		a.accessDocs(),
		&cobra.Command{Use: "api", Short: "The API", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			return writeAPI(a.stdout)
		}},
		&cobra.Command{Use: "metrics", Short: "The metrics", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
			writeMetrics(a.stdout)
		}},
		&cobra.Command{Use: "chatops", Short: "The commands in comments", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
			fmt.Fprint(a.stdout, chat.Reference())
		}},
		&cobra.Command{Use: "buildspec-schema", Short: "The JSON schema of buildspec.yml", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(buildspec.Schema())
			return err
		}},
		&cobra.Command{Use: "pipeline-schema", Short: "The JSON schema of pipeline files", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(pipeline.FileSchema())
			return err
		}},
	)
	return c
}

func writeCLI(w io.Writer, root *cobra.Command) {
	fmt.Fprintf(w, "# The command line\n\nMade from the code by `slipway docs cli`; `make generate` renews it.\n\n%s\n%s", root.Long, exitCodes)
	fmt.Fprintf(w, "\nTo begin with:\n\n%s\n", root.Example)
	fmt.Fprint(w, "\n`source <(slipway completion bash)` lets the shell complete commands, flags and IDs; `zsh`, `fish` and `powershell` likewise.\n")
	for _, g := range root.Groups() {
		fmt.Fprintf(w, "\n## %s\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				writeCommands(w, c)
			}
		}
	}
	fmt.Fprint(w, "\n## Flags of every command\n\n")
	writeFlags(w, root.PersistentFlags())
}

// writeCommands writes a command and then those below it.
func writeCommands(w io.Writer, c *cobra.Command) {
	writeCommand(w, c)
	for _, sub := range c.Commands() {
		writeCommands(w, sub)
	}
}

func writeCommand(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "\n### %s\n\n%s.\n", c.CommandPath(), c.Short)
	if c.Long != "" {
		fmt.Fprintf(w, "\n%s\n", c.Long)
	}
	fmt.Fprintf(w, "\n    %s\n", c.UseLine())
	if c.Example != "" {
		fmt.Fprintf(w, "\nFor example:\n\n%s\n", c.Example)
	}
	if c.LocalFlags().HasAvailableFlags() {
		fmt.Fprintln(w)
		writeFlags(w, c.LocalFlags())
	}
}

func writeFlags(w io.Writer, flags *pflag.FlagSet) {
	fmt.Fprint(w, "| flag | default | meaning |\n| --- | --- | --- |\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		kind, text := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + kind
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", name, code(strings.Trim(f.DefValue, "[]")), strings.ReplaceAll(text, "|", `\|`))
	})
}

func code(s string) string {
	if s == "" || s == "false" {
		return ""
	}
	return "`" + s + "`"
}

func writeConfiguration(w io.Writer) {
	fmt.Fprint(w, `# The configuration

Made from the code by `+"`slipway docs configuration`; `make generate`"+` renews it.

Defaults come first, then the file (`+"`--config`, else `./slipway.yaml`, else `/etc/slipway/slipway.yaml`"+`), then
variables, then flags. An unknown key, or a value that doesn't parse, is an error that names its place.

| key | variable | type | default | meaning |
| --- | --- | --- | --- | --- |
`)
	c := config.Default("$XDG_DATA_HOME")
	c.Runner.Slots = 0 // the number of cores differs from machine to machine
	for _, f := range config.Fields(c) {
		value := f.Default
		if f.Key == "runner.slots" {
			value = ""
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", f.Key, code(f.Env), kindOf(f.Type), code(value), f.Doc)
	}
	fmt.Fprint(w, configurationLists)
}

func kindOf(t string) string {
	switch {
	case t == "time.Duration":
		return "duration"
	case strings.HasPrefix(t, "map"):
		return "map"
	case strings.HasPrefix(t, "[]"):
		return "list"
	case strings.HasPrefix(t, "int"):
		return "number"
	case t == "bool":
		return "true or false"
	}
	return "text"
}

// configurationLists explains the keys that only the file has.
const configurationLists = `
## Lists and maps

` + "```yaml" + `
images:                               # aliases of images
  aws/codebuild/standard:7.0: registry.example.com/build:7
compute_types:                        # limits of containers
  BUILD_GENERAL1_SMALL: {cpus: 2, memory_mb: 3072, processes: 4096}
projects:                             # settings of repositories' projects
  - repository: github/octo/web       # FORGE/OWNER/NAME
    image: golang:1.26
    buildspec: ci/buildspec.yml       # default: buildspec.yml
    compute: BUILD_GENERAL1_SMALL
    labels: linux                     # runners that take its builds
    timeout: 30m
    queued_timeout: 1h                # how long its builds may wait for a runner; default: limits.queued_timeout
    concurrency: 2                    # builds at a time, of each compute type; more wait
    strict_shell: true                # a command of several lines fails at the first that does
    status_context: ci/unit           # what its check and commit status are called, with variables of the build; default: slipway / default
    variables: {DEPLOY_ENV: staging}  # they win over the buildspec's
    build_type: auto                  # what a webhook starts: a batch if the buildspec has one [auto], build, or batch
    batch:                            # bounds of its batches
      builds: 100                     # at most, up to 1000 [100]
      timeout: 8h                     # of a batch as a whole [8h]
      compute_types: [BUILD_GENERAL1_SMALL] # that builds of a batch may name; default: all
      combine_artifacts: false        # make one artifact of those of all its builds
deployment_groups:
  - name: web-prod
    application: web
    repository: github/octo/web
    branches: [main, "release/*"]     # default: the default branch
    root: /srv/web                    # prefix of every destination; default: /
    file_exists_behavior: OVERWRITE   # DISALLOW, OVERWRITE or RETAIN
    on_drift: fail                    # files that were changed on the host: backup, fail or replace [backup]
    ignore_stop_failures: false
  - name: fleet                       # a group of hosts with agents
    repository: github/octo/web
    tags: {env: prod, role: "web|front"} # all keys, any of the values between bars
    environment: production           # SLIPWAY_ENVIRONMENT in scripts
    config: one-third                 # CodeDeployDefault.AllAtOnce, HalfAtATime, OneAtATime [the last], or a name of your own, with
    minimum_healthy_hosts: 67%        # hosts, or a percentage
    auto_rollback: [DEPLOYMENT_FAILURE, DEPLOYMENT_STOP_ON_REQUEST, DEPLOYMENT_STOP_ON_ALARM]
    alarms: [web-errors]              # alerting rules of prometheus.url; an active one stops a deployment
    ignore_alarm_failures: false      # go on when they can't be asked
    catch_up: true                    # deploy the present revision to hosts that register later
    bake: 10m                         # watch them for so long once all hosts are done
    zones:                            # one zone after the other
      tag: zone                       # of agents; its value is their zone [zone]
      order: [eu-1a]                  # these first, the others by their names
      monitor: 5m                     # pause behind each zone but the last one
      first_monitor: 30m              # that behind the first one; default: monitor
      minimum_healthy_hosts: 50%      # in each zone [0]
environments:                         # what stages of pipeline files deploy to
  - name: production
    repository: github/octo/web       # default: every repository
    approvers: [alice, team/release, octo/ops] # logins and teams; default: whoever may write
    prevent_self_review: true         # who started an execution may not approve it
notifications:                        # see docs/how-to/notifications.md
  targets:
    - name: releases
      type: slack                     # slack, webhook or sns
      token: xoxb-...                 # with channel; or url, of an incoming webhook
      channel: "#releases"
      events: [pipeline-execution-failed, manual-approval-needed]
      repositories: [github/octo/*]   # also pipelines and branches
` + "```" + `
`
