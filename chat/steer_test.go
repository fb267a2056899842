package chat

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// staged is a failed execution with a stage for production.
func staged() pipeline.Execution {
	x := ended("x1", "web", pipeline.Failed)
	x.Board = "board"
	x.Pipeline.Stages = []pipeline.Stage{{Name: "Build"}, {Name: "Prod", Environment: "production"}}
	x.Stages = []pipeline.StageExecution{{Name: "Build", Status: pipeline.Succeeded}, {Name: "Prod", Status: pipeline.Failed}}
	return x
}

func TestRunStartsAnyPipeline(t *testing.T) {
	w := newWorld()
	d, _ := w.say(t, alice, "/run nightly LEVEL=full")
	want := []pipeline.PullRun{{Pipelines: []string{"nightly"}, Variables: map[string]string{"LEVEL": "full"}}}
	if diff := cmp.Diff(want, w.runs); diff != "" || d.Decision != pipeline.DecisionStarted {
		t.Errorf("%+v (-want +got)\n%s", d, diff)
	}
	for name, who := range map[string]forge.User{"the author, who may read": rita, "a stranger": eve} {
		w := newWorld()
		if _, said := w.say(t, who, "/run nightly"); len(w.runs) > 0 || !strings.Contains(said, "it needs the permission to write") {
			t.Errorf("%s: %q, %v", name, said, w.runs)
		}
	}
	w = newWorld()
	w.pr.HeadRepoID = "666"
	if _, said := w.say(t, alice, "/run nightly"); len(w.runs) > 0 || !strings.Contains(said, "/ok-to-test 1111111") {
		t.Errorf("a fork's: %q, %v", said, w.runs)
	}
}

func TestRetry(t *testing.T) {
	tests := []struct {
		name, body string
		approvers  []string
		want       string // in the reply; empty: it runs
		mode       pipeline.RetryMode
	}{
		{name: "what failed", body: "/retry prod", mode: pipeline.FailedActions},
		{name: "all", body: "/retry Prod --all", mode: pipeline.AllActions},
		{name: "a stage that succeeded", body: "/retry Build", want: "no stage of that name has failed for 1111111"},
		{name: "somebody else's environment", body: "/retry Prod", approvers: []string{"bob"}, want: "you are not one of those who may deploy to production"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.executions, w.env.Approvers = []pipeline.Execution{staged()}, tt.approvers
			_, said := w.say(t, alice, tt.body)
			if tt.want != "" {
				if len(w.events) > 0 || !strings.Contains(said, tt.want) {
					t.Errorf("got %q, %+v", said, w.events)
				}
				return
			}
			if len(w.events) != 1 || w.events[0].Type != pipeline.RetryRequested || w.events[0].Stage != "Prod" || w.events[0].Retry != tt.mode || w.events[0].Execution != "x1" {
				t.Errorf("got %q, %+v", said, w.events)
			}
		})
	}
}

func TestStopOfDeployments(t *testing.T) {
	own := pipeline.Revision{Repo: "github/octo/web"}
	w := newWorld()
	w.deployed = []pipeline.Deployment{
		{ID: "d-1", Environment: "production", Status: pipeline.DeploymentBaking, Revision: own},
		{ID: "d-2", Environment: "production", Status: pipeline.DeploymentQueued, Revision: own},
		{ID: "d-3", Environment: "staging", Status: pipeline.DeploymentInProgress, Revision: own},
		{ID: "d-4", Environment: "production", Status: pipeline.DeploymentInProgress, Revision: pipeline.Revision{Repo: "github/octo/other"}},
		{ID: "d-5", Environment: "production", Status: pipeline.DeploymentSucceeded, Revision: own},
	}
	if d, said := w.say(t, alice, "/stop production"); !slices.Equal(w.stopped, []string{"d-1", "d-2"}) || d.Decision != pipeline.DecisionActed {
		t.Errorf("stopped %v, %q", w.stopped, said)
	}
	if _, said := w.say(t, alice, "/stop test"); !strings.Contains(said, "nothing of this repository is being deployed to test") {
		t.Errorf("said %q", said)
	}
	w.env.Approvers, w.stopped = []string{"bob"}, nil
	if _, said := w.say(t, alice, "/stop production"); len(w.stopped) > 0 || !strings.Contains(said, "may deploy to production") {
		t.Errorf("stopped %v, %q", w.stopped, said)
	}
}

func TestStopWithRollback(t *testing.T) {
	own := pipeline.Revision{Repo: "github/octo/web"}
	running := func() *world {
		w := newWorld()
		w.deployed = []pipeline.Deployment{
			{ID: "d-1", Environment: "production", Status: pipeline.DeploymentInProgress, Revision: own},
			{ID: "d-2", Environment: "production", Status: pipeline.DeploymentInProgress, Revision: own, Creator: pipeline.CreatorRollback},
			{ID: "d-3", Environment: "production", Status: pipeline.DeploymentQueued, Revision: own},
		}
		return w
	}
	w := running()
	_, said := w.say(t, alice, "/stop production --rollback")
	if !slices.Equal(w.undone, []string{"d-1"}) || !slices.Equal(w.stopped, []string{"d-2", "d-3"}) || !strings.Contains(said, "`d-1`, undone by `back-d-1`") {
		t.Errorf("undone %v, stopped %v, %q", w.undone, w.stopped, said)
	}
	w = running()
	w.nothing = true
	_, said = w.say(t, alice, "/stop production --rollback")
	if len(w.undone) > 0 || !slices.Equal(w.stopped, []string{"d-1", "d-2", "d-3"}) || !strings.Contains(said, "`d-1` (there is nothing to go back to)") {
		t.Errorf("with nothing to go back to: undone %v, stopped %v, %q", w.undone, w.stopped, said)
	}
	w = running()
	w.env.Approvers = []string{"bob"}
	if _, said := w.say(t, alice, "/stop production --rollback"); len(w.undone)+len(w.stopped) > 0 || !strings.Contains(said, "may deploy to production") {
		t.Errorf("undone %v, stopped %v, %q", w.undone, w.stopped, said)
	}
}

