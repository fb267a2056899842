package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

// shop is an execution with one action of each kind, which all have started.
func shop(actions ...pipeline.Action) pipeline.Execution {
	src := pipeline.Stage{Name: "Source", Actions: []pipeline.Action{{Name: "app", Category: pipeline.Source, Outputs: []string{"app"}}}}
	built := pipeline.Stage{Name: "Build", Actions: []pipeline.Action{{Name: "unit", Category: pipeline.BuildCat, Outputs: []string{"bundle"}}}}
	x := pipeline.Execution{
		ID: "x", Repo: forge.Repo{Forge: "github", ID: "1", Owner: "octo", Name: "shop"},
		Pipeline: pipeline.Pipeline{Stages: []pipeline.Stage{src, built, {Name: "Do", Actions: actions}}},
		Stages: []pipeline.StageExecution{
			{Name: "Source", Actions: []pipeline.ActionExecution{{Name: "app", Status: pipeline.Succeeded}}},
			{Name: "Build", Actions: []pipeline.ActionExecution{{
				Name: "unit", Status: pipeline.Succeeded, Artifacts: []pipeline.Artifact{{Name: pipeline.BuildArtifact, Digest: "d1"}},
			}}},
			{Name: "Do"},
		},
	}
	for _, a := range actions {
		x.Stages[2].Actions = append(x.Stages[2].Actions, pipeline.ActionExecution{
			Name: a.Name, Status: pipeline.InProgress, Attempt: 1, Number: 7,
			Resolved: &pipeline.Settings{Configuration: a.Configuration, Commands: a.Commands, Environment: a.Environment},
		})
	}
	return x
}

func shopOrders() *orders {
	return &orders{
		credentials: nobody{}, now: time.Now,
		cfg: config.Config{
			Image:        "busybox",
			ComputeTypes: map[string]config.Compute{"large": {CPUs: 4}},
			Projects: []config.Project{
				{Repository: "github/octo/shop", Variables: map[string]string{"A": "project", "B": "project"}},
				{Repository: "github/octo/shop", Name: "deep", Buildspec: "deep.yml", Image: "deep-image", Compute: "large"},
				{Repository: "github/octo/other", Name: "theirs", Privileged: true, Variables: map[string]string{"KEY": "secret"}},
			},
			DeploymentGroups: []config.DeploymentGroup{{Name: "prod", Application: "their-app"}},
		},
	}
}

func jobOf(action string) pipeline.Job {
	return pipeline.Job{ID: "j", Stage: "Do", Action: action, Timeout: time.Minute, Trusted: true}
}

func TestBuildOrders(t *testing.T) {
	o := shopOrders()
	x := shop(
		pipeline.Action{Name: "plain", Provider: pipeline.CodeBuildProvider, Environment: map[string]string{"B": "action"}},
		pipeline.Action{Name: "deep", Provider: pipeline.CodeBuildProvider, Configuration: map[string]string{pipeline.ConfigProject: "deep"}, Inputs: []string{"app"}},
		pipeline.Action{Name: "own", Provider: pipeline.CodeBuildProvider, Configuration: map[string]string{
			pipeline.ConfigBuildspec: "own.yml", pipeline.ConfigImage: "own-image",
		}, Inputs: []string{"bundle", "app"}},
		pipeline.Action{Name: "theirs", Provider: pipeline.CodeBuildProvider, Configuration: map[string]string{pipeline.ConfigProject: "theirs"}},
		pipeline.Action{Name: "lost", Provider: pipeline.CodeBuildProvider, Inputs: []string{"nope"}},
	)
	order := func(action string) *pipeline.BuildOrder {
		t.Helper()
		b, err := o.Build(t.Context(), jobOf(action), x)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := order("plain")
	want := []pipeline.Variable{{Name: "A", Value: "project"}, {Name: "B", Value: "project"}, {Name: "B", Value: "action"}} // the last one counts
	if diff := cmp.Diff(want, plain.Variables); diff != "" || plain.Number != 7 || plain.Inputs != nil || plain.Image != "busybox" {
		t.Errorf("%+v (-want +got)\n%s", plain, diff)
	}
	if b := order("deep"); b.Buildspec != "deep.yml" || b.Image != "deep-image" || b.Limits.CPUs != 4 || b.Inputs != nil || len(b.Variables) != 0 {
		t.Errorf("a project of its own: %+v", b)
	}
	own := order("own")
	inputs := []pipeline.Input{{Name: "bundle", Artifact: pipeline.Artifact{Name: pipeline.BuildArtifact, Digest: "d1"}}, {Name: "app", Source: true}}
	if diff := cmp.Diff(inputs, own.Inputs); diff != "" || own.Buildspec != "own.yml" || own.Image != "own-image" {
		t.Errorf("%+v (-want +got)\n%s", own, diff)
	}
	for action, want := range map[string]string{
		"theirs": `the server has no project "theirs" for octo/shop`, "lost": "the input artifact nope was not made by any action before",
	} {
		if _, err := o.Build(t.Context(), jobOf(action), x); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", action, err, want)
		}
	}
}

