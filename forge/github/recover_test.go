package github

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/forge/forgetest"
)

// receiver counts what arrives by delivery, and is away while down.
type receiver struct {
	*httptest.Server
	down atomic.Bool
	got  atomic.Int64
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if r.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.got.Add(1)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(r.Close)
	return r
}

func send10(t *testing.T, w world, ago time.Duration) {
	for i := range 10 {
		w.Send(t.Context(), forgetest.Delivery{Event: "push", ID: fmt.Sprintf("%d-%s", i, ago), Secret: "s", Payload: map[string]any{}}, ago)
	}
}

// C39: each delivery that nobody answered is asked for once; one that arrived
// in the end is left alone.
func TestC39MissedDeliveriesAreAskedForOnce(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Hook(r.URL)
	r.down.Store(true)
	send10(t, w, 2*time.Hour)
	r.down.Store(false)
	send10(t, w, time.Hour) // these arrive
	got, err := w.client.Recover(t.Context(), time.Now().Add(-3*time.Hour))
	if diff := cmp.Diff(Recovery{Seen: 20, Asked: 10}, got); diff != "" || err != nil {
		t.Fatalf("(-want +got)\n%s\n%v", diff, err)
	}
	w.HookRedelivered()
	got, err = w.client.Recover(t.Context(), time.Now().Add(-3*time.Hour))
	if diff := cmp.Diff(Recovery{Seen: 20}, got); diff != "" || err != nil || r.got.Load() != 20 {
		t.Errorf("%d arrived, again (-want +got)\n%s\n%v", r.got.Load(), diff, err)
	}
}

// Three more attempts are asked for, at growing distances, and then no more.
func TestRecoverGivesUp(t *testing.T) {
	r := newReceiver(t)
	r.down.Store(true)
	now := time.Now()
	clock := func() time.Time { return now }
	w := newWorld(t, forgetest.Options{Now: clock}, Options{Now: clock})
	w.Hook(r.URL)
	start := now
	w.Send(t.Context(), forgetest.Delivery{Event: "push", Secret: "s", Payload: map[string]any{}}, 0)
	var asked []string
	for range 60 {
		now = now.Add(time.Minute)
		got, err := w.client.Recover(t.Context(), start.Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		w.HookRedelivered()
		if got.Asked > 0 || got.Given > 0 && len(asked) < 4 {
			asked = append(asked, fmt.Sprint(now.Sub(start), got.Asked, got.Given))
		}
	}
	want := []string{"1m0s 1 0", "6m0s 1 0", "36m0s 1 0", "37m0s 0 1"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A list of several pages is read to the time that is asked for, and no further.
func TestRecoverReadsPages(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, forgetest.Options{}, Options{})
	w.Hook(r.URL)
	send10(t, w, 5*time.Hour)
	for i := range 25 {
		send10(t, w, time.Hour+time.Duration(i))
	}
	got, err := w.client.Recover(t.Context(), time.Now().Add(-4*time.Hour))
	if diff := cmp.Diff(Recovery{Seen: 250}, got); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s\n%v", diff, err)
	}
}

func TestRecoverNeedsAnApp(t *testing.T) {
	c, err := New(Options{Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Recover(t.Context(), time.Now()); !errors.Is(err, forge.ErrNoCredentials) {
		t.Errorf("got %v", err)
	}
}
