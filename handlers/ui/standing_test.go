package ui

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
)

func TestRecord(t *testing.T) {
	at := time.Unix(1000, 0)
	x := func(id, sha string, status pipeline.Status, seconds int) pipeline.Summary {
		return pipeline.Summary{ID: id, Pipeline: "web", SHA: sha, Status: status, StartedAt: at, EndedAt: at.Add(time.Duration(seconds) * time.Second)}
	}
	flaky := x("3", "a", pipeline.Failed, 5)
	tests := []struct {
		name  string
		items []pipeline.Summary
		want  record
	}{
		{"none", nil, record{}},
		{"what says nothing about the code", []pipeline.Summary{x("1", "a", pipeline.Superseded, 1), x("2", "b", pipeline.InProgress, 1)}, record{}},
		{
			"a commit that failed and succeeded", []pipeline.Summary{x("1", "a", pipeline.Succeeded, 20), x("2", "b", pipeline.Succeeded, 40), flaky, x("4", "a", pipeline.Failed, 5), x("5", "c", pipeline.Failed, 5)},
			record{Good: 2, Ended: 5, Percent: 40, Median: "40 s", Longest: "40 s", Flaky: []pipeline.Summary{flaky}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, recordOf(tt.items)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Each page is in one section of the navigation.
func TestSectionOfPages(t *testing.T) {
	for path, want := range map[string]string{
		"/builds/b": "Executions", "/builds/b/reports/unit?status=bad": "Reports", "/repos/local/me/reports": "Executions",
		"/repos/local/me/app/reports": "Reports", "/repos/local/me/app/reports/unit": "Reports", "/reports": "Reports", "/": "Executions",
	} {
		var got []string
		for _, link := range (Frame{Path: path}).Nav() {
			if link.Current != "" {
				got = append(got, link.Name)
			}
		}
		if d := cmp.Diff([]string{want}, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", path, d)
		}
	}
}

func TestNav(t *testing.T) {
	tests := []struct {
		name, path string
		frame      Frame
		want       []Link
	}{
		{"a person", "/pipelines/x?y=1", Frame{}, []Link{{"Executions", "/", ""}, {"Pipelines", "/pipelines", "true"}, {"Deployments", "/deployments", ""}, {"Reports", "/reports", ""}, {"Deliveries", "/deliveries", ""}}},
		{"who reads all", "/?status=Failed", Frame{Server: true}, []Link{
			{"Executions", "/", "page"}, {"Pipelines", "/pipelines", ""}, {"Deployments", "/deployments", ""}, {"Reports", "/reports", ""}, {"Agents", "/agents", ""}, {"Deliveries", "/deliveries", ""}, {"Dead letters", "/dead-letters", ""},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.frame.Path = tt.path
			if d := cmp.Diff(tt.want, tt.frame.Nav()); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}
