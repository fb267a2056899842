package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/deployer"
	"github.com/slipway-ci/slipway/pipeline"
)

// report streams one deployment: its lifecycle events are the phases of the
// build record, and what its scripts say is the log.
type report struct {
	ctx   context.Context
	agent *Agent
	order pipeline.Assignment

	mu     sync.Mutex
	build  pipeline.Build
	buffer []byte // not yet sent
	offset int64  // of buffer's first byte
	lines  int64
}

// bufferLimit holds a script back whose output the server doesn't take.
const (
	bufferLimit   = 256 << 10
	flushInterval = 150 * time.Millisecond
)

func newReport(ctx context.Context, a *Agent, order pipeline.Assignment) *report {
	return &report{ctx: ctx, agent: a, order: order, build: pipeline.Build{
		Status: pipeline.BuildInProgress, StartedAt: a.Now().UTC(), CurrentPhase: "PENDING",
	}}
}

// Event notes a lifecycle event's start and end.
func (r *report) Event(e deployer.Event) {
	r.mu.Lock()
	if e.Status == pipeline.DeploymentInProgress {
		r.build.CurrentPhase = e.Name
		r.build.Phases = append(r.build.Phases, pipeline.Phase{
			Type: e.Name, Status: pipeline.BuildInProgress, StartTime: e.Start, LogLine: r.lines + 1,
		})
		r.print(fmt.Sprintf("[Agent] Entering %s\n", e.Name))
	} else {
		r.ended(e)
	}
	b := r.build
	r.mu.Unlock()
	if err := r.agent.Control.Report(r.ctx, r.order.Job.Ref(), b); err != nil && r.ctx.Err() == nil {
		r.agent.Log.WarnContext(r.ctx, "reporting a deployment", "job", r.order.Job.ID, "error", err)
	}
}

func (r *report) ended(e deployer.Event) {
	n := len(r.build.Phases)
	if n == 0 || r.build.Phases[n-1].Type != e.Name {
		return // skipped: it was never entered
	}
	p := &r.build.Phases[n-1]
	p.EndTime, p.Status = e.End, pipeline.BuildSucceeded
	remark := pipeline.Context{}
	switch e.Status {
	case pipeline.DeploymentFailed:
		p.Status = pipeline.BuildFailed
		remark = pipeline.Context{StatusCode: e.Reason, Message: e.Message}
		r.build.Failure = &pipeline.Failure{
			Phase: e.Name, Code: e.Reason, Message: e.Message, Command: e.Script, LogLine: p.LogLine,
			Tail: strings.Split(strings.TrimRight(e.Tail, "\n"), "\n"),
		}
	case pipeline.DeploymentStopped:
		p.Status = pipeline.BuildStopped
	default:
	}
	p.Contexts = []pipeline.Context{remark}
	r.print(fmt.Sprintf("[Agent] %s: %s %s\n", e.Name, e.Status, e.Message))
}

// Output takes what a script says.
func (r *report) Output(_ string, p []byte) {
	r.mu.Lock()
	r.print(string(p))
	full := len(r.buffer) >= bufferLimit
	r.mu.Unlock()
	if full {
		r.flush(r.ctx)
	}
}

func (r *report) print(s string) {
	r.buffer = append(r.buffer, s...)
	r.lines += int64(strings.Count(s, "\n"))
}

func (r *report) flushLoop(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, flushInterval)
		r.flush(ctx)
	}
}

// flush sends what there is. What could not be sent stays for the next time.
func (r *report) flush(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.buffer) == 0 {
		return
	}
	end, err := r.agent.Control.AppendLog(ctx, r.order.Job.Ref(), r.offset, r.buffer)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, pipeline.ErrStale) {
			r.agent.Log.WarnContext(ctx, "sending a deployment's log", "job", r.order.Job.ID, "error", err)
		}
		if len(r.buffer) > 4*bufferLimit { // the server is away for long: the newest counts
			r.buffer = r.buffer[len(r.buffer)-bufferLimit:]
		}
		return
	}
	r.offset, r.buffer = end, r.buffer[:0]
}

// finish closes the record.
func (r *report) finish(ctx context.Context, err error) (pipeline.Build, pipeline.Outcome) {
	o := outcome(err)
	if o.Status == pipeline.BuildFault {
		r.agent.Log.ErrorContext(ctx, "a deployment could not be carried out", "job", r.order.Job.ID, "error", err)
	}
	r.flush(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.build.Close(o.Status, o.Code, o.Message, r.agent.Now().UTC())
	r.build.LogBytes, r.build.LogLines = r.offset, r.lines
	return r.build, o
}
