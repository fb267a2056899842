package handlers

import (
	"context"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	workersDesc = describe("slipway_workers")
	jobsDesc    = describe("slipway_jobs_running")
	agentsDesc  = describe("slipway_agents")
	deadDesc    = describe("slipway_dead_letters")
)

// deadLimit bounds the count of dead letters: whether it is 1000 or more, a
// person must look.
const deadLimit = 1000

// connected asks, on behalf of one request, who is there and what is stuck.
// What can't be asked now is left out and logged.
type connected struct {
	s   *Server
	ctx context.Context
}

func (s *Server) connected(c *gin.Context) prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(connected{s, c.Request.Context()})
	return r
}

func (connected) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		workersDesc, jobsDesc, agentsDesc, deadDesc, executionsDesc, deploymentsDesc, backlogDesc, backlogAgeDesc, blobErrorsDesc,
		removedDesc, removedByteDesc, lastPassDesc,
	} {
		out <- d
	}
}

func (n connected) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(n.ctx, depthTime)
	defer cancel()
	for what, ask := range map[string]func(context.Context, chan<- prometheus.Metric) error{
		"workers": n.workers, "agents": n.agents, "dead letters": n.dead, "standing": n.standing, "deployments": n.deployments,
	} {
		if err := ask(ctx, out); err != nil {
			n.s.Log.WarnContext(ctx, "not counted for the metrics", "what", what, "error", err)
		}
	}
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (n connected) workers(ctx context.Context, out chan<- prometheus.Metric) error {
	if n.s.Workers == nil {
		return nil
	}
	all, err := n.s.Workers.Workers(ctx)
	if err != nil {
		return err
	}
	count, jobs := map[string]float64{}, map[string]float64{}
	for _, w := range all {
		count[string(w.Kind)]++
		jobs[string(w.Kind)] += float64(len(w.Jobs))
	}
	for kind := range count {
		out <- gauge(workersDesc, count[kind], kind)
		out <- gauge(jobsDesc, jobs[kind], kind)
	}
	return nil
}

func (n connected) agents(ctx context.Context, out chan<- prometheus.Metric) error {
	if n.s.Agents == nil {
		return nil
	}
	all, err := n.s.Agents.Agents(ctx)
	if err != nil {
		return err
	}
	var online float64
	for _, a := range all {
		if a.Online {
			online++
		}
	}
	out <- gauge(agentsDesc, online, "yes")
	out <- gauge(agentsDesc, float64(len(all))-online, "no")
	return nil
}

func (n connected) dead(ctx context.Context, out chan<- prometheus.Metric) error {
	if n.s.DeadLetters == nil {
		return nil
	}
	page, err := n.s.DeadLetters.DeadLetters(ctx, deadLimit, "")
	if err == nil {
		out <- gauge(deadDesc, float64(len(page.Items)))
	}
	return err
}

// timed measures how long webhooks wait for their answer.
func (s *Server) timed(c *gin.Context) {
	began := time.Now()
	c.Next()
	forge := c.Param("forge")
	if _, known := s.Hooks[forge]; !known {
		forge = "unknown"
	}
	s.metrics.answers.WithLabelValues(forge).Observe(time.Since(began).Seconds())
}
