package github

import (
	"cmp"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
	gh "github.com/google/go-github/v60/github"

	"github.com/slipway-ci/slipway/forge"
)

// Options configures a Client. With neither an App nor a Token, every call is
// forge.ErrNoCredentials.
type Options struct {
	// BaseURL is the REST interface; empty: https://api.github.com/. GitHub
	// Enterprise Server's is https://HOST/api/v3/.
	BaseURL string
	// AppID and Key are those of the GitHub App. They win over Token.
	AppID int64
	Key   *rsa.PrivateKey
	// Token is a personal or other ready-made token. It can set statuses, but
	// GitHub lets only Apps write check runs.
	Token string
	// Transport carries requests to the forge; nil: one with sensible time-outs.
	// A forge with a CA of its own has its transport given here.
	Transport http.RoundTripper
	// Spacing lies between two batches of annotations; 0: one second, which is
	// what GitHub asks for between writes; negative: none.
	Spacing time.Duration
	// Now tells the time; nil: time.Now.
	Now func() time.Time
}

// Client talks to one GitHub. It is safe for concurrent use. Its errors are a
// *forge.RetryError for what may be tried again, forge.ErrNotFound,
// forge.ErrForbidden, forge.ErrRejected or forge.ErrNoCredentials; it does not
// retry by itself, except once with a new token.
type Client struct {
	base    *url.URL
	guarded http.RoundTripper
	spacing time.Duration
	now     func() time.Time

	appID  int64
	signer *signer
	app    *gh.Client // authenticates as the App; nil without one
	tokens *tokens
	static string
	plain  *gh.Client // authenticates with the static token; nil without one

	mu            sync.Mutex
	installations map[int64]*gh.Client
	byRepo        map[string]int64 // installation by repository
}

