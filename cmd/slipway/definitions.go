package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

// repositoryFiles reads single files of a repository at a commit;
// pipeline.ErrNotFound if there is no such file, a *pipeline.UserError if the
// commit or the repository isn't there.
type repositoryFiles interface {
	ReadFile(ctx context.Context, o pipeline.SourceOrder, path string) ([]byte, error)
	// List is the regular files directly in a folder, by path.
	List(ctx context.Context, o pipeline.SourceOrder, folder string) ([]string, error)
}

// definitions finds the pipelines that a repository's pipeline files define, or
// implies one from what lies in the repository: Source, then Build if there is
// a buildspec, then Deploy if there is an appspec and the server has a
// deployment group for this branch (design, section 2).
type definitions struct {
	cfg         config.Config
	credentials credentials
	files       repositoryFiles
}

const (
	defaultBuildspec = "buildspec.yml"
	defaultAppspec   = "appspec.yml"
)

// Pipelines are those of the commit's pipeline files, or else the implied one,
// or none and why not.
func (d *definitions) Pipelines(ctx context.Context, repo forge.Repo, t pipeline.Trigger) ([]pipeline.Definition, string, error) {
	src, err := sourceOrder(ctx, d.credentials, repo, t)
	if err != nil {
		return nil, "", err
	}
	defined, err := d.fromFiles(ctx, src, repo, t)
	if err != nil || len(defined) > 0 {
		return defined, "", err
	}
	p := project(d.cfg, repo)
	spec, built, err := d.buildspec(ctx, src, p)
	if err != nil {
		return nil, "", err
	}
	batch := batchSettings(p, spec)
	group, deploys := groupFor(d.cfg, repo, t)
	if deploys {
		if deploys, err = d.has(ctx, src, defaultAppspec); err != nil {
			return nil, "", err
		}
	}
	if !built && !deploys {
		return nil, fmt.Sprintf("there is no %s at commit %s", orDefault(p.Buildspec, defaultBuildspec), pipeline.ShortSHA(t.SHA)), nil
	}
	def := pipeline.Pipeline{
		Name: pipeline.DefaultPipeline, Mode: pipeline.ParallelMode, Implied: true, Check: p.StatusContext,
		Stages: []pipeline.Stage{{Name: "Source", Actions: []pipeline.Action{pipeline.SourceAction()}}},
	}
	if built {
		def.Stages = append(def.Stages, d.buildStage(p, batch))
	}
	if deploys {
		if batch != nil {
			batch.Combine = true // there is one revision to deploy
		}
		// Deployments keep the order of the pushes, so executions do.
		def.Mode = pipeline.QueuedMode
		def.Stages = append(def.Stages, deployStage(group))
	}
	return []pipeline.Definition{{Project: projectName(p, repo), Pipeline: def, Filters: p.Groups()}}, "", nil
}

// buildspec is the text of the project's buildspec, and whether there is to be
// a build.
func (d *definitions) buildspec(ctx context.Context, src pipeline.SourceOrder, p config.Project) (spec []byte, built bool, err error) {
	if strings.Contains(p.Buildspec, "\n") {
		return []byte(p.Buildspec), true, nil
	}
	spec, err = d.files.ReadFile(ctx, src, orDefault(p.Buildspec, defaultBuildspec))
	if errors.Is(err, pipeline.ErrNotFound) {
		// A missing file that the project names is a mistake that its build
		// reports; there is nothing to imply.
		return nil, p.Buildspec != "", nil
	}
	return spec, err == nil, err
}

func (d *definitions) has(ctx context.Context, src pipeline.SourceOrder, path string) (bool, error) {
	_, err := d.files.ReadFile(ctx, src, path)
	if errors.Is(err, pipeline.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (d *definitions) buildStage(p config.Project, batch *pipeline.BatchSettings) pipeline.Stage {
	a := pipeline.Action{
		Name: "Build", Category: pipeline.BuildCat, Provider: "CodeBuild", RunOrder: 1,
		Inputs: []string{"SourceArtifact"}, Outputs: []string{buildArtifact},
		Timeout: p.Timeout, Labels: strings.Join(config.Labels(p.Labels), ","), Compute: p.Compute, Concurrency: p.Concurrency, QueuedTimeout: p.QueuedTimeout, Batch: batch,
	}
	if a.Timeout == 0 {
		a.Timeout = d.cfg.Limits.BuildTimeout
	}
	return pipeline.Stage{Name: "Build", Actions: []pipeline.Action{a}}
}

// deployTimeout is CodeDeploy's limit of an in-place deployment (CodeDeploy
// reference 2.4).
const deployTimeout = 8 * time.Hour

func deployStage(g config.DeploymentGroup) pipeline.Stage {
	return pipeline.Stage{Name: "Deploy", Actions: []pipeline.Action{{
		Name: "Deploy", Category: pipeline.Deploy, Provider: "CodeDeploy", RunOrder: 1,
		Inputs: []string{buildArtifact}, Timeout: deployTimeout, Labels: g.Name, Concurrency: 1,
		Configuration: map[string]string{pipeline.ConfigGroup: g.Name},
	}}}
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
