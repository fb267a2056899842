package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store/secrets"
)

// credentials make what git needs to read one repository: a user and a
// password, both empty for a public one.
type credentials interface {
	Clone(ctx context.Context, repo forge.Repo, installation int64) (user, password string, err error)
}

// bundler makes a deployable bundle of a repository at a commit.
type bundler interface {
	Bundle(ctx context.Context, o pipeline.SourceOrder, w io.Writer) error
}

// blobs hold bundles by their digest.
type blobs interface {
	Put(ctx context.Context, r io.Reader) (digest string, bytes int64, err error)
}

// orders make what a worker needs of a job, from the execution and the
// server's configuration.
type orders struct {
	cfg         config.Config
	credentials credentials
	bundler     bundler
	blobs       blobs
	files       repositoryFiles
	// lends reports whether the credential of a repository reads that repository
	// and nothing else, so that a build may have it; nil: none does.
	lends   func(repo forge.Repo) bool
	secrets secrets.Source
	now     func() time.Time
}

// project is the settings of a repository's project: those of the
// configuration, or none.
func project(cfg config.Config, repo forge.Repo) config.Project {
	for _, p := range cfg.Projects {
		if strings.EqualFold(p.Repository, repo.Forge+"/"+repo.FullName()) {
			return p
		}
	}
	return config.Project{}
}

func projectName(p config.Project, repo forge.Repo) string {
	if p.Name == "" || p.Name == "default" {
		return repo.Slug()
	}
	return repo.Slug() + "-" + p.Name
}

// sourceOrder says how to fetch the execution's commit.
func sourceOrder(ctx context.Context, c credentials, repo forge.Repo, t pipeline.Trigger) (pipeline.SourceOrder, error) {
	user, password, err := c.Clone(ctx, repo, t.Installation)
	if err != nil && !errors.Is(err, forge.ErrNoCredentials) {
		return pipeline.SourceOrder{}, fmt.Errorf("getting a credential for %s: %w", repo.FullName(), err)
	}
	return pipeline.SourceOrder{
		Repo: repo, URL: repo.CloneURL, User: user, Password: password, SHA: t.SHA, FetchRef: t.FetchRef,
	}, nil
}

// Build makes the order of a build: of a buildspec, or of the commands that a
// pipeline file lists.
func (o *orders) Build(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.BuildOrder, error) {
	act, err := actionOf(j, x)
	if err != nil {
		return nil, err
	}
	p, err := o.projectOf(act, x)
	if err != nil {
		return nil, err
	}
	src, err := sourceOrder(ctx, o.credentials, x.Repo, x.Trigger)
	if err != nil {
		return nil, err
	}
	src.Lend = j.Trusted && o.lends != nil && o.lends(x.Repo)
	b := &pipeline.BuildOrder{
		ID: j.ID, Number: act.exec.Number, Project: projectName(p, x.Repo), Source: src, Image: o.image(p),
		Buildspec: cmp.Or(act.set.Configuration[pipeline.ConfigBuildspec], p.Buildspec),
		Timeout:   cmp.Or(j.Timeout, o.cfg.Limits.BuildTimeout), Trusted: j.Trusted,
		Retried: act.exec.Retried, SecondaryOnly: len(act.def.Outputs) > 1, StrictShell: p.StrictShell,
	}
	if x.Pipeline.Implied {
		b.AutoRetry = p.AutoRetry
	}
	if act.def.Provider == pipeline.CommandsProvider {
		if b.Buildspec, err = commandsSpec(act); err != nil {
			return nil, err
		}
	}
	b.Limits = o.limits(j.Compute, p.Compute)
	if err := o.beside(ctx, b, p); err != nil {
		return nil, err
	}
	b.Privileged = b.Privileged && act.mayBePrivileged()
	if b.Inputs, err = inputsOf(j, x); err != nil {
		return nil, err
	}
	b.BuiltIn = o.builtIn(b, x, act.def.Task)
	given := p.Variables
	if !j.Trusted {
		given = nil // nobody knows what a stranger's build does with them
	}
	for _, set := range []map[string]string{given, act.set.Environment} {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			b.Variables = append(b.Variables, pipeline.Variable{Name: name, Value: set[name]})
		}
	}
	b.Stored, err = o.stored(ctx, b, p)
	return b, err
}

