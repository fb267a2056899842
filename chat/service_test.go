package chat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

const (
	headSHA = "1111111111111111111111111111111111111111"
	oldSHA  = "2222222222222222222222222222222222222222"
)

var (
	repo  = forge.Repo{Forge: "github", ID: "42", Owner: "octo", Name: "web"}
	alice = forge.User{ID: "1", Login: "alice"} // may write
	rita  = forge.User{ID: "2", Login: "rita"}  // may read
	eve   = forge.User{ID: "3", Login: "eve"}   // a stranger
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

// world is a pull request, the people around it, and what they have done.
type world struct {
	pr         forge.PullRequest
	levels     map[string]forge.Permission
	teams      map[string]bool // org/team/login
	comments   map[string]string
	reactions  []string
	executions []pipeline.Execution
	events     []pipeline.Event
	runs       []pipeline.PullRun
	reruns     []string
	log        string
	env        pipeline.Environment
	refusal    error
	heard      int
	kept       map[string][]byte
	outage     map[string]error // by what is asked for, once
	noted      map[string]access.Entry
	made       *Service
	board      pipeline.Board
	deployed   []pipeline.Deployment
	stopped    []string
	undone     []string
	nothing    bool // that could be gone back to
}

func newWorld() *world {
	return &world{
		pr: forge.PullRequest{
			Number: 7, HeadSHA: headSHA, HeadRef: "topic", HeadRepoID: "42", BaseRepoID: "42", BaseRef: "main", Author: rita,
		},
		levels: map[string]forge.Permission{"alice": forge.Write, "rita": forge.Read}, teams: map[string]bool{}, comments: map[string]string{}, kept: map[string][]byte{}, outage: map[string]error{},
		noted: map[string]access.Entry{},
	}
}

func (w *world) Permission(_ context.Context, _ forge.Repo, _ int64, u forge.User) (forge.Permission, error) {
	return w.levels[u.Login], w.fails("permission")
}

func (w *world) TeamMember(_ context.Context, _ forge.Repo, _ int64, org, team string, u forge.User) (bool, error) {
	return w.teams[org+"/"+team+"/"+u.Login], w.fails("team")
}

func (w *world) PullRequest(context.Context, forge.Repo, int64, int) (forge.PullRequest, error) {
	return w.pr, nil
}

func (w *world) React(_ context.Context, _ forge.Repo, _ int64, _ forge.Comment, content string) error {
	w.reactions = append(w.reactions, content)
	return w.fails("reaction")
}

func (w *world) Comment(_ context.Context, _ forge.Repo, _ int64, _ int, marker, body string) error {
	w.comments[marker] = body
	return nil
}

func (w *world) ReportState(_ context.Context, key, kind string) ([]byte, error) {
	if data, ok := w.kept[key+kind]; ok {
		return data, nil
	}
	return nil, pipeline.ErrNotFound
}

func (w *world) SaveReportState(_ context.Context, key, kind string, state []byte) error {
	if len(w.events) > 0 {
		if err := w.fails("state"); err != nil {
			return err
		}
	}
	w.kept[key+kind] = state
	return nil
}

func (w *world) Board(context.Context, string) (*pipeline.Board, int64, error) {
	return &w.board, 1, nil
}

func (w *world) Deployments(_ context.Context, q pipeline.DeploymentQuery) (page pipeline.Page[pipeline.Deployment], err error) {
	for _, d := range w.deployed {
		if d.Status == q.Status {
			page.Items = append(page.Items, d)
		}
	}
	return page, nil
}

func (w *world) StopDeployment(_ context.Context, id, _ string) error {
	w.stopped = append(w.stopped, id)
	return nil
}

func (w *world) RollBack(_ context.Context, id, _ string) (pipeline.Deployment, error) {
	if w.nothing {
		return pipeline.Deployment{}, &pipeline.UserError{Msg: "there is nothing to go back to"}
	}
	w.undone = append(w.undone, id)
	return pipeline.Deployment{ID: "back-" + id}, nil
}

func (w *world) AddAuditOnce(_ context.Context, once string, e access.Entry) error {
	if err := w.fails("audit"); err != nil {
		return err
	}
	if _, ok := w.noted[once]; !ok {
		w.noted[once] = e
	}
	return nil
}

// fails is the outage of what is asked for, which is then over.
func (w *world) fails(what string) error {
	err := w.outage[what]
	delete(w.outage, what)
	return err
}

func (w *world) Executions(context.Context, pipeline.Query) (page pipeline.Page[pipeline.Summary], err error) {
	for _, x := range w.executions {
		page.Items = append(page.Items, x.Summary())
	}
	return page, nil
}

func (w *world) Execution(_ context.Context, id string) (pipeline.Execution, error) {
	i := slices.IndexFunc(w.executions, func(x pipeline.Execution) bool { return x.ID == id })
	if i < 0 {
		return pipeline.Execution{}, pipeline.ErrNotFound
	}
	return w.executions[i], nil
}

func (w *world) Stat(context.Context, string) (int64, int64, bool, error) {
	return int64(len(w.log)), 0, true, nil
}

func (w *world) ReadAt(_ context.Context, _ string, at int64, limit int) ([]byte, error) {
	return []byte(w.log[at:min(int(at)+limit, len(w.log))]), nil
}

func (w *world) StartPull(_ context.Context, _ pipeline.Delivery, _ forge.Event, _ forge.PullRequest, want pipeline.PullRun) (pipeline.Decision, error) {
	if want.Comment != "" && !strings.HasPrefix(want.Comment, "/bench") {
		return pipeline.Decision{Decision: pipeline.DecisionIgnored}, nil
	}
	w.runs = append(w.runs, want)
	return pipeline.Decision{Decision: pipeline.DecisionStarted, Executions: []string{"new-execution"}}, w.refusal
}

func (w *world) Steer(_ context.Context, e pipeline.Event) error {
	if slices.ContainsFunc(w.events, func(o pipeline.Event) bool { return o.ID == e.ID }) {
		return nil
	}
	w.events = append(w.events, e)
	return w.refusal
}

func (w *world) Rerun(_ context.Context, id, _, _ string, _ int, _ forge.User) (string, error) {
	w.reruns = append(w.reruns, id)
	return "again-" + id, nil
}

// say has somebody write a comment now, and answers with the decision and the
// reply.
func (w *world) say(t *testing.T, who forge.User, body string) (pipeline.Decision, string) {
	t.Helper()
	return w.hear(t, forge.Comment{ID: "99", Body: body, Author: who, Pull: 7, CreatedAt: noon})
}

func (w *world) hear(t *testing.T, c forge.Comment) (pipeline.Decision, string) {
	t.Helper()
	w.heard++
	d, err := w.try(t, c, fmt.Sprint("d", w.heard))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, marker := range []string{"reply-99", "reply-to-" + c.Author.ID, "help"} {
		if body, ok := w.comments[marker]; ok {
			said = append(said, body)
		}
	}
	return d, strings.Join(said, "\n")
}

// try handles a comment's delivery once.
func (w *world) try(t *testing.T, c forge.Comment, delivery string) (pipeline.Decision, error) {
	t.Helper()
	e := forge.Event{Forge: "github", Kind: forge.Commented, Name: "issue_comment", Repo: repo, Sender: c.Author, Comment: &c}
	return w.service().Comment(t.Context(), w, pipeline.Delivery{Forge: "github", ID: delivery}, e)
}

// service is the one that hears all of this world's comments.
func (w *world) service() *Service {
	if w.made != nil {
		return w.made
	}
	w.made = New(Options{
		Forges: map[string]Forge{"github": w}, Records: w, Logs: w, Audit: w, Fleet: w, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon },
		Link:        func(id string) string { return "https://ci.example/executions/" + id },
		Environment: func(forge.Repo, string) pipeline.Environment { return w.env },
	})
	return w.made
}

