package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// deliveryItem is a delivery in a list: without headers and body.
type deliveryItem struct {
	ID         string    `json:"id"`
	Forge      string    `json:"forge"`
	Event      string    `json:"event"`
	Action     string    `json:"action,omitempty"`
	Repo       string    `json:"repo,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
	Verdict    string    `json:"verdict"`
	Decision   string    `json:"decision,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Executions []string  `json:"executions"`
	DecidedAt  time.Time `json:"decided_at,omitzero"`
	Attempt    int       `json:"attempt,omitempty"`
	Bytes      int64     `json:"bytes"`
}

func viewDelivery(d pipeline.Delivery) deliveryItem {
	v := deliveryItem{
		ID: d.ID, Forge: d.Forge, Event: d.Event, Action: d.Action, Repo: d.Repo, ReceivedAt: d.ReceivedAt, Verdict: d.Verdict,
		Decision: d.Decision, Reason: d.Reason, Executions: d.Executions, DecidedAt: d.DecidedAt, Attempt: d.Attempt, Bytes: d.Bytes,
	}
	if v.Executions == nil {
		v.Executions = []string{}
	}
	return v
}

func (s *Server) listDeliveries(c *gin.Context) {
	limit, err := pageLimit(c)
	if err == nil {
		var page pipeline.Page[pipeline.Delivery]
		if page, err = s.seenDeliveries(c.Request.Context(), who(c), c.Query("forge"), limit, c.Query("after")); err == nil {
			out := pipeline.Page[deliveryItem]{Items: make([]deliveryItem, 0, len(page.Items)), Next: page.Next}
			for _, d := range page.Items {
				out.Items = append(out.Items, viewDelivery(d))
			}
			c.Header("Cache-Control", "no-store")
			c.JSON(http.StatusOK, out)
			return
		}
	}
	s.fail(c, err)
}

func (s *Server) getDelivery(c *gin.Context) {
	d, err := s.delivery(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, d)
}

// findDelivery looks for an ID at one forge, or at all of them.
func (s *Server) findDelivery(ctx context.Context, forge, id string) (pipeline.Delivery, error) {
	names := s.forges()
	if forge != "" {
		if !slices.Contains(names, forge) {
			return pipeline.Delivery{}, pipeline.ErrNotFound
		}
		names = []string{forge}
	}
	for _, name := range names {
		d, err := s.Deliveries.Delivery(ctx, name, id)
		if !errors.Is(err, pipeline.ErrNotFound) {
			return d, err
		}
	}
	return pipeline.Delivery{}, pipeline.ErrNotFound
}

type replayed struct {
	Forge    string `json:"forge"`
	Delivery string `json:"delivery"`
	Attempt  int    `json:"attempt"`
}

func (s *Server) replayDelivery(c *gin.Context) {
	out, err := s.replay(c, c.Query("forge"))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusAccepted, out)
}

func (s *Server) replay(c *gin.Context, forge string) (replayed, error) {
	d, err := s.findDelivery(c.Request.Context(), forge, c.Param("id"))
	if err != nil {
		return replayed{}, err
	}
	if d.Verdict != pipeline.Accepted {
		return replayed{}, refuse(http.StatusConflict, "refused", "a refused delivery has no body that could run")
	}
	by := ""
	if p := who(c); p != nil {
		by = p.name
	}
	attempt, err := s.Deliveries.Replay(c.Request.Context(), d.Forge, d.ID, by)
	return replayed{d.Forge, d.ID, attempt}, err
}

func (s *Server) listDeadLetters(c *gin.Context) {
	limit, err := pageLimit(c)
	page := pipeline.Page[DeadLetter]{}
	if err == nil && s.DeadLetters != nil {
		page, err = s.DeadLetters.DeadLetters(c.Request.Context(), limit, c.Query("after"))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if page.Items == nil {
		page.Items = []DeadLetter{}
	}
	c.JSON(http.StatusOK, page)
}

func (s *Server) replayDeadLetter(c *gin.Context) {
	if err := s.retryDeadLetter(c); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func (s *Server) retryDeadLetter(c *gin.Context) error {
	if s.DeadLetters == nil {
		return pipeline.ErrNotFound
	}
	return s.DeadLetters.ReplayDeadLetter(c.Request.Context(), c.Param("id"))
}

func (s *Server) listWorkers(c *gin.Context) {
	page := pipeline.Page[Worker]{Items: []Worker{}}
	if s.Workers != nil {
		found, err := s.Workers.Workers(c.Request.Context())
		if err != nil {
			s.fail(c, err)
			return
		}
		page.Items = append(page.Items, found...)
	}
	c.JSON(http.StatusOK, page)
}
