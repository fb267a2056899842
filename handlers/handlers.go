// Package handlers hears: webhooks of the forges, the API of people, scripts,
// runners and agents, and the pages. It verifies, asks the rest of Slipway
// through small interfaces, and answers; it decides nothing about pipelines.
package handlers

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

// Options is all that a Server needs. The readers, Inbox, Events and Control
// are required; Git, Workers, DeadLetters and QueueDepths may be left out, and
// their routes then answer 404 or with nothing.
type Options struct {
	// Hooks are the forge entries that may send webhooks, by the name in
	// /webhooks/NAME.
	Hooks map[string]Hook
	Inbox inbox
	// Bodies takes bodies of more than 256 KiB.
	Bodies     bodies
	Deliveries deliveries
	Executions executions
	Boards     boards
	// Revisions finds commits by the names of branches and tags; nil: whole commit
	// IDs are wanted.
	Revisions pipeline.Revisions
	Builds    builds
	// ReportGroups is the history of reports; required.
	ReportGroups reportGroups
	Logs         logs
	Artifacts    artifacts
	Events       events
	DeadLetters  deadLetters
	Workers      workers
	// Retention is what an administrator may start early or try.
	Retention retention
	Control   pipeline.Control
	// Debugging lets people look into failed builds; nil: nobody may.
	Debugging debugging
	// Fleet, Agents and AgentControl do deployments; without them there are
	// none, and agents are served by Control.
	Fleet        fleet
	Agents       agents
	AgentControl pipeline.Control
	// Git serves /git/; requests reach it only with a token that may.
	Git    http.Handler
	Access Access
	// Setup makes a GitHub App at the first start; nil: this server can't.
	Setup setup
	// Checks are what /readyz runs, side by side.
	Checks []Check
	// QueueDepths counts what waits, by queue.
	QueueDepths func(ctx context.Context) (map[string]int64, error)
	// Standing counts for the metrics what handlers doesn't see; nil: it is left
	// out of them.
	Standing func(ctx context.Context) (Standing, error)
	// Registry takes the metrics; nil means a new one.
	Registry *prometheus.Registry
	// ExternalURL is where users reach this server, without a slash at the end;
	// it makes the url fields of the API. Empty: they are paths.
	ExternalURL string
	Version     string
	Log         *slog.Logger
	Now         func() time.Time // nil means time.Now
}

// Server is the HTTP side of Slipway. It is an http.Handler and safe for
// concurrent use.
type Server struct {
	Options
	engine  *gin.Engine
	pages   *ui.Pages
	guard   *guard
	metrics *metrics
	openAPI []byte
	streams chan struct{}

	drainOnce sync.Once
	drained   chan struct{}
}

// streamLimit is how many event streams and long polls are served at once.
const streamLimit = 1024

// New makes a Server; it starts nothing.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	s := &Server{
		Options: o,
		pages:   ui.New(),
		streams: make(chan struct{}, streamLimit),
		drained: make(chan struct{}),
	}
	var err error
	if s.guard, err = newGuard(o.Access, o.ExternalURL, o.Now); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, err
	}
	s.engine = s.router()
	if s.openAPI, err = s.document(); err != nil {
		return nil, err
	}
	return s, nil
}

func (o Options) check() error {
	missing := map[string]bool{
		"Inbox": o.Inbox == nil, "Deliveries": o.Deliveries == nil, "Executions": o.Executions == nil, "Boards": o.Boards == nil,
		"Builds": o.Builds == nil, "ReportGroups": o.ReportGroups == nil, "Logs": o.Logs == nil, "Artifacts": o.Artifacts == nil,
		"Events": o.Events == nil, "Control": o.Control == nil,
	}
	for name, is := range missing {
		if is {
			return errors.New("handlers: option " + name + " is missing")
		}
	}
	for name, h := range o.Hooks {
		if h.Verify == nil || h.Payload == nil || h.Scan == nil || h.EventHeader == "" || h.DeliveryHeader == "" {
			return errors.New("handlers: the hook of " + name + " is incomplete")
		}
	}
	return nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.engine.ServeHTTP(w, r) }

// Drain ends event streams and long polls, so that a shutdown needn't wait for
// them. Give it to http.Server.RegisterOnShutdown.
func (s *Server) Drain() { s.drainOnce.Do(func() { close(s.drained) }) }

// ObserveBuild counts an ended build and its duration.
func (s *Server) ObserveBuild(b pipeline.Build) { s.metrics.build(b, s.Now()) }

// forges are the names by which a delivery may be found.
func (s *Server) forges() []string {
	names := []string{builtIn}
	for name := range s.Hooks {
		if name != builtIn {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