// waiting is an execution at a commit whose gate go-live waits since a minute.
func waiting(id, sha string, approvers ...string) pipeline.Execution {
	x := pipeline.Execution{
		ID: id, Number: 3, Board: "board", Repo: repo, Status: pipeline.InProgress,
		Trigger: pipeline.Trigger{SHA: sha, Pull: &forge.PullRequest{Number: 7}, Actor: alice},
	}
	x.Pipeline.Name = "web"
	x.Pipeline.Stages = []pipeline.Stage{{Name: "Prod", Environment: "production"}}
	x.Stages = []pipeline.StageExecution{{Name: "Prod", Status: pipeline.InProgress, Actions: []pipeline.ActionExecution{{
		Name: "go-live", Status: pipeline.InProgress, StartedAt: noon.Add(-time.Minute),
		Approval: &pipeline.ApprovalState{Token: "token-" + id, Approvers: approvers},
	}}}}
	return x
}

func ended(id, name string, status pipeline.Status) pipeline.Execution {
	x := pipeline.Execution{ID: id, Number: 2, Repo: repo, Status: status, Trigger: pipeline.Trigger{SHA: headSHA, Pull: &forge.PullRequest{Number: 7}, Actor: alice}}
	x.Pipeline.Name = name
	return x
}

// TestWhoMay has everybody try everything: forges reference 5.4, second column.
func TestWhoMay(t *testing.T) {
	people := map[string]forge.User{"write": alice, "author": rita, "stranger": eve}
	tests := []struct {
		body string
		may  []string // in order author, stranger, write
	}{
		{"/help", []string{"author", "write"}},
		{"/status", []string{"author", "write"}},
		{"/logs unit", []string{"author", "write"}},
		{"/test", []string{"author", "write"}}, // of an internal pull request
		{"/retest", []string{"author", "write"}},
		{"/cancel", []string{"write"}},
		{"/approve", []string{"write"}},
		{"/reject", []string{"write"}},
		{"/deploy production", []string{"write"}},
		{"/rollback production", []string{"write"}},
	}
	for _, tt := range tests {
		var may []string
		for _, name := range []string{"author", "stranger", "write"} {
			w := newWorld()
			w.log = "a line"
			w.executions = []pipeline.Execution{waiting("x1", headSHA), ended("x0", "web", pipeline.Failed)}
			unit := pipeline.ActionExecution{Name: "unit", Job: "b1"}
			w.executions[0].Stages = append(w.executions[0].Stages, pipeline.StageExecution{Name: "Build", Actions: []pipeline.ActionExecution{unit}})
			w.executions[1].Pipeline.Stages = []pipeline.Stage{{Name: "Prod", Environment: "production"}}
			w.executions[1].Stages = []pipeline.StageExecution{{Name: "Prod", Status: pipeline.Succeeded}}
			d, said := w.say(t, people[name], tt.body)
			if d.Decision == pipeline.DecisionActed || d.Decision == pipeline.DecisionStarted {
				may = append(may, name)
			} else if !strings.Contains(said, "was not done") || len(w.events)+len(w.runs)+len(w.reruns) > 0 {
				t.Errorf("%s by %s: %+v, said %q, events %v, runs %v, reruns %v", tt.body, name, d, said, w.events, w.runs, w.reruns)
			}
		}
		if diff := cmp.Diff(tt.may, may); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.body, diff)
		}
	}
}

