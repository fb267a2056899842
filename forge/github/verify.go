// Package github is the adapter for GitHub, GitHub Enterprise Server and
// whatever speaks their webhooks and REST interface: it verifies and decodes
// deliveries, and reports back as a GitHub App or with a token.
package github

import (
	"net/http"

	"github.com/slipway-ci/slipway/forge"
)

const signatureHeader = "X-Hub-Signature-256"

// Verify is forge.VerifySignature with GitHub's header. SHA-1 signatures are
// not looked at.
func Verify(secrets []string, header http.Header, body []byte) (index int, err error) {
	return forge.VerifySignature(secrets, header, signatureHeader, body)
}
