package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// DeploymentWriter is a forge that has deployments.
type DeploymentWriter interface {
	// PutDeployment creates the deployment if its ID is 0, and then says how it
	// stands. It sets ID and Unsure, also when it fails; passed on to the next
	// call they keep the deployment from appearing twice.
	PutDeployment(ctx context.Context, repo forge.Repo, installation int64, d *forge.Deployment, s forge.DeploymentState) error
}

// Environment is what an action deploys to, as the forge shows it.
type Environment struct {
	Name       string
	URL        string // where its users find it; empty: unknown
	Production bool
}

// DeploymentsOptions are the settings of Deployments. Zero values mean the
// defaults.
type DeploymentsOptions struct {
	// Environment is that of a deploy action. Without a name the action is not
	// shown.
	Environment func(x pipeline.Execution, stage pipeline.Stage, action pipeline.Action, resolved map[string]string) Environment
	Pace        *Pace
	BaseURL     string
	Log         *slog.Logger
	SendTimeout time.Duration // of one write: 30 s
	KeepTrying  time.Duration // 24 h
	Now         func() time.Time
}

// Deployments shows the deploy actions of executions at the forge, as
// deployments to their environments (forges reference 3.8).
type Deployments struct {
	o       DeploymentsOptions
	forge   DeploymentWriter
	records Records
	carrier carrier
	began   time.Time
}

// NewDeployments tells one forge. It does nothing yet.
func NewDeployments(outbox Outbox, records Records, to DeploymentWriter, o DeploymentsOptions) *Deployments {
	if o.SendTimeout == 0 {
		o.SendTimeout = 30 * time.Second
	}
	if o.KeepTrying == 0 {
		o.KeepTrying = 24 * time.Hour
	}
	c := newCarrier(outbox, o.Log, o.Now, o.SendTimeout)
	o.Log, o.Now = c.log, c.now
	if o.Pace == nil {
		o.Pace = NewPace(0)
	}
	d := &Deployments{o: o, forge: to, records: records}
	c.tell = d.tell
	d.carrier = c
	return d
}

// Run tells until ctx is over, whose cause it returns.
func (d *Deployments) Run(ctx context.Context) error {
	d.began = d.o.Now()
	return d.carrier.run(ctx)
}

// shown is what the forge was told of one deployment.
type shown struct {
	ID     int64  `json:"id,omitempty"`
	Unsure bool   `json:"unsure,omitempty"`
	State  string `json:"state,omitempty"`
	Text   string `json:"text,omitempty"`
	retries
	Given bool `json:"given_up,omitempty"`
}

// deploymentKind names what is kept of them in the store.
const deploymentKind = "deployments"

// wanted is a deployment as it is to be shown.
type wanted struct {
	forge.Deployment
	forge.DeploymentState
}

