package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store"
)

// boardsListed: the Board that changed last comes first.
func boardsListed(t *testing.T, s *store.Store) {
	for i, board := range []string{"a", "b", "c", "a"} {
		x := pipeline.Summary{ID: board, Revision: int64(i + 1), CreatedAt: time.Now(), Status: pipeline.Succeeded}
		if err := s.Index(t.Context(), board, x); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	after := ""
	for range 4 {
		page, err := s.Boards(t.Context(), 2, after)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Items...)
		if after = page.Next; after == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"a", "c", "b"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := s.Boards(t.Context(), 2, "!"); err == nil {
		t.Error("a page token that is none is taken")
	}
}
