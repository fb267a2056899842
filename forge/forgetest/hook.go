package forgetest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// HookAttempt is one attempt to deliver a webhook of the App.
type HookAttempt struct {
	ID          int64
	GUID        string
	Event       string
	DeliveredAt time.Time
	Redelivery  bool
	StatusCode  int // 0: nobody answered
}

// hooked is what the fake delivers by itself.
type hooked struct {
	receiver string
	sent     map[string]Delivery // by GUID
	attempts []HookAttempt       // the oldest first
	asked    sync.WaitGroup      // attempts under way that the App asked for
}

// Hook has the App's webhooks delivered to a receiver: those that Send sends,
// and those that the App asks for again.
func (g *GitHub) Hook(receiver string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hooked.receiver = receiver
}

// Send delivers a webhook once, as GitHub does, and keeps what came of it.
// It was sent that long ago.
func (g *GitHub) Send(ctx context.Context, d Delivery, ago time.Duration) HookAttempt {
	if d.ID == "" {
		d.ID = newID()
	}
	g.mu.Lock()
	if g.hooked.sent == nil {
		g.hooked.sent = map[string]Delivery{}
	}
	g.hooked.sent[d.ID] = d
	g.mu.Unlock()
	return g.attempt(ctx, d, false, ago)
}

// HookAttempts are all attempts, the oldest first.
func (g *GitHub) HookAttempts() []HookAttempt {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.hooked.attempts)
}

func (g *GitHub) attempt(ctx context.Context, d Delivery, again bool, ago time.Duration) HookAttempt {
	g.mu.Lock()
	receiver := g.hooked.receiver
	g.mu.Unlock()
	answer, err := Deliver(ctx, receiver, d)
	g.mu.Lock()
	defer g.mu.Unlock()
	a := HookAttempt{ID: g.id(), GUID: d.ID, Event: d.Event, DeliveredAt: g.o.Now().Add(-ago), Redelivery: again}
	if err == nil {
		a.StatusCode = answer.Status
	}
	g.hooked.attempts = append(g.hooked.attempts, a)
	return a
}

// listAttempts pages by a cursor, the newest first.
func (g *GitHub) listAttempts(r *http.Request, _ []byte) (int, any) {
	q := r.URL.Query()
	size, err := strconv.Atoi(q.Get("per_page"))
	if err != nil || size < 1 || size > 100 {
		size = 30
	}
	cursor, _ := strconv.ParseInt(q.Get("cursor"), 10, 64)
	list := linked{items: []any{}}
	for _, a := range slices.Backward(g.hooked.attempts) {
		if cursor > 0 && a.ID >= cursor {
			continue
		}
		if len(list.items) == size {
			q.Set("cursor", strconv.FormatInt(cursor, 10))
			list.next = g.URL + "app/hook/deliveries?" + q.Encode()
			break
		}
		list.items, cursor = append(list.items, attemptOf(a)), a.ID
	}
	return http.StatusOK, list
}

// linked is a page of a list; next is the address of the one that follows.
type linked struct {
	items []any
	next  string
}

func attemptOf(a HookAttempt) map[string]any {
	status := "OK"
	switch {
	case a.StatusCode == 0:
		status = "failed to connect to host"
	case a.StatusCode >= 300:
		status = fmt.Sprintf("Invalid HTTP Response: %d", a.StatusCode)
	}
	return map[string]any{
		"id": a.ID, "guid": a.GUID, "delivered_at": a.DeliveredAt.UTC().Format(time.RFC3339), "redelivery": a.Redelivery, "duration": 0.1,
		"status": status, "status_code": a.StatusCode, "event": a.Event, "action": nil, "installation_id": nil, "repository_id": nil,
	}
}

// redeliver takes the wish and fulfils it a little later, as GitHub does.
func (g *GitHub) redeliver(r *http.Request, _ []byte) (int, any) {
	id, _ := strconv.ParseInt(r.PathValue("delivery"), 10, 64)
	i := slices.IndexFunc(g.hooked.attempts, func(a HookAttempt) bool { return a.ID == id })
	if i < 0 {
		return fail(http.StatusNotFound, "Not Found")
	}
	d := g.hooked.sent[g.hooked.attempts[i].GUID]
	g.hooked.asked.Go(func() { g.attempt(context.Background(), d, true, 0) })
	return http.StatusAccepted, map[string]any{}
}

// HookRedelivered waits for the attempts that the App asked for.
func (g *GitHub) HookRedelivered() { g.hooked.asked.Wait() }
