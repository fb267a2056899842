package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
)

// compared is a git host that knows what lies between some commits.
type compared map[string]forge.Changes

func (compared) ReadToken(string, string, time.Duration) string { return "" }

func (c compared) Compare(_ context.Context, _ forge.Repo, base, head string) (forge.Changes, error) {
	if found, ok := c[base+"..."+head]; ok {
		return found, nil
	}
	return forge.Changes{}, forge.ErrNotFound
}

func TestChangedFilesOfAPush(t *testing.T) {
	host := compared{
		"a...b":    {Paths: []string{"new"}},
		"b...a":    {Paths: []string{"dropped"}},
		"a...huge": {Paths: []string{"new"}},
		"huge...a": {Paths: []string{"dropped"}, Unknown: "more than 300 files changed"},
		"main...b": {Paths: []string{"branch"}},
	}
	none := strings.Repeat("0", 40)
	const gone = "there is no earlier commit to compare with"
	tests := []struct {
		name string
		push forge.PushEvent
		want forge.Changes
	}{
		{"plain", forge.PushEvent{Before: "a", After: "b"}, forge.Changes{Paths: []string{"new"}}},
		{"F16 forced", forge.PushEvent{Before: "a", After: "b", Forced: true}, forge.Changes{Paths: []string{"new", "dropped"}}},
		{"F16 forced, too many dropped", forge.PushEvent{Before: "a", After: "huge", Forced: true}, forge.Changes{Paths: []string{"new", "dropped"}, Unknown: "more than 300 files changed"}},
		{"F16 forced, the forge forgot what was there", forge.PushEvent{Before: "lost", After: "b", Forced: true}, forge.Changes{Unknown: gone}},
		{"new branch", forge.PushEvent{Before: none, After: "b", Ref: "refs/heads/topic"}, forge.Changes{Paths: []string{"branch"}}},
		{"first push", forge.PushEvent{Before: none, After: "b", Ref: "refs/heads/main"}, forge.Changes{Unknown: "it is the first push of the default branch"}},
		{"nobody knows the commit", forge.PushEvent{Before: "x", After: "b"}, forge.Changes{Unknown: gone}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := forges{local: host}
			got, err := f.Changed(t.Context(), forge.Event{Forge: localForge, Repo: forge.Repo{Forge: localForge, DefaultBranch: "main"}, Push: &tt.push})
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}
