package pipeline

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// More states of deployments (CodeDeploy reference 5.2).
const (
	DeploymentCreated DeploymentStatus = "Created"
	DeploymentQueued  DeploymentStatus = "Queued" // ours: another one of its group runs
	DeploymentBaking  DeploymentStatus = "Baking" // its instances are done, its alarms are watched on
)

// UnderWay reports whether a deployment has begun and not ended.
func (s DeploymentStatus) UnderWay() bool {
	return s == DeploymentInProgress || s == DeploymentBaking
}

// Ended reports whether nothing more happens by itself.
func (s DeploymentStatus) Ended() bool {
	switch s {
	case DeploymentSucceeded, DeploymentFailed, DeploymentSkipped, DeploymentStopped:
		return true
	case DeploymentCreated, DeploymentQueued, DeploymentPending, DeploymentInProgress, DeploymentBaking:
		return false
	}
	return false
}

// Who asked for a deployment, as CodeDeploy spells it.
const (
	CreatorUser     = "user"
	CreatorRollback = "codeDeployRollback"
	CreatorCatchUp  = "autoscaling" // for hosts that came later
)

// The events after which a deployment is rolled back by itself.
const (
	RollbackOnFailure = "DEPLOYMENT_FAILURE"
	RollbackOnStop    = "DEPLOYMENT_STOP_ON_REQUEST"
	RollbackOnAlarm   = "DEPLOYMENT_STOP_ON_ALARM"
)

// RollbackEvents are the events that a group's auto_rollback may name.
var RollbackEvents = []string{RollbackOnFailure, RollbackOnStop, RollbackOnAlarm}

// The error codes of deployments and instances (CodeDeploy reference 5.2).
const (
	HealthConstraints        = "HEALTH_CONSTRAINTS"
	HealthConstraintsInvalid = "HEALTH_CONSTRAINTS_INVALID"
	NoInstances              = "NO_INSTANCES"
	ManualStop               = "MANUAL_STOP"
	DeploymentTimeout        = "TIMEOUT"
	AlarmActive              = "ALARM_ACTIVE"
	AgentOffline             = "AGENT_OFFLINE" // ours: the agent is silent
)

// DeploymentError says why a deployment, or its part on an instance, did not
// succeed, in words for its author.
type DeploymentError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Revision is what is deployed: a bundle, and the commit that it was made of.
type Revision struct {
	Artifact
	Repo string `json:"repo,omitempty"` // forge/owner/name
	SHA  string `json:"sha,omitempty"`
	Ref  string `json:"ref,omitempty"`
}

