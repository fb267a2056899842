package handlers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// bodyLimitBytes is the most that a webhook may carry (design: 25 MiB).
	bodyLimitBytes = 25 << 20
	// inlineLimitBytes is the most that is kept in Redis.
	inlineLimitBytes = 256 << 10
	// smallBytes is the size up to which buffers are kept for reuse and bodies
	// are read without asking for one of the places for large ones.
	smallBytes   = 1 << 20
	largePlaces  = 8
	readTime     = 8 * time.Second
	recordTime   = 5 * time.Second
	refusalsKept = 20 // that are recorded per second; the others are only counted
)

// receiver takes webhooks. Nothing but the durable append happens between the
// request and its answer.
type receiver struct {
	s       *Server
	buffers sync.Pool
	large   chan struct{}
	// refusals holds the second in the upper 32 bits and how many refused
	// deliveries it has seen in the lower.
	refusals atomic.Uint64
}

func newReceiver(s *Server) *receiver {
	return &receiver{
		s:       s,
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		large:   make(chan struct{}, largePlaces),
	}
}

// refusal is a webhook that is turned away.
type refusal struct {
	status int
	reason string // for the ledger, the metrics and, but for signatures, the sender
	detail string
}

func (r *refusal) Error() string { return r.reason }

// receive is POST /webhooks/{forge}: the steps of the forges reference 2.1 in
// their order.
func (r *receiver) receive(c *gin.Context) {
	name := c.Param("forge")
	hook, ok := r.s.Hooks[name]
	if !ok {
		r.answer(c, name, &refusal{http.StatusNotFound, "forge", "no such forge is configured"})
		return
	}
	if hook.Unsigned != nil && hook.Unsigned(c.Request.Header) {
		r.s.metrics.webhook(name, "pong")
		c.JSON(http.StatusOK, accepted{Status: "pong"})
		return
	}
	buf := r.buffers.Get().(*bytes.Buffer)
	defer r.release(buf)
	if err := r.read(c, buf); err != nil {
		r.refuse(c, name, hook, nil, err)
		return
	}
	d, ping, err := r.examine(name, hook, c.Request.Header, buf.Bytes())
	if err != nil {
		r.refuse(c, name, hook, buf.Bytes(), err)
		return
	}
	r.record(c, d, ping)
}

// read fills buf with the body. Only a few large bodies are held at a time:
// nothing is known about who sends them yet.
func (r *receiver) read(c *gin.Context, buf *bytes.Buffer) error {
	length := c.Request.ContentLength
	if length > bodyLimitBytes {
		return &refusal{http.StatusRequestEntityTooLarge, "size", "the body is larger than 26214400 bytes"}
	}
	rc := http.NewResponseController(c.Writer)
	deadline := time.Now().Add(readTime)
	// Not every connection has deadlines; the server's own ReadTimeout holds then.
	if rc.SetReadDeadline(deadline) == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	body := http.MaxBytesReader(c.Writer, c.Request.Body, bodyLimitBytes)
	if length > 0 {
		buf.Grow(int(min(length, smallBytes)) + bytes.MinRead)
	}
	if n, err := buf.ReadFrom(io.LimitReader(body, smallBytes)); n < smallBytes || err != nil {
		return readRefusal(err)
	}
	wait := time.NewTimer(time.Until(deadline))
	defer wait.Stop()
	select {
	case r.large <- struct{}{}:
		defer func() { <-r.large }()
	case <-wait.C:
		return &refusal{http.StatusServiceUnavailable, "busy", "too many large deliveries at once"}
	case <-c.Request.Context().Done():
		return readRefusal(c.Request.Context().Err())
	}
	_, err := buf.ReadFrom(body)
	return readRefusal(err)
}

func readRefusal(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return &refusal{http.StatusRequestEntityTooLarge, "size", "the body is larger than 26214400 bytes"}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled):
		return &refusal{http.StatusRequestTimeout, "slow", "the body did not arrive within 8 seconds"}
	}
	return &refusal{http.StatusBadRequest, "body", "the body broke off"}
}

func (r *receiver) release(buf *bytes.Buffer) {
	if buf.Cap() <= smallBytes+2*bytes.MinRead {
		buf.Reset()
		r.buffers.Put(buf)
	}
}

// examine checks headers, signature, type and form of a delivery, in this
// order: a body is not looked into before its signature is good.
func (r *receiver) examine(name string, hook Hook, h http.Header, body []byte) (pipeline.Delivery, bool, error) {
	var none pipeline.Delivery
	if h.Get(hook.EventHeader) == "" || h.Get(hook.DeliveryHeader) == "" {
		return none, false, &refusal{http.StatusBadRequest, "headers", "the headers " + hook.EventHeader + " and " + hook.DeliveryHeader + " are required"}
	}
	secret, err := hook.Verify(h, body)
	if err != nil {
		return none, false, &refusal{http.StatusUnauthorized, "signature", ""}
	}
	r.s.metrics.secret(name, secret)
	if !knownType(h.Get("Content-Type")) {
		return none, false, &refusal{http.StatusUnsupportedMediaType, "type", "the content type must be application/json or application/x-www-form-urlencoded"}
	}
	payload, err := hook.Payload(h.Get("Content-Type"), body)
	if err != nil {
		return none, false, &refusal{http.StatusBadRequest, "payload", "the body holds no payload"}
	}
	scan, err := hook.Scan(h, payload)
	if err != nil || !plainID(scan.ID) {
		return none, false, &refusal{http.StatusBadRequest, "payload", "the payload isn't well-formed"}
	}
	d := pipeline.Delivery{
		V: 1, Forge: name, ID: scan.ID, Event: scan.Event, Action: scan.Action, Repo: scan.Repo,
		ReceivedAt: r.s.Now().UTC(), Headers: keep(h), Body: body, Digest: digest(body), Bytes: int64(len(body)),
		Verdict: pipeline.Accepted,
	}
	if scan.Ping {
		scan.Ignore = "a test of the webhook"
	}
	if scan.Ignore != "" {
		d.Decision, d.Reason, d.DecidedAt = pipeline.DecisionIgnored, scan.Ignore, d.ReceivedAt
	}
	return d, scan.Ping, nil
}

