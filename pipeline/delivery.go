package pipeline

import (
	"net/http"
	"time"
)

// Delivery is one webhook as it arrived: the ledger keeps it, and what became
// of it, so that "why did it (not) run?" has an answer.
type Delivery struct {
	V          int         `json:"v"`
	Forge      string      `json:"forge"`
	ID         string      `json:"id"`    // the forge's delivery ID
	Event      string      `json:"event"` // the forge's event name
	Action     string      `json:"action,omitempty"`
	Repo       string      `json:"repo,omitempty"` // owner/name, from the shallow scan
	ReceivedAt time.Time   `json:"received_at"`
	Headers    http.Header `json:"headers,omitempty"`
	Body       []byte      `json:"body,omitempty"`      // raw; empty if BodyBlob is set or it was refused
	BodyBlob   string      `json:"body_blob,omitempty"` // key in the blob store, for large bodies
	Digest     string      `json:"digest"`              // hex SHA-256 of the body
	Bytes      int64       `json:"bytes"`
	// Verdict is what the receiver answered: accepted, refused.
	Verdict string `json:"verdict"`
	// Decision is what came of it: "" (not decided yet), started, ignored,
	// failed. Reason says why in words: "no trigger matched: ...".
	Decision   string    `json:"decision,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Executions []string  `json:"executions,omitempty"`
	DecidedAt  time.Time `json:"decided_at,omitzero"`
	// Attempt counts replays: 0 for the delivery itself.
	Attempt int `json:"attempt,omitempty"`
}

// Decision is what became of a delivery.
type Decision struct {
	Decision   string // started, ignored, failed
	Reason     string
	Executions []string
}

// The verdicts and decisions.
const (
	Accepted = "accepted"
	Refused  = "refused"

	DecisionStarted = "started"
	DecisionIgnored = "ignored"
	DecisionFailed  = "failed"
	DecisionActed   = "acted" // a comment's command was done
)
