package client

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

var _ pipeline.Control = (*Client)(nil)

// claimWaitMax is the longest long poll that servers allow.
const claimWaitMax = 60 * time.Second

// Agent is the same client for deployments: its Control claims and reports the
// jobs of agents instead of runners.
func (c *Client) Agent() *Client {
	agent := *c
	agent.kind = "agent"
	return &agent
}

func (c *Client) job(ref pipeline.JobRef, what string) (path string, query url.Values) {
	return "/" + c.kind + "/jobs/" + url.PathEscape(ref.ID) + what,
		url.Values{"class": {ref.Class}, "fence": {strconv.FormatInt(ref.Token, 10)}}
}

// Claim waits up to wait, at most a minute, for a job.
func (c *Client) Claim(ctx context.Context, w pipeline.Worker, wait time.Duration) (pipeline.Assignment, error) {
	var a pipeline.Assignment
	body, err := jsonBody(w)
	if err != nil {
		return a, err
	}
	wait = min(wait, claimWaitMax)
	ctx, cancel := context.WithTimeoutCause(ctx, wait+waitSlack, errSlow)
	defer cancel()
	err = c.finish(ctx, call{
		method: http.MethodPost, path: "/" + c.kind + "/claim", body: body, media: "application/json",
		query: url.Values{"wait": {strconv.Itoa(int((wait + time.Second - 1) / time.Second))}},
	}, &a)
	if err == nil && a.Job.ID == "" {
		return a, pipeline.ErrNotFound
	}
	return a, err
}

// Renew extends the lease of a job.
func (c *Client) Renew(ctx context.Context, ref pipeline.JobRef) (pipeline.Renewal, error) {
	var r pipeline.Renewal
	path, query := c.job(ref, "/renew")
	err := c.send(ctx, http.MethodPost, path, query, nil, &r)
	return r, err
}

// AppendLog adds bytes to the job's log.
func (c *Client) AppendLog(ctx context.Context, ref pipeline.JobRef, offset int64, data []byte) (int64, error) {
	var length struct {
		Bytes int64 `json:"bytes"`
	}
	path, query := c.job(ref, "/log")
	query.Set("offset", strconv.FormatInt(offset, 10))
	err := c.exchange(ctx, call{method: http.MethodPost, path: path, query: query, body: bytes.NewReader(data), media: "application/octet-stream"}, &length)
	return length.Bytes, err
}

// Report replaces what the server knows of the build.
func (c *Client) Report(ctx context.Context, ref pipeline.JobRef, b pipeline.Build) error {
	path, query := c.job(ref, "/build")
	return c.send(ctx, http.MethodPut, path, query, b, nil)
}

// PutArtifact streams r to the server. It has no time limit but ctx, and ends
// once the server takes nothing for a while.
func (c *Client) PutArtifact(ctx context.Context, ref pipeline.JobRef, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	path, query := c.job(ref, "/artifacts")
	query.Set("name", a.Name)
	query.Set("format", a.Format)
	query.Set("files", strconv.Itoa(a.Files))
	ctx, watch := newWatch(ctx)
	defer watch.stop()
	stored := a
	// A reader behind an interface: the transport must not close it, nor take
	// its type as a promise about its length.
	body := io.NopCloser(watch.reader(r))
	err := c.finish(ctx, call{method: http.MethodPut, path: path, query: query, body: body, media: "application/octet-stream"}, &stored)
	return stored, err
}

// Artifact opens bytes that the job's assignment names.
func (c *Client) Artifact(ctx context.Context, ref pipeline.JobRef, digest string) (io.ReadCloser, error) {
	path, query := c.job(ref, "/artifacts/"+url.PathEscape(digest))
	return c.open(ctx, call{method: http.MethodGet, path: path, query: query})
}

var _ pipeline.Caches = (*Client)(nil)

func (c *Client) cache(ref pipeline.JobRef, q pipeline.CacheQuery) (path string, query url.Values) {
	path, query = c.job(ref, "/cache")
	query.Set("version", q.Version)
	query.Set("key", q.Key)
	query["fallback"] = q.Fallbacks
	return path, query
}

// RestoreCache opens an entry of the project's cache.
func (c *Client) RestoreCache(ctx context.Context, ref pipeline.JobRef, q pipeline.CacheQuery) (pipeline.CacheEntry, io.ReadCloser, error) {
	var e pipeline.CacheEntry
	path, query := c.cache(ref, q)
	if err := c.send(ctx, http.MethodGet, path+"/entry", query, nil, &e); err != nil {
		return e, nil, err
	}
	query.Set("key", e.Key) // what was found, also if another entry comes meanwhile
	r, err := c.open(ctx, call{method: http.MethodGet, path: path, query: query})
	return e, r, err
}

// SaveCache streams r to the server.
func (c *Client) SaveCache(ctx context.Context, ref pipeline.JobRef, q pipeline.CacheQuery, r io.Reader) (pipeline.CacheEntry, error) {
	var e pipeline.CacheEntry
	path, query := c.cache(ref, q)
	ctx, watch := newWatch(ctx)
	defer watch.stop()
	err := c.finish(ctx, call{
		method: http.MethodPut, path: path, query: query, body: io.NopCloser(watch.reader(r)), media: "application/octet-stream",
	}, &e)
	return e, err
}

// Complete ends the job.
func (c *Client) Complete(ctx context.Context, ref pipeline.JobRef, b pipeline.Build, o pipeline.Outcome) error {
	path, query := c.job(ref, "/complete")
	return c.send(ctx, http.MethodPost, path, query, struct {
		Build   pipeline.Build   `json:"build"`
		Outcome pipeline.Outcome `json:"outcome"`
	}{b, o}, nil)
}
