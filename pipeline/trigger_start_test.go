package pipeline

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

// filed is a definition from a pipeline file.
func filed(name string, t Triggers) Definition {
	return Definition{Project: "octo-web", Triggers: &t, Pipeline: Pipeline{
		Name: name, Mode: QueuedMode, File: ".slipway/" + name + ".yml",
		Stages: []Stage{{Name: "Source", Actions: []Action{SourceAction()}}, {Name: "Build", Actions: []Action{build("b", 1)}}},
	}}
}

func (m *memory) define(defs ...Definition) {
	m.defs = func() ([]Definition, string, error) { return defs, "", nil }
}

// pipelines are the names of those that have executions, remarks included.
func (m *memory) pipelines() string {
	var names []string
	for _, x := range m.executions {
		names = append(names, x.Pipeline.Name+" "+string(x.Status))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func onBranch(name string) Triggers {
	return Triggers{Push: []PushFilter{{Branches: Criterion{Includes: []string{name}}}}}
}

func TestEachPipelineHasItsOwnTriggers(t *testing.T) {
	m := newMemory()
	m.define(filed("web", onBranch("main")), filed("nightly", onBranch("dev")), filed("tools", Triggers{}))
	d := m.deliver(t, "1", pushed("x"))
	want := "web: push to branch main; nightly: no trigger matched: branches [dev], got main; tools: push to branch main"
	if d.Decision != DecisionStarted || d.Reason != want || len(d.Executions) != 2 {
		t.Errorf("got %+v, want %s", d, want)
	}
	if got := m.pipelines(); got != "tools InProgress, web InProgress" {
		t.Errorf("got %s", got)
	}
}

func TestNoTriggerMatches(t *testing.T) {
	m := newMemory()
	m.define(filed("web", onBranch("dev")))
	d := m.deliver(t, "1", pushed("x"))
	if d.Decision != DecisionIgnored || d.Reason != "web: no trigger matched: branches [dev], got main" || len(m.executions) != 0 {
		t.Errorf("got %+v and %d executions", d, len(m.executions))
	}
}

// CodePipeline reference, T11.
func TestOneDeliveryStartsOnce(t *testing.T) {
	m := newMemory()
	m.define(filed("web", Triggers{}))
	first, again := m.deliver(t, "1", pushed("x")), m.deliver(t, "1", pushed("x"))
	if len(m.executions) != 1 || first.Executions[0] != again.Executions[0] {
		t.Errorf("got %d executions: %v, %v", len(m.executions), first, again)
	}
}

func TestTagsStartOnlyPipelineFiles(t *testing.T) {
	tag := ref("refs/tags/v1")
	tag.Forge = "github"
	m := newMemory()
	if d := m.deliver(t, "1", tag); d.Decision != DecisionIgnored || !strings.Contains(d.Reason, "only branches start the implied pipeline") {
		t.Errorf("implied: got %+v", d)
	}
	m.define(filed("release", Triggers{Push: []PushFilter{{Tags: Criterion{Includes: []string{"v*"}}}}}))
	if d := m.deliver(t, "2", tag); d.Decision != DecisionStarted || m.one(t).Trigger.Name() != "tag/v1" {
		t.Errorf("of a file: got %+v", d)
	}
}

// CodePipeline reference, T10, and forges reference 2.5: what tests the pull
// request ends with it, on every Board.
func TestClosedPullRequests(t *testing.T) {
	m := newMemory()
	closing := filed("cleanup", Triggers{Pull: []PullFilter{{Events: []PullEvent{PullClosed}}}})
	m.define(filed("check", Triggers{Pull: []PullFilter{{Events: []PullEvent{PullOpen}}}}), closing)
	m.deliver(t, "1", pulled("opened", "1"))
	if got := m.pipelines(); got != "check InProgress" {
		t.Fatalf("opened: got %s", got)
	}
	d := m.deliver(t, "2", pulled("closed", "1"))
	if got := m.pipelines(); got != "check Stopping, cleanup InProgress" && got != "check Stopped, cleanup InProgress" {
		t.Errorf("closed: got %s", got)
	}
	if d.Decision != DecisionStarted || m.executions[d.Executions[0]].Trigger.Event != "PULL_REQUEST_CLOSED" {
		t.Errorf("got %+v", d)
	}
}

// An explicit trigger is obeyed, also where an implied pipeline would leave the
// commit to the pull request.
func TestAPushWithAnOpenPullRequest(t *testing.T) {
	m := newMemory()
	m.pull = 7
	if d := m.deliver(t, "1", pushed("x")); d.Decision != DecisionIgnored || !strings.Contains(d.Reason, "open pull request #7") {
		t.Errorf("implied: got %+v", d)
	}
	m.define(filed("web", onBranch("main")))
	if d := m.deliver(t, "2", pushed("x")); d.Decision != DecisionStarted {
		t.Errorf("of a file: got %+v", d)
	}
}

func TestPathsComeFromTheForge(t *testing.T) {
	m := newMemory()
	m.define(filed("api", Triggers{Push: []PushFilter{{Paths: Criterion{Includes: []string{"api/**"}}}}}))
	m.changed = forge.Changes{Paths: []string{"web/x"}}
	if d := m.deliver(t, "1", pushed("x")); d.Reason != "api: no trigger matched: paths [api/**], got web/x" {
		t.Errorf("got %+v", d)
	}
	m.changedErr = &forge.RetryError{Err: errors.New("rate limit")}
	if _, err := m.try(t, "2", pushed("x")); !errors.Is(err, m.changedErr) {
		t.Errorf("got %v, want the delivery to be tried again", err)
	}
	m.changedErr = errors.New("odd")
	if d := m.deliver(t, "3", pushed("x")); d.Decision != DecisionStarted || !strings.Contains(d.Reason, "odd") {
		t.Errorf("files that nobody knows: got %+v", d)
	}
}

func TestAMistakeInOneFileFailsItsOwnExecution(t *testing.T) {
	m := newMemory()
	bad := filed("bad", onBranch("nowhere"))
	bad.Problem = &UserError{File: ".slipway/bad.yml", Line: 3, Column: 2, Msg: "want a list"}
	bad.Annotations = []forge.Annotation{{Path: ".slipway/bad.yml", StartLine: 3}, {Path: ".slipway/bad.yml", StartLine: 9}}
	m.define(bad, filed("good", onBranch("main")))
	d := m.deliver(t, "1", pushed("x"))
	if got := m.pipelines(); got != "bad Failed, good InProgress" {
		t.Fatalf("got %s, %+v", got, d)
	}
	x := m.executions[d.Executions[0]]
	if x.Reason != ".slipway/bad.yml:3:2: want a list" || len(x.Annotations) != 2 {
		t.Errorf("got %q and %v", x.Reason, x.Annotations)
	}
	closed := m.deliver(t, "2", pulled("closed", "1"))
	if closed.Decision != DecisionIgnored || !strings.Contains(closed.Reason, "bad.yml:3:2") {
		t.Errorf("a closed pull request: got %+v", closed)
	}

	// It is mended without a new commit if what was wrong is the server's.
	m.define(filed("bad", Triggers{}))
	id, err := m.orchestrator().Rerun(context.Background(), x.ID, "api", "r", 0, forge.User{})
	if got := m.executions[id]; err != nil || got.Problem != nil || got.Status != InProgress {
		t.Errorf("again: got %+v, %v", got, err)
	}
}

func TestSkippedAndGatedPipelinesHaveChecksOfTheirOwn(t *testing.T) {
	m := newMemory()
	m.define(filed("web", onBranch("main")), filed("dev", onBranch("dev")))
	if d := m.deliver(t, "1", pushed("x [skip ci]")); d.Decision != DecisionIgnored || m.pipelines() != "web Skipped" {
		t.Errorf("got %+v and %s", d, m.pipelines())
	}
	m = newMemory()
	m.define(filed("web", onBranch("main")), filed("check", Triggers{Pull: []PullFilter{{Branches: Criterion{Includes: []string{"main"}}}}}))
	if d := m.deliver(t, "1", pulled("opened", "2")); d.Decision != DecisionIgnored || m.pipelines() != "check Stopped" || !strings.Contains(d.Reason, "fork") {
		t.Errorf("a fork's: got %+v and %s", d, m.pipelines())
	}
}
