package handlers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// problem is an error as RFC 9457 spells it. Code is the last part of Type and
// names the kind of problem for programs.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`

	retryAfter time.Duration
}

func (p *problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

const problemType = "urn:slipway:problem:"

// refuse is a problem of the request itself.
func refuse(status int, code, format string, args ...any) *problem {
	return &problem{Type: problemType + code, Title: http.StatusText(status), Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

var (
	errUnauthorized = refuse(http.StatusUnauthorized, "unauthorized", "sign in, or send a token as Authorization: Bearer")
	errForbidden    = refuse(http.StatusForbidden, "forbidden", "this token may not do that")
)

// problemOf is the only place where an error becomes an HTTP status. What
// isn't known here is a fault of ours: its text stays in the log.
func problemOf(err error) *problem {
	var p *problem
	var tooLarge *http.MaxBytesError
	var mistake *pipeline.UserError
	var refusal *pipeline.Refusal
	var retry *forge.RetryError
	var network *net.OpError
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, pipeline.ErrNotFound), errors.Is(err, forge.ErrNotFound):
		return refuse(http.StatusNotFound, "not-found", "there is no such thing, or no longer")
	case errors.Is(err, pipeline.ErrStale):
		return refuse(http.StatusConflict, "stale", "%v", pipeline.ErrStale)
	case errors.Is(err, pipeline.ErrConflict):
		return refuse(http.StatusConflict, "conflict", "%v", pipeline.ErrConflict)
	case errors.Is(err, pipeline.ErrStopped):
		return refuse(http.StatusConflict, "stopped", "%v", pipeline.ErrStopped)
	case errors.As(err, &refusal):
		return refuse(refusalStatus(refusal), refusal.Code, "%s", refusal.Msg)
	case errors.As(err, &mistake):
		return refuse(http.StatusUnprocessableEntity, "invalid", "%s", mistake.Error())
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "too-large", "the body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, pipeline.ErrDrained):
		return unavailable("drained", "this server is shutting down", time.Second)
	case errors.As(err, &retry):
		return unavailable("unavailable", "the forge refuses requests for now", max(retry.After, time.Second))
	case errors.Is(err, pipeline.ErrTimedOut), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable("timed-out", "this took too long", 5*time.Second)
	case errors.As(err, &network):
		return unavailable("unreachable", "Redis, the blob store or a git host can't be reached by the server now; its log says which", 5*time.Second)
	}
	return refuse(http.StatusInternalServerError, "fault", "a fault of the server; its log says more")
}

func refusalStatus(r *pipeline.Refusal) int {
	switch r.Code {
	case pipeline.ValidationException, pipeline.StageNotFound, pipeline.ActionNotFound:
		return http.StatusUnprocessableEntity
	case pipeline.PermissionError:
		return http.StatusForbidden
	}
	return http.StatusConflict
}

func unavailable(code, detail string, after time.Duration) *problem {
	p := refuse(http.StatusServiceUnavailable, code, "%s", detail)
	p.retryAfter = after
	return p
}

// sayWhen sets the header Retry-After of a problem that passes.
func (p *problem) sayWhen(c *gin.Context) {
	if p.retryAfter > 0 {
		c.Header("Retry-After", strconv.Itoa(int(p.retryAfter.Round(time.Second)/time.Second)))
	}
}

// fail answers with the problem that err is. What is our fault is logged.
func (s *Server) fail(c *gin.Context, err error) {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && c.Request.Context().Err() == nil {
		s.Log.ErrorContext(c.Request.Context(), "request failed", "method", c.Request.Method, "route", c.FullPath(), "error", err)
	}
	p.sayWhen(c)
	if p.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="slipway"`)
	}
	c.Header("Cache-Control", "no-store")
	c.Header("Content-Type", "application/problem+json")
	c.AbortWithStatusJSON(p.Status, p)
}
