package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/pipeline"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func agent(i int) string { return fmt.Sprintf("i%02d", i) }

// fresh is a deployment over n instances that has not begun.
func fresh(n int, config, minimum string) pipeline.Deployment {
	d := pipeline.Deployment{
		ID: "d-TEST", Group: "web", Creator: pipeline.CreatorUser, Status: pipeline.DeploymentCreated,
		Config: config, MinimumHealthy: minimum, Lease: time.Minute,
	}
	for i := range n {
		d.Instances = append(d.Instances, pipeline.Instance{Agent: agent(i), Status: pipeline.DeploymentPending})
	}
	return d
}

func must(t testing.TB, d pipeline.Deployment, e Event) pipeline.Deployment {
	t.Helper()
	if e.At.IsZero() {
		e.At = start
	}
	d, err := Step(d, e)
	if err != nil {
		t.Fatalf("%s %s: %v", e.Type, e.Agent, err)
	}
	return d
}

func take(t testing.TB, d pipeline.Deployment, name string) pipeline.Deployment {
	t.Helper()
	return must(t, d, Event{Type: Take, Agent: name})
}

func finish(t testing.TB, d pipeline.Deployment, name string, status pipeline.DeploymentStatus) pipeline.Deployment {
	t.Helper()
	e := Event{Type: Finish, Agent: name, Fence: d.Instance(name).Fence, Status: status}
	if status == pipeline.DeploymentFailed {
		e.Error = &pipeline.DeploymentError{Code: "ScriptFailed", Message: "exit code 1"}
	}
	return must(t, d, e)
}

func started(d pipeline.Deployment) int {
	n := 0
	for _, i := range d.Instances {
		if i.Status == pipeline.DeploymentInProgress {
			n++
		}
	}
	return n
}

// TestRule plays whole deployments, instance by instance in their order. In
// results, s succeeds and f fails; those beyond it are never begun.
func TestRule(t *testing.T) {
	const succeeded, failed = pipeline.DeploymentSucceeded, pipeline.DeploymentFailed
	tests := []struct {
		name, config, minimum string
		results               string
		n, atATime            int // the first batch
		want                  pipeline.DeploymentStatus
		code                  string
	}{
		{"4.1 AllAtOnce: one success is enough", AllAtOnce, "", "fffs", 4, 4, succeeded, ""},
		{"4.1 AllAtOnce: none is not", AllAtOnce, "", "ffff", 4, 4, failed, pipeline.HealthConstraints},
		{"4.1 HalfAtATime, N=9: 4 at a time, 5 succeed", HalfAtATime, "", "sssssffff", 9, 4, succeeded, ""},
		{"4.1 HalfAtATime: the fourth failure with more to come ends it", HalfAtATime, "", "ssfsfff", 9, 4, failed, pipeline.HealthConstraints},
		{"4.1 OneAtATime: all", OneAtATime, "", "sss", 3, 1, succeeded, ""},
		{"4.1 OneAtATime: the last one may fail", OneAtATime, "", "ssf", 3, 1, succeeded, ""},
		{"4.1 OneAtATime: another may not", OneAtATime, "", "sf", 3, 1, failed, pipeline.HealthConstraints},
		{"4.1 OneAtATime, N=1 must succeed", OneAtATime, "", "f", 1, 1, failed, "ScriptFailed"},
		{"4.2 N=9, HOST_COUNT 6: three at a time, six are enough", "", "6", "ssssssfff", 9, 3, succeeded, ""},
		{"4.2 N=9, 40 %: five at a time", "", "40%", "sssssssss", 9, 5, succeeded, ""},
		{"4.2 N=10, M=9: the first failure is fatal", "", "9", "sssf", 10, 1, failed, pipeline.HealthConstraints},
		{"4.2 N=10, M=9: unless it is the tenth", "", "9", "sssssssssf", 10, 1, succeeded, ""},
		{"4.2 N=10, M=8: the second failure is fatal", "", "8", "sfsf", 10, 2, failed, pipeline.HealthConstraints},
		{"4.2 N=10, M=8: unless last", "", "8", "sfsssssssf", 10, 2, succeeded, ""},
		{"4.2 N=10, 95 %: fails before anything is touched", "", "95%", "", 10, 0, failed, pipeline.HealthConstraintsInvalid},
		{"4.2 N=0", AllAtOnce, "", "", 0, 0, failed, pipeline.NoInstances},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := must(t, fresh(tt.n, tt.config, tt.minimum), Event{Type: Begin})
			if got := started(d); got != tt.atATime {
				t.Errorf("%d begin, want %d", got, tt.atATime)
			}
			for i, r := range tt.results {
				d = take(t, d, agent(i))
				status := succeeded
				if r == 'f' {
					status = failed
				}
				d = finish(t, d, agent(i), status)
			}
			code := ""
			if d.Error != nil {
				code = d.Error.Code
			}
			if d.Status != tt.want || code != tt.code {
				t.Errorf("the deployment is %s with %q, want %s with %q", d.Status, code, tt.want, tt.code)
			}
			for i := len(tt.results); i < tt.n; i++ {
				if got := d.Instances[i].Status; got != pipeline.DeploymentSkipped {
					t.Errorf("%s is %s, want Skipped", agent(i), got)
				}
			}
		})
	}
}

