// Package client speaks the API of a Slipway server. Commands use it, and
// runners and agents, for whom it is the pipeline.Control of a server that is
// elsewhere.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// callTime bounds one request that isn't a stream or a long poll.
	callTime = 30 * time.Second
	// waitSlack is added to a long poll's own wait.
	waitSlack = 15 * time.Second
	// answerLimitBytes bounds an answer that is read whole.
	answerLimitBytes = 64 << 20
	// stallTime is how long a stream may stand still; servers send a sign of
	// life every 15 seconds.
	stallTime = 60 * time.Second
)

// Client calls one server. It is safe for concurrent use. It never tries a
// request again by itself; see Retryable.
type Client struct {
	base  string
	token string
	http  *http.Client
	kind  string // the part of the API for workers: runner or agent
}

// New makes a Client of the server at base, such as https://ci.example.com,
// with the token that it is to send; an empty one sends none.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("server address %q: want http://HOST or https://HOST", base)
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // sizes and offsets are those of the bytes themselves
	}
	return &Client{
		base: strings.TrimRight(base, "/"), token: token, kind: "runner",
		http: &http.Client{Transport: transport, CheckRedirect: sameHost},
	}, nil
}

// sameHost keeps the token from following a redirect to somebody else.
func sameHost(r *http.Request, via []*http.Request) error {
	if len(via) >= 5 || r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// Error is a refusal by the server.
type Error struct {
	Status int    // the HTTP status
	Code   string // the kind of problem, such as not-found or stale
	Detail string
	After  time.Duration // when to try again; 0: the server names no time
}

func (e *Error) Error() string {
	if e.Detail != "" {
		return e.Detail
	}
	return fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status))
}

// Unwrap is the error of package pipeline that the server's came from, if any.
func (e *Error) Unwrap() error {
	switch {
	case e.Code == "not-found", e.Code == "" && e.Status == http.StatusNotFound:
		return pipeline.ErrNotFound
	case e.Code == "stale":
		return pipeline.ErrStale
	case e.Code == "stopped":
		return pipeline.ErrStopped
	case e.Code == "drained":
		return pipeline.ErrDrained
	case e.Code == "invalid", e.Status == http.StatusUnprocessableEntity:
		return &pipeline.UserError{Code: e.Code, Msg: e.Detail}
	case e.Status == http.StatusConflict:
		return pipeline.ErrConflict
	}
	return nil
}

// Base is the server's address, without a slash at its end.
func (c *Client) Base() string { return c.base }

// Retryable reports whether the same request may succeed later: the server
// was not reached, is busy, restarts, or has a fault. A context that is over is
// not retryable.
func Retryable(err error) bool {
	var refused *Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &refused):
		return refused.Status >= 500 || refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusRequestTimeout
	}
	var network net.Error
	var op *url.Error
	return errors.As(err, &network) || errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF)
}

// call is one request: what is sent and what for.
type call struct {
	method, path string
	query        url.Values
	body         io.Reader
	media        string
	header       http.Header
}

// do sends it and answers with the response of a success; its body is the
// caller's to close.
func (c *Client) do(ctx context.Context, in call) (*http.Response, error) {
	address := c.base + "/api/v1" + in.path
	if len(in.query) > 0 {
		address += "?" + in.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, in.method, address, in.body)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.base, err)
	}
	for name, values := range in.header {
		r.Header[name] = values
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if in.media != "" {
		r.Header.Set("Content-Type", in.media)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	if answer.StatusCode >= 300 {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	return answer, nil
}

func refusal(answer *http.Response) error {
	e := &Error{Status: answer.StatusCode}
	var p struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Title  string `json:"title"`
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err == nil && json.Unmarshal(text, &p) == nil {
		e.Code, e.Detail = p.Code, p.Detail
	}
	if n, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && n >= 0 {
		e.After = time.Duration(n) * time.Second
	}
	return e
}

// exchange sends in and, unless out is nil, reads the answer's JSON into it.
func (c *Client) exchange(ctx context.Context, in call, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTime, errSlow)
	defer cancel()
	return c.finish(ctx, in, out)
}

func (c *Client) finish(ctx context.Context, in call, out any) error {
	answer, err := c.do(ctx, in)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNoContent || out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerLimitBytes)).Decode(out); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("reading the answer of %s: %w", in.path, err)
	}
	return nil
}

// errSlow is what a request of ours that took too long ends with.
var errSlow error = slow{}

type slow struct{}

func (slow) Error() string   { return "the server did not answer in time" }
func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

// jsonBody is a value as the body of a call.
func jsonBody(v any) (io.Reader, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a request: %w", err)
	}
	return bytes.NewReader(text), nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.exchange(ctx, call{method: http.MethodGet, path: path, query: query}, out)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	var media string
	if in != nil {
		var err error
		if body, err = jsonBody(in); err != nil {
			return err
		}
		media = "application/json"
	}
	return c.exchange(ctx, call{method: method, path: path, query: query, body: body, media: media}, out)
}
