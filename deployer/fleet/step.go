package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// EventType says what happened to a deployment.
type EventType string

// The events.
const (
	Begin  EventType = "begin"  // it is its turn
	Tick   EventType = "tick"   // time went by
	Take   EventType = "take"   // an agent takes its instance, or takes it again
	Finish EventType = "finish" // an agent says how its instance ended
	Stop   EventType = "stop"   // a person, or a newer execution, ends it
)

// Event is something that happened to a deployment.
type Event struct {
	Type EventType
	At   time.Time
	// Agent is whose instance Take and Finish are about, and Fence the token of
	// who speaks of it.
	Agent string
	Fence int64
	// Leases are until when the agents may be silent, at a Tick, and Seen is when
	// they were heard of last: one that is heard of and takes nothing is busy with
	// another deployment. Patient: agents may be silent because the server was
	// away.
	Leases  map[string]time.Time
	Seen    map[string]time.Time
	Patient bool
	// Status, Error and Annotations are how an instance ended. Reason is why a
	// deployment is stopped, and Code, if set, its error's.
	Status      pipeline.DeploymentStatus
	Error       *pipeline.DeploymentError
	Annotations []forge.Annotation
	Reason      string
	Code        string
}

// Step is the deployment after an event. It changes nothing of d. ErrNotFound:
// the agent has nothing to take. ErrStale: the instance is no longer that
// process' of the agent. An event that changes nothing returns d as it is.
func Step(d pipeline.Deployment, e Event) (pipeline.Deployment, error) {
	d.Instances = slices.Clone(d.Instances)
	if d.Status.Ended() {
		if e.Type == Take {
			return d, pipeline.ErrNotFound
		}
		if e.Type == Finish {
			return d, pipeline.ErrStale
		}
		return d, nil
	}
	config, err := ParseConfig(d.Config, d.MinimumHealthy)
	if err != nil {
		return fail(d, e.At, pipeline.HealthConstraintsInvalid, err.Error()), nil
	}
	s := &step{d: d, at: e.At, config: config}
	if s.zones, err = zonesOf(d); err != nil {
		return fail(d, e.At, pipeline.HealthConstraintsInvalid, err.Error()), nil
	}
	switch e.Type {
	case Begin:
		s.begin()
	case Tick:
		s.tick(e)
	case Take:
		err = s.take(e.Agent)
	case Finish:
		err = s.finish(e)
	case Stop:
		s.stop(e.Reason, e.Code)
	}
	if err != nil || !s.d.Status.UnderWay() {
		return s.d, err
	}
	s.proceed()
	return s.d, nil
}

type step struct {
	d      pipeline.Deployment
	at     time.Time
	config Config
	zones  []zone
}

// tally are the numbers of the rule (CodeDeploy reference 4.2).
type tally struct {
	n, minimum                          int
	succeeded, failed, waiting, running int
}

func (t tally) capacity() int { return t.n - t.minimum }

func (s *step) tally() tally {
	t := count(s.d.Instances, s.config)
	if s.d.KeepGoing {
		t.minimum = min(t.minimum, max(t.n-1, 0))
	}
	return t
}

// count counts the instances that are targets.
func count(instances []pipeline.Instance, c Config) tally {
	var t tally
	for _, i := range instances {
		switch i.Status {
		case pipeline.DeploymentSucceeded:
			t.succeeded++
		case pipeline.DeploymentFailed, pipeline.DeploymentStopped:
			t.failed++
		case pipeline.DeploymentInProgress:
			t.running++
		case pipeline.DeploymentPending:
			t.waiting++
		default:
			// One that was left out from the beginning counts for nothing; one that
			// is left out because the deployment ends was a target.
			if i.Error != nil {
				continue
			}
		}
		t.n++
	}
	t.minimum = c.Minimum(t.n)
	return t
}

func (s *step) begin() {
	if s.d.Status.UnderWay() {
		return
	}
	t := s.tally()
	switch {
	case t.n == 0:
		s.d = fail(s.d, s.at, pipeline.NoInstances, noInstances(s.d))
	case t.minimum >= t.n:
		s.d = fail(s.d, s.at, pipeline.HealthConstraintsInvalid, fmt.Sprintf(
			"of %d instances %d must stay healthy, so none could be deployed to", t.n, t.minimum))
	case s.fullZone() != "":
		s.d = fail(s.d, s.at, pipeline.HealthConstraintsInvalid, s.fullZone())
	default:
		s.d.Status, s.d.StartedAt = pipeline.DeploymentInProgress, s.at
	}
}

