package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

// The repository that demo pushes.
//
//go:embed all:sample
var sample embed.FS

func (a *app) demoCommand() *cobra.Command {
	var once, fail bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "See a push become a build, a deployment and a check, here and now",
		Long: `Starts everything in one process on embedded defaults, creates a sample
repository in the built-in git host, pushes it, and lets the push be built and
deployed, below DATA/demo/root. Then it goes on serving the dashboard, until it
is interrupted; with --once it ends with the pipeline, and with its exit code.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), once, fail) },
	}
	c.Flags().BoolVar(&once, "once", false, "end when the pipeline has ended, with its exit code")
	c.Flags().BoolVar(&fail, "fail", false, "break the sample on purpose")
	return c
}

const demoRepo = "hello"

func (a *app) demo(ctx context.Context, once, fail bool) error {
	failed := false
	err := a.serve(ctx, a.demoDefaults, serving{
		runner: true, agent: true, busyOK: true, quiet: true,
		ready: func(ctx context.Context, p *platform) error {
			ok, err := a.demoPush(ctx, p, fail)
			if err != nil {
				return err
			}
			failed = !ok
			if !once {
				fmt.Fprintln(a.stderr, "\nThe dashboard stays up; Ctrl-C ends it. Push again, or break something:")
				fmt.Fprintf(a.stderr, "  git clone %s/git/demo/%s.git   (user slipway, password in %s)\n", p.cfg.ExternalURL, demoRepo, filepath.Join(p.cfg.Data, tokenFile))
				<-ctx.Done()
			}
			return nil
		},
	})
	if err == nil && failed && once {
		return &exitError{code: exitFailed}
	}
	return err
}

// demoDefaults are the settings of a demonstration, where nothing else was
// configured.
func (a *app) demoDefaults(cfg *config.Config) {
	if a.getenv("SLIPWAY_DATA") == "" && a.configPath == "" {
		cfg.Data = filepath.Join(cfg.Data, "demo-data")
	}
	if a.getenv("SLIPWAY_LOG") == "" {
		cfg.Log = "warn"
	}
	if cfg.Image == "" {
		cfg.Image = "busybox:stable"
	}
	if a.getenv("SLIPWAY_ENGINE") == "" {
		cfg.Engine = "auto"
	}
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		data = cfg.Data
	}
	cfg.DeploymentGroups = append(cfg.DeploymentGroups, config.DeploymentGroup{
		Name: "demo", Application: demoRepo, Repository: localForge + "/demo/" + demoRepo,
		Branches: []string{"main"}, Root: filepath.Join(data, "demo", "root"),
	})
}

// demoPush pushes the sample and tells what becomes of it; ok is whether the
// pipeline succeeded.
func (a *app) demoPush(ctx context.Context, p *platform, fail bool) (ok bool, err error) {
	repo, err := p.host.Create(ctx, "demo", demoRepo)
	if err != nil {
		return false, fmt.Errorf("creating the sample repository: %w", err)
	}
	api, err := client.New("http://"+p.cfg.Listen, p.cfg.AdminToken)
	if err != nil {
		return false, err
	}
	if link, err := api.SignIn(ctx); err == nil {
		fmt.Fprintf(a.stderr, "Dashboard: %s\n", link)
	} else {
		fmt.Fprintf(a.stderr, "Dashboard: %s\n", p.cfg.ExternalURL)
	}
	work, err := os.MkdirTemp("", "slipway-demo-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(work)
	sha, err := pushSample(ctx, work, repo.CloneURL, p.cfg.AdminToken, fail)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(a.stderr, "Pushed commit %s to %s\n", pipeline.ShortSHA(sha), repo.FullName())
	return a.follow(ctx, api, sha)
}

// pushSample commits the sample in work and pushes it.
func pushSample(ctx context.Context, work, remote, token string, fail bool) (sha string, err error) {
	files, err := fs.Sub(sample, "sample")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(work, files); err != nil {
		return "", err
	}
	if fail {
		broken := "#!/bin/sh\necho '<h1>Nothing to see here</h1>'\n"
		if err := os.WriteFile(filepath.Join(work, "render.sh"), []byte(broken), 0o755); err != nil {
			return "", err
		}
	}
	u, err := url.Parse(remote)
	if err != nil {
		return "", err
	}
	u.User = url.User("slipway")
	git := func(args ...string) (string, error) { return demoGit(ctx, work, token, args...) }
	for _, args := range [][]string{
		{"init", "-q"}, {"checkout", "-q", "-b", "main"}, {"add", "-A"},
		{"commit", "-q", "-m", "Say hello"}, {"push", "-q", "--force", u.String(), "main"},
	} {
		if out, err := git(args...); err != nil {
			return "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	out, err := git("rev-parse", "HEAD")
	return strings.TrimSpace(out), err
}

// demoGit runs git with the token as its password, which never shows in an
// argument or a file.
func demoGit(ctx context.Context, dir, token string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{
		"-C", dir, "-c", "user.name=Slipway demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false",
		"-c", "credential.helper=", "-c", `credential.helper=!f() { echo "password=$SLIPWAY_DEMO_TOKEN"; }; f`,
	}, args...)...)
	// Neither the settings of a person nor a proxy, which would see the token,
	// have a part in this.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "GIT_") })
	cmd.Env = append(cmd.Env, "SLIPWAY_DEMO_TOKEN="+token, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "NO_PROXY=*", "no_proxy=*")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// startTime is how long the push may take to become an execution.
const startTime = 30 * time.Second

// follow prints the execution as it goes on, and the log of what failed.
func (a *app) follow(ctx context.Context, api *client.Client, sha string) (ok bool, err error) {
	id, err := startedBy(ctx, api, sha)
	if err != nil {
		return false, err
	}
	said := map[string]pipeline.Status{}
	var last client.Execution
	err = api.FollowExecution(ctx, id, func(x client.Execution) {
		last = x
		for _, st := range x.Stages {
			if st.Status != said[st.Name] && st.Status != pipeline.Pending {
				said[st.Name] = st.Status
				fmt.Fprintf(a.stderr, "%s %-7s %s\n", mark(st.Status), st.Name, st.Status)
			}
		}
	})
	if err != nil {
		return false, err
	}
	fmt.Fprintf(a.stderr, "%s pipeline %s after %s: %s\n", mark(last.Status), last.Status, took(last.CreatedAt, last.EndedAt), last.URL)
	if last.Status == pipeline.Succeeded {
		return true, nil
	}
	fmt.Fprintf(a.stderr, "  %s\n", last.Reason)
	return false, nil
}

func mark(s pipeline.Status) string {
	switch s {
	case pipeline.Succeeded:
		return "✓"
	case pipeline.Failed, pipeline.Stopped, pipeline.Cancelled:
		return "✗"
	}
	return "●"
}

// startedBy waits for the execution of a commit.
func startedBy(ctx context.Context, api *client.Client, sha string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		page, err := api.Executions(ctx, pipeline.Query{SHA: sha, Limit: 1})
		switch {
		case err == nil && len(page.Items) > 0:
			return page.Items[0].ID, nil
		case err != nil && !client.Retryable(err):
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(errors.New("the push did not become an execution"), why(context.WithoutCancel(ctx), api))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// why is what the ledger says of the newest push.
func why(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	page, err := api.Deliveries(ctx, localForge, 1, "")
	if err != nil || len(page.Items) == 0 {
		return errors.New("and its delivery isn't in the ledger")
	}
	return errors.New(orDefault(page.Items[0].Reason, "it is not decided yet"))
}
