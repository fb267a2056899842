package pipeline

import (
	"fmt"
	"slices"
)

// transition disables or enables the way into a stage (CodePipeline reference
// 3.5). It never touches those who are inside.
func (s *step) transition() {
	if Check(s.b, s.e) != nil {
		return
	}
	st := s.stage(s.e.Stage)
	if s.e.Enable {
		if st.Disabled == "" {
			return
		}
		s.expire()
		st.Disabled, st.ChangedAt, st.ChangedBy = "", s.e.At, s.e.By
		s.admit(s.e.Stage)
		return
	}
	again := st.Disabled != ""
	st.Disabled, st.ChangedBy = s.e.Reason, s.e.By
	if again {
		return // the time limit goes on
	}
	st.ChangedAt = s.e.At
	s.expireLater(st)
}

// expireLater sets the time at which those who wait in front of the disabled
// transition end.
func (s *step) expireLater(st *StageState) {
	limit := s.rules.transitionLimit()
	if limit < 0 {
		return
	}
	st.Expires = s.e.At.Add(limit)
	s.do(Effect{Type: SetTimer, Timer: &Event{
		V: 1, ID: fmt.Sprintf("timer:%s:%s:%s:%d", timerOpening, s.b.Key, s.e.Stage, st.Expires.UnixMilli()),
		Type: DeadlinePassed, Board: s.b.Key, At: st.Expires, Stage: s.e.Stage, Reason: timerOpening,
	}})
}

// expire ends those who waited for too long in front of a disabled transition.
func (s *step) expire() (expired bool) {
	st := s.stage(s.e.Stage)
	if st.Disabled == "" || st.Expires.IsZero() || s.e.At.Before(st.Expires) {
		return false
	}
	days := int(s.rules.transitionLimit().Hours() / 24)
	for _, id := range slices.Clone(st.Inbound) {
		if x := s.execution(id); x != nil {
			s.end(x, Stopped, fmt.Sprintf("transition disabled > %dd", days))
		}
	}
	return true
}

// opening is the time limit of a disabled transition. The next begins at once,
// for those who come to wait.
func (s *step) opening() {
	if s.expire() {
		s.expireLater(s.stage(s.e.Stage))
	}
}
