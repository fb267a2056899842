// Command slipway is all of Slipway in one binary: server, runner, agent, and
// the commands of the people who use them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	_ "time/tzdata" // schedules and windows name zones, and images may have none

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/config"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the user's build or deployment failed
	exitUsage  = 2 // bad flags, configuration or files
	exitFault  = 3 // a fault of slipway or of what it needs
)

// exitCodes ends every help text.
const exitCodes = `
Exit codes: 0 success, 1 the build or deployment failed, 2 bad flags,
configuration or files, 3 a fault of slipway or of what it needs.
`

// exitError gives an error, which may be nil, its exit code.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

// run is main without the process, for tests. Its result is the exit code.
func run(args []string, getenv func(string) string, stdin *os.File, stdout, stderr io.Writer) int {
	ctx, hurry, stop := untilSignal(context.Background())
	defer stop()
	a := &app{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr, hurry: hurry}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	coded, ok := errors.AsType[*exitError](err)
	if !ok && !a.begun {
		coded, ok = &exitError{exitUsage, err}, true // no such command, or not so many arguments
	}
	if !ok {
		fmt.Fprintln(stderr, "slipway:", harmless(err.Error()))
		return exitFault
	}
	if coded.err != nil {
		fmt.Fprintln(stderr, "slipway:", harmless(coded.err.Error()))
	}
	return coded.code
}

// untilSignal ends ctx when the process is told to end, and closes hurry when
// it is told so again. The third time kills it.
func untilSignal(parent context.Context) (ctx context.Context, hurry <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	told := make(chan os.Signal, 2)
	again, done := make(chan struct{}), make(chan struct{})
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	go func() {
		for _, then := range []func(){cancel, func() { close(again) }} {
			select {
			case <-told:
				then()
			case <-done:
				return
			}
		}
		signal.Stop(told)
	}()
	return ctx, again, func() {
		signal.Stop(told)
		close(done)
		cancel()
	}
}

// app is what every command shares.
type app struct {
	getenv         func(string) string
	stdin          *os.File
	stdout, stderr io.Writer
	configPath     string
	begun          bool // a command was found and takes its arguments
	// hurry is closed when the process is told to end for the second time.
	hurry <-chan struct{}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "slipway",
		Short: "Your own CodeBuild, CodePipeline and CodeDeploy, driven like a GitHub App",
		Long: `Slipway builds, tests and deploys on your own machines what a push, a pull
request or a comment asks for, from the repository's own buildspec.yml and
appspec.yml, and answers where the developer is: in check runs and statuses.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "configuration file (default ./slipway.yaml, then /etc/slipway/slipway.yaml)")
	root.PersistentPreRun = func(*cobra.Command, []string) { a.begun = true }
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(hint(c, err)) })
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run Slipway:"},
		&cobra.Group{ID: "local", Title: "Work on this machine, without a server:"},
		&cobra.Group{ID: "ask", Title: "Talk to a server:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		"run":   {a.demoCommand(), a.upCommand(), a.serverCommand(), a.runnerCommand(), a.agentCommand(), a.doctorCommand()},
		"local": {a.buildCommand(), a.deployCommand(), a.validateCommand(), a.importCommand()},
		"ask": {
			a.executionsCommand(), a.logsCommand(), a.artifactsCommand(), a.reportsCommand(), a.stopCommand(), a.retryCommand(), a.debugCommand(),
			a.startCommand(), a.approveCommand(), a.rejectCommand(), a.overrideCommand(), a.pipelinesCommand(), a.transitionCommand(), a.rollbackStageCommand(),
			a.deliveriesCommand(), a.explainCommand(), a.replayCommand(), a.deadLettersCommand(), a.runnersCommand(),
			a.deploymentsCommand(), a.rollbackCommand(), a.agentsCommand(), a.tokenCommand(), a.auditCommand(), a.retentionCommand(),
		},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(a.docsCommand(), a.versionCommand())
	a.helped(root)
	root.SetUsageTemplate(root.UsageTemplate() + exitCodes)
	return root
}

// settings is the configuration of this call: defaults, file, environment, and
// then flags, which the caller sets and checks.
func (a *app) settings() (config.Config, error) {
	c := config.Default(a.dataHome())
	path := a.configPath
	if path == "" {
		path = a.getenv("SLIPWAY_CONFIG")
	}
	if path == "" {
		path = config.Find()
	}
	return c, usage(c.Load(path, a.getenv))
}

// dataHome is the user's data folder, as the XDG base directories have it.
func (a *app) dataHome() string {
	if d := a.getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return d
	}
	if home := a.getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share")
	}
	return "/var/lib"
}

func (a *app) logger(c config.Config) *slog.Logger {
	return a.serverLog(c)
}
