package notify

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// stateKind names the report state of checks and statuses in the store.
const stateKind = "check"

// state is what was reported of one execution. It is stored before and after
// every write, and before the item leaves the outbox, so that whoever goes on
// after a crash repeats at most one write, and knows it.
type state struct {
	V       int   `json:"v"`
	Attempt int   `json:"attempt"` // of the check run, from 1
	CheckID int64 `json:"check_id,omitempty"`
	// Statuses: this execution is reported by commit statuses until its end.
	Statuses bool `json:"statuses,omitempty"`
	// Revision, Status, Digest and SentAt describe the last report that arrived.
	Revision int64     `json:"revision"`
	Status   string    `json:"status,omitempty"`
	Digest   string    `json:"digest,omitempty"`
	SentAt   time.Time `json:"sent_at,omitzero"`
	// Ended: the final state of the execution that ended, or was overridden, at
	// EndedAt arrived, or was given up.
	Ended   bool      `json:"ended,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`
	// Sent and Unsure are those of forge.CheckRun. Unsure is stored before every
	// write, so that a crash in the middle of one leaves it behind.
	Sent   int  `json:"sent,omitempty"`
	Unsure bool `json:"unsure,omitempty"`
	// Minimal: the forge refused the full version.
	Minimal bool    `json:"minimal,omitempty"`
	Trouble trouble `json:"trouble,omitzero"`
	// Note says what was given up and why, for operators.
	Note string `json:"note,omitempty"`
}

// trouble is the run of failures since the last report that arrived.
type trouble struct {
	Final   bool      `json:"final,omitempty"` // it was a final state that failed
	Tries   int       `json:"tries,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"` // not to be tried before
	Missing bool      `json:"missing,omitempty"`
}

func (r *Reporter) loadState(ctx context.Context, execution string) (state, error) {
	return load(ctx, r.records, execution, r.opts.Kind, state{V: 1, Attempt: 1})
}

func (r *Reporter) saveState(ctx context.Context, execution string, st state) error {
	return save(ctx, r.records, execution, r.opts.Kind, st)
}

// forAttempt is the state to go on with: an execution that ended, was reported
// so, and lives again or is overridden gets a check run of its own, since a
// completed one is never reopened (forges reference 3.1).
func (st state) forAttempt(x pipeline.Execution) state {
	if !st.Ended || x.Status.Ended() && st.EndedAt.Equal(settledAt(x)) {
		return st
	}
	return state{V: 1, Attempt: st.Attempt + 1, Statuses: st.Statuses, Revision: st.Revision}
}

// settledAt is since when the check of an execution says what it says.
func settledAt(x pipeline.Execution) time.Time {
	if x.Override != nil {
		return x.Override.At
	}
	return x.EndedAt
}