// action is one action or rule of an execution: its definition, its present attempt,
// and its settings with their variables filled in.
type action struct {
	def  pipeline.Action
	exec pipeline.ActionExecution
	set  pipeline.Settings
}

func actionOf(j pipeline.Job, x pipeline.Execution) (action, error) {
	def, exec, ok := x.Task(j.Stage, j.Action)
	if !ok {
		return action{}, fmt.Errorf("execution %s has no action %s in stage %s", x.ID, j.Action, j.Stage)
	}
	a := action{def: def, exec: exec}
	if a.set = (pipeline.Settings{Configuration: def.Configuration, Commands: def.Commands, Environment: def.Environment}); exec.Resolved != nil {
		a.set = *exec.Resolved
	}
	return a, nil
}

// projectOf is the project that an action builds in: the one that it names, of
// the execution's own repository, or the repository's.
func (o *orders) projectOf(a action, x pipeline.Execution) (config.Project, error) {
	name := a.set.Configuration[pipeline.ConfigProject]
	p := project(o.cfg, x.Repo)
	if name != "" {
		own := func(p config.Project) bool {
			return strings.EqualFold(p.Repository, x.Repo.Forge+"/"+x.Repo.FullName()) && cmp.Or(p.Name, "default") == name
		}
		i := slices.IndexFunc(o.cfg.Projects, own)
		if i < 0 {
			return p, &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: fmt.Sprintf("the server has no project %q for %s", name, x.Repo.FullName())}
		}
		p = o.cfg.Projects[i]
	}
	if image := a.set.Configuration[pipeline.ConfigImage]; image != "" {
		p.Image = image
	}
	return p, nil
}

// inputsOf are the artifacts that a build takes in; none if that is the commit
// alone.
func inputsOf(j pipeline.Job, x pipeline.Execution) ([]pipeline.Input, error) {
	list, err := x.Inputs(j.Stage, j.Action)
	if len(list) == 1 && list[0].Source {
		return nil, err
	}
	return list, err
}

// commandsSpec is the buildspec of a run action. What it leaves is its folder.
func commandsSpec(a action) (string, error) {
	if len(a.set.Commands) == 0 {
		return "", &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: "the action has no commands"}
	}
	if len(a.def.Outputs) > 1 {
		return "", &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: "a run action has one output artifact at most"}
	}
	spec := map[string]any{
		"version": 0.2,
		"phases":  map[string]any{"build": map[string]any{"commands": a.set.Commands}},
	}
	if len(a.def.Exports) > 0 {
		spec["env"] = map[string]any{"exported-variables": a.def.Exports}
	}
	if len(a.def.Outputs) > 0 {
		spec["artifacts"] = map[string]any{"files": []string{"**/*"}}
	}
	text, err := json.MarshalIndent(spec, "", " ") // JSON is YAML
	return string(text), err
}

// HTTP makes the order of a request.
func (o *orders) HTTP(_ context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.HTTPOrder, error) {
	a, err := actionOf(j, x)
	if err != nil {
		return nil, err
	}
	set := a.set.Configuration
	order := &pipeline.HTTPOrder{
		ID: j.ID, Method: cmp.Or(set[pipeline.ConfigMethod], "POST"), URL: set[pipeline.ConfigURL], Body: set[pipeline.ConfigBody], Timeout: j.Timeout,
	}
	if a.def.Category == pipeline.Rule {
		if err := ruleOrder(o.cfg, a, order); err != nil {
			return nil, err
		}
	}
	if order.URL == "" {
		return nil, &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: "the action has no url"}
	}
	return order, nil
}

// standardImage is what a build runs in that names no image: the one that AWS
// publishes for CodeBuild.
const standardImage = "public.ecr.aws/codebuild/amazonlinux-x86_64-standard:5.0"

