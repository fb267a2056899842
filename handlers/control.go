package handlers

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	claimWaitMax = 60 * time.Second
	// appendLimitBytes is the most that one append to a log may carry.
	appendLimitBytes = 4 << 20
	// reportLimitBytes bounds what a worker says of a build.
	reportLimitBytes = 8 << 20
	// stallTime is how long a body that is streamed may stand still.
	stallTime = 60 * time.Second
)

// workerAPI is pipeline.Control over HTTPS for one kind of workers.
type workerAPI struct {
	s    *Server
	kind pipeline.JobKind
}

// completion is the body of a job's end.
type completion struct {
	Build   pipeline.Build   `json:"build"`
	Outcome pipeline.Outcome `json:"outcome"`
}

type logLength struct {
	Bytes int64 `json:"bytes"`
}

// allowed checks that a token of one kind isn't used for the other's jobs.
func (w workerAPI) allowed(c *gin.Context) error {
	if p := who(c); p.worker && p.kind != "" && p.kind != w.kind {
		return errForbidden
	}
	return nil
}

// control is the server's side of this kind of workers.
func (w workerAPI) control() pipeline.Control {
	if w.kind == pipeline.DeployJob && w.s.AgentControl != nil {
		return w.s.AgentControl
	}
	return w.s.Control
}

// ref is the job that the request is about.
func (w workerAPI) ref(c *gin.Context) (pipeline.JobRef, error) {
	if err := w.allowed(c); err != nil {
		return pipeline.JobRef{}, err
	}
	token, err := number(c, "fence", 0, math.MinInt64, math.MaxInt64)
	if err == nil && (c.Query("class") == "" || c.Query("fence") == "") {
		err = refuse(http.StatusBadRequest, "fence", "class and fence are required")
	}
	if err == nil {
		err = w.ownPart(c)
	}
	return pipeline.JobRef{ID: c.Param("id"), Class: c.Query("class"), Token: token}, err
}

func (w workerAPI) claim(c *gin.Context) {
	var who pipeline.Worker
	err := w.allowed(c)
	if err == nil {
		err = readJSONUpTo(c, &who, requestLimitBytes)
	}
	var seconds int64
	if err == nil {
		seconds, err = number(c, "wait", 0, 0, int64(claimWaitMax/time.Second))
	}
	if err == nil && (who.ID == "" || who.Kind != w.kind) {
		err = refuse(http.StatusUnprocessableEntity, "invalid", "a worker with an id and of kind %q is wanted", w.kind)
	}
	if err == nil {
		err = w.named(c, &who)
	}
	if err != nil {
		w.s.fail(c, err)
		return
	}
	w.wait(c, who, time.Duration(seconds)*time.Second)
}

// wait is the long poll itself.
func (w workerAPI) wait(c *gin.Context, worker pipeline.Worker, wait time.Duration) {
	ctx, stop, err := w.s.enterStream(c)
	if err != nil {
		w.s.fail(c, err)
		return
	}
	defer stop()
	a, err := w.control().Claim(ctx, worker, wait)
	switch {
	case err == nil:
		c.Header("Cache-Control", "no-store")
		c.JSON(http.StatusOK, a)
	case errors.Is(err, pipeline.ErrNotFound):
		c.Status(http.StatusNoContent)
	case errors.Is(context.Cause(ctx), pipeline.ErrDrained):
		w.s.fail(c, pipeline.ErrDrained)
	default:
		w.s.fail(c, err)
	}
}

func (w workerAPI) renew(c *gin.Context) {
	ref, err := w.ref(c)
	if err == nil {
		var r pipeline.Renewal
		if r, err = w.control().Renew(c.Request.Context(), ref); err == nil {
			c.JSON(http.StatusOK, r)
			return
		}
	}
	w.s.fail(c, err)
}

func (w workerAPI) appendLog(c *gin.Context) {
	ref, err := w.ref(c)
	var offset int64
	if err == nil {
		offset, err = number(c, "offset", 0, 0, math.MaxInt64)
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(http.MaxBytesReader(c.Writer, steady(c), appendLimitBytes))
	}
	if err == nil {
		var length int64
		if length, err = w.control().AppendLog(c.Request.Context(), ref, offset, data); err == nil {
			c.JSON(http.StatusOK, logLength{length})
			return
		}
	}
	w.s.fail(c, err)
}

func (w workerAPI) report(c *gin.Context) {
	ref, err := w.ref(c)
	var b pipeline.Build
	if err == nil {
		err = readJSONUpTo(c, &b, reportLimitBytes)
	}
	if err == nil {
		err = own(ref, &b)
	}
	if err == nil {
		err = w.control().Report(c.Request.Context(), ref, b)
	}
	w.done(c, err)
}

func (w workerAPI) putArtifact(c *gin.Context) {
	ref, err := w.ref(c)
	var files int64
	if err == nil {
		files, err = number(c, "files", 0, 0, math.MaxInt32)
	}
	if err == nil && c.Query("name") == "" {
		err = refuse(http.StatusBadRequest, "name", "the artifact needs a name")
	}
	if err == nil {
		a := pipeline.Artifact{Name: c.Query("name"), Format: c.Query("format"), Files: int(files)}
		if a, err = w.control().PutArtifact(c.Request.Context(), ref, a, steady(c)); err == nil {
			c.JSON(http.StatusCreated, a)
			return
		}
	}
	w.s.fail(c, err)
}

func (w workerAPI) getArtifact(c *gin.Context) {
	ref, err := w.ref(c)
	digest := c.Param("digest")
	if err == nil && !isDigest(digest) {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		w.s.fail(c, err)
		return
	}
	r, err := w.control().Artifact(c.Request.Context(), ref, digest)
	if err != nil {
		w.s.fail(c, err)
		return
	}
	defer r.Close()
	c.Header("Content-Type", "application/octet-stream")
	w.s.copyOut(c, r)
}

func isDigest(s string) bool {
	sum, err := hex.DecodeString(s)
	return err == nil && len(sum) == 32
}

func (w workerAPI) complete(c *gin.Context) {
	ref, err := w.ref(c)
	var in completion
	if err == nil {
		err = readJSONUpTo(c, &in, reportLimitBytes)
	}
	if err == nil {
		err = own(ref, &in.Build)
	}
	if err == nil {
		err = w.control().Complete(c.Request.Context(), ref, in.Build, in.Outcome)
	}
	if err == nil {
		w.s.ObserveBuild(in.Build)
	}
	w.done(c, err)
}

// own makes sure that a worker speaks of the build that it holds.
func own(ref pipeline.JobRef, b *pipeline.Build) error {
	if b.ID == "" {
		b.ID = ref.ID
	}
	if b.ID != ref.ID {
		return refuse(http.StatusUnprocessableEntity, "invalid", "the build is not the job's")
	}
	return nil
}

func (w workerAPI) done(c *gin.Context, err error) {
	if err != nil {
		w.s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// steady is the request's body; it fails once nothing came for stallTime.
func steady(c *gin.Context) io.ReadCloser {
	return steadyBody{c.Request.Body, http.NewResponseController(c.Writer)}
}

type steadyBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b steadyBody) Read(p []byte) (int, error) {
	// Without deadlines on the connection its own time limits hold.
	_ = b.rc.SetReadDeadline(time.Now().Add(stallTime))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
