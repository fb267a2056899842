package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/specfile"
	"github.com/slipway-ci/slipway/internal/worker"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/runner/buildspec"
)

// batches do what a batch needs beside its builds, in the server's own process:
// they read its buildspec (CodeBuild reference 7.1, DOWNLOAD_BATCHSPEC), and
// combine what its tasks made (COMBINE_ARTIFACTS).
type batches struct {
	files   repositoryFiles
	combine combiner
}

const (
	// batchSlots is how many batches a server reads or combines at a time.
	batchSlots = 4
	// readTimeout and combineTimeout bound one of them.
	readTimeout    = 5 * time.Minute
	combineTimeout = time.Hour
)

// run works until ctx ends.
func (b batches) run(ctx context.Context, cfg config.Config, control pipeline.Control, log *slog.Logger) error {
	return worker.Run(ctx, worker.Options{
		Control: control, Log: log, Drain: cfg.Limits.Drain,
		Worker: pipeline.Worker{
			ID: uuid.NewString(), Name: "server", Kind: pipeline.BatchJob, Slots: batchSlots, Version: version,
			Classes: []string{pipeline.ClassOf(pipeline.BatchJob, "", "")},
		},
		Do: b.do,
	})
}

func (b batches) do(ctx context.Context, job pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
	phase, limit := "DOWNLOAD_BATCHSPEC", readTimeout
	if job.Batch != nil && job.Batch.Combines {
		phase, limit = "COMBINE_ARTIFACTS", combineTimeout
	}
	record := pipeline.Build{Status: pipeline.BuildInProgress, CurrentPhase: phase, StartedAt: time.Now().UTC()}
	record.Phases = []pipeline.Phase{{Type: phase, Status: pipeline.BuildInProgress, StartTime: record.StartedAt, LogLine: 1}}
	s.Report(record)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, pipeline.ErrTimedOut)
	defer cancel()
	say := func(format string, args ...any) {
		// A log that can't be kept doesn't keep the batch from being read.
		_ = s.Log([]byte(fmt.Sprintf(format, args...) + "\n"))
	}
	var out pipeline.Outcome
	var err error
	switch {
	case job.Batch == nil:
		err = errors.New("the job has no order")
	case job.Batch.Combines:
		out, err = b.combine.combine(ctx, job, say)
	default:
		out, err = b.read(ctx, *job.Batch, say)
	}
	if err != nil {
		out = preparationFailure(ctx, err, "preparing the batch failed")
		say("%s", out.Message)
	}
	record.Close(out.Status, out.Code, out.Message, time.Now().UTC())
	record.Artifacts = out.Artifacts
	return record, out
}

// preparationFailure is how the server's own work for an action ends that it
// could not do; fault is said of what isn't its author's mistake.
func preparationFailure(ctx context.Context, err error, fault string) pipeline.Outcome {
	cause := context.Cause(ctx)
	if mistake, ok := errors.AsType[*pipeline.UserError](err); ok {
		return pipeline.Outcome{Status: pipeline.BuildFailed, Code: cmp.Or(mistake.Code, pipeline.JobFailed), Message: mistake.Error()}
	}
	switch {
	case errors.Is(cause, pipeline.ErrStopped), errors.Is(cause, pipeline.ErrTimedOut):
		return pipeline.Outcome{Status: pipeline.BuildStatusOf(cause), Message: cause.Error()}
	case cause != nil:
		return pipeline.Outcome{Status: pipeline.BuildFault, Message: "the server is shutting down"}
	}
	return pipeline.Outcome{Status: pipeline.BuildFault, Message: fault}
}

