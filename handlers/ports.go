package handlers

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// Hook is how the webhooks of one forge entry are read. All three functions
// are called on every delivery before it is answered, so they ask nobody.
type Hook struct {
	// EventHeader and DeliveryHeader are the headers without which a request is
	// no delivery.
	EventHeader, DeliveryHeader string
	// Unsigned, if not nil, tells the tests of a webhook that carry no signature.
	// They are answered and leave no trace.
	Unsigned func(h http.Header) bool
	// Verify reports which of the entry's secrets signed the raw body, counting
	// from 0, in constant time; an error if none did.
	Verify func(h http.Header, body []byte) (secret int, err error)
	// Payload is the JSON within the body, which may be form-encoded.
	Payload func(contentType string, body []byte) ([]byte, error)
	// Scan reads the few facts that the ledger shows; it fails if payload isn't
	// well-formed JSON.
	Scan func(h http.Header, payload []byte) (Scan, error)
}

// Scan is what a shallow look at a delivery tells.
type Scan struct {
	ID     string // the delivery's
	Event  string
	Action string
	Repo   string // owner/name; empty if it concerns none
	Ping   bool   // a test of the webhook
	// Ignore, if set, says why the delivery is recorded but not queued: its
	// event is unknown, it is meant for another App, its repository isn't served.
	Ignore string
}

// inbox is where deliveries go. Neither method may keep the delivery's Body
// after it returns.
type inbox interface {
	// Receive records d and queues it in one atomic, durable step, unless its
	// forge and ID were seen before: then it does nothing and fresh is false. A
	// delivery that has a Decision already is recorded and not queued.
	Receive(ctx context.Context, d pipeline.Delivery) (fresh bool, err error)
	// Refuse records a delivery that was turned away; it has no body.
	Refuse(ctx context.Context, d pipeline.Delivery) error
}

// bodies keeps the bodies of deliveries that are too large for Redis.
type bodies interface {
	PutBody(ctx context.Context, key string, body []byte) error
	// Body is what PutBody kept; ErrNotFound if retention has taken it.
	Body(ctx context.Context, key string) ([]byte, error)
}

// deliveries reads the ledger.
type deliveries interface {
	// Deliveries lists the newest first; an empty forge means all. Items need
	// neither headers nor body.
	Deliveries(ctx context.Context, forge string, limit int, after string) (pipeline.Page[pipeline.Delivery], error)
	Delivery(ctx context.Context, forge, id string) (pipeline.Delivery, error)
	// Replay queues a recorded delivery again as a new attempt and answers with
	// the attempt's number. An refused delivery is ErrConflict.
	Replay(ctx context.Context, forge, id, by string) (attempt int, err error)
}

// executions reads pipeline executions.
type executions interface {
	Executions(ctx context.Context, q pipeline.Query) (pipeline.Page[pipeline.Summary], error)
	Execution(ctx context.Context, id string) (pipeline.Execution, error)
}

// builds reads builds and deployments.
type builds interface {
	Build(ctx context.Context, id string) (pipeline.Build, error)
}

// logs reads the logs of builds. A build without a log yet is ErrNotFound.
type logs interface {
	// Stat is the log's length now, and whether it is sealed: nothing will be
	// added any more.
	Stat(ctx context.Context, build string) (bytes, lines int64, sealed bool, err error)
	// ReadAt is at most limit bytes from offset on, fewer or none at the end.
	ReadAt(ctx context.Context, build string, offset int64, limit int) ([]byte, error)
	// LineOffset is where line n begins, counting from 1; the log's length if it
	// has fewer lines.
	LineOffset(ctx context.Context, build string, line int64) (int64, error)
	// Wait returns when the log is longer than offset, is sealed, or ctx is over.
	Wait(ctx context.Context, build string, offset int64) error
}

// artifacts opens stored bytes by their digest, hex SHA-256.
type artifacts interface {
	OpenArtifact(ctx context.Context, digest string) (io.ReadCloser, error)
}

// events is the one door to a pipeline's Board. An event whose ID was
// submitted before changes nothing.
type events interface {
	Submit(ctx context.Context, e pipeline.Event) error
	// Submitted reports whether an event with Contents was submitted in the last
	// day; its error is Submit's if it had others.
	Submitted(ctx context.Context, e pipeline.Event) (bool, error)
}

// DeadLetter is an entry of a queue that failed too often.
type DeadLetter struct {
	ID       string          `json:"id"`
	Queue    string          `json:"queue"`
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	FailedAt time.Time       `json:"failed_at"`
	Entry    json.RawMessage `json:"entry,omitempty"` // as it was queued; never a secret
}

// deadLetters lists what failed too often and gives it another chance.
type deadLetters interface {
	DeadLetters(ctx context.Context, limit int, after string) (pipeline.Page[DeadLetter], error)
	ReplayDeadLetter(ctx context.Context, id string) error
}

// Worker is a runner or agent as lists show it.
type Worker struct {
	pipeline.Worker
	SeenAt time.Time `json:"seen_at"`
	Jobs   []string  `json:"jobs"` // what it holds
}

// workers lists who claims jobs.
type workers interface {
	Workers(ctx context.Context) ([]Worker, error)
}

// Check is one thing that must work for this process to be of use.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// retention removes what is too old from the blob store.
type retention interface {
	// Pass removes it now, or only counts it.
	Pass(ctx context.Context, trial bool) (pipeline.Removal, error)
}
