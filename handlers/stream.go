package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// lookEvery is how often followed state is looked at.
	lookEvery = time.Second
	// pingEvery keeps proxies from closing a quiet stream.
	pingEvery = 15 * time.Second
	// writeTime is how long a reader may take to accept one event.
	writeTime = 30 * time.Second
)

// loader reads some state; ended means that it won't change any more.
type loader func(ctx context.Context) (state any, ended bool, err error)

// answer sends the state once, or with follow=1 again whenever it changes.
func (s *Server) answer(c *gin.Context, load loader) {
	if truth(c.Query("follow")) {
		s.follow(c, load)
		return
	}
	state, _, err := load(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, state)
}

// follow streams the state as "state" events and closes with an "end" event.
func (s *Server) follow(c *gin.Context, load loader) {
	ctx, stop, err := s.enterStream(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer stop()
	state, ended, err := load(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := newEventWriter(c)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last []byte
	for {
		text, err := json.Marshal(state)
		if err != nil {
			return
		}
		if !bytes.Equal(text, last) {
			last = text
			err = out.event("state", "", text)
		} else {
			err = out.ping()
		}
		if err != nil {
			return
		}
		if ended {
			_ = out.event("end", "", []byte("{}")) // the reader may be gone: all the same
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if state, ended, err = load(ctx); err != nil {
			return // the reader comes again by itself
		}
	}
}

// enterStream takes a place among the streams. Its context ends with the
// request or when the server drains.
func (s *Server) enterStream(c *gin.Context) (context.Context, func(), error) {
	select {
	case <-s.drained:
		return nil, nil, pipeline.ErrDrained
	case s.streams <- struct{}{}:
	default:
		return nil, nil, unavailable("busy", "too many streams are open", 5*time.Second)
	}
	ctx, cancel := context.WithCancelCause(c.Request.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-s.drained:
			cancel(pipeline.ErrDrained)
		case <-ctx.Done():
		}
	}()
	stop := func() {
		cancel(context.Canceled)
		<-done
		<-s.streams
	}
	return ctx, stop, nil
}

// eventWriter writes server-sent events.
type eventWriter struct {
	c    *gin.Context
	rc   *http.ResponseController
	last time.Time
	// checked is when it was last seen that the reader may read.
	checked time.Time
}

func newEventWriter(c *gin.Context) *eventWriter {
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	return &eventWriter{c: c, rc: http.NewResponseController(c.Writer), last: time.Now(), checked: time.Now()}
}

// event writes one event; data is one line.
func (w *eventWriter) event(name, id string, data []byte) error {
	var b bytes.Buffer
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("event: " + name + "\ndata: ")
	b.Write(data)
	b.WriteString("\n\n")
	return w.write(b.Bytes())
}

// still fails once the reader may not read any more: a stream may outlive a
// session, a token or a permission.
func (w *eventWriter) still() error {
	ask, ok := w.c.Get(stillKey)
	if !ok || time.Since(w.checked) < pingEvery {
		return nil
	}
	w.checked = time.Now()
	return ask.(func() error)()
}

// ping writes a comment if nothing was written for a while.
func (w *eventWriter) ping() error {
	if err := w.still(); err != nil || time.Since(w.last) < pingEvery {
		return err
	}
	return w.write([]byte(": still here\n\n"))
}

func (w *eventWriter) write(text []byte) error {
	if err := w.still(); err != nil {
		return err
	}
	w.last = time.Now()
	// Where the connection has no deadlines, a reader that is gone ends the
	// request's context instead.
	_ = w.rc.SetWriteDeadline(w.last.Add(writeTime))
	if _, err := w.c.Writer.Write(text); err != nil {
		return err
	}
	return w.rc.Flush()
}

func truth(text string) bool { return text == "1" || text == "true" }
