package access

import (
	"sync"
	"time"
)

// strangersNoted is how many entries a minute people may cause who have no
// right to change anything, so that they can't fill the log.
const strangersNoted = 30

// Strangers bounds what people without rights cause to be noted. Its zero value
// is ready; it is safe for concurrent use.
type Strangers struct {
	mu    sync.Mutex
	since time.Time
	noted int
}

// Note reports whether one more entry is noted at this time.
func (s *Strangers) Note(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.since) >= time.Minute {
		s.since, s.noted = now, 0
	}
	s.noted++
	return s.noted <= strangersNoted
}
