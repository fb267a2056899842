package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// CommentWriter is a forge that has comments on pull requests.
type CommentWriter interface {
	// Comment makes the pull request have one comment of ours with the marker,
	// and that body.
	Comment(ctx context.Context, repo forge.Repo, installation int64, number int, marker, body string) error
}

// Leases keep two processes from doing the same at once.
type Leases interface {
	// Lease takes a named lease for ttl; ok is false while somebody else has it.
	Lease(ctx context.Context, name string, ttl time.Duration) (release func(), ok bool, err error)
}

// CommentsOptions are the settings of Comments. Zero values mean the defaults.
type CommentsOptions struct {
	// Always has a pull request get its comment with its first execution, and
	// not only once one fails or waits for people.
	Always  bool
	Pace    *Pace
	BaseURL string
	Log     *slog.Logger
	// Interval is the least time between two versions while executions go on:
	// 10 s. SendTimeout bounds one write: 30 s. KeepTrying is 24 h.
	Interval, SendTimeout, KeepTrying time.Duration
	Now                               func() time.Time
}

// Comments keeps one comment on each pull request that sums up its executions
// (forges reference 3.6).
type Comments struct {
	o       CommentsOptions
	forge   CommentWriter
	records Records
	leases  Leases
	carrier carrier
	began   time.Time
}

// NewComments tells one forge. It does nothing yet.
func NewComments(outbox Outbox, records Records, leases Leases, to CommentWriter, o CommentsOptions) *Comments {
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = 30 * time.Second
	}
	if o.KeepTrying == 0 {
		o.KeepTrying = 24 * time.Hour
	}
	c := newCarrier(outbox, o.Log, o.Now, o.SendTimeout)
	o.Log, o.Now = c.log, c.now
	if o.Pace == nil {
		o.Pace = NewPace(0)
	}
	s := &Comments{o: o, forge: to, records: records, leases: leases}
	c.tell = s.tell
	s.carrier = c
	return s
}

// Run tells until ctx is over, whose cause it returns.
func (s *Comments) Run(ctx context.Context) error {
	s.began = s.o.Now()
	return s.carrier.run(ctx)
}

// commentKind names what is kept of a pull request's comment in the store.
const commentKind = "comment"

// sheet is what is known of a pull request's executions, and of its comment.
type sheet struct {
	V    int    `json:"v"`
	Rows []row  `json:"rows"` // of the newest commit, one for each pipeline
	Past []past `json:"past,omitempty"`
	// Digest and SentAt are those of the last version that arrived.
	Digest string    `json:"digest,omitempty"`
	SentAt time.Time `json:"sent_at,omitzero"`
	retries
}