// Deployment brings one revision onto the instances of a deployment group.
// Times are UTC.
type Deployment struct {
	V           int              `json:"v"`
	ID          string           `json:"id"`
	Application string           `json:"application"`
	Group       string           `json:"group"`
	Environment string           `json:"environment,omitempty"`
	Creator     string           `json:"creator"` // CreatorUser, CreatorRollback or CreatorCatchUp
	By          string           `json:"by,omitempty"`
	Status      DeploymentStatus `json:"status"`
	Error       *DeploymentError `json:"error,omitempty"`
	Revision    Revision         `json:"revision"`
	// Config is the deployment configuration's name, with MinimumHealthy only
	// for custom ones, as "2" or "50%".
	Config         string `json:"config"`
	MinimumHealthy string `json:"minimum_healthy_hosts,omitempty"`
	// KeepGoing goes on to the next instance whatever failed before: rollbacks do.
	KeepGoing          bool     `json:"keep_going,omitempty"`
	AutoRollback       []string `json:"auto_rollback,omitempty"`
	FileExistsBehavior string   `json:"file_exists_behavior,omitempty"`
	OnDrift            string   `json:"on_drift,omitempty"` // backup, fail or replace; empty: backup
	IgnoreStopFailures bool     `json:"ignore_stop_failures,omitempty"`
	// Scope are the agents that it is for; empty: all of the group.
	Scope []string `json:"scope,omitempty"`
	// RollbackOf is the deployment whose failure asked for this one, and
	// RollbackBy the one that undoes this one. RollbackMessage says why there is
	// none where there should be one.
	RollbackOf      string `json:"rollback_of,omitempty"`
	RollbackBy      string `json:"rollback_by,omitempty"`
	RollbackMessage string `json:"rollback_message,omitempty"`
	// Execution, Stage and Action are whose deployment it is; empty for one that
	// a person asked for.
	Execution string `json:"execution,omitempty"`
	Stage     string `json:"stage,omitempty"`
	Action    string `json:"action,omitempty"`
	// StopReason, if set, says that it is being stopped and why.
	StopReason string     `json:"stop_reason,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  time.Time  `json:"started_at,omitzero"`
	EndedAt    time.Time  `json:"ended_at,omitzero"`
	Instances  []Instance `json:"instances"`
	// Lease is how long a silent agent keeps its part, and Timeout bounds the
	// whole; 0 means no bound.
	Lease   time.Duration `json:"lease"`
	Timeout time.Duration `json:"timeout,omitempty"`
	// Alarms stop it when one of them is active.
	Alarms []string `json:"alarms,omitempty"`
	// Bake is how long it is watched once its instances are done, and BakeUntil
	// until when that is.
	Bake      time.Duration `json:"bake,omitempty"`
	BakeUntil time.Time     `json:"bake_until,omitzero"`
	// Zones, if there are any, are gone through one after the other.
	Zones *Zones `json:"zones,omitempty"`
	// Annotations are the mistakes in the repository's files that the first
	// failed instance found.
	Annotations []forge.Annotation `json:"annotations,omitempty"`
	// Job is the pipeline's job that waits for this deployment; Told: it has been
	// told how it ended. Closed: the group has gone on.
	Job    *Job `json:"job,omitempty"`
	Told   bool `json:"told,omitempty"`
	Closed bool `json:"closed,omitempty"`
}

// Zones is how a deployment goes from zone to zone (CodeDeploy reference 4.3).
type Zones struct {
	// Tag is the one of agents whose value is their zone. Those without it make
	// a zone of their own, the last one.
	Tag string `json:"tag"`
	// Order names the zones that come first, the others follow by their names.
	Order []string `json:"order,omitempty"`
	// Monitor is the pause behind each zone but the last one, FirstMonitor that
	// behind the first one, if it isn't 0.
	Monitor      time.Duration `json:"monitor,omitempty"`
	FirstMonitor time.Duration `json:"first_monitor,omitempty"`
	// MinimumHealthy is as that of a deployment, for each zone; empty means 0.
	MinimumHealthy string `json:"minimum_healthy_hosts,omitempty"`
}

// Instance is one host's part of a deployment.
type Instance struct {
	Agent  string            `json:"agent"` // its name
	Tags   map[string]string `json:"tags,omitempty"`
	Status DeploymentStatus  `json:"status"`
	Error  *DeploymentError  `json:"error,omitempty"`
	// Job names its record, Build, and its log; empty before an agent took it.
	Job string `json:"job,omitempty"`
	// Earlier are the records of processes of the agent that died in it.
	Earlier []string `json:"earlier,omitempty"`
	// Fence is the fencing token of who does it; 0: no agent has taken it.
	Fence int64 `json:"fence,omitempty"`
	// TakeBy is until when an agent must have taken it, once it may start.
	TakeBy    time.Time `json:"take_by,omitzero"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// Instance is the part of one agent, or nil.
func (d *Deployment) Instance(agent string) *Instance {
	i := slices.IndexFunc(d.Instances, func(i Instance) bool { return i.Agent == agent })
	if i < 0 {
		return nil
	}
	return &d.Instances[i]
}

// Counts are how many instances have each status.
func (d Deployment) Counts() map[DeploymentStatus]int {
	n := map[DeploymentStatus]int{}
	for _, i := range d.Instances {
		n[i.Status]++
	}
	return n
}

// LifecycleEvent is one lifecycle event on one instance, as pages and the API
// show it.
type LifecycleEvent struct {
	Name      string           `json:"name"`
	Status    DeploymentStatus `json:"status"`
	StartedAt time.Time        `json:"started_at,omitzero"`
	EndedAt   time.Time        `json:"ended_at,omitzero"`
	Code      string           `json:"code,omitempty"`
	Message   string           `json:"message,omitempty"`
	LogLine   int64            `json:"log_line,omitempty"` // where it begins in the instance's log
}

// LifecycleEvents are the phases of an instance's record as lifecycle events.
func (b Build) LifecycleEvents() []LifecycleEvent {
	var out []LifecycleEvent
	for _, p := range b.Phases {
		if p.Type == "COMPLETED" {
			continue
		}
		e := LifecycleEvent{Name: p.Type, Status: lifecycleStatus(p.Status), StartedAt: p.StartTime, EndedAt: p.EndTime, LogLine: p.LogLine}
		for _, c := range p.Contexts {
			e.Code, e.Message = c.StatusCode, c.Message
		}
		out = append(out, e)
	}
	return out
}

func lifecycleStatus(s BuildStatus) DeploymentStatus {
	switch s {
	case BuildSucceeded:
		return DeploymentSucceeded
	case BuildFailed, BuildFault, BuildTimedOut:
		return DeploymentFailed
	case BuildStopped:
		return DeploymentStopped
	case BuildInProgress:
		return DeploymentInProgress
	case BuildQueued:
	}
	return DeploymentPending
}

// InstanceDetail is an instance with what it did.
type InstanceDetail struct {
	Instance
	Events []LifecycleEvent `json:"events"`
	// Tail are the last lines that the failed script wrote.
	Tail []string `json:"tail,omitempty"`
}

// Agent is a host that revisions can be applied to.
type Agent struct {
	V            int               `json:"v"`
	Name         string            `json:"name"`
	Tags         map[string]string `json:"tags,omitempty"`
	Version      string            `json:"version,omitempty"`
	RegisteredAt time.Time         `json:"registered_at"`
	// SeenAt is when it last asked for something; zero: never.
	SeenAt time.Time `json:"seen_at,omitzero"`
	Online bool      `json:"online"`
}

// AgentRegistration is how an agent makes itself known: by a one-time token of
// an admin's, and with a token of its own making for all that follows.
type AgentRegistration struct {
	Registration string            `json:"registration"` // the one-time token
	Name         string            `json:"name"`
	Tags         map[string]string `json:"tags,omitempty"`
	Version      string            `json:"version,omitempty"`
	Token        string            `json:"token"`
}

// AgentInvitation is a one-time token with which one agent may register.
type AgentInvitation struct {
	Token     string            `json:"token"`
	Tags      map[string]string `json:"tags,omitempty"` // that the agent will have, whatever it says
	ExpiresAt time.Time         `json:"expires_at"`
}

// AgentOnline is how long after its last word an agent counts as online: its
// long polls are shorter (CodeDeploy reference 6.2).
const AgentOnline = 90 * time.Second

// DeploymentQuery asks for deployments, the newest first. Empty fields ask for
// all.
type DeploymentQuery struct {
	Group  string
	Status DeploymentStatus
	Limit  int    // 1 to 200; 0 means 50
	After  string // Next of the page before
}

// FurtherDeploymentID names a deployment that follows from a group's history:
// the same for the same parts.
func FurtherDeploymentID(parts ...string) string {
	sum := sha256.Sum256([]byte(uuid5(append([]string{"further deployment"}, parts...)...)))
	return "d-" + base32.StdEncoding.EncodeToString(sum[:])[:9]
}

// DeploymentStatus is the status of a deployment's record in CodeDeploy's
// words.
func (b Build) DeploymentStatus() DeploymentStatus { return lifecycleStatus(b.Status) }
