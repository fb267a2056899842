package forge

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

// VerifySignature checks the HMAC-SHA256 of a delivery's raw body, "sha256="
// and hex digits in the one header of that name, and says which of the secrets
// made it, counted from 0. Every secret is tried, so that the time taken tells
// nothing; an empty secret matches nothing. Any failure is ErrSignature, and
// nothing of the header or the secrets is in it.
func VerifySignature(secrets []string, header http.Header, name string, body []byte) (index int, err error) {
	given, err := signature(header.Values(name), name)
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

func signature(values []string, name string) ([]byte, error) {
	if len(values) != 1 {
		return nil, fmt.Errorf("%w: want one %s header, have %d", ErrSignature, name, len(values))
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
