package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Serviced is a Container with services beside it, which Start has started.
type Serviced interface {
	// Ready waits until all services are. A *pipeline.UserError names one that
	// has ended or isn't ready in its time.
	Ready(ctx context.Context) error
	// ServiceLog writes the last lines that a service has printed.
	ServiceLog(ctx context.Context, name string, w io.Writer) error
}

const (
	serviceLogTime = 10 * time.Second
	codeService    = "SERVICE_NOT_READY"
)

// NoServices is the error of an engine that can't start any.
func NoServices(reason string) error {
	return &pipeline.UserError{Code: codeService, Msg: "This build has services beside it, which can't be had: " + reason}
}

// ServiceNotReady is the error of a service that can't be used.
func ServiceNotReady(s pipeline.Service, reason string) error {
	return &pipeline.UserError{Code: codeService, Msg: fmt.Sprintf("The service %s (image %s) is not ready: %s", s.Name, s.Image, reason)}
}

// services waits for those of the order.
func (r *build) services(ctx context.Context) error {
	c, ok := r.container.(Serviced)
	if len(r.order.Services) == 0 || !ok {
		return nil
	}
	for _, s := range r.order.Services {
		r.log.line("Waiting for service %s (image %s)", s.Name, s.Image)
	}
	return c.Ready(ctx)
}

// engineAddress is what the build's DOCKER_HOST is; empty if no engine is
// beside it.
func (r *build) engineAddress() string {
	for _, s := range r.order.Services {
		if s.Engine {
			return "tcp://" + net.JoinHostPort(s.Name, strconv.Itoa(s.Port))
		}
	}
	return ""
}

// tellServices writes what the services of a failed build have printed into
// the build's log.
func (r *build) tellServices(ctx context.Context) {
	c, ok := r.container.(Serviced)
	if r.failure == nil || !ok || len(r.order.Services) == 0 || errors.Is(context.Cause(ctx), pipeline.ErrStale) {
		return
	}
	// The build may be over because its time is.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), serviceLogTime)
	defer cancel()
	for _, s := range r.order.Services {
		r.log.line("Last lines of service %s:", s.Name)
		if err := c.ServiceLog(ctx, s.Name, outputWriter{r.log}); err != nil {
			r.log.line("Warning: the log of service %s can't be had", s.Name)
			r.Log.WarnContext(ctx, "log of a service not read", "job", r.order.ID, "error", err)
		}
	}
}

// outputWriter writes to the build's log as the build's commands do.
type outputWriter struct{ log *buildLog }

func (w outputWriter) Write(p []byte) (int, error) { return len(p), w.log.output(p) }
