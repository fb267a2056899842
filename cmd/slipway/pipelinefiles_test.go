package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
)

// commits are the files of commits, by "sha:path".
type commits map[string]string

func (c commits) ReadFile(_ context.Context, o pipeline.SourceOrder, path string) ([]byte, error) {
	if text, ok := c[o.SHA+":"+path]; ok {
		return []byte(text), nil
	}
	return nil, pipeline.ErrNotFound
}

func (c commits) List(_ context.Context, o pipeline.SourceOrder, folder string) ([]string, error) {
	var out []string
	for name := range c {
		if path, ok := strings.CutPrefix(name, o.SHA+":"+folder+"/"); ok && !strings.Contains(path, "/") {
			out = append(out, folder+"/"+path)
		}
	}
	slices.Sort(out)
	return out, nil
}

type nobody struct{}

func (nobody) Clone(context.Context, forge.Repo, int64) (user, password string, err error) {
	return "", "", forge.ErrNoCredentials
}

func defined(t *testing.T, files commits, trigger pipeline.Trigger) []pipeline.Definition {
	t.Helper()
	cfg := config.Config{
		Limits: config.Limits{BuildTimeout: time.Hour, Executions: 7},
		Projects: []config.Project{
			{Repository: "local/octo/web", Compute: "small", Timeout: 20 * time.Minute, StatusContext: "ci/web"},
			{Repository: "local/octo/web", Name: "heavy", Labels: "gpu", Compute: "large", Concurrency: 2},
			{Repository: "local/octo/other", Name: "secret", Variables: map[string]string{"TOKEN": "x"}},
		},
		Environments:     []config.Environment{{Name: "production", Approvers: []string{"bob"}}, {Name: "staging"}},
		DeploymentGroups: []config.DeploymentGroup{{Name: "prod", Repository: "local/octo/web"}, {Name: "theirs", Repository: "local/octo/other"}},
	}
	d := &definitions{cfg: cfg, credentials: nobody{}, files: files}
	defs, _, err := d.Pipelines(t.Context(), forge.Repo{Forge: "local", Owner: "octo", Name: "web", DefaultBranch: "main"}, trigger)
	if err != nil {
		t.Fatal(err)
	}
	return defs
}

func oneStage(name, actions string) string {
	return "slipway: 1\nname: " + name + "\nstages:\n- name: S\n  actions:\n" + actions
}

func TestPipelineFilesReplaceTheImpliedPipeline(t *testing.T) {
	files := commits{
		"a:buildspec.yml":     "version: 0.2",
		"a:.slipway/b.yml":    oneStage("b", "  - build: x\n    out: o\n  - {codedeploy: y, group: prod}\n"),
		"a:.slipway/a.yml":    oneStage("a", "  - {build: x, project: heavy, timeout: 5m}\n  - {run: z, commands: [make]}\n"),
		"a:.slipway/notes.md": "nothing",
	}
	var got []string
	for _, d := range defined(t, files, pipeline.Trigger{SHA: "a", Ref: "refs/heads/main"}) {
		if d.Problem != nil || d.Triggers == nil || d.Pipeline.Implied || d.Pipeline.Check != "" || d.Pipeline.MaxExecutions != 7 {
			t.Errorf("%s: %+v", d.Pipeline.Name, d)
		}
		for _, a := range d.Pipeline.Stages[1].Actions {
			got = append(got, fmt.Sprintln(d.Project, d.Pipeline.Name, d.Pipeline.File, a.Name, a.Labels, a.Compute, a.Concurrency, a.Timeout))
		}
	}
	want := []string{
		"octo-web a .slipway/a.yml x gpu large 2 5m0s\n",
		"octo-web a .slipway/a.yml z " + strings.Join(config.Labels(""), ",") + " small 0 20m0s\n",
		"octo-web b .slipway/b.yml x " + strings.Join(config.Labels(""), ",") + " small 0 20m0s\n",
		"octo-web b .slipway/b.yml y prod  1 8h0m0s\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if defs := defined(t, commits{"a:buildspec.yml": ""}, pipeline.Trigger{SHA: "a"}); len(defs) != 1 || !defs[0].Pipeline.Implied || defs[0].Triggers != nil || defs[0].Pipeline.Check != "ci/web" {
		t.Errorf("without a pipeline file: %+v", defs)
	}
}

