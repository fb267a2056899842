package pipeline_test

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// point is a report of a build, with the names of its bad cases.
func point(x pipeline.Execution, status pipeline.ReportStatus, bad ...string) pipeline.ReportPoint {
	r := pipeline.Report{Name: "unit", Kind: pipeline.ReportTest, Status: status, Total: 10, Failed: int64(len(bad))}
	for _, name := range bad {
		c := pipeline.ReportCase{Name: name, Status: pipeline.CaseFailed}
		r.NoteBad(c)
		r.Bad = append(r.Bad, c)
	}
	return r.Point(x, "b", time.Unix(0, 0))
}

func of(ref, sha string, trusted bool) pipeline.Execution {
	return pipeline.Execution{Trigger: pipeline.Trigger{Ref: ref, SHA: sha, Trusted: trusted}}
}

func TestReportsAreWeighedAgainstTheirHistory(t *testing.T) {
	const failed, good = pipeline.ReportFailed, pipeline.ReportSucceeded
	main := func(sha string) pipeline.Execution { return of("refs/heads/main", sha, true) }
	pull := of("refs/pull/7/head", "p", true)
	pull.Trigger.Pull = &forge.PullRequest{Number: 7, BaseRef: "main"}
	tests := []struct {
		name       string
		x          pipeline.Execution
		past       []pipeline.ReportPoint // the newest first
		new, flaky int64
	}{
		{"the first report says nothing", main("3"), nil, 0, 0},
		{"it was good before", main("3"), []pipeline.ReportPoint{point(main("2"), good)}, 1, 0},
		{"it was bad before", main("3"), []pipeline.ReportPoint{point(main("2"), failed, "a")}, 0, 0},
		{"an incomplete report is no measure", main("3"), []pipeline.ReportPoint{point(main("2"), pipeline.ReportIncomplete), point(main("1"), failed, "a")}, 0, 0},
		{"another branch is none either", main("3"), []pipeline.ReportPoint{point(of("refs/heads/x", "9", true), good)}, 0, 0},
		{"a pull request is measured by its base", pull, []pipeline.ReportPoint{point(main("2"), good)}, 1, 0},
		{"good and bad at one commit", main("3"), []pipeline.ReportPoint{point(main("3"), good)}, 1, 1},
		{"good at that commit on another branch", main("3"), []pipeline.ReportPoint{point(of("refs/heads/x", "3", true), good)}, 0, 1},
		{"a stranger's build makes nothing flaky", main("3"), []pipeline.ReportPoint{point(of("refs/pull/1/head", "3", false), good)}, 0, 0},
		{"a regression that comes back once", main("3"), []pipeline.ReportPoint{point(main("2"), good), point(main("1"), failed, "a")}, 1, 0},
		{"to and fro", main("4"), []pipeline.ReportPoint{point(main("3"), good), point(main("2"), failed, "a"), point(main("1"), good)}, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := point(tt.x, failed, "a").Report
			now.Bad = []pipeline.ReportCase{{Name: "a", Status: pipeline.CaseFailed}}
			now.Weigh(tt.x, tt.past)
			if now.NewBad != tt.new || now.Flaky != tt.flaky || now.Bad[0].Flaky != (tt.flaky == 1) {
				t.Errorf("got %d new, %d flaky, want %d, %d; %+v", now.NewBad, now.Flaky, tt.new, tt.flaky, now.Bad)
			}
			if p := now.Point(tt.x, "b", time.Unix(1, 0)); int64(len(now.NewKeys)) != tt.new || int64(len(now.FlakyKeys)) != tt.flaky || len(p.NewKeys)+len(p.FlakyKeys) > 0 {
				t.Errorf("new %v, flaky %v, in the history %v, %v", now.NewKeys, now.FlakyKeys, p.NewKeys, p.FlakyKeys)
			}
		})
	}
}

