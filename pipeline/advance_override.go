package pipeline

// overrideLimit bounds why a check is overridden, in characters.
const overrideLimit = 300

// overrideCheck lets the check of an execution that has ended pass (forges
// reference 5.4).
func (s *step) overrideCheck() {
	if Check(s.b, s.e) != nil {
		return
	}
	x := s.execution(s.e.Execution)
	if x == nil {
		x = s.touch(s.e.Revive.clone())
	}
	x.Override = &Override{By: orText(s.e.By, "somebody"), Reason: s.e.Reason, At: s.e.At}
}

func checkCheckOverride(b *Board, e Event) error {
	x := spokenOf(b, e)
	switch {
	case x == nil || !x.Status.Ended():
		return refuse(ValidationException, "only the check of an execution that has ended can be overridden")
	case x.Gate != "":
		return refuse(ValidationException, "nothing ran that could be overridden")
	case x.Status == Succeeded || x.Status == Skipped:
		return refuse(ValidationException, "the check passes as it is")
	case x.Override != nil:
		return refuse(ValidationException, "%s has overridden the check already", x.Override.By)
	}
	return checkText("the reason", e.Reason, 1, overrideLimit)
}
