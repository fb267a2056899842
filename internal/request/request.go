// Package request makes the requests of http actions: within a time limit,
// tried again where that may help, and never to this host, to private networks or to
// cloud metadata, unless that is allowed.
package request

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/outward"
)

// Options are what all requests of a process share.
type Options struct {
	// Allow are what may be reached although it isn't public: see
	// outward.Rules.
	Allow []string
	// Pause is the time before the second try, and doubles with each; 0 means a
	// second.
	Pause time.Duration
	// Dial replaces the network in tests; nil: the network, with its rules.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Request is one request. ID goes along as its Idempotency-Key, so that the
// server can tell a further try from a further request.
type Request struct {
	ID, Method, URL, Body string
}

// Answer is the last answer.
type Answer struct {
	Status int
	Body   []byte // at most BodyLimitBytes of it
}

const (
	// BodyLimitBytes is how much of an answer is read.
	BodyLimitBytes = 64 << 10
	tries          = 3
	redirects      = 5
)

// ErrForbidden: the address is one that requests may not go to.
var ErrForbidden = errors.New("this server makes no requests to its own host, to private networks or to link-local addresses, unless requests.allow names them")

// methods are those that an action may use.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// Check says what is wrong with a request before it is made.
func Check(r Request) error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("url: want an http or https URL")
	case !slices.Contains(methods, r.Method):
		return fmt.Errorf("method: want one of %s", strings.Join(methods, ", "))
	}
	return nil
}

// Do makes the request until it gets an answer that a repeat would not change:
// any but 429 and 5xx. say hears of each try. The answer may be any; an error
// means that there was none.
func Do(ctx context.Context, o Options, r Request, say func(format string, args ...any)) (Answer, error) {
	client := o.client()
	defer client.CloseIdleConnections()
	wait := o.Pause
	if wait == 0 {
		wait = time.Second
	}
	for try := 1; ; try++ {
		a, err := once(ctx, client, r)
		switch {
		case err != nil:
			say("Try %d: %v", try, err)
		default:
			say("Try %d: status %d", try, a.Status)
		}
		again := err != nil && !errors.Is(err, ErrForbidden) || a.Status == http.StatusTooManyRequests || a.Status >= 500
		if !again || try == tries {
			return a, err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return a, context.Cause(ctx)
		case <-t.C:
		}
		wait *= 2
	}
}

func once(ctx context.Context, client *http.Client, r Request) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, strings.NewReader(r.Body))
	if err != nil {
		return Answer{}, errors.New("the request can't be made")
	}
	req.Header.Set("User-Agent", "slipway")
	req.Header.Set("Idempotency-Key", r.ID)
	if r.Body != "" {
		req.Header.Set("Content-Type", mediaType(r.Body))
	}
	resp, err := client.Do(req)
	if err != nil {
		// The URL stays out of the error: it may hold a secret.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, BodyLimitBytes))
	return Answer{Status: resp.StatusCode, Body: body}, err
}

func mediaType(body string) string {
	if c := strings.TrimSpace(body); strings.HasPrefix(c, "{") || strings.HasPrefix(c, "[") {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

func (o Options) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: o.dial, TLSHandshakeTimeout: outward.DialTimeout, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			switch {
			case len(via) > redirects:
				return errors.New("too many redirects")
			case via[0].URL.Scheme == "https" && next.URL.Scheme != "https":
				return errors.New("a redirect leaves HTTPS")
			}
			return nil
		},
	}
}

// dial connects to an address if it may be reached. It is asked for redirects,
// too, and judges the address that the name stands for at this moment.
func (o Options) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if o.Dial != nil {
		return o.Dial(ctx, network, address)
	}
	c, err := outward.Rules{Allow: o.Allow}.Dial(ctx, network, address)
	if errors.Is(err, outward.ErrForbidden) {
		return nil, ErrForbidden
	}
	return c, err
}
