// Package agent takes deployments from the server and applies them to this
// host: it claims, fetches the revision, runs the lifecycle events and streams
// what they say.
package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/deployer"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/worker"
	"github.com/slipway-ci/slipway/pipeline"
)

// Options of New.
type Options struct {
	Control pipeline.Control
	ID      string // unique per process
	Name    string // for people
	Version string
	// Groups are the deployment groups that this host belongs to, each with the
	// Deployer that applies its revisions.
	Groups map[string]*deployer.Deployer
	// Temp is a folder for revisions on their way.
	Temp string
	// Drain and Retryable are as in worker.Options.
	Drain     time.Duration
	Retryable func(error) bool
	Log       *slog.Logger
	Now       func() time.Time
}

// Agent is one host's end of deployments.
type Agent struct{ Options }

// New makes an agent; it starts nothing.
func New(o Options) *Agent { return &Agent{o} }

// Run takes deployments, one at a time for each group, until ctx ends. A
// deployment under way is stopped then.
func (a *Agent) Run(ctx context.Context) error {
	if err := os.MkdirAll(a.Temp, 0o700); err != nil {
		return fmt.Errorf("making the agent's folder: %w", err)
	}
	var g errgroup.Group
	for name, d := range a.Groups {
		g.Go(func() error { return a.serve(ctx, name, d) })
	}
	return g.Wait()
}

func (a *Agent) serve(ctx context.Context, group string, d *deployer.Deployer) error {
	if err := d.Recover(ctx); err != nil {
		return fmt.Errorf("recovering group %s: %w", group, err)
	}
	return worker.Run(ctx, worker.Options{
		Control: a.Control, Log: a.Log, Retryable: a.Retryable, Drain: a.Drain,
		Worker: pipeline.Worker{
			ID: a.ID + "-" + group, Name: a.Name, Kind: pipeline.DeployJob, Slots: 1, Version: a.Version,
			Classes: []string{pipeline.ClassOf(pipeline.DeployJob, group, "")},
		},
		Do: func(ctx context.Context, order pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
			return a.deploy(ctx, d, order, s)
		},
	})
}

// deploy does one deployment and says how it ended.
func (a *Agent) deploy(ctx context.Context, d *deployer.Deployer, order pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
	ctx, cancel := context.WithTimeoutCause(ctx, order.Job.Timeout, pipeline.ErrTimedOut)
	defer cancel()
	r := &report{stream: s, build: pipeline.Build{Status: pipeline.BuildInProgress, StartedAt: a.Now().UTC(), CurrentPhase: "PENDING"}}
	err := a.apply(ctx, d, order, r)
	o := outcome(err)
	if o.Status == pipeline.BuildFault {
		a.Log.ErrorContext(ctx, "a deployment could not be carried out", "job", order.Job.ID, "error", err)
	}
	r.build.Close(o.Status, o.Code, o.Message, a.Now().UTC())
	return r.build, o
}

func (a *Agent) apply(ctx context.Context, d *deployer.Deployer, order pipeline.Assignment, r *report) error {
	dep := order.Deploy
	if dep == nil {
		return errors.New("the job has no order")
	}
	bundle, err := a.fetch(ctx, order)
	if err != nil {
		return fmt.Errorf("fetching the revision: %w", err)
	}
	defer os.Remove(bundle)
	_, err = d.Apply(ctx, deployer.Deployment{
		ID: dep.ID, Application: dep.Application, Group: dep.Group, Revision: bundle, SHA256: dep.Revision.Digest,
		FileExistsBehavior: dep.FileExistsBehavior, IgnoreApplicationStopFailures: dep.IgnoreStopFailures,
		Variables: dep.Variables, Commit: dep.Commit,
	}, r)
	return err
}

// fetch brings the revision here and checks its digest.
func (a *Agent) fetch(ctx context.Context, order pipeline.Assignment) (string, error) {
	want := order.Deploy.Revision.Digest
	body, err := a.Control.Artifact(ctx, order.Job.Ref(), want)
	if err != nil {
		return "", err
	}
	defer body.Close()
	f, err := os.Create(filepath.Join(a.Temp, order.Job.ID+".bundle"))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), body)
	err = errors.Join(err, f.Close())
	if have := hex.EncodeToString(sum.Sum(nil)); err == nil && have != want {
		err = fmt.Errorf("it arrived changed: want sha256 %s, have %s", want, have)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// outcome is how the deployment ended, for the engine.
func outcome(err error) pipeline.Outcome {
	o := pipeline.Outcome{Status: pipeline.BuildStatusOf(err)}
	if err == nil {
		return o
	}
	o.Message = "the deployment could not be carried out"
	mistake, ok := errors.AsType[*pipeline.UserError](err)
	switch {
	case ok:
		o.Code, o.Message = mistake.Code, mistake.Msg
		if mistake.File != "" {
			o.Annotations = []forge.Annotation{{
				Path: mistake.File, StartLine: max(mistake.Line, 1), EndLine: max(mistake.Line, 1), Column: mistake.Column,
				Level: "failure", Title: mistake.Code, Message: mistake.Msg,
			}}
		}
	case o.Status != pipeline.BuildFault:
		o.Message = err.Error()
	}
	return o
}
