package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

// memory is a Store, Relayer and forge in memory.
type memory struct {
	boards     map[string]*Board
	versions   map[string]int64
	consumed   map[string]bool
	executions map[string]Execution
	effects    []Effect
	relayed    []string // boards
	relayErr   error
	conflicts  int // commits that another server forestalls

	events   map[string]forge.Event // by delivery
	eventErr error
	pull     int // of the pushed branch
	pullErr  error

	changed    forge.Changes
	changedErr error
	defs       func() ([]Definition, string, error)
	silent     bool      // nobody answers who asks for definitions
	asked      []Trigger // of definitions
}

func newMemory() *memory {
	return &memory{
		boards: map[string]*Board{}, versions: map[string]int64{}, consumed: map[string]bool{}, executions: map[string]Execution{},
		events: map[string]forge.Event{},
		defs: func() ([]Definition, string, error) {
			return []Definition{{Project: "octo-web", Pipeline: Pipeline{
				Name: DefaultPipeline, Mode: ParallelMode, Implied: true,
				Stages: []Stage{{Name: "Source", Actions: []Action{SourceAction()}}, {Name: "Build", Actions: []Action{build("Build", 1)}}},
			}}}, "", nil
		},
	}
}

func (m *memory) Board(_ context.Context, key string) (*Board, int64, error) {
	b, ok := m.boards[key]
	if !ok {
		return nil, 0, ErrNotFound
	}
	return b, m.versions[key], nil
}

func (m *memory) Consumed(_ context.Context, _, event string) (bool, error) {
	return m.consumed[event], nil
}

func (m *memory) Commit(_ context.Context, c Change) error {
	key := c.Board.Key
	switch {
	case m.consumed[c.EventID]:
		return ErrConsumed
	case m.conflicts > 0:
		m.conflicts--
		m.versions[key]++
		if m.boards[key] == nil {
			m.boards[key] = NewBoard(key, c.Board.Repo, c.Board.Project, c.Board.Pipeline)
		}
		return ErrConflict
	case c.Version != m.versions[key]:
		return ErrConflict
	}
	m.consumed[c.EventID] = true
	m.versions[key]++
	m.boards[key] = c.Board
	for _, x := range c.Touched {
		m.executions[x.ID] = *x
	}
	for _, id := range c.Ended {
		delete(m.boards[key].Live, id)
	}
	m.effects = append(m.effects, c.Effects...)
	return nil
}

func (m *memory) Execution(_ context.Context, id string) (Execution, error) {
	x, ok := m.executions[id]
	if !ok {
		return x, ErrNotFound
	}
	return x, nil
}

func (m *memory) Executions(_ context.Context, q Query) (Page[Summary], error) {
	var p Page[Summary]
	for _, id := range m.listed() {
		x := m.executions[id]
		if x.Repo.Forge == q.Forge && (q.Repo == "" || x.Repo.FullName() == q.Repo) && (q.SHA == "" || x.Trigger.SHA == q.SHA) && (q.Status == "" || x.Status == q.Status) {
			p.Items = append(p.Items, x.Summary())
		}
	}
	return p, nil
}

// listed are the executions that lists show.
func (m *memory) listed() []string {
	var ids []string
	for _, e := range m.effects {
		if e.Type == IndexExec && !slices.Contains(ids, e.Summary.ID) {
			ids = append(ids, e.Summary.ID)
		}
	}
	slices.Reverse(ids)
	return ids
}

func (m *memory) jobs() int {
	n := 0
	for _, e := range m.effects {
		if e.Type == AddJob {
			n++
		}
	}
	return n
}

func (m *memory) Relay(_ context.Context, board string) error {
	m.relayed = append(m.relayed, board)
	return m.relayErr
}

func (m *memory) Event(_ context.Context, d Delivery) (forge.Event, error) {
	return m.events[d.ID], m.eventErr
}

func (m *memory) OpenPull(context.Context, forge.Event, string) (int, bool, error) {
	return m.pull, m.pull != 0, m.pullErr
}

func (m *memory) Changed(context.Context, forge.Event) (forge.Changes, error) {
	return m.changed, m.changedErr
}

func (m *memory) Pipelines(ctx context.Context, _ forge.Repo, t Trigger) ([]Definition, string, error) {
	m.asked = append(m.asked, t)
	if m.silent {
		<-ctx.Done()
		return nil, "", context.Cause(ctx)
	}
	return m.defs()
}