// row is one execution.
type row struct {
	Execution string    `json:"execution"`
	Pipeline  string    `json:"pipeline"`
	SHA       string    `json:"sha"`
	Number    int       `json:"number"`
	Revision  int64     `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	Icon      string    `json:"icon"`
	Title     string    `json:"title"`
	Took      string    `json:"took,omitempty"`
	Ended     bool      `json:"ended,omitempty"`
	// Calls: it failed, or waits for people.
	Calls   bool   `json:"calls,omitempty"`
	Gate    string `json:"gate,omitempty"`   // the approval that it waits for
	Closed  bool   `json:"closed,omitempty"` // nothing ran: the commit itself waits for an approval
	Details string `json:"details,omitempty"`
	Results string `json:"results,omitempty"`
	Reports string `json:"reports,omitempty"`
}

// past is what is said of an execution of an earlier commit.
type past struct {
	Execution, Pipeline, SHA, Icon, Title string
}

// pastLimit is how many of them are said.
const pastLimit = 10

// tell brings the comment of the execution's pull request up to date.
func (s *Comments) tell(ctx context.Context, item pipeline.ReportItem) (time.Time, error) {
	x, err := s.records.Execution(ctx, item.Execution)
	if err != nil {
		return time.Time{}, fmt.Errorf("loading execution: %w", err)
	}
	if x.Trigger.Pull == nil || x.Gate != "" && x.Status == pipeline.Skipped {
		return time.Time{}, nil
	}
	builds, err := s.records.Builds(ctx, x.ID)
	if err != nil {
		return time.Time{}, fmt.Errorf("loading builds: %w", err)
	}
	key := "pull:" + x.Repo.Forge + ":" + x.Repo.ID + ":" + strconv.Itoa(x.Trigger.Pull.Number)
	release, ok, err := s.leases.Lease(ctx, "comment:"+key, s.carrier.lease)
	if err != nil {
		return time.Time{}, err
	}
	if !ok {
		return s.o.Now().Add(time.Second), nil
	}
	defer release()
	return s.update(ctx, item, key, x, builds)
}

// update adds the execution to its pull request's sheet and writes the comment
// if that is due.
func (s *Comments) update(ctx context.Context, item pipeline.ReportItem, key string, x pipeline.Execution, builds []pipeline.Build) (time.Time, error) {
	sh, err := s.load(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	r := rowOf(x, works(x, builds), s.o.BaseURL)
	sh.add(r)
	if err := s.save(ctx, key, sh); err != nil {
		return time.Time{}, err
	}
	body := renderComment(sh, s.o.BaseURL)
	dig, now := digestOf(body), s.o.Now()
	wait := sh.SentAt.Add(s.o.Interval)
	switch {
	case dig == sh.Digest, sh.Digest == "" && !s.o.Always && !sh.calls():
		return time.Time{}, nil
	case now.Before(sh.Until):
		return sh.Until, nil
	case sh.Digest != "" && !r.Ended && !r.Calls && now.Before(wait):
		return wait, nil
	}
	g := s.o.Pace.gate(item.Installation, s.began)
	if wait, ok := g.take(now); !ok {
		return now.Add(wait), nil
	}
	defer g.release()
	sending, cancel := context.WithTimeout(ctx, s.o.SendTimeout)
	defer cancel()
	err = s.forge.Comment(sending, x.Repo, item.Installation, x.Trigger.Pull.Number, "summary", body)
	now = s.o.Now()
	g.wrote(now)
	return s.settle(ctx, key, sh, x, dig, err)
}

// settle keeps what came of a write.
func (s *Comments) settle(ctx context.Context, key string, sh sheet, x pipeline.Execution, dig string, err error) (time.Time, error) {
	now, due := s.o.Now(), time.Time{}
	g := s.o.Pace.gate(x.Trigger.Installation, s.began)
	switch {
	case errors.Is(err, forge.ErrNoCredentials):
		// It can be asked nothing.
	case err == nil:
		sh.Digest, sh.SentAt, sh.retries = dig, now, retries{}
	case sh.failed(err, now, s.o.KeepTrying, g):
		// A locked pull request, or no permission: the check says it all.
		sh.retries = retries{}
		s.o.Log.WarnContext(ctx, "a pull request gets no comment", "execution", x.ID, "repo", x.Repo.FullName(), "pr", x.Trigger.Pull.Number, "error", err)
	default:
		due = sh.Until
		s.o.Log.InfoContext(ctx, "a comment will be written later", "execution", x.ID, "attempt", sh.Tries, "error", err)
	}
	return due, s.save(ctx, key, sh)
}

// add puts an execution in its place: one of the newest commit takes the row of
// its pipeline, one of an earlier commit is past.
func (sh *sheet) add(r row) {
	if i := slices.IndexFunc(sh.Past, func(p past) bool { return p.Execution == r.Execution }); i >= 0 {
		sh.Past[i].Icon, sh.Past[i].Title = r.Icon, r.Title
		return
	}
	if len(sh.Rows) > 0 && sh.Rows[0].SHA != r.SHA {
		if r.CreatedAt.Before(sh.newest()) {
			sh.bury(r)
			return
		}
		for _, o := range sh.Rows {
			sh.bury(o)
		}
		sh.Rows = nil
	}
	i := slices.IndexFunc(sh.Rows, func(o row) bool { return o.Pipeline == r.Pipeline })
	switch {
	case i < 0:
		sh.Rows = append(sh.Rows, r)
		slices.SortFunc(sh.Rows, func(a, b row) int { return compareNames(a.Pipeline, b.Pipeline) })
	case sh.Rows[i].Execution == r.Execution && sh.Rows[i].Revision > r.Revision:
		// An older state than the comment has.
	case sh.Rows[i].Execution == r.Execution, !r.CreatedAt.Before(sh.Rows[i].CreatedAt):
		sh.Rows[i] = r
	}
}

func (sh *sheet) newest() time.Time {
	var t time.Time
	for _, r := range sh.Rows {
		if r.CreatedAt.After(t) {
			t = r.CreatedAt
		}
	}
	return t
}

func (sh *sheet) bury(r row) {
	sh.Past = append([]past{{r.Execution, r.Pipeline, r.SHA, r.Icon, r.Title}}, sh.Past...)
	sh.Past = sh.Past[:min(len(sh.Past), pastLimit)]
}

// calls reports whether something failed, or waits for people.
func (sh *sheet) calls() bool {
	return slices.ContainsFunc(sh.Rows, func(r row) bool { return r.Calls })
}

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:8])
}

func (s *Comments) load(ctx context.Context, key string) (sheet, error) {
	return load(ctx, s.records, key, commentKind, sheet{V: 1})
}

func (s *Comments) save(ctx context.Context, key string, sh sheet) error {
	return save(ctx, s.records, key, commentKind, sh)
}
