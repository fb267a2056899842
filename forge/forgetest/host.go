package forgetest

import (
	"bytes"
	"cmp"
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
	"time"
)

// host is what all fakes have: it listens, records and checks requests, and
// fails on demand.
type host struct {
	// URL is the base of the REST interface, with a slash at its end.
	URL string

	server *http.Server
	spec   *spec
	closed chan struct{}
	now    func() time.Time
	// beside serves what is not below the prefix; nil: nothing.
	beside http.Handler

	mu       sync.Mutex
	nextID   int64
	faults   []*fault
	requests []Request
	broken   []string
}

// start listens at an address, a free port on 127.0.0.1 if it is empty, and
// serves routes below the prefix.
func (h *host) start(address, prefix string, routes http.Handler) error {
	listener, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	h.closed, h.nextID = make(chan struct{}), 1000
	h.URL = (&url.URL{Scheme: "http", Host: listener.Addr().String(), Path: prefix + "/"}).String()
	api := http.StripPrefix(prefix, h.handler(routes))
	h.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.beside != nil && !strings.HasPrefix(r.URL.Path, prefix+"/") {
			h.beside.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})}
	go h.server.Serve(listener) // ends with Close
	return nil
}

// Close stops the fake and lets go of requests that hang.
func (h *host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
	default:
		close(h.closed)
		h.server.Close()
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
func (h *host) Requests(what string) []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Request
	for _, r := range h.requests {
		if strings.Contains(r.Method+" "+r.Path, what) {
			list = append(list, r)
		}
	}
	return list
}

// Violations are the requests that the forge's description does not allow.
func (h *host) Violations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.broken)
}

// A larger body than a forge would take ends in an error.
const bodyLimitBytes = 10 << 20

// handler records, validates, fails on demand, and else does what is asked.
func (h *host) handler(routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimitBytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		record := h.record(r, body)
		fault := h.fault(r)
		if fault != nil && fault.hang(r, h.closed) {
			panic(http.ErrAbortHandler)
		}
		answer := httptest.NewRecorder()
		answer.Header().Set("Date", h.now().UTC().Format(http.TimeFormat))
		if fault != nil && !fault.Drop {
			fault.answer(answer)
		} else {
			routes.ServeHTTP(answer, r)
		}
		h.answered(record, answer.Code)
		if fault != nil && fault.Drop {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// record keeps a request and returns its place.
func (h *host) record(r *http.Request, body []byte) int {
	var violation error
	if h.spec != nil && !seenByPeople(r.URL.Path) {
		violation = h.spec.check(r, body)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if violation != nil {
		h.broken = append(h.broken, fmt.Sprintf("%s %s: %v", r.Method, r.URL.Path, violation))
	}
	h.requests = append(h.requests, Request{
		At: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: string(body),
	})
	return len(h.requests) - 1
}

func (h *host) answered(record, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests[record].Status = status
}