func (m *memory) orchestrator() *Orchestrator {
	return NewOrchestrator(m, m, m, m, Rules{}, time.Now, slog.New(slog.DiscardHandler))
}

func (m *memory) one(t *testing.T) Execution {
	t.Helper()
	if len(m.executions) != 1 {
		t.Fatalf("got %d executions, want one: %v", len(m.executions), slices.Collect(maps.Keys(m.executions)))
	}
	for _, x := range m.executions {
		return x
	}
	return Execution{}
}

var web = forge.Repo{Forge: "github", ID: "1", Owner: "octo", Name: "web", DefaultBranch: "main"}

var sha1 = strings.Repeat("a", 40)

func pushed(message string) forge.Event {
	return forge.Event{
		Forge: "github", Kind: forge.Push, Name: "push", Repo: web, Sender: forge.User{ID: "9", Login: "ada"},
		Push: &forge.PushEvent{Ref: "refs/heads/main", Before: strings.Repeat("b", 40), After: sha1, Message: message},
	}
}

func pulled(action, headRepo string) forge.Event {
	return forge.Event{
		Forge: "github", Kind: forge.Pull, Name: "pull_request", Action: action, Repo: web,
		Pull: &forge.PullRequest{
			Number: 7, HeadSHA: sha1, HeadRef: "topic", HeadRepoID: headRepo, BaseSHA: strings.Repeat("c", 40), BaseRef: "main", BaseRepoID: "1",
			FetchRef: "refs/pull/7/head", Closed: action == "closed",
		},
	}
}

// deliver hands over one delivery of the event.
func (m *memory) deliver(t *testing.T, id string, e forge.Event) Decision {
	t.Helper()
	d, err := m.try(t, id, e)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (m *memory) try(t *testing.T, id string, e forge.Event) (Decision, error) {
	e.Delivery = id
	m.events[id] = e
	return m.orchestrator().Delivery(t.Context(), Delivery{Forge: "github", ID: id})
}

// Attacks: 35.
func TestDeliveryTwiceStartsOnce(t *testing.T) {
	m := newMemory()
	first := m.deliver(t, "d1", pushed("x"))
	second := m.deliver(t, "d1", pushed("x"))
	if diff := cmp.Diff(first, second); diff != "" || first.Decision != DecisionStarted {
		t.Errorf("decisions (-first +second)\n%s", diff)
	}
	if x := m.one(t); x.Trigger.SHA != sha1 || !x.Trigger.Trusted || x.Status != InProgress {
		t.Errorf("execution: %+v", x)
	}
	if m.jobs() != 1 {
		t.Errorf("got %d jobs, want one", m.jobs())
	}
}

func TestPushIsCoveredByItsPull(t *testing.T) {
	tests := []struct {
		name   string
		set    func(t *testing.T, m *memory)
		branch string
		want   string
	}{
		{"the forge says so", func(_ *testing.T, m *memory) { m.pull = 7 }, "topic", DecisionIgnored},
		{"the forge says that there is none", func(t *testing.T, m *memory) { m.deliver(t, "p1", pulled("opened", "1")) }, "topic", DecisionStarted},
		{"the forge can't be asked, the Board knows", func(t *testing.T, m *memory) {
			m.deliver(t, "p1", pulled("opened", "1"))
			m.pullErr = errors.New("away")
		}, "topic", DecisionIgnored},
		{"the forge can't be asked, and it was closed", func(t *testing.T, m *memory) {
			m.deliver(t, "p1", pulled("opened", "1"))
			m.deliver(t, "p2", pulled("closed", "1"))
			m.pullErr = errors.New("away")
		}, "topic", DecisionStarted},
		{"the forge can't be asked, another branch", func(t *testing.T, m *memory) {
			m.deliver(t, "p1", pulled("opened", "1"))
			m.pullErr = errors.New("away")
		}, "main", DecisionStarted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			tt.set(t, m)
			e := pushed("x")
			e.Push.Ref = "refs/heads/" + tt.branch
			d := m.deliver(t, "d1", e)
			if d.Decision != tt.want || tt.want == DecisionIgnored && !strings.Contains(d.Reason, "#7") {
				t.Errorf("got %+v, want %s", d, tt.want)
			}
		})
	}
}

