package sender

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/notify"
)

// SignatureHeader holds "sha256=" and the hex HMAC-SHA256 of a webhook's body,
// keyed with the target's secret.
const SignatureHeader = "X-Slipway-Signature-256"

// Webhook posts messages as CloudEvents 1.0 in structured mode.
type Webhook struct {
	url, secret, source string
	client              *http.Client
}

var _ notify.Sender = (*Webhook)(nil)

// NewWebhook posts to url. secret signs the bodies; empty: they aren't signed.
// source is where people reach Slipway.
func NewWebhook(n Network, url, secret, source string) *Webhook {
	if source == "" {
		source = "/slipway"
	}
	return &Webhook{url: url, secret: secret, source: source, client: n.client()}
}

// event is the envelope (CloudEvents 1.0). The data is that of AWS's events.
type event struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        data      `json:"data"`
}

type data struct {
	DetailType string          `json:"detail-type"`
	Detail     json.RawMessage `json:"detail"`
	Additional json.RawMessage `json:"additionalAttributes,omitempty"`
	Approval   json.RawMessage `json:"approval,omitempty"`
}

// Send posts a message.
func (w *Webhook) Send(ctx context.Context, m notify.Message, _ string) (string, error) {
	body, err := json.Marshal(event{
		SpecVersion: "1.0", ID: m.ID, Source: w.source, Type: "slipway." + m.Event, Subject: subject(m), Time: m.Time,
		ContentType: "application/json", Data: data{m.DetailType, m.Detail, m.Additional, approval(m)},
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", notify.ErrRefused, err)
	}
	header := http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}, "Idempotency-Key": {m.ID}}
	if w.secret != "" {
		header.Set(SignatureHeader, Sign(w.secret, body))
	}
	_, err = post(ctx, w.client, w.url, header, body)
	return "", err
}

// Sign is the value of SignatureHeader for a body.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// subject is what the message is about: an execution, a stage or an action.
func subject(m notify.Message) string {
	s := m.Execution
	if m.Stage != "" {
		s += "/" + m.Stage
	}
	if m.Action != "" {
		s += "/" + m.Action
	}
	return s
}

// approval is the approval's own part of its document.
func approval(m notify.Message) json.RawMessage {
	var document struct {
		Approval json.RawMessage `json:"approval"`
	}
	if json.Unmarshal(m.Approval, &document) != nil {
		return nil
	}
	return document.Approval
}
