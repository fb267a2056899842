package main

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/specfile"
	"github.com/slipway-ci/slipway/pipeline"
)

// pipelineFileError is the code of mistakes that concern a whole file.
const pipelineFileError = "PIPELINE_FILE_ERROR"

// fromFiles reads the pipeline files of the commit; none if it has none. A pull
// request from elsewhere is held to those of the base branch: its author must
// not choose what runs.
func (d *definitions) fromFiles(ctx context.Context, src pipeline.SourceOrder, repo forge.Repo, t pipeline.Trigger) ([]pipeline.Definition, error) {
	if t.Pull != nil && !t.Pull.Internal() {
		src.SHA, src.FetchRef = t.Pull.BaseSHA, "refs/heads/"+t.Pull.BaseRef
	}
	files, err := d.files.List(ctx, src, pipeline.FileFolder)
	if err != nil {
		return nil, err
	}
	p := project(d.cfg, repo)
	var all []pipeline.Definition
	seen := map[string]string{}
	count := 0
	for _, name := range files {
		switch path.Ext(name) {
		case pipeline.FileSuffix:
		case ".yaml":
			all = append(all, brokenFile(projectName(p, repo), name, "pipeline files end in .yml: rename it"))
			continue
		default:
			continue
		}
		if count++; count > pipeline.MaxFiles {
			all = append(all, brokenFile(projectName(p, repo), name, fmt.Sprintf("there are more than %d pipeline files", pipeline.MaxFiles)))
			break
		}
		data, err := d.files.ReadFile(ctx, src, name)
		if err != nil {
			return nil, err
		}
		for _, f := range pipeline.ParseFile(name, data) {
			if other, twice := seen[f.Pipeline.Name]; twice && other != name {
				f.Problems = append(f.Problems, specfile.Problem{Line: 1, Column: 1, Severity: specfile.Error, Code: "SP108",
					Message: fmt.Sprintf("a pipeline of %s is called %s too", other, f.Pipeline.Name)})
			}
			if _, twice := seen[f.Pipeline.Name]; twice {
				f.Pipeline.Name += "-2" // its check must not hide the other's
			}
			seen[f.Pipeline.Name] = name
			all = append(all, d.define(f, repo, p))
		}
	}
	return all, nil
}

func brokenFile(project, name, why string) pipeline.Definition {
	return broken(pipeline.FilePipeline{
		Pipeline: pipeline.Pipeline{Name: strings.TrimSuffix(path.Base(name), path.Ext(name)), File: name},
		Problems: specfile.Problems{{Line: 1, Column: 1, Severity: specfile.Error, Code: pipelineFileError, Message: why}},
	}, project)
}

// define is what the server makes of a pipeline: the mistakes that only it can
// see are added, and what its configuration says of projects and groups.
func (d *definitions) define(f pipeline.FilePipeline, repo forge.Repo, p config.Project) pipeline.Definition {
	f.Problems = append(f.Problems, d.mistakes(f, repo)...)
	if f.Problems.HasErrors() {
		return broken(f, projectName(p, repo))
	}
	f.Pipeline.MaxExecutions = d.cfg.Limits.Executions
	for i := range f.Pipeline.Stages {
		st := &f.Pipeline.Stages[i]
		for j := range st.Actions {
			d.equip(&st.Actions[j], repo, p)
		}
		for _, h := range []pipeline.Hook{pipeline.BeforeEntryHook, pipeline.OnSuccessHook, pipeline.OnFailureHook} {
			if c := st.Condition(h); c != nil {
				for j := range c.Rules {
					d.equip(&c.Rules[j], repo, p)
				}
			}
		}
		d.protect(&f.Pipeline.Stages[i], repo)
	}
	return pipeline.Definition{
		Project: projectName(p, repo), Pipeline: f.Pipeline, Triggers: &f.Triggers, Annotations: annotations(f),
	}
}

// protect has the server say who approves in a stage that deploys to one of its
// environments. Where approvers are set and the stage asks nobody, it asks them
// first: leaving out the question is no way around them.
func (d *definitions) protect(s *pipeline.Stage, repo forge.Repo) {
	env := d.cfg.Environment(repo.Forge+"/"+repo.FullName(), s.Environment)
	if s.Environment == "" || env == nil || len(env.Approvers) == 0 {
		return
	}
	first, asks := 0, false
	for j := range s.Actions {
		a := &s.Actions[j]
		first = min(first, a.RunOrder-1)
		if a.Category == pipeline.Approval {
			a.Approvers, asks = env.Approvers, true
		}
	}
	if !asks {
		s.Actions = append([]pipeline.Action{{
			Name: "approve-" + s.Environment, Category: pipeline.Approval, Provider: pipeline.ManualProvider, RunOrder: first, Approvers: env.Approvers,
			Configuration: map[string]string{pipeline.ConfigMessage: "Deploy #{codepipeline.PipelineExecutionId} to " + s.Environment + "?"},
		}}, s.Actions...)
	}
}

// equip gives an action the place in the queue that its project or deployment
// group has.
func (d *definitions) equip(a *pipeline.Action, repo forge.Repo, p config.Project) {
	switch a.Provider {
	case pipeline.CodeBuildProvider, pipeline.CommandsProvider:
		if own, ok := projectNamed(d.cfg, repo, a.Configuration[pipeline.ConfigProject]); ok {
			p = own
		}
		a.Labels, a.Compute, a.Concurrency = strings.Join(config.Labels(p.Labels), ","), p.Compute, p.Concurrency
		a.QueuedTimeout = p.QueuedTimeout
		a.Timeout = cmp.Or(a.Timeout, p.Timeout, d.cfg.Limits.BuildTimeout)
		if a.Batch != nil {
			a.Batch.Timeout = p.Batch.Timeout
		}
	case pipeline.CodeDeployProvider:
		a.Labels, a.Concurrency = a.Configuration[pipeline.ConfigGroup], 1
		a.Timeout = cmp.Or(a.Timeout, deployTimeout)
	}
}

