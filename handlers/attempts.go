package handlers

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	attemptsAtOnce = 30               // wrong credentials that an address may send in a row
	attemptEvery   = 10 * time.Second // after which it may send another one
	attemptsKept   = 10_000           // addresses, and good tokens, that are remembered
)

// attempts holds up addresses that send wrong credentials again and again.
// Behind a proxy everyone may have one address, so tokens that were good here
// before, sessions, links and the jobs' own credentials are never held up.
type attempts struct {
	now     func() time.Time
	proxies []netip.Prefix

	mu   sync.Mutex
	free map[netip.Prefix]time.Time // when an address has its whole allowance again
	good map[[sha256.Size]byte]bool // sums of tokens that were good
}

func newAttempts(proxies []netip.Prefix, now func() time.Time) *attempts {
	return &attempts{now: now, proxies: proxies, free: map[netip.Prefix]time.Time{}, good: map[[sha256.Size]byte]bool{}}
}

// senderOf is who a request came from: its address, and of IPv6 the network of
// 64 bits, which is one customer's. Who has no address is one with all such.
func (a *attempts) senderOf(r *http.Request) netip.Prefix {
	addr := addressOf(r, a.proxies)
	network, _ := addr.Prefix(min(addr.BitLen(), 64)) // has that many
	return network
}

// refusal is the error for an address that has no attempt left; else nil.
func (a *attempts) refusal(from netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	end, known := a.free[from]
	wait := end.Sub(a.now()) - (attemptsAtOnce-1)*attemptEvery
	if !known || wait <= 0 {
		return nil
	}
	p := refuse(http.StatusTooManyRequests, "too-many-attempts", "too many wrong tokens came from your address: wait, then try again")
	p.retryAfter = max(wait, time.Second)
	return p
}

// failed counts a wrong credential. The error is not nil if it was one too many.
func (a *attempts) failed(from netip.Prefix) error {
	if err := a.refusal(from); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if _, known := a.free[from]; !known && len(a.free) >= attemptsKept {
		makeRoom(a.free, func(end time.Time) bool { return end.Before(now) })
	}
	start := a.free[from]
	if start.Before(now) {
		start = now
	}
	a.free[from] = start.Add(attemptEvery)
	return nil
}

// makeRoom drops what is over, and where nothing is, any one.
func makeRoom[K comparable, V any](all map[K]V, over func(V) bool) {
	full := len(all)
	for k, v := range all {
		if over(v) {
			delete(all, k)
		}
	}
	for k := range all {
		if len(all) < full {
			return
		}
		delete(all, k)
	}
}

// token asks find whose token this is, unless the sender has no attempt left.
// find answers nil or errUnauthorized where it is nobody's.
func (a *attempts) token(r *http.Request, token string, find func() (*principal, error)) (*principal, error) {
	from, sum := a.senderOf(r), sha256.Sum256([]byte(token))
	a.mu.Lock()
	known := a.good[sum]
	a.mu.Unlock()
	if !known {
		if err := a.refusal(from); err != nil {
			return nil, err
		}
	}
	p, err := find()
	switch {
	case errors.Is(err, errUnauthorized), err == nil && p == nil:
		if tooMany := a.failed(from); tooMany != nil {
			return nil, tooMany
		}
		a.mu.Lock()
		delete(a.good, sum)
		a.mu.Unlock()
	case err == nil:
		a.mu.Lock()
		if !known && len(a.good) >= attemptsKept {
			makeRoom(a.good, func(bool) bool { return false })
		}
		a.good[sum] = true
		a.mu.Unlock()
	}
	return p, err
}

// signInWrong notes a sign-in that failed, and answers if it was one too many
// from its address.
func (s *Server) signInWrong(c *gin.Context, how string) (answered bool) {
	s.signInFailed(c, how)
	if err := s.guard.attempts.failed(s.guard.attempts.senderOf(c.Request)); err != nil {
		s.failPage(c, err)
		return true
	}
	return false
}
