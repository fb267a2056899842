package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/redact"
	"github.com/slipway-ci/slipway/internal/request"
	"github.com/slipway-ci/slipway/internal/worker"
	"github.com/slipway-ci/slipway/pipeline"
)

// requestSlots is how many requests of http actions a server makes at a time.
const requestSlots = 8

// runRequests makes the requests of http actions, in the server's own process.
func runRequests(ctx context.Context, cfg config.Config, control pipeline.Control, log *slog.Logger) error {
	o := request.Options{Allow: cfg.Requests.Allowed()}
	return worker.Run(ctx, worker.Options{
		Control: control, Log: log, Drain: cfg.Limits.Drain,
		Worker: pipeline.Worker{
			ID: uuid.NewString(), Name: "server", Kind: pipeline.HTTPJob, Slots: requestSlots, Version: version,
			Classes: []string{pipeline.ClassOf(pipeline.HTTPJob, "", "")},
		},
		Do: func(ctx context.Context, job pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
			return doRequest(ctx, o, job, s)
		},
	})
}

// shownBytes is how much of an answer is in the log.
const shownBytes = 4 << 10

// doRequest makes one request. Its log names no secret of the URL.
func doRequest(ctx context.Context, o request.Options, job pipeline.Assignment, s *worker.Stream) (pipeline.Build, pipeline.Outcome) {
	b := pipeline.Build{Status: pipeline.BuildInProgress, CurrentPhase: "REQUEST", StartedAt: time.Now().UTC()}
	b.Phases = []pipeline.Phase{{Type: "REQUEST", Status: pipeline.BuildInProgress, StartTime: b.StartedAt, LogLine: 1}}
	s.Report(b)
	out := pipeline.Outcome{Status: pipeline.BuildFault, Message: "the job has no order"}
	if job.HTTP != nil {
		out = ask(ctx, o, *job.HTTP, s)
	}
	b.Close(out.Status, out.Code, out.Message, time.Now().UTC())
	b.Exported = out.Exported
	return b, out
}

func ask(ctx context.Context, o request.Options, order pipeline.HTTPOrder, s *worker.Stream) pipeline.Outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, order.Timeout, pipeline.ErrTimedOut)
	defer cancel()
	r := request.Request{ID: order.ID, Method: strings.ToUpper(order.Method), URL: order.URL, Body: order.Body}
	mask := redact.New(secretsOf(order.URL)...)
	say := func(format string, args ...any) {
		// A log that can't be kept doesn't keep the request from being made.
		_ = s.Log([]byte(mask.String(fmt.Sprintf(format, args...)) + "\n"))
	}
	if err := request.Check(r); err != nil {
		return pipeline.Outcome{Status: pipeline.BuildFailed, Code: pipeline.ConfigurationError, Message: err.Error()}
	}
	if u, err := url.Parse(order.URL); err == nil && order.Internal {
		o.Allow = append(slices.Clone(o.Allow), u.Host)
	}
	say("%s %s", r.Method, shownURL(order.URL))
	answer, err := request.Do(ctx, o, r, say)
	switch {
	case errors.Is(context.Cause(ctx), pipeline.ErrStopped), errors.Is(context.Cause(ctx), pipeline.ErrTimedOut):
		return pipeline.Outcome{Status: pipeline.BuildStatusOf(context.Cause(ctx)), Message: context.Cause(ctx).Error()}
	case context.Cause(ctx) != nil:
		return pipeline.Outcome{Status: pipeline.BuildFault, Message: "the server is shutting down"}
	case err != nil:
		return pipeline.Outcome{Status: pipeline.BuildFailed, Code: pipeline.JobFailed, Message: mask.String(err.Error())}
	}
	say("%s", answer.Body[:min(len(answer.Body), shownBytes)])
	exported := map[string]string{"StatusCode": strconv.Itoa(answer.Status)}
	if answer.Status < 200 || answer.Status > 299 {
		return pipeline.Outcome{
			Status: pipeline.BuildFailed, Code: pipeline.JobFailed, Exported: exported,
			Message: fmt.Sprintf("the answer to %s %s was %d, not 2xx", r.Method, shownURL(order.URL), answer.Status),
		}
	}
	if order.Expect != nil {
		if why := meets(*order.Expect, answer); why != "" {
			return pipeline.Outcome{Status: pipeline.BuildFailed, Code: pipeline.JobFailed, Exported: exported, Message: mask.String(why)}
		}
	}
	return pipeline.Outcome{Status: pipeline.BuildSucceeded, Exported: exported}
}

// shownURL leaves out where secrets are: user, query and fragment.
func shownURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// secretsOf are the parts of a URL that may be secret.
func secretsOf(raw string) []string {
	u, err := url.Parse(raw)
	if err != nil {
		return nil
	}
	var out []string
	if password, ok := u.User.Password(); ok {
		out = append(out, password)
	}
	for _, values := range u.Query() {
		out = append(out, values...)
	}
	return out
}
