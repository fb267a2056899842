package forgetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Delivery is a webhook to send.
type Delivery struct {
	Event   string
	ID      string // empty: a new one
	Secret  string
	Payload any // becomes JSON; a []byte is sent as it is
	Form    bool
	Header  map[string]string // added, or in place of ours
}

// Answer is what a receiver said.
type Answer struct {
	ID     string // of the delivery
	Status int
	Header http.Header
	Body   []byte
}

const deliverTimeout = 10 * time.Second // as GitHub

// Deliver signs a delivery and posts it to a receiver.
func Deliver(ctx context.Context, receiver string, d Delivery) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	req, err := d.request(ctx, receiver)
	if err != nil {
		return Answer{}, fmt.Errorf("delivering %s: %w", d.Event, err)
	}
	answer := Answer{ID: req.Header.Get("X-GitHub-Delivery")}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer, fmt.Errorf("delivering %s: %w", d.Event, err)
	}
	defer resp.Body.Close()
	answer.Status, answer.Header = resp.StatusCode, resp.Header
	answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer, fmt.Errorf("delivering %s: reading the answer: %w", d.Event, err)
	}
	return answer, nil
}

func (d Delivery) request(ctx context.Context, receiver string) (*http.Request, error) {
	body, raw := d.Payload.([]byte)
	if !raw {
		var err error
		if body, err = json.Marshal(d.Payload); err != nil {
			return nil, err
		}
	}
	mediaType := "application/json"
	if d.Form {
		mediaType, body = "application/x-www-form-urlencoded", []byte("payload="+url.QueryEscape(string(body)))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, receiver, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{
		"Content-Type": mediaType, "User-Agent": "GitHub-Hookshot/forgetest", "Accept": "*/*",
		"X-GitHub-Event": d.Event, "X-GitHub-Delivery": cmp.Or(d.ID, newID()), "X-GitHub-Hook-ID": "1",
		"X-GitHub-Hook-Installation-Target-Type": "integration", "X-GitHub-Hook-Installation-Target-ID": "1",
		"X-Hub-Signature-256": Sign(d.Secret, body),
	} {
		req.Header.Set(k, v)
	}
	for k, v := range d.Header {
		req.Header.Set(k, v)
	}
	return req, nil
}

// Sign is the signature header of a body.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