// Case 34 of the forges reference: a click needs the right of the command.
func TestMayRerun(t *testing.T) {
	later := &forge.RetryError{After: time.Second}
	tests := []struct {
		name   string
		by     forge.User
		outage error
		why    string
		err    error
	}{
		{name: "who may write", by: alice},
		{name: "who may read", by: rita, why: "rita may not run it again: it needs the permission to write"},
		{name: "a stranger", by: eve, why: "eve may not run it again: it needs the permission to write"},
		{name: "the App may not ask", by: alice, outage: forge.ErrForbidden, why: "asking what alice may do: " + forge.ErrForbidden.Error()},
		{name: "the forge is away", by: alice, outage: later, err: later},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			if tt.outage != nil {
				w.outage["permission"] = tt.outage
			}
			why, err := w.service().MayRerun(t.Context(), forge.Event{Repo: repo, Sender: tt.by})
			if why != tt.why || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v; want %q, %v", why, err, tt.why, tt.err)
			}
		})
	}
}

func TestNobodyIsHeardWhoIsABot(t *testing.T) {
	w := newWorld()
	d, said := w.say(t, forge.User{ID: "9", Login: "slipway[bot]", Bot: true}, "/test")
	if d.Decision != pipeline.DecisionIgnored || said != "" || len(w.runs)+len(w.reactions) > 0 {
		t.Errorf("got %+v, %q", d, said)
	}
}

func TestAnyOtherCommentIsLeftAlone(t *testing.T) {
	w := newWorld()
	if d, said := w.say(t, eve, "nice work\n/lgtm"); d.Reason != "the comment has no command" || said != "" || len(w.reactions) > 0 {
		t.Errorf("got %+v, %q, %v", d, said, w.reactions)
	}
}

