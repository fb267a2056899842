package forgetest

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"strings"
)

// Fault is a way to fail. Requests that match are counted from 1.
type Fault struct {
	// On matches requests whose method and path contain it, such as
	// "POST /repos/o/r/check-runs"; empty: every request.
	On string
	// Status, Header and Body are the answer; Status 0: 500.
	Status int
	Header map[string]string
	Body   string
	// Drop does what is asked and then cuts the connection instead of answering.
	Drop bool
	// Hang does nothing and never answers.
	Hang bool
	// Times is how often to fail; 0: always.
	Times int
	// Every fails each such request only; 0: each one.
	Every int
	// Probability of failing, between 0 and 1; 0: certain.
	Probability float64
}

type fault struct {
	Fault
	seen, done int
}

// Fail adds a fault. Of several that match a request, the first one fails it.
func (h *host) Fail(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, &fault{Fault: f})
}

// Heal removes all faults.
func (h *host) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = nil
}

// fault is the one that fails this request; nil: none.
func (h *host) fault(r *http.Request) *fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.faults {
		if !strings.Contains(r.Method+" "+r.URL.Path, f.On) {
			continue
		}
		f.seen++
		switch {
		case f.Times > 0 && f.done >= f.Times,
			f.Every > 0 && f.seen%f.Every != 0,
			f.Probability > 0 && rand.Float64() >= f.Probability:
			continue
		}
		f.done++
		return f
	}
	return nil
}

// hang reports whether the request was kept until somebody gave up.
func (f *fault) hang(r *http.Request, closed <-chan struct{}) bool {
	if !f.Hang {
		return false
	}
	select {
	case <-r.Context().Done():
	case <-closed:
	}
	return true
}

func (f *fault) answer(w http.ResponseWriter) {
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(cmp.Or(f.Status, http.StatusInternalServerError))
	w.Write([]byte(cmp.Or(f.Body, `{"message":"failing on demand"}`)))
}
