package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/archive"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

func (a *app) buildCommand() *cobra.Command {
	var o localBuild
	c := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Run a buildspec here and now, exactly as a runner would",
		Long: `Runs the buildspec of DIR (default: this folder) with the runner's own code:
no server and no Redis. It works in DIR itself; --copy works in a copy.
Artifacts are always collected and checked; --artifacts keeps them.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			o.engineNamed = c.Flags().Changed("engine")
			o.dir = "."
			if len(args) == 1 {
				o.dir = args[0]
			}
			return a.build(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.buildspec, "buildspec", "", "buildspec `file`, relative to DIR (default buildspec.yml)")
	f.StringVar(&o.image, "image", "", "`image` to build in")
	f.StringVar(&o.engine, "engine", "", "docker, host (isolates nothing) or auto (default docker)")
	f.StringArrayVar(&o.env, "env", nil, "`K=V`: set a variable, also one of a trigger, such as CODEBUILD_WEBHOOK_EVENT; may be repeated")
	f.StringArrayVar(&o.sources, "source", nil, "`NAME=DIR`: a secondary source, whose copy is $CODEBUILD_SRC_DIR_NAME; may be repeated")
	f.StringVar(&o.artifacts, "artifacts", "", "`folder` to unpack the artifacts into")
	f.StringVar(&o.report, "report", "", "`file` to write the build's record to, as JSON, with its manifest and reports")
	f.StringVar(&o.compare, "compare", "", "report or manifest of an earlier build, a `file`: fail if this one does anything else")
	f.StringVar(&o.cache, "cache", "", "`folder` that keeps the cache between builds")
	f.StringArrayVar(&o.phases, "phase", nil, "run this `phase` only: install, pre_build, build or post_build; may be repeated")
	f.StringVar(&o.secrets, "secrets", "", "`file` with values of parameters and secrets: lines NAME=VALUE, or a JSON object")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "time limit")
	f.BoolVar(&o.shellOnFailure, "shell-on-failure", false, "open a shell where a command has failed, or at codebuild-breakpoint, with its folder and variables")
	f.BoolVar(&o.batch, "batch", false, "run the builds of the batch block one after the other, each in a copy of DIR")
	f.BoolVar(&o.combine, "combine", false, "with --batch: make one artifact of those of all builds")
	f.BoolVar(&o.copied, "copy", false, "work in a copy of DIR")
	f.BoolVar(&o.strictShell, "strict-shell", false, "fail a command at its first line that fails, as strict_shell of a project does")
	f.BoolVar(&o.privileged, "privileged", false, "run the container privileged")
	return c
}

type localBuild struct {
	dir, buildspec, image, engine, artifacts, report string
	cache, secrets, compare                          string
	env, phases, sources                             []string
	timeout                                          time.Duration
	copied, privileged, engineNamed, shellOnFailure  bool
	batch, combine, strictShell                      bool
	keep                                             string // where artifacts stay without --artifacts
}

func (a *app) build(ctx context.Context, o localBuild) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return usage(err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return usage(fmt.Errorf("%s is not a folder", o.dir))
	}
	for _, name := range o.phases {
		if !slices.Contains(buildspec.PhaseNames, name) {
			return usage(fmt.Errorf("--phase: want one of %s, have %q", strings.Join(buildspec.PhaseNames, ", "), name))
		}
	}
	if o.batch && o.report+o.compare != "" {
		return usage(errors.New("--report and --compare are for one build: leave out --batch"))
	}
	if o.combine && !o.batch {
		return usage(errors.New("--combine makes one artifact of those of a batch: add --batch"))
	}
	o.keep = filepath.Join(cfg.Data, "artifacts")
	var before runner.Manifest
	if o.compare != "" {
		if before, err = readManifest(o.compare); err != nil {
			return usage(fmt.Errorf("--compare: %w", err))
		}
	}
	secondary, err := secondarySources(o.sources)
	if err != nil {
		return usage(err)
	}
	order, err := a.localOrder(ctx, cfg, o, dir)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "slipway-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if o.copied {
		if dir, err = copyTree(dir, filepath.Join(temp, "copy")); err != nil {
			return err
		}
	}
	var batch pipeline.Batch
	if o.batch {
		if batch, err = a.readLocalBatch(cfg, o, dir); err != nil {
			return err
		}
	} else if order.Stored, err = a.localSecrets(ctx, cfg, o, dir, order.Variables); err != nil {
		return err
	}
	place, err := a.localEngine(ctx, cfg, o, order.Image)
	if err != nil {
		return err
	}
	defer place.close(ctx, a.logger(cfg))
	local, err := openLocalCache(ctx, o.cache)
	if err != nil {
		return err
	}
	defer local.close()
	options := runner.Options{Engine: place.Engine, Dir: dir, Secondary: secondary, Temp: place.temp, Name: "local", Phases: o.phases, Cache: local.runnerCache()}
	if o.shellOnFailure {
		options.Debug = a.localShell
	}
	if o.batch {
		return (&localBatch{app: a, cfg: cfg, localBuild: o, dir: dir, temp: temp, options: options, batch: batch}).run(ctx)
	}
	a.noteBatch(o, dir)
	b, outcome, sink := a.attempts(ctx, options, order, o)
	if o.report != "" {
		if err := writeReport(o.report, b, sink); err != nil {
			return err
		}
	}
	a.tellKept(sink.kept)
	told := a.tell(b, outcome)
	if o.compare == "" {
		return told
	}
	return cmp.Or(told, a.compare(o.compare, before, sink.manifest))
}

// attempts runs the build as often as its on-failure asks, each time in a fresh
// container.
func (a *app) attempts(ctx context.Context, options runner.Options, order pipeline.BuildOrder, o localBuild) (pipeline.Build, pipeline.Outcome, *localSink) {
	for {
		sink := &localSink{out: a.stdout, dir: o.artifacts, keep: o.keep}
		b, outcome := runner.Run(ctx, options, order, sink)
		if !outcome.Retry || ctx.Err() != nil {
			return b, outcome, sink
		}
		order.Retried++
		order.ID = uuid.NewString()
	}
}

// localEngine is the engine that was named, which never falls back; else
// Docker, or this host where somebody watches.
func (a *app) localEngine(ctx context.Context, cfg config.Config, o localBuild, image string) (enginePlace, error) {
	named := o.engineNamed || a.getenv("SLIPWAY_ENGINE") != ""
	if o.engine != "" {
		cfg.Engine = o.engine
	}
	cfg.Image = image
	if !named && terminal(a.stdout) {
		cfg.Engine = "auto"
	}
	if err := cfg.Check(); err != nil {
		return enginePlace{}, usage(err)
	}
	return a.openEngine(ctx, cfg, -1, a.logger(cfg))
}

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// tellKept says where artifacts are.
func (a *app) tellKept(kept []string) {
	for _, dir := range kept {
		fmt.Fprintf(a.stderr, "artifacts are in %s\n", dir)
	}
}

// tell says how a local build ended, and with which exit code.
func (a *app) tell(b pipeline.Build, o pipeline.Outcome) error {
	took := b.EndedAt.Sub(b.StartedAt).Round(time.Millisecond)
	for _, r := range b.Reports {
		fmt.Fprintf(a.stderr, "report %s\n", r)
	}
	switch {
	case o.Status == pipeline.BuildSucceeded:
		fmt.Fprintf(a.stderr, "build succeeded in %s\n", took)
		return nil
	case o.Status == pipeline.BuildFault:
		return fmt.Errorf("the build could not be run: %s", o.Message)
	}
	for _, n := range o.Annotations {
		fmt.Fprintf(a.stderr, "%s:%d:%d: %s\n", n.Path, n.StartLine, max(n.Column, 1), n.Message)
	}
	if f := b.Failure; f != nil && f.Command != "" {
		fmt.Fprintf(a.stderr, "phase %s: command %q exited with code %d\n", strings.ToLower(f.Phase), firstLine(f.Command), f.Exit)
	}
	fmt.Fprintf(a.stderr, "build %s after %s: %s\n", strings.ToLower(string(o.Status)), took, o.Message)
	if o.Message == buildspec.NoFile {
		fmt.Fprintln(a.stderr, "there is no buildspec.yml in the folder; --buildspec names another file, or name another folder")
	}
	if b.Failure != nil && b.Failure.Phase == "DOWNLOAD_SOURCE" {
		return &exitError{code: exitUsage}
	}
	return &exitError{code: exitFailed}
}

// sourceID is the form of a secondary source's identifier (CodeBuild
// reference 1.6).
var sourceID = regexp.MustCompile(`^[A-Za-z0-9_]{1,127}$`)

const maxSources = 12

// secondarySources reads --source.
func secondarySources(given []string) ([]runner.Folder, error) {
	var all []runner.Folder
	for _, s := range given {
		name, dir, _ := strings.Cut(s, "=")
		if !sourceID.MatchString(name) || dir == "" {
			return nil, fmt.Errorf("--source: want NAME=DIR, the name of letters, digits and underscores, have %q", s)
		}
		if slices.ContainsFunc(all, func(f runner.Folder) bool { return f.Name == name }) {
			return nil, fmt.Errorf("--source: %s is given twice", name)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("--source %s: %s is not a folder", name, dir)
		}
		all = append(all, runner.Folder{Name: name, Path: dir})
	}
	if len(all) > maxSources {
		return nil, fmt.Errorf("--source: want at most %d, have %d", maxSources, len(all))
	}
	return all, nil
}

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if more {
		return line + " ..."
	}
	return line
}

// localOrder is the order that a server would have made for this folder.
func (a *app) localOrder(ctx context.Context, cfg config.Config, o localBuild, dir string) (pipeline.BuildOrder, error) {
	id := uuid.NewString()
	name := "local-" + filepath.Base(dir)
	order := pipeline.BuildOrder{
		ID: id, Number: 1, Project: name, Buildspec: o.buildspec, Timeout: o.timeout,
		Privileged: o.privileged, Trusted: true, StrictShell: o.strictShell,
	}
	order.Image = resolveImage(cfg.Images, orDefault(orDefault(o.image, cfg.Image), standardImage))
	order.Source.SHA, order.Source.FetchRef = headOf(ctx, dir)
	x := pipeline.Execution{Project: name, Trigger: pipeline.Trigger{SHA: order.Source.SHA, Actor: forge.User{Login: a.getenv("USER")}}}
	for _, v := range (&orders{cfg: cfg}).builtIn(&order, x, nil) {
		if v.Name != "CODEBUILD_BUILD_URL" {
			order.BuiltIn = append(order.BuiltIn, v)
		}
	}
	for _, kv := range o.env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return order, usage(fmt.Errorf("--env: want K=V, have %q", kv))
		}
		v := pipeline.Variable{Name: name, Value: value}
		switch {
		case ofTrigger(name):
			order.BuiltIn = append(order.BuiltIn, v)
		case strings.HasPrefix(name, "CODEBUILD_") && !strings.HasPrefix(name, "CODEBUILD_CONFIG_"):
			return order, usage(fmt.Errorf("--env: %s: the build sets it itself; of the names that begin with CODEBUILD_ want one of a trigger, such as CODEBUILD_WEBHOOK_EVENT, or of CODEBUILD_CONFIG_", name))
		default:
			order.Variables = append(order.Variables, v)
		}
	}
	return order, nil
}

// ofTrigger reports whether a server sets the variable by what started the
// build. Here nothing did, so that whoever tries a build may say what would.
func ofTrigger(name string) bool {
	switch name {
	case "CODEBUILD_INITIATOR", "CODEBUILD_SOURCE_VERSION", "CODEBUILD_RESOLVED_SOURCE_VERSION", "CODEBUILD_SOURCE_REPO_URL", "CODEBUILD_BUILD_NUMBER":
		return true
	}
	return strings.HasPrefix(name, "CODEBUILD_WEBHOOK_")
}

// headOf is the folder's commit and branch, if it is a git work tree.
func headOf(ctx context.Context, dir string) (sha, ref string) {
	git := func(to *string, args ...string) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		if err == nil {
			*to = strings.TrimSpace(string(out))
		}
	}
	var both sync.WaitGroup
	both.Go(func() { git(&sha, "rev-parse", "--verify", "-q", "HEAD") })
	both.Go(func() { git(&ref, "symbolic-ref", "-q", "HEAD") })
	both.Wait()
	return sha, ref
}

// localSink prints the log and keeps the artifacts.
type localSink struct {
	out       io.Writer
	dir, keep string
	manifest  json.RawMessage // of the build that has ended
	reports   []json.RawMessage
	kept      []string // folders of artifacts
}

func (s *localSink) Log(p []byte) error {
	_, err := s.out.Write(p)
	return err
}

func (s *localSink) Report(pipeline.Build) {}

func (s *localSink) Artifact(_ context.Context, a pipeline.Artifact, r io.Reader) (_ pipeline.Artifact, err error) {
	if a.Name == runner.ManifestArtifact {
		s.manifest, err = io.ReadAll(r)
		a.Bytes = int64(len(s.manifest))
		return a, err
	}
	if strings.HasPrefix(a.Name, runner.ReportArtifact) {
		data, err := io.ReadAll(r)
		a.Bytes, s.reports = int64(len(data)), append(s.reports, data)
		return a, err
	}
	dest := s.dir
	if dest == "" {
		dest = s.keep
	}
	if a.Name != buildArtifact || s.dir == "" {
		dest = filepath.Join(dest, a.Name)
	}
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return a, err
	}
	sum, err := archive.Unpack(r, dest, archive.Limits{}, nil)
	a.Bytes, a.Files, a.Digest = sum.Bytes, sum.Entries, sum.SHA256
	s.kept = append(s.kept, dest)
	return a, err
}

// writeReport writes what became of a build, its manifest and its reports.
func writeReport(path string, b pipeline.Build, s *localSink) error {
	data, err := json.MarshalIndent(struct {
		pipeline.Build
		Manifest json.RawMessage   `json:"manifest,omitempty"`
		Reports  []json.RawMessage `json:"reports,omitempty"`
	}{b, s.manifest, s.reports}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

func copyTree(from, to string) (string, error) {
	return to, errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.CopyFS(to, os.DirFS(from)))
}

// hostEnvironment is what a build on this host may inherit: what a shell
// needs, and nothing that may hold a secret.
func hostEnvironment(getenv func(string) string) []string {
	var out []string
	for _, name := range []string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME"} {
		if v := getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	slices.Sort(out)
	return out
}
