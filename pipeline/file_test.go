package pipeline

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// The example of CodePipeline reference 6.1, less what is not supported yet.
const wholeFile = `slipway: 1
name: web
mode: superseded
supersede: approvals
variables:
  REGION: eu-west-1
  LEVEL: {default: info, description: log level}
  TICKET: {required: true}
on:
  push:
    - branches: [main, "release/**", "!release/old"]
      paths: ["api/**", "lib/**", "!**/*.md"]
    - tags: ["v*"]
  pull_request:
    - events: [open, updated]
      branches: [main]
sources:
  app: {branch: main}
  config: {s3: cfg-bucket/prod.zip}
stages:
  - name: Build
    actions:
      - build: unit
        project: web-unit
        in: app
        env: {COMMIT: "#{app.CommitId}", REGION: "#{variables.REGION}"}
        out: [bundle, reports]
        timeout: 30m
      - parallel:
          - run: scan
            commands: [make scan]
            in: [bundle, reports]
          - run: e2e
            commands: [make e2e]
            in: bundle
            exports: [E2E_URL]
    on_failure: {retry: failed}
  - name: Approve
    actions:
      - approve: go-live
        message: "Release #{app.CommitId}: #{app.CommitMessage}"
        url: "#{e2e.E2E_URL}"
        approvers: [octo/release]
        timeout: 2d
        autoRejectOnSupersede: true
        fields:
          NOTE: none
          TARGET: {type: choice, options: [blue, green], required: true, description: which half}
  - name: Prod
    environment: production
    actions:
      - codedeploy: fleet.eu
        application: web
        group: prod
        in: bundle
        onAbandon: cancel
      - http: ping
        order: 7
        url: https://example.com/deployed
        method: POST
        body: '{"approved_by": "#{go-live.ApprovedBy}", "target": "#{go-live.TARGET}"}'
    on_failure: rollback
`