// read reads a batch's buildspec at its commit.
func (b batches) read(ctx context.Context, o pipeline.BatchOrder, say func(string, ...any)) (pipeline.Outcome, error) {
	name, data := "", []byte(o.Buildspec)
	if !strings.Contains(o.Buildspec, "\n") {
		name = cmp.Or(o.Buildspec, defaultBuildspec)
		say("Reading %s at commit %s", name, o.Source.SHA)
		var err error
		data, err = b.files.ReadFile(ctx, o.Source, name)
		if errors.Is(err, pipeline.ErrNotFound) {
			return pipeline.Outcome{}, &pipeline.UserError{Code: buildspec.StatusCode, Msg: "YAML file does not exist: " + name}
		}
		if err != nil {
			return pipeline.Outcome{}, err
		}
	}
	out := pipeline.Outcome{Status: pipeline.BuildSucceeded}
	spec, problems := buildspec.Parse(cmp.Or(name, "buildspec"), data, buildspec.Options{})
	for _, p := range problems.Warnings() {
		say("Warning: %s:%d:%d: %s", cmp.Or(name, "buildspec"), p.Line, p.Column, p.Text())
	}
	made := expansion{order: o}
	if spec != nil {
		problems = append(problems[:0:0], made.expand(spec)...)
	}
	for _, p := range problems.Errors() {
		say("%s:%d:%d: %s", cmp.Or(name, "buildspec"), p.Line, p.Column, p.Text())
	}
	if name != "" {
		out.Annotations = annotated(name, problems)
	}
	if errs := problems.Errors(); len(errs) > 0 {
		mistake := &pipeline.UserError{Code: cmp.Or(errs[0].Code, buildspec.StatusCode), Msg: errs[0].Text(), File: name, Line: errs[0].Line, Column: errs[0].Column}
		out.Status, out.Code, out.Message = pipeline.BuildFailed, buildspec.StatusCode, mistake.Error()
		return out, nil
	}
	for _, p := range problems.Warnings() {
		say("Warning: %s:%d:%d: %s", cmp.Or(name, "buildspec"), p.Line, p.Column, p.Text())
	}
	out.Batch = &made.batch
	describe(made.batch, say)
	return out, nil
}

func describe(b pipeline.Batch, say func(string, ...any)) {
	say("%s of %d builds", b.Kind, len(b.Tasks))
	for _, t := range b.Tasks {
		line := t.ID
		if len(t.DependsOn) > 0 {
			line += " after " + strings.Join(t.DependsOn, ", ")
		}
		say("  %s", line)
	}
}

// annotated are a file's problems as the forge shows them.
func annotated(file string, problems specfile.Problems) []forge.Annotation {
	var out []forge.Annotation
	for _, p := range problems {
		level := "failure"
		if p.Severity == specfile.Warning {
			level = "warning"
		}
		if len(out) < maxBatchAnnotations {
			out = append(out, forge.Annotation{Path: file, StartLine: p.Line, EndLine: p.Line, Column: p.Column, Level: level, Title: "buildspec", Message: p.Text()})
		}
	}
	return out
}

const maxBatchAnnotations = 50

// batchLimitBytes bounds a batch as it is stored. A matrix of long values makes
// much of a short file.
const batchLimitBytes = 512 << 10

// expansion makes a pipeline's batch of a buildspec's.
type expansion struct {
	order    pipeline.BatchOrder
	batch    pipeline.Batch
	problems specfile.Problems
}

func (x *expansion) report(severity specfile.Severity, line int, format string, args ...any) {
	x.problems = append(x.problems, specfile.Problem{Line: max(line, 1), Column: 1, Severity: severity, Code: buildspec.StatusCode, Message: fmt.Sprintf(format, args...)})
}

// expand answers with what is wrong with the batch on this server. Its tasks
// are as if no artifacts had to be combined.
func (x *expansion) expand(spec *buildspec.Spec) specfile.Problems {
	b := spec.Batch
	switch {
	case b == nil || len(b.Tasks) == 0:
		x.report(specfile.Error, 1, "this build is to be a batch, and the buildspec has no batch block that lists builds")
		return x.problems
	case len(b.Tasks) > x.order.Limit:
		x.report(specfile.Error, b.Line, "%s has %d builds; the project allows %d", b.Kind, len(b.Tasks), x.order.Limit)
		return x.problems
	}
	x.batch = pipeline.Batch{Kind: string(b.Kind), FastFail: b.FastFail}
	for i, t := range b.Tasks {
		made := x.task(t)
		if b.Kind == buildspec.Fanout { // for codebuild-tests-run
			made.Variables = map[string]string{"SLIPWAY_SHARD": strconv.Itoa(i + 1), "SLIPWAY_SHARDS": strconv.Itoa(len(b.Tasks))}
		}
		x.batch.Tasks = append(x.batch.Tasks, made)
	}
	data, err := json.Marshal(x.batch)
	if err != nil || len(data) > batchLimitBytes {
		x.report(specfile.Error, b.Line, "%s takes more than %d bytes when its builds are written out; shorten the values of its variables", b.Kind, batchLimitBytes)
	}
	return x.problems
}

