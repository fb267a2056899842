package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// debugging keeps the sessions in which people look into failed builds
// (decision 015).
type debugging interface {
	// OpenDebugging notes a wish; ErrConflict: somebody else has it.
	OpenDebugging(ctx context.Context, build string, d pipeline.Debugging) error
	CloseDebugging(ctx context.Context, build string) error
	Debugging(ctx context.Context, build string) (pipeline.Debugging, error)
	AddDebugFrames(ctx context.Context, build string, side pipeline.DebugSide, frames []pipeline.DebugFrame) error
	DebugFrames(ctx context.Context, build string, side pipeline.DebugSide, after string, wait time.Duration) (pipeline.DebugFrames, error)
}

const (
	// debugWaitMax is the longest wait for the other side.
	debugWaitMax = 30 * time.Second
	// debugLimitBytes bounds what is said at a time, as JSON.
	debugLimitBytes = 256 << 10
)

type debugRequest struct {
	// TTY: the sender sits at a terminal.
	TTY bool `json:"tty,omitempty"`
}

// debugOpened is the answer to a wish to look into a build.
type debugOpened struct {
	Build string `json:"build"` // the retry that will wait
	Event string `json:"event"` // the ID of the request
}

type debugSaid struct {
	Frames []pipeline.DebugFrame `json:"frames"`
}

var debugQuery = []param{
	{"after", "string", "the next of the answer before"},
	{"wait", "integer", "seconds, at most 30"},
}

// debugBuild retries a failed build that is to wait where it fails.
func (s *Server) debugBuild(c *gin.Context) {
	var in debugRequest
	err := readJSON(c, &in)
	var out debugOpened
	if err == nil {
		out, err = s.openDebugging(c, in)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusAccepted, out)
}

func (s *Server) openDebugging(c *gin.Context, in debugRequest) (out debugOpened, err error) {
	ctx := c.Request.Context()
	if s.Debugging == nil {
		return out, refuse(http.StatusForbidden, "debug", "this server lets nobody into builds: limits.debug is 0")
	}
	b, err := s.Builds.Build(ctx, c.Param("id"))
	if err != nil {
		return out, err
	}
	x, err := s.debuggable(ctx, b)
	if err != nil {
		return out, err
	}
	out.Build = pipeline.BuildID(x.ID, b.Stage, b.Action, b.Attempt+1)
	d := pipeline.Debugging{TTY: in.TTY, At: s.Now().UTC()}
	if p := who(c); p != nil {
		d.By = p.name
	}
	if err := s.Debugging.OpenDebugging(ctx, out.Build, d); err != nil {
		return out, err
	}
	c.Set(detailKey, "build "+out.Build)
	out.Event, err = s.command(c, pipeline.Event{
		Type: pipeline.RetryRequested, Board: x.Board, Execution: x.ID, Stage: b.Stage, Retry: pipeline.FailedActions, Revive: &x,
	})
	if err != nil {
		return out, errors.Join(err, s.Debugging.CloseDebugging(ctx, out.Build))
	}
	return out, nil
}

// debuggable is the execution of a build that may be looked into.
func (s *Server) debuggable(ctx context.Context, b pipeline.Build) (x pipeline.Execution, err error) {
	const code = "not-debuggable"
	switch {
	case !b.Status.Ended():
		return x, refuse(http.StatusConflict, code, "the build has not ended")
	case b.Status == pipeline.BuildSucceeded:
		return x, refuse(http.StatusConflict, code, "the build succeeded: no command of it failed")
	case b.Execution == "" || b.Deployment != "":
		return x, refuse(http.StatusConflict, code, "only builds of a pipeline can be looked into")
	}
	if x, err = s.Executions.Execution(ctx, b.Execution); err != nil {
		return x, err
	}
	if !x.Trigger.Trusted {
		return x, refuse(http.StatusForbidden, code, "a stranger's commit gets no shell on the runner; try slipway build --shell-on-failure")
	}
	var latest *pipeline.ActionExecution
	if st := x.Stage(b.Stage); st != nil {
		latest = st.Action(b.Action)
	}
	if latest == nil || latest.Attempt != b.Attempt {
		return x, refuse(http.StatusConflict, code, "the build was repeated since; look into the latest attempt on the page of execution %s", x.ID)
	}
	return x, nil
}

// ownSession makes sure that the request is from who opened the session.
func (s *Server) ownSession(c *gin.Context) error {
	if s.Debugging == nil {
		return fmt.Errorf("debugging: %w", pipeline.ErrNotFound)
	}
	d, err := s.Debugging.Debugging(c.Request.Context(), c.Param("id"))
	if err != nil {
		return err
	}
	if p := who(c); p == nil || p.name != d.By {
		return refuse(http.StatusForbidden, "forbidden", "the session is somebody else's")
	}
	return nil
}

func (s *Server) debugInput(c *gin.Context) {
	err := s.ownSession(c)
	var in debugSaid
	if err == nil {
		err = readJSONUpTo(c, &in, debugLimitBytes)
	}
	if err == nil {
		err = s.Debugging.AddDebugFrames(c.Request.Context(), c.Param("id"), pipeline.FromPerson, in.Frames)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func (s *Server) debugOutput(c *gin.Context) {
	if err := s.ownSession(c); err != nil {
		s.fail(c, err)
		return
	}
	s.hearDebug(c, func(ctx context.Context, after string, wait time.Duration) (pipeline.DebugFrames, error) {
		return s.Debugging.DebugFrames(ctx, c.Param("id"), pipeline.FromBuild, after, wait)
	})
}

// hearDebug answers with what a side says.
func (s *Server) hearDebug(c *gin.Context, hear func(ctx context.Context, after string, wait time.Duration) (pipeline.DebugFrames, error)) {
	seconds, err := number(c, "wait", 0, 0, int64(debugWaitMax/time.Second))
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, stop, err := s.enterStream(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer stop()
	frames, err := hear(ctx, c.Query("after"), time.Duration(seconds)*time.Second)
	switch {
	case err == nil:
		c.Header("Cache-Control", "no-store")
		c.JSON(http.StatusOK, frames)
	case errors.Is(context.Cause(ctx), pipeline.ErrDrained):
		s.fail(c, pipeline.ErrDrained)
	default:
		s.fail(c, err)
	}
}

// debugs is the service behind a worker's requests.
func (w workerAPI) debugs(c *gin.Context) (pipeline.Debugs, pipeline.JobRef, error) {
	ref, err := w.ref(c)
	debugs, ok := w.s.Control.(pipeline.Debugs)
	if err == nil && !ok {
		err = fmt.Errorf("debugging: %w", pipeline.ErrNotFound)
	}
	return debugs, ref, err
}

func (w workerAPI) debugInput(c *gin.Context) {
	debugs, ref, err := w.debugs(c)
	if err != nil {
		w.s.fail(c, err)
		return
	}
	w.s.hearDebug(c, func(ctx context.Context, after string, wait time.Duration) (pipeline.DebugFrames, error) {
		return debugs.DebugInput(ctx, ref, after, wait)
	})
}

func (w workerAPI) debugOutput(c *gin.Context) {
	debugs, ref, err := w.debugs(c)
	var in debugSaid
	if err == nil {
		err = readJSONUpTo(c, &in, debugLimitBytes)
	}
	if err == nil {
		err = debugs.DebugOutput(c.Request.Context(), ref, in.Frames)
	}
	w.done(c, err)
}
