package handlers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-ci/slipway/pipeline"
)

// Standing is what the rest of Slipway counts for the metrics. What is about
// bytes and errors is of this process, the rest of all servers.
type Standing struct {
	Executions map[pipeline.Status]int64
	// Inbox are deliveries and events that were not handled, Outbox pipelines
	// whose effects were not carried out for a while.
	Inbox, Outbox Backlog
	BlobErrors    int64
	// Removed is what retention has removed, and LastPass when it ended last.
	Removed  pipeline.Removal
	LastPass time.Time
}

// Backlog is what waits, and the age of the oldest of it.
type Backlog struct {
	Waiting int64
	Oldest  time.Duration
}

// deploymentsCounted are the newest ones, that metrics count by status.
const deploymentsCounted = 100

var (
	executionsDesc  = describe("slipway_executions")
	deploymentsDesc = describe("slipway_deployments")
	backlogDesc     = describe("slipway_backlog")
	backlogAgeDesc  = describe("slipway_backlog_oldest_seconds")
	blobErrorsDesc  = describe("slipway_blob_errors_total")
	removedDesc     = describe("slipway_retention_removed_total")
	removedByteDesc = describe("slipway_retention_removed_bytes_total")
	lastPassDesc    = describe("slipway_retention_last_pass_seconds")
)

// standing asks for what the rest of Slipway counts.
func (n connected) standing(ctx context.Context, out chan<- prometheus.Metric) error {
	if n.s.Standing == nil {
		return nil
	}
	st, err := n.s.Standing(ctx)
	for status, count := range st.Executions {
		out <- gauge(executionsDesc, float64(count), string(status))
	}
	if err != nil {
		return err
	}
	for what, b := range map[string]Backlog{"inbox": st.Inbox, "outbox": st.Outbox} {
		out <- gauge(backlogDesc, float64(b.Waiting), what)
		out <- gauge(backlogAgeDesc, b.Oldest.Seconds(), what)
	}
	out <- counter(blobErrorsDesc, float64(st.BlobErrors))
	for kind, r := range map[string]pipeline.Removed{"logs": st.Removed.Logs, "artifacts": st.Removed.Artifacts, "bodies": st.Removed.Bodies} {
		out <- counter(removedDesc, float64(r.Count), kind)
		out <- counter(removedByteDesc, float64(r.Bytes), kind)
	}
	if !st.LastPass.IsZero() {
		out <- gauge(lastPassDesc, float64(st.LastPass.Unix()))
	}
	return nil
}

func counter(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}

func (n connected) deployments(ctx context.Context, out chan<- prometheus.Metric) error {
	if n.s.Fleet == nil {
		return nil
	}
	page, err := n.s.Fleet.Deployments(ctx, pipeline.DeploymentQuery{Limit: deploymentsCounted})
	if err != nil {
		return err
	}
	counts := map[pipeline.DeploymentStatus]float64{}
	for _, d := range page.Items {
		counts[d.Status]++
	}
	for status, n := range counts {
		out <- gauge(deploymentsDesc, n, string(status))
	}
	return nil
}