// A stranger's pull request: nobody tests it without naming the commit that
// they have looked at, and only who may write does (forges reference 4.2).
//
// Attacks: 3.
func TestStrangersNeedApprovalOfTheirCommit(t *testing.T) {
	tests := []struct {
		name, body string
		who        forge.User
		want       string // in the reply; empty: it runs
	}{
		{"the author", "/test", rita, "it needs the permission to write (you have read)"},
		{"the author, with the commit", "/ok-to-test " + headSHA, rita, "it needs the permission to write"},
		{"someone unknown", "/ok-to-test " + headSHA, eve, "it needs the permission to write (you have none)"},
		{"without a commit", "/ok-to-test", alice, "say which commit you have looked at: `/ok-to-test 1111111`"},
		{"a commit that was the head", "/ok-to-test " + oldSHA, alice, "2222222 is not the head any more, which is 1111111"},
		{"too little of a commit", "/ok-to-test 111", alice, "at least its first seven digits"},
		{"test is no way around it", "/test all", alice, "write `/ok-to-test 1111111`"},
		{"nor is deploy", "/deploy production", alice, "is not deployed"},
		{"the head", "/ok-to-test " + headSHA[:7], alice, ""},
		{"as CodeBuild writes it", "/codebuild_run(" + headSHA + ")", alice, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.pr.HeadRepoID = "666"
			d, said := w.say(t, tt.who, tt.body)
			switch {
			case tt.want == "" && (d.Decision != pipeline.DecisionStarted || len(w.runs) != 1 || !slices.Contains(w.reactions, "eyes")):
				t.Errorf("got %+v, %q", d, said)
			case tt.want != "" && (d.Decision != pipeline.DecisionIgnored || !strings.Contains(said, tt.want) || len(w.runs) > 0):
				t.Errorf("got %+v, %q, runs %v", d, said, w.runs)
			}
		})
	}
}