// TestWebhookVariables fixes what a build is told of its trigger: C42, a push
// that makes a branch, and C43, a pull request; nothing, if it has no webhook.
//
// Attacks: 15.
// In the wild: 21.
func TestWebhookVariables(t *testing.T) {
	o := shopOrders()
	sha, zeros := strings.Repeat("a", 40), strings.Repeat("0", 40)
	tests := []struct {
		name    string
		trigger pipeline.Trigger
		want    map[string]string
	}{
		{
			"C42 new branch", pipeline.Trigger{Event: "PUSH", Ref: "refs/heads/x", SHA: sha, Before: zeros, Actor: forge.User{ID: "12"}, UserAgent: "GitHub-Hookshot/1"},
			map[string]string{
				"CODEBUILD_WEBHOOK_TRIGGER": "branch/x", "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/x", "CODEBUILD_WEBHOOK_PREV_COMMIT": zeros,
				"CODEBUILD_WEBHOOK_BASE_REF": "", "CODEBUILD_SOURCE_VERSION": sha, "CODEBUILD_WEBHOOK_EVENT": "PUSH",
				"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID": "12", "CODEBUILD_INITIATOR": "GitHub-Hookshot/1",
			},
		},
		{
			"C43 pull request", pipeline.Trigger{Event: "PULL_REQUEST_CREATED", Ref: "refs/heads/feat", SHA: sha, Pull: &forge.PullRequest{Number: 8, BaseRef: "main"}},
			map[string]string{
				"CODEBUILD_WEBHOOK_TRIGGER": "pr/8", "CODEBUILD_SOURCE_VERSION": "pr/8", "CODEBUILD_WEBHOOK_HEAD_REF": "refs/heads/feat",
				"CODEBUILD_WEBHOOK_BASE_REF": "refs/heads/main", "CODEBUILD_RESOLVED_SOURCE_VERSION": sha,
			},
		},
		{
			"3.4 manual", pipeline.Trigger{Type: "StartPipelineExecution", Ref: "refs/heads/main", SHA: sha, Actor: forge.User{Login: "ada"}},
			map[string]string{"CODEBUILD_INITIATOR": "ada", "CODEBUILD_SOURCE_VERSION": sha, "CODEBUILD_RESOLVED_SOURCE_VERSION": sha},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]string{}
			for _, v := range o.builtIn(&pipeline.BuildOrder{ID: "b"}, pipeline.Execution{Trigger: tt.trigger}, nil) {
				got[v.Name] = v.Value
			}
			for name, want := range tt.want {
				if have, ok := got[name]; !ok || have != want {
					t.Errorf("%s: got %q, want %q", name, have, want)
				}
			}
			if _, set := got["CODEBUILD_WEBHOOK_TRIGGER"]; set != (tt.trigger.Event != "") {
				t.Errorf("variables of a webhook: %v", set)
			}
		})
	}
}

// Attacks: 15.
func TestOrdersOfCommands(t *testing.T) {
	o := shopOrders()
	x := shop(
		pipeline.Action{Name: "run", Provider: pipeline.CommandsProvider, Commands: []string{`echo "a: b" # c`, "if true\nthen ls\nfi"}, Exports: []string{"URL"}, Outputs: []string{"out"}},
		pipeline.Action{Name: "empty", Provider: pipeline.CommandsProvider},
	)
	b, err := o.Build(t.Context(), jobOf("run"), x)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"echo \"a: b\" # c"`, `"if true\nthen ls\nfi"`, `"exported-variables": [`, `"URL"`, `"**/*"`} {
		if !strings.Contains(b.Buildspec, want) {
			t.Errorf("no %s in\n%s", want, b.Buildspec)
		}
	}
	if _, err := o.Build(t.Context(), jobOf("empty"), x); err == nil || err.Error() != "the action has no commands" {
		t.Errorf("got %v", err)
	}
}

func TestOrdersOfRequests(t *testing.T) {
	x := shop(
		pipeline.Action{Name: "tell", Provider: pipeline.HTTPProvider, Configuration: map[string]string{pipeline.ConfigURL: "https://x", pipeline.ConfigBody: "b"}},
		pipeline.Action{Name: "none", Provider: pipeline.HTTPProvider},
	)
	got, err := shopOrders().HTTP(t.Context(), jobOf("tell"), x)
	want := &pipeline.HTTPOrder{ID: "j", Method: "POST", URL: "https://x", Body: "b", Timeout: time.Minute}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if _, err := shopOrders().HTTP(t.Context(), jobOf("none"), x); err == nil {
		t.Error("a request without a URL is ordered")
	}
}