// New makes a Client. It contacts nobody.
func New(o Options) (*Client, error) {
	base, err := url.Parse(cmp.Or(o.BaseURL, "https://api.github.com/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil {
		return nil, fmt.Errorf("GitHub API URL %q: want https://HOST/", o.BaseURL)
	}
	if !strings.HasSuffix(base.Path, "/") {
		base.Path += "/"
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	transport := o.Transport
	if transport == nil {
		transport = newTransport()
	}
	c := &Client{
		base: base, guarded: &guard{base: base, next: transport, now: now},
		spacing: max(0, cmp.Or(o.Spacing, time.Second)), now: now,
		installations: map[int64]*gh.Client{}, byRepo: map[string]int64{},
	}
	switch {
	case o.AppID != 0 || o.Key != nil:
		return c, c.useApp(o)
	case o.Token != "":
		c.static = o.Token
		c.plain = c.rest(&staticTransport{next: c.guarded, value: o.Token})
	}
	return c, nil
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = requestTimeout
	t.MaxIdleConnsPerHost = 16
	return t
}

func (c *Client) useApp(o Options) error {
	if o.AppID <= 0 || o.Key == nil {
		return errors.New("GitHub App: want both an ID and a private key")
	}
	c.appID = o.AppID
	c.signer = &signer{rsa: ghinstallation.NewRSASigner(jwt.SigningMethodRS256, o.Key), now: c.now}
	signing, err := ghinstallation.NewAppsTransportWithOptions(c.guarded, o.AppID, ghinstallation.WithSigner(c.signer))
	if err != nil {
		return fmt.Errorf("GitHub App: %w", err)
	}
	c.app = c.rest(&appTransport{next: signing, signer: c.signer})
	c.tokens = &tokens{app: c.app, now: c.now, cache: map[string]token{}}
	return nil
}

// rest is a go-github client over one way of authenticating.
func (c *Client) rest(transport http.RoundTripper) *gh.Client {
	client := gh.NewClient(&http.Client{Transport: transport, Timeout: requestTimeout, CheckRedirect: sameMethod})
	client.BaseURL = c.base
	client.UserAgent = "slipway"
	return client
}

// ClockOffset is how far GitHub's clock is ahead of ours, as far as a refusal
// made us look; 0: not that we know.
func (c *Client) ClockOffset() time.Duration {
	if c.signer == nil {
		return 0
	}
	return c.signer.clockOffset()
}

// on is the client for one repository and a context that lets it do what the
// permissions say. An installation's client is shared by all its repositories,
// because GitHub counts rate limits by installation.
func (c *Client) on(ctx context.Context, installation int64, repo forge.Repo, p Permissions) (context.Context, *gh.Client, error) {
	if !forge.ValidName(repo.Owner) || !forge.ValidName(repo.Name) {
		return nil, nil, fmt.Errorf("%w: repository %q", forge.ErrRejected, short(repo.FullName()))
	}
	if c.plain != nil {
		return ctx, c.plain, nil
	}
	if c.app == nil {
		return nil, nil, forge.ErrNoCredentials
	}
	installation, err := c.installation(ctx, installation, repo)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	client := c.installations[installation]
	if client == nil {
		client = c.rest(&tokenTransport{next: c.guarded, tokens: c.tokens})
		c.installations[installation] = client
	}
	return context.WithValue(ctx, scopeKey{}, scope{installation, repo, p}), client, nil
}

// installation is the given one, or the one that has the repository.
func (c *Client) installation(ctx context.Context, given int64, repo forge.Repo) (int64, error) {
	key := cmp.Or(repo.ID, repo.FullName())
	c.mu.Lock()
	known := c.byRepo[key]
	if given > 0 {
		c.byRepo[key], known = given, given
	}
	c.mu.Unlock()
	if known > 0 {
		return known, nil
	}
	found, _, err := c.app.Apps.FindRepositoryInstallation(ctx, repo.Owner, repo.Name)
	if err != nil {
		return 0, fmt.Errorf("finding the installation of %s: %w", repo.FullName(), refusal(ctx, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byRepo[key] = found.GetID()
	return found.GetID(), nil
}

// Forget drops what is known of an installation: its tokens, also that it was
// refused one, and its repositories. It is called when an event says that the
// installation changed.
func (c *Client) Forget(installation int64) {
	if c.tokens == nil {
		return
	}
	c.tokens.forget(installation)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.installations, installation)
	for repo, of := range c.byRepo {
		if of == installation {
			delete(c.byRepo, repo)
		}
	}
}

// Token mints a token for one repository that can do what the permissions say,
// and no more; nil: read its contents. It is a new one each time, valid for an
// hour, so that it can be revoked when its build ends. With git its user is
// x-access-token. Installation 0 is looked up. Without an App it is the
// configured token, and expires is zero.
func (c *Client) Token(ctx context.Context, installation int64, repo forge.Repo, permissions Permissions) (value string, expires time.Time, err error) {
	if c.plain != nil {
		return c.static, time.Time{}, nil
	}
	if permissions == nil {
		permissions = Permissions{"contents": "read"}
	}
	if _, _, err := c.on(ctx, installation, repo, permissions); err != nil {
		return "", time.Time{}, fmt.Errorf("getting a token for %s: %w", repo.FullName(), err)
	}
	installation, err = c.installation(ctx, installation, repo)
	if err != nil {
		return "", time.Time{}, err
	}
	return c.tokens.mint(ctx, scope{installation, repo, permissions})
}

// Revoke ends a token that Token gave out. A configured token stays.
func (c *Client) Revoke(ctx context.Context, value string) error {
	if c.app == nil || value == "" {
		return nil
	}
	client := c.rest(&staticTransport{next: c.guarded, value: value})
	err := send(ctx, client, http.MethodDelete, "installation/token", nil, nil)
	if errors.Is(err, forge.ErrForbidden) {
		return nil // expired already
	}
	if err != nil {
		return fmt.Errorf("revoking a token: %w", err)
	}
	return nil
}

// Check asks the forge whether it accepts the credentials.
func (c *Client) Check(ctx context.Context) error {
	switch {
	case c.app != nil:
		return send(ctx, c.app, http.MethodGet, "app", nil, nil)
	case c.plain != nil:
		return send(ctx, c.plain, http.MethodGet, "user", nil, nil)
	}
	return forge.ErrNoCredentials
}

// refusal turns an error of go-github into one of package forge's. What is not
// an answer of the forge, such as a broken connection, may be tried again,
// unless the caller's own time is over.
func refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if retry, ok := errors.AsType[*forge.RetryError](err); ok {
		return retry
	}
	if primary, ok := errors.AsType[*gh.RateLimitError](err); ok {
		wait := min(time.Until(primary.Rate.Reset.Time)+time.Second, longestWait)
		return &forge.RetryError{After: max(wait, time.Second), Err: errLimited}
	}
	if secondary, ok := errors.AsType[*gh.AbuseRateLimitError](err); ok {
		return &forge.RetryError{After: min(cmp.Or(secondary.GetRetryAfter(), secondaryWait), longestWait), Err: fmt.Errorf("secondary %w", errLimited)}
	}
	if answer, ok := errors.AsType[*gh.ErrorResponse](err); ok {
		return refusalOf(answer)
	}
	for _, known := range []error{forge.ErrForbidden, forge.ErrNotFound, forge.ErrRejected, errHost, errTooLarge} {
		if errors.Is(err, known) {
			return err
		}
	}
	return &forge.RetryError{Err: err}
}

var errCredentials = errors.New("the credentials are refused")

func refusalOf(answer *gh.ErrorResponse) error {
	var kind error
	switch code := answer.Response.StatusCode; code {
	case http.StatusUnauthorized:
		kind = fmt.Errorf("%w: %w", forge.ErrForbidden, errCredentials)
	case http.StatusForbidden:
		kind = forge.ErrForbidden
	case http.StatusNotFound, http.StatusGone:
		kind = forge.ErrNotFound
	case http.StatusRequestTimeout, http.StatusConflict:
		kind = nil
	default:
		kind = forge.ErrRejected
	}
	text := answerText(answer)
	if kind == nil {
		return &forge.RetryError{Err: errors.New(text)}
	}
	return fmt.Errorf("%w: %s", kind, text)
}

// answerText says what the forge said, in one line.
func answerText(answer *gh.ErrorResponse) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(answer.Response.StatusCode) + " " + short(answer.Message))
	for i, e := range answer.Errors {
		if i == 3 {
			break
		}
		b.WriteString("; " + short(line(strings.Join([]string{e.Resource, e.Field, e.Code, e.Message}, " "), titleLimit)))
	}
	return b.String() + requestID(answer.Response)
}

// answered reports whether the forge answered, so that nothing it was asked for
// was done without our knowledge.
func answered(err error) bool {
	for _, known := range []error{forge.ErrForbidden, forge.ErrNotFound, forge.ErrRejected, errHost, errLimited} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