func TestMistakesInPipelineFilesAreDefinitionsThatFail(t *testing.T) {
	tests := []struct {
		name, file, text string
		problem          string
		annotations      int
	}{
		{"syntax", ".slipway/x.yml", "a: *b", ".slipway/x.yml:1:4: unknown anchor 'b' referenced at line 1 (line 1: a value can't start with this character; put it in quotes)", 1},
		{"several", ".slipway/x.yml", oneStage("a", "  - {build: x, tiemout: 1m, in: o}\n"), ".slipway/x.yml:6:16: unknown key stages[0].actions[0].tiemout (did you mean timeout?); and 1 more", 2},
		{"another repository's group", ".slipway/x.yml", oneStage("a", "  - {codedeploy: x, group: theirs}\n"), `.slipway/x.yml:6:28: the server has no deployment group "theirs" for octo/web`, 1},
		{"a group named by a variable", ".slipway/x.yml", oneStage("a", "  - {codedeploy: x, group: \"#{app.CommitMessage}\"}\n"), `.slipway/x.yml:6:28: the server has no deployment group "#{app.CommitMessage}" for octo/web`, 1},
		{"another repository's project", ".slipway/x.yml", oneStage("a", "  - {build: x, project: secret}\n"), `.slipway/x.yml:6:25: the server has no project "secret" for octo/web`, 1},
		{"nobody to tell", ".slipway/x.yml", oneStage("a", "  - {approve: x, notify: [\"slack:#releases\"]}\n"), `.slipway/x.yml:6:26: the server has no notification target "slack:#releases"`, 1},
		{"a source that no project lists", ".slipway/x.yml", "sources: {app: {}, c: {repository: octo/other}}\n" + oneStage("a", "  - {build: x}\n"),
			".slipway/x.yml:1:36: the server lets no project of octo/web take in local/octo/other: sources of the project lists what it may", 1},
		{"not .yml", ".slipway/x.yaml", oneStage("a", "  - {build: x}\n"), ".slipway/x.yaml:1:1: pipeline files end in .yml: rename it", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defs := defined(t, commits{"a:" + tt.file: tt.text, "a:.slipway/good.yml": oneStage("good", "  - {build: x}\n")}, pipeline.Trigger{SHA: "a"})
			if len(defs) != 2 || defs[0].Problem != nil {
				t.Fatalf("one file's mistake must not hide another file: %+v", defs)
			}
			if got := defs[1]; got.Problem == nil || got.Problem.Error() != tt.problem || len(got.Annotations) != tt.annotations || got.Annotations[0].Path != tt.file {
				t.Errorf("got %v and %+v; want %s", got.Problem, got.Annotations, tt.problem)
			}
		})
	}
}

func TestPipelinesOfOneNameInTwoFiles(t *testing.T) {
	defs := defined(t, commits{"a:.slipway/1.yml": oneStage("a", "  - {build: x}\n"), "a:.slipway/2.yml": oneStage("a", "  - {build: x}\n")}, pipeline.Trigger{SHA: "a"})
	if len(defs) != 2 || defs[0].Problem != nil || defs[1].Problem == nil || defs[1].Pipeline.Name == "a" ||
		!strings.Contains(defs[1].Problem.Error(), "a pipeline of .slipway/1.yml is called a too") {
		t.Errorf("got %+v", defs)
	}
}

// An outsider's pull request must not choose what runs.
//
// Attacks: 4.
func TestAForksPipelineFileIsTheBases(t *testing.T) {
	files := commits{
		"head:.slipway/x.yml": oneStage("theirs", "  - {run: x, commands: [steal]}\n"),
		"base:.slipway/x.yml": oneStage("ours", "  - {build: x}\n"),
	}
	pull := &forge.PullRequest{Number: 1, HeadSHA: "head", HeadRepoID: "2", BaseSHA: "base", BaseRef: "main", BaseRepoID: "1"}
	if defs := defined(t, files, pipeline.Trigger{SHA: "head", Pull: pull}); len(defs) != 1 || defs[0].Pipeline.Name != "ours" {
		t.Errorf("a fork's: got %+v", defs)
	}
	pull.HeadRepoID = "1"
	if defs := defined(t, files, pipeline.Trigger{SHA: "head", Pull: pull}); len(defs) != 1 || defs[0].Pipeline.Name != "theirs" {
		t.Errorf("the repository's own: got %+v", defs)
	}
}