// The builds of a batch share its tests: one says nothing of another's.
func TestReportsOfABatchAreOne(t *testing.T) {
	batch := func(id, sha string) pipeline.Execution {
		x := of("refs/heads/main", sha, true)
		x.ID = id
		x.Stages = []pipeline.StageExecution{{Name: "Build", Actions: []pipeline.ActionExecution{
			{Name: "Build"}, {Name: "Build/0", TaskOf: "Build", Job: id + "0", Earlier: []string{id + "first"}}, {Name: "Build/1", TaskOf: "Build", Job: id + "1"},
		}}}
		return x
	}
	at := func(x pipeline.Execution, build string, bad ...string) pipeline.ReportPoint {
		status := pipeline.ReportSucceeded
		if len(bad) > 0 {
			status = pipeline.ReportFailed
		}
		return point(x, status, bad...).Report.Point(x, build, time.Unix(0, 0))
	}
	old, now := batch("x", "1"), batch("y", "2")
	past := []pipeline.ReportPoint{at(old, "x1"), at(old, "x0", "a")}
	merged := pipeline.MergeReports(past)
	if len(merged) != 1 || merged[0].Total != 20 || merged[0].Failed != 1 || merged[0].Status != pipeline.ReportFailed || len(merged[0].Tasks) != 2 || len(merged[0].BadKeys) != 1 {
		t.Fatalf("got %+v, want one report", merged)
	}
	for _, tt := range []struct {
		name, build, bad string
		newer            []pipeline.ReportPoint
		new, flaky       int64
	}{
		{"bad in the batch before, by another build", "y1", "a", nil, 0, 0},
		{"not bad in the batch before", "y1", "b", nil, 1, 0},
		{"another build of the batch has other tests", "y1", "a", []pipeline.ReportPoint{at(now, "y0")}, 0, 0},
		{"an attempt before it at the same commit", "y0", "a", []pipeline.ReportPoint{at(now, "yfirst")}, 1, 1},
		{"the end is a repeat", "y1", "b", []pipeline.ReportPoint{at(now, "y0"), at(now, "y1", "b")}, 1, 0},
	} {
		p := at(now, tt.build, tt.bad)
		r := p.Report
		r.Weigh(now, p.Past(append(tt.newer, past...)))
		if r.NewBad != tt.new || r.Flaky != tt.flaky {
			t.Errorf("%s: got %d new, %d flaky, want %d, %d", tt.name, r.NewBad, r.Flaky, tt.new, tt.flaky)
		}
	}
	again := pipeline.MergeReports([]pipeline.ReportPoint{at(now, "y0"), at(now, "yfirst", "a"), at(now, "y1")})
	if len(again) != 2 || len(again[0].Tasks) != 2 || again[0].Failed != 0 || again[1].Failed != 1 {
		t.Errorf("with an earlier attempt: %+v", again)
	}
}

func TestHistoryOfACase(t *testing.T) {
	main := of("refs/heads/main", "1", true)
	past := []pipeline.ReportPoint{point(main, pipeline.ReportFailed, "a", "b"), point(main, pipeline.ReportIncomplete, "a"), point(main, pipeline.ReportFailed, "b")}
	h := pipeline.HistoryOf(pipeline.ReportCase{Name: "a"}.Key(), past)
	if h.Bad != 1 || len(h.Items) != 2 || !h.Items[0].Bad || h.Items[1].Bad || h.Items[0].Build != "b" || h.Items[0].On != "branch/main" {
		t.Errorf("got %+v", h)
	}
}

func TestCountsSayWhatIsNew(t *testing.T) {
	r := pipeline.Report{Kind: pipeline.ReportTest, Total: 9, Passed: 6, Failed: 3, NewBad: 1, Flaky: 1}
	if got, want := r.Counts(), "9 tests, 6 passed, 3 failed (1 new, 1 known flaky)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c := pipeline.Report{Kind: pipeline.ReportCoverage, Lines: pipeline.Coverage{Covered: 3, Missed: 1}, Before: pipeline.Coverage{Covered: 1, Missed: 1}}
	if got, want := c.Counts(), "75.0% of lines (3 of 4), +25.0 since the report before"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