// standardImages are what CodeBuild's own names stand for, unless the
// configuration says otherwise.
var standardImages = map[string]string{
	"aws/codebuild/standard:5.0":                      standardImage,
	"aws/codebuild/standard:6.0":                      standardImage,
	"aws/codebuild/standard:7.0":                      standardImage,
	"aws/codebuild/amazonlinux-x86_64-standard:5.0":   standardImage,
	"aws/codebuild/amazonlinux2-x86_64-standard:4.0":  "public.ecr.aws/codebuild/amazonlinux2-x86_64-standard:4.0",
	"aws/codebuild/amazonlinux2-x86_64-standard:5.0":  "public.ecr.aws/codebuild/amazonlinux2-x86_64-standard:5.0",
	"aws/codebuild/amazonlinux2-aarch64-standard:3.0": "public.ecr.aws/codebuild/amazonlinux2-aarch64-standard:3.0",
	"aws/codebuild/amazonlinux-aarch64-standard:3.0":  "public.ecr.aws/codebuild/amazonlinux-aarch64-standard:3.0",
}

func (o *orders) image(p config.Project) string {
	name := p.Image
	if name == "" {
		name = o.cfg.Image
	}
	if name == "" {
		name = standardImage
	}
	return resolveImage(o.cfg.Images, name)
}

func resolveImage(aliases map[string]string, name string) string {
	if real, ok := aliases[name]; ok {
		return real
	}
	if real, ok := standardImages[name]; ok {
		return real
	}
	return name
}

// region and account stand where AWS would name its own.
const (
	region  = "local"
	account = "000000000000"
)

// builtIn are the CODEBUILD_* variables that the server knows (CodeBuild
// reference 3.3 and 3.4); the runner adds what only it knows.
func (o *orders) builtIn(b *pipeline.BuildOrder, x pipeline.Execution, task *pipeline.Task) []pipeline.Variable {
	t := x.Trigger
	arn := "arn:aws:codebuild:" + region + ":" + account + ":"
	v := map[string]string{
		"AWS_DEFAULT_REGION": region, "AWS_REGION": region,
		"CODEBUILD_BUILD_ARN": arn + "build/" + x.Project + ":" + b.ID, "CODEBUILD_BUILD_ID": x.Project + ":" + b.ID,
		"CODEBUILD_BUILD_NUMBER": strconv.Itoa(b.Number), "CODEBUILD_BUILD_IMAGE": b.Image,
		"CODEBUILD_BUILD_URL":   o.cfg.ExternalURL + "/builds/" + b.ID,
		"CODEBUILD_PROJECT_ARN": arn + "project/" + x.Project, "CODEBUILD_LOG_PATH": b.ID,
		"CODEBUILD_INITIATOR":               cmp.Or(t.UserAgent, t.Actor.Login),
		"CODEBUILD_SOURCE_REPO_URL":         x.Repo.CloneURL,
		"CODEBUILD_SOURCE_VERSION":          t.SHA,
		"CODEBUILD_RESOLVED_SOURCE_VERSION": t.SHA,
		"CODEBUILD_BATCH_BUILD_IDENTIFIER":  "",
		"SLIPWAY_EXECUTION_ID":              x.ID,
	}
	if task != nil {
		v["CODEBUILD_BATCH_BUILD_IDENTIFIER"] = task.ID
	}
	maps.Copy(v, webhookVariables(t))
	out := make([]pipeline.Variable, 0, len(v))
	for name, value := range v {
		out = append(out, pipeline.Variable{Name: name, Value: value})
	}
	return out
}

