package handlers_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// BenchmarkReceive is the receiver's own share of a webhook's answer: a push
// of 10 KB without network and Redis.
func BenchmarkReceive(b *testing.B) {
	s := handlerstest.New(b)
	body := []byte(`{"ref":"refs/heads/main","repository":{"full_name":"harbour/crane"},"x":"` + strings.Repeat("y", 10_000) + `"}`)
	signature := handlerstest.Sign(handlerstest.Secret, body)
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest(http.MethodPost, "/webhooks/github", io.NopCloser(bytes.NewReader(body)))
			r.ContentLength = int64(len(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-GitHub-Event", "push")
			r.Header.Set("X-GitHub-Delivery", strconv.FormatInt(n.Add(1), 10))
			r.Header.Set("X-Hub-Signature-256", signature)
			w := httptest.NewRecorder()
			s.Handlers.ServeHTTP(w, r)
			if w.Code != http.StatusAccepted {
				b.Errorf("got %d %s", w.Code, w.Body)
				return
			}
		}
	})
}

// BenchmarkLongLogPage is the page of a build with a log of 100 MB, opened in
// its middle: the work must not grow with the log (performance P12).
func BenchmarkLongLogPage(b *testing.B) {
	s := handlerstest.New(b, openReading)
	s.AddSamples(time.Now())
	s.WriteLog(handlerstest.FailedBuild, strings.Repeat(strings.Repeat("x", 99)+"\n", 1_000_000), true)
	r := httptest.NewRequest(http.MethodGet, "http://localhost/builds/"+handlerstest.FailedBuild+"?line=500000", nil)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		w := httptest.NewRecorder()
		s.Handlers.ServeHTTP(w, r)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `id="L500000"`) {
			b.Fatalf("got %d", w.Code)
		}
	}
}