func TestApprove(t *testing.T) {
	tests := []struct {
		name, body string
		who        forge.User
		change     func(w *world)
		comment    func(c *forge.Comment)
		want       string // in the reply; empty: it is answered
	}{
		{name: "the one gate", body: "/approve", who: alice},
		{name: "by name and with words", body: "/approve GO-LIVE -m 'ship it'", who: alice},
		{name: "by its stage", body: "/reject prod", who: alice},
		{name: "no such gate", body: "/approve staging", who: alice, want: "no such gate waits"},
		{name: "another run", body: "/approve --run 4", who: alice, want: "no such gate waits"},
		{name: "its run", body: "/approve --run 3", who: alice},
		{name: "two gates", body: "/approve", who: alice, change: func(w *world) {
			w.executions = append(w.executions, waiting("x2", headSHA))
		}, want: "several gates wait, name one: `go-live` (web, `--run x1`), `go-live` (web, `--run x2`)"},
		{name: "the head has moved", body: "/approve", who: alice, change: func(w *world) {
			w.executions[0].Trigger.SHA = oldSHA
		}, want: "2222222 is not the head any more, which is 1111111"},
		{name: "another commit is named", body: "/approve --sha " + oldSHA, who: alice, want: "the gate waits at 1111111"},
		{name: "the gate came after the comment", body: "/approve", who: alice, change: func(w *world) {
			w.executions[0].Stages[0].Actions[0].StartedAt = noon.Add(time.Second)
		}, want: "was not there yet"},
		{name: "a review of another commit", body: "/approve", who: alice, comment: func(c *forge.Comment) {
			c.Review, c.SHA = true, oldSHA
		}, want: "the review is of 2222222"},
		{name: "not one of the approvers", body: "/approve", who: alice, change: func(w *world) {
			w.executions = []pipeline.Execution{waiting("x1", headSHA, "bob", "team/release", "other/ops")}
		}, want: "you are not one of the gate's approvers"},
		{name: "her own change", body: "/approve", who: alice, change: func(w *world) {
			x := waiting("x1", headSHA)
			x.Stages[0].Actions[0].Approval.ForbidAuthor = true
			w.executions = []pipeline.Execution{x}
		}, want: "who started it, or opened its pull request, may not approve it"},
		{name: "with what it asks for", body: "/approve TARGET=blue", who: alice, change: func(w *world) {
			w.executions[0].Stages[0].Actions[0].Approval.Fields = []pipeline.Field{{Name: "TARGET", Type: pipeline.ChoiceField, Options: []string{"blue"}, Required: true}}
		}},
		{name: "without what it needs", body: "/approve", who: alice, change: func(w *world) {
			w.executions[0].Stages[0].Actions[0].Approval.Fields = []pipeline.Field{{Name: "TARGET", Type: pipeline.TextField, Required: true}}
		}, want: "field TARGET: a value is needed"},
		{name: "a field that there isn't", body: "/approve go-live TARGET=blue", who: alice, want: "the approval has no field"},
		{name: "named", body: "/approve", who: rita, change: func(w *world) {
			w.executions = []pipeline.Execution{waiting("x1", headSHA, "@Rita")}
		}},
		{name: "in a named team", body: "/approve", who: alice, change: func(w *world) {
			w.executions = []pipeline.Execution{waiting("x1", headSHA, "bob", "team/release")}
			w.teams["octo/release/alice"] = true
		}},
		{name: "named, but a stranger to the repository", body: "/approve", who: eve, change: func(w *world) {
			w.executions = []pipeline.Execution{waiting("x1", headSHA, "eve")}
		}, want: "it needs the permission to read"},
		{name: "the server's approvers win over the file's", body: "/approve", who: alice, change: func(w *world) {
			w.executions = []pipeline.Execution{waiting("x1", headSHA, "alice")}
			w.env = pipeline.Environment{Approvers: []string{"bob"}}
		}, want: "you are not one of the gate's approvers"},
		{name: "an environment that names nobody leaves the file's", body: "/approve", who: alice, change: func(w *world) {
			w.executions = []pipeline.Execution{waiting("x1", headSHA, "bob")}
			w.executions[0].Trigger.Actor = rita
			w.env = pipeline.Environment{PreventSelfReview: true}
		}, want: "you are not one of the gate's approvers"},
		{name: "one's own execution", body: "/approve", who: alice, change: func(w *world) {
			w.env = pipeline.Environment{PreventSelfReview: true}
		}, want: "who started an execution may not approve it here"},
		{name: "a refusal of the engine", body: "/approve", who: alice, change: func(w *world) {
			w.refusal = &pipeline.Refusal{Code: pipeline.ApprovalAlreadyCompleted, Msg: "bob has answered already"}
		}, want: "bob has answered already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.executions = []pipeline.Execution{waiting("x1", headSHA)}
			if tt.change != nil {
				tt.change(w)
			}
			c := forge.Comment{ID: "99", Body: tt.body, Author: tt.who, Pull: 7, CreatedAt: noon}
			if tt.comment != nil {
				tt.comment(&c)
			}
			d, said := w.hear(t, c)
			if tt.want != "" {
				if d.Decision != pipeline.DecisionIgnored || !strings.Contains(said, tt.want) || w.refusal == nil && len(w.events) > 0 {
					t.Errorf("got %+v, %q, events %+v", d, said, w.events)
				}
				return
			}
			if d.Decision != pipeline.DecisionActed || len(w.events) != 1 {
				t.Fatalf("got %+v, %q, events %+v", d, said, w.events)
			}
			e := w.events[0]
			if e.Type != pipeline.ApprovalGiven || e.Token != "token-x1" || e.Stage != "Prod" || e.Action != "go-live" || e.By != tt.who.Login ||
				e.Enable != strings.HasPrefix(tt.body, "/approve") || strings.Contains(tt.body, "ship it") != (e.Reason == "ship it") {
				t.Errorf("got event %+v", e)
			}
		})
	}
}