// record makes the delivery durable and answers.
func (r *receiver) record(c *gin.Context, d pipeline.Delivery, ping bool) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), recordTime)
	defer cancel()
	fresh, err := r.keep(ctx, &d)
	if err != nil {
		r.s.Log.ErrorContext(ctx, "delivery not recorded", "delivery", d.ID, "error", err)
		r.s.metrics.webhook(d.Forge, "unavailable")
		c.Header("Retry-After", "5")
		c.JSON(http.StatusServiceUnavailable, gin.H{"error": "unavailable"})
		return
	}
	word := "queued"
	switch {
	case !fresh:
		word = "duplicate"
	case ping:
		word = "pong"
	case d.Decision == pipeline.DecisionIgnored:
		word = "ignored"
	}
	r.s.metrics.webhook(d.Forge, word)
	writeAccepted(c, word, d)
}

func (r *receiver) keep(ctx context.Context, d *pipeline.Delivery) (fresh bool, err error) {
	if d.Bytes > inlineLimitBytes {
		if r.s.Bodies == nil {
			return false, errors.New("no blob store for large bodies")
		}
		// By digest: a delivery that comes twice at once writes the same bytes.
		d.BodyBlob = "deliveries/" + d.Forge + "/" + d.Digest
		if err := r.s.Bodies.PutBody(ctx, d.BodyBlob, d.Body); err != nil {
			return false, err
		}
		d.Body = nil
	}
	return r.s.Inbox.Receive(ctx, *d)
}

type accepted struct {
	Status   string `json:"status"`
	Delivery string `json:"delivery,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

func writeAccepted(c *gin.Context, word string, d pipeline.Delivery) {
	a := accepted{Status: word, Delivery: d.ID}
	if word == "ignored" {
		a.Reason = d.Reason
	}
	c.JSON(http.StatusAccepted, a)
}

// refuse answers a delivery that is turned away and leaves a trace of it
// without its body.
func (r *receiver) refuse(c *gin.Context, name string, hook Hook, body []byte, err error) {
	var why *refusal
	if !errors.As(err, &why) {
		why = &refusal{http.StatusBadRequest, "body", "unreadable"}
	}
	defer r.answer(c, name, why)
	now := r.s.Now().UTC()
	if !r.mayRecord(now) {
		return
	}
	d := pipeline.Delivery{
		V: 1, Forge: name, ID: cut(c.GetHeader(hook.DeliveryHeader), 200), Event: cut(c.GetHeader(hook.EventHeader), 200),
		ReceivedAt: now, Headers: keep(c.Request.Header), Bytes: int64(len(body)),
		Verdict: pipeline.Refused, Reason: why.reason,
	}
	if body != nil {
		d.Digest = digest(body)
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), time.Second)
	defer cancel()
	if err := r.s.Inbox.Refuse(ctx, d); err != nil {
		r.s.Log.WarnContext(ctx, "refused delivery not recorded", "delivery", d.ID, "error", err)
	}
}

// mayRecord keeps strangers from filling Redis with refused deliveries.
func (r *receiver) mayRecord(now time.Time) bool {
	second := uint64(now.Unix()) << 32
	for {
		old := r.refusals.Load()
		next := second | 1
		if old&^0xffffffff == second {
			next = old + 1
		}
		if next&0xffffffff > refusalsKept {
			return false
		}
		if r.refusals.CompareAndSwap(old, next) {
			return true
		}
	}
}

func (r *receiver) answer(c *gin.Context, name string, why *refusal) {
	if _, known := r.s.Hooks[name]; !known {
		name = "unknown"
	}
	r.s.metrics.webhook(name, why.reason)
	body := gin.H{"error": why.reason}
	if why.detail != "" {
		body["detail"] = why.detail
	}
	switch why.status {
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		c.Header("Connection", "close") // the rest of the body isn't read
	case http.StatusServiceUnavailable:
		c.Header("Retry-After", "5")
	}
	c.JSON(why.status, body)
}

func knownType(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || media == "application/x-www-form-urlencoded")
}

// keep is the headers that say something about the delivery. Credentials and
// signatures stay out of the ledger: the verdict is enough.
func keep(h http.Header) http.Header {
	kept := make(http.Header, 12)
	for name, values := range h {
		switch {
		case strings.HasPrefix(name, "X-Hub-Signature"):
		case strings.HasPrefix(name, "X-Github-"), strings.HasPrefix(name, "X-Hook-"), strings.HasPrefix(name, "X-Request-"),
			name == "X-Event-Key", name == "X-Attempt-Number", name == "User-Agent", name == "Content-Type":
			if len(values) > 0 && len(values[0]) <= 1024 {
				kept[name] = values[:1]
			}
		}
	}
	return kept
}

// plainID reports whether a delivery's ID can stand in keys and paths.
func plainID(id string) bool {
	if id == "" || len(id) > 200 {
		return false
	}
	for i := range len(id) {
		if b := id[i]; b <= ' ' || b >= 0x7f || b == '/' || b == ':' || b == '{' || b == '}' {
			return false
		}
	}
	return true
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func cut(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
