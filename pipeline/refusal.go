package pipeline

import (
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Refusal is why a person's request changes nothing. Code is CodePipeline's
// name for the error, such as StageNotRetryable.
type Refusal struct {
	Code string
	Msg  string
}

func (r *Refusal) Error() string { return r.Msg }

// The codes of refusals, as CodePipeline spells them.
const (
	StageNotRetryable             = "StageNotRetryable"
	NotLatestPipelineExecution    = "NotLatestPipelineExecution"
	DuplicatedStopRequest         = "DuplicatedStopRequest"
	PipelineExecutionNotStoppable = "PipelineExecutionNotStoppable"
	ApprovalAlreadyCompleted      = "ApprovalAlreadyCompleted"
	InvalidApprovalToken          = "InvalidApprovalToken"
	UnableToRollbackStage         = "UnableToRollbackStage"
	PipelineExecutionOutdated     = "PipelineExecutionOutdated"
	StageNotFound                 = "StageNotFound"
	ActionNotFound                = "ActionNotFound"
	ValidationException           = "ValidationException"
	PermissionError               = "PermissionError"
	ConditionNotOverridable       = "ConditionNotOverridable"
	TooManyExecutions             = "ConcurrentPipelineExecutionsLimitExceeded"
)

func refuse(code, format string, args ...any) error {
	return &Refusal{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Limits of what people write (CodePipeline reference 2.2), in characters.
const (
	stopReasonLimit       = 200
	transitionReasonLimit = 300
	approvalSummaryLimit  = 512
)

// Check says why Advance would not do what a person's event asks for: a
// *Refusal, or nil. Events that no person sends are never refused. The
// execution that e speaks of is on b, or is e.Revive.
func Check(b *Board, e Event) error {
	switch e.Type {
	case StopRequested:
		return checkStop(b, e)
	case RetryRequested:
		return checkRetry(b, e)
	case ApprovalGiven:
		return checkApproval(b, e)
	case TransitionFlips:
		return checkTransition(b, e)
	case RollbackWanted:
		return checkRollback(b, e)
	case OverrideWanted:
		return checkOverride(b, e)
	case CheckOverridden:
		return checkCheckOverride(b, e)
	default:
		return nil
	}
}

// spokenOf is the execution that e is about; nil if it isn't known.
func spokenOf(b *Board, e Event) *Execution {
	if x := b.Live[e.Execution]; x != nil {
		return x
	}
	if e.Revive != nil && e.Revive.ID == e.Execution && e.Revive.Status.Ended() {
		return e.Revive
	}
	return nil
}

func checkStop(b *Board, e Event) error {
	x := spokenOf(b, e)
	switch {
	case x == nil || x.Status.Ended():
		return refuse(PipelineExecutionNotStoppable, "the execution has ended")
	case e.Stop.strength() < 0:
		return refuse(ValidationException, "mode: want wait, abandon or nothing, have %q", e.Stop)
	case x.Status == Stopping && e.Stop.strength() <= x.Stop.strength():
		return refuse(DuplicatedStopRequest, "the execution is being stopped already")
	}
	return checkText("reason", e.Reason, 0, stopReasonLimit)
}

func checkText(what, text string, least, most int) error {
	switch n := utf8.RuneCountInString(text); {
	case n < least:
		return refuse(ValidationException, "%s: something must be given", what)
	case n > most:
		return refuse(ValidationException, "%s: want at most %d characters, have %d", what, most, n)
	case !utf8.ValidString(text) || slices.ContainsFunc([]rune(text), func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return refuse(ValidationException, "%s: control characters are not taken", what)
	}
	return nil
}

func checkRetry(b *Board, e Event) error {
	x := spokenOf(b, e)
	if x == nil || x.Gate != "" {
		return refuse(StageNotRetryable, "there is nothing to retry")
	}
	i := x.stageIndex(e.Stage)
	if i < 0 {
		return refuse(StageNotFound, "the execution has no stage %q", e.Stage)
	}
	sx := &x.Stages[i]
	switch {
	case e.Retry != "" && e.Retry != FailedActions && e.Retry != AllActions:
		return refuse(ValidationException, "mode: want %s or %s, have %q", FailedActions, AllActions, e.Retry)
	case x.Status == InProgress && sx.Status == InProgress && sx.failed() != nil && e.Retry != AllActions:
		return nil // its siblings run on
	case !x.Status.Ended():
		return refuse(StageNotRetryable, "the execution is still running: %s", x.Status)
	case x.Status != Failed && x.Status != Stopped:
		return refuse(StageNotRetryable, "the execution ended as %s", x.Status)
	case sx.Status != Stopped && sx.Status != Failed:
		return refuse(StageNotRetryable, "no action of stage %s failed", e.Stage)
	}
	if b.underWay(x.Pipeline) >= x.Pipeline.maxExecutions() {
		return tooMany(x.Pipeline)
	}
	if st := b.Stages[e.Stage]; st != nil && x.Pipeline.Mode != ParallelMode && (st.Holder != "" || st.Latest > x.Number) {
		return refuse(NotLatestPipelineExecution, "a newer execution has entered stage %s", e.Stage)
	}
	return nil
}

func checkApproval(b *Board, e Event) error {
	if err := checkText("message", e.Reason, 0, approvalSummaryLimit); err != nil {
		return err
	}
	x := spokenOf(b, e)
	if x == nil {
		return refuse(InvalidApprovalToken, "the execution waits for no approval")
	}
	st := x.Stage(e.Stage)
	if st == nil || st.Action(e.Action) == nil {
		return refuse(ActionNotFound, "the execution has no action %q in stage %q", e.Action, e.Stage)
	}
	a := st.Action(e.Action)
	switch {
	case a.Approval == nil || e.Token != a.Approval.Token:
		return refuse(InvalidApprovalToken, "the token is not that of a waiting approval")
	case a.Approval.AnsweredBy != "":
		return refuse(ApprovalAlreadyCompleted, "%s has answered already", a.Approval.AnsweredBy)
	case a.Status != InProgress || x.Status != InProgress || !e.At.Before(a.Approval.Expires):
		return refuse(InvalidApprovalToken, "the approval is over")
	case e.Denied != "":
		return refuse(PermissionError, "%s", e.Denied)
	case e.Enable:
		if why := x.Barred(a.Approval, e.Voter); why != "" {
			return refuse(PermissionError, "%s", why)
		}
		_, err := a.Approval.Fill(e.Fields)
		return err
	}
	return nil
}

func checkTransition(b *Board, e Event) error {
	if len(b.Order) > 0 && !slices.Contains(b.Order, e.Stage) && b.Stages[e.Stage] == nil {
		return refuse(StageNotFound, "the pipeline has no stage %q", e.Stage)
	}
	if e.Enable {
		return nil
	}
	return checkText("reason", e.Reason, 1, transitionReasonLimit)
}

// checkRollback follows CodePipeline reference 3.7.
func checkRollback(b *Board, e Event) error {
	t := e.Found
	if t == nil || t.Board != b.Key {
		return refuse(UnableToRollbackStage, "the pipeline has no execution %q", e.Target)
	}
	i := t.stageIndex(e.Stage)
	st := b.Stages[e.Stage]
	switch {
	case i < 0 || st == nil:
		return refuse(StageNotFound, "the execution has no stage %q", e.Stage)
	case i == 0:
		return refuse(UnableToRollbackStage, "the source stage can't be rolled back")
	case t.Pipeline.Mode == ParallelMode || b.Mode == ParallelMode:
		return refuse(UnableToRollbackStage, "a pipeline in mode %s can't be rolled back", ParallelMode)
	case t.Target != "":
		return refuse(UnableToRollbackStage, "execution %d is a rollback itself", t.Number)
	case t.Stages[i].Status != Succeeded:
		return refuse(UnableToRollbackStage, "execution %d did not succeed in stage %s", t.Number, e.Stage)
	case st.Holder != "":
		return refuse(UnableToRollbackStage, "stage %s is running", e.Stage)
	case st.Definition != t.Pipeline.Stages[i].digest():
		return refuse(PipelineExecutionOutdated, "stage %s is defined otherwise since execution %d", e.Stage, t.Number)
	}
	return nil
}
