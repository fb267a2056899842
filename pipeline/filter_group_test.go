package pipeline

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

func groupsOf(groups ...string) FilterGroups {
	var out FilterGroups
	for _, g := range groups {
		var group []EventFilter
		for _, line := range strings.Split(g, "\n") {
			kind, pattern, _ := strings.Cut(line, " ")
			rest, exclude := strings.CutPrefix(pattern, "not ")
			group = append(group, EventFilter{Type: kind, Pattern: rest, Exclude: exclude})
		}
		out = append(out, group)
	}
	return out
}

// CodeBuild reference 8.1 and its cases C40 and C45.
//
// Attacks: 1.
func TestFilterGroups(t *testing.T) {
	c40 := groupsOf("EVENT PUSH\nHEAD_REF ^refs/heads/main$", "EVENT PULL_REQUEST_CREATED\nBASE_REF ^refs/heads/main$\nFILE_PATH not ^docs/")
	push := func(ref string) forge.Event {
		return forge.Event{Kind: forge.Push, Push: &forge.PushEvent{Ref: ref, Message: "fix [CodeBuild]"}, Sender: forge.User{ID: "12345"}, Repo: forge.Repo{Owner: "octo", Name: "web"}}
	}
	pull := func(base string) forge.Event {
		return forge.Event{Kind: forge.Pull, Pull: &forge.PullRequest{HeadRef: "feat", BaseRef: base}, Sender: forge.User{ID: "9123456"}}
	}
	tests := []struct {
		name   string
		groups FilterGroups
		e      forge.Event
		event  string
		files  []string
		want   bool
		reason string
	}{
		{"C40 push to main", c40, push("refs/heads/main"), "PUSH", nil, true, "filter group 1 matched: PUSH"},
		{"C40 push to dev", c40, push("refs/heads/dev"), "PUSH", nil, false, "group 1 wants HEAD_REF ^refs/heads/main$, got refs/heads/dev; group 2 wants EVENT PULL_REQUEST_CREATED, got PUSH"},
		{"C40 pull request outside docs", c40, pull("main"), "PULL_REQUEST_CREATED", []string{"src/a"}, true, "filter group 2"},
		{"C40 pull request in docs, too", c40, pull("main"), "PULL_REQUEST_CREATED", []string{"src/a", "docs/b"}, false, "wants FILE_PATH not ^docs/, got src/a, docs/b"},
		{"C40 tag", c40, push("refs/tags/v1"), "PUSH", nil, false, ""},
		{"C45 a longer ID", groupsOf("EVENT PULL_REQUEST_CREATED\nACTOR_ACCOUNT_ID ^12345$"), pull("main"), "PULL_REQUEST_CREATED", nil, false, "got 9123456"},
		{"C45 asked for", groupsOf("EVENT PULL_REQUEST_CREATED\nACTOR_ACCOUNT_ID contains:12345"), pull("main"), "PULL_REQUEST_CREATED", nil, true, ""},
		{"several events", groupsOf("EVENT PUSH, PULL_REQUEST_CREATED"), pull("x"), "PULL_REQUEST_CREATED", nil, true, ""},
		{"events but these", groupsOf("EVENT not PULL_REQUEST_CLOSED"), push("refs/heads/x"), "PUSH", nil, true, ""},
		{"searched, not matched whole", groupsOf("EVENT PUSH\nCOMMIT_MESSAGE \\[CodeBuild\\]"), push("refs/heads/x"), "PUSH", nil, true, ""},
		{"a push has no base", groupsOf("EVENT PUSH\nBASE_REF main"), push("refs/heads/x"), "PUSH", nil, false, "got PUSH, which has none"},
		{"nor does exclusion help", groupsOf("EVENT PUSH\nBASE_REF not main"), push("refs/heads/x"), "PUSH", nil, false, "which has none"},
		{"any file", groupsOf("EVENT PUSH\nFILE_PATH ^docs/"), push("refs/heads/x"), "PUSH", []string{"a", "docs/b"}, true, ""},
		{"all files", groupsOf("EVENT PUSH\nFILE_PATH_ALL ^docs/"), push("refs/heads/x"), "PUSH", []string{"a", "docs/b"}, false, ""},
		{"mixed changes but no docs alone", groupsOf("EVENT PUSH\nFILE_PATH_ALL not ^docs/"), push("refs/heads/x"), "PUSH", []string{"a", "docs/b"}, true, ""},
		{"docs alone", groupsOf("EVENT PUSH\nFILE_PATH_ALL not ^docs/"), push("refs/heads/x"), "PUSH", []string{"docs/b"}, false, ""},
		{"a release", groupsOf("EVENT RELEASED\nTAG_NAME ^v1"), released("v1.2", "Summer"), "RELEASED", nil, true, "filter group 1 matched: RELEASED"},
		{"a release of another tag", groupsOf("EVENT RELEASED\nTAG_NAME ^v2"), released("v1.2", "Summer"), "RELEASED", nil, false, "wants TAG_NAME ^v2, got v1.2"},
		{"a release by its name", groupsOf("EVENT RELEASED,PRERELEASED\nRELEASE_NAME not beta"), released("v1.2", "Summer"), "RELEASED", nil, true, ""},
		{"a release without a name", groupsOf("EVENT RELEASED\nRELEASE_NAME not beta"), released("v1.2", ""), "RELEASED", nil, false, "got RELEASED, which has none"},
		{"a release is no push of its tag", groupsOf("EVENT RELEASED\nHEAD_REF ^refs/tags/"), released("v1.2", ""), "RELEASED", nil, false, "which has none"},
		{"a release changes no files", groupsOf("EVENT RELEASED\nFILE_PATH not ^docs/"), released("v1.2", ""), "RELEASED", nil, false, "which has none"},
		{"a push is no release", groupsOf("EVENT PUSH\nTAG_NAME v"), push("refs/tags/v1"), "PUSH", nil, false, "got PUSH, which has none"},
		{"repository", groupsOf("EVENT PUSH\nREPOSITORY_NAME ^web$\nORGANIZATION_NAME ^octo$"), push("refs/heads/x"), "PUSH", nil, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := errors.Join(tt.groups.Check()...); err != nil {
				t.Fatal(err)
			}
			got, reason, err := tt.groups.Match(tt.e, tt.event, func() (forge.Changes, error) { return forge.Changes{Paths: tt.files}, nil })
			if err != nil || got != tt.want || !strings.Contains(reason, tt.reason) {
				t.Errorf("got %v, %q, %v, want %v, %q", got, reason, err, tt.want, tt.reason)
			}
		})
	}
}

