package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/deployer"
	"github.com/slipway-ci/slipway/pipeline"
)

// What CodeDeploy's agent calls its files (CodeDeploy reference 3.1).
const (
	cleanupSuffix  = "-cleanup"
	pointerSuffix  = "_last_successful_install"
	agentsArchive  = "deployment-archive"
	pointerLimit   = 4096
	groupUnderRoot = "`folder` that goes before every destination, as for the group (default: the real /)"
)

type codeDeployImport struct{ group, application, data, root string }

func (a *app) importCodeDeployCommand() *cobra.Command {
	var o codeDeployImport
	c := &cobra.Command{
		Use:   "codedeploy CLEANUP-FILE",
		Short: "Take over the files that CodeDeploy's agent installed on this host",
		Long: `Reads the GROUP-cleanup file of CodeDeploy's agent and makes the files that it
lists a deployment group's own: the group's next deployment replaces and removes
them as if Slipway had installed them. The last successful revision, which
GROUP_last_successful_install beside it names, is kept so that its
ApplicationStop runs then. Nothing that is installed is touched. Stop the agent
of CodeDeploy first.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return a.importCodeDeploy(c.Context(), o, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&o.group, "group", "", "deployment `group` that goes on with them")
	f.StringVar(&o.application, "application", "", "its `application`; if the group names none, the repository's name")
	f.StringVar(&o.data, "data", "", "data `folder` of the agent")
	f.StringVar(&o.root, "root", "", groupUnderRoot)
	return c
}

func (a *app) importCodeDeploy(ctx context.Context, o codeDeployImport, file string) error {
	if o.group == "" || o.application == "" {
		return usage(errors.New("want --application and --group, as the deployment group that goes on with the files has them"))
	}
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return usage(err)
	}
	defer in.Close() // read only
	p := deployer.Predecessor{Application: o.application, Group: o.group, Cleanup: in}
	if p.Deployment, p.Archive, err = lastInstall(file); err != nil {
		return usage(err)
	}
	cfg.Data = cmp.Or(o.data, cfg.Data)
	d, err := applier(cfg, cmp.Or(o.root, cfg.Agent.Root), a.logger(cfg))
	if err != nil {
		return err
	}
	adopted, err := d.Adopt(ctx, p)
	if mistake, ok := errors.AsType[*pipeline.UserError](err); ok {
		return usage(mistake)
	}
	if err != nil {
		return err
	}
	if adopted.Cut {
		fmt.Fprintln(a.stderr, "warning: the last line has no end, so it is left out")
	}
	if p.Archive == "" {
		fmt.Fprintln(a.stderr, "warning: no last successful revision is beside it: there is no ApplicationStop to run next")
	}
	fmt.Fprintf(a.stderr, "%d files and %d folders belong to the deployment group %s now; %d more are gone\n", adopted.Files, adopted.Folders, o.group, adopted.Gone)
	return nil
}

// lastInstall is the last successful deployment beside a cleanup file and the
// folder of its revision, both empty if there is none.
func lastInstall(cleanup string) (id, archive string, err error) {
	group, ok := strings.CutSuffix(cleanup, cleanupSuffix)
	if !ok {
		return "", "", fmt.Errorf("%s: want a file whose name ends in %s", cleanup, cleanupSuffix)
	}
	name := group + pointerSuffix
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	if info.Size() > pointerLimit {
		return "", "", fmt.Errorf("%s: want one line with a folder", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", "", err
	}
	dir := strings.TrimSpace(string(data))
	archive = filepath.Join(dir, agentsArchive)
	if info, err := os.Stat(archive); err != nil || !info.IsDir() {
		return "", "", nil
	}
	return filepath.Base(dir), archive, nil
}
