package pipeline

import (
	"strings"
	"testing"
)

// A commit is the repository's own: it can't be that of a source beside it.
func TestCommitOfASourceBeside(t *testing.T) {
	x := Execution{Pipeline: Pipeline{Stages: []Stage{{Name: "Source", Actions: []Action{
		{Name: "app", Category: Source, Provider: GitProvider}, {Name: "config", Category: Source, Provider: RepositoryProvider},
	}}}}}
	pinned := func(action string) error {
		return CheckManual(x, ManualRequest{Revisions: []SourceRevision{{Action: action, Type: CommitID, Value: strings.Repeat("a", 40)}}})
	}
	if err := pinned("app"); err != nil {
		t.Errorf("the repository: %v", err)
	}
	if err := pinned("config"); err == nil || !strings.Contains(err.Error(), `no source action "config"`) {
		t.Errorf("a source beside it: %v", err)
	}
}
