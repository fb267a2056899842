package store_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/access"
	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/store"
)

func apiTokens(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), time.Now().UTC().Truncate(time.Millisecond)
	ci := access.Token{V: 1, ID: "1", Name: "ci", Role: forge.Write, Repo: "github/o/r", By: "ada", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	must(t, s.AddToken(ctx, "sum1", ci))
	must(t, s.AddToken(ctx, "sum2", access.Token{ID: "2", Name: "a", Role: forge.Read, ExpiresAt: now.Add(-time.Second)}))
	if got, err := s.TokenOf(ctx, "sum1"); err != nil || cmp.Diff(ci, got) != "" {
		t.Errorf("got %v, %s", err, cmp.Diff(ci, got))
	}
	must(t, s.UsedToken(ctx, "sum1", now))
	must(t, s.AddToken(ctx, "sum3", access.Token{ID: "3", Name: "b", Role: forge.Read}))
	all, err := s.Tokens(ctx)
	if err != nil || len(all) != 2 || all[0].Name != "b" || all[1].Name != "ci" || !all[1].UsedAt.Equal(now) {
		t.Errorf("the expired one is gone, the others are there by name: got %+v, %v", all, err)
	}
	must(t, s.RevokeToken(ctx, "1"))
	for _, err := range []error{s.RevokeToken(ctx, "1"), second(s.TokenOf(ctx, "sum1")), second(s.TokenOf(ctx, ""))} {
		if !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func notes(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if before, err := s.PutNote(ctx, "n", []byte("one"), time.Hour); before || err != nil {
		t.Errorf("got %v, %v", before, err)
	}
	if before, err := s.PutNote(ctx, "n", []byte("two"), time.Hour); !before || err != nil {
		t.Errorf("a second note: %v, %v", before, err)
	}
	if got, err := s.Note(ctx, "n"); string(got) != "one" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	must(t, s.DropNote(ctx, "n"))
	must(t, s.DropNote(ctx, "n"))
	if _, err := s.Note(ctx, "n"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func auditLog(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for i := range 5 {
		must(t, s.AddAudit(ctx, access.Entry{ID: "mine", Who: strconv.Itoa(i), At: time.Now().UTC(), Action: "POST /", Outcome: access.Done}))
	}
	var who, after string
	for {
		page, err := s.Audit(ctx, 2, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			who += e.Who
			if e.ID == "" || e.ID == "mine" || e.V != 1 {
				t.Errorf("got %+v", e)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if who != "43210" {
		t.Errorf("got %s", who)
	}
	for range 2 {
		must(t, s.AddAuditOnce(ctx, "github:d1:0", access.Entry{Who: "once", Action: "/approve", Outcome: access.Done}))
	}
	must(t, s.AddAuditOnce(ctx, "github:d1:1", access.Entry{Who: "twice", Action: "/approve", Outcome: access.Refused}))
	if page, err := s.Audit(ctx, 3, ""); err != nil || page.Items[0].Who != "twice" || page.Items[1].Who != "once" || page.Items[2].Who != "4" {
		t.Errorf("got %+v, %v", page.Items, err)
	}
	for _, bad := range []string{"x", "+", "1", "1-1\n", "-"} {
		var mistake *pipeline.UserError
		if _, err := s.Audit(ctx, 2, bad); !errors.As(err, &mistake) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
