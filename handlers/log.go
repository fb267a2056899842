package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

// logBlockBytes is how much of a log is held at a time.
const logBlockBytes = 256 << 10

// getLog is GET /builds/{id}/log: the text itself, a range of it, or its
// growth as events.
func (s *Server) getLog(c *gin.Context) {
	id := c.Param("id")
	total, _, _, err := s.statLog(c.Request.Context(), id)
	if err != nil {
		s.fail(c, err)
		return
	}
	if truth(c.Query("follow")) {
		s.followLog(c, id, total)
		return
	}
	from, to, err := s.logSpan(c, id, total)
	if err != nil {
		s.fail(c, err)
		return
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Accept-Ranges", "bytes")
	status := http.StatusOK
	if span := c.GetHeader("Range"); span != "" && c.Query("line") == "" {
		var ok bool
		if from, to, ok = byteRange(span, total); !ok {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", total))
			s.fail(c, refuse(http.StatusRequestedRangeNotSatisfiable, "range", "the log has %d bytes", total))
			return
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, total))
		status = http.StatusPartialContent
	}
	h.Set("Content-Length", strconv.FormatInt(to-from, 10))
	c.Status(status)
	s.sendLog(c, id, from, to)
}

// statLog is the log's state. A build whose log has not begun has an empty one.
func (s *Server) statLog(ctx context.Context, id string) (bytes, lines int64, sealed bool, err error) {
	bytes, lines, sealed, err = s.Logs.Stat(ctx, id)
	if !errors.Is(err, pipeline.ErrNotFound) {
		return bytes, lines, sealed, err
	}
	b, err := s.Builds.Build(ctx, id)
	return 0, 0, err == nil && b.Status.Ended(), err
}

// logSpan is the part of the log that ?line= and ?lines= ask for.
func (s *Server) logSpan(c *gin.Context, id string, total int64) (from, to int64, err error) {
	line, err := number(c, "line", 0, 0, math.MaxInt64)
	if err != nil || line == 0 || total == 0 {
		return 0, total, err
	}
	count, err := number(c, "lines", 0, 0, math.MaxInt32)
	if err != nil {
		return 0, 0, err
	}
	if from, err = s.Logs.LineOffset(c.Request.Context(), id, line); err != nil {
		return 0, 0, err
	}
	to = total
	if count > 0 && line < math.MaxInt64-count {
		if to, err = s.Logs.LineOffset(c.Request.Context(), id, line+count); err != nil {
			return 0, 0, err
		}
	}
	// The log may have grown since its length was asked for.
	return min(from, total), max(min(to, total), min(from, total)), nil
}

func (s *Server) sendLog(c *gin.Context, id string, from, to int64) {
	w := deadlineWriter{c.Writer, http.NewResponseController(c.Writer)}
	if c.Request.Method == http.MethodHead {
		return
	}
	for from < to {
		block, err := s.Logs.ReadAt(c.Request.Context(), id, from, int(min(logBlockBytes, to-from)))
		if err == nil && len(block) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			_, err = w.Write(block)
		}
		if err != nil {
			panic(http.ErrAbortHandler) // less than Content-Length promised
		}
		from += int64(len(block))
	}
}

// byteRange reads a Range header with one range of bytes; to is past its end.
func byteRange(header string, total int64) (from, to int64, ok bool) {
	spec, found := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return 0, 0, false
	}
	if first == "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n <= 0 || total == 0 {
			return 0, 0, false
		}
		return max(0, total-n), total, true
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || from < 0 || from >= total {
		return 0, 0, false
	}
	if last == "" {
		return from, total, true
	}
	end, err := strconv.ParseInt(last, 10, 64)
	if err != nil || end < from {
		return 0, 0, false
	}
	return from, min(end, total-1) + 1, true
}

// logEvent is the data of a "log" event: bytes From to To of the log.
type logEvent struct {
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Text string `json:"text"`
}

