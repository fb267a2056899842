package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// zoned is a deployment over instances in these zones; "-" has none.
func zoned(zones string, z pipeline.Zones) pipeline.Deployment {
	names := strings.Fields(zones)
	d := fresh(len(names), AllAtOnce, "")
	z.Tag, d.Zones = "zone", &z
	for i, name := range names {
		if name != "-" {
			d.Instances[i].Tags = map[string]string{"zone": name}
		}
	}
	return d
}

// underWay are the agents whose instances may be taken or are.
func underWay(d pipeline.Deployment) string {
	var names []string
	for _, i := range d.Instances {
		if i.Status == pipeline.DeploymentInProgress {
			names = append(names, i.Agent)
		}
	}
	return strings.Join(names, " ")
}

// done ends an instance at a time.
func done(t *testing.T, d pipeline.Deployment, i int, status pipeline.DeploymentStatus, at time.Time) pipeline.Deployment {
	t.Helper()
	d = must(t, d, Event{Type: Take, Agent: agent(i), At: at})
	e := Event{Type: Finish, Agent: agent(i), Fence: 1, Status: status, At: at}
	if status == pipeline.DeploymentFailed {
		e.Error = &pipeline.DeploymentError{Code: "ScriptFailed", Message: "exit code 1"}
	}
	return must(t, d, e)
}

func TestZonesOneAfterTheOther(t *testing.T) {
	d := zoned("b - a b", pipeline.Zones{Order: []string{"b"}, Monitor: time.Minute, FirstMonitor: 3 * time.Minute})
	d = must(t, d, Event{Type: Begin})
	at := start
	step := func(i int, want string) {
		t.Helper()
		d = done(t, d, i, pipeline.DeploymentSucceeded, at)
		if got := underWay(d); got != want {
			t.Fatalf("behind %s: %q are under way, want %q", agent(i), got, want)
		}
	}
	watch := func(pause time.Duration, want string) {
		t.Helper()
		if d = must(t, d, Event{Type: Tick, At: at.Add(pause - time.Second)}); underWay(d) != "" {
			t.Fatalf("%q are under way before %s are over", underWay(d), pause)
		}
		at = at.Add(pause)
		if d = must(t, d, Event{Type: Tick, At: at}); underWay(d) != want {
			t.Fatalf("%q are under way, want %q", underWay(d), want)
		}
	}
	if underWay(d) != "i00 i03" {
		t.Fatalf("%q begin, want the zone that the order names first", underWay(d))
	}
	step(0, "i03")
	step(3, "")
	watch(3*time.Minute, "i02")
	step(2, "")
	watch(time.Minute, "i01")
	if step(1, ""); d.Status != pipeline.DeploymentSucceeded {
		t.Errorf("the deployment is %s, want Succeeded without a pause behind the last zone", d.Status)
	}
}

func TestZoneFails(t *testing.T) {
	const failed, succeeded = pipeline.DeploymentFailed, pipeline.DeploymentSucceeded
	tests := []struct {
		name, zones, minimum string
		results              string // in the order of instances
		want                 pipeline.DeploymentStatus
		skipped              int
	}{
		{"no minimum: a zone may fail, the whole counts", "a a b b", "", "ffss", succeeded, 0},
		{"as many failed as may be away", "a a a b b b", "2", "f", failed, 5},
		{"the last one of a zone may fail", "a a a b b b", "2", "ssfsss", succeeded, 0},
		{"a minimum in percent", "a a b b", "50%", "sfsf", succeeded, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := must(t, zoned(tt.zones, pipeline.Zones{MinimumHealthy: tt.minimum}), Event{Type: Begin})
			for i, r := range tt.results {
				status := succeeded
				if r == 'f' {
					status = failed
				}
				d = done(t, d, i, status, start)
			}
			skipped := 0
			for _, i := range d.Instances {
				if i.Status == pipeline.DeploymentSkipped {
					skipped++
				}
			}
			if d.Status != tt.want || skipped != tt.skipped {
				t.Errorf("got %s with %d skipped (%v), want %s with %d", d.Status, skipped, d.Error, tt.want, tt.skipped)
			}
			if tt.want == failed && !strings.Contains(d.Error.Message, "the zone a") {
				t.Errorf("the error doesn't name the zone: %v", d.Error)
			}
		})
	}
}

func TestZoneWithoutRoom(t *testing.T) {
	d := must(t, zoned("a a b", pipeline.Zones{MinimumHealthy: "1"}), Event{Type: Begin})
	if d.Status != pipeline.DeploymentFailed || d.Error.Code != pipeline.HealthConstraintsInvalid || !strings.Contains(d.Error.Message, "the zone b") {
		t.Errorf("got %s, %v", d.Status, d.Error)
	}
}

func TestBakes(t *testing.T) {
	d := fresh(1, AllAtOnce, "")
	d.Bake = time.Minute
	d = must(t, d, Event{Type: Begin})
	d = done(t, d, 0, pipeline.DeploymentSucceeded, start)
	if d.Status != pipeline.DeploymentBaking || !d.BakeUntil.Equal(start.Add(time.Minute)) {
		t.Fatalf("the deployment is %s until %s", d.Status, d.BakeUntil)
	}
	alarmed := must(t, d, Event{Type: Stop, At: start.Add(30 * time.Second), Code: pipeline.AlarmActive, Reason: "the alarm errors is active"})
	if alarmed.Status != pipeline.DeploymentStopped || alarmed.Error.Code != pipeline.AlarmActive {
		t.Errorf("with an alarm it is %s (%v), want Stopped", alarmed.Status, alarmed.Error)
	}
	for _, events := range [][]string{{pipeline.RollbackOnAlarm}, {pipeline.RollbackOnStop, pipeline.RollbackOnFailure}} {
		alarmed.AutoRollback = events
		if got := RollsBack(alarmed); got != slices.Contains(events, pipeline.RollbackOnAlarm) {
			t.Errorf("with %v it is rolled back: %t", events, got)
		}
	}
	if d = must(t, d, Event{Type: Tick, At: start.Add(time.Minute)}); d.Status != pipeline.DeploymentSucceeded {
		t.Errorf("after a minute it is %s, want Succeeded", d.Status)
	}
}

func TestAlarmBeforeTheBeginning(t *testing.T) {
	d := must(t, fresh(2, "", ""), Event{Type: Stop, Code: pipeline.AlarmActive, Reason: "the alarm errors is active"})
	if d.Status != pipeline.DeploymentStopped || d.Error.Code != pipeline.AlarmActive || d.Instances[0].Status != pipeline.DeploymentSkipped {
		t.Errorf("got %s (%v), the first is %s", d.Status, d.Error, d.Instances[0].Status)
	}
}