func TestHold(t *testing.T) {
	tests := []struct {
		name, body   string
		heldBy       string // empty: it is open
		level        forge.Permission
		want, reason string // in the reply, or of the event
	}{
		{name: "a stage", body: "/hold Prod -m 'freeze until Monday'", reason: "freeze until Monday"},
		{name: "an environment", body: "/hold production", reason: "held by alice in #7"},
		{name: "of that pipeline", body: "/hold prod --pipeline WEB", reason: "held by alice in #7"},
		{name: "no such pipeline", body: "/hold prod --pipeline other", want: "no pipeline here has a stage"},
		{name: "no such stage", body: "/hold staging", want: "no pipeline here has a stage"},
		{name: "held already", body: "/hold prod", heldBy: "bob", want: "nothing changes"},
		{name: "one's own", body: "/unhold prod", heldBy: "alice", reason: "held by alice in #7"},
		{name: "somebody else's", body: "/unhold prod", heldBy: "bob", want: "Prod of web is held by `bob`"},
		{name: "somebody else's, by who maintains", body: "/unhold prod", heldBy: "bob", level: forge.Maintain, reason: "held by alice in #7"},
		{name: "open already", body: "/unhold prod", want: "nothing changes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.executions = []pipeline.Execution{staged()}
			w.board.Stages = map[string]*pipeline.StageState{"Prod": {}}
			if tt.heldBy != "" {
				w.board.Stages["Prod"] = &pipeline.StageState{Disabled: "because", ChangedBy: tt.heldBy}
			}
			if tt.level != "" {
				w.levels["alice"] = tt.level
			}
			_, said := w.say(t, alice, tt.body)
			if tt.want != "" {
				if len(w.events) > 0 || !strings.Contains(said, tt.want) {
					t.Errorf("got %q, %+v", said, w.events)
				}
				return
			}
			if len(w.events) != 1 {
				t.Fatalf("got %q, %+v", said, w.events)
			}
			e := w.events[0]
			if e.Type != pipeline.TransitionFlips || e.Stage != "Prod" || e.Board != "board" || e.Reason != tt.reason || e.Execution != "" || e.Enable != strings.HasPrefix(tt.body, "/unhold") {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestOverride(t *testing.T) {
	root := forge.User{ID: "9", Login: "root"}
	tests := []struct {
		name, body string
		who        forge.User
		change     func(*world)
		want       string // in the reply; empty: it is overridden
	}{
		{name: "by name", body: `/override web -m "the host is flaky"`},
		{name: "as the check is called", body: `/override "slipway / WEB" -m "the host is flaky"`},
		{name: "as the status is called", body: `/override slipway/web -m "the host is flaky"`},
		{name: "by its project's name for it", body: `/override CI/unit -m "the host is flaky"`, change: func(w *world) { w.executions[0].Pipeline.Check = "ci/unit" }},
		{name: "no reason", body: "/override web", want: "say why: `/override web -m"},
		{name: "an empty reason", body: `/override web -m " "`, want: "say why"},
		{name: "another's check", body: "/override lint -m x", want: "no check of ours at 1111111 has that name"},
		{name: "a writer", body: "/override web -m x", who: alice, want: "it needs the permission to admin (you have write)"},
		{name: "a stranger", body: "/override web -m x", who: eve, want: "it needs the permission to admin (you have none)"},
		{name: "it ended since", body: "/override web -m x", change: func(w *world) { w.executions[0].EndedAt = noon.Add(time.Hour) },
			want: "web at 1111111 ended after the comment was written; look at it first"},
		{name: "of an older commit", body: "/override web -m x", change: func(w *world) { w.executions[0].Trigger.SHA = oldSHA }, want: "no check of ours"},
		{name: "what the engine refuses", body: "/override web -m x", change: func(w *world) {
			w.refusal = &pipeline.Refusal{Code: pipeline.ValidationException, Msg: "the check passes as it is"}
		}, want: "the check passes as it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.levels["root"] = forge.Admin
			w.executions = []pipeline.Execution{staged()}
			if tt.change != nil {
				tt.change(w)
			}
			if tt.who.ID == "" {
				tt.who = root
			}
			_, said := w.say(t, tt.who, tt.body)
			if tt.want != "" {
				if !strings.Contains(said, tt.want) {
					t.Errorf("got %q, want %q", said, tt.want)
				}
				if tt.change == nil && len(w.events) > 0 {
					t.Errorf("got %+v", w.events)
				}
				return
			}
			if len(w.events) != 1 || w.events[0].Type != pipeline.CheckOverridden || w.events[0].Execution != "x1" || w.events[0].Reason != "the host is flaky" || w.events[0].By != "root" {
				t.Errorf("got %q, %+v", said, w.events)
			}
			if !strings.Contains(said, "passes for 1111111") {
				t.Errorf("got %q", said)
			}
		})
	}
}
