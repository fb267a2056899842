package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/forge"
)

func released(tag, name string) forge.Event {
	return forge.Event{
		Forge: "github", Kind: forge.Release, Name: "release", Action: "released", Repo: web, Installation: 9,
		Release: &forge.ReleaseSpec{Tag: tag, Name: name},
	}
}

func preview(tag string) forge.Event {
	e := released(tag, "")
	e.Action, e.Release.Prerelease = "prereleased", true
	return e
}

// tags are the commits of tags; one that can't be asked for has none.
type tags map[string]string

func (g tags) Resolve(_ context.Context, repo forge.Repo, installation int64, name string) (sha, ref string, err error) {
	sha, known := g[name]
	switch {
	case installation != 9:
		return "", "", errors.New("not signed in")
	case !known:
		return "", "", &UserError{Msg: repo.FullName() + " has no " + name}
	case sha == "":
		return "", "", errors.New("out of reach")
	}
	return sha, name, nil
}

// CodeBuild reference 8.2, forges reference 2.5: a release builds the commit of
// its tag where somebody asks for releases.
func TestReleases(t *testing.T) {
	filtered := filed(DefaultPipeline, Triggers{})
	filtered.Triggers, filtered.Filters = nil, groupsOf("EVENT RELEASED\nTAG_NAME ^v")
	implied := filtered
	implied.Filters = nil
	on := func(f ReleaseFilter) Definition { return filed("ship", Triggers{Release: []ReleaseFilter{f}}) }
	v := Criterion{Includes: []string{"v*"}}
	for _, tt := range []struct {
		name   string
		def    Definition
		e      forge.Event
		starts string
		reason string
	}{
		{"a filter group", filtered, released("v1", "One"), "RELEASED", "filter group 1 matched: RELEASED"},
		{"a preview is none", filtered, preview("v1"), "", "wants EVENT RELEASED, got PRERELEASED"},
		{"nobody asks", implied, released("v1", "One"), "", "releases start no implied pipeline, got v1"},
		{"a pipeline file", on(ReleaseFilter{Tags: v}), released("v1", "One"), "RELEASED", "ship: release v1"},
		{"another tag", on(ReleaseFilter{Tags: v}), released("w1", "One"), "", "releases of tags [v*], got w1"},
		{"a preview", on(ReleaseFilter{Tags: v}), preview("v1"), "", "no prereleases, got v1"},
		{"a preview that is asked for", on(ReleaseFilter{Prereleases: true}), preview("v1"), "PRERELEASED", "ship: release v1"},
		{"a pipeline for pushes", filed("web", onBranch("**")), released("v1", "One"), "", "releases don't start it, got v1"},
		{"a push", on(ReleaseFilter{Tags: v}), pushed("x"), "", "only releases start it, got push to branch main"},
		{"a tag that is gone", on(ReleaseFilter{Tags: v}), released("v9", ""), "", "has no refs/tags/v9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			m.define(tt.def)
			o := m.orchestrator()
			o.Resolves(tags{"refs/tags/v1": sha1, "refs/tags/w1": sha1})
			tt.e.Delivery = "1"
			m.events["1"] = tt.e
			d, err := o.Delivery(t.Context(), Delivery{Forge: "github", ID: "1"})
			if err != nil || !strings.Contains(d.Reason, tt.reason) || (tt.starts != "") != (len(m.executions) == 1) {
				t.Fatalf("got %+v, %v with %d executions, want %q", d, err, len(m.executions), tt.reason)
			}
			if tt.starts == "" {
				return
			}
			if got := m.one(t).Trigger; got.Event != tt.starts || got.SHA != sha1 || got.Ref != "refs/tags/v1" || !got.Trusted || got.Name() != "tag/v1" {
				t.Errorf("got %+v", got)
			}
		})
	}
	m := newMemory()
	o := m.orchestrator()
	o.Resolves(tags{"refs/tags/v1": ""})
	m.events["1"] = released("v1", "")
	if _, err := o.Delivery(t.Context(), Delivery{Forge: "github", ID: "1"}); err == nil || !strings.Contains(err.Error(), "out of reach") {
		t.Errorf("a repository out of reach: %v, want the delivery to be tried again", err)
	}
}