// followLog streams the log from the Last-Event-ID, a Range's start, a line or
// the beginning on. The ID of an event is the offset behind it. Events end at
// line ends while the log grows, so no character is cut in two.
func (s *Server) followLog(c *gin.Context, id string, total int64) {
	from, err := s.followFrom(c, id, total)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.streamLog(c, id, from, func(out *eventWriter, from int64, block []byte) error {
		to := from + int64(len(block))
		data, err := json.Marshal(logEvent{From: from, To: to, Text: string(block)})
		if err != nil {
			return err
		}
		return out.event("log", strconv.FormatInt(to, 10), data)
	})
}

func (s *Server) followFrom(c *gin.Context, id string, total int64) (int64, error) {
	if last := c.GetHeader("Last-Event-ID"); last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 || n > total {
			return 0, refuse(http.StatusBadRequest, "offset", "Last-Event-ID: want an offset of the log, have %q", cut(last, 40))
		}
		return n, nil
	}
	if line := c.Query("line"); line != "" {
		from, _, err := s.logSpan(c, id, total)
		return from, err
	}
	return number(c, "offset", 0, 0, total)
}

// streamLog calls send with one piece of the log after the other until the
// log is sealed, and closes with an "end" event that has the build's status.
func (s *Server) streamLog(c *gin.Context, id string, from int64, send func(*eventWriter, int64, []byte) error) {
	ctx, stop, err := s.enterStream(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer stop()
	out := newEventWriter(c)
	for {
		total, _, sealed, err := s.statLog(ctx, id)
		if err != nil {
			return
		}
		if from < total {
			sent, err := s.sendPiece(ctx, id, from, total, sealed, func(block []byte) error { return send(out, from, block) })
			if err != nil {
				return
			}
			from += sent
			if sent > 0 {
				continue
			}
		} else if sealed {
			s.endLog(ctx, id, out)
			return
		}
		if out.ping() != nil || s.awaitLog(ctx, id, total) != nil {
			return
		}
	}
}

// sendPiece sends whole lines from from on, and answers how many bytes they
// are: 0 if the line is not complete yet.
func (s *Server) sendPiece(ctx context.Context, id string, from, total int64, sealed bool, send func([]byte) error) (int64, error) {
	block, err := s.Logs.ReadAt(ctx, id, from, int(min(logBlockBytes, total-from)))
	if err != nil {
		return 0, err
	}
	whole := block
	if !sealed || from+int64(len(block)) < total {
		whole = wholeLines(block)
	}
	if len(whole) == 0 {
		return 0, nil
	}
	return int64(len(whole)), send(whole)
}

// wholeLines is block up to its last line end. A line that fills the block is
// cut between characters.
func wholeLines(block []byte) []byte {
	if i := strings.LastIndexByte(string(block), '\n'); i >= 0 {
		return block[:i+1]
	}
	if len(block) < logBlockBytes {
		return nil
	}
	end := len(block)
	for n := 0; n < 3 && end > 0 && block[end-1]&0xc0 == 0x80; n++ {
		end--
	}
	if end > 0 && block[end-1] >= 0xc0 {
		end--
	}
	return block[:end]
}

// awaitLog waits until there is more, for at most as long as a quiet stream
// may stay without a sign of life.
func (s *Server) awaitLog(ctx context.Context, id string, total int64) error {
	wait, cancel := context.WithTimeout(ctx, pingEvery)
	defer cancel()
	err := s.Logs.Wait(wait, id, total)
	if errors.Is(err, pipeline.ErrNotFound) {
		select {
		case <-wait.Done():
		case <-time.After(lookEvery):
		}
		err = nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wait.Err() != nil {
		return nil
	}
	return err
}

type logEnd struct {
	Status pipeline.BuildStatus `json:"status"`
}

func (s *Server) endLog(ctx context.Context, id string, out *eventWriter) {
	var end logEnd
	if b, err := s.Builds.Build(ctx, id); err == nil {
		end.Status = b.Status
	}
	data, err := json.Marshal(end)
	if err == nil {
		_ = out.event("end", "", data) // the reader may be gone by now
	}
}

// getLines is GET /builds/{id}/lines: a window of lines as spans of text with
// classes, which a page can show without interpreting anything.
func (s *Server) getLines(c *gin.Context) {
	id := c.Param("id")
	from, err := number(c, "from", 1, 1, math.MaxInt64-windowLimit)
	if err != nil {
		s.fail(c, err)
		return
	}
	if truth(c.Query("follow")) {
		s.followLines(c, id, from)
		return
	}
	count, err := number(c, "count", 500, 1, windowLimit)
	if err == nil {
		var w ui.Window
		if w, err = s.window(c.Request.Context(), id, from, int(count)); err == nil {
			c.Header("Cache-Control", "no-store")
			c.JSON(http.StatusOK, w)
			return
		}
	}
	s.fail(c, err)
}

const (
	windowLimit = 2000
	// primeBytes before a window are read for the colours that are still on.
	primeBytes = 16 << 10
	// windowBytes bounds a window whatever its lines are.
	windowBytes = 2 << 20
)

// window reads count lines from line from on.
func (s *Server) window(ctx context.Context, id string, from int64, count int) (ui.Window, error) {
	total, lines, sealed, err := s.statLog(ctx, id)
	w := ui.Window{From: from, Total: lines, Sealed: sealed, Lines: []ui.Line{}}
	if err != nil || from > lines {
		return w, err
	}
	start, err := s.Logs.LineOffset(ctx, id, from)
	if err != nil {
		return w, err
	}
	r := ui.NewRenderer(from)
	if err := s.prime(ctx, id, start, r); err != nil {
		return w, err
	}
	end := min(total, start+windowBytes)
	for start < end && len(w.Lines) < count {
		block, err := s.Logs.ReadAt(ctx, id, start, int(min(logBlockBytes, end-start)))
		if err != nil {
			return w, err
		}
		if len(block) == 0 {
			break
		}
		start += int64(len(block))
		w.Lines = append(w.Lines, r.Write(block)...)
	}
	if len(w.Lines) < count && start >= total {
		w.Lines = append(w.Lines, r.Rest()...)
	}
	w.Lines = w.Lines[:min(count, len(w.Lines))]
	return w, nil
}

// prime feeds r what comes before a window, so that it starts in the right
// colour.
func (s *Server) prime(ctx context.Context, id string, start int64, r *ui.Renderer) error {
	before := min(start, primeBytes)
	if before == 0 {
		return nil
	}
	block, err := s.Logs.ReadAt(ctx, id, start-before, int(before))
	if err == nil {
		r.Prime(block)
	}
	return err
}

// followLines streams lines from line from on. An event's ID is its offset and
// the number of the line there, so that a reader can go on from it.
func (s *Server) followLines(c *gin.Context, id string, line int64) {
	ctx := c.Request.Context()
	total, _, _, err := s.statLog(ctx, id)
	var from int64
	if last := c.GetHeader("Last-Event-ID"); err == nil && last != "" {
		if n, scanErr := fmt.Sscanf(last, "%d.%d", &from, &line); scanErr != nil || n != 2 || from < 0 || from > total || line < 1 {
			err = refuse(http.StatusBadRequest, "offset", "Last-Event-ID: have %q", cut(last, 40))
		}
	} else if err == nil && total > 0 {
		from, err = s.Logs.LineOffset(ctx, id, line)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	r := ui.NewRenderer(line)
	if err := s.prime(ctx, id, from, r); err != nil {
		s.fail(c, err)
		return
	}
	s.streamLog(c, id, from, func(out *eventWriter, from int64, block []byte) error {
		w := ui.Window{From: r.Next(), Lines: r.Write(block)}
		if block[len(block)-1] != '\n' {
			w.Lines = append(w.Lines, r.Rest()...)
		}
		w.Total = r.Next() - 1
		data, err := json.Marshal(w)
		if err != nil {
			return err
		}
		return out.event("lines", fmt.Sprintf("%d.%d", from+int64(len(block)), r.Next()), data)
	})
}

// number is a parameter between low and high; fallback if it is absent.
func number(c *gin.Context, name string, fallback, low, high int64) (int64, error) {
	text := c.Query(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, refuse(http.StatusBadRequest, name, "%s: want %d to %d, have %q", name, low, high, cut(text, 40))
	}
	return n, nil
}

// deadlineWriter gives up on a reader that takes nothing for a while.
type deadlineWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) && !errors.Is(err, os.ErrNoDeadline) {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}
