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
	"strings"
	"time"

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
	// Deployer applies revisions; Groups are other ones for some deployment
	// groups. Deployer may be nil if Groups has all that there are.
	Deployer *deployer.Deployer
	Groups   map[string]*deployer.Deployer
	// Temp is a folder for revisions on their way.
	Temp string
	// Drain, Hurry and Retryable are as in worker.Options.
	Drain     time.Duration
	Hurry     <-chan struct{}
	Retryable func(error) bool
	Log       *slog.Logger
	Now       func() time.Time
}

// Agent is one host's end of deployments.
type Agent struct{ Options }

// New makes an agent; it starts nothing.
func New(o Options) *Agent { return &Agent{o} }

// Run takes deployments, one at a time, until ctx ends. A deployment under way
// then gets Options.Drain to end. What a process before this one left half done
// is undone first.
func (a *Agent) Run(ctx context.Context) error {
	if err := os.MkdirAll(a.Temp, 0o700); err != nil {
		return fmt.Errorf("making the agent's folder: %w", err)
	}
	if err := a.recover(ctx); err != nil {
		return err
	}
	return worker.Run(ctx, worker.Options{
		Control: a.Control, Log: a.Log, Retryable: a.Retryable, Drain: a.Drain, Hurry: a.Hurry,
		Worker: pipeline.Worker{ID: a.ID, Name: a.Name, Kind: pipeline.DeployJob, Slots: 1, Version: a.Version, Classes: []string{}},
		Do:     a.deploy,
	})
}

// bundlePrefix begins the names of revisions on their way.
const bundlePrefix = "agent-bundle-"

func (a *Agent) recover(ctx context.Context) error {
	left, err := os.ReadDir(a.Temp)
	if err != nil {
		return fmt.Errorf("looking for what was left half done: %w", err)
	}
	for _, f := range left {
		if strings.HasPrefix(f.Name(), bundlePrefix) {
			if err := os.Remove(filepath.Join(a.Temp, f.Name())); err != nil {
				return fmt.Errorf("removing what was left half done: %w", err)
			}
		}
	}
	if a.Deployer != nil {
		if err := a.Deployer.Recover(ctx); err != nil {
			return fmt.Errorf("undoing what was left half done: %w", err)
		}
	}
	for name, d := range a.Groups {
		if err := d.Recover(ctx); err != nil {
			return fmt.Errorf("undoing what was left half done of group %s: %w", name, err)
		}
	}
	return nil
}

// deploy does one deployment and says how it ended.
func (a *Agent) deploy(ctx context.Context, order pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
	ctx, cancel := context.WithTimeoutCause(ctx, order.Job.Timeout,
		fmt.Errorf("the deployment has %s: %w", order.Job.Timeout, pipeline.ErrTimedOut))
	defer cancel()
	r := &report{stream: s, build: pipeline.Build{Status: pipeline.BuildInProgress, StartedAt: a.Now().UTC(), CurrentPhase: "PENDING"}}
	err := a.apply(ctx, order, r)
	o := outcome(err)
	if o.Status == pipeline.BuildFault {
		a.Log.ErrorContext(ctx, "a deployment could not be carried out", "job", order.Job.ID, "error", err)
	}
	r.build.Close(o.Status, o.Code, o.Message, a.Now().UTC())
	return r.build, o
}

func (a *Agent) apply(ctx context.Context, order pipeline.Assignment, r *report) error {
	dep := order.Deploy
	if dep == nil {
		return errors.New("the job has no order")
	}
	d, ok := a.Groups[dep.Group]
	if !ok {
		d = a.Deployer
	}
	if d == nil {
		return fmt.Errorf("this agent has no deployment group %s", dep.Group)
	}
	bundle, err := a.fetch(ctx, order)
	if err != nil {
		return fmt.Errorf("fetching the revision: %w", err)
	}
	defer os.Remove(bundle)
	result, err := d.Apply(ctx, deployer.Deployment{
		ID: dep.ID, Application: dep.Application, Group: dep.Group, Revision: bundle, SHA256: dep.Revision.Digest,
		FileExistsBehavior: dep.FileExistsBehavior, OnDrift: dep.OnDrift, IgnoreApplicationStopFailures: dep.IgnoreStopFailures,
		Variables: dep.Variables, Commit: dep.Commit,
	}, r)
	r.fillIn(result.Events)
	return err
}

const (
	// fetchTime bounds how long a server that is away is asked for a revision.
	fetchTime     = 10 * time.Minute
	fetchPause    = 200 * time.Millisecond
	fetchPauseMax = 5 * time.Second
)

// fetch brings the revision here and checks its digest. A server that is away
// is asked again.
func (a *Agent) fetch(ctx context.Context, order pipeline.Assignment) (string, error) {
	until := time.Now().Add(fetchTime)
	for wait := fetchPause; ; wait = min(2*wait, fetchPauseMax) {
		name, err := a.fetchOnce(ctx, order)
		if err == nil || ctx.Err() != nil || a.Retryable == nil || !a.Retryable(err) || time.Now().After(until) {
			return name, err
		}
		a.Log.WarnContext(ctx, "fetching a revision", "job", order.Job.ID, "error", err)
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func (a *Agent) fetchOnce(ctx context.Context, order pipeline.Assignment) (string, error) {
	want := order.Deploy.Revision.Digest
	body, err := a.Control.Artifact(ctx, order.Job.Ref(), want)
	if err != nil {
		return "", err
	}
	defer body.Close()
	f, err := os.OpenFile(filepath.Join(a.Temp, bundlePrefix+order.Job.ID), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
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
