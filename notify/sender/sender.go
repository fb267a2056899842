// Package sender carries messages to where people and programs read them:
// Slack, webhooks, topics of Amazon SNS, and mailboxes. Its targets' addresses come from
// the operator's configuration only.
package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/outward"
	"github.com/slipway-ci/slipway/notify"
)

// CheckURL says what is wrong with a target's address: it must be https. Plain
// http is for this host, and for others where allowHTTP is set.
func CheckURL(raw string, allowHTTP bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("want an https URL") // the URL itself may be a secret
	case u.User != nil:
		return errors.New("want a URL without user and password")
	case u.Scheme == "http" && !allowHTTP && !loopback(u.Hostname()):
		return errors.New("want an https URL; allow_http permits plain http")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

const answerLimit = 64 << 10 // bytes of an answer that are read

// Network says where targets may be.
type Network struct {
	// Private lets the names of targets stand for this host and for private
	// networks. What is written in numbers, or as localhost, is meant so.
	Private bool
}

// dial connects to a target's host. Nothing leads to a link-local address or to
// cloud metadata.
func (n Network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	_, notANumber := netip.ParseAddr(host)
	c, err := outward.Rules{Private: n.Private || notANumber == nil || host == "localhost"}.Dial(ctx, network, address)
	if errors.Is(err, outward.ErrForbidden) {
		return nil, fmt.Errorf("%w: %w; notifications.allow_private_targets opens private networks", notify.ErrRefused, err)
	}
	return c, err
}

// client makes requests to one configured address. It follows no redirect, so
// that an address can't send messages elsewhere.
func (n Network) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: n.dial, TLSHandshakeTimeout: outward.DialTimeout, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: 90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends a body and returns the answer to a 2xx. Another status is an
// error that says whether a repeat may help; none holds the URL.
func post(ctx context.Context, c *http.Client, target string, header http.Header, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: the request can't be made", notify.ErrRefused)
	}
	req.Header = header
	req.Header.Set("User-Agent", "slipway")
	resp, err := c.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the URL may be a secret
		}
		if ctx.Err() != nil {
			err = errors.New("no answer in time")
		}
		return nil, &forge.RetryError{Err: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return nil, &forge.RetryError{Err: errors.New("the answer broke off")}
	}
	return answer, verdict(resp)
}

// verdict is nil for 2xx.
func verdict(resp *http.Response) error {
	status := fmt.Errorf("status %d", resp.StatusCode)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return &forge.RetryError{After: retryAfter(resp.Header.Get("Retry-After")), Err: status}
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return &forge.RetryError{Err: status}
	}
	return fmt.Errorf("%w: %w", notify.ErrRefused, status)
}

// retryAfter reads seconds or a date; 0: neither.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n > 0 {
		return time.Duration(min(n, 86_400)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