func TestWhoRunsGoesOnAfterTheEnd(t *testing.T) {
	d := must(t, fresh(4, "", "2"), Event{Type: Begin})
	d = take(t, d, agent(0))
	d = take(t, d, agent(1))
	d = finish(t, d, agent(0), pipeline.DeploymentFailed)
	d = finish(t, d, agent(1), pipeline.DeploymentFailed)
	d.Instances = slices.Clone(d.Instances)
	if d.Status != pipeline.DeploymentFailed {
		t.Fatalf("the deployment is %s, want Failed", d.Status)
	}
	// With one of them still under way, the end waits for it.
	d = must(t, fresh(4, "", "3"), Event{Type: Begin})
	d = take(t, d, agent(0))
	d = must(t, d, Event{Type: Stop, Reason: "enough"})
	if d.Status != pipeline.DeploymentInProgress {
		t.Fatalf("the deployment is %s while an instance runs, want InProgress", d.Status)
	}
	d = finish(t, d, agent(0), pipeline.DeploymentStopped)
	if d.Status != pipeline.DeploymentStopped || d.Error.Code != pipeline.ManualStop || d.Error.Message != "enough" {
		t.Errorf("the deployment is %s (%v), want Stopped because of enough", d.Status, d.Error)
	}
}

func TestSilentAgents(t *testing.T) {
	later := start.Add(61 * time.Second)
	d := must(t, fresh(2, AllAtOnce, ""), Event{Type: Begin})
	d = take(t, d, agent(1))
	d = must(t, d, Event{Type: Tick, At: start.Add(59 * time.Second), Leases: map[string]time.Time{agent(1): start.Add(time.Minute)}})
	if started(d) != 2 {
		t.Fatalf("%d are under way before their time is over, want 2", started(d))
	}
	d = must(t, d, Event{Type: Tick, At: later, Leases: map[string]time.Time{agent(1): start.Add(2 * time.Minute)}})
	if got := d.Instances[0]; got.Status != pipeline.DeploymentFailed || got.Error.Code != pipeline.AgentOffline {
		t.Errorf("the one that was not taken is %s (%v), want Failed, AGENT_OFFLINE", got.Status, got.Error)
	}
	if d.Instances[1].Status != pipeline.DeploymentInProgress {
		t.Errorf("the one that was renewed is %s, want InProgress", d.Instances[1].Status)
	}
	d = must(t, d, Event{Type: Tick, At: start.Add(3 * time.Minute), Leases: map[string]time.Time{agent(1): start.Add(2 * time.Minute)}})
	if d.Status != pipeline.DeploymentFailed {
		t.Errorf("with both gone the deployment is %s, want Failed", d.Status)
	}
	if _, err := Step(d, Event{Type: Finish, Agent: agent(1), Fence: 1, At: later, Status: pipeline.DeploymentSucceeded}); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("one that was given up and speaks again: %v, want ErrStale", err)
	}
}

