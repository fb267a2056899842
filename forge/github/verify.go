// Package github is the adapter for GitHub, GitHub Enterprise Server and
// whatever speaks their webhooks and REST interface: it verifies and decodes
// deliveries, and reports back as a GitHub App or with a token.
package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ErrSignature: a delivery is not signed by any of our secrets.
var ErrSignature = errors.New("signature")

const signatureHeader = "X-Hub-Signature-256"

// Verify checks the HMAC-SHA256 of a delivery's raw body and says which of the
// secrets made it, counted from 0. Every secret is tried, so that the time taken
// tells nothing; an empty secret matches nothing. SHA-1 signatures are not
// looked at. Any failure is ErrSignature, and nothing of the header or the
// secrets is in it.
func Verify(secrets []string, header http.Header, body []byte) (index int, err error) {
	given, err := signature(header)
	if err != nil {
		return -1, err
	}
	index = -1
	for i, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), given) && secret != "" && index < 0 {
			index = i
		}
	}
	if index < 0 {
		return -1, fmt.Errorf("%w: no secret matches", ErrSignature)
	}
	return index, nil
}

// signature is the one SHA-256 signature that the header carries.
func signature(header http.Header) ([]byte, error) {
	values := header.Values(signatureHeader)
	if len(values) != 1 {
		return nil, fmt.Errorf("%w: want one %s header, have %d", ErrSignature, signatureHeader, len(values))
	}
	digits, ok := strings.CutPrefix(values[0], "sha256=")
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return nil, fmt.Errorf("%w: want sha256= and %d hex digits", ErrSignature, hex.EncodedLen(sha256.Size))
	}
	sum, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%w: not hex", ErrSignature)
	}
	return sum, nil
}
