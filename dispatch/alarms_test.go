package dispatch

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/pipeline"
)

// alarms are what a server of alarms answers.
type alarms struct {
	active map[string]bool
	away   bool
}

func (a *alarms) ask(_ context.Context, name string) (bool, error) {
	if a.away {
		return false, errors.New("connection refused")
	}
	return a.active[name], nil
}

func newAlarmWorld(t *testing.T, g Group) (*fleetWorld, *alarms) {
	a := &alarms{active: map[string]bool{}}
	g.Config, g.Alarms = "AllAtOnce", []string{"slow", "errors"}
	w := newFleetWorld(t, g, "a")
	w.fleet.alarm = a.ask
	return w, a
}

// later lets so much time go by that alarms are asked again.
func (w *fleetWorld) later() {
	w.now = w.now.Add(alarmInterval)
	w.pass()
}

func TestAlarmStopsAndRollsBack(t *testing.T) {
	w, alarms := newAlarmWorld(t, Group{Bake: alarmInterval, AutoRollback: []string{pipeline.RollbackOnAlarm}})
	w.push("d-1", "good")
	w.pass()
	w.pass()
	w.end(w.take("a"), pipeline.BuildSucceeded)
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentBaking || len(w.outcomes()) != 0 {
		t.Fatalf("with its instances done it is %s, and the pipeline was told %v", d.Status, w.outcomes())
	}
	w.later()
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentSucceeded {
		t.Fatalf("without an alarm it is %s (%v), want Succeeded", d.Status, d.Error)
	}
	w.push("d-2", "bad")
	w.pass()
	w.pass()
	w.end(w.take("a"), pipeline.BuildSucceeded)
	alarms.active["errors"] = true // while it is watched
	w.later()
	w.pass()
	d := w.deployment("d-2")
	if d.Status != pipeline.DeploymentStopped || d.Error.Code != pipeline.AlarmActive || !strings.Contains(d.Error.Message, "errors") || d.RollbackBy == "" {
		t.Fatalf("with an alarm it is %s (%v), rolled back by %q", d.Status, d.Error, d.RollbackBy)
	}
	if told := w.outcomes(); len(told) != 2 || told[1] != pipeline.BuildFailed {
		t.Errorf("the pipeline was told %v, want FAILED", told)
	}
	w.pass() // the alarm is still active, and the rollback goes on all the same
	back := w.take("a")
	if back.Deploy.Revision.Digest != "sum-of-good" {
		t.Errorf("the rollback is of %s", back.Deploy.Revision.Digest)
	}
}

func TestAlarmKeepsFromBeginning(t *testing.T) {
	w, alarms := newAlarmWorld(t, Group{})
	alarms.active["slow"] = true
	w.push("d-1", "one")
	w.pass()
	w.pass()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentStopped || len(d.Instances) > 0 || d.Error.Code != pipeline.AlarmActive {
		t.Errorf("it is %s (%v) with %d instances, want Stopped with none", d.Status, d.Error, len(d.Instances))
	}
}

func TestAlarmsThatCannotBeAsked(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		w, alarms := newAlarmWorld(t, Group{IgnoreAlarmFailures: ignore})
		alarms.away = true
		w.push("d-1", "one")
		w.pass()
		w.pass()
		if d := w.deployment("d-1"); (d.Status == pipeline.DeploymentInProgress) != ignore {
			t.Errorf("ignored %t: at first it is %s", ignore, d.Status)
		}
		for range alarmTries {
			w.later()
		}
		d := w.deployment("d-1")
		if stopped := d.Status == pipeline.DeploymentStopped; stopped == ignore || stopped && strings.Contains(d.Error.Message, "refused") {
			t.Errorf("ignored %t: at last it is %s (%v)", ignore, d.Status, d.Error)
		}
	}
}

func TestAlarmsThatAnswerAgain(t *testing.T) {
	w, alarms := newAlarmWorld(t, Group{})
	alarms.away = true
	w.push("d-1", "one")
	w.pass()
	w.pass()
	w.later()
	alarms.away = false
	w.later()
	if d := w.deployment("d-1"); d.Status != pipeline.DeploymentInProgress {
		t.Errorf("it is %s (%v), want InProgress", d.Status, d.Error)
	}
}