// In a protected environment a comment deploys what its author can have seen.
//
// Attacks: 3.
func TestDeployIsOfACommitThatWasSeen(t *testing.T) {
	seen := func(sha string, at time.Time) pipeline.Execution {
		x := ended("x1", "web", pipeline.Succeeded)
		x.Trigger.SHA, x.CreatedAt = sha, at
		return x
	}
	tests := []struct {
		name, body string
		known      []pipeline.Execution
		open       bool   // the environment has no approvers
		want       string // in the reply; empty: it runs
	}{
		{"built before", "/deploy production", []pipeline.Execution{seen(headSHA, noon.Add(-time.Minute))}, false, ""},
		{"built in that second", "/deploy production", []pipeline.Execution{seen(headSHA, noon.Add(time.Second/2))}, false, ""},
		{"built since", "/deploy production", []pipeline.Execution{seen(headSHA, noon.Add(2*time.Second))}, false, "say which commit you have looked at: `/deploy production --sha 1111111`"},
		{"another was built", "/deploy production", []pipeline.Execution{seen(oldSHA, noon.Add(-time.Minute))}, false, "say which commit"},
		{"named", "/deploy production --sha " + headSHA[:8], nil, false, ""},
		{"the head has moved", "/deploy production --sha " + oldSHA[:8], nil, false, "2222222 is not the head any more"},
		{"unprotected", "/deploy production", nil, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.executions = tt.known
			if !tt.open {
				w.env.Approvers = []string{"alice"}
			}
			d, said := w.say(t, alice, tt.body)
			if (tt.want == "") != (d.Decision == pipeline.DecisionStarted && len(w.runs) == 1) || !strings.Contains(said, tt.want) {
				t.Errorf("got %+v, %q, runs %v", d, said, w.runs)
			}
		})
	}
}

func TestCancelIsForStartersToo(t *testing.T) {
	w := newWorld()
	w.executions = []pipeline.Execution{waiting("x1", headSHA), ended("x0", "web", pipeline.Failed)}
	w.executions[0].Trigger.Actor = rita
	if d, said := w.say(t, rita, "/cancel --abandon"); d.Decision != pipeline.DecisionActed || len(w.events) != 1 || w.events[0].Stop != pipeline.StopAbandon {
		t.Errorf("got %+v, %q, %+v", d, said, w.events)
	}
	if _, said := w.say(t, alice, "/cancel nothing-of-that-name"); !strings.Contains(said, "nothing of that is running") {
		t.Errorf("said %q", said)
	}
}

func TestRetestRunsWhatDidNotSucceed(t *testing.T) {
	w := newWorld()
	w.executions = []pipeline.Execution{ended("a2", "lint", pipeline.Succeeded), ended("b1", "unit", pipeline.Failed), ended("a1", "lint", pipeline.Failed), ended("c1", "slow", pipeline.Stopped)}
	d, said := w.say(t, alice, "/retest")
	if diff := cmp.Diff([]string{"b1", "c1"}, w.reruns); diff != "" || d.Decision != pipeline.DecisionStarted || !strings.Contains(said, "[unit](https://ci.example/executions/again-b1)") {
		t.Errorf("%+v, %q (-want +got)\n%s", d, said, diff)
	}
}

func TestRollbackTakesTheGoodOneBefore(t *testing.T) {
	deployed := func(id string, status pipeline.Status) pipeline.Execution {
		x := ended(id, "web", status)
		x.Trigger.Pull = nil
		x.Pipeline.Stages = []pipeline.Stage{{Name: "Prod", Environment: "production"}}
		x.Stages = []pipeline.StageExecution{{Name: "Prod", Status: status}}
		return x
	}
	for name, tt := range map[string]struct {
		executions []pipeline.Execution
		body, want string
	}{
		"what is there succeeded":    {[]pipeline.Execution{deployed("x3", pipeline.Succeeded), deployed("x2", pipeline.Failed), deployed("x1", pipeline.Succeeded)}, "/rollback production", "x1"},
		"what is there failed":       {[]pipeline.Execution{deployed("x3", pipeline.Failed), deployed("x2", pipeline.Succeeded)}, "/rollback production", "x2"},
		"a named one":                {[]pipeline.Execution{deployed("x3", pipeline.Succeeded), deployed("x2", pipeline.Succeeded), deployed("x1", pipeline.Succeeded)}, "/rollback production --to x1", "x1"},
		"nothing was there before":   {[]pipeline.Execution{deployed("x3", pipeline.Succeeded)}, "/rollback production", ""},
		"another environment's name": {[]pipeline.Execution{deployed("x3", pipeline.Failed), deployed("x2", pipeline.Succeeded)}, "/rollback staging", ""},
	} {
		w := newWorld()
		w.executions, w.pr.Closed = tt.executions, true
		_, said := w.say(t, alice, tt.body)
		switch {
		case tt.want == "" && len(w.events) > 0, tt.want != "" && (len(w.events) != 1 || w.events[0].Target != tt.want || w.events[0].Type != pipeline.RollbackWanted):
			t.Errorf("%s: %+v, %q", name, w.events, said)
		}
	}
}

