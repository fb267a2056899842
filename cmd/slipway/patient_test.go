package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// Whoever began a body and never ended it held a connection for ever, signed in
// or not.
//
// Attacks: 34.
func TestSlowBodiesAreGivenUp(t *testing.T) {
	limits := bodyLimits{whole: 500 * time.Millisecond, stall: 2 * time.Second}
	tests := []struct {
		path   string
		drips  bool // a byte now and then, more often than the stall
		bounds bool
	}{
		{"/sign-in", false, true},
		{"/sign-in", true, true},
		{"/api/v1/executions/x/stop", true, true},
		{"/git/octo/web.git/git-receive-pack", false, true},
		{"/git/octo/web.git/git-receive-pack", true, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.path, " drips ", tt.drips), func(t *testing.T) {
			t.Parallel()
			read := make(chan error, 1)
			s := httptest.NewServer(limits.wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				read <- err
			})))
			defer s.Close()
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			const drops = 25
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", tt.path, drops)
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for n := 0; ; {
				select {
				case err := <-read:
					if late := errors.Is(err, os.ErrDeadlineExceeded); late != tt.bounds {
						t.Errorf("the handler got %v", err)
					}
					return
				case <-tick.C:
					if n++; n > 300 {
						t.Fatal("the body was waited for without end")
					}
					if tt.drips && n <= drops {
						_, _ = conn.Write([]byte("x")) // refused once it was given up
					}
				}
			}
		})
	}
}

// The limit is for bodies only: a long answer goes on.
func TestLongAnswersGoOn(t *testing.T) {
	limits := bodyLimits{whole: 50 * time.Millisecond, stall: 50 * time.Millisecond}
	s := httptest.NewServer(limits.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "hello" {
			t.Errorf("got %q, %v", body, err)
		}
		for range 5 {
			select {
			case <-r.Context().Done():
				t.Error("the request was ended")
				return
			case <-time.After(50 * time.Millisecond):
			}
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
	})))
	defer s.Close()
	r, err := http.Post(s.URL+"/api/v1/x", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, []byte("xxxxx")) {
		t.Errorf("got %q, %v", got, err)
	}
}