// Nothing of a fork runs, nothing is listed, and the forge is told why. What
// would run is looked up on the base branch, never at the fork's commit.
//
// Attacks: 4.
func TestForkIsGated(t *testing.T) {
	for _, head := range []string{"666", ""} {
		m := newMemory()
		d := m.deliver(t, "p1", pulled("opened", head))
		if d.Decision != DecisionIgnored || len(d.Executions) != 0 {
			t.Errorf("got %+v", d)
		}
		x := m.one(t)
		if x.Gate == "" || x.Status != Stopped || m.jobs() != 0 || len(m.listed()) != 0 {
			t.Errorf("gate %q, status %s, %d jobs, listed %v", x.Gate, x.Status, m.jobs(), m.listed())
		}
		for _, a := range m.asked {
			if a.SHA == sha1 || a.FetchRef != "refs/heads/main" {
				t.Errorf("the definition was read at the fork's commit: %+v", a)
			}
		}
		reported := slices.ContainsFunc(m.effects, func(e Effect) bool { return e.Type == ReportExec && e.Execution == x.ID })
		if !reported {
			t.Error("the forge isn't told")
		}
	}
}

// Where the base has nothing to run, a fork's pull request leaves no check.
func TestForkOfARepositoryWithoutPipelines(t *testing.T) {
	m := newMemory()
	m.defs = func() ([]Definition, string, error) { return nil, "there is no buildspec.yml", nil }
	d := m.deliver(t, "p1", pulled("opened", "666"))
	if d.Decision != DecisionIgnored || !strings.Contains(d.Reason, "there is no buildspec.yml") || len(m.executions) != 0 {
		t.Errorf("got %+v, %d executions", d, len(m.executions))
	}
}

// Pressing a button at a remark doesn't open the gate.
//
// Attacks: 4.
func TestRerunOfAGatedPullStaysGated(t *testing.T) {
	m := newMemory()
	m.deliver(t, "p1", pulled("opened", "666"))
	x := m.one(t)
	e := forge.Event{Forge: "github", Kind: forge.CheckRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1, ExternalID: x.ID + ":1"}}
	m.deliver(t, "r1", e)
	if m.jobs() != 0 || len(m.listed()) != 0 {
		t.Errorf("%d jobs, listed %v", m.jobs(), m.listed())
	}
}

func TestSkipCI(t *testing.T) {
	m := newMemory()
	d := m.deliver(t, "d1", pushed("docs [skip ci]"))
	x := m.one(t)
	if d.Decision != DecisionIgnored || x.Status != Skipped || m.jobs() != 0 || len(m.listed()) != 0 {
		t.Errorf("got %+v, status %s, %d jobs", d, x.Status, m.jobs())
	}
	m = newMemory()
	m.defs = func() ([]Definition, string, error) { return nil, "nothing", nil }
	if m.deliver(t, "d1", pushed("docs [skip ci]")); len(m.executions) != 0 {
		t.Error("a repository without pipelines got a check")
	}
}

func TestMistakeInTheDefinition(t *testing.T) {
	m := newMemory()
	m.defs = func() ([]Definition, string, error) {
		return nil, "", &UserError{Code: "YAML_FILE_ERROR", Msg: "want a map", File: ".slipway/ci.yml", Line: 3, Column: 5}
	}
	d := m.deliver(t, "d1", pushed("x"))
	x := m.one(t)
	want := []forge.Annotation{{
		Path: ".slipway/ci.yml", StartLine: 3, EndLine: 3, Column: 5, Level: "failure", Title: "YAML_FILE_ERROR", Message: "want a map",
	}}
	if diff := cmp.Diff(want, x.Annotations); diff != "" || x.Status != Failed || d.Decision != DecisionStarted {
		t.Errorf("status %s, decision %+v, annotations (-want +got)\n%s", x.Status, d, diff)
	}
	// The mistake was mended at the same commit: a moved submodule, a server's setting.
	m.defs = newMemory().defs
	m.deliver(t, "r1", forge.Event{Forge: "github", Kind: forge.CheckRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1, ExternalID: x.ID + ":1"}})
	if m.jobs() != 1 {
		t.Errorf("got %d jobs after a re-run, want the definition read again", m.jobs())
	}
}

