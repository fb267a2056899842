package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
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
	now         func() time.Time
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

// Build makes the order of a build.
func (o *orders) Build(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.BuildOrder, error) {
	src, err := sourceOrder(ctx, o.credentials, x.Repo, x.Trigger)
	if err != nil {
		return nil, err
	}
	p := project(o.cfg, x.Repo)
	number := 0
	if st := x.Stage(j.Stage); st != nil && st.Action(j.Action) != nil {
		number = st.Action(j.Action).Number
	}
	image := o.image(p)
	b := &pipeline.BuildOrder{
		ID: j.ID, Number: number, Project: x.Project, Source: src, Buildspec: p.Buildspec, Image: image,
		Timeout: j.Timeout, Trusted: j.Trusted, Privileged: p.Privileged && j.Trusted,
	}
	if c, ok := o.cfg.ComputeTypes[p.Compute]; ok {
		b.Limits = pipeline.Limits{CPUs: c.CPUs, MemoryBytes: c.MemoryMB << 20, Processes: c.Processes}
	}
	b.BuiltIn = o.builtIn(b, x)
	for name, value := range p.Variables {
		b.Variables = append(b.Variables, pipeline.Variable{Name: name, Value: value})
	}
	return b, nil
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
func (o *orders) builtIn(b *pipeline.BuildOrder, x pipeline.Execution) []pipeline.Variable {
	t := x.Trigger
	arn := "arn:aws:codebuild:" + region + ":" + account + ":"
	v := map[string]string{
		"AWS_DEFAULT_REGION": region, "AWS_REGION": region,
		"CODEBUILD_BUILD_ARN": arn + "build/" + x.Project + ":" + b.ID, "CODEBUILD_BUILD_ID": x.Project + ":" + b.ID,
		"CODEBUILD_BUILD_NUMBER": strconv.Itoa(b.Number), "CODEBUILD_BUILD_IMAGE": b.Image,
		"CODEBUILD_BUILD_URL":   o.cfg.ExternalURL + "/builds/" + b.ID,
		"CODEBUILD_PROJECT_ARN": arn + "project/" + x.Project, "CODEBUILD_LOG_PATH": b.ID,
		"CODEBUILD_INITIATOR":                t.UserAgent,
		"CODEBUILD_SOURCE_REPO_URL":          x.Repo.CloneURL,
		"CODEBUILD_SOURCE_VERSION":           t.SHA,
		"CODEBUILD_RESOLVED_SOURCE_VERSION":  t.SHA,
		"CODEBUILD_WEBHOOK_EVENT":            t.Event,
		"CODEBUILD_WEBHOOK_TRIGGER":          t.Name(),
		"CODEBUILD_WEBHOOK_HEAD_REF":         t.Ref,
		"CODEBUILD_WEBHOOK_BASE_REF":         "",
		"CODEBUILD_WEBHOOK_PREV_COMMIT":      t.Before,
		"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": t.Actor.ID,
		"CODEBUILD_WEBHOOK_MERGE_COMMIT":     "",
		"CODEBUILD_BATCH_BUILD_IDENTIFIER":   "",
		"SLIPWAY_EXECUTION_ID":               x.ID,
	}
	if t.Pull != nil {
		v["CODEBUILD_SOURCE_VERSION"] = t.Name()
		v["CODEBUILD_WEBHOOK_BASE_REF"] = "refs/heads/" + t.Pull.BaseRef
	}
	out := make([]pipeline.Variable, 0, len(v))
	for name, value := range v {
		out = append(out, pipeline.Variable{Name: name, Value: value})
	}
	return out
}

// Deploy makes the order of a deployment. Its revision is what the build made,
// or the source itself where no build made anything.
func (o *orders) Deploy(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.DeployOrder, error) {
	name := x.Pipeline.Config(j.Stage, j.Action, pipeline.ConfigGroup)
	g, ok := groupNamed(o.cfg, name)
	if !ok {
		return nil, &pipeline.UserError{Code: "DeploymentGroupDoesNotExistException", Msg: fmt.Sprintf("the server has no deployment group %q", name)}
	}
	d := &pipeline.DeployOrder{
		ID: j.ID, Application: g.Application, Group: g.Name, Commit: x.Trigger.SHA,
		FileExistsBehavior: g.FileExistsBehavior, IgnoreStopFailures: g.IgnoreStopFailures,
	}
	if d.Application == "" {
		d.Application = x.Repo.Name
	}
	for _, a := range x.Artifacts() {
		if a.Name == buildArtifact {
			d.Revision = a
			return d, nil
		}
	}
	var err error
	d.Revision, err = o.sourceBundle(ctx, x)
	return d, err
}

// buildArtifact is the name of a build's primary artifact.
const buildArtifact = "BuildArtifact"

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
	if !isBranch || t.Pull != nil || !t.Trusted {
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
		if ok, _ := path.Match(pattern, branch); ok {
			return true
		}
	}
	return false
}