// One reply for the whole comment, one reaction, and a stranger's replies are
// one comment that is updated.
func TestReplies(t *testing.T) {
	w := newWorld()
	d, said := w.say(t, alice, "/slipway tset\n/deploy prod extra\n/status\n/cancel")
	for _, want := range []string{"did you mean `/test`?", "there are too many arguments; usage: `/deploy ENV", "Nothing has run for 1111111.", "nothing of that is running"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in the reply:\n%s", want, said)
		}
	}
	if len(w.comments) != 1 || !slices.Equal(w.reactions, []string{"confused"}) || d.Decision != pipeline.DecisionActed {
		t.Errorf("comments %v, reactions %v, decision %+v", w.comments, w.reactions, d)
	}
	w = newWorld()
	for i := range 3 {
		w.hear(t, forge.Comment{ID: fmt.Sprint(i), Body: "/deploy production", Author: eve, Pull: 7, CreatedAt: noon})
	}
	if len(w.comments) != 1 || w.comments["reply-to-3"] == "" {
		t.Errorf("comments %v", w.comments)
	}
	w.say(t, rita, "/help")
	if body := w.comments["help"]; !strings.Contains(body, "`/status") || strings.Contains(body, "`/deploy") {
		t.Errorf("help for who may read:\n%s", body)
	}
}

// A forge that fails in the middle has the comment tried again: what was done
// is not done twice, and nobody is told that somebody else has done it.
func TestOutageRepeatsNothing(t *testing.T) {
	away := &forge.RetryError{Err: errors.New("500")}
	for _, what := range []string{"reaction", "team"} {
		w := newWorld()
		w.executions = []pipeline.Execution{waiting("x1", headSHA, "team/release")}
		w.teams["octo/release/alice"] = true
		w.outage[what] = away
		c := forge.Comment{ID: "99", Body: "/test\n/approve", Author: alice, Pull: 7, CreatedAt: noon}
		if d, err := w.try(t, c, "d1"); !errors.Is(err, away) {
			t.Fatalf("%s: got %+v, %v, want it tried again", what, d, err)
		}
		w.executions[0].Stages[0].Actions[0].StartedAt = noon.Add(time.Hour) // what is there now is another gate
		if len(w.events) == 0 {
			w.executions[0].Stages[0].Actions[0].StartedAt = noon.Add(-time.Minute)
		}
		d, err := w.try(t, c, "d1")
		if err != nil || d.Decision != pipeline.DecisionStarted || len(w.runs) != 1 || len(w.events) != 1 {
			t.Errorf("%s: got %+v, %v, runs %v, events %v", what, d, err, w.runs, w.events)
		}
		if said := w.comments["reply-99"]; !strings.Contains(said, "Running for") || !strings.Contains(said, "Approved: go-live") || strings.Contains(said, "was not done") {
			t.Errorf("%s: said %q", what, said)
		}
	}
}

// A crash between an approval and the note that it was done: the next try finds
// no gate any more, and must not tell who approved that nothing waits. Found by
// make chaos.
func TestCrashAfterTheDeedIsAnsweredWithTheDeed(t *testing.T) {
	for body, want := range map[string]string{"/approve": "Approved: go-live", "/cancel\n/status": "| pipeline | status"} {
		w := newWorld()
		w.executions = []pipeline.Execution{waiting("x1", headSHA)}
		w.outage["state"] = errors.New("redis is away")
		c := forge.Comment{ID: "99", Body: body, Author: alice, Pull: 7, CreatedAt: noon}
		if _, err := w.try(t, c, "d1"); err == nil || len(w.events) != 1 {
			t.Fatalf("%s: %v, events %v; want the outage after the deed", body, err, w.events)
		}
		w.executions[0].Status = pipeline.Succeeded
		w.executions[0].Stages[0].Actions[0].Status = pipeline.Succeeded
		d, err := w.try(t, c, "d1")
		said := w.comments["reply-99"]
		if err != nil || d.Decision != pipeline.DecisionActed || len(w.events) != 1 || !strings.Contains(said, want) || strings.Contains(said, "was not done") {
			t.Errorf("%s: %+v, %v, said %q, events %v", body, d, err, said, w.events)
		}
		if e := w.noted["chat:github:d1:0:0"]; e.Outcome != "done" {
			t.Errorf("%s: noted %+v", body, w.noted)
		}
	}
}