func TestWhatAGroupIsNotForIsNotDeployed(t *testing.T) {
	own := forge.Repo{Forge: "local", Owner: "octo", Name: "web", DefaultBranch: "main"}
	other := forge.Repo{Forge: "local", Owner: "octo", Name: "other", DefaultBranch: "main"}
	g := config.DeploymentGroup{Name: "prod", Repository: "local/octo/web"}
	wide := config.DeploymentGroup{Name: "prod", Repository: "local/octo/web", Branches: []string{"main", "release-*", "refs/tags/v*"}}
	staging := config.DeploymentGroup{Name: "staging", Repository: "local/octo/web", Environment: "staging", Branches: []string{"**"}}
	prod := config.DeploymentGroup{Name: "prod", Repository: "local/octo/web", Environment: "production"}
	tests := []struct {
		name  string
		group config.DeploymentGroup
		repo  forge.Repo
		ref   string
		pull  string // "-": a pull request; else one that somebody wants in that environment
		want  string // part of why not; empty: it is
	}{
		{"default branch", g, own, "refs/heads/main", "", ""},
		{"another repository", g, other, "refs/heads/main", "", "is not for octo/other"},
		{"another branch", g, own, "refs/heads/dev", "", "is not for refs/heads/dev"},
		{"a tag", g, own, "refs/tags/v1", "", "is not for refs/tags/v1"},
		{"a pull request", g, own, "refs/heads/main", "-", "a pull request is not deployed"},
		{"a pull request that somebody wants there", staging, own, "refs/heads/feature/topic", "staging", ""},
		{"one that is wanted elsewhere", staging, own, "refs/heads/topic", "preview", "unless somebody asks for it: /deploy staging"},
		{"one whose branch the group isn't for", prod, own, "refs/heads/topic", "production", "is not for refs/heads/topic"},
		{"one to a group without environment", g, own, "refs/heads/main", "-", "is not deployed to group prod"},
		{"a branch that matches", wide, own, "refs/heads/release-1", "", ""},
		{"a tag that matches", wide, own, "refs/tags/v1", "", ""},
		{"a tag that doesn't", wide, own, "refs/tags/main", "", "is not for refs/tags/main"},
	}
	queued := pipeline.Trigger{Ref: "refs/heads/gh-readonly-queue/main/pr-7", Event: pipeline.MergeGroupEvent, Trusted: true}
	if err := mayDeploy(staging, own, queued); err == nil || !strings.Contains(err.Error(), "it is not merged yet") {
		t.Errorf("a merge group: got %v", err)
	}
	if g, ok := groupFor(config.Config{DeploymentGroups: []config.DeploymentGroup{staging}}, own, queued); ok {
		t.Errorf("a merge group is deployed to %s by the implied pipeline", g.Name)
	}
	for _, tt := range tests {
		trigger := pipeline.Trigger{Ref: tt.ref, Trusted: true}
		if tt.pull != "" {
			trigger.Pull, trigger.DeployTo = &forge.PullRequest{}, strings.TrimPrefix(tt.pull, "-")
		}
		err := mayDeploy(tt.group, tt.repo, trigger)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// An environment's approvers are the server's to name: a pipeline file can
// neither choose others nor ask nobody.
func TestEnvironmentsAreProtected(t *testing.T) {
	defs := defined(t, commits{"c1:.slipway/p.yml": `slipway: 1
name: web
stages:
  - name: Own
    environment: production
    actions:
      - approve: ask
        approvers: [mallory]
      - run: live
        commands: [deploy]
  - name: None
    environment: production
    actions:
      - run: live-2
        commands: [deploy]
  - name: Free
    environment: staging
    actions:
      - run: live-3
        commands: [deploy]
`}, pipeline.Trigger{SHA: "c1", Ref: "refs/heads/main", Trusted: true})
	if len(defs) != 1 || defs[0].Problem != nil {
		t.Fatalf("got %+v", defs)
	}
	var got []string
	for _, s := range defs[0].Pipeline.Stages[1:] {
		for _, a := range s.Actions {
			got = append(got, fmt.Sprintf("%s/%s by %v", s.Name, a.Name, a.Approvers))
		}
		if first := s.Actions[0]; first.Category == pipeline.Approval && first.RunOrder >= s.Actions[1].RunOrder {
			t.Errorf("stage %s goes on without an answer", s.Name)
		}
	}
	want := []string{"Own/ask by [bob]", "Own/live by []", "None/approve-production by [bob]", "None/live-2 by []", "Free/live-3 by []"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
