// Package secrets looks up the values that buildspecs name under
// env.parameter-store and env.secrets-manager, in stores that an operator
// chooses.
package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

// ErrNotFound says that no store has a value of that name, or the value no such
// member.
var ErrNotFound = errors.New("no such secret")

// RefusedError says that a store has an answer, and that it is no: a right is
// missing, or the name can be none. Asking again won't help.
type RefusedError struct{ Code, Message string }

func (e *RefusedError) Error() string { return e.Code + ": " + e.Message }

// Ref names a value.
type Ref struct {
	// Parameter tells env.parameter-store from env.secrets-manager.
	Parameter bool
	Name      string
	// Stage and VersionID choose a version of a secret; empty: the present one.
	Stage, VersionID string
}

// present reports whether the ref asks for the version in force.
func (r Ref) present() bool { return r.VersionID == "" && (r.Stage == "" || r.Stage == "AWSCURRENT") }

// Source is one store. It is safe for concurrent use.
type Source interface {
	// Lookup is the value of a name. ErrNotFound: there is none, or the store
	// keeps no such version. A *RefusedError: there is no use in asking again.
	Lookup(ctx context.Context, r Ref) (string, error)
}

// Sources are stores that are asked one after the other.
type Sources []Source

// Lookup is the value in the first store that has one.
func (s Sources) Lookup(ctx context.Context, r Ref) (string, error) {
	for _, one := range s {
		v, err := one.Lookup(ctx, r)
		if !errors.Is(err, ErrNotFound) {
			return v, err
		}
	}
	return "", fmt.Errorf("%q: %w", r.Name, ErrNotFound)
}

// Member is a member of a secret that is a JSON object: a text as it is,
// anything else as JSON. An empty key is the whole secret.
func Member(secret, key string) (string, error) {
	if key == "" {
		return secret, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(secret), &members); err != nil {
		return "", fmt.Errorf("member %q: the secret is no JSON object: %w", key, ErrNotFound)
	}
	raw, ok := members[key]
	if !ok {
		return "", fmt.Errorf("member %q: %w", key, ErrNotFound)
	}
	return text(raw), nil
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// Values is a store in memory.
type Values map[string]string

// Lookup implements Source.
func (v Values) Lookup(_ context.Context, r Ref) (string, error) {
	if value, ok := v[r.Name]; ok && r.present() {
		return value, nil
	}
	return "", ErrNotFound
}

// ParseValues reads the text of a file of values: a JSON object, whose members
// are texts or objects, or lines NAME=VALUE, of which empty ones and those that
// begin with # count for nothing. Its errors name lines and never values.
func ParseValues(data []byte) (Values, error) {
	out := Values{}
	trimmed := strings.TrimSpace(string(data))
	if strings.HasPrefix(trimmed, "{") {
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(trimmed), &members); err != nil {
			return nil, errors.New("want a JSON object whose members are the secrets")
		}
		for name, raw := range members {
			out[name] = text(raw)
		}
		return out, nil
	}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if s := strings.TrimSpace(line); s == "" || strings.HasPrefix(s, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("line %d: want NAME=VALUE", i+1)
		}
		out[name] = value
	}
	return out, nil
}

// fileLimitBytes bounds a file of values.
const fileLimitBytes = 4 << 20

// ReadValues reads a plain file of values.
func ReadValues(path string) (Values, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	return readValues(path, f)
}

func readValues(path string, r io.Reader) (Values, error) {
	data, err := io.ReadAll(io.LimitReader(r, fileLimitBytes+1))
	if err == nil && len(data) > fileLimitBytes {
		err = fmt.Errorf("it is larger than %d bytes", fileLimitBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	v, err := ParseValues(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// File is a store in a file of values that is encrypted with age; see
// https://age-encryption.org. It is read at every look, so that a change
// counts at once.
type File struct {
	path       string
	identities []age.Identity
}

// OpenFile makes a store of a file and of the file that holds the age identity
// which it is encrypted to. Both must be readable.
func OpenFile(path, identityFile string) (*File, error) {
	key, err := os.Open(identityFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = key.Close() }() // only read from
	identities, err := age.ParseIdentities(key)
	if err != nil {
		return nil, fmt.Errorf("%s: want an age identity (AGE-SECRET-KEY-...)", identityFile)
	}
	f := &File{path, identities}
	_, err = f.values()
	return f, err
}

func (f *File) values() (Values, error) {
	sealed, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sealed.Close() }() // only read from
	plain, err := age.Decrypt(sealed, f.identities...)
	if err != nil {
		return nil, fmt.Errorf("decrypting %s: %w", f.path, err)
	}
	return readValues(f.path, plain)
}

// Lookup implements Source.
func (f *File) Lookup(ctx context.Context, r Ref) (string, error) {
	v, err := f.values()
	if err != nil {
		return "", err
	}
	return v.Lookup(ctx, r)
}

// Environment is a store in the variables of this process whose names begin
// with Prefix: a secret's name in capitals, with _ for whatever else than
// letters and digits it has. /app/db-password is PREFIX_APP_DB_PASSWORD.
type Environment struct {
	Prefix string
	Getenv func(string) string
}

// Lookup implements Source. An empty variable is none.
func (e Environment) Lookup(_ context.Context, r Ref) (string, error) {
	plain := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			return c
		}
		return '_'
	}, strings.TrimPrefix(r.Name, "/"))
	if v := e.Getenv(e.Prefix + strings.ToUpper(plain)); v != "" && r.present() {
		return v, nil
	}
	return "", ErrNotFound
}
