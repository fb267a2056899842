package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/handlers/ui"
	"github.com/slipway-ci/slipway/pipeline"
)

// payloadShown is how much of a webhook's body a page has; the API has it all.
const payloadShown = 200_000

func (s *Server) deliveryPage(c *gin.Context) {
	d, err := s.delivery(c)
	if err != nil {
		s.failPage(c, err)
		return
	}
	v := ui.Delivery{Frame: s.frame(c, strings.TrimSuffix(d.Event+"."+d.Action, ".")), Delivery: d}
	v.CanReplay = v.SignedIn && s.mayWrite(c, deliveryRepo(d))
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		v.Headers = append(v.Headers, ui.Header{Name: name, Value: strings.Join(d.Headers[name], ", ")})
	}
	v.Payload, v.Cut = readable(d.Body)
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.Delivery(v) })
}

// delivery is the delivery that a request names, with its body.
func (s *Server) delivery(c *gin.Context) (pipeline.Delivery, error) {
	d, err := s.findDelivery(c.Request.Context(), c.Query("forge"), c.Param("id"))
	if err != nil || d.BodyBlob == "" || s.Bodies == nil {
		return d, err
	}
	d.Body, err = s.Bodies.Body(c.Request.Context(), d.BodyBlob)
	if errors.Is(err, pipeline.ErrNotFound) {
		err = nil // retention was faster; the rest of the record is worth showing
	}
	return d, err
}

// readable is a body for people: JSON indented, the rest as it came; cut says
// that it was too long to show whole.
func readable(body []byte) (shown string, cut bool) {
	body, cut = head(body, payloadShown)
	if form, err := url.ParseQuery(string(body)); !cut && err == nil && form.Has("payload") {
		body = []byte(form.Get("payload")) // how forges send JSON as a form
	}
	var indented bytes.Buffer
	if !cut && json.Indent(&indented, body, "", "  ") == nil {
		body, cut = head(indented.Bytes(), 2*payloadShown)
	}
	return strings.ToValidUTF8(string(body), "\uFFFD"), cut
}

func head(b []byte, limit int) ([]byte, bool) {
	return b[:min(len(b), limit)], len(b) > limit
}

func (s *Server) deadLettersPage(c *gin.Context) {
	v := ui.DeadLetters{Frame: s.frame(c, "Dead letters")}
	if s.DeadLetters != nil {
		page, err := s.DeadLetters.DeadLetters(c.Request.Context(), 50, c.Query("after"))
		if err != nil {
			s.failPage(c, err)
			return
		}
		for _, d := range page.Items {
			entry, _ := readable(d.Entry)
			v.Items = append(v.Items, ui.DeadLetter{ID: d.ID, Queue: d.Queue, Reason: d.Reason, Entry: entry, Attempts: d.Attempts, FailedAt: d.FailedAt})
		}
		v.Newer, v.Older = neighbours(c, page.Next)
	}
	s.page(c, http.StatusOK, func() ([]byte, error) { return s.pages.DeadLetters(v) })
}

func (s *Server) replayDeadLetterForm(c *gin.Context) {
	s.backTo(c, "/dead-letters", s.retryDeadLetter(c))
}
