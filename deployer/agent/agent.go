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
	Log  *slog.Logger
	Now  func() time.Time
}

// Agent is one host's end of deployments.
type Agent struct{ Options }

// New makes an agent; it starts nothing.
func New(o Options) *Agent { return &Agent{o} }

const (
	claimWait    = 25 * time.Second
	errorPause   = 2 * time.Second
	completeTime = 5 * time.Minute
)

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
	w := pipeline.Worker{
		ID: a.ID + "-" + group, Name: a.Name, Kind: pipeline.DeployJob, Slots: 1, Version: a.Version,
		Classes: []string{pipeline.ClassOf(pipeline.DeployJob, group, "")},
	}
	for ctx.Err() == nil {
		order, err := a.Control.Claim(ctx, w, claimWait)
		switch {
		case err == nil:
			a.deploy(ctx, d, order)
		case errors.Is(err, pipeline.ErrNotFound) || ctx.Err() != nil:
		default:
			a.Log.WarnContext(ctx, "claiming a deployment", "error", err)
			pause(ctx, errorPause)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// deploy does one deployment and says how it ended.
func (a *Agent) deploy(ctx context.Context, d *deployer.Deployer, order pipeline.Assignment) {
	if order.Deploy == nil {
		return
	}
	limited, cancel := context.WithTimeoutCause(ctx, order.Job.Timeout, pipeline.ErrTimedOut)
	defer cancel()
	working, quit := context.WithCancelCause(limited)
	defer quit(nil)
	r := newReport(working, a, order)
	var background errgroup.Group
	background.Go(func() error { a.renew(working, order, quit); return nil })
	background.Go(func() error { r.flushLoop(working); return nil })
	err := a.apply(working, d, order, r)
	quit(nil)
	_ = background.Wait() // both end without an error
	a.complete(ctx, order, r, err)
}

func (a *Agent) apply(ctx context.Context, d *deployer.Deployer, order pipeline.Assignment, r *report) error {
	dep := order.Deploy
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

// renew keeps the lease, and ends the deployment when it is told to.
func (a *Agent) renew(ctx context.Context, order pipeline.Assignment, quit context.CancelCauseFunc) {
	for {
		pause(ctx, order.Lease/3)
		if ctx.Err() != nil {
			return
		}
		answer, err := a.Control.Renew(ctx, order.Job.Ref())
		switch {
		case errors.Is(err, pipeline.ErrStale):
			quit(err)
			return
		case err != nil && ctx.Err() == nil:
			a.Log.WarnContext(ctx, "renewing the lease", "job", order.Job.ID, "error", err)
		case answer.Stop:
			quit(pipeline.ErrStopped)
			return
		}
	}
}

// complete tells the server until it has heard, or says that the job is no
// longer ours.
func (a *Agent) complete(ctx context.Context, order pipeline.Assignment, r *report, result error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), completeTime)
	defer cancel()
	b, o := r.finish(ctx, result)
	for ctx.Err() == nil {
		err := a.Control.Complete(ctx, order.Job.Ref(), b, o)
		if err == nil || errors.Is(err, pipeline.ErrStale) {
			return
		}
		a.Log.WarnContext(ctx, "completing a deployment", "job", order.Job.ID, "error", err)
		pause(ctx, errorPause)
	}
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
