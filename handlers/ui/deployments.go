package ui

import (
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Deployments is the list of deployments.
type Deployments struct {
	Frame
	Query        pipeline.DeploymentQuery
	Items        []pipeline.Deployment
	Newer, Older string
}

// Deployment is one deployment and what happened on its instances.
type Deployment struct {
	Frame
	pipeline.Deployment
	Instances []Instance
	// Record is its own record with its log; nil: it has none yet.
	Record *Build
	// CanStop and CanRollBack say what the reader may do about it.
	CanStop, CanRollBack bool
}

// Instance is one host's part of a deployment.
type Instance struct {
	pipeline.InstanceDetail
	Now time.Time
	// Open says that it is shown unfolded: something is going on there, or went
	// wrong.
	Open bool
	// Log is the page of its log, empty: there is none; Here says that it is the
	// deployment's own page.
	Log  string
	Here bool
}

// Agents is the list of hosts that revisions are deployed to.
type Agents struct {
	Frame
	Items []AgentRow
}

// AgentRow is one agent and what was deployed to it last.
type AgentRow struct {
	pipeline.Agent
	// Runs are the newest deployments that succeeded on it, one of each group.
	Runs []pipeline.Deployment
	// Busy are those that go on there.
	Busy []pipeline.Deployment
}

// Deployments renders the list of deployments.
func (p *Pages) Deployments(v Deployments) ([]byte, error) { return p.render("deployments", v) }

// Deployment renders one deployment.
func (p *Pages) Deployment(v Deployment) ([]byte, error) {
	if v.Record != nil {
		v.Record.Groups = groups(v.Record.Phases, v.Record.Log.Lines)
	}
	return p.render("deployment", v)
}

// Agents renders the list of agents.
func (p *Pages) Agents(v Agents) ([]byte, error) { return p.render("agents", v) }

// eventBars are the rows of an instance: its lifecycle events.
func eventBars(v Instance) []Bar {
	if len(v.Events) == 0 {
		return nil
	}
	end := v.EndedAt
	if end.IsZero() {
		end = v.Now
	}
	start := v.Events[0].StartedAt
	sc := scale{start, end.Sub(start)}
	var out []Bar
	for _, e := range v.Events {
		b := Bar{Label: e.Name, State: stateOf(e.Status), Title: e.Message}
		if v.Log != "" && e.LogLine > 0 {
			line := itoa(e.LogLine)
			b.Href = v.Log + "?line=" + line + "#L" + line
		}
		out = append(out, sc.bar(b, time.Time{}, e.StartedAt, e.EndedAt, v.Now))
	}
	return out
}

// progress says how many instances have come how far: "1 in progress, 2 of 3
// succeeded".
type progress struct {
	State State
	Count int
}

// tally counts the instances of a deployment by status, those that are done
// first.
func tally(d pipeline.Deployment) []progress {
	counts := d.Counts()
	var out []progress
	for _, status := range []pipeline.DeploymentStatus{
		pipeline.DeploymentSucceeded, pipeline.DeploymentInProgress, pipeline.DeploymentFailed, pipeline.DeploymentStopped,
		pipeline.DeploymentSkipped, pipeline.DeploymentPending, pipeline.DeploymentCreated, pipeline.DeploymentQueued,
	} {
		if counts[status] > 0 {
			out = append(out, progress{stateOf(status), counts[status]})
		}
	}
	return out
}

// repoOf is owner/name of what may be forge/owner/name.
func repoOf(full string) string {
	if strings.Count(full, "/") > 1 {
		_, full, _ = strings.Cut(full, "/")
	}
	return full
}

// healthy says what a deployment's configuration asks for.
func healthy(d pipeline.Deployment) string {
	switch {
	case d.MinimumHealthy == "":
		return d.Config
	case d.Config == "":
		return "at least " + d.MinimumHealthy + " healthy"
	}
	text := d.Config + ", at least " + d.MinimumHealthy
	if n, err := strconv.Atoi(d.MinimumHealthy); err == nil && n == 1 {
		return text + " healthy host"
	}
	return text + " healthy hosts"
}
