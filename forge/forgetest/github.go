// Package forgetest stands in for the git hosts: a GitHub that keeps what it is
// told, enforces GitHub's limits and fails on demand. It is for tests and for
// programs that exercise a whole Slipway; it listens on loopback only.
package forgetest

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say how the fake behaves. The zero value will do.
type Options struct {
	// Listen is the address; empty: a free port on 127.0.0.1.
	Listen string
	// Spec is the file of GitHub's OpenAPI description. With one, every request
	// is checked against it; see Violations.
	Spec string
	// Prefix is in front of every path, such as /api/v3 on an Enterprise Server.
	Prefix string
	// AppID and Key are the App that may mint tokens; AppID 0: 1. With Key nil
	// the signatures of JWTs are not checked.
	AppID int64
	Key   *rsa.PublicKey
	// TokenLife is how long installation tokens are valid; 0: an hour.
	TokenLife time.Duration
	// Now is the fake's clock; nil: time.Now.
	Now func() time.Time
}

// GitHub is a fake GitHub. It is safe for concurrent use. What it returns are
// copies.
type GitHub struct {
	// URL is the base of the REST interface, with a slash at its end.
	URL string

	o      Options
	server *http.Server
	spec   *spec
	closed chan struct{}

	mu       sync.Mutex
	nextID   int64
	repos    map[string]*repo // by owner/name in lower case
	installs map[int64]*installation
	tokens   map[string]*grant
	checks   map[int64]*CheckRun
	statuses []Status
	comments map[int64]*Comment
	teams    map[string]string // state by org/team/login
	faults   []*fault
	requests []Request
	broken   []string
}

// New starts a fake. Close stops it.
func New(o Options) (*GitHub, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.AppID = max(o.AppID, 1)
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	g := &GitHub{
		o: o, closed: make(chan struct{}), nextID: 1000,
		repos: map[string]*repo{}, installs: map[int64]*installation{}, tokens: map[string]*grant{},
		checks: map[int64]*CheckRun{}, comments: map[int64]*Comment{}, teams: map[string]string{},
	}
	if o.Spec != "" {
		var err error
		if g.spec, err = loadSpec(o.Spec); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("starting the fake GitHub: %w", err)
	}
	g.URL = (&url.URL{Scheme: "http", Host: listener.Addr().String(), Path: o.Prefix + "/"}).String()
	g.server = &http.Server{Handler: http.StripPrefix(o.Prefix, g.handler()), ReadHeaderTimeout: 10 * time.Second}
	go g.server.Serve(listener) // ends with Close
	return g, nil
}

// NewGitHub starts a fake for a test, which fails if a request did not match
// the description in Spec.
func NewGitHub(t testing.TB, o Options) *GitHub {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Close()
		for _, v := range g.Violations() {
			t.Errorf("request against GitHub's description: %s", v)
		}
	})
	return g
}

// Close stops the fake and lets go of requests that hang.
func (g *GitHub) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.closed:
	default:
		close(g.closed)
		g.server.Close()
	}
}

// Request is one request that came in.
type Request struct {
	At     time.Time
	Method string
	Path   string // without the prefix
	Query  url.Values
	Header http.Header
	Body   string
	Status int // of the answer; 0: there was none
}

// Requests are those whose method and path contain what, such as
// "POST /repos/o/r/check-runs", in order; empty: all.
func (g *GitHub) Requests(what string) []Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Request
	for _, r := range g.requests {
		if strings.Contains(r.Method+" "+r.Path, what) {
			list = append(list, r)
		}
	}
	return list
}

// Violations are the requests that GitHub's description does not allow.
func (g *GitHub) Violations() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.broken)
}

// A larger body than GitHub would take ends in an error.
const bodyLimitBytes = 10 << 20

// handler records, validates, fails on demand, and else does what is asked.
func (g *GitHub) handler() http.Handler {
	routes := g.routes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimitBytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		record := g.record(r, body)
		fault := g.fault(r)
		if fault != nil && fault.hang(r, g.closed) {
			panic(http.ErrAbortHandler)
		}
		answer := httptest.NewRecorder()
		answer.Header().Set("Date", g.o.Now().UTC().Format(http.TimeFormat))
		if fault != nil && !fault.Drop {
			fault.answer(answer)
		} else {
			routes.ServeHTTP(answer, r)
		}
		g.answered(record, answer.Code)
		if fault != nil && fault.Drop {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// record keeps a request and returns its place.
func (g *GitHub) record(r *http.Request, body []byte) int {
	var violation error
	if g.spec != nil {
		violation = g.spec.check(r, body)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if violation != nil {
		g.broken = append(g.broken, fmt.Sprintf("%s %s: %v", r.Method, r.URL.Path, violation))
	}
	g.requests = append(g.requests, Request{
		At: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: string(body),
	})
	return len(g.requests) - 1
}

func (g *GitHub) answered(record, status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests[record].Status = status
}
