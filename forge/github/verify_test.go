package github

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Attacks: 9.
// In the wild: 48.
func TestVerify(t *testing.T) {
	// GitHub's documentation prints this one.
	const secret, body = "It's a Secret to Everybody", "Hello, World!"
	const documented = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	flipped := []byte(documented)
	flipped[len(flipped)-1] ^= 1
	old := hmac.New(sha1.New, []byte(secret))
	old.Write([]byte(body))

	tests := []struct {
		name    string
		secrets []string
		header  http.Header
		want    int
	}{
		{"C05 documented vector", []string{secret}, http.Header{signatureHeader: {documented}}, 0},
		{"upper case digits", []string{secret}, http.Header{signatureHeader: {"sha256=" + strings.ToUpper(documented[7:])}}, 0},
		{"C02 second secret", []string{"new", secret}, http.Header{signatureHeader: {documented}}, 1},
		{"first of two equal ones", []string{secret, secret}, http.Header{signatureHeader: {documented}}, 0},
		{"C03 one bit flipped", []string{secret}, http.Header{signatureHeader: {string(flipped)}}, -1},
		{"C04 SHA-1 only", []string{secret}, http.Header{"X-Hub-Signature": {"sha1=" + hex.EncodeToString(old.Sum(nil))}}, -1},
		{"SHA-1 in the SHA-256 header", []string{secret}, http.Header{signatureHeader: {"sha1=" + hex.EncodeToString(old.Sum(nil))}}, -1},
		{"no header", []string{secret}, nil, -1},
		{"two headers", []string{secret}, http.Header{signatureHeader: {documented, documented}}, -1},
		{"no secrets", nil, http.Header{signatureHeader: {documented}}, -1},
		{"empty secret", []string{""}, http.Header{signatureHeader: {sign("", body)}}, -1},
		{"not hex", []string{secret}, http.Header{signatureHeader: {"sha256=" + strings.Repeat("z", 64)}}, -1},
		{"too short", []string{secret}, http.Header{signatureHeader: {documented[:70]}}, -1},
	}
	for _, tt := range tests {
		got, err := Verify(tt.secrets, tt.header, []byte(body))
		if got != tt.want || (err != nil) != (tt.want < 0) || err != nil && !errors.Is(err, forge.ErrSignature) {
			t.Errorf("%s: got %d, %v, want %d", tt.name, got, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the secret: %v", tt.name, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "secret", "body")
	f.Add("sha1=", "", "")
	f.Fuzz(func(t *testing.T, header, secret, body string) {
		_, err := Verify([]string{"another", secret}, http.Header{signatureHeader: {header}}, []byte(body))
		genuine := secret != "" && strings.EqualFold(header, sign(secret, body)) && strings.HasPrefix(header, "sha256=")
		if genuine != (err == nil) && !strings.EqualFold(header, sign("another", body)) {
			t.Errorf("Verify(%q) = %v, genuine %v", header, err, genuine)
		}
	})
}

func TestPayload(t *testing.T) {
	tests := []struct {
		name, mediaType, body string
		want                  string
		err                   error
	}{
		{"JSON", "application/json", `{"a":1}`, `{"a":1}`, nil},
		{"JSON with a charset", "application/json; charset=utf-8", ` {"a":1}`, ` {"a":1}`, nil},
		{"C06 form", "application/x-www-form-urlencoded", "payload=" + url.QueryEscape(`{"a":"1&+ 2"}`), `{"a":"1&+ 2"}`, nil},
		{"C05 signed, but not JSON", "application/json", "Hello, World!", "", ErrNotJSON},
		{"C07 text", "text/plain", `{}`, "", ErrMediaType},
		{"no media type", "", `{}`, "", ErrMediaType},
		{"array", "application/json", `[]`, "", ErrNotJSON},
		{"form without payload", "application/x-www-form-urlencoded", "a=b", "", ErrNotJSON},
		{"form with two", "application/x-www-form-urlencoded", "payload={}&payload={}", "", ErrNotJSON},
		{"empty", "application/json", ``, "", ErrNotJSON},
	}
	for _, tt := range tests {
		got, err := Payload(tt.mediaType, []byte(tt.body))
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func FuzzPayload(f *testing.F) {
	f.Add("application/json", []byte(`{"action":"a","repository":{"id":1}}`))
	f.Add("application/x-www-form-urlencoded", []byte("payload=%7B%7D"))
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		got, err := Payload(mediaType, body)
		if err != nil {
			if !errors.Is(err, ErrMediaType) && !errors.Is(err, ErrNotJSON) {
				t.Errorf("unknown error %v", err)
			}
			return
		}
		if _, err := Scan(headers("push"), got); (err == nil) != json.Valid(got) || err != nil && !errors.Is(err, ErrNotJSON) {
			t.Errorf("Scan of what Payload accepts: %v", err)
		}
	})
}

func TestScanHeaders(t *testing.T) {
	tests := []struct {
		name       string
		event, id  string
		body       string
		wantHeader bool
		wantJSON   bool
	}{
		{"good", "push", "0b989ba4-242f-11e5-81e1-c7b6966d2516", `{}`, true, true},
		{"C07 no event", "", "1", `{}`, false, true},
		{"C07 no delivery", "push", "", `{}`, false, true},
		{"delivery like a key", "push", "a:b{c}", `{}`, false, true},
		{"event like a path", "../push", "1", `{}`, false, true},
		{"not an object", "push", "1", `7`, true, false},
		{"cut off", "push", "1", `{"a"`, true, false},
		{"two values", "push", "1", `{}{}`, true, false},
		{"broken where nothing is read", "push", "1", `{"x":[1,}]}`, true, false},
		{"fields of other types", "push", "1", `{"action":7,"repository":[],"installation":"x","after":{}}`, true, true},
	}
	for _, tt := range tests {
		_, err := Scan(http.Header{"X-Github-Event": {tt.event}, "X-Github-Delivery": {tt.id}}, []byte(tt.body))
		if errors.Is(err, ErrHeader) == tt.wantHeader || errors.Is(err, ErrNotJSON) == (tt.wantJSON || !tt.wantHeader) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}