// Output of builds is attackers' text.
//
// Attacks: 36.
func TestLogsStayWithinTheirFence(t *testing.T) {
	w := newWorld()
	w.log = "one\ntwo\n\x1b[31mred\x1b[0m\x07\n```\n</details> @everyone\n"
	w.executions = []pipeline.Execution{ended("x1", "web", pipeline.Failed)}
	w.executions[0].Stages = []pipeline.StageExecution{{Name: "Build", Actions: []pipeline.ActionExecution{{Name: "unit", Job: "b1", Status: pipeline.Failed}}}}
	_, said := w.say(t, rita, "/logs unit -n 3")
	if strings.Contains(said, "two") || strings.Contains(said, "\x1b") || !strings.Contains(said, "````\nred\n```\n</details> @everyone\n````") {
		t.Errorf("said:\n%s", said)
	}
	if _, said := w.say(t, rita, "/logs unit -n 201"); !strings.Contains(said, "-n wants a number from 1 to 200") {
		t.Errorf("said %q", said)
	}
}

// Each command of the table is done by something, and the reference names it.
func TestTableIsWhole(t *testing.T) {
	if len(acts) != len(Commands) {
		t.Errorf("%d acts, %d commands", len(acts), len(Commands))
	}
	for _, s := range Commands {
		if acts[s.Name] == nil || !strings.Contains(Reference(), "`/"+s.Name) || s.Help == "" || s.Who == "" {
			t.Errorf("%s: incomplete", s.Name)
		}
	}
}

// What is somebody else's is no failure of ours where the forge can't be asked.
func TestSomebodyElsesCommandsNeedNoForge(t *testing.T) {
	for body, want := range map[string]string{"/lgtm": pipeline.DecisionIgnored, "/status": pipeline.DecisionFailed, "/lgtm\n/status": pipeline.DecisionFailed} {
		w := newWorld()
		w.outage["permission"] = forge.ErrNotFound
		if d, _ := w.say(t, alice, body); d.Decision != want {
			t.Errorf("%q: got %+v, want %s", body, d, want)
		}
	}
}

// A repository's own commands: forges reference 5.4, on_comment.
func TestCustomCommands(t *testing.T) {
	tests := []struct {
		name, body string
		who        forge.User
		change     func(*world)
		run        string // the line that pipelines were asked for
		said       string // in the reply; empty: there is none
		decision   string
	}{
		{name: "known to a pipeline", body: "/bench fast", who: alice, run: "/bench fast", said: "Running for 1111111", decision: pipeline.DecisionStarted},
		{name: "with our prefix", body: "/slipway bench fast", who: alice, run: "/bench fast", said: "Running for 1111111", decision: pipeline.DecisionStarted},
		{name: "by the author", body: "/bench", who: rita, run: "/bench", said: "Running for 1111111", decision: pipeline.DecisionStarted},
		{name: "somebody else's", body: "/lgtm", who: alice, decision: pipeline.DecisionIgnored},
		{name: "beside one of ours", body: "/lgtm\n/status", who: alice, said: "Nothing has run", decision: pipeline.DecisionActed},
		{name: "a stranger isn't answered", body: "/bench", who: eve, decision: pipeline.DecisionIgnored},
		{name: "on a closed pull request", body: "/bench", who: alice, change: func(w *world) { w.pr.Closed = true }, decision: pipeline.DecisionIgnored},
		{name: "a typing mistake with our prefix", body: "/slipway tset", who: alice, said: "did you mean `/test`?", decision: pipeline.DecisionIgnored},
		{name: "on a stranger's pull request", body: "/bench", who: alice, change: func(w *world) {
			w.refusal = &pipeline.Refusal{Code: pipeline.ValidationException, Msg: "the pull request is a stranger's"}
		}, run: "/bench", said: "the pull request is a stranger's", decision: pipeline.DecisionIgnored},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			if tt.change != nil {
				tt.change(w)
			}
			d, said := w.say(t, tt.who, tt.body)
			run := ""
			if len(w.runs) == 1 {
				run = w.runs[0].Comment
			}
			if run != tt.run || d.Decision != tt.decision || !strings.Contains(said, tt.said) || tt.said == "" && len(w.comments)+len(w.reactions) > 0 {
				t.Errorf("got %q, %+v, %q, %v", run, d, said, w.reactions)
			}
		})
	}
}
