package deployer

import (
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/pipeline"
)

// The lifecycle events that run no scripts but do the deployer's own work.
const (
	DownloadBundle = "DownloadBundle"
	Install        = "Install"
)

// InPlace are the lifecycle events of a deployment in place without a load
// balancer, in order (CodeDeploy reference 2.1).
var InPlace = []string{
	appspec.ApplicationStop, DownloadBundle, appspec.BeforeInstall, Install,
	appspec.AfterInstall, appspec.ApplicationStart, appspec.ValidateService,
}

// WithTraffic are InPlace and the hooks round the traffic of a load balancer.
// BlockTraffic and AllowTraffic themselves are none of an instance's.
var WithTraffic = slices.Concat(
	[]string{appspec.BeforeBlockTraffic, appspec.AfterBlockTraffic}, InPlace,
	[]string{appspec.BeforeAllowTraffic, appspec.AfterAllowTraffic},
)

// ofPrevious are the events that run scripts of a revision that is already on
// the host.
var ofPrevious = []string{appspec.BeforeBlockTraffic, appspec.AfterBlockTraffic, appspec.ApplicationStop}

// order is the events to run when a caller names some: DownloadBundle and
// Install are added, and what can't be run at its place is refused. No events
// means InPlace.
func order(events []string) ([]string, error) {
	if len(events) == 0 {
		return InPlace, nil
	}
	for i, e := range events {
		if e == "" || slices.Contains(events[:i], e) {
			return nil, badEvents("lifecycle event %q is named twice or empty", e)
		}
		if slices.Contains([]string{"Start", "End", "BlockTraffic", "AllowTraffic"}, e) {
			return nil, badEvents("lifecycle event %s is not run on an instance", e)
		}
	}
	events = slices.Clone(events)
	if !slices.Contains(events, DownloadBundle) {
		events = slices.Insert(events, leading(events, 0, ofPrevious...), DownloadBundle)
	}
	download := slices.Index(events, DownloadBundle)
	if !slices.Contains(events, Install) {
		events = slices.Insert(events, leading(events, download+1, appspec.BeforeInstall), Install)
	}
	install := slices.Index(events, Install)
	if install < download {
		return nil, badEvents("Install stands before DownloadBundle")
	}
	for i, e := range events[:install] {
		early := slices.Contains(ofPrevious, e) || e == DownloadBundle || e == appspec.BeforeInstall && i > download
		if !early {
			return nil, badEvents("%s can't come before Install", e)
		}
	}
	return events, nil
}

// leading is the index behind the run of these events that starts at i.
func leading(events []string, i int, of ...string) int {
	for i < len(events) && slices.Contains(of, events[i]) {
		i++
	}
	return i
}

func badEvents(format string, args ...any) error {
	return &pipeline.UserError{Code: "EVENTS_INVALID", Msg: "events: " + fmt.Sprintf(format, args...)}
}

// source says whose scripts an event runs.
type source int

const (
	fromCurrent source = iota
	fromInstalled
	fromDownloaded
)

// scriptsOf is the table of the CodeDeploy reference 2.2.
func scriptsOf(event string, blueGreenRollback bool) source {
	switch event {
	case appspec.ApplicationStop:
		return fromInstalled
	case appspec.BeforeBlockTraffic, appspec.AfterBlockTraffic:
		if blueGreenRollback {
			return fromDownloaded
		}
		return fromInstalled
	case appspec.BeforeAllowTraffic, appspec.AfterAllowTraffic:
		if blueGreenRollback {
			return fromInstalled
		}
	}
	return fromCurrent
}
