package handlers

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric describes what GET /metrics has under one name.
type Metric struct {
	Name   string
	Type   string // counter, gauge or histogram
	Labels []string
	Help   string
}

// Metrics are all metrics of Slipway's own, in the order of the manual. Labels
// have few values: none is made of what a sender chooses.
func Metrics() []Metric { return slices.Clone(metricList) }

var metricList = []Metric{
	{"slipway_webhooks_total", "counter", []string{"forge", "verdict"}, "Webhook deliveries by what they were answered with."},
	{"slipway_webhook_secret_total", "counter", []string{"forge", "secret"}, "Authentic deliveries by the secret that signed them; shows when an old one is unused."},
	{"slipway_webhook_duration_seconds", "histogram", []string{"forge"}, "How long webhooks waited for their answer; forges give up after 10 s."},
	{"slipway_build_duration_seconds", "histogram", []string{"status"}, "How long ended builds ran."},
	{"slipway_build_wait_seconds", "histogram", nil, "How long ended builds had waited for a runner."},
	{"slipway_queue_depth", "gauge", []string{"queue"}, "Jobs that wait, by class."},
	{"slipway_jobs_running", "gauge", []string{"kind"}, "Jobs that workers hold, by kind."},
	{"slipway_workers", "gauge", []string{"kind"}, "Workers that were heard of lately, by the kind of their jobs."},
	{"slipway_agents", "gauge", []string{"online"}, "Registered agents, by whether they are online."},
	{"slipway_dead_letters", "gauge", nil, "What failed too often and waits for a person, counted up to 1000."},
	{"slipway_executions", "gauge", []string{"status"}, "Executions that are kept, by status."},
	{"slipway_deployments", "gauge", []string{"status"}, "The newest 100 deployments of fleets, by status."},
	{"slipway_backlog", "gauge", []string{"what"}, "What servers have yet to handle: deliveries and events of the inbox, pipelines in the outbox with effects that are 15 s late."},
	{"slipway_backlog_oldest_seconds", "gauge", []string{"what"}, "The age of the oldest of the backlog; 0: there is none."},
	{"slipway_blob_errors_total", "counter", nil, "What the blob store could not do."},
	{"slipway_retention_removed_total", "counter", []string{"kind"}, "Logs, artifacts and bodies of deliveries that retention has removed, by kind."},
	{"slipway_retention_removed_bytes_total", "counter", []string{"kind"}, "Bytes of what retention has removed, by kind."},
	{"slipway_retention_last_pass_seconds", "gauge", nil, "When this server ended a pass of retention last, in Unix time."},
}

// metricOf is the entry of a name that the code itself uses.
func metricOf(name string) Metric {
	i := slices.IndexFunc(metricList, func(m Metric) bool { return m.Name == name })
	return metricList[i]
}

func describe(name string) *prometheus.Desc {
	m := metricOf(name)
	return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
}

func counterOf(name string) *prometheus.CounterVec {
	m := metricOf(name)
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

func histogramOf(name string, buckets ...float64) *prometheus.HistogramVec {
	m := metricOf(name)
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: buckets}, m.Labels)
}
