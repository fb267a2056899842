package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
	gh "github.com/google/go-github/v60/github"
	"golang.org/x/sync/singleflight"

	"github.com/slipway-ci/slipway/forge"
)

// Permissions names what a token may do, such as {"contents": "read"}.
type Permissions map[string]string

// ErrSuspended: the installation is suspended or was removed, so that no token
// is to be had. Every such error is also a forge.ErrForbidden.
var ErrSuspended = errors.New("the App's installation is suspended or gone")

// scope is what one token is for.
type scope struct {
	installation int64
	repo         forge.Repo
	permissions  Permissions
}

func (s scope) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s", s.installation, s.repo.ID, s.repo.FullName())
	for _, name := range slices.Sorted(maps.Keys(s.permissions)) {
		fmt.Fprintf(&b, " %s:%s", name, s.permissions[name])
	}
	return b.String()
}

type token struct {
	value   string
	expires time.Time
	err     error // a refusal, remembered until expires so that nobody storms
}

const (
	// A token is renewed this long before its end (forges.md 1.3).
	renewBefore = 5 * time.Minute
	// A refused installation is not asked again before this.
	refusedFor = time.Minute
	// The cache is emptied of what has expired when it grows past this.
	cacheTokens = 4096
)

// tokens mints installation tokens and keeps those that the client itself uses.
// It is safe for concurrent use.
type tokens struct {
	app    *gh.Client
	now    func() time.Time
	flight singleflight.Group

	mu    sync.Mutex
	cache map[string]token
}

// get is a token from the cache, or a new one.
func (t *tokens) get(ctx context.Context, s scope) (string, error) {
	key := s.key()
	if tok, ok := t.cached(key); ok {
		return tok.value, tok.err
	}
	// The mint belongs to all who wait for it, so the first one's end must not
	// be everybody's.
	shared := context.WithoutCancel(ctx)
	results := t.flight.DoChan(key, func() (any, error) {
		if tok, ok := t.cached(key); ok {
			return tok.value, tok.err
		}
		ctx, cancel := context.WithTimeout(shared, requestTimeout)
		defer cancel()
		value, expires, err := t.mint(ctx, s)
		if err == nil {
			t.keep(key, token{value: value, expires: expires.Add(-renewBefore)})
		} else if errors.Is(err, forge.ErrForbidden) {
			t.keep(key, token{err: err, expires: t.now().Add(refusedFor)})
		}
		return value, err
	})
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-results:
		return r.Val.(string), r.Err
	}
}

func (t *tokens) cached(key string) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tok, ok := t.cache[key]
	return tok, ok && t.now().Before(tok.expires)
}

func (t *tokens) keep(key string, tok token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.cache) >= cacheTokens {
		maps.DeleteFunc(t.cache, func(_ string, tok token) bool { return !t.now().Before(tok.expires) })
	}
	t.cache[key] = tok
}

// drop forgets a token that the forge refused, unless it was replaced already.
func (t *tokens) drop(s scope, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if key := s.key(); t.cache[key].value == value {
		delete(t.cache, key)
	}
}

// forget drops all that is known of an installation.
func (t *tokens) forget(installation int64) {
	prefix := strconv.FormatInt(installation, 10) + " "
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.cache, func(key string, _ token) bool { return strings.HasPrefix(key, prefix) })
}

// tokenRequest is the body of "create an installation access token".
// go-github's type cannot hold a permission that it does not know.
type tokenRequest struct {
	RepositoryIDs []int64     `json:"repository_ids,omitempty"`
	Repositories  []string    `json:"repositories,omitempty"`
	Permissions   Permissions `json:"permissions"`
}

// mint asks for a token that can do no more than s says. A token for everything
// is never asked for.
func (t *tokens) mint(ctx context.Context, s scope) (string, time.Time, error) {
	if len(s.permissions) == 0 || s.repo.Name == "" {
		return "", time.Time{}, fmt.Errorf("minting a token: %w: want a repository and permissions", forge.ErrRejected)
	}
	body := tokenRequest{Permissions: s.permissions}
	if id, err := strconv.ParseInt(s.repo.ID, 10, 64); err == nil {
		body.RepositoryIDs = []int64{id}
	} else {
		body.Repositories = []string{s.repo.Name}
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	err := send(ctx, t.app, http.MethodPost, fmt.Sprintf("app/installations/%d/access_tokens", s.installation), body, &answer)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("minting a token for installation %d and %s: %w", s.installation, s.repo.FullName(), refusedMint(err))
	}
	if answer.Token == "" || !answer.ExpiresAt.After(t.now()) {
		return "", time.Time{}, &forge.RetryError{Err: fmt.Errorf("minting a token for installation %d: the answer has none that is valid", s.installation)}
	}
	return answer.Token, answer.ExpiresAt, nil
}

