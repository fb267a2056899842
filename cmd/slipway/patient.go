package main

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// bodyLimits bound how long a request's body may take.
type bodyLimits struct {
	whole time.Duration // of all of it
	stall time.Duration // without a byte, for pushes, which may be large
}

var defaultBodyLimits = bodyLimits{whole: 30 * time.Second, stall: time.Minute}

// ownLimits are paths whose handlers bound the time of their bodies themselves.
var ownLimits = []string{"/webhooks/", "/api/v1/runner/", "/api/v1/agent/"}

// wrap keeps whoever sends a body slowly, or never ends it, from holding a
// connection. A server's ReadTimeout won't do: it also ends long answers.
func (l bodyLimits) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody && !own(r.URL.Path) {
			b := &boundedBody{ReadCloser: r.Body, rc: http.NewResponseController(w)}
			if strings.HasPrefix(r.URL.Path, "/git/") {
				b.stall = l.stall
			} else {
				b.until = time.Now().Add(l.whole)
			}
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

func own(path string) bool {
	for _, prefix := range ownLimits {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

type boundedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	until time.Time     // zero: stall counts
	stall time.Duration // from each read on
}

func (b *boundedBody) Read(p []byte) (int, error) {
	until := b.until
	if until.IsZero() {
		until = time.Now().Add(b.stall)
	}
	// Where there are no deadlines, as in tests without a connection, there is
	// nobody to wait for either.
	_ = b.rc.SetReadDeadline(until)
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{}) // it would end the answer
	}
	return n, err
}
