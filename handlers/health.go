package handlers

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// checkTime is how long one readiness check may take.
const checkTime = 3 * time.Second

func (s *Server) healthz(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{"status": "ok", "version": s.Version})
}

// checkResult says how one check went. The words of an error may name hosts
// and paths, so they go to the log and not to whoever asks.
type checkResult struct {
	Name       string `json:"name"`
	OK         bool   `json:"ok"`
	DurationMS int64  `json:"duration_ms"`
}

type readiness struct {
	Ready  bool          `json:"ready"`
	Checks []checkResult `json:"checks"`
}

// readyz runs all checks side by side; 503 if one fails or takes too long, or
// once the server drains.
func (s *Server) readyz(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), checkTime)
	defer cancel()
	out := readiness{Ready: true, Checks: make([]checkResult, len(s.Checks))}
	var all sync.WaitGroup
	for i, check := range s.Checks {
		all.Go(func() { out.Checks[i] = s.runCheck(ctx, check) })
	}
	all.Wait()
	select {
	case <-s.drained:
		out.Ready = false
	default:
	}
	for _, r := range out.Checks {
		out.Ready = out.Ready && r.OK
	}
	status := http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(status, out)
}

// runCheck waits for the check or for ctx, whichever ends first. A check that
// does not heed ctx is left behind with its one place in a channel.
func (s *Server) runCheck(ctx context.Context, check Check) checkResult {
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- check.Run(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		s.Log.WarnContext(ctx, "readiness check failed", "check", check.Name, "error", err)
	}
	return checkResult{Name: check.Name, OK: err == nil, DurationMS: time.Since(start).Milliseconds()}
}