// webhookVariables are those that only a build has which a webhook started: not
// one that a person or a schedule did (CodeBuild reference 3.4).
func webhookVariables(t pipeline.Trigger) map[string]string {
	if t.Event == "" && t.Pull == nil {
		return nil
	}
	v := map[string]string{
		"CODEBUILD_WEBHOOK_EVENT":            t.Event,
		"CODEBUILD_WEBHOOK_TRIGGER":          t.Name(),
		"CODEBUILD_WEBHOOK_HEAD_REF":         t.Ref,
		"CODEBUILD_WEBHOOK_BASE_REF":         "",
		"CODEBUILD_WEBHOOK_PREV_COMMIT":      t.Before,
		"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": t.Actor.ID,
		"CODEBUILD_WEBHOOK_MERGE_COMMIT":     "",
	}
	if t.Pull != nil {
		v["CODEBUILD_SOURCE_VERSION"] = t.Name()
		v["CODEBUILD_WEBHOOK_BASE_REF"] = "refs/heads/" + t.Pull.BaseRef
	}
	return v
}

// Deploy makes the order of a deployment. Its revision is what the build made,
// or the source itself where no build made anything.
func (o *orders) Deploy(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.DeployOrder, error) {
	act, err := actionOf(j, x)
	if err != nil {
		return nil, err
	}
	name := act.set.Configuration[pipeline.ConfigGroup]
	g, ok := groupNamed(o.cfg, name)
	if !ok {
		return nil, &pipeline.UserError{Code: "DeploymentGroupDoesNotExistException", Msg: fmt.Sprintf("the server has no deployment group %q", name)}
	}
	if err := mayDeploy(g, x.Repo, x.Trigger); err != nil {
		return nil, err
	}
	d := &pipeline.DeployOrder{
		ID: j.ID, Application: g.Application, Group: g.Name, Commit: x.Trigger.SHA,
		FileExistsBehavior: g.FileExistsBehavior, OnDrift: g.OnDrift, IgnoreStopFailures: g.IgnoreStopFailures,
	}
	d.Application = cmp.Or(act.set.Configuration[pipeline.ConfigApplication], d.Application, x.Repo.Name)
	inputs, err := x.Inputs(j.Stage, j.Action)
	if err != nil {
		return nil, err
	}
	if len(inputs) > 0 && !inputs[0].Source {
		d.Revision = inputs[0].Artifact
		return d, nil
	}
	d.Revision, err = o.sourceBundle(ctx, x)
	return d, err
}

// buildArtifact is the name of a build's primary artifact.
const buildArtifact = pipeline.BuildArtifact

func (o *orders) sourceBundle(ctx context.Context, x pipeline.Execution) (pipeline.Artifact, error) {
	a := pipeline.Artifact{Name: "SourceArtifact", Format: "tar"}
	src, err := sourceOrder(ctx, o.credentials, x.Repo, x.Trigger)
	if err != nil {
		return a, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(o.bundler.Bundle(ctx, src, w))
	}()
	a.Digest, a.Bytes, err = o.blobs.Put(ctx, r)
	r.CloseWithError(err)
	<-done
	if err != nil {
		return a, fmt.Errorf("bundling the source: %w", err)
	}
	return a, nil
}

func groupNamed(cfg config.Config, name string) (config.DeploymentGroup, bool) {
	for _, g := range cfg.DeploymentGroups {
		if g.Name == name {
			return g, true
		}
	}
	return config.DeploymentGroup{}, false
}

// groupFor is the group that a push to the branch is deployed to.
func groupFor(cfg config.Config, repo forge.Repo, t pipeline.Trigger) (config.DeploymentGroup, bool) {
	branch, isBranch := strings.CutPrefix(t.Ref, "refs/heads/")
	if !isBranch || t.Unmerged() || !t.Trusted {
		return config.DeploymentGroup{}, false
	}
	for _, g := range cfg.DeploymentGroups {
		if strings.EqualFold(g.Repository, repo.Forge+"/"+repo.FullName()) && deploysBranch(g, repo, branch) {
			return g, true
		}
	}
	return config.DeploymentGroup{}, false
}

func deploysBranch(g config.DeploymentGroup, repo forge.Repo, branch string) bool {
	if len(g.Branches) == 0 {
		return branch == repo.DefaultBranch
	}
	for _, pattern := range g.Branches {
		if ok, _ := pipeline.Matches(pattern, branch); ok { // the configuration was checked
			return true
		}
	}
	return false
}