func noInstances(d pipeline.Deployment) string {
	if len(d.Instances) > 0 {
		return fmt.Sprintf("all %d instances of the deployment group %s are offline", len(d.Instances), d.Group)
	}
	return fmt.Sprintf("the deployment group %s has no instances: no agent is registered with its tags", d.Group)
}

// fail ends a deployment that touched nothing.
func fail(d pipeline.Deployment, at time.Time, code, message string) pipeline.Deployment {
	d.Status, d.EndedAt = pipeline.DeploymentFailed, at
	d.Error = &pipeline.DeploymentError{Code: code, Message: message}
	for i := range d.Instances {
		if d.Instances[i].Status == pipeline.DeploymentPending {
			d.Instances[i].Status = pipeline.DeploymentSkipped
		}
	}
	return d
}

// tick fails the instances whose agents are silent, and ends a deployment
// whose time is over.
func (s *step) tick(e Event) {
	for i := range s.d.Instances {
		in := &s.d.Instances[i]
		if in.Status != pipeline.DeploymentInProgress || e.Patient {
			continue
		}
		lease, known := e.Leases[in.Agent]
		switch {
		case in.Fence == 0 && s.at.After(in.TakeBy) && s.at.Sub(e.Seen[in.Agent]) > s.d.Lease:
			s.lost(in, "the agent did not take the deployment in time: it is offline")
		case in.Fence > 0 && known && s.at.After(lease):
			s.lost(in, "the agent vanished during the deployment")
		}
	}
	if s.d.Timeout > 0 && s.d.StopReason == "" && s.at.Sub(s.d.StartedAt) > s.d.Timeout {
		s.stop("the deployment took longer than "+s.d.Timeout.String(), pipeline.DeploymentTimeout)
	}
}

func (s *step) lost(in *pipeline.Instance, message string) {
	in.Status, in.EndedAt = pipeline.DeploymentFailed, s.at
	in.Error = &pipeline.DeploymentError{Code: pipeline.AgentOffline, Message: message}
}

// take gives an instance to its agent. An agent that takes it a second time
// has been started again; its journal says what the first process did.
func (s *step) take(agent string) error {
	in := s.d.Instance(agent)
	if in == nil || in.Status != pipeline.DeploymentInProgress || s.d.StopReason != "" && in.Fence == 0 {
		return pipeline.ErrNotFound
	}
	if in.Job != "" {
		in.Earlier = append(slices.Clone(in.Earlier), in.Job)
	}
	in.Fence++
	if in.StartedAt.IsZero() {
		in.StartedAt = s.at
	}
	in.Job = jobID(s.d, *in)
	return nil
}

// jobID names the record and the log of an instance's part. Where there is one
// instance they are the deployment's own.
func jobID(d pipeline.Deployment, in pipeline.Instance) string {
	switch {
	case in.Fence > 1:
		return fmt.Sprintf("%s.%s.%d", d.ID, in.Agent, in.Fence)
	case len(d.Instances) == 1:
		return d.ID
	}
	return d.ID + "." + in.Agent
}

func (s *step) finish(e Event) error {
	in := s.d.Instance(e.Agent)
	if in == nil || in.Status != pipeline.DeploymentInProgress || in.Fence != e.Fence {
		return pipeline.ErrStale
	}
	in.Status, in.Error, in.EndedAt = e.Status, e.Error, s.at
	if !in.Status.Ended() {
		in.Status = pipeline.DeploymentFailed
	}
	if in.Status == pipeline.DeploymentFailed && len(s.d.Annotations) == 0 {
		s.d.Annotations = e.Annotations
	}
	return nil
}

// stop leaves out what was not begun. What runs is ended by its agent, which
// hears of it at its next renewal.
func (s *step) stop(reason, code string) {
	if s.d.StopReason != "" {
		return
	}
	if reason == "" {
		reason = "stopped"
	}
	s.d.StopReason = reason
	if code != "" {
		s.d.Error = &pipeline.DeploymentError{Code: code, Message: reason}
	}
	s.leaveOut()
	if !s.d.Status.UnderWay() { // it was not its turn yet
		s.end(pipeline.DeploymentStopped)
	}
}

// leaveOut skips every instance that no agent has taken.
func (s *step) leaveOut() {
	for i := range s.d.Instances {
		in := &s.d.Instances[i]
		if in.Status == pipeline.DeploymentPending || in.Status == pipeline.DeploymentInProgress && in.Fence == 0 {
			in.Status, in.TakeBy = pipeline.DeploymentSkipped, time.Time{}
		}
	}
}