func TestFilterGroupsOfUnknownFiles(t *testing.T) {
	g := groupsOf("EVENT PUSH\nFILE_PATH ^docs/\nFILE_PATH not ^src/")
	e := forge.Event{Kind: forge.Push, Push: &forge.PushEvent{Ref: "refs/heads/x"}}
	if ok, _, err := g.Match(e, "PUSH", func() (forge.Changes, error) { return forge.Changes{Unknown: "too many"}, nil }); !ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
	later := errors.New("later")
	if ok, _, err := g.Match(e, "PUSH", func() (forge.Changes, error) { return forge.Changes{}, later }); ok || !errors.Is(err, later) {
		t.Errorf("got %v, %v", ok, err)
	}
}

// Attacks: 1.
func TestMistakesInFilterGroups(t *testing.T) {
	for groups, want := range map[string]string{
		"HEAD_REF main":                         "[0]: want an EVENT filter in every group",
		"EVENT PUSHED":                          `[0][0]: EVENT: want PUSH,`,
		"EVENT WORKFLOW_JOB_QUEUED":             "no jobs of other systems are run here",
		"EVENT PUSH\nWORKFLOW_NAME v":           "[0][1]: type WORKFLOW_NAME: no jobs of other systems",
		"EVENT PUSH\nBRANCH x":                  `type: want one of EVENT, ACTOR_ACCOUNT_ID,`,
		"EVENT PUSH\nHEAD_REF ":                 "HEAD_REF: want a pattern",
		"EVENT PUSH\nHEAD_REF (":                "missing closing )",
		"EVENT PUSH\nHEAD_REF ^(?!main)":        "there is no look-around, use exclude_matched_pattern",
		"EVENT PUSH\nACTOR_ACCOUNT_ID 12345":    `"12345" also matches longer IDs: want ^12345$, or contains:12345`,
		"EVENT PUSH\nACTOR_ACCOUNT_ID ^1$|2":    "also matches longer IDs",
		"EVENT PUSH\nACTOR_ACCOUNT_ID ^(1|2)$x": "also matches longer IDs",
	} {
		if err := errors.Join(groupsOf(groups).Check()...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", groups, err, want)
		}
	}
	for _, pattern := range []string{"^1$", "^1$|^2$", "^(1|2)$"} {
		if err := errors.Join(groupsOf("EVENT PUSH\nACTOR_ACCOUNT_ID " + pattern).Check()...); err != nil {
			t.Error(err)
		}
	}
}

// A project's filter groups take the place of the implied triggers: tags and
// merges may start it, and what no group wants doesn't.
func TestFilterGroupsStartTheImpliedPipeline(t *testing.T) {
	m := newMemory()
	def := filed("web", Triggers{})
	def.Triggers, def.Filters = nil, groupsOf("EVENT PUSH\nHEAD_REF ^refs/tags/")
	m.define(def)
	if d := m.deliver(t, "1", pushed("x")); d.Decision != DecisionIgnored || !strings.Contains(d.Reason, "wants HEAD_REF ^refs/tags/, got refs/heads/main") || len(m.executions) != 0 {
		t.Errorf("got %+v", d)
	}
	tag := pushed("x")
	tag.Push.Ref = "refs/tags/v1"
	if d := m.deliver(t, "2", tag); d.Decision != DecisionStarted || d.Reason != "filter group 1 matched: PUSH" || len(m.executions) != 1 {
		t.Errorf("got %+v", d)
	}
}
