package bitbucket

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
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
	responseLimitBytes = 32 << 20
	// A 429 without a Retry-After wants a pause of our choice.
	limitedWait   = time.Minute
	longestWait   = 15 * time.Minute
	redirectLimit = 5
)

// Options configures a Cloud or a Server.
type Options struct {
	// BaseURL of Cloud is the REST interface; empty: https://api.bitbucket.org/2.0.
	// BaseURL of Server is where people find it; the REST interface is below.
	BaseURL string
	// Token is an access token of a repository, project or workspace; of Cloud it
	// may be EMAIL:TOKEN, a user's API token. Empty: every call is
	// forge.ErrNoCredentials.
	Token string
	// Transport carries requests to the forge; nil: one with sensible time-outs.
	Transport http.RoundTripper
}

// rest speaks JSON to one Bitbucket, and to no other host. It is safe for
// concurrent use. Its errors are a *forge.RetryError for what may be tried
// again, forge.ErrNotFound, forge.ErrForbidden, forge.ErrRejected or
// forge.ErrNoCredentials; it does not retry by itself.
type rest struct {
	base   *url.URL // without a slash at its end
	auth   string
	client *http.Client
}

// newRest makes a client for an address. It contacts nobody.
func newRest(o Options, fallback, below string) (*rest, error) {
	base, err := url.Parse(strings.TrimRight(cmp.Or(o.BaseURL, fallback), "/") + below)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil {
		return nil, fmt.Errorf("address of Bitbucket %q: want https://HOST/", o.BaseURL)
	}
	r := &rest{base: base, auth: authorization(o.Token)}
	transport := o.Transport
	if transport == nil {
		transport = newTransport()
	}
	r.client = &http.Client{Transport: transport, Timeout: requestTimeout, CheckRedirect: r.sameHost}
	return r, nil
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = requestTimeout
	t.MaxIdleConnsPerHost = 16
	return t
}

func authorization(token string) string {
	switch {
	case token == "":
		return ""
	case strings.Contains(token, ":"):
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(token))
	}
	return "Bearer " + token
}

var errHost = errors.New("not the forge's host")

// sameHost follows a redirect of a read, within the forge.
func (r *rest) sameHost(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= redirectLimit:
		return errors.New("too many redirects")
	case req.URL.Scheme != r.base.Scheme || req.URL.Host != r.base.Host:
		return fmt.Errorf("%w: %s", errHost, req.URL.Host)
	case req.Method != via[0].Method:
		return fmt.Errorf("redirect changes %s to %s", via[0].Method, req.Method)
	}
	return nil
}

// path joins segments, escaping each, braces too.
func path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

// send makes one request below the base and reads the JSON of its answer, if
// answer is not nil.
func (r *rest) send(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	u := *r.base
	address := u.String() + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	return r.sendTo(ctx, method, address, body, answer)
}

func (r *rest) sendTo(ctx context.Context, method, address string, body, answer any) error {
	if r.auth == "" {
		return forge.ErrNoCredentials
	}
	req, err := newRequest(ctx, method, address, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", r.auth)
	resp, err := r.client.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errHost):
		return fmt.Errorf("%w: %w", forge.ErrRejected, errHost)
	case err != nil:
		return &forge.RetryError{Err: fmt.Errorf("%s %s: %w", method, req.URL.Path, withoutURL(err))}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, responseLimitBytes+1))
	if len(data) > responseLimitBytes {
		return fmt.Errorf("%s %s: %w: the answer is larger than %d bytes", method, req.URL.Path, forge.ErrRejected, responseLimitBytes)
	}
	if refused := refusal(resp, data); refused != nil {
		return fmt.Errorf("%s %s: %w", method, req.URL.Path, refused)
	}
	if err != nil {
		return &forge.RetryError{Err: fmt.Errorf("reading the answer to %s %s: %w", method, req.URL.Path, err)}
	}
	if answer == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return &forge.RetryError{Err: fmt.Errorf("reading the answer to %s %s: %w", method, req.URL.Path, err)}
	}
	return nil
}

// withoutURL drops the address with its query, which an error says again.
func withoutURL(err error) error {
	if about, ok := errors.AsType[*url.Error](err); ok {
		return about.Err
	}
	return err
}

func newRequest(ctx context.Context, method, address string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("making the request: %w", err)
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "slipway")
	return req, nil
}

// errConflict: somebody changed the thing since we read it.
var errConflict = errors.New("conflict")

var errCredentials = errors.New("the credentials are refused")

