package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Sender carries messages to one target: a chat channel, a webhook, a topic.
// It is safe for concurrent use.
type Sender interface {
	// Send tells one message. thread is what an earlier message of the same
	// execution returned, empty for the first. A *forge.RetryError, or any error
	// that isn't ErrRefused, means that the message may be sent again; it may
	// arrive twice then. Errors hold no secret and no URL.
	Send(ctx context.Context, m Message, thread string) (newThread string, err error)
}

// ErrRefused: the target refuses the message, and would again.
var ErrRefused = errors.New("the target refuses the message")

// DeadMessage is a message that a target did not take.
type DeadMessage struct {
	ID       string    `json:"id"` // given when it is kept
	Target   string    `json:"target"`
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	FailedAt time.Time `json:"failed_at"`
	Message  Message   `json:"message"`
}

// Cemetery keeps dead messages for people, the newest of them.
type Cemetery interface {
	Bury(ctx context.Context, d DeadMessage) error
}

// Filter selects messages. An empty list selects all, but for Events, where it
// means DefaultEvents.
type Filter struct {
	Events       []string // patterns of Events, with AWS's prefix or without
	Repositories []string // patterns of forge/owner/name
	Pipelines    []string // patterns of names
	Branches     []string // patterns; a message without a branch passes only "*" and "**"
}

// Check says what is wrong with the patterns.
func (f Filter) Check() error {
	var errs []error
	for _, e := range f.Events {
		if p := strings.TrimPrefix(e, eventPrefix); !slices.ContainsFunc(Events, func(known string) bool { return matches(p, known) }) {
			errs = append(errs, fmt.Errorf("events: %q is none; want some of %s", e, strings.Join(Events, ", ")))
		}
	}
	for key, list := range map[string][]string{"repositories": f.Repositories, "pipelines": f.Pipelines, "branches": f.Branches} {
		for _, p := range list {
			if _, err := path.Match(p, ""); err != nil || p == "" {
				errs = append(errs, fmt.Errorf("%s: %q isn't a pattern", key, p))
			}
		}
	}
	return errors.Join(errs...)
}

// matches is a pattern of path.Match, in which ** also passes slashes.
func matches(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "**"); ok {
		return strings.HasPrefix(s, prefix)
	}
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

func matchesAny(patterns []string, s string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return matches(p, s) })
}

// selects reports whether a target wants the message.
func (f Filter) selects(m Message) bool {
	events := f.Events
	if len(events) == 0 {
		events = DefaultEvents
	}
	return slices.ContainsFunc(events, func(p string) bool { return matches(strings.TrimPrefix(p, eventPrefix), m.Event) }) && f.admits(m)
}

// admits reports whether a target may hear of where the message is from.
func (f Filter) admits(m Message) bool {
	return matchesAny(f.Repositories, m.Forge+"/"+m.Repo) && matchesAny(f.Pipelines, m.Pipeline) && matchesAny(f.Branches, m.Branch)
}

// TargetOptions are the settings of a Target. Zero values mean the defaults.
type TargetOptions struct {
	Name string // of the target; part of what is stored
	// Address is what else an approval may call the target, such as
	// slack:#releases; empty: nothing.
	Address string
	Sender  Sender
	Filter  Filter
	BaseURL string // where people reach Slipway; empty: no links
	// Mask, if not nil, takes known secrets out of what is sent.
	Mask func(string) string
	Log  *slog.Logger
	// SendTimeout bounds one try: 10 s. Backoff is the time before the second
	// try: 2 s; it is five times as long before each next one.
	SendTimeout, Backoff time.Duration
	Now                  func() time.Time
}

// Target tells one target how executions change: every change that its filter
// selects, in order for each execution, at least once, or a dead message. What
// it can't reach holds up nobody else.
type Target struct {
	o       TargetOptions
	carrier carrier
	records Records
	dead    Cemetery
	gate    *gate // shut while the target asks for patience
}

// NewTarget is a Target that does nothing yet.
func NewTarget(outbox Outbox, records Records, dead Cemetery, o TargetOptions) *Target {
	c := newCarrier(outbox, o.Log, o.Now, o.SendTimeout)
	o.Log, o.Now = c.log, c.now
	if o.SendTimeout == 0 {
		o.SendTimeout = 10 * time.Second
	}
	if o.Backoff == 0 {
		o.Backoff = 2 * time.Second
	}
	t := &Target{o: o, records: records, dead: dead, gate: &gate{}}
	c.tell = t.tell
	t.carrier = c
	return t
}

// Run tells until ctx is over, whose cause it returns.
func (t *Target) Run(ctx context.Context) error { return t.carrier.run(ctx) }

// Resend sends a dead message once more, now.
func (t *Target) Resend(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, t.o.SendTimeout)
	defer cancel()
	_, err := t.o.Sender.Send(ctx, m, "")
	return err
}

// told is what a target was told of one execution. Changes are noted before
// they are sent, so that none is lost while the target can't be reached.
type told struct {
	V       int       `json:"v"`
	Known   []string  `json:"known,omitempty"` // short IDs of the changes seen
	Waiting []Message `json:"waiting,omitempty"`
	Thread  string    `json:"thread,omitempty"`
	Tries   int       `json:"tries,omitempty"` // of the first that waits
	Since   time.Time `json:"since,omitzero"`  // of the first try
	Until   time.Time `json:"until,omitzero"`  // no try before
}

// The bounds of what is tried and kept.
const (
	messageTries = 5
	// patience is how long a target may ask to wait without that being a try.
	patience     = time.Hour
	waitingLimit = 200
)