// tell makes the first write that is due.
func (d *Deployments) tell(ctx context.Context, item pipeline.ReportItem) (time.Time, error) {
	x, err := d.records.Execution(ctx, item.Execution)
	if err != nil {
		return time.Time{}, fmt.Errorf("loading execution: %w", err)
	}
	list := d.wanted(x)
	if len(list) == 0 {
		return time.Time{}, nil
	}
	known, err := d.load(ctx, x.ID)
	if err != nil {
		return time.Time{}, err
	}
	now := d.o.Now()
	var due time.Time
	for _, w := range list {
		s := known[w.Key]
		switch {
		case s == nil && w.State == "inactive":
			continue // it was never to begin
		case s == nil:
			s = &shown{}
			known[w.Key] = s
		case s.Given || s.State == w.State && s.Text == w.DeploymentState.Description:
			continue
		case now.Before(s.Until):
			due = earliest(due, s.Until)
			continue
		}
		return d.put(ctx, item, x, w, known)
	}
	return due, nil
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// put makes one write, and keeps before and after it what is known.
func (d *Deployments) put(ctx context.Context, item pipeline.ReportItem, x pipeline.Execution, w wanted, known map[string]*shown) (time.Time, error) {
	g := d.o.Pace.gate(item.Installation, d.began)
	if wait, ok := g.take(d.o.Now()); !ok {
		return d.o.Now().Add(wait), nil
	}
	defer g.release()
	s := known[w.Key]
	w.ID, w.Unsure = s.ID, s.Unsure
	s.Unsure = w.ID == 0
	if err := d.save(ctx, x.ID, known); err != nil {
		return time.Time{}, err
	}
	sending, cancel := context.WithTimeout(ctx, d.o.SendTimeout)
	err := d.forge.PutDeployment(sending, x.Repo, item.Installation, &w.Deployment, w.DeploymentState)
	cancel()
	now := d.o.Now()
	g.wrote(now)
	s.ID, s.Unsure = w.ID, w.Unsure
	switch {
	case errors.Is(err, forge.ErrNoCredentials):
		s.Given = true
	case err == nil:
		s.State, s.Text, s.retries = w.State, w.DeploymentState.Description, retries{}
	case s.failed(err, now, d.o.KeepTrying, g):
		s.Given = true
		d.o.Log.WarnContext(ctx, "a deployment isn't shown at the forge", "execution", x.ID, "repo", x.Repo.FullName(), "error", err)
	default:
		d.o.Log.InfoContext(ctx, "a deployment will be shown later", "execution", x.ID, "attempt", s.Tries, "error", err)
	}
	return now, d.save(ctx, x.ID, known)
}

// wanted are the deployments of an execution's deploy actions whose stage was
// entered.
func (d *Deployments) wanted(x pipeline.Execution) []wanted {
	var list []wanted
	for i, def := range x.Pipeline.Stages {
		if i >= len(x.Stages) || x.Stages[i].Status == pipeline.Pending || x.Gate != "" {
			continue
		}
		for _, action := range def.Actions {
			a := x.Stages[i].Action(action.Name)
			if action.Category != pipeline.Deploy || a == nil {
				continue
			}
			if w, ok := d.describe(x, x.Stages[i], def, action, *a); ok {
				list = append(list, w)
			}
		}
	}
	return list
}

func (d *Deployments) describe(x pipeline.Execution, st pipeline.StageExecution, stage pipeline.Stage, def pipeline.Action, a pipeline.ActionExecution) (wanted, bool) {
	state, text := deploymentState(x, st, a)
	env := Environment{Name: stage.Environment}
	if d.o.Environment != nil {
		resolved := def.Configuration
		if a.Resolved != nil {
			resolved = a.Resolved.Configuration
		}
		env = d.o.Environment(x, stage, def, resolved)
	}
	if env.Name == "" {
		return wanted{}, false
	}
	task := "deploy"
	if x.Target != "" || x.Trigger.Type == "ManualRollback" || x.Trigger.Type == "AutomatedRollback" {
		task = "rollback"
	}
	link := pageURL(d.o.BaseURL, "executions", x.ID)
	if a.Job != "" {
		link = pageURL(d.o.BaseURL, "deployments", a.Job)
	}
	// A stage that is retried deploys anew.
	key := fmt.Sprintf("%s/%s/%s/%s", x.ID, stage.Name, def.Name, strconv.Itoa(1+st.AutoRetries+st.ManualRetries))
	return wanted{
		forge.Deployment{
			SHA: x.Trigger.SHA, Task: task, Environment: env.Name, Production: env.Production, Key: key,
			Description: cut(plain(fmt.Sprintf("%s: %s/%s of execution %d", x.Pipeline.Name, stage.Name, def.Name, x.Number)), 140),
		},
		forge.DeploymentState{State: state, Description: cut(plain(text), 140), LogURL: link, EnvironmentURL: env.URL},
	}, true
}

// deploymentState is how a deploy action of an entered stage stands, in the
// forge's words, and in ours.
func deploymentState(x pipeline.Execution, st pipeline.StageExecution, a pipeline.ActionExecution) (state, text string) {
	switch a.Status {
	case pipeline.Succeeded:
		return "success", "Deployed in " + short(a.EndedAt.Sub(cmpTime(a.StartedAt, a.QueuedAt, a.EndedAt)))
	case pipeline.Failed:
		text = "The deployment failed"
		if a.Error != nil && a.Error.Message != "" {
			text = a.Error.Message
		}
		if a.Outcome == pipeline.BuildFault || a.Error != nil && a.Error.Code == pipeline.RunnerLost {
			return "error", text
		}
		return "failure", text
	case pipeline.Abandoned, pipeline.Cancelled, pipeline.Stopped, pipeline.Superseded, pipeline.Skipped:
		return "inactive", orText(x.Reason, "Stopped")
	case pipeline.InProgress, pipeline.Stopping:
		if a.Worker != "" {
			return "in_progress", "Deploying"
		}
		return "queued", "Waiting for its turn"
	case pipeline.Pending:
	}
	if st.Status.Ended() {
		return "inactive", orText(x.Reason, "It did not come to the deployment")
	}
	for _, o := range st.Actions {
		if o.Status == pipeline.InProgress && o.Approval != nil {
			return "queued", "Waiting for approval: " + o.Name
		}
	}
	return "queued", "Waiting for what comes before"
}

func (d *Deployments) load(ctx context.Context, execution string) (map[string]*shown, error) {
	return load(ctx, d.records, execution, deploymentKind, map[string]*shown{})
}

func (d *Deployments) save(ctx context.Context, execution string, known map[string]*shown) error {
	return save(ctx, d.records, execution, deploymentKind, known)
}