// refusal turns an answer other than 2xx into one of package forge's errors.
func refusal(resp *http.Response, body []byte) error {
	if resp.StatusCode < 300 {
		return nil
	}
	why := errors.New(strconv.Itoa(resp.StatusCode) + " " + message(body))
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w: %w: %w", forge.ErrForbidden, errCredentials, why)
	case code == http.StatusForbidden:
		return fmt.Errorf("%w: %w", forge.ErrForbidden, why)
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w: %w", forge.ErrNotFound, why)
	case code == http.StatusTooManyRequests:
		return &forge.RetryError{After: cmp.Or(retryAfter(resp.Header), limitedWait), Err: fmt.Errorf("rate limit: %w", why)}
	case code == http.StatusConflict:
		return &forge.RetryError{Err: fmt.Errorf("%w: %w", errConflict, why)}
	case code == http.StatusRequestTimeout, code >= 500:
		return &forge.RetryError{After: retryAfter(resp.Header), Err: why}
	}
	return fmt.Errorf("%w: %w", forge.ErrRejected, why)
}

// passing reports whether a question may have an answer later. What the forge
// won't say at all must not keep a push from being built.
func passing(ctx context.Context, err error) bool {
	_, retry := errors.AsType[*forge.RetryError](err)
	return retry || err != nil && ctx.Err() != nil
}

// retryAfter is how long the forge asks to wait; 0: it does not.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil {
		return max(0, min(time.Duration(seconds)*time.Second, longestWait))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, min(time.Until(at), longestWait))
	}
	return 0
}

// message is what the forge says, in one line. Cloud answers with one error,
// Data Center with a list.
func message(body []byte) string {
	var answer struct {
		Error  json.RawMessage `json:"error"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	if len(answer.Errors) > 0 {
		return line(answer.Errors[0].Message, 200)
	}
	var one struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer.Error, &one) != nil {
		return ""
	}
	return line(one.Message, 200)
}

// line is text in one line of at most limit runes, cut with an ellipsis.
func line(s string, limit int) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	return cut(s, limit)
}

// cut is the beginning of s, at most limit runes with the ellipsis.
func cut(s string, limit int) string {
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}

// clean makes text fit for the forge: valid UTF-8 without control characters
// other than tab and line feed.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// linkLimit is how long the address of a status may be in Data Center, and is
// kept to in Cloud.
const linkLimit = 450

// link is the address that a status leads to: ours, or else the forge's own page.
// Cloud takes it for a URI template, so it has no braces.
func link(target, otherwise string) string {
	target = strings.NewReplacer("{", "%7B", "}", "%7D").Replace(target)
	if webURL(target) == "" || len(target) > linkLimit {
		return otherwise
	}
	return target
}

// marked is the line by which a comment of ours is found again. HTML comments
// would be shown; a link definition that nothing refers to is not.
func marked(marker string) string { return "[//]: # (slipway:" + marker + ")" }

// hasMarker reports whether a line of a comment is the marker.
func hasMarker(text, marker string) bool {
	return strings.Contains("\n"+strings.ReplaceAll(text, "\r\n", "\n")+"\n", "\n"+marked(marker)+"\n")
}

// commentLimit is how much of a comment is sent; Data Center takes 32,768.
const commentLimit = 32_000

func commentText(marker, body string) string {
	body = clean(body)
	if marker == "" {
		return cut(body, commentLimit)
	}
	// A definition wants an empty line before it.
	return cut(body, commentLimit-len(marked(marker))-2) + "\n\n" + marked(marker)
}

// severity is what an annotation's level becomes.
func severity(level string) string {
	switch level {
	case "failure":
		return "HIGH"
	case "warning":
		return "MEDIUM"
	}
	return "LOW"
}

const (
	annotationLimit = 1000 // of a report
	annotationBatch = 100  // of a request
)

// annotations are those within the repository, bounded.
func annotations(all []forge.Annotation) []forge.Annotation {
	var out []forge.Annotation
	for _, a := range all {
		a.Path = strings.TrimPrefix(clean(a.Path), "./")
		if a.Path == "" || strings.HasPrefix(a.Path, "/") || strings.Contains("/"+a.Path+"/", "/../") || a.Message == "" && a.Title == "" {
			continue
		}
		a.StartLine = max(1, a.StartLine)
		if out = append(out, a); len(out) == annotationLimit {
			break
		}
	}
	return out
}

func annotationText(a forge.Annotation, limit int) string {
	text := clean(a.Message)
	if a.Title != "" && !strings.Contains(text, a.Title) {
		text = clean(a.Title) + ": " + text
	}
	return cut(strings.TrimSpace(text), limit)
}
