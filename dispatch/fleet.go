package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/deployer/fleet"
	"github.com/slipway-ci/slipway/pipeline"
)

// Deployments keep what is known of deployments. Every change names the
// version that it was made from.
type Deployments interface {
	// SaveDeployment replaces the deployment before, which is at a version; 0
	// makes it. ErrConflict: it is at another one.
	SaveDeployment(ctx context.Context, d, before pipeline.Deployment, at int64, now time.Time) error
	Deployment(ctx context.Context, id string) (pipeline.Deployment, int64, error)
	Deployments(ctx context.Context, q pipeline.DeploymentQuery) (pipeline.Page[pipeline.Deployment], error)
	AliasDeployment(ctx context.Context, job, id string) error
	// TouchInstance extends an agent's lease and says why it is to stop, if it is.
	TouchInstance(ctx context.Context, id, agent string, fence int64, until time.Time) (stop string, err error)
	InstanceLeases(ctx context.Context, id string) (map[string]time.Time, error)
}

// DeploymentGroups keep the order of deployments within each group, and what
// its past says.
type DeploymentGroups interface {
	// Lease makes this server, for a time, the one that coordinates a group.
	Lease(ctx context.Context, name string, ttl time.Duration) (release func(), ok bool, err error)
	ActiveDeployment(ctx context.Context, group, next string) (string, error)
	EndActiveDeployment(ctx context.Context, d pipeline.Deployment, next string, health map[string]any) error
	QueueDeployment(ctx context.Context, group, id string) error
	GroupState(ctx context.Context, group string) (good *pipeline.Deployment, health map[string]json.RawMessage, err error)
	WakeGroup(ctx context.Context, group string)
}

// Offers let agents know of their work.
type Offers interface {
	Offer(ctx context.Context, id string, agents []string) error
	Offers(ctx context.Context, agent string) ([]string, error)
	DropOffer(ctx context.Context, id, agent string) error
	// FleetNews tells the names of agents, and of groups behind "group:", for
	// whom there is something new.
	FleetNews(ctx context.Context, tell func(name string))
}

// Agents know the hosts that revisions can be applied to.
type Agents interface {
	Agents(ctx context.Context) ([]pipeline.Agent, error)
	SawAgent(ctx context.Context, name string, at time.Time) error
}

// FleetStore is all that a Fleet remembers in.
type FleetStore interface {
	Deployments
	DeploymentGroups
	Offers
	Agents
}

// Group is a deployment group as the server's configuration has it.
type Group struct {
	Name, Environment string
	// Tags that agents must have; empty: the group's only instance is LocalAgent.
	Tags map[string]string
	// Config and MinimumHealthy as fleet.ParseConfig reads them.
	Config, MinimumHealthy string
	AutoRollback           []string
	// Alarms stop a deployment when one is active, or can't be asked, unless
	// IgnoreAlarmFailures.
	Alarms              []string
	IgnoreAlarmFailures bool
	Bake                time.Duration
	Zones               *pipeline.Zones
	// CatchUp deploys the present revision to agents that come later.
	CatchUp bool
}

// LocalAgent is the name of the agent in the server's own process.
const LocalAgent = "local"

// FleetOptions are the settings of a Fleet.
type FleetOptions struct {
	Groups []Group
	// Lease is how long an agent may be silent during a deployment, and may take
	// to begin one.
	Lease time.Duration
	// Alarm reports whether an alarm is active. It may be nil if no group has any.
	Alarm func(ctx context.Context, name string) (bool, error)
}

// Fleet carries out deployments over the instances of deployment groups. Any
// number of servers do: each group is coordinated by one of them at a time, and
// all that is known of a deployment is in the store, so that another one goes
// on where one ends. It is the pipeline.Control of agents.
type Fleet struct {
	service *Service
	store   FleetStore
	groups  map[string]Group
	lease   time.Duration
	alarm   func(ctx context.Context, name string) (bool, error)
	log     *slog.Logger
	now     func() time.Time

	// changing spares changes of one deployment in this process the conflicts
	// that they would have with each other; see lockOf.
	changing [64]sync.Mutex

	mu      sync.Mutex
	waiting map[string][]chan struct{} // by the name in FleetNews
	well    time.Time                  // see wellFor
	watches map[string]*alarmWatch     // by group
	looked  map[string]time.Time       // for late agents, by group
}

