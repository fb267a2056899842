package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// watch ends a stream that stands still.
type watch struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func newWatch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{timer: time.AfterFunc(stallTime, func() { cancel(errSlow) }), cancel: cancel}
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// reader is r; every read that it makes winds the watch again.
func (w *watch) reader(r io.Reader) io.Reader { return watched{r, w} }

type watched struct {
	io.Reader
	w *watch
}

func (r watched) Read(p []byte) (int, error) {
	r.w.timer.Reset(stallTime)
	return r.Reader.Read(p)
}

// open starts a download; closing it ends the request.
func (c *Client) open(ctx context.Context, in call) (io.ReadCloser, error) {
	ctx, w := newWatch(ctx)
	answer, err := c.do(ctx, in)
	if err != nil {
		w.stop()
		return nil, err
	}
	return &download{ctx: ctx, body: answer.Body, in: w.reader(answer.Body), watch: w}, nil
}

type download struct {
	ctx   context.Context // only to tell why a read failed
	body  io.Closer
	in    io.Reader
	watch *watch
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.in.Read(p)
	if err != nil && err != io.EOF {
		if cause := context.Cause(d.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (d *download) Close() error {
	d.watch.stop()
	return d.body.Close()
}

// Log opens the log of a build from a byte offset up to its present end.
func (c *Client) Log(ctx context.Context, build string, offset int64) (io.ReadCloser, error) {
	in := call{method: http.MethodGet, path: "/builds/" + url.PathEscape(build) + "/log"}
	if offset > 0 {
		in.header = http.Header{"Range": {"bytes=" + strconv.FormatInt(offset, 10) + "-"}}
	}
	r, err := c.open(ctx, in)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusRequestedRangeNotSatisfiable {
		return io.NopCloser(bytes.NewReader(nil)), nil // nothing behind the offset
	}
	return r, err
}

// FollowLog copies the log of a build from a byte offset on to out while it
// grows, until it is sealed, and answers with the build's status. The offset
// behind what was copied comes back also with an error, to go on from.
func (c *Client) FollowLog(ctx context.Context, build string, offset int64, out io.Writer) (int64, pipeline.BuildStatus, error) {
	in := call{
		method: http.MethodGet, path: "/builds/" + url.PathEscape(build) + "/log", query: url.Values{"follow": {"1"}},
		header: http.Header{"Last-Event-ID": {strconv.FormatInt(offset, 10)}},
	}
	var status pipeline.BuildStatus
	err := c.events(ctx, in, func(name string, data []byte) (done bool, err error) {
		switch name {
		case "log":
			var e struct {
				To   int64  `json:"to"`
				Text string `json:"text"`
			}
			if err := json.Unmarshal(data, &e); err != nil {
				return false, fmt.Errorf("reading a log event: %w", err)
			}
			if _, err := io.WriteString(out, e.Text); err != nil {
				return false, err
			}
			offset = e.To
		case "end":
			var e struct {
				Status pipeline.BuildStatus `json:"status"`
			}
			err := json.Unmarshal(data, &e)
			status = e.Status
			return true, err
		}
		return false, nil
	})
	return offset, status, err
}

// FollowExecution calls changed with the execution now and after each change,
// until it has ended.
func (c *Client) FollowExecution(ctx context.Context, id string, changed func(Execution)) error {
	in := call{method: http.MethodGet, path: "/executions/" + url.PathEscape(id), query: url.Values{"follow": {"1"}}}
	return c.events(ctx, in, func(name string, data []byte) (done bool, err error) {
		if name == "end" {
			return true, nil
		}
		var x Execution
		if err := json.Unmarshal(data, &x); err != nil {
			return false, fmt.Errorf("reading an execution event: %w", err)
		}
		changed(x)
		return false, nil
	})
}

// eventLimitBytes bounds one event; a server's log events hold 256 KiB, which
// JSON makes up to six times longer.
const eventLimitBytes = 4 << 20

// events reads server-sent events until each is done. A stream that ends
// before is io.ErrUnexpectedEOF.
func (c *Client) events(ctx context.Context, in call, each func(name string, data []byte) (done bool, err error)) error {
	body, err := c.open(ctx, in)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), eventLimitBytes)
	var name string
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case len(line) == 0:
			if name != "" {
				if done, err := each(name, data); done || err != nil {
					return err
				}
			}
			name, data = "", nil
		case bytes.HasPrefix(line, []byte("event: ")):
			name = string(line[len("event: "):])
		case bytes.HasPrefix(line, []byte("data: ")):
			data = append(data, line[len("data: "):]...)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
