package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/slipway-ci/slipway/handlers"
)

func writeMetrics(w io.Writer) {
	fmt.Fprint(w, `# Metrics

Made from the code by `+"`slipway docs metrics`; `make generate`"+` renews it.

`+"`GET /metrics`"+`, in the format of Prometheus; off loopback it needs the admin token. Labels have few values: none is made of what a
sender chooses. Counters are of one server process, gauges of all of Slipway, whichever server is asked.

| metric | type | labels | what |
| --- | --- | --- | --- |
`)
	for _, m := range handlers.Metrics() {
		labels := ""
		if len(m.Labels) > 0 {
			labels = " `" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s |%s | %s |\n", m.Name, m.Type, labels, m.Help)
	}
	fmt.Fprint(w, metricsAlerts)
}

// metricsAlerts are the rules that an operator wants to begin with.
const metricsAlerts = `
## What to wake somebody for

| when | because |
| --- | --- |
| ` + "`slipway_dead_letters > 0`" + ` | something failed eight times over and waits for a person: ` + "`slipway dead-letters`" + ` |
| ` + "`slipway_backlog_oldest_seconds > 60`" + ` | deliveries or effects aren't handled: no server, or Redis is slow |
| ` + "`rate(slipway_blob_errors_total[5m]) > 0`" + ` | logs and artifacts can't be written or read |
| ` + "`sum(slipway_queue_depth) > 0 and sum(slipway_jobs_running) == 0`" + `, over ten minutes | jobs wait and nobody takes them: ` + "`slipway runners`" + ` |
| ` + "`rate(slipway_webhooks_total{verdict=\"unavailable\"}[5m]) > 0`" + ` | webhooks are answered 503; forges may give them up |
| ` + "`slipway_agents{online=\"no\"} > 0`" + ` | a host that deployments need is silent |
`