// refusedMint: what a refusal means when minting. 422 is a permission or a
// repository that the owner did not grant.
func refusedMint(err error) error {
	switch {
	case errors.Is(err, errCredentials): // the App's own: a wrong key or ID
		return err
	case errors.Is(err, forge.ErrNotFound):
		return fmt.Errorf("%w: %w: %s", ErrSuspended, forge.ErrForbidden, err.Error())
	case errors.Is(err, forge.ErrForbidden):
		return fmt.Errorf("%w: %w", ErrSuspended, err)
	case errors.Is(err, forge.ErrRejected):
		return fmt.Errorf("%w: %s", forge.ErrForbidden, err.Error())
	}
	return err
}

// signer signs an App's JWTs by GitHub's clock as far as we know it. It
// implements ghinstallation.Signer.
type signer struct {
	rsa *ghinstallation.RSASigner
	now func() time.Time

	mu     sync.Mutex
	offset time.Duration // GitHub's clock less ours
}

var _ ghinstallation.Signer = (*signer)(nil)

// Sign replaces the times, which the library takes from our clock.
func (s *signer) Sign(claims jwt.Claims) (string, error) {
	own, ok := claims.(*jwt.RegisteredClaims)
	if !ok {
		return "", fmt.Errorf("signing a JWT: unexpected claims %T", claims)
	}
	now := s.now().Add(s.clockOffset())
	own.IssuedAt = jwt.NewNumericDate(now.Add(-time.Minute).Truncate(time.Second))
	own.ExpiresAt = jwt.NewNumericDate(now.Add(5 * time.Minute).Truncate(time.Second))
	return s.rsa.Sign(own)
}

func (s *signer) clockOffset() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offset
}

// Smaller offsets can't be why a JWT is refused.
const worthwhileOffset = 20 * time.Second

// learn takes the offset from a refusal that complains about times, and reports
// whether another try makes sense.
func (s *signer) learn(resp *http.Response) bool {
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	text := peek(resp)
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || !strings.Contains(text, "'iat'") && !strings.Contains(text, "'exp'") {
		return false
	}
	offset := date.Sub(s.now())
	if offset.Abs() <= worthwhileOffset {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := (offset - s.offset).Abs() > worthwhileOffset
	s.offset = offset
	return changed
}

// appTransport authenticates as the App, and once more if the clocks differ.
type appTransport struct {
	next   http.RoundTripper // ghinstallation's, which signs
	signer *signer
}

func (t *appTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req.Clone(req.Context()))
	if err != nil || !t.signer.learn(resp) {
		return resp, err
	}
	again, err := repeat(req)
	if err != nil {
		return resp, nil
	}
	resp.Body.Close()
	return t.next.RoundTrip(again)
}

// repeat is a copy of a request whose body was read.
func repeat(req *http.Request) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.Body == nil {
		return again, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("the request's body can't be read twice")
	}
	body, err := req.GetBody()
	again.Body = body
	return again, err
}

type scopeKey struct{}

// tokenTransport authenticates with a token for the scope that the request's
// context carries, and with a new one if that is refused.
type tokenTransport struct {
	next   http.RoundTripper
	tokens *tokens
}

func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	s, ok := req.Context().Value(scopeKey{}).(scope)
	if !ok {
		return nil, fmt.Errorf("%w: the request has no scope", forge.ErrRejected)
	}
	resp, value, err := t.send(req.Clone(req.Context()), s)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	t.tokens.drop(s, value)
	again, err := repeat(req)
	if err != nil {
		return resp, nil
	}
	resp.Body.Close()
	resp, _, err = t.send(again, s)
	return resp, err
}

func (t *tokenTransport) send(req *http.Request, s scope) (*http.Response, string, error) {
	value, err := t.tokens.get(req.Context(), s)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, "", err
	}
	req.Header.Set("Authorization", "Bearer "+value)
	resp, err := t.next.RoundTrip(req)
	return resp, value, err
}

// staticTransport authenticates with one token that was configured.
type staticTransport struct {
	next  http.RoundTripper
	value string
}

func (t *staticTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+t.value)
	return t.next.RoundTrip(req)
}

// send does one request whose body and answer go-github has no types for.
func send(ctx context.Context, c *gh.Client, method, path string, body, answer any) error {
	req, err := c.NewRequest(method, path, body)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	var raw bytes.Buffer
	if _, err := c.Do(ctx, req, &raw); err != nil {
		return refusal(ctx, err)
	}
	if answer == nil || raw.Len() == 0 {
		return nil
	}
	if err := json.Unmarshal(raw.Bytes(), answer); err != nil {
		return &forge.RetryError{Err: fmt.Errorf("reading the answer to %s %s: %w", method, path, err)}
	}
	return nil
}