// TestWhoMayTake: the name is compared as a whole, and what has ended is
// neither begun nor ended again.
func TestWhoMayTake(t *testing.T) { // D78, D79
	d := must(t, fresh(2, AllAtOnce, ""), Event{Type: Begin})
	for _, name := range []string{"", agent(0)[:len(agent(0))-1], agent(0) + "0", strings.ToUpper(agent(0))} {
		if _, err := Step(d, Event{Type: Take, Agent: name, At: start}); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("D78: %q takes the instance of %s: %v, want ErrNotFound", name, agent(0), err)
		}
	}
	d = finish(t, take(t, d, agent(0)), agent(0), pipeline.DeploymentFailed)
	if _, err := Step(d, Event{Type: Take, Agent: agent(0), At: start}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("D79: one that has failed is taken: %v, want ErrNotFound", err)
	}
	if _, err := Step(d, Event{Type: Finish, Agent: agent(0), Fence: 1, At: start, Status: pipeline.DeploymentSucceeded}); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("D79: one that has failed succeeds: %v, want ErrStale", err)
	}
}

func TestAnAgentThatIsStartedAgain(t *testing.T) {
	d := must(t, fresh(2, AllAtOnce, ""), Event{Type: Begin})
	d = take(t, d, agent(0))
	first := *d.Instance(agent(0))
	d = take(t, d, agent(0))
	again := *d.Instance(agent(0))
	if again.Fence != 2 || again.Job == first.Job || !slices.Equal(again.Earlier, []string{first.Job}) {
		t.Errorf("the second process has the token %d, the job %s and earlier %v, want 2, another than %s, and that", again.Fence, again.Job, again.Earlier, first.Job)
	}
	if _, err := Step(d, Event{Type: Finish, Agent: agent(0), Fence: 1, At: start, Status: pipeline.DeploymentFailed}); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("the first process ends it: %v, want ErrStale", err)
	}
	if _, err := Step(d, Event{Type: Take, Agent: "stranger", At: start}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a stranger takes it: %v, want ErrNotFound", err)
	}
}

func TestTimeout(t *testing.T) {
	d := fresh(2, OneAtATime, "")
	d.Timeout = time.Hour
	d = must(t, d, Event{Type: Begin})
	d = take(t, d, agent(0))
	at := start.Add(61 * time.Minute)
	d = must(t, d, Event{Type: Tick, At: at, Leases: map[string]time.Time{agent(0): at.Add(time.Minute)}})
	if d.StopReason == "" {
		t.Fatal("after its time the deployment is not being stopped")
	}
	d = finish(t, d, agent(0), pipeline.DeploymentStopped)
	if d.Status != pipeline.DeploymentFailed || d.Error.Code != pipeline.DeploymentTimeout {
		t.Errorf("the deployment is %s (%v), want Failed, TIMEOUT", d.Status, d.Error)
	}
}

// CodeDeploy reference 4.2, refinement: stopped hosts. Ours: those that are
// gone are left out and count for nothing.
func TestOfflineInstancesAreLeftOut(t *testing.T) {
	agents := []pipeline.Agent{{Name: "a", SeenAt: start.Add(-time.Second)}, {Name: "b", SeenAt: start.Add(-time.Hour)}}
	d := fresh(0, OneAtATime, "")
	d.Instances = Instances(d, agents, nil, "", start)
	d = must(t, d, Event{Type: Begin})
	d = finish(t, take(t, d, "a"), "a", pipeline.DeploymentSucceeded)
	if d.Status != pipeline.DeploymentSucceeded {
		t.Errorf("the deployment is %s, want Succeeded", d.Status)
	}
	d = fresh(0, OneAtATime, "")
	d.Instances = Instances(d, agents[1:], nil, "", start)
	d = must(t, d, Event{Type: Begin})
	if d.Status != pipeline.DeploymentFailed || d.Error.Code != pipeline.NoInstances || !strings.Contains(d.Error.Message, "offline") {
		t.Errorf("with nobody there the deployment is %s (%v), want Failed, NO_INSTANCES", d.Status, d.Error)
	}
}