// tell notes what is new and sends the first message that waits.
func (t *Target) tell(ctx context.Context, item pipeline.ReportItem) (time.Time, error) {
	st, err := t.load(ctx, item.Execution)
	if err != nil {
		return time.Time{}, err
	}
	if err := t.notice(ctx, item.Execution, &st); err != nil {
		return time.Time{}, err
	}
	now := t.o.Now()
	switch {
	case len(st.Waiting) == 0:
		return time.Time{}, nil
	case now.Before(st.Until):
		return st.Until, nil
	}
	if wait, ok := t.gate.take(now); !ok {
		return now.Add(wait), nil
	}
	t.gate.release() // messages of several executions go side by side
	m := st.Waiting[0]
	sending, cancel := context.WithTimeout(ctx, t.o.SendTimeout)
	thread, err := t.o.Sender.Send(sending, m, st.Thread)
	cancel()
	if err := t.settle(ctx, &st, m, thread, err); err != nil {
		return time.Time{}, err
	}
	if err := t.save(ctx, item.Execution, st); err != nil {
		return time.Time{}, err
	}
	if len(st.Waiting) == 0 {
		return time.Time{}, nil
	}
	return cmpTime(st.Until, t.o.Now()), nil
}

// notice adds the changes that weren't seen before, and stores them.
func (t *Target) notice(ctx context.Context, execution string, st *told) error {
	x, err := t.records.Execution(ctx, execution)
	if err != nil {
		return fmt.Errorf("loading execution: %w", err)
	}
	builds, err := t.records.Builds(ctx, execution)
	if err != nil {
		return fmt.Errorf("loading builds: %w", err)
	}
	before := len(st.Known)
	for _, m := range history(x, works(x, builds), t.o.BaseURL) {
		id := shortID(m.ID)
		if slices.Contains(st.Known, id) {
			continue
		}
		st.Known = append(st.Known, id)
		if t.o.Filter.selects(m) || t.named(m) {
			st.Waiting = append(st.Waiting, t.masked(m))
		}
	}
	if len(st.Known) == before {
		return nil
	}
	for len(st.Waiting) > waitingLimit {
		if err := t.bury(ctx, st, errors.New("too many messages of this execution wait")); err != nil {
			return err
		}
	}
	return t.save(ctx, execution, *st)
}

// named reports whether the message is for this target by name. The filter still
// says where it may be from: that is the server's choice, not a file's.
func (t *Target) named(m Message) bool {
	return t.o.Filter.admits(m) && slices.ContainsFunc(m.Notify, func(name string) bool {
		return name != "" && (name == t.o.Name || name == t.o.Address)
	})
}

func shortID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:6])
}

// masked is the message without known secrets.
func (t *Target) masked(m Message) Message {
	if t.o.Mask == nil {
		return m
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // our own type
	}
	var out Message
	if err := json.Unmarshal([]byte(t.o.Mask(string(data))), &out); err != nil {
		// A secret that is a piece of JSON: what a person wrote goes.
		m.Subject, m.Problem, m.Tail, m.Question, m.Detail, m.Additional, m.Approval = "", "", nil, "", nil, nil, nil
		return m
	}
	return out
}

// settle keeps what came of a try.
func (t *Target) settle(ctx context.Context, st *told, m Message, thread string, err error) error {
	now := t.o.Now()
	if err == nil {
		if st.Thread == "" {
			st.Thread = thread
		}
		st.Waiting = st.Waiting[1:]
		st.Tries, st.Since, st.Until = 0, time.Time{}, time.Time{}
		return nil
	}
	if st.Since.IsZero() {
		st.Since = now
	}
	retry, asked := errors.AsType[*forge.RetryError](err)
	asked = asked && retry.After > 0
	if asked {
		st.Until = now.Add(min(retry.After, longestWait))
		t.gate.closeUntil(st.Until)
	}
	if !asked || now.Sub(st.Since) > patience {
		st.Tries++
	}
	if errors.Is(err, ErrRefused) || st.Tries >= messageTries {
		return t.bury(ctx, st, err)
	}
	if !asked {
		st.Until = now.Add(t.wait(st.Tries))
	}
	t.o.Log.InfoContext(ctx, "a message will be sent again", "target", t.o.Name, "execution", m.Execution, "attempt", st.Tries, "error", err)
	return nil
}

// wait is how long after that many tries the next one is made.
func (t *Target) wait(tries int) time.Duration {
	d := t.o.Backoff
	for range tries - 1 {
		d *= 5
	}
	return d
}

// bury gives up the first message that waits.
func (t *Target) bury(ctx context.Context, st *told, why error) error {
	m := st.Waiting[0]
	t.o.Log.WarnContext(ctx, "a message was given up", "target", t.o.Name, "execution", m.Execution, "event", m.Event, "attempt", st.Tries, "error", why)
	d := DeadMessage{Target: t.o.Name, Reason: cut(why.Error(), 500), Attempts: max(1, st.Tries), FailedAt: t.o.Now().UTC(), Message: m}
	if err := t.dead.Bury(ctx, d); err != nil {
		return fmt.Errorf("keeping a dead message: %w", err)
	}
	st.Waiting = st.Waiting[1:]
	st.Tries, st.Since, st.Until = 0, time.Time{}, time.Time{}
	return nil
}

func (t *Target) kind() string { return "target:" + t.o.Name }

func (t *Target) load(ctx context.Context, execution string) (told, error) {
	return load(ctx, t.records, execution, t.kind(), told{V: 1})
}

func (t *Target) save(ctx context.Context, execution string, st told) error {
	return save(ctx, t.records, execution, t.kind(), st)
}
