package codepipeline

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
)

const template = `AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  Delivery:
    Type: AWS::CodePipeline::Pipeline
    Properties:
      Name: !Sub "${AWS::StackName}-web"
      RestartExecutionOnUpdate: true
      Stages:
        - Name: Checkout
          Actions:
            - Name: Code
              ActionTypeId: {Category: Source, Owner: ThirdParty, Provider: GitHub, Version: "1"}
              Configuration: {Owner: octo, Repo: web, Branch: main, OAuthToken: "****", PollForSourceChanges: false}
              OutputArtifacts: [{Name: code.zip}]
        - Name: Build
          Actions:
            - Name: Unit
              ActionTypeId: {Category: Build, Owner: AWS, Provider: CodeBuild, Version: "1"}
              Configuration:
                ProjectName: !Ref Unit
                EnvironmentVariables: {"Fn::Sub": "not a list"}
              InputArtifacts: [{Name: code.zip}]
              RunOrder: 4
`

func TestCloudFormation(t *testing.T) {
	got, err := Read("t.yml", []byte(template), "web")
	if err != nil {
		t.Fatal(err)
	}
	const file = `slipway: 1
name: web
sources:
  code-zip:
    branch: main
source_stage: Checkout
stages:
  - name: Build
    actions:
      - build: Unit
        project: ${Unit}
        in: code-zip
`
	if diff := cmp.Diff(file, string(got.File)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	report := got.Markdown()
	for _, want := range []string{
		"`Resources.Delivery.Properties.stages[0].actions[0]", "OAuthToken`: the server's own credentials are used",
		"EnvironmentVariables`: it isn't a JSON list of variables", "ProjectName`: fill in ${Unit}",
		"PollForSourceChanges`: without on, pushes to main start the pipeline here", "put the file into the repository octo/web",
	} {
		if !strings.Contains(strings.ReplaceAll(report, "Stages[0].Actions", "stages[0].actions"), want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
}

func TestWhatIsNoPipeline(t *testing.T) {
	for in, want := range map[string]string{
		"{}":              "x.json:1:1: want a pipeline's declaration: there are no stages",
		"[1]":             "x.json:1:1: want a map at the top level, have a list",
		`{"stages": []}`:  "the declaration has no stages",
		"{\"stages\":\n[": "x.json:",
		"Resources:\n  A: {Type: 'AWS::CodePipeline::Pipeline', Properties: {Stages: []}}\n  B: {Type: 'AWS::CodePipeline::Pipeline'}\n": "x.json:1:1: want one pipeline, the template has 2: copy the one out",
	} {
		if _, err := Read("x.json", []byte(in), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(template))
	if data, err := os.ReadFile("testdata/get-pipeline.json"); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		made, err := Read("x", data, "")
		if err != nil {
			return
		}
		for _, p := range pipeline.ParseFile("x.yml", made.File) {
			for _, q := range p.Problems.Errors() {
				if q.Code == "syntax" || q.Code == "wrong-type" {
					t.Errorf("%s in\n%s", q, made.File)
				}
			}
		}
	})
}
