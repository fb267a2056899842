package github

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

const (
	requestTimeout     = 30 * time.Second
	responseLimitBytes = 64 << 20
	// A secondary limit without a Retry-After wants at least a minute (GitHub,
	// "Rate limits for the REST API").
	secondaryWait = time.Minute
	longestWait   = 15 * time.Minute
)

// guard is the innermost transport. It dials the forge's own host only, bounds
// what it reads, and turns refusals for now into *forge.RetryError.
type guard struct {
	base *url.URL
	next http.RoundTripper
	now  func() time.Time
}

var (
	errHost    = errors.New("not the forge's host")
	errLimited = errors.New("rate limit")
)

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != g.base.Scheme || req.URL.Host != g.base.Host {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, fmt.Errorf("%w: %s://%s", errHost, req.URL.Scheme, req.URL.Host)
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: responseLimitBytes}
	after, limited := rateLimited(resp, g.now())
	if !limited && resp.StatusCode < 500 {
		return resp, nil
	}
	defer resp.Body.Close()
	err = fmt.Errorf("%s %s: %s%s", req.Method, req.URL.Path, resp.Status, requestID(resp))
	if limited {
		err = fmt.Errorf("%w: %w", errLimited, err)
	}
	return nil, &forge.RetryError{After: after, Err: err}
}

func requestID(resp *http.Response) string {
	if id := resp.Header.Get("X-GitHub-Request-Id"); id != "" && len(id) < 100 {
		return " (request " + strconv.Quote(id) + ")"
	}
	return ""
}

// rateLimited tells a rate limit from another refusal and says how long to wait.
func rateLimited(resp *http.Response, now time.Time) (time.Duration, bool) {
	after := retryAfter(resp.Header, now)
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return orSecondary(after), true
	case http.StatusForbidden:
		if after > 0 {
			return after, true
		}
		text := strings.ToLower(peek(resp))
		if strings.Contains(text, "rate limit") || strings.Contains(text, "abuse detection") {
			return secondaryWait, true
		}
	}
	return after, false
}

func orSecondary(after time.Duration) time.Duration {
	if after > 0 {
		return after
	}
	return secondaryWait
}

// retryAfter is how long the forge asks to wait; 0: it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait := time.Duration(0)
	if v := h.Get("Retry-After"); v != "" {
		if seconds, err := strconv.Atoi(v); err == nil {
			wait = time.Duration(seconds) * time.Second
		} else if at, err := http.ParseTime(v); err == nil {
			wait = at.Sub(now)
		}
	} else if h.Get("X-RateLimit-Remaining") == "0" {
		if reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			wait = time.Unix(reset, 0).Sub(now) + time.Second
		}
	}
	return max(0, min(wait, longestWait))
}

const peekBytes = 8 << 10

// peek is the start of a response's body, which stays readable.
func peek(resp *http.Response) string {
	start, _ := io.ReadAll(io.LimitReader(resp.Body, peekBytes))
	resp.Body = &replayed{Reader: io.MultiReader(strings.NewReader(string(start)), resp.Body), Closer: resp.Body}
	return string(start)
}

type replayed struct {
	io.Reader
	io.Closer
}

// bounded fails once too much was read, so that no answer can fill memory.
type bounded struct {
	io.ReadCloser
	left int64
}

var errTooLarge = errors.New("response is too large")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

const redirectLimit = 5

// sameMethod follows a redirect of a renamed repository, but not one that would
// turn a write into a read.
func sameMethod(req *http.Request, via []*http.Request) error {
	if len(via) >= redirectLimit {
		return errors.New("too many redirects")
	}
	if req.Method != via[0].Method {
		return fmt.Errorf("redirect changes %s to %s", via[0].Method, req.Method)
	}
	return nil
}
