package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// Forge is what chat asks of a git host. Its errors are package forge's.
type Forge interface {
	Permission(ctx context.Context, repo forge.Repo, installation int64, user forge.User) (forge.Permission, error)
	TeamMember(ctx context.Context, repo forge.Repo, installation int64, org, team string, user forge.User) (bool, error)
	PullRequest(ctx context.Context, repo forge.Repo, installation int64, number int) (forge.PullRequest, error)
	// React adds a reaction to a comment, once.
	React(ctx context.Context, repo forge.Repo, installation int64, c forge.Comment, content string) error
	// Comment makes or updates the one comment of ours that has the marker.
	Comment(ctx context.Context, repo forge.Repo, installation int64, number int, marker, body string) error
}

// Records are what is known of executions, and what was done of comments.
type Records interface {
	Executions(ctx context.Context, q pipeline.Query) (pipeline.Page[pipeline.Summary], error)
	Execution(ctx context.Context, id string) (pipeline.Execution, error)
	// Board is a pipeline's state.
	Board(ctx context.Context, key string) (*pipeline.Board, int64, error)
	// ReportState is what SaveReportState stored under a key and kind;
	// pipeline.ErrNotFound: nothing.
	ReportState(ctx context.Context, key, kind string) ([]byte, error)
	SaveReportState(ctx context.Context, key, kind string, state []byte) error
}

// Logs are the masked logs of builds and deployments.
type Logs interface {
	// Stat is a log's length; ErrNotFound if there is none.
	Stat(ctx context.Context, build string) (bytes, lines int64, sealed bool, err error)
	// ReadAt is at most limit bytes from offset on.
	ReadAt(ctx context.Context, build string, offset int64, limit int) ([]byte, error)
}

// Audit keeps what was asked for and what came of it.
type Audit interface {
	// AddAuditOnce appends to the audit log, once for each word of once.
	AddAuditOnce(ctx context.Context, once string, e access.Entry) error
}

// Options are what a Service is made of.
type Options struct {
	// Forges by name; comments of others are passed over.
	Forges  map[string]Forge
	Records Records
	Logs    Logs
	Audit   Audit
	Fleet   Fleet // nil: there are no deployments
	// Environment finds an environment's settings for a repository; the zero
	// value if the server has none of that name.
	Environment func(repo forge.Repo, name string) pipeline.Environment
	PrefixOnly  bool                   // read "/slipway NAME" only
	Link        func(id string) string // the page of an execution
	Now         func() time.Time
	Log         *slog.Logger
}

// Service does what comments ask for. It implements pipeline.Chat.
type Service struct {
	Options
	strangers access.Strangers
}

var _ pipeline.Chat = (*Service)(nil)

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o} }

// talk is one comment under way.
type talk struct {
	*Service
	forge Forge
	on    pipeline.Steering
	d     pipeline.Delivery
	e     forge.Event
	c     forge.Comment
	pr    forge.PullRequest
	level forge.Permission
}

// outcome is what came of one command.
type outcome struct {
	reaction   string // eyes, rocket, +1; empty for none
	text       string // Markdown for the reply; empty for none
	executions []string
	help       string // Markdown for the one comment that explains the commands; empty for none
	events     []pipeline.Event
}

// refused is why a command was not done, in words for its author.
type refused struct{ reason string }

func (r *refused) Error() string { return r.reason }

func refuse(format string, args ...any) error { return &refused{fmt.Sprintf(format, args...)} }

