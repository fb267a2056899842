package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/slipway-ci/slipway/dispatch"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/request"
	"github.com/slipway-ci/slipway/pipeline"
)

// fleetOptions are the configuration's deployment groups as the fleet has them.
func fleetOptions(cfg config.Config) dispatch.FleetOptions {
	o := dispatch.FleetOptions{Lease: cfg.Limits.AgentLease}
	if cfg.Prometheus.URL != "" {
		o.Alarm = func(ctx context.Context, name string) (bool, error) { return alarmActive(ctx, cfg, name) }
	}
	for _, g := range cfg.DeploymentGroups {
		o.Groups = append(o.Groups, dispatch.Group{
			Name: g.Name, Environment: g.Environment, Tags: g.Tags,
			Config: g.Config, MinimumHealthy: g.MinimumHealthyHosts, AutoRollback: g.AutoRollback,
			Alarms: g.Alarms, IgnoreAlarmFailures: g.IgnoreAlarmFailures, Bake: g.Bake, Zones: zonesOf(g.Zones), CatchUp: g.CatchUp,
		})
	}
	return o
}

func zonesOf(z *config.Zones) *pipeline.Zones {
	if z == nil {
		return nil
	}
	return &pipeline.Zones{
		Tag: cmp.Or(z.Tag, "zone"), Order: z.Order, Monitor: z.Monitor, FirstMonitor: z.FirstMonitor, MinimumHealthy: z.MinimumHealthyHosts,
	}
}

// alarmActive asks Prometheus whether an alerting rule is firing. One that is
// pending, or that can't be evaluated, isn't: CodeDeploy looks for ALARM only.
// One that isn't there is an error.
func alarmActive(ctx context.Context, cfg config.Config, name string) (bool, error) {
	order := alarmOrder(cfg, name)
	u, err := url.Parse(order)
	if err != nil {
		return false, errors.New("prometheus.url is no URL")
	}
	o := request.Options{Allow: []string{u.Host}}
	answer, err := request.Do(ctx, o, request.Request{Method: "GET", URL: order}, func(string, ...any) {})
	switch {
	case err != nil:
		return false, fmt.Errorf("asking Prometheus: %w", err)
	case answer.Status != 200:
		return false, fmt.Errorf("the answer of Prometheus is %d", answer.Status)
	case len(answer.Body) >= request.BodyLimitBytes:
		return false, errors.New("the answer of Prometheus is too long")
	}
	state, err := alarmState(name, answer.Body)
	if err != nil {
		return false, err
	}
	if state == "" {
		return false, errors.New("there is no such alerting rule")
	}
	return state == pipeline.AlarmAlarm, nil
}

// alarmOrder is where Prometheus tells of an alerting rule.
func alarmOrder(cfg config.Config, name string) string {
	return strings.TrimRight(cfg.Prometheus.URL, "/") + "/api/v1/rules?" + url.Values{"type": {"alert"}, "rule_name[]": {name}}.Encode()
}
