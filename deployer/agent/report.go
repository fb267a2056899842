package agent

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/slipway-ci/slipway/deployer"
	"github.com/slipway-ci/slipway/internal/worker"
	"github.com/slipway-ci/slipway/pipeline"
)

// report tells of one deployment: its lifecycle events are the phases of the
// build record, and what its scripts say is the log.
type report struct {
	stream *worker.Stream

	mu    sync.Mutex
	build pipeline.Build
	lines int64
}

// Event notes a lifecycle event's start and end.
func (r *report) Event(e deployer.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Status == pipeline.DeploymentInProgress {
		r.build.CurrentPhase = e.Name
		r.build.Phases = append(r.build.Phases, pipeline.Phase{
			Type: e.Name, Status: pipeline.BuildInProgress, StartTime: e.Start, LogLine: r.lines + 1,
		})
		r.print("[Agent] Entering " + e.Name + "\n")
	} else {
		r.ended(e)
	}
	b := r.build
	b.Phases = append([]pipeline.Phase(nil), b.Phases...)
	r.stream.Report(b)
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
		r.build.Failure = failure(e, p.LogLine)
	case pipeline.DeploymentStopped:
		p.Status = pipeline.BuildStopped
	default:
	}
	p.Contexts = []pipeline.Context{remark}
	r.print(strings.TrimSpace(fmt.Sprintf("[Agent] %s: %s %s", e.Name, e.Status, e.Message)) + "\n")
}

// fillIn adds the lifecycle events that an earlier process of this agent went
// through: of those nothing was heard in this one.
func (r *report) fillIn(events []deployer.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var earlier []pipeline.Phase
	for _, e := range events {
		heard := slices.ContainsFunc(r.build.Phases, func(p pipeline.Phase) bool { return p.Type == e.Name })
		if heard || e.Start.IsZero() {
			continue
		}
		p := pipeline.Phase{Type: e.Name, Status: pipeline.BuildSucceeded, StartTime: e.Start, EndTime: e.End, Contexts: []pipeline.Context{{}}}
		if e.Status == pipeline.DeploymentFailed {
			p.Status, p.Contexts = pipeline.BuildFailed, []pipeline.Context{{StatusCode: e.Reason, Message: e.Message}}
			r.build.Failure = failure(e, 0)
		}
		earlier = append(earlier, p)
	}
	r.build.Phases = append(earlier, r.build.Phases...)
	slices.SortStableFunc(r.build.Phases, func(a, b pipeline.Phase) int { return a.StartTime.Compare(b.StartTime) })
}

func failure(e deployer.Event, line int64) *pipeline.Failure {
	return &pipeline.Failure{
		Phase: e.Name, Code: e.Reason, Message: e.Message, Command: e.Script, LogLine: line,
		Tail: strings.Split(strings.TrimRight(e.Tail, "\n"), "\n"),
	}
}

// Output takes what a script says.
func (r *report) Output(_ string, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.print(string(p))
}

// print adds to the log. That it can't only means that the deployment is being
// ended.
func (r *report) print(s string) {
	r.lines += int64(strings.Count(s, "\n"))
	_ = r.stream.Log([]byte(s))
}
