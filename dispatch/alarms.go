package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// alarmInterval is how often the alarms of a deployment are asked.
	alarmInterval = 10 * time.Second
	// alarmTimeout bounds one look at all of them. It is far below passLease.
	alarmTimeout = 5 * time.Second
	// alarmTries is how many looks in a row may fail.
	alarmTries = 3
)

// alarmWatch is what this server knows of the alarms of a group's deployment.
// Another server that takes over begins to count anew.
type alarmWatch struct {
	deployment string
	next       time.Time
	failed     int
	quiet      bool // the last look found none active
}

// alarmed says why the alarms of a deployment stop it, or ""; quiet: it may
// begin, as far as they go (CodeDeploy reference 5.6).
func (f *Fleet) alarmed(ctx context.Context, g Group, d pipeline.Deployment) (reason string, quiet bool) {
	if len(d.Alarms) == 0 || d.StopReason != "" || f.alarm == nil {
		return "", true
	}
	w := f.watch(d)
	if f.now().Before(w.next) {
		return "", w.quiet
	}
	active, err := f.active(ctx, d.Alarms)
	w.next = f.now().Add(alarmInterval)
	w.quiet = err == nil && active == ""
	if err != nil {
		f.log.WarnContext(ctx, "asking for alarms", "job", d.ID, "group", d.Group, "error", err)
		w.quiet = w.quiet || g.IgnoreAlarmFailures
		w.failed++
	} else {
		w.failed = 0
	}
	switch {
	case active != "":
		return "the alarm " + active + " is active", false
	case w.failed >= alarmTries && !g.IgnoreAlarmFailures:
		return fmt.Sprintf("its alarms could not be asked for %d times in a row; the server's log says why", alarmTries), false
	}
	return "", w.quiet
}

// watch is the group's watch, a new one for each deployment.
func (f *Fleet) watch(d pipeline.Deployment) *alarmWatch {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.watches[d.Group]
	if w == nil || w.deployment != d.ID {
		w = &alarmWatch{deployment: d.ID}
		f.watches[d.Group] = w
	}
	return w
}

// active is the first of the alarms that is active, or "". One that can't be
// asked is an error unless another one is active.
func (f *Fleet) active(ctx context.Context, alarms []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, alarmTimeout)
	defer cancel()
	var failed error
	for _, name := range alarms {
		active, err := f.alarm(ctx, name)
		if active {
			return name, nil
		}
		if err != nil && failed == nil {
			failed = fmt.Errorf("the alarm %s: %w", name, err)
		}
	}
	return "", failed
}
