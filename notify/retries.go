package notify

import (
	"errors"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// retries is what is kept of a write that fails.
type retries struct {
	Tries int       `json:"tries,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"` // no try before
}

// failed notes a failed write. It says whether the write is to be given up:
// refused, or tried for keep. What the forge asks for is kept by the gate, too.
func (r *retries) failed(err error, now time.Time, keep time.Duration, g *gate) (giveUp bool) {
	for _, refused := range []error{forge.ErrForbidden, forge.ErrNotFound, forge.ErrRejected, forge.ErrNoCredentials} {
		if errors.Is(err, refused) {
			return true
		}
	}
	if r.Since.IsZero() {
		r.Since = now
	}
	r.Tries++
	wait := backoff(r.Tries)
	if retry, ok := errors.AsType[*forge.RetryError](err); ok && retry.After > 0 {
		wait = min(retry.After, longestWait)
		g.closeUntil(now.Add(wait))
	}
	r.Until = now.Add(wait)
	return now.Sub(r.Since) >= keep
}