// proceed starts what may start, and ends the deployment when nothing is left
// to do (CodeDeploy reference 4.2).
func (s *step) proceed() {
	t := s.tally()
	lost := s.failedZone()
	if early := t.failed >= t.capacity() || lost != ""; early && t.waiting > 0 && !s.d.KeepGoing {
		s.leaveOut()
		s.d.Error = s.unhealthy(t, cmp.Or(lost, "the others are left out, so that enough stay healthy"))
		t = s.tally()
	}
	room := s.room()
	for i := range s.d.Instances {
		in := &s.d.Instances[i]
		if in.Status == pipeline.DeploymentPending && t.running+s.counted(t) < t.capacity() && room.takes(*in) {
			in.Status, in.TakeBy = pipeline.DeploymentInProgress, s.at.Add(s.d.Lease)
			t.running++
			t.waiting--
		}
	}
	if t.running > 0 || t.waiting > 0 {
		return
	}
	s.conclude(t)
}

// conclude ends a deployment whose instances are done, once it was watched for
// long enough.
func (s *step) conclude(t tally) {
	stopped := s.d.StopReason != "" && (s.d.Error == nil || s.d.Error.Code == pipeline.AlarmActive)
	failed := s.d.Error != nil || t.succeeded < max(t.minimum, 1)
	switch {
	case stopped:
		s.end(pipeline.DeploymentStopped)
	case failed:
		if s.d.Error == nil {
			s.d.Error = s.unhealthy(t, fmt.Sprintf("%d must succeed", max(t.minimum, 1)))
		}
		s.end(pipeline.DeploymentFailed)
	case s.d.Bake > 0 && s.d.BakeUntil.IsZero():
		s.d.Status, s.d.BakeUntil = pipeline.DeploymentBaking, s.at.Add(s.d.Bake)
	case !s.at.Before(s.d.BakeUntil):
		s.end(pipeline.DeploymentSucceeded)
	}
}

// counted are the failures that take up room.
func (s *step) counted(t tally) int {
	if s.d.KeepGoing {
		return 0
	}
	return t.failed
}

func (s *step) end(status pipeline.DeploymentStatus) {
	s.d.Status, s.d.EndedAt = status, s.at
	if status == pipeline.DeploymentStopped && s.d.Error == nil {
		s.d.Error = &pipeline.DeploymentError{Code: pipeline.ManualStop, Message: s.d.StopReason}
	}
}

// unhealthy says which instances failed, and what that means; of one instance
// alone what it said.
func (s *step) unhealthy(t tally, so string) *pipeline.DeploymentError {
	var failed []string
	var last *pipeline.DeploymentError
	for _, i := range s.d.Instances {
		if i.Status != pipeline.DeploymentFailed && i.Status != pipeline.DeploymentStopped || i.Error == nil {
			continue
		}
		last = i.Error
		failed = append(failed, i.Agent+": "+i.Error.Message)
	}
	if len(s.d.Instances) == 1 && last != nil {
		return last
	}
	const shown = 3
	more := ""
	if len(failed) > shown {
		failed, more = failed[:shown], fmt.Sprintf("; and %d more", len(failed)-shown)
	}
	return &pipeline.DeploymentError{Code: pipeline.HealthConstraints, Message: fmt.Sprintf(
		"%d of %d instances failed, and %s (%s): %s%s", t.failed, t.n, so, s.config.Name(), strings.Join(failed, "; "), more)}
}

// RollsBack reports whether an ended deployment is to be rolled back by
// itself. A rollback never is, and neither is one that touched no instance
// (CodeDeploy reference 5.4).
func RollsBack(d pipeline.Deployment) bool {
	if d.Creator == pipeline.CreatorRollback || len(Touched(d)) == 0 {
		return false
	}
	switch d.Status {
	case pipeline.DeploymentFailed:
		return slices.Contains(d.AutoRollback, pipeline.RollbackOnFailure)
	case pipeline.DeploymentStopped:
		if d.Error != nil && d.Error.Code == pipeline.AlarmActive {
			return slices.Contains(d.AutoRollback, pipeline.RollbackOnAlarm)
		}
		return slices.Contains(d.AutoRollback, pipeline.RollbackOnStop)
	}
	return false
}

// Touched are the agents that began the deployment: the scope of its rollback.
func Touched(d pipeline.Deployment) []string {
	var names []string
	for _, i := range d.Instances {
		if i.Fence > 0 {
			names = append(names, i.Agent)
		}
	}
	return names
}