func TestUnreachableRepository(t *testing.T) {
	tests := []struct {
		name  string
		fails int
		err   error
		tries int
		check func(t *testing.T, m *memory, d Decision, err error)
	}{
		{"for good: an execution says so", 99, errors.New("dial tcp: refused"), 4, func(t *testing.T, m *memory, d Decision, err error) {
			if x := m.one(t); err != nil || x.Status != Failed || x.Problem.Code != SystemUnavailable || strings.Contains(x.Reason, "dial") {
				t.Errorf("got %+v, %v; %s: %s", d, err, x.Status, x.Reason)
			}
		}},
		{"for a moment: it is tried again", 2, errors.New("dial tcp: refused"), 3, func(t *testing.T, m *memory, d Decision, err error) {
			if x := m.one(t); err != nil || x.Status != InProgress {
				t.Errorf("got %+v, %v; %s", d, err, x.Status)
			}
		}},
		{"the forge asks for patience: the inbox tries again", 99, &forge.RetryError{After: time.Minute, Err: errors.New("limit")}, 1, func(t *testing.T, m *memory, _ Decision, err error) {
			if _, later := errors.AsType[*forge.RetryError](err); !later || len(m.executions) != 0 {
				t.Errorf("got %v, %d executions", err, len(m.executions))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				whole := m.defs
				m.defs = func() ([]Definition, string, error) {
					if len(m.asked) <= tt.fails {
						return nil, "", tt.err
					}
					return whole()
				}
				d, err := m.try(t, "d1", pushed("x"))
				tt.check(t, m, d, err)
				if len(m.asked) != tt.tries {
					t.Errorf("asked %d times, want %d", len(m.asked), tt.tries)
				}
			})
		})
	}
}

// The inbox gives up on a delivery that always takes too long; an execution
// tells its author.
func TestRepositoryThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.silent = true
		began := time.Now()
		m.deliver(t, "d1", pushed("x"))
		if x := m.one(t); x.Status != Failed || x.Problem.Code != SystemUnavailable || time.Since(began) >= 2*time.Minute {
			t.Errorf("got %s: %s after %s", x.Status, x.Reason, time.Since(began))
		}
	})
}

// A server that ends while it waits for a repository leaves the delivery to
// the next one.
func TestUnreachableRepositoryAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.defs = func() ([]Definition, string, error) { return nil, "", errors.New("away") }
		m.events["d1"] = pushed("x")
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		_, err := m.orchestrator().Delivery(ctx, Delivery{Forge: "github", ID: "d1"})
		if err == nil || len(m.executions) != 0 {
			t.Errorf("got %v and %d executions, want an error and none", err, len(m.executions))
		}
	})
}

func TestRerun(t *testing.T) {
	other := web
	other.ID = "2"
	tests := []struct {
		name string
		e    func(x Execution) forge.Event
		want int // executions afterwards
	}{
		{"of one check", func(x Execution) forge.Event {
			return forge.Event{Kind: forge.CheckRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1, ExternalID: x.ID + ":1"}}
		}, 2},
		{"of a suite", func(Execution) forge.Event {
			return forge.Event{Kind: forge.SuiteRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1}}
		}, 2},
		{"by our button", func(x Execution) forge.Event {
			return forge.Event{Kind: forge.CheckButton, Repo: web, Check: &forge.CheckRef{SHA: sha1, ExternalID: x.ID + ":1", Identifier: ButtonRerunFailed}}
		}, 2},
		{"by a button of another App", func(x Execution) forge.Event {
			return forge.Event{Kind: forge.CheckButton, Repo: web, Check: &forge.CheckRef{SHA: sha1, ExternalID: x.ID + ":1", Identifier: "deploy"}}
		}, 1},
		{"of a foreign repository's execution", func(x Execution) forge.Event {
			return forge.Event{Kind: forge.CheckRerun, Repo: other, Check: &forge.CheckRef{SHA: sha1, ExternalID: x.ID + ":1"}}
		}, 1},
		{"of another forge's execution", func(x Execution) forge.Event {
			r := web
			r.Forge = "bitbucket"
			return forge.Event{Kind: forge.CheckRerun, Repo: r, Check: &forge.CheckRef{SHA: sha1, ExternalID: x.ID + ":1"}}
		}, 1},
		{"of a check that isn't ours", func(Execution) forge.Event {
			return forge.Event{Kind: forge.CheckRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1}}
		}, 1},
		{"of an unknown execution", func(Execution) forge.Event {
			return forge.Event{Kind: forge.CheckRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1, ExternalID: "00000000-0000-0000-0000-000000000000:1"}}
		}, 1},
		{"of an external ID that is none", func(Execution) forge.Event {
			return forge.Event{Kind: forge.CheckRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1, ExternalID: "::}{*\n"}}
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			m.deliver(t, "d1", pushed("x"))
			e := tt.e(m.one(t))
			if e.Repo.Forge == "github" {
				e.Forge = "github"
			}
			first := m.deliver(t, "r1", e)
			if len(m.executions) != tt.want || (first.Decision == DecisionStarted) != (tt.want == 2) {
				t.Errorf("got %d executions and %+v, want %d", len(m.executions), first, tt.want)
			}
			if again := m.deliver(t, "r1", e); len(m.executions) != tt.want || !slices.Equal(again.Executions, first.Executions) {
				t.Errorf("the same delivery again: %d executions, %+v", len(m.executions), again)
			}
		})
	}
}

