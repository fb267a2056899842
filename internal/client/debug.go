package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

var _ pipeline.Debugs = (*Client)(nil)

// debugWaitMax is the longest long poll for the other side of a session.
const debugWaitMax = 30 * time.Second

// debugSaid is what one side says at a time.
type debugSaid struct {
	Frames []pipeline.DebugFrame `json:"frames"`
}

// DebugInput waits up to wait, at most half a minute, for what the person said.
func (c *Client) DebugInput(ctx context.Context, ref pipeline.JobRef, after string, wait time.Duration) (pipeline.DebugFrames, error) {
	path, query := c.job(ref, "/debug")
	return c.hear(ctx, path, query, after, wait)
}

// DebugOutput says something to the person who looks into a job's build.
func (c *Client) DebugOutput(ctx context.Context, ref pipeline.JobRef, frames []pipeline.DebugFrame) error {
	path, query := c.job(ref, "/debug")
	return c.send(ctx, http.MethodPost, path, query, debugSaid{frames}, nil)
}

// DebugBuild retries a failed build, which will wait where it fails for the
// caller, and answers with the retry's ID.
func (c *Client) DebugBuild(ctx context.Context, build string, tty bool) (retry string, err error) {
	var out struct {
		Build string `json:"build"`
	}
	in := struct {
		TTY bool `json:"tty,omitempty"`
	}{tty}
	err = c.send(ctx, http.MethodPost, "/builds/"+url.PathEscape(build)+"/debug", nil, in, &out)
	return out.Build, err
}

// Type says something in a session that the caller opened.
func (c *Client) Type(ctx context.Context, build string, frames []pipeline.DebugFrame) error {
	return c.send(ctx, http.MethodPost, "/builds/"+url.PathEscape(build)+"/debug/input", nil, debugSaid{frames}, nil)
}

// Read waits up to wait, at most half a minute, for what the build's side said
// after a place.
func (c *Client) Read(ctx context.Context, build, after string, wait time.Duration) (pipeline.DebugFrames, error) {
	return c.hear(ctx, "/builds/"+url.PathEscape(build)+"/debug/output", url.Values{}, after, wait)
}

func (c *Client) hear(ctx context.Context, path string, query url.Values, after string, wait time.Duration) (pipeline.DebugFrames, error) {
	var out pipeline.DebugFrames
	wait = min(wait, debugWaitMax)
	ctx, cancel := context.WithTimeoutCause(ctx, wait+waitSlack, errSlow)
	defer cancel()
	if after != "" {
		query.Set("after", after)
	}
	query.Set("wait", strconv.Itoa(int(wait/time.Second)))
	err := c.finish(ctx, call{method: http.MethodGet, path: path, query: query}, &out)
	return out, err
}
