package handlers

import (
	"context"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/slipway-ci/slipway/pipeline"
)

type metrics struct {
	webhooks *prometheus.CounterVec
	secrets  *prometheus.CounterVec
	builds   *prometheus.HistogramVec
	waits    *prometheus.HistogramVec
	answers  *prometheus.HistogramVec
}

func newMetrics(reg *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		webhooks: counterOf("slipway_webhooks_total"),
		secrets:  counterOf("slipway_webhook_secret_total"),
		builds:   histogramOf("slipway_build_duration_seconds", 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 10800, 28800),
		waits:    histogramOf("slipway_build_wait_seconds", .1, .5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600),
		answers:  histogramOf("slipway_webhook_duration_seconds", .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10),
	}
	m.waits.WithLabelValues() // without labels it is there from the start
	for _, c := range []prometheus.Collector{m.webhooks, m.secrets, m.builds, m.waits, m.answers} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) webhook(forge, verdict string) { m.webhooks.WithLabelValues(forge, verdict).Inc() }

// secret counts from 1, as people do.
func (m *metrics) secret(forge string, index int) {
	m.secrets.WithLabelValues(forge, strconv.Itoa(index+1)).Inc()
}

func (m *metrics) build(b pipeline.Build, now time.Time) {
	m.builds.WithLabelValues(string(b.Status)).Observe(b.Duration(now).Seconds())
	if b.Deployment == "" && !b.CreatedAt.IsZero() && b.StartedAt.After(b.CreatedAt) {
		m.waits.WithLabelValues().Observe(b.StartedAt.Sub(b.CreatedAt).Seconds())
	}
}

// depthCollector asks for the depths of queues on behalf of one request.
type depthCollector struct {
	depths func() (map[string]int64, error)
}

var depthDesc = describe("slipway_queue_depth")

const depthTime = 2 * time.Second

func (d depthCollector) Describe(out chan<- *prometheus.Desc) { out <- depthDesc }

func (d depthCollector) Collect(out chan<- prometheus.Metric) {
	depths, err := d.depths()
	if err != nil {
		out <- prometheus.NewInvalidMetric(depthDesc, err)
		return
	}
	for queue, n := range depths {
		out <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(n), queue)
	}
}

// serveMetrics is GET /metrics. What can't be counted now is left out and
// logged; the rest is served.
func (s *Server) serveMetrics(c *gin.Context) {
	sources := prometheus.Gatherers{s.Registry, s.connected(c)}
	if s.QueueDepths != nil {
		depths := prometheus.NewRegistry()
		depths.MustRegister(depthCollector{func() (map[string]int64, error) {
			ctx, cancel := context.WithTimeout(c.Request.Context(), depthTime)
			defer cancel()
			counts, err := s.QueueDepths(ctx)
			if err != nil {
				s.Log.WarnContext(ctx, "queue depths not counted", "error", err)
			}
			return counts, err
		}})
		sources = append(sources, depths)
	}
	promhttp.HandlerFor(sources, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(c.Writer, c.Request)
}
