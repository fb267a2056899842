// Package notify tells forges how executions stand: it renders an execution as
// a check run or a commit status, and carries it there through an outbox that
// survives outages, rate limits and restarts (forges reference, section 3).
package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Outbox is the list of executions that forges are to hear of. A commit marks
// an execution; whoever claims it reports its newest state. Safe for
// concurrent use, also by several processes.
type Outbox interface {
	// ClaimReport hands out an item that is due and hides it for the lease, also
	// if it is marked again meanwhile.
	// pipeline.ErrNotFound: none is due.
	ClaimReport(ctx context.Context, lease time.Duration) (pipeline.ReportItem, error)
	// FinishReport takes the item off the list, unless it was marked again since
	// the claim: then it is due at once. A claim that has run out changes nothing.
	FinishReport(ctx context.Context, item pipeline.ReportItem) error
	// DeferReport gives the item back, due at until, or at once if it was marked
	// again since the claim. A claim that has run out changes nothing.
	DeferReport(ctx context.Context, item pipeline.ReportItem, until time.Time) error
	// Wait returns when an item may be due, fallback is over, or ctx is.
	Wait(ctx context.Context, fallback time.Duration) error
}

// load reads what was kept of an execution, or a pull request, under a kind;
// into fresh, which it is if nothing was kept.
func load[T any](ctx context.Context, records stateKeeper, key, kind string, fresh T) (T, error) {
	data, err := records.ReportState(ctx, key, kind)
	if errors.Is(err, pipeline.ErrNotFound) {
		return fresh, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &fresh)
	}
	if err != nil {
		return fresh, fmt.Errorf("loading the state of %s: %w", kind, err)
	}
	return fresh, nil
}

// save keeps what load reads.
func save(ctx context.Context, records stateKeeper, key, kind string, state any) error {
	data, err := json.Marshal(state)
	if err == nil {
		err = records.SaveReportState(ctx, key, kind, data)
	}
	if err != nil {
		return fmt.Errorf("saving the state of %s: %w", kind, err)
	}
	return nil
}

// stateKeeper keeps what was told, between one telling and the next.
type stateKeeper interface {
	// ReportState is what SaveReportState stored for the execution and kind;
	// pipeline.ErrNotFound: nothing. It is a few hundred bytes of JSON, kept as
	// long as the execution.
	ReportState(ctx context.Context, execution, kind string) ([]byte, error)
	SaveReportState(ctx context.Context, execution, kind string, state []byte) error
}

// Records are the executions themselves, and what was reported of them.
type Records interface {
	// Execution and Builds are the newest state. Execution answers
	// pipeline.ErrNotFound for one that retention has taken.
	Execution(ctx context.Context, id string) (pipeline.Execution, error)
	Builds(ctx context.Context, execution string) ([]pipeline.Build, error)
	stateKeeper
}

// CheckWriter is a forge that has check runs. Its errors are those of package
// forge; any other error counts as a passing trouble.
type CheckWriter interface {
	// PutCheckRun creates the check run if its ID is 0, else it updates it. It
	// sets ID, Sent and Unsure, also when it fails; passed on to the next call
	// they keep the check run and its annotations from appearing twice.
	PutCheckRun(ctx context.Context, repo forge.Repo, installation int64, c *forge.CheckRun) error
}

// StatusWriter is a forge that has commit statuses.
type StatusWriter interface {
	SetStatus(ctx context.Context, repo forge.Repo, installation int64, s forge.CommitStatus) error
}

// ReportWriter is a forge that shows reports with annotations beside commit
// statuses.
type ReportWriter interface {
	// PutReport shows how a completed check ended, in place of an earlier report
	// of that name on the commit.
	PutReport(ctx context.Context, repo forge.Repo, installation int64, check forge.CheckRun) error
}

// Forge is where one forge entry's reports go.
type Forge struct {
	// Checks is nil for a forge without check runs: then commit statuses are
	// all there is. With both, statuses serve where the permission for checks is
	// missing.
	Checks   CheckWriter
	Statuses StatusWriter
	// Reports, if not nil, gets what a commit status has no room for, once an
	// execution has ended.
	Reports ReportWriter
	// Spacing is the least time between two writes for one installation; 0
	// means none. See Spacing.
	Spacing time.Duration
	// Pace, if not nil, is shared with others that write to the forge, and has
	// the same spacing.
	Pace *Pace
}

// Spacing is how far apart writes to the API at that address must be: a second
// at GitHub's own (forges reference 3.10), next to nothing at other places,
// whose owners set their own limits.
func Spacing(apiURL string) time.Duration {
	u, err := url.Parse(apiURL)
	if err != nil {
		return time.Second
	}
	host := strings.ToLower(u.Hostname())
	for _, theirs := range []string{"github.com", "ghe.com", "bitbucket.org"} {
		if host == theirs || strings.HasSuffix(host, "."+theirs) {
			return time.Second
		}
	}
	return 20 * time.Millisecond
}

// Options are the Reporter's settings. Zero values mean the defaults.
type Options struct {
	// Forges by the forge entry's name. What is reported to any other forge is
	// taken off the outbox and goes nowhere.
	Forges  map[string]Forge
	BaseURL string // where people reach Slipway; empty: no links
	Log     *slog.Logger
	// Lease is how long a claim holds: 2 minutes; at least twice SendTimeout.
	Lease time.Duration
	// Progress is the least time between two reports of an execution whose
	// state is still the same word: 15 s, and more with many executions.
	Progress time.Duration
	// SendTimeout bounds one write: 30 s.
	SendTimeout time.Duration
	// KeepTrying is how long the report of a final state is retried: 24 h.
	KeepTrying time.Duration
	// Kind names what was reported in the store: "check". A second Reporter of
	// the same executions has another one.
	Kind string
	// Line, if not nil, is an execution's place in the queue from 1; 0: unknown.
	Line func(ctx context.Context, x pipeline.Execution) int
	Now  func() time.Time
}

func (o Options) withDefaults() Options {
	o.Lease = cmp.Or(o.Lease, 2*time.Minute)
	o.Progress = cmp.Or(o.Progress, 15*time.Second)
	o.SendTimeout = cmp.Or(o.SendTimeout, 30*time.Second)
	o.KeepTrying = cmp.Or(o.KeepTrying, 24*time.Hour)
	o.Kind = cmp.Or(o.Kind, stateKind)
	o.Lease = max(o.Lease, 2*o.SendTimeout)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