// CodeDeploy reference 4.2: unhealthy, then unknown, old and current revision.
func TestOrder(t *testing.T) {
	var agents []pipeline.Agent
	for _, name := range []string{"current", "old", "unknown", "failed", "new"} {
		agents = append(agents, pipeline.Agent{Name: name, SeenAt: start})
	}
	known := map[string]Health{
		"current": {"d-2", "two", true}, "old": {"d-1", "one", true}, "unknown": {"d-0", "", true}, "failed": {"d-2", "two", false},
	}
	var got []string
	for _, i := range Instances(pipeline.Deployment{ID: "d-3"}, agents, known, "two", start) {
		got = append(got, i.Agent)
	}
	slices.Sort(got[:2]) // the same class: as chance will have it
	if diff := cmp.Diff([]string{"failed", "new", "unknown", "old", "current"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// CodeDeploy reference 5.1.
func TestMatches(t *testing.T) {
	tags := map[string]string{"env": "prod", "role": "web"}
	tests := []struct {
		name string
		want map[string]string
		ok   bool
	}{
		{"all of several keys", map[string]string{"env": "prod", "role": "web"}, true},
		{"one of them is not", map[string]string{"env": "prod", "role": "db"}, false},
		{"any of several values", map[string]string{"role": "db|web"}, true},
		{"a pattern", map[string]string{"env": "pr*"}, true},
		{"the key alone", map[string]string{"env": "*"}, true},
		{"a key that is missing", map[string]string{"zone": "*"}, false},
		{"case counts", map[string]string{"env": "Prod"}, false},
	}
	for _, tt := range tests {
		if got := Matches(tt.want, tags); got != tt.ok {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.ok)
		}
	}
}

// CodeDeploy reference 5.4.
func TestRollsBack(t *testing.T) {
	touched := []pipeline.Instance{{Agent: "a", Fence: 1, Status: pipeline.DeploymentFailed}, {Agent: "b", Status: pipeline.DeploymentSkipped}}
	both := []string{pipeline.RollbackOnFailure, pipeline.RollbackOnStop}
	tests := []struct {
		name      string
		creator   string
		status    pipeline.DeploymentStatus
		events    []string
		instances []pipeline.Instance
		want      bool
	}{
		{"a failure", pipeline.CreatorUser, pipeline.DeploymentFailed, both, touched, true},
		{"a stop", pipeline.CreatorUser, pipeline.DeploymentStopped, both, touched, true},
		{"a stop that isn't asked for", pipeline.CreatorUser, pipeline.DeploymentStopped, both[:1], touched, false},
		{"nothing is asked for", pipeline.CreatorUser, pipeline.DeploymentFailed, nil, touched, false},
		{"a success", pipeline.CreatorUser, pipeline.DeploymentSucceeded, both, touched, false},
		{"a stop, with only alarms asked for", pipeline.CreatorUser, pipeline.DeploymentStopped, []string{pipeline.RollbackOnAlarm}, touched, false},
		{"a rollback is never rolled back", pipeline.CreatorRollback, pipeline.DeploymentFailed, both, touched, false},
		{"nothing was touched", pipeline.CreatorUser, pipeline.DeploymentFailed, both, touched[1:], false},
	}
	for _, tt := range tests {
		if got := RollsBack(pipeline.Deployment{Creator: tt.creator, Status: tt.status, AutoRollback: tt.events, Instances: tt.instances}); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestARollbackGoesOnWhateverFails(t *testing.T) {
	d := fresh(3, "", "6") // more than there are in its scope
	d.KeepGoing = true
	d = must(t, d, Event{Type: Begin})
	for i, status := range []pipeline.DeploymentStatus{pipeline.DeploymentFailed, pipeline.DeploymentSucceeded, pipeline.DeploymentSucceeded} {
		d = finish(t, take(t, d, agent(i)), agent(i), status)
	}
	if d.Status != pipeline.DeploymentSucceeded {
		t.Errorf("the rollback is %s (%v), want Succeeded", d.Status, d.Error)
	}
}

// TestProperty: whatever the agents do and in which order, never more
// instances are under way or failed than the configuration lets be unhealthy,
// an instance that has ended stays so, and the deployment ends.
func TestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "instances")
		config := rapid.SampledFrom([][2]string{
			{AllAtOnce, ""}, {HalfAtATime, ""}, {OneAtATime, ""}, {"", "0"}, {"", "2"}, {"", "5"}, {"", "30%"}, {"", "75%"},
		}).Draw(t, "config")
		d := fresh(n, config[0], config[1])
		d.KeepGoing = rapid.Bool().Draw(t, "keeps going")
		d.Bake = time.Duration(rapid.IntRange(0, 3).Draw(t, "bake")) * time.Minute
		if rapid.Bool().Draw(t, "zones") {
			d.Zones = &pipeline.Zones{Tag: "zone", Monitor: time.Minute, MinimumHealthy: rapid.SampledFrom([]string{"", "1", "50%"}).Draw(t, "in each zone")}
			for i := range d.Instances {
				d.Instances[i].Tags = map[string]string{"zone": rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "zone")}
			}
		}
		c, err := ParseConfig(config[0], config[1])
		if err != nil {
			t.Fatal(err)
		}
		room := max(n-c.Minimum(n), 0)
		if d.KeepGoing && n > 0 {
			room = max(room, 1)
		}
		now := start
		step := func(e Event) {
			e.At = now
			next, err := Step(d, e)
			if err != nil {
				return // it changes nothing then
			}
			check(t, d, next, room)
			d = next
		}
		step(Event{Type: Begin})
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			name := agent(rapid.IntRange(0, 8).Draw(t, "agent"))
			step(Event{
				Type:  rapid.SampledFrom([]EventType{Take, Take, Finish, Finish, Finish, Tick, Stop, Begin}).Draw(t, "event"),
				Agent: name, Fence: int64(rapid.IntRange(0, 3).Draw(t, "fence")), Leases: map[string]time.Time{name: now.Add(-time.Second)},
				Status: rapid.SampledFrom([]pipeline.DeploymentStatus{pipeline.DeploymentSucceeded, pipeline.DeploymentFailed, pipeline.DeploymentStopped}).Draw(t, "status"),
				Reason: "enough",
			})
		}
		for range 4*n + 6 { // every agent falls silent
			now = now.Add(2 * time.Minute)
			leases := map[string]time.Time{}
			for _, i := range d.Instances {
				leases[i.Agent] = start
			}
			step(Event{Type: Tick, Leases: leases})
		}
		if !d.Status.Ended() {
			t.Fatalf("the deployment does not end: %+v", d)
		}
		for _, i := range d.Instances {
			if !i.Status.Ended() {
				t.Fatalf("the deployment has ended and %s is %s", i.Agent, i.Status)
			}
		}
	})
}

func check(t *rapid.T, before, d pipeline.Deployment, room int) {
	failed, running := 0, 0
	zones := map[string]bool{}
	for k, i := range d.Instances {
		was := before.Instances[k]
		if was.Status.Ended() && was.Status != i.Status {
			t.Fatalf("%s was %s and is %s", i.Agent, was.Status, i.Status)
		}
		if i.Fence < was.Fence {
			t.Fatalf("the token of %s went back from %d to %d", i.Agent, was.Fence, i.Fence)
		}
		switch i.Status {
		case pipeline.DeploymentInProgress:
			running++
			zones[i.Tags["zone"]] = true
		case pipeline.DeploymentFailed, pipeline.DeploymentStopped:
			failed++
		}
	}
	if d.Zones != nil && !d.KeepGoing && len(zones) > 1 {
		t.Fatalf("several zones are under way: %v", zones)
	}
	unhealthy := running + failed
	if d.KeepGoing {
		unhealthy = running
	}
	if unhealthy > room {
		t.Fatalf("%d run and %d failed, and only %d may be unhealthy", running, failed, room)
	}
	if before.Status.Ended() && before.Status != d.Status {
		t.Fatalf("the deployment was %s and is %s", before.Status, d.Status)
	}
}
