package pipeline

import (
	"maps"
	"time"
)

// PushedRef is the newest push to a branch that started an execution.
type PushedRef struct {
	SHA string    `json:"sha"`
	At  time.Time `json:"at"` // when the forge saw it
	// Known is when we saw it.
	Known time.Time `json:"known"`
}

const (
	// rememberPushed is how long a delivery may be late and still be told from a
	// new one: so long are their IDs kept.
	rememberPushed = 8 * 24 * time.Hour
	// refsRemembered bounds the branches whose pushes are remembered.
	refsRemembered = 1000
)

// overtaken ends x if its push is older than one to the same branch that has
// started before: deliveries arrive in any order, and an older commit must not
// be deployed over a newer one (forges reference 2.4). Executions that run side
// by side don't mind.
func (s *step) overtaken(x *Execution) bool {
	t := x.Trigger
	if t.PushedAt.IsZero() || t.Pull != nil || t.Rerun != "" || t.Attempt > 0 || x.Pipeline.Mode == ParallelMode {
		return false
	}
	newest := s.b.Pushed[t.Ref]
	if newest.At.After(t.PushedAt) && newest.SHA != t.SHA {
		s.end(x, Superseded, "superseded by "+ShortSHA(newest.SHA)+", which was pushed later")
		return true
	}
	s.forgetPushed()
	s.b.Pushed[t.Ref] = PushedRef{SHA: t.SHA, At: t.PushedAt, Known: s.e.At}
	return false
}

// forgetPushed drops what is remembered long enough, and in need what was seen
// first.
func (s *step) forgetPushed() {
	maps.DeleteFunc(s.b.Pushed, func(_ string, p PushedRef) bool { return s.e.At.Sub(p.Known) > rememberPushed })
	for len(s.b.Pushed) >= refsRemembered {
		oldest := ""
		for ref, p := range s.b.Pushed {
			if o := s.b.Pushed[oldest]; oldest == "" || p.Known.Before(o.Known) || p.Known.Equal(o.Known) && ref < oldest {
				oldest = ref
			}
		}
		delete(s.b.Pushed, oldest)
	}
}