func TestParseFile(t *testing.T) {
	got := ParseFile(".slipway/web.yml", []byte(wholeFile))
	want := []FilePipeline{{
		Triggers: Triggers{
			Branch: "main",
			Push: []PushFilter{
				{Branches: Criterion{[]string{"main", "release/**"}, []string{"release/old"}}, Paths: Criterion{[]string{"api/**", "lib/**"}, []string{"**/*.md"}}},
				{Tags: Criterion{[]string{"v*"}, nil}},
			},
			Pull: []PullFilter{{Events: []PullEvent{PullOpen, PullUpdated}, Branches: Criterion{[]string{"main"}, nil}}},
		},
		Pipeline: Pipeline{
			Name: "web", Mode: SupersededMode, File: ".slipway/web.yml", SupersedeApprovals: true, Branch: "main",
			Variables: []VariableSpec{{Name: "REGION", Default: "eu-west-1"}, {Name: "LEVEL", Default: "info", Description: "log level"}, {Name: "TICKET", Required: true}},
			Stages: []Stage{
				{Name: "Source", Actions: []Action{{Name: "app", Category: Source, Provider: GitProvider, RunOrder: 1, Namespace: "app", Outputs: []string{"app"}}, {
					Name: "config", Category: Source, Provider: S3Provider, RunOrder: 1, Namespace: "config", Outputs: []string{"config"},
					Configuration: map[string]string{ConfigBucket: "cfg-bucket", ConfigObjectKey: "prod.zip"},
				}}},
				{Name: "Build", OnFailure: OnFailure{Retry: FailedActions}, Actions: []Action{
					{
						Name: "unit", Category: BuildCat, Provider: CodeBuildProvider, RunOrder: 1, Namespace: "unit", Inputs: []string{"app"}, Outputs: []string{"bundle", "reports"},
						Configuration: map[string]string{ConfigProject: "web-unit"}, Timeout: 30 * time.Minute,
						Environment: map[string]string{"COMMIT": "#{app.CommitId}", "REGION": "#{variables.REGION}"},
					},
					{Name: "scan", Category: BuildCat, Provider: CommandsProvider, RunOrder: 2, Namespace: "scan", Inputs: []string{"bundle", "reports"}, Commands: []string{"make scan"}},
					{Name: "e2e", Category: BuildCat, Provider: CommandsProvider, RunOrder: 2, Namespace: "e2e", Inputs: []string{"bundle"}, Commands: []string{"make e2e"}, Exports: []string{"E2E_URL"}},
				}},
				{Name: "Approve", Actions: []Action{{
					Name: "go-live", Category: Approval, Provider: ManualProvider, RunOrder: 1, Namespace: "go-live", Approvers: []string{"octo/release"}, Timeout: 48 * time.Hour, AutoReject: true,
					Fields: []Field{
						{Name: "NOTE", Type: TextField, Default: "none"},
						{Name: "TARGET", Type: ChoiceField, Options: []string{"blue", "green"}, Required: true, Description: "which half"},
					},
					Configuration: map[string]string{ConfigMessage: "Release #{app.CommitId}: #{app.CommitMessage}", ConfigLink: "#{e2e.E2E_URL}"},
				}}},
				{Name: "Prod", Environment: "production", OnFailure: OnFailure{Rollback: true}, Actions: []Action{
					{
						Name: "fleet.eu", Category: Deploy, Provider: CodeDeployProvider, RunOrder: 1, Namespace: "fleet-eu", Inputs: []string{"bundle"},
						Configuration: map[string]string{ConfigApplication: "web", ConfigGroup: "prod"}, OnAbandon: CancelWork,
					},
					{
						Name: "ping", Category: Invoke, Provider: HTTPProvider, RunOrder: 7, Namespace: "ping",
						Configuration: map[string]string{ConfigURL: "https://example.com/deployed", ConfigMethod: "POST", ConfigBody: `{"approved_by": "#{go-live.ApprovedBy}", "target": "#{go-live.TARGET}"}`},
					},
				}},
			},
		},
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(FilePipeline{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if line, column := got[0].At("Prod", "fleet.eu", ConfigGroup); line != 54 || column != 16 {
		t.Errorf("group is at %d:%d, want 54:16", line, column)
	}
}

func TestDocumentsAndDefaults(t *testing.T) {
	const two = "slipway: 1\nstages: [{name: Build, actions: [{build: b}]}]\n---\nslipway: 1\nname: other\nsource_stage: Fetch\n" +
		"stages:\n- name: Build\n  actions:\n  - {build: b, out: o}\n  - parallel: [{test: t}, {test: u}]\n  - {codedeploy: d, group: g}\n"
	got := ParseFile(".slipway/ci.yml", []byte(two))
	if len(got) != 2 {
		t.Fatalf("got %d pipelines", len(got))
	}
	var lines []string
	for _, f := range got {
		for _, p := range f.Problems {
			lines = append(lines, p.String())
		}
		for _, s := range f.Pipeline.Stages {
			for _, a := range s.Actions {
				lines = append(lines, strings.Join([]string{f.Pipeline.Name, s.Name, a.Name, itoa(a.RunOrder), strings.Join(a.Inputs, ",")}, " "))
			}
		}
	}
	want := []string{
		"ci Source app 1 ", "ci Build b 1 app",
		"other Fetch app 1 ", "other Build b 1 app", "other Build t 2 o", "other Build u 2 o", "other Build d 3 o",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// stagesFile is a file with these stages.
func stagesFile(stages string) string { return "slipway: 1\nstages:\n" + stages }

// conditionFile is a file with one stage, whose further keys begin in line 5.
func conditionFile(keys string) string {
	return stagesFile("- name: S\n  actions: [{build: b}]\n  " + keys + "\n")
}

// actionsFile is a file with one stage of these actions, which begin in line 5.
func actionsFile(actions string) string {
	return stagesFile("- name: S\n  actions:\n" + actions)
}

func TestMistakesInFiles(t *testing.T) {
	build := "  - build: b\n"
	tests := []struct {
		name, in string
		want     string // line:column code text, one a line
	}{
		{"all at once", "nmae: x\nmode: fast\nstages:\n- name: a b\n  actions: []\n", `
1:1 unknown-key unknown key nmae (did you mean name?)
1:1 missing-key the version is missing (write slipway: 1)
2:7 wrong-value mode: want superseded, queued or parallel, have "fast"
4:9 SP108 stages[0].name: want 1 to 100 letters, digits and . @ - _, have "a b"
5:12 SP103 stages[0]: the stage has no actions`},
		{"version", "slipway: 2\nstages: [{name: S, actions: [{build: b}]}]\n", `1:10 wrong-value slipway: want version 1, have "2"`},
		{"SP101 no stages", "slipway: 1\n", "1:1 SP101 stages is missing: want at least one"},
		{"SP101 empty", "slipway: 1\nstages: []\n", "2:9 SP101 stages: want at least one"},
		{"SP102", stagesFile("- {name: A, actions: [{build: b}]}\n- {name: A, actions: [{build: c}]}\n"), "4:10 SP102 stages[1]: another stage is called A too"},
		{"SP102 the source's", stagesFile("- {name: Source, actions: [{build: b}]}\n"), "3:10 SP102 stages[0]: another stage is called Source too"},
		{"SP103", stagesFile("- name: A\n"), "3:3 SP103 stages[0]: the stage has no actions"},
		{"SP108 stage without a name", stagesFile("- actions: [{build: b}]\n"), "3:3 SP108 stages[0]: the stage has no name"},
		{"SP108 two documents of one name", "slipway: 1\nname: a\nstages: [{name: S, actions: [{build: b}]}]\n---\nslipway: 1\nname: a\nstages: [{name: S, actions: [{build: b}]}]\n", "6:7 SP108 another pipeline of this file is called a too"},
		{"SP201", actionsFile(build + build), "6:12 SP201 stages[0].actions[1]: another action of this stage is called b too"},
		{"SP203 min", actionsFile("  - {approve: b, min: 2, forbidAuthor: true}\n  - {approve: c, min: 0}\n"), "6:23 SP203 stages[0].actions[1].min: want how many people have to approve, 1 to 20, have \"0\""},
		{"SP203 notify", actionsFile("  - {approve: b, notify: [\"#{app.BranchName}\"]}\n  - {approve: c, notify: []}\n"), `5:27 SP203 stages[0].actions[0].notify[0]: want up to 20 targets of the server's, such as releases or slack:#releases, have "#{app.BranchName}"
6:26 SP203 stages[0].actions[1].notify: want a target of the server's, such as releases or slack:#releases, have none`},
		{"SP202 no type", actionsFile("  - {name: b}\n"), "5:5 SP202 stages[0].actions[0]: want one of approve, build, codedeploy, http, run or test, which says what the action does"},
		{"SP202 two types", actionsFile("  - {build: b, test: c}\n"), "5:16 SP202 stages[0].actions[0]: an action does one thing, this one has build and test"},
		{"SP203", actionsFile("  - run: r\n  - codedeploy: d\n  - http: h\n"), "5:5 SP203 stages[0].actions[0]: run needs commands\n6:5 SP203 stages[0].actions[1]: codedeploy needs group\n7:5 SP203 stages[0].actions[2]: http needs url"},
		{"SP203 unknown key", actionsFile(build + "    comands: [x]\n"), "6:5 unknown-key unknown key stages[0].actions[0].comands"},
		{"SP204", actionsFile(build + "    order: 0\n  - build: c\n    order: 1000\n  - build: d\n    order: x\n"), `
6:12 SP204 stages[0].actions[0].order: want a number from 1 to 999, have "0"
8:12 SP204 stages[0].actions[1].order: want a number from 1 to 999, have "1000"
10:12 SP204 stages[0].actions[2].order: want a number from 1 to 999, have "x"`},
		{"SP205", actionsFile("  - {build: b, out: [a, c, d, e, f, g]}\n  - {approve: p, in: app}\n"), `
5:5 SP205 stages[0].actions[0].out: want at most 5 output artifacts, have 6
6:5 SP205 stages[0].actions[1].in: this type of action takes no input artifact`},
		{"SP206 unknown", actionsFile("  - {build: b, in: ap}\n"), "5:20 SP206 stages[0].actions[0].in: no action makes artifact ap"},
		{"SP206 same order", actionsFile("  - parallel:\n    - {build: b, out: o}\n    - {build: c, in: o}\n"), "7:22 SP206 stages[0].actions[0].parallel[1].in: artifact o is made by action b, which isn't done before"},
		{"SP206 ambiguous", actionsFile("  - {build: b, out: [o, p]}\n  - {build: c}\n"), `
5:25 SP501 warning: no action takes in artifact p
6:5 SP206 warning: stages[0].actions[1]: several artifacts are there to take in, and it takes o (say which with in: o, or p)`},
		{"SP206 side by side", actionsFile("  - parallel: [{build: a, out: o}, {build: b, out: p}]\n  - {build: c}\n"), "6:5 SP206 stages[0].actions[1]: several artifacts are there to take in (say which with in: o, or p)"},
		{"SP207", actionsFile("  - {build: b, out: o}\n  - {build: c, in: o, out: [o, app]}\n"), "6:29 SP207 artifact o is an output of two actions\n6:32 SP207 artifact app is an output of two actions"},
		{"SP211", actionsFile("  - {build: b, timeout: 3d}\n  - {build: c, timeout: soon}\n  - {approve: p, timeout: 1m}\n"), `
5:25 SP211 stages[0].actions[0].timeout: want 1m0s to 36h0m0s, have 3d
6:25 wrong-value stages[0].actions[1].timeout: want a time such as 30m, 8h or 2d, have "soon"
7:27 SP211 stages[0].actions[2].timeout: want 5m0s to 1440h0m0s, have 1m`},
		{"SP212 reserved", actionsFile("  - {build: variables}\n"), "5:5 SP212 stages[0].actions[0]: the namespace variables is reserved (give it another one with namespace)"},
		{"SP212 twice", actionsFile("  - {build: a.b}\n  - {build: c, namespace: a-b}\n"), "6:27 SP212 stages[0].actions[1]: the namespace a-b is that of action a.b of stage S already"},
		{"SP212 an artifact's", actionsFile("  - {build: b, out: o, namespace: o}\n  - {build: c}\n"), "5:35 SP212 stages[0].actions[0]: the namespace o is the name of an artifact"},
		{"SP213, case 30c", actionsFile("  - parallel:\n    - {run: b, commands: [x], exports: [V]}\n    - {run: c, commands: [\"echo #{b.V}\"]}\n"), "7:27 SP213 stages[0].actions[0].parallel[1].commands[0]: #{b.V}: action b, which makes it, isn't done before"},
		{"SP213 no namespace", actionsFile("  - {build: b, env: {A: \"#{nope.V}\"}}\n"), "5:25 SP213 stages[0].actions[0].env.A: #{nope.V}: there is no namespace nope"},
		{"SP213 not exported", actionsFile("  - {run: a, commands: [x]}\n  - {build: b, env: {A: \"#{a.V}\"}}\n"), "6:25 SP213 stages[0].actions[1].env.A: #{a.V}: action a doesn't export V"},
		{"SP213 of the source", actionsFile("  - {build: b, env: {A: \"#{app.Commit}\"}}\n"), "5:25 SP213 stages[0].actions[0].env.A: #{app.Commit}: want one of CommitId, CommitMessage, RepositoryName, FullRepositoryName, BranchName, AuthorId, Author, EventType, TagName, PullRequestId, PullRequestTitle, SourceBranchName, DestinationBranchName"},
		{"SP213 open brace", actionsFile("  - {build: b, env: {A: \"#{app.CommitId\"}}\n"), `5:25 SP213 stages[0].actions[0].env.A: "#{app.CommitId" has no closing brace; a plain #{ is written ##{`},
		{"SP215", actionsFile("  - {build: b, env: {A: \"#{variables.X}\"}}\n"), "5:25 SP215 stages[0].actions[0].env.A: #{variables.X}: the pipeline declares no variable X"},
		{"SP303, T7", "slipway: 1\non: {push: [{branches: [main], tags: [v1]}]}\nstages: [{name: S, actions: [{build: b}]}]\n", "2:13 SP303 on.push[0]: tags can't be combined with branches or paths (make it two filters)"},
		{"SP303 empty", "slipway: 1\non: {push: [{}], pull_request: }\nstages: [{name: S, actions: [{build: b}]}]\n", "2:13 SP303 on.push[0]: an empty filter; want branches, tags or paths\n2:18 SP303 on.pull_request: want a list of filters, have nothing"},
		{"SP303 glob", "slipway: 1\ntriggers: {push: {branches: [\"[a\"]}}\nstages: [{name: S, actions: [{build: b}]}]\n", "2:30 SP303 on.push[0].branches[0]: pattern \"[a\": [ without ]"},
		{"SP403", "mode: parallel\n" + stagesFile("- {name: S, actions: [{build: b}], on_failure: rollback}\n"), "4:48 SP403 stages[0].on_failure: a pipeline with mode: parallel can't roll back"},
		{"SP404", stagesFile("- {name: S, actions: [{build: b}], on_failure: {retry: never}}\n"), `3:56 SP404 stages[0].on_failure.retry: want failed or all, have "never"`},
		{"SP203 comparisons", conditionFile("before: {if: x == }"), `5:16 SP203 stages[0].before.if: want VALUE == VALUE, or !=, contains, matches, with blanks around it, have "x =="`},
		{"SP203 patterns", conditionFile("before: {if: \"x matches (?=a)\"}"), "5:16 SP203 stages[0].before.if: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
		{"SP203 windows", conditionFile("before: {all: [{window: \"* * 25 ? * *\", tz: Nowhere}]}"), `5:27 SP203 stages[0].before.all[0].window: hour: want 0 to 23, a list, a range or a step, have "25"
5:47 SP203 stages[0].before.all[0].tz: want a time zone such as Europe/Berlin, have "Nowhere"`},
		{"SP203 thresholds", conditionFile("before: {all: [{prometheus: up}, {prometheus: up, threshold: high}]}"), `5:18 SP203 stages[0].before.all[0]: prometheus needs threshold
5:64 SP203 stages[0].before.all[1].threshold: want a comparison with a number, such as "< 0.01", have "high"`},
		{"SP401 results", conditionFile("before: {if: x == y, else: rollback}\n  on_success: {if: x == y, else: skip}"), `5:30 SP401 stages[0].before.else: want fail or skip, have "rollback"
6:34 SP401 stages[0].on_success.else: want fail or rollback, have "skip"`},
		{"SP401 rules", conditionFile("before: {all: []}\n  on_success: {all: [{}]}\n  on_failure: {all: [{if: x == y}]}"), `5:11 SP401 stages[0].before: want 1 to 5 checks under all, have 0
6:22 SP401 stages[0].on_success.all[0]: want one of alarm, build, http, if, prometheus, run or window, which says what is checked
7:15 SP401 stages[0].on_failure: with checks, want do: rollback`},
		{"SP402", conditionFile("before: {all: [{window: \"* * * ? * *\"}], else: skip}"), "5:11 SP402 stages[0].before: with else: skip the checks are if or http, not deploymentwindow"},
		{"SP403 on success", "mode: parallel\n" + conditionFile("on_success: {if: x == y, else: rollback}"), "6:15 SP403 stages[0].on_success: a pipeline with mode: parallel can't roll back"},
		{"SP404 retry with checks", conditionFile("on_failure: {all: [{if: x == y}], retry: failed}"), "5:15 SP404 stages[0].on_failure: retry can't be combined with checks"},
		{"SP213 of a rule", conditionFile("before: {if: \"#{b.X} == y\"}"), "5:16 SP213 stages[0].before.if: #{b.X}: action b, which makes it, isn't done before"},
		{"schedules", "on: {schedule: [{cron: \"0 25 * * *\"}, {tz: Mars}, {cron: \"0 0 30 2 *\"}]}\n" + stagesFile("- {name: S, actions: [{build: b}]}\n"), `
1:24 wrong-value on.schedule[0].cron: hour: want 0 to 23, a list, a range or a step, have "25"
1:39 missing-key on.schedule[1]: cron is missing
1:44 wrong-value on.schedule[1].tz: want a time zone such as Europe/Berlin, have "Mars"
1:58 wrong-value on.schedule[2].cron: there is no such time`},
		{"not supported yet", "extends: x\non: {manual: [{cron: x}], push: {tags: v}}\nsources: {app: {clone: x}}\n" + stagesFile("- {name: S, matrix: {if: x}, needs: {}, actions: [{helm: h}, {build: b, secret: {}}]}\n"), `
1:1 not-supported extends is not supported yet
2:6 not-supported on.manual is not supported yet
3:17 not-supported sources.app.clone is not supported yet
6:13 not-supported stages[0].matrix is not supported yet
6:30 not-supported stages[0].needs is not supported yet
6:52 not-supported stages[0].actions[0]: actions of type helm are not supported yet (a run action can do it with commands)
6:73 not-supported stages[0].actions[1].secret is not supported yet`},
		{"sources", "sources: {app: {}, a: {s3: b}, b: {s3: b/k.zip, branch: x}, c: {repository: x}, d: {git: \"http://h/x\"}, e: {git: \"https://u:p@h/x\"}, f: {}, g: {s3: b/k, namespace: app}, h: {s3: b/k.zip, git: \"https://h\"}}\n" + actionsFile("  - {build: x, in: [a, b, c, d, e], env: {A: \"#{b.CommitId}\"}}\n"), `
1:28 SP203 sources.a.s3: want BUCKET/KEY of an object, have "b"
1:49 SP203 sources.b: an object in a bucket has no branch
1:77 SP203 sources.c.repository: want OWNER/NAME, have "x"
1:90 SP203 sources.d.git: want an https address without a user or password, have "http://h/x"
1:114 SP203 sources.e.git: want an https address without a user or password, have "https://u:p@h/x"
1:134 SP203 sources.f: only one source is this repository (say what this one is with repository, git or s3)
1:149 SP203 sources.g.s3: want the key of an archive, which ends in .zip, .tar, .tgz, .tar.gz, have "k"
1:165 SP212 sources.g: the namespace app is that of source app already
1:188 SP203 sources.h: a source is one thing, this one is s3 and git
6:46 SP213 stages[0].actions[0].env.A: #{b.CommitId}: want one of VersionId, ETag, BucketName, ObjectKey`},
		{"sources without this repository", "sources: {a: {s3: b/k.zip}}\n" + actionsFile("  - {build: b, in: a}\n"), "1:10 SP203 sources: one of them has to be this repository (add one with nothing but a branch, such as app: {branch: main})"},
		{"fields", actionsFile("  - {approve: a, fields: {Comment: x, N: {type: number, default: many}, C: {type: choice}, T: {options: [a, a]}, X: {type: date}}}\n  - {build: b, onAbandon: forget, env: {A: \"#{a.M}\"}}\n"), `
5:27 SP203 stages[0].actions[0].fields.Comment: every approval has an output of that name
5:42 SP203 stages[0].actions[0].fields.N: default: want a number, have "many"
5:76 SP203 stages[0].actions[0].fields.C: options go with type: choice
5:95 SP203 stages[0].actions[0].fields.T: options go with type: choice
5:109 SP203 stages[0].actions[0].fields.T.options[1]: want up to 50 different values, have "a"
5:124 SP203 stages[0].actions[0].fields.X.type: want text, number, boolean or choice, have "date"
6:27 wrong-value stages[0].actions[1].onAbandon: want cancel or detach, have "forget"
6:44 SP213 stages[0].actions[1].env.A: #{a.M}: approval a doesn't ask for M`},
		{"parallel", actionsFile("  - {parallel: [], name: x}\n  - parallel: [{build: b, order: 2}]\n"), `
5:16 SP103 stages[0].actions[0].parallel: want actions, have none
5:20 unknown-key stages[0].actions[0].name: beside parallel only order is allowed
6:27 SP204 stages[0].actions[1].parallel[0].order: not allowed within parallel`},
		{"variables", "variables: {A: {default: x, required: yes}, \"b c\": 1}\n" + stagesFile("- {name: S, actions: [{build: b}]}\n"), `
1:16 wrong-value variables.A: want a default or required, have both
1:45 SP108 variables: want 1 to 128 letters, digits and @ - _, have "b c"`},
		{"doubts are warnings", "on: {push: {paths: [\"**/go.mod\"]}}\n" + actionsFile("  - {build: b, out: o, env: {API_TOKEN: hunter2}}\n  - {codedeploy: d, group: g, in: app}\n  - {approve: p}\n"), `
1:21 SP303 warning: on.push[0].paths[0]: a file at the root of the repository doesn't match "**/go.mod" (add "go.mod")
6:21 SP501 warning: no action takes in artifact o
6:41 SP501 warning: stages[0].actions[0].env.API_TOKEN: this looks like a secret, and everybody who reads the repository reads it
8:5 SP501 warning: stages[0].actions[2]: an approval after a deployment in one stage keeps others out until it is answered`},
		{"what others choose is no command", actionsFile("  - {run: b, commands: [\"echo #{app.CommitMessage}\"], env: {M: \"#{app.CommitMessage}\"}}\n"), `
5:25 SP501 warning: stages[0].actions[0].commands[0]: #{app.CommitMessage} is chosen by whoever pushes, and the shell would run what is in it (pass it in env, and write "$NAME" in the command)`},
		{"paths out of the repository", actionsFile("  - {build: b, buildspec: ../x.yml}\n  - {http: h, url: file:///etc/passwd}\n"), `
5:27 SP203 stages[0].actions[0].buildspec: want a path within the repository, have "../x.yml"
6:20 SP203 stages[0].actions[1].url: want an address that begins with https:// or http://, have "file:///etc/passwd"`},
		{"no map", "[a]", "1:1 wrong-type want a map at the top level, have a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range ParseFile(".slipway/x.yml", []byte(tt.in)) {
				for _, p := range f.Problems {
					position, text, _ := strings.Cut(p.String(), ": ")
					got = append(got, position+" "+p.Code+" "+text)
				}
			}
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(tt.want), "\n"), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(wholeFile))
	f.Add([]byte("slipway: 1\nstages: [{name: S, actions: [{parallel: [{build: b}], order: 3}]}]\n---\na: &a {<<: *a}\n"))
	f.Add([]byte("on:\n  push:\n  - tags: [\"!x\"]\nsources: {app: }\nstages: [{actions: [null, x, {run: r, commands: [null]}]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all := ParseFile(".slipway/x.yml", data)
		if len(all) == 0 {
			t.Fatal("no pipeline, and no mistake either")
		}
		for _, p := range all {
			for _, q := range p.Problems {
				if q.Line < 1 || q.Column < 1 || q.Message == "" || q.Code == "" {
					t.Errorf("a problem without a place: %+v", q)
				}
			}
			if !p.Problems.HasErrors() && (len(p.Pipeline.Stages) < 2 || p.Pipeline.Name == "") {
				t.Errorf("taken for valid: %+v", p.Pipeline)
			}
		}
	})
}

// The schema says of the example, and of what is wrong with it, what ParseFile
// says.
func TestFileSchema(t *testing.T) {
	var doc any
	if err := json.Unmarshal(FileSchema(), &doc); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("pipeline.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("pipeline.json")
	if err != nil {
		t.Fatal(err)
	}
	for text, valid := range map[string]bool{
		wholeFile:                                                                   true,
		actionsFile("  - {build: b}\n"):                                             true,
		actionsFile("  - {build: b, x-a: 1}\n"):                                     true,
		actionsFile("  - {build: b, b: 1}\n"):                                       false,
		actionsFile("  - {helm: b}\n"):                                              false,
		actionsFile("  - {run: b}\n"):                                               false,
		actionsFile("  - {run: b, test: c, commands: [x]}\n"):                       false,
		"mode: fast\n" + actionsFile("  - {build: b}\n"):                            false,
		"on: {comment: []}\n" + actionsFile("  - {build: b}\n"):                     false,
		"on: {comment: '^/bench$'}\n" + actionsFile("  - {build: b}\n"):             true,
		"on: {comment: ['^/bench$', 'bench$']}\n" + actionsFile("  - {build: b}\n"): false,
		"on: {release: {tags: v*}}\n" + actionsFile("  - {build: b}\n"):             true,
		"on: {release: [{prereleases: true}]}\n" + actionsFile("  - {build: b}\n"):  true,
		"on: {release: {}}\n" + actionsFile("  - {build: b}\n"):                     false,
		"on: {release: {names: x}}\n" + actionsFile("  - {build: b}\n"):             false,
		"on: {push: {tags: v1}}\n" + actionsFile("  - {build: b}\n"):                true,
		"sources: {app: {s3: b}}\n" + actionsFile("  - {build: b}\n"):               false,
		"sources: {app: , c: {s3: b/c.zip}, d: {repository: a/b, branch: x}, e: {git: \"https://h/p\", namespace: n}}\n" + actionsFile("  - {build: b}\n"): true,
		"slipway: 1\n": false,
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(plain(value)); (err == nil) != valid {
			t.Errorf("%s\nvalid = %v, want %v: %v", text, err == nil, valid, err)
		}
		if got := !ParseFile("x.yml", []byte(text))[0].Problems.HasErrors(); got != valid {
			t.Errorf("%s\nParseFile: valid = %v, want %v", text, got, valid)
		}
	}
}

// plain is what JSON would have made of a YAML value.
func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		return err.Error()
	}
	return out
}
