package pipeline

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// The full example of CodePipeline reference 6.1 is understood but for what is
// said here, with its line; without that it may run.
func TestTheReferencesExample(t *testing.T) {
	data, err := os.ReadFile(testenv.Shared(t, "spec/codepipeline.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "### 6.1 Full example\n```yaml\n")
	example, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("the reference has no example any more")
	}
	got := ParseFile(".slipway/web.yml", []byte(example))
	if len(got) != 1 {
		t.Fatalf("%d documents", len(got))
	}
	var problems []string
	for _, p := range got[0].Problems {
		line := strings.TrimSpace(strings.Split(example, "\n")[p.Line-1])
		problems = append(problems, string(p.Severity)+" "+line+": "+p.Text())
	}
	want := []string{
		"warning - run: e2e: stages[0].actions[1].parallel[1]: several artifacts are there to take in, and it takes bundle (say which with in: bundle, or reports)",
		"error - helm: api: stages[1].actions[0]: actions of type helm are not supported yet (a run action can do it with commands)",
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("what is not understood (-want +got)\n%s", diff)
	}

	without := strings.Replace(example, "helm: api\n        chart: deploy/chart\n        release: api\n        values: [deploy/staging.yml]\n", "run: api\n        commands: [make staging]\n", 1)
	f := ParseFile(".slipway/web.yml", []byte(without))[0]
	if f.Problems.HasErrors() {
		t.Fatalf("without helm: %v", f.Problems)
	}
	p := f.Pipeline
	var names []string
	for _, st := range p.Stages {
		for _, a := range st.Tasks() {
			names = append(names, st.Name+"/"+a.Name+" "+a.Provider+" "+strings.Join(a.Inputs, ","))
		}
	}
	wantNames := []string{
		"Source/app Git ", "Source/config S3 ", "Build/unit CodeBuild app", "Build/scan Commands bundle", "Build/e2e Commands bundle",
		"Staging/api Commands bundle", "Approve/before:if VariableCheck ", "Approve/go-live Manual ",
		"Prod/before:window DeploymentWindow ", "Prod/before:alarm CloudWatchAlarm ", "Prod/fleet CodeDeploy bundle", "Prod/on_success:alarm CloudWatchAlarm ",
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("what it does (-want +got)\n%s", diff)
	}
	if len(f.Triggers.Push) != 2 || len(f.Triggers.Pull) != 1 || len(f.Triggers.Schedules) != 1 || len(p.Variables) != 3 || !p.SupersedeApprovals {
		t.Errorf("triggers %+v, variables %+v", f.Triggers, p.Variables)
	}
	if c := p.Stages[4].OnSuccess; c == nil || c.Result != RollbackResult || !p.Stages[4].OnFailure.Rollback || p.Stages[1].OnFailure.Retry != FailedActions {
		t.Errorf("what happens at the end of stages: %+v, %+v", p.Stages[4], p.Stages[1].OnFailure)
	}
}