// projectNamed is a project of the repository.
func projectNamed(cfg config.Config, repo forge.Repo, name string) (config.Project, bool) {
	i := slices.IndexFunc(cfg.Projects, func(p config.Project) bool {
		return name != "" && strings.EqualFold(p.Repository, repo.Forge+"/"+repo.FullName()) && cmp.Or(p.Name, "default") == name
	})
	if i < 0 {
		return config.Project{}, false
	}
	return cfg.Projects[i], true
}

// mistakes are names that the server doesn't know, or that aren't this
// repository's: another one's deployment group is none of its business, nor
// are the secrets of another one's project.
func (d *definitions) mistakes(f pipeline.FilePipeline, repo forge.Repo) specfile.Problems {
	var found specfile.Problems
	for _, s := range f.Pipeline.Stages {
		for _, a := range s.Tasks() {
			add := func(key, format string, args ...any) {
				line, column := f.At(s.Name, a.Name, key)
				found = append(found, specfile.Problem{Line: line, Column: column, Severity: specfile.Error, Code: "SP203", Message: fmt.Sprintf(format, args...)})
			}
			if name := a.Configuration[pipeline.ConfigProject]; name != "" {
				if _, ok := projectNamed(d.cfg, repo, name); !ok {
					add(pipeline.ConfigProject, "the server has no project %q for %s", name, repo.FullName())
				}
			}
			for _, target := range a.Notify {
				if !d.cfg.Notifications.Has(target) {
					add(pipeline.ConfigNotify, "the server has no notification target %q", target)
				}
			}
			if source := sourceName(repo, a); source != "" && !d.cfg.Takes(repo.Forge+"/"+repo.FullName(), source) {
				add(pipeline.ConfigSource, "the server lets no project of %s take in %s: sources of the project lists what it may", repo.FullName(), source)
			}
			name := a.Configuration[pipeline.ConfigGroup]
			if a.Provider != pipeline.CodeDeployProvider || name == "" {
				continue
			}
			if g, ok := groupNamed(d.cfg, name); !ok || !groupServes(g, repo) {
				add(pipeline.ConfigGroup, "the server has no deployment group %q for %s", name, repo.FullName())
			}
		}
	}
	return found
}

func groupServes(g config.DeploymentGroup, repo forge.Repo) bool {
	return strings.EqualFold(g.Repository, repo.Forge+"/"+repo.FullName())
}

// mayDeploy keeps a pipeline file from deploying what its group isn't for: the
// server's configuration says which repository and branches that is. A tag needs
// a pattern that begins with refs/tags/. A pull request deploys only to the
// environment for which somebody who may has asked (/deploy), and only if its
// own branch may.
func mayDeploy(g config.DeploymentGroup, repo forge.Repo, t pipeline.Trigger) error {
	branch, isBranch := strings.CutPrefix(t.Ref, "refs/heads/")
	allowed := isBranch && deploysBranch(g, repo, branch) || !isBranch && len(g.Branches) > 0 && deploysBranch(g, repo, t.Ref)
	switch {
	case !groupServes(g, repo):
		return &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: fmt.Sprintf("deployment group %q is not for %s", g.Name, repo.FullName())}
	case t.Event == pipeline.MergeGroupEvent:
		return &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: "what a merge queue checks is not deployed to group " + g.Name + ": it is not merged yet"}
	case !t.Trusted, t.Pull != nil && (t.DeployTo == "" || t.DeployTo != g.Environment):
		msg := "a pull request is not deployed to group " + g.Name
		if t.Trusted && g.Environment != "" {
			msg += " unless somebody asks for it: /deploy " + g.Environment
		}
		return &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: msg}
	case !allowed:
		return &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: fmt.Sprintf("deployment group %q is not for %s: the server's configuration says which branches are", g.Name, t.Ref)}
	}
	return nil
}

// broken is the definition of a pipeline whose file has mistakes: an execution
// that fails in its Source stage, with all of them.
func broken(f pipeline.FilePipeline, project string) pipeline.Definition {
	errs := f.Problems.Errors()
	errs.Sort()
	problem := &pipeline.UserError{Code: pipelineFileError, File: f.Pipeline.File, Line: errs[0].Line, Column: errs[0].Column, Msg: errs[0].Text()}
	if more := len(errs) - 1; more > 0 {
		problem.Msg += fmt.Sprintf("; and %d more", more)
	}
	return pipeline.Definition{
		Project: project, Triggers: &f.Triggers, Problem: problem, Annotations: annotations(f),
		Pipeline: pipeline.Pipeline{
			Name: f.Pipeline.Name, Mode: pipeline.ParallelMode, File: f.Pipeline.File,
			Stages: []pipeline.Stage{{Name: "Source", Actions: []pipeline.Action{pipeline.SourceAction()}}},
		},
	}
}

// annotations show all mistakes at their places.
func annotations(f pipeline.FilePipeline) []forge.Annotation {
	var out []forge.Annotation
	for _, p := range f.Problems {
		level := "failure"
		if p.Severity == specfile.Warning {
			level = "warning"
		}
		out = append(out, forge.Annotation{
			Path: f.Pipeline.File, StartLine: p.Line, EndLine: p.Line, Column: p.Column, Level: level, Title: p.Code, Message: p.Text(),
		})
	}
	return out
}