func (x *expansion) task(t buildspec.Task) pipeline.Task {
	out := pipeline.Task{
		ID: t.Identifier, DependsOn: t.DependOn, Needs: t.NeedsArtifacts, IgnoreFailure: t.IgnoreFailure,
		Buildspec: t.Buildspec, Image: t.Env.Image, Compute: t.Env.ComputeType, Privileged: t.Env.Privileged,
	}
	for _, v := range t.Env.Variables {
		if out.Variables == nil {
			out.Variables = map[string]string{}
		}
		out.Variables[v.Name] = v.Value
	}
	if c := t.Env.ComputeType; c != "" && !slices.Contains(x.order.Computes, c) {
		severity, instead := specfile.Warning, "it builds with the project's own"
		if x.order.Restricted {
			severity, instead = specfile.Error, "the project allows "+strings.Join(x.order.Computes, ", ")
		}
		x.report(severity, t.Line, "task %s: compute type %s is not known here; %s", t.Identifier, c, instead)
		out.Compute = ""
	}
	if t.Env.Privileged != nil && *t.Env.Privileged && !x.order.Privileged {
		x.report(specfile.Warning, t.Line, "task %s: the server does not allow privileged builds to this project; it builds without", t.Identifier)
	}
	if strings.HasPrefix(t.Buildspec, "arn:") || strings.Contains(t.Buildspec, "://") {
		x.report(specfile.Error, t.Line, "task %s: want a buildspec in the repository, have %s", t.Identifier, t.Buildspec)
	}
	return out
}

// Batch makes the order of reading a batch, or of combining its artifacts.
func (o *orders) Batch(ctx context.Context, j pipeline.Job, x pipeline.Execution) (*pipeline.BatchOrder, error) {
	act, err := actionOf(j, x)
	if err != nil {
		return nil, err
	}
	if act.def.Task != nil {
		return &pipeline.BatchOrder{Combines: true, Combine: x.CombinedFrom(j.Stage, act.def.Task.Batch)}, nil
	}
	p, err := o.projectOf(act, x)
	if err != nil {
		return nil, err
	}
	inputs, err := x.Inputs(j.Stage, j.Action)
	if err != nil {
		return nil, err
	}
	if len(inputs) > 0 && !inputs[0].Source {
		return nil, &pipeline.UserError{Code: pipeline.ConfigurationError, Msg: "a batch is read from the repository: its first input must be the source, not the artifact " + inputs[0].Name}
	}
	src, err := sourceOrder(ctx, o.credentials, x.Repo, x.Trigger)
	if err != nil {
		return nil, err
	}
	b := &pipeline.BatchOrder{
		Source: src, Buildspec: cmp.Or(act.set.Configuration[pipeline.ConfigBuildspec], p.Buildspec), Limit: p.Batch.MaxBuilds(),
		Computes: p.Batch.ComputeTypes, Restricted: len(p.Batch.ComputeTypes) > 0, Privileged: p.Privileged && j.Trusted,
	}
	if !b.Restricted {
		b.Computes = slices.Sorted(maps.Keys(o.cfg.ComputeTypes))
	}
	return b, nil
}

// batchSettings say whether what a webhook starts is a batch; nil: it isn't.
func batchSettings(p config.Project, spec []byte) *pipeline.BatchSettings {
	switch p.BuildType {
	case config.BuildTypeBuild:
		return nil
	case config.BuildTypeBatch:
	default:
		if !bytes.Contains(spec, []byte("batch")) {
			return nil // spares the reading of most files
		}
		parsed, _ := buildspec.Parse(defaultBuildspec, spec, buildspec.Options{})
		if parsed == nil || parsed.Batch == nil || len(parsed.Batch.Tasks) == 0 {
			return nil // a mistake is reported by the build
		}
	}
	return &pipeline.BatchSettings{Combine: p.Batch.CombineArtifacts, Timeout: p.Batch.Timeout}
}

// mayBePrivileged says that a task of a batch doesn't do without.
func (a action) mayBePrivileged() bool {
	t := a.def.Task
	return t == nil || t.Privileged == nil || *t.Privileged
}

func (p *platform) batches() batches {
	return batches{files: p.mirrors, combine: combiner{control: p.control, dir: p.cfg.Data}}
}
