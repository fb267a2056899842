// Package bitbucket holds the adapters for Bitbucket Cloud and Bitbucket Data
// Center: they verify and decode deliveries, and report back with build
// statuses, Code Insights reports and comments. Cloud and Server are one
// forge entry each.
package bitbucket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/forge"
)

var (
	// ErrNotJSON: the body is not a JSON object.
	ErrNotJSON = errors.New("not a JSON object")
	// ErrHeader: the event's key or the delivery's ID is missing or malformed.
	ErrHeader = errors.New("delivery header")
)

// The headers of deliveries; they tell Cloud from Data Center.
const (
	EventHeader          = "X-Event-Key"
	CloudDeliveryHeader  = "X-Request-UUID"
	ServerDeliveryHeader = "X-Request-Id"
	signatureHeader      = "X-Hub-Signature"
)

// Verify is forge.VerifySignature with the header that both products send.
func Verify(secrets []string, header http.Header, body []byte) (index int, err error) {
	return forge.VerifySignature(secrets, header, signatureHeader, body)
}

// Payload is the JSON of a delivery's body, or ErrNotJSON. Only that it begins
// an object is looked at: Scan reads it to its end, and once is enough.
// Bitbucket sends no forms.
func Payload(contentType string, body []byte) ([]byte, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" || !isObject(body) {
		return nil, ErrNotJSON
	}
	return body, nil
}

func isObject(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '{'
}

// Delivery is what the receiver needs of a delivery before it answers. Fields
// that the delivery does not have are empty.
type Delivery struct {
	ID    string // X-Request-UUID or X-Request-Id
	Event string // X-Event-Key
	Repo  string // owner/name, or project/name, as the payload has it
	Ping  bool   // a test of the webhook
}

// The ID and the event's key end up in keys, URLs and labels.
var (
	idShape    = regexp.MustCompile(`^[A-Za-z0-9@*][A-Za-z0-9@*._-]{0,127}$`)
	eventShape = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_:.-]{0,63}$`)
)

// pingEvent is Data Center's test of a webhook.
const pingEvent = "diagnostics:ping"

// Unsigned reports whether a delivery is Data Center's test of a webhook
// without a signature. The test has no documented one, tells nothing and asks for
// nothing, so it is answered without one (forges reference 6.3).
func Unsigned(header http.Header) bool {
	return header.Get(EventHeader) == pingEvent && header.Get(signatureHeader) == ""
}

// Scan reads the headers, with the delivery's ID in the one of that name, and
// the repository's name. The body is what Payload returned. An error is
// ErrHeader or ErrNotJSON.
func Scan(idHeader string, header http.Header, body []byte) (Delivery, error) {
	d := Delivery{ID: strings.Trim(header.Get(idHeader), "{}"), Event: header.Get(EventHeader)}
	d.Ping = d.Event == pingEvent
	if !eventShape.MatchString(d.Event) {
		return d, fmt.Errorf("%w: %s %q", ErrHeader, EventHeader, short(d.Event))
	}
	if !idShape.MatchString(d.ID) {
		return d, fmt.Errorf("%w: %s %q", ErrHeader, idHeader, short(d.ID))
	}
	var p struct {
		Repository  scannedRepo `json:"repository"`
		PullRequest struct {
			ToRef struct {
				Repository scannedRepo `json:"repository"`
			} `json:"toRef"`
		} `json:"pullRequest"`
	}
	if err := unmarshal(body, &p); err != nil {
		return d, err
	}
	if d.Repo = p.Repository.name(); d.Repo == "" {
		d.Repo = p.PullRequest.ToRef.Repository.name()
	}
	return d, nil
}

// scannedRepo is a repository of either product.
type scannedRepo struct {
	FullName string `json:"full_name"`
	Slug     string `json:"slug"`
	Project  struct {
		Key string `json:"key"`
	} `json:"project"`
}

func (r scannedRepo) name() string {
	switch {
	case r.FullName != "":
		return r.FullName
	case r.Slug != "" && r.Project.Key != "":
		return r.Project.Key + "/" + r.Slug
	}
	return ""
}

// unmarshal reads a JSON object and leaves fields of other types than ours
// empty: payloads differ between versions, and whoever needs a field checks it.
func unmarshal(body []byte, v any) error {
	if !isObject(body) {
		return ErrNotJSON
	}
	err := json.Unmarshal(body, v)
	if _, mismatch := errors.AsType[*json.UnmarshalTypeError](err); err == nil || mismatch {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotJSON, err)
}

// short keeps outside text in errors small.
func short(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "..."
	}
	return s
}
