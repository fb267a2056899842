package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/deployer"
	"github.com/slipway-ci/slipway/pipeline"
)

func (a *app) deployCommand() *cobra.Command {
	var o localDeploy
	c := &cobra.Command{
		Use:   "deploy BUNDLE|DIR",
		Short: "Apply an appspec to this host as the agent would",
		Long: `Applies a revision, a folder or a zip, tar, tar.gz or tar.zst file with an
appspec.yml in it, to this host: no server, no Redis. Lifecycle events run in
CodeDeploy's order; files are installed in one transaction, and a deployment
that fails before Install has ended leaves the host as it was.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return a.deploy(c.Context(), o, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&o.root, "root", "", "`folder` under which destinations land (default: the real /)")
	f.StringSliceVar(&o.events, "events", nil, "lifecycle `events` to run, comma-separated (default: all, those round the traffic included)")
	f.StringVar(&o.group, "group", "local", "deployment group")
	f.StringVar(&o.application, "application", "", "application (default: the revision's name)")
	f.StringVar(&o.exists, "file-exists-behavior", "", "DISALLOW, OVERWRITE or RETAIN, unless the appspec says")
	f.StringVar(&o.appspec, "appspec", "", "`name` of the appspec in the revision")
	f.StringVar(&o.onDrift, "on-drift", "", "files that were changed on this host: backup (the default: a copy is kept), fail or replace")
	f.BoolVar(&o.ignoreStop, "ignore-application-stop-failures", false, "go on when ApplicationStop fails")
	f.BoolVar(&o.strict, "strict", false, "refuse an appspec with warnings")
	return c
}

type localDeploy struct {
	root, group, application, exists, onDrift, appspec string
	events                                             []string
	ignoreStop, strict                                 bool
}

func (a *app) deploy(ctx context.Context, o localDeploy, revision string) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	if cfg.Log == "info" {
		cfg.Log = "warn" // who typed the command sees what it prints
	}
	d, err := applier(cfg, o.root, a.logger(cfg))
	if err != nil {
		return err
	}
	if err := d.Recover(ctx); err != nil {
		return fmt.Errorf("recovering an interrupted deployment: %w", err)
	}
	if len(o.events) == 0 {
		o.events = deployer.WithTraffic // as CodeDeploy's local command does
	}
	id := "d-" + strings.ToUpper(uuid.NewString()[:8]) + "L"
	if o.application == "" {
		if o.application, err = revisionName(revision); err != nil {
			return err
		}
	}
	result, err := d.Apply(ctx, deployer.Deployment{
		ID: id, Application: o.application, Group: o.group, Revision: revision, AppSpec: o.appspec,
		FileExistsBehavior: o.exists, OnDrift: o.onDrift, Events: o.events, IgnoreApplicationStopFailures: o.ignoreStop, Strict: o.strict,
	}, eventPrinter{a.stdout})
	mistake, isMistake := errors.AsType[*pipeline.UserError](err)
	switch {
	case err == nil:
		fmt.Fprintf(a.stderr, "deployment %s succeeded\n", id)
		return nil
	case isMistake && !begun(result.Events):
		return usage(mistake)
	case isMistake:
		return &exitError{exitFailed, mistake}
	}
	return err
}

// revisionName is what a folder or a bundle is called without its suffix, also
// where the revision is written as "." or "..".
func revisionName(revision string) (string, error) {
	path, err := filepath.Abs(revision)
	if err != nil {
		return "", fmt.Errorf("finding the name of %s: %w", revision, err)
	}
	name := filepath.Base(path)
	for _, suffix := range []string{".zip", ".tgz", ".tar", ".tar.gz", ".tar.zst"} {
		if short := strings.TrimSuffix(name, suffix); short != name && short != "" {
			return short, nil
		}
	}
	return name, nil
}

// stateFolder is where the deployer keeps what it knows of the files below
// root; empty means the real /. What was installed below one root says nothing
// about the files below another.
func stateFolder(data, root string) (string, error) {
	folder := filepath.Join(data, "agent")
	if root == "" {
		return folder, nil
	}
	root, err := filepath.Abs(root)
	if err != nil || root == "/" {
		return folder, err
	}
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(folder, "roots", hex.EncodeToString(sum[:8])), nil
}

// begun reports whether a deployment came further than reading its revision:
// what is wrong before that is wrong in the files.
func begun(events []deployer.Event) bool {
	return slices.ContainsFunc(events, func(e deployer.Event) bool {
		return e.Name != "DownloadBundle" && e.Status != pipeline.DeploymentSkipped && e.Status != pipeline.DeploymentPending
	})
}

// eventPrinter shows a deployment on the terminal.
type eventPrinter struct{ w io.Writer }

func (p eventPrinter) Event(e deployer.Event) {
	switch e.Status {
	case pipeline.DeploymentInProgress:
		fmt.Fprintf(p.w, "%s\n", e.Name)
	case pipeline.DeploymentSkipped:
	default:
		fmt.Fprintf(p.w, "%s: %s in %s\n", e.Name, e.Status, e.End.Sub(e.Start).Round(time.Millisecond))
	}
}

func (p eventPrinter) Output(_ string, out []byte) { _, _ = p.w.Write(out) }