// Comment reads a comment, checks what its author may, does it, and answers at
// the forge (forges reference 5.2, 10).
func (s *Service) Comment(ctx context.Context, on pipeline.Steering, d pipeline.Delivery, e forge.Event) (pipeline.Decision, error) {
	port := s.Forges[e.Repo.Forge]
	if port == nil || e.Comment == nil {
		return ignored("comments of this forge are not read"), nil
	}
	if e.Comment.Author.Bot {
		return ignored("a bot wrote the comment"), nil
	}
	commands, problems, err := Parse(e.Comment.Body, s.PrefixOnly)
	if errors.Is(err, ErrRefused) {
		problems = []Problem{{Text: "this comment", Message: err.Error()}}
	}
	if len(commands)+len(problems) == 0 {
		return ignored("the comment has no command"), nil
	}
	t := &talk{Service: s, forge: port, on: on, d: d, e: e, c: *e.Comment}
	err = t.meet(ctx)
	if err != nil && permanent(err) && len(problems) == 0 && !slices.ContainsFunc(commands, ours) {
		return ignored("the comment has no command"), nil
	}
	if err != nil {
		return t.unable(err)
	}
	done, err := t.actAll(ctx, commands)
	if err != nil {
		return t.unable(err)
	}
	done = slices.DeleteFunc(done, func(r result) bool { return r.Passed })
	if len(done)+len(problems) == 0 {
		return ignored("the comment has no command"), nil
	}
	for _, p := range problems {
		done = append(done, notUnderstood(p.Text, p.Message))
	}
	if err := t.answer(ctx, done); err != nil {
		return t.unable(err)
	}
	return decisionOf(done), nil
}

// MayRerun lets those run things again who may say /retest to any pull request.
// In doubt it is refused: the forge is asked each time.
func (s *Service) MayRerun(ctx context.Context, e forge.Event) (why string, err error) {
	port := s.Forges[e.Repo.Forge]
	if port == nil {
		return "this forge can't be asked who may run things again", nil
	}
	level, err := port.Permission(ctx, e.Repo, e.Installation, e.Sender)
	switch {
	case err != nil:
		if _, later := pipeline.RetryAfter(err); !later && permanent(err) {
			return "asking what " + e.Sender.Login + " may do: " + err.Error(), nil
		}
		return "", err
	case !level.AtLeast(forge.Write):
		return fmt.Sprintf("%s may not run it again: it needs the permission to %s", e.Sender.Login, forge.Write), nil
	}
	return "", nil
}

// result is what came of one line of a comment.
type result struct {
	Passed     bool     `json:"passed,omitempty"` // the line is somebody else's
	Acted      bool     `json:"acted,omitempty"`
	Said       string   `json:"said,omitempty"` // for the reply
	Help       string   `json:"help,omitempty"` // for the comment that explains the commands
	Reason     string   `json:"reason"`         // for the ledger
	Reaction   string   `json:"reaction,omitempty"`
	Executions []string `json:"executions,omitempty"`
	// Events are what remains to be done; they are kept before, so that a crash
	// in the middle makes nobody think that somebody else has done it.
	Events []pipeline.Event `json:"events,omitempty"`
	// Note is for the audit log; nil: there is nothing to note.
	Note *access.Entry `json:"note,omitempty"`
}

// stateKind is the kind under which the results of a delivery's commands are kept.
const stateKind = "chat"

// actAll does the commands in their order. What came of each is kept: if the
// forge fails later on, or this server, the next try goes on from there, and
// doesn't tell people that what they asked for has been done before.
func (t *talk) actAll(ctx context.Context, commands []Command) ([]result, error) {
	key := fmt.Sprintf("%s:%s:%d", t.d.Forge, t.d.ID, t.d.Attempt)
	var done []result
	data, err := t.Records.ReportState(ctx, key, stateKind)
	if err == nil {
		err = json.Unmarshal(data, &done)
	}
	if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
		return nil, fmt.Errorf("loading what was done of a comment: %w", err)
	}
	for i, c := range commands {
		if i == len(done) {
			r, err := t.result(ctx, c)
			if err != nil {
				return nil, err
			}
			done = append(done, r)
			if err := t.keep(ctx, key, done); err != nil {
				return nil, err
			}
		}
		if len(done[i].Events) > 0 {
			if done[i], err = t.steer(ctx, c, done[i]); err != nil {
				return nil, err
			}
			if err := t.keep(ctx, key, done); err != nil {
				return nil, err
			}
		}
		if err := t.note(ctx, key, i, done[i]); err != nil {
			return nil, err
		}
	}
	return done, nil
}

func notUnderstood(text, why string) result {
	return result{Said: fmt.Sprintf("%s was not understood: %s.", shown(text), why), Reason: "not understood", Reaction: "confused"}
}

