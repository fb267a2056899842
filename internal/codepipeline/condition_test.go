package codepipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
)

// declared has what the V2 type of pipelines knows: conditions, triggers,
// variables, an execution mode, and sources that are polled.
const declared = `{"pipeline": {"name": "web", "pipelineType": "V2", "executionMode": "QUEUED",
 "variables": [{"name": "REGION", "defaultValue": "eu-west-1"}, {"name": "TICKET"}],
 "triggers": [
  {"providerType": "CodeStarSourceConnection", "gitConfiguration": {"sourceActionName": "Code", "push": [
   {"branches": {"includes": ["main"], "excludes": ["wip-*"]}, "filePaths": {"includes": ["api/**"]}}], "pullRequest": [{"events": ["OPEN"], "branches": {"includes": ["main"]}}]}},
  {"providerType": "CodeStarSourceConnection", "gitConfiguration": {"sourceActionName": "Config", "push": [{"branches": {"includes": ["live"]}}]}}],
 "stages": [
  {"name": "Source", "actions": [
   {"name": "Code", "namespace": "src", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1"},
    "configuration": {"FullRepositoryId": "octo/web", "BranchName": "main", "DetectChanges": "true"}, "outputArtifacts": [{"name": "code"}]},
   {"name": "Config", "namespace": "cfg", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1"},
    "configuration": {"FullRepositoryId": "octo/config", "BranchName": "live", "DetectChanges": "false"}, "outputArtifacts": [{"name": "config"}]},
   {"name": "Data", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
    "configuration": {"S3Bucket": "cfg", "S3ObjectKey": "prod.zip", "PollForSourceChanges": "true", "AllowOverrideForS3ObjectKey": "true"}, "outputArtifacts": [{"name": "data"}]},
   {"name": "Image", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "ECR", "version": "1"}, "configuration": {}, "outputArtifacts": [{"name": "image"}]}]},
  {"name": "Prod",
   "beforeEntry": {"conditions": [{"result": "SKIP", "rules": [
    {"name": "main", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1"},
     "configuration": {"Variable": "#{src.BranchName}", "Value": "main", "Operator": "EQ"}}]}]},
   "onSuccess": {"conditions": [{"result": "ROLLBACK", "rules": [
    {"name": "quiet", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "CloudWatchAlarm", "version": "1"}, "timeoutInMinutes": 20,
     "configuration": {"AlarmName": "errors", "AlarmStates": "OK, INSUFFICIENT_DATA", "WaitTime": "15"}},
    {"name": "open", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "DeploymentWindow", "version": "1"},
     "configuration": {"Cron": "* * 9-16 ? * MON-THU *", "TimeZone": "Europe/Berlin"}},
    {"name": "smoke", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "Commands", "version": "1"}, "commands": ["make smoke"], "inputArtifacts": [{"name": "config"}]},
    {"name": "ask", "region": "eu-west-1", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "LambdaInvoke", "version": "1"}, "configuration": {"FunctionName": "f"}}]}]},
   "onFailure": {"result": "ROLLBACK", "conditions": [{"result": "ROLLBACK", "rules": [
    {"name": "loud", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "CodeBuild", "version": "1"}, "configuration": {"ProjectName": "probe"}, "inputArtifacts": [{"name": "code"}]}]}]},
   "actions": [
    {"name": "Go", "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
     "configuration": {"NotificationArn": "arn:aws:sns:eu-west-1:111111111111:releases"}}]}]}}`

const importedFile = `slipway: 1
name: web
mode: queued
variables:
  REGION:
    default: eu-west-1
  TICKET:
    required: true
on:
  push:
    - branches: [main, '!wip-*']
      paths: [api/**]
  pull_request:
    - events: [open]
      branches: [main]
sources:
  code:
    branch: main
  config:
    repository: octo/config
    branch: live
    namespace: cfg
  data:
    s3: cfg/prod.zip
stages:
  - name: Prod
    actions:
      - approve: Go
        notify: sns:arn:aws:sns:eu-west-1:111111111111:releases
    before:
      all:
        - if: '#{code.BranchName} == main'
      else: skip
    on_success:
      all:
        - alarm: errors
          states: [OK, INSUFFICIENT_DATA]
          wait: 15m
          timeout: 20m
        - window: '* * 9-16 ? * MON-THU *'
          tz: Europe/Berlin
        - run: smoke
          commands:
            - make smoke
          in: config
      else: rollback
    on_failure:
      all:
        - build: loud
          project: probe
          in: code
      do: rollback
`

func TestConditionsAndSources(t *testing.T) {
	got, err := Read("p.json", []byte(declared), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(importedFile, string(got.File)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p := pipeline.ParseFile(".slipway/web.yml", got.File)[0].Problems; p.HasErrors() {
		t.Errorf("it isn't valid: %v", p)
	}
	var notes []string
	for _, n := range got.Notes {
		if n.Fate != Mapped {
			notes = append(notes, string(n.Fate)+" "+n.Path+": "+n.Text)
		}
	}
	want := []string{
		"approximated pipeline.stages[0].actions[0].namespace: references to src became code",
		"needs action pipeline.stages[0].actions[0].configuration: put the file into the repository octo/web",
		"needs action pipeline.stages[0].actions[1]: list octo/config in sources of the repository's project in slipway.yaml",
		"needs action pipeline.stages[0].actions[2]: list s3://cfg/prod.zip in sources of the repository's project in slipway.yaml",
		"dropped pipeline.stages[0].actions[2].configuration: a change of s3://cfg/prod.zip starts nothing: on.schedule can look at times",
		"dropped pipeline.stages[0].actions[2].configuration.AllowOverrideForS3ObjectKey: nothing here corresponds to it",
		"needs action pipeline.stages[0].actions[3]: a source of type ECR beside the repository is not supported yet: fetch it in a run action",
		"dropped pipeline.triggers[1]: only the repository that holds the file starts the pipeline, not source Config",
		"needs action pipeline.stages[1].actions[0].configuration.NotificationArn: the server needs a notification target of that topic in slipway.yaml",
		"approximated pipeline.stages[1].actions[0]: whoever may write to the repository approves: name approvers for fewer",
		"needs action pipeline.stages[1].onSuccess.conditions[0].rules[0].configuration: alarm errors is to be an alerting rule of the server's Prometheus",
		"needs action pipeline.stages[1].onSuccess.conditions[0].rules[3]: a rule of type LambdaInvoke is not supported, and the stage goes on without it: write an http check for it",
		"needs action pipeline.stages[1].onFailure.conditions[0].rules[0].configuration.ProjectName: set up the project probe of this repository in slipway.yaml, or delete the line for the repository's buildspec.yml",
		"dropped pipeline.pipelineType: there is one type of pipeline",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("what is reported (-want +got)\n%s", diff)
	}
}