// A re-run of a whole suite repeats each pipeline's latest execution, once.
func TestSuiteRerunRepeatsTheLatestOnly(t *testing.T) {
	m := newMemory()
	m.deliver(t, "d1", pushed("x"))
	suite := forge.Event{Forge: "github", Kind: forge.SuiteRerun, Repo: web, Check: &forge.CheckRef{SHA: sha1}}
	m.deliver(t, "r1", suite)
	if d := m.deliver(t, "r2", suite); len(d.Executions) != 1 || len(m.executions) != 3 {
		t.Errorf("got %+v and %d executions, want one more", d, len(m.executions))
	}
}

func TestConflictsAreTriedAgain(t *testing.T) {
	m := newMemory()
	m.conflicts = commitTries - 1
	if d := m.deliver(t, "d1", pushed("x")); d.Decision != DecisionStarted || m.jobs() != 1 {
		t.Errorf("got %+v, %d jobs", d, m.jobs())
	}
	m = newMemory()
	m.conflicts = 10 * commitTries
	if _, err := m.try(t, "d1", pushed("x")); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v, want ErrConflict for the inbox", err)
	}
}

// What can't be relayed at once is committed all the same.
func TestRelayFailureIsNotTheEventsFailure(t *testing.T) {
	m := newMemory()
	m.relayErr = errors.New("redis is away")
	if d := m.deliver(t, "d1", pushed("x")); d.Decision != DecisionStarted {
		t.Errorf("got %+v", d)
	}
}

// Attacks: 8.
func TestUnreadableDelivery(t *testing.T) {
	m := newMemory()
	m.eventErr = errors.New("invalid character 'x'")
	d, err := m.try(t, "d1", forge.Event{})
	if err != nil || d.Decision != DecisionFailed {
		t.Errorf("got %+v, %v; a payload doesn't get better by being read again", d, err)
	}
	m.eventErr = &forge.RetryError{Err: errors.New("the blob store is away")}
	if _, err := m.try(t, "d1", forge.Event{}); err == nil {
		t.Error("a body that can't be fetched for now was given up: an acknowledged webhook is lost")
	}
}

// Events about what retention has removed are done with.
func TestEventsOfForgottenExecutions(t *testing.T) {
	for _, what := range []EventType{RetryRequested, RerunRequested, StopRequested, JobEnded, JobLost, DeadlinePassed} {
		m := newMemory()
		e := Event{V: 1, ID: "e", Type: what, Board: "gone", Execution: "gone", Outcome: &Outcome{}}
		if err := m.orchestrator().Event(t.Context(), e); err != nil || len(m.executions) != 0 {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestRerunRequestedTwiceStartsOnce(t *testing.T) {
	m := newMemory()
	m.deliver(t, "d1", pushed("x"))
	x := m.one(t)
	e := Event{V: 1, ID: "asked", Type: RerunRequested, Board: x.Board, Execution: x.ID, By: "ada"}
	for range 2 {
		if err := m.orchestrator().Event(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.executions) != 2 || m.jobs() != 2 {
		t.Errorf("got %d executions and %d jobs, want 2 and 2", len(m.executions), m.jobs())
	}
}