// keep remembers what was done of a comment so far.
func (t *talk) keep(ctx context.Context, key string, done []result) error {
	data, err := json.Marshal(done)
	if err == nil {
		err = t.Records.SaveReportState(ctx, key, stateKind, data)
	}
	if err != nil {
		return fmt.Errorf("keeping what was done of a comment: %w", err)
	}
	return nil
}

// steer submits a command's events. One that was submitted before, by a try
// that was cut off, counts as submitted.
func (t *talk) steer(ctx context.Context, c Command, r result) (result, error) {
	for _, e := range r.Events {
		err := t.on.Steer(ctx, e)
		no, ok := errors.AsType[*pipeline.Refusal](err)
		switch {
		case ok && (no.Code == pipeline.DuplicatedStopRequest || no.Code == pipeline.PipelineExecutionNotStoppable): // it ends anyhow
		case ok:
			return t.refused(c, no.Msg), nil
		case err != nil:
			return r, err
		}
	}
	r.Events = nil
	return r, nil
}

func (t *talk) refused(c Command, reason string) result {
	return result{
		Said:   fmt.Sprintf("@%s %s was not done: %s.", t.c.Author.Login, shown(c.Text), reason),
		Reason: "/" + c.Spec.Name + ": " + reason, Reaction: "-1", Note: t.entry(c, access.Refused, reason),
	}
}

// result does one command, but for its events, and says what comes of it.
func (t *talk) result(ctx context.Context, c Command) (result, error) {
	if c.Custom != "" {
		return t.custom(ctx, c)
	}
	out, err := t.act(ctx, c)
	if no, ok := errors.AsType[*refused](err); ok {
		return t.refused(c, no.reason), nil
	}
	return result{
		Acted: true, Said: out.text, Help: out.help, Reason: "/" + c.Spec.Name, Reaction: out.reaction, Executions: out.executions,
		Events: out.events, Note: t.entry(c, access.Done, out.text),
	}, err
}

// decisionOf is the ledger's word on all of a comment.
func decisionOf(done []result) pipeline.Decision {
	d := pipeline.Decision{Decision: pipeline.DecisionIgnored}
	var reasons []string
	for _, r := range done {
		if r.Acted {
			d.Decision = pipeline.DecisionActed
		}
		reasons = append(reasons, r.Reason)
		d.Executions = append(d.Executions, r.Executions...)
	}
	if len(d.Executions) > 0 {
		d.Decision = pipeline.DecisionStarted
	}
	d.Reason = strings.Join(reasons, "; ")
	return d
}

func ignored(reason string) pipeline.Decision {
	return pipeline.Decision{Decision: pipeline.DecisionIgnored, Reason: reason}
}

// unable says what becomes of a comment that couldn't be done or answered: what
// the forge wants to be asked again later is tried again.
func (t *talk) unable(err error) (pipeline.Decision, error) {
	if _, later := pipeline.RetryAfter(err); later {
		return pipeline.Decision{}, err
	}
	if permanent(err) {
		return pipeline.Decision{Decision: pipeline.DecisionFailed, Reason: err.Error()}, nil
	}
	return pipeline.Decision{}, err
}

// permanent reports whether asking the forge again would give the same answer.
func permanent(err error) bool {
	return slices.ContainsFunc([]error{forge.ErrNotFound, forge.ErrForbidden, forge.ErrNoCredentials, forge.ErrRejected}, func(known error) bool {
		return errors.Is(err, known)
	})
}

// meet asks the forge who the author is and how the pull request stands.
func (t *talk) meet(ctx context.Context) (err error) {
	if t.level, err = t.forge.Permission(ctx, t.e.Repo, t.e.Installation, t.c.Author); err != nil {
		return err
	}
	t.pr, err = t.forge.PullRequest(ctx, t.e.Repo, t.e.Installation, t.c.Pull)
	return err
}

// act checks and does one command.
func (t *talk) act(ctx context.Context, c Command) (outcome, error) {
	if t.pr.Closed && !c.Spec.Closed {
		return outcome{}, refuse("the pull request is closed")
	}
	if err := t.may(c.Spec); err != nil {
		return outcome{}, err
	}
	out, err := acts[c.Spec.Name](ctx, t, c)
	if no, ok := errors.AsType[*pipeline.Refusal](err); ok {
		err = refuse("%s", no.Msg)
	}
	return out, err
}

