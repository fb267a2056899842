package buildspec

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// SecretRef names a secret, or one member of it if that is a JSON object.
type SecretRef struct {
	// ID is the secret's name or ARN.
	ID string
	// Key is the JSON member; empty means the whole text.
	Key string
	// Stage and VersionID select a version; both empty means AWSCURRENT. They
	// are never both set.
	Stage     string
	VersionID string
}

// String is the reference as a buildspec writes it: without fields that are
// empty at its end.
func (r SecretRef) String() string {
	return strings.TrimRight(r.ID+":"+r.Key+":"+r.Stage+":"+r.VersionID, ":")
}

// ParseSecretRef reads secret-id[:json-key[:version-stage[:version-id]]]. Of
// an ARN, the first seven colon-separated fields are the ID. Fields in the
// middle may be empty.
func ParseSecretRef(text string) (SecretRef, error) {
	fields := strings.Split(text, ":")
	idFields := 1
	if strings.HasPrefix(text, "arn:") {
		idFields = 7
	}
	if len(fields) < idFields || fields[idFields-1] == "" {
		return SecretRef{}, fmt.Errorf("want secret-id[:json-key[:version-stage[:version-id]]], have %q", text)
	}
	ref := SecretRef{ID: strings.Join(fields[:idFields], ":")}
	rest := fields[idFields:]
	if len(rest) > 3 {
		return SecretRef{}, fmt.Errorf("want at most secret-id:json-key:version-stage:version-id, have %d fields", len(rest)+1)
	}
	for i, part := range []*string{&ref.Key, &ref.Stage, &ref.VersionID}[:len(rest)] {
		*part = rest[i]
	}
	if ref.Stage != "" && ref.VersionID != "" {
		return SecretRef{}, errors.New("want a version stage or a version ID, have both")
	}
	return ref, nil
}

var (
	secretName  = regexp.MustCompile(`(?i)(password|passwd|secret|token|api_?key|access_?key|private_?key|credential)`)
	secretLabel = regexp.MustCompile(`(?i)_(name|id|arn|path|file|url|region|prefix)$`)
	secretValue = regexp.MustCompile(`^(gh[a-z]_[A-Za-z0-9_.\-]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|npm_[A-Za-z0-9]{30,}|xox[a-z]-[\w-]{10,}|(AKIA|ASIA)[A-Z0-9]{16}|sk_live_\w{16,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)$|-----BEGIN [A-Z ]*PRIVATE KEY-----`)
	opaqueValue = regexp.MustCompile(`^[A-Za-z0-9+/=_\-.~]{16,}$`)
	letterDigit = regexp.MustCompile(`[A-Za-z].*[0-9]|[0-9].*[A-Za-z]`)
)

// looksSecret guesses whether a plaintext variable holds a secret: a value in
// the form of a known token, or an opaque one under a name that promises one.
func looksSecret(name, value string) bool {
	if secretValue.MatchString(value) {
		return true
	}
	return secretName.MatchString(name) && !secretLabel.MatchString(name) && opaqueValue.MatchString(value) && letterDigit.MatchString(value) && !strings.Contains(value, "/")
}
