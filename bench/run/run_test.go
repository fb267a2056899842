package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/testenv"
)

func TestPushBodyIsTenKilobytes(t *testing.T) {
	if n := len(pushBody()); n != 10<<10 {
		t.Errorf("got %d bytes, want %d", n, 10<<10)
	}
}

func TestLoadCountsWhatIsNotAnAcknowledgement(t *testing.T) {
	var n, long atomic.Int64
	seen := make(chan string, 1<<16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen <- r.Header.Get("X-GitHub-Delivery")
		if r.ContentLength == 10<<10 {
			long.Add(1)
		}
		if n.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	var got tally
	if err := (load{body: pushBody(), clients: 2}).round(t.Context(), server.URL, 50*time.Millisecond, &got); err != nil {
		t.Fatal(err)
	}
	total := int(n.Load())
	if len(got.took) != total || got.bad != total/2 || int(long.Load()) != total {
		t.Errorf("%d answers and %d bad ones of %d", len(got.took), got.bad, total)
	}
	close(seen)
	ids := map[string]bool{}
	for id := range seen {
		ids[id] = true
	}
	if len(ids) != total {
		t.Errorf("%d delivery IDs for %d posts", len(ids), total)
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	u, err := usageOf(os.Getpid())
	if err != nil || u.residentBytes < 1<<20 || u.busy < 0 {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestQuantile(t *testing.T) {
	list := []time.Duration{5, 1, 4, 2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(list, q); got != want {
			t.Errorf("quantile %g: got %d, want %d", q, got, want)
		}
	}
}

func TestTableSaysWhatWasMissed(t *testing.T) {
	var b bytes.Buffer
	printTable(&b, []result{
		against("P1", "rate", "1/s", 90, 100, 0.85, false),
		against("P1", "p99", "ms", 30, 20, 1.25, true),
		atMost("P10", "binary", "MB", 34, 35),
	})
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"ratio", "0.90  at least 0.85 times met", "1.50  at most 1.25 times MISSED", "at most 35         met"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: got %q, want %q in it", i, lines[i], want)
		}
	}
}

func TestBareContainer(t *testing.T) {
	testenv.Need(t, "docker", "busybox")
	e := newEngine()
	if err := e.importImage(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.removeImage(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	took, err := e.runBare(t.Context(), "echo "+marker)
	if err != nil || took.first <= 0 || took.whole < took.first {
		t.Errorf("got %+v, %v", took, err)
	}
	if _, err := e.runBare(t.Context(), "echo no; exit 3"); err == nil || !strings.Contains(err.Error(), "ended with 3") {
		t.Errorf("got %v, want the exit status", err)
	}
}
