package config

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/deployer/fleet"
	"github.com/slipway-ci/slipway/pipeline"
)

// DeploymentGroup says which repository is deployed to whom.
type DeploymentGroup struct {
	Name               string   `yaml:"name"`
	Application        string   `yaml:"application"`
	Repository         string   `yaml:"repository"` // FORGE/OWNER/NAME
	Branches           []string `yaml:"branches"`   // patterns, "**" for all; default: the default branch
	Root               string   `yaml:"root"`       // prefix of every destination; default: the host's root
	FileExistsBehavior string   `yaml:"file_exists_behavior"`
	OnDrift            string   `yaml:"on_drift"` // files changed on the host: backup, fail or replace [backup]
	IgnoreStopFailures bool     `yaml:"ignore_stop_failures"`
	// Tags choose the agents: all keys must be there, each with one of the
	// values between bars, which may be patterns. Without any the group's only
	// instance is the host of slipway up.
	Tags        map[string]string `yaml:"tags"`
	Environment string            `yaml:"environment"` // SLIPWAY_ENVIRONMENT in scripts
	// Config is CodeDeployDefault.AllAtOnce, HalfAtATime or OneAtATime [the last],
	// or any name together with MinimumHealthyHosts.
	Config              string   `yaml:"config"`
	MinimumHealthyHosts string   `yaml:"minimum_healthy_hosts"` // hosts, or a percentage such as 75%
	AutoRollback        []string `yaml:"auto_rollback"`         // some of pipeline.RollbackEvents
	// Alarms are alerting rules of prometheus.url: one that is active keeps a
	// deployment from beginning and stops one that runs. So does one that can't be
	// asked, unless IgnoreAlarmFailures.
	Alarms              []string `yaml:"alarms"`
	IgnoreAlarmFailures bool     `yaml:"ignore_alarm_failures"`
	// Bake is for how long alarms are watched once all instances are done.
	Bake  time.Duration `yaml:"bake"`
	Zones *Zones        `yaml:"zones"`
	// CatchUp deploys the present revision to agents that register after the
	// group's last deployment.
	CatchUp bool `yaml:"catch_up"`
}

// Zones makes a group's deployments go through one zone after the other.
type Zones struct {
	Tag                 string        `yaml:"tag"`                   // of agents; its value is their zone [zone]
	Order               []string      `yaml:"order"`                 // these first, the others by their names
	Monitor             time.Duration `yaml:"monitor"`               // pause behind each zone but the last one
	FirstMonitor        time.Duration `yaml:"first_monitor"`         // that behind the first one [Monitor]
	MinimumHealthyHosts string        `yaml:"minimum_healthy_hosts"` // in each zone [0]
}

// maxAlarms is how many alarms a group may have (CodeDeploy reference 5.3).
const maxAlarms = 10

// maxPause bounds what a deployment waits for.
const maxPause = 48 * time.Hour

func (c *Config) checkGroups() error {
	var errs []error
	seen := map[string]bool{}
	for i, g := range c.DeploymentGroups {
		if g.Name == "" || seen[g.Name] {
			errs = append(errs, fmt.Errorf("deployment_groups[%d].name: want a name that no other group has, have %q", i, g.Name))
		}
		seen[g.Name] = true
		if strings.Count(g.Repository, "/") != 2 {
			errs = append(errs, fmt.Errorf("deployment_groups[%d].repository: want FORGE/OWNER/NAME, have %q", i, g.Repository))
		}
		for _, pattern := range g.Branches {
			if _, err := pipeline.Matches(pattern, ""); err != nil {
				errs = append(errs, fmt.Errorf("deployment_groups[%d].branches: %q isn't a pattern", i, pattern))
			}
		}
		if !slices.Contains([]string{"", "DISALLOW", "OVERWRITE", "RETAIN"}, g.FileExistsBehavior) {
			errs = append(errs, fmt.Errorf("deployment_groups[%d].file_exists_behavior: want DISALLOW, OVERWRITE or RETAIN, have %q", i, g.FileExistsBehavior))
		}
		if !slices.Contains([]string{"", "backup", "fail", "replace"}, g.OnDrift) {
			errs = append(errs, fmt.Errorf("deployment_groups[%d].on_drift: want backup, fail or replace, have %q", i, g.OnDrift))
		}
		if g.Root != "" && !filepath.IsAbs(g.Root) {
			errs = append(errs, fmt.Errorf("deployment_groups[%d].root: want an absolute path, have %q", i, g.Root))
		}
		if len(g.Alarms) > 0 && c.Prometheus.URL == "" {
			errs = append(errs, fmt.Errorf("deployment_groups[%d].alarms: want prometheus.url, which is asked for them", i))
		}
		for _, err := range g.checkFleet() {
			errs = append(errs, fmt.Errorf("deployment_groups[%d].%w", i, err))
		}
	}
	return errors.Join(errs...)
}

// checkFleet checks what says how a group's instances are chosen and deployed
// to.
func (g DeploymentGroup) checkFleet() []error {
	var errs []error
	if _, err := fleet.ParseConfig(g.Config, g.MinimumHealthyHosts); err != nil {
		errs = append(errs, err)
	}
	for _, key := range slices.Sorted(maps.Keys(g.Tags)) {
		for pattern := range strings.SplitSeq(g.Tags[key], "|") {
			if _, err := path.Match(pattern, ""); err != nil || strings.TrimSpace(pattern) == "" {
				errs = append(errs, fmt.Errorf("tags.%s: want values between bars, which may be patterns, have %q", key, g.Tags[key]))
				break
			}
		}
	}
	if g.CatchUp && len(g.Tags) == 0 {
		errs = append(errs, errors.New("catch_up: is for groups with tags"))
	}
	if len(g.Tags) > 0 && g.Root != "" {
		errs = append(errs, errors.New("root: is for groups without tags; an agent has a root of its own"))
	}
	errs = append(errs, g.Zones.check()...)
	switch {
	case len(g.Alarms) > maxAlarms:
		errs = append(errs, fmt.Errorf("alarms: want at most %d, have %d", maxAlarms, len(g.Alarms)))
	case slices.Contains(g.Alarms, ""):
		errs = append(errs, errors.New("alarms: want names of alerting rules, have an empty one"))
	case g.IgnoreAlarmFailures && len(g.Alarms) == 0:
		errs = append(errs, errors.New("ignore_alarm_failures: there are no alarms"))
	}
	if g.Bake < 0 || g.Bake > maxPause {
		errs = append(errs, fmt.Errorf("bake: want at most %s, have %s", maxPause, g.Bake))
	}
	for _, e := range g.AutoRollback {
		if !slices.Contains(pipeline.RollbackEvents, e) {
			errs = append(errs, fmt.Errorf("auto_rollback: want some of %s, have %q", strings.Join(pipeline.RollbackEvents, ", "), e))
		}
	}
	return errs
}

// check is also for a group without zones.
func (z *Zones) check() []error {
	if z == nil {
		return nil
	}
	var errs []error
	if z.MinimumHealthyHosts != "" {
		if _, err := fleet.ParseConfig("", z.MinimumHealthyHosts); err != nil {
			errs = append(errs, fmt.Errorf("zones.%w", err))
		}
	}
	for _, pause := range []struct {
		key   string
		value time.Duration
	}{{"monitor", z.Monitor}, {"first_monitor", z.FirstMonitor}} {
		if pause.value < 0 || pause.value > maxPause {
			errs = append(errs, fmt.Errorf("zones.%s: want at most %s, have %s", pause.key, maxPause, pause.value))
		}
	}
	return errs
}