var _ pipeline.Control = (*Fleet)(nil)

// Fleet makes the part of the service that does deployments.
func (s *Service) Fleet(store FleetStore, o FleetOptions) *Fleet {
	f := &Fleet{
		service: s, store: store, groups: map[string]Group{}, lease: o.Lease, alarm: o.Alarm, log: s.log, now: s.now,
		waiting: map[string][]chan struct{}{}, watches: map[string]*alarmWatch{}, looked: map[string]time.Time{},
	}
	for _, g := range o.Groups {
		f.groups[g.Name] = g
	}
	return f
}

// Run coordinates the groups' deployments until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { f.store.FleetNews(ctx, f.tell) })
	for _, g := range f.groups {
		all.Go(func() { f.coordinate(ctx, g) })
	}
	all.Wait()
	return nil
}

// tell wakes those who wait for news of an agent or a group.
func (f *Fleet) tell(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.waiting[name] {
		close(c)
	}
	delete(f.waiting, name)
}

// wait returns when there is news for name, or after a while. look is called
// once news can't be missed any more.
func (f *Fleet) wait(ctx context.Context, name string, while time.Duration, look func() bool) {
	c := make(chan struct{})
	f.mu.Lock()
	f.waiting[name] = append(f.waiting[name], c)
	f.mu.Unlock()
	defer f.forget(name, c)
	if look() {
		return
	}
	t := time.NewTimer(while)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-c:
	}
}

func (f *Fleet) forget(name string, c chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting[name] = slices.DeleteFunc(f.waiting[name], func(other chan struct{}) bool { return other == c })
	if len(f.waiting[name]) == 0 {
		delete(f.waiting, name)
	}
}

// applyTries bounds how often a change is tried again because somebody else's
// came first.
const applyTries = 50

// apply puts an event through the rules and keeps what comes of it. Instances
// that may start then are offered to their agents.
func (f *Fleet) apply(ctx context.Context, id string, e fleet.Event) (pipeline.Deployment, error) {
	var d pipeline.Deployment
	e.At = f.now().UTC()
	err := f.change(ctx, id, func(before pipeline.Deployment) (_ pipeline.Deployment, err error) {
		d, err = fleet.Step(before, e)
		return d, err
	})
	return d, err
}

// change replaces a deployment by what edit makes of it.
func (f *Fleet) change(ctx context.Context, id string, edit func(pipeline.Deployment) (pipeline.Deployment, error)) error {
	lock := f.lockOf(id)
	lock.Lock()
	defer lock.Unlock()
	for range applyTries {
		before, at, err := f.store.Deployment(ctx, id)
		if err != nil {
			return err
		}
		d, err := edit(before)
		if err != nil || same(d, before) {
			return err
		}
		err = f.store.SaveDeployment(ctx, d, before, at, f.now())
		if errors.Is(err, pipeline.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f.store.Offer(ctx, d.ID, begun(d, before)); err != nil {
			f.log.WarnContext(ctx, "agents hear of a deployment later", "job", d.ID, "error", err) // see reoffer
		}
		if d.Status.Ended() {
			f.store.WakeGroup(ctx, d.Group)
		}
		return nil
	}
	return fmt.Errorf("changing deployment %s: %w", id, pipeline.ErrConflict)
}

// lockOf is a deployment's lock. Others may share it.
func (f *Fleet) lockOf(id string) *sync.Mutex {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return &f.changing[h.Sum32()%uint32(len(f.changing))]
}

func same(a, b pipeline.Deployment) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// begun are the agents that may take their instance now and might not before.
func begun(d, before pipeline.Deployment) []string {
	var names []string
	for _, i := range d.Instances {
		if was := before.Instance(i.Agent); startable(i) && (was == nil || !startable(*was)) {
			names = append(names, i.Agent)
		}
	}
	return names
}

func startable(i pipeline.Instance) bool {
	return i.Status == pipeline.DeploymentInProgress && i.Fence == 0
}