// may checks the rights that don't hang on what the command names. The others
// are checked where that is known.
func (t *talk) may(s *Spec) error {
	need := forge.Read
	switch s.Who {
	case Trusting, Deployer, Writer, Stager, Holder:
		need = forge.Write
	case Tester:
		if t.isAuthor() && t.pr.Internal() {
			return nil
		}
		need = forge.Write
	case Admin:
		need = forge.Admin
	case Reader, Starter, Approver, Owner:
	}
	return t.atLeast(need)
}

func (t *talk) isAuthor() bool { return t.c.Author.ID != "" && t.c.Author.ID == t.pr.Author.ID }

func (t *talk) atLeast(need forge.Permission) error {
	if t.level.AtLeast(need) {
		return nil
	}
	have := string(t.level)
	if t.level == forge.NoPermission {
		have = "none"
	}
	return refuse("it needs the permission to %s (you have %s)", need, have)
}

// approves reports whether the author is among the approvers. With none named,
// whoever may write is.
func (t *talk) approves(ctx context.Context, approvers []string) (bool, error) {
	if len(approvers) == 0 {
		return t.level.AtLeast(forge.Write), nil
	}
	return forge.Named(approvers, t.c.Author, t.e.Repo.Owner, func(org, team string) (bool, error) {
		return t.forge.TeamMember(ctx, t.e.Repo, t.e.Installation, org, team, t.c.Author)
	})
}

// answer says what came of all commands, in one reply, and with one reaction:
// the worst. People who may not write get one reply, which is updated, so that
// a stranger can't fill a pull request with ours.
func (t *talk) answer(ctx context.Context, done []result) error {
	var said []string
	for _, r := range done {
		if r.Said != "" {
			said = append(said, r.Said)
		}
		if r.Help == "" {
			continue
		}
		if err := t.reply(ctx, "help", r.Help); err != nil {
			return err
		}
	}
	reaction := worst(done)
	err := t.forge.React(ctx, t.e.Repo, t.e.Installation, t.c, reaction)
	switch {
	case errors.Is(err, forge.ErrUnsupported) && len(said) == 0:
		said = []string{instead[reaction]}
	case err != nil && !errors.Is(err, forge.ErrForbidden) && !errors.Is(err, forge.ErrNotFound) && !errors.Is(err, forge.ErrUnsupported):
		return err
	}
	if len(said) == 0 {
		return nil
	}
	marker := "reply-" + t.c.ID
	if !t.level.AtLeast(forge.Write) {
		marker = "reply-to-" + t.c.Author.ID
	}
	return t.reply(ctx, marker, strings.Join(said, "\n\n"))
}

// worst is the reaction that a reader should see, of all that came of a comment.
func worst(done []result) string {
	for _, reaction := range []string{"confused", "-1", "eyes", "rocket"} {
		if slices.ContainsFunc(done, func(r result) bool { return r.Reaction == reaction }) {
			return reaction
		}
	}
	return "+1"
}

// instead says what a reaction would, on forges that have none.
var instead = map[string]string{
	"confused": "That was not understood.", "-1": "That was refused.", "eyes": "It is taken up.", "rocket": "It has started.", "+1": "It is done.",
}

func (t *talk) reply(ctx context.Context, marker, body string) error {
	err := t.forge.Comment(ctx, t.e.Repo, t.e.Installation, t.c.Pull, marker, body)
	if errors.Is(err, forge.ErrForbidden) { // what was asked for was done; only the answer can't be given
		t.Log.WarnContext(ctx, "a comment can't be answered", "repo", t.e.Repo.FullName(), "pr", t.c.Pull, "error", err)
		return nil
	}
	return err
}

// tailBytes is how much of a log's end is looked at for its last lines.
const tailBytes = 256 << 10

// lastLines of a log; nothing if there is none.
func (t *talk) lastLines(ctx context.Context, build string, lines int) (string, error) {
	n, _, _, err := t.Logs.Stat(ctx, build)
	if errors.Is(err, pipeline.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	data, err := t.Logs.ReadAt(ctx, build, max(0, n-tailBytes), tailBytes)
	if err != nil {
		return "", fmt.Errorf("reading the log of %s: %w", build, err)
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n"), nil
}
