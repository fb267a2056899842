package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue/queuetest"
	"github.com/slipway-ci/slipway/store"
	"github.com/slipway-ci/slipway/store/blobs"
	"github.com/slipway-ci/slipway/store/logs"
)

func newStore(rdb redis.UniversalClient) *store.Store {
	return store.New(rdb, store.Options{}, slog.New(slog.DiscardHandler))
}

// TestStore runs every case on an in-process Redis, a real one and a cluster.
func TestStore(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, *store.Store)
	}{
		{"a board is written and read back", boardRoundTrip},
		{"of two commits of one version one wins", commitConflict},
		{"an event is consumed once", commitOnce},
		{"writers that load again lose nothing", commitMany},
		{"an outbox keeps order and is drained", outboxDrain},
		{"a lease has one holder", leases},
		{"lists filter and page, and never go back", listing},
		{"a list of many at one moment is paged", listingTies},
		{"boards are listed by their last change", boardsListed},
		{"a build that ended stays so", builds},
		{"timers fire until dropped", timers},
		{"reports coalesce and are marked again", reports},
		{"installations take turns", reportTurns},
		{"a report's claim runs out", reportLease},
		{"waiting for a report wakes up", reportWait},
		{"what was reported is kept", reportState},
		{"changes are announced", changes},
		{"a log's tail is in Redis", logTail},
		{"API tokens are found by their sums", apiTokens},
		{"a note is kept once", notes},
		{"the audit log is paged", auditLog},
	}
	queuetest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				if err := rdb.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				test.run(t, newStore(rdb))
			})
		}
	})
}

const boardKey = "github.7.default.default"

// board is that of repository o/r.
func board() *pipeline.Board {
	var of pipeline.Board
	of.Repo.Forge, of.Repo.ID, of.Repo.Owner, of.Repo.Name = "github", "7", "o", "r"
	return pipeline.NewBoard(boardKey, of.Repo, "default", "default")
}

func execution(id string) *pipeline.Execution {
	return &pipeline.Execution{
		V: 1, ID: id, Board: boardKey, Repo: board().Repo, Status: pipeline.InProgress, Revision: 1,
		Pipeline: pipeline.Pipeline{Name: "default"}, CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Trigger: pipeline.Trigger{SHA: "0123456789abcdef0123456789abcdef01234567"},
	}
}

func change(event string, version int64, touched ...*pipeline.Execution) pipeline.Change {
	return pipeline.Change{Board: board(), Version: version, EventID: event, Touched: touched}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func boardRoundTrip(t *testing.T, s *store.Store) {
	ctx := t.Context()
	if _, _, err := s.Board(ctx, boardKey); !errors.Is(err, pipeline.ErrNotFound) {
		t.Fatalf("no board: got %v, want ErrNotFound", err)
	}
	c := change("e1", 0, execution("x1"), execution("x2"))
	c.Board.Executions = 2
	must(t, s.Commit(ctx, c))
	b, version, err := s.Board(ctx, boardKey)
	must(t, err)
	c.Board.Live = map[string]*pipeline.Execution{"x1": execution("x1"), "x2": execution("x2")}
	if diff := cmp.Diff(c.Board, b, cmpopts.EquateEmpty()); diff != "" || version != 1 {
		t.Errorf("version %d, board (-want +got):\n%s", version, diff)
	}
	done := execution("x1")
	done.Status, done.Revision = pipeline.Succeeded, 2
	c = change("e2", 1, done)
	c.Ended = []string{"x1"}
	must(t, s.Commit(ctx, c))
	b, version, err = s.Board(ctx, boardKey)
	must(t, err)
	if len(b.Live) != 1 || b.Live["x2"] == nil || version != 2 {
		t.Errorf("version %d, live %v, want x2 alone", version, b.Live)
	}
	for id, want := range map[string]pipeline.Status{"x1": pipeline.Succeeded, "x2": pipeline.InProgress} {
		if x, err := s.Execution(ctx, id); err != nil || x.Status != want {
			t.Errorf("%s: got %s, %v, want %s", id, x.Status, err, want)
		}
	}
	if _, err := s.Execution(ctx, "none"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("no execution: got %v, want ErrNotFound", err)
	}
}

func commitConflict(t *testing.T, s *store.Store) {
	ctx := t.Context()
	must(t, s.Commit(ctx, change("e1", 0)))
	c := change("e2", 0, execution("x1"))
	c.Effects = []pipeline.Effect{{Type: pipeline.ReportExec}}
	if err := s.Commit(ctx, c); !errors.Is(err, pipeline.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if _, err := s.Execution(ctx, "x1"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("after a conflict: got %v, want nothing written", err)
	}
	if e, err := s.Outbox(ctx, boardKey, 10); err != nil || len(e) != 0 {
		t.Errorf("after a conflict: got %v, %v, want no effects", e, err)
	}
}

func commitOnce(t *testing.T, s *store.Store) {
	must(t, s.Commit(t.Context(), change("e1", 0)))
	for _, version := range []int64{0, 1} {
		if err := s.Commit(t.Context(), change("e1", version)); !errors.Is(err, pipeline.ErrConsumed) {
			t.Errorf("version %d: got %v, want ErrConsumed", version, err)
		}
	}
	for event, want := range map[string]bool{"e1": true, "e2": false} {
		if got, err := s.Consumed(t.Context(), boardKey, event); err != nil || got != want {
			t.Errorf("consumed %s: got %v, %v, want %v", event, got, err, want)
		}
	}
}

func commitMany(t *testing.T, s *store.Store) {
	const writers, each = 4, 10
	must(t, s.Commit(t.Context(), change("first", 0)))
	var g sync.WaitGroup
	for w := range writers {
		g.Go(func() {
			for i := 0; i < each; {
				b, version, err := s.Board(t.Context(), boardKey)
				if err != nil {
					t.Error(err)
					return
				}
				b.Builds++
				c := pipeline.Change{Board: b, Version: version, EventID: fmt.Sprint(w, i), Effects: []pipeline.Effect{{Type: pipeline.ReportExec, Reason: strconv.Itoa(b.Builds)}}}
				if err := s.Commit(t.Context(), c); err == nil {
					i++
				} else if !errors.Is(err, pipeline.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	g.Wait()
	b, _, err := s.Board(t.Context(), boardKey)
	must(t, err)
	effects, err := s.Outbox(t.Context(), boardKey, 1000)
	must(t, err)
	if b.Builds != writers*each || len(effects) != writers*each {
		t.Fatalf("%d builds, %d effects, want %d", b.Builds, len(effects), writers*each)
	}
	for i, e := range effects {
		if e.Effect.Reason != strconv.Itoa(i+1) {
			t.Fatalf("effect %d is %s: out of order", i+1, e.Effect.Reason)
		}
	}
}

func outboxDrain(t *testing.T, s *store.Store) {
	ctx := t.Context()
	c := change("e1", 0, execution("x1"))
	for i := range 5 {
		c.Effects = append(c.Effects, pipeline.Effect{Type: pipeline.ReportExec, Execution: strconv.Itoa(i)})
	}
	must(t, s.Commit(ctx, c))
	if dirty, err := s.Dirty(ctx, time.Minute); err != nil || len(dirty) != 0 {
		t.Errorf("too young: got %v, %v", dirty, err)
	}
	dirty, err := s.Dirty(ctx, 0)
	if diff := cmp.Diff([]string{boardKey}, dirty); diff != "" || err != nil {
		t.Errorf("dirty (-want +got):\n%s%v", diff, err)
	}
	if n, oldest, err := s.OutboxBacklog(ctx); err != nil || n != 0 || oldest != 0 {
		t.Errorf("a commit of just now is no backlog: got %d, %v, %v", n, oldest, err)
	}
	entries, err := s.Outbox(ctx, boardKey, 3)
	must(t, err)
	for i, e := range entries {
		if e.Effect.Execution != strconv.Itoa(i) || e.Effect.V != 1 {
			t.Errorf("entry %d: got %+v", i, e)
		}
		must(t, s.Relayed(ctx, boardKey, e.ID))
		must(t, s.Relayed(ctx, boardKey, e.ID))
	}
	if entries, err = s.Outbox(ctx, boardKey, 10); err != nil || len(entries) != 2 {
		t.Fatalf("got %d, %v, want 2", len(entries), err)
	}
	must(t, s.Relayed(ctx, boardKey, entries[0].ID, entries[1].ID))
	if dirty, err := s.Dirty(ctx, 0); err != nil || len(dirty) != 1 {
		t.Errorf("a note that is young stays: got %v, %v", dirty, err)
	}
}

func leases(t *testing.T, s *store.Store) {
	ctx := t.Context()
	release, ok, err := s.Lease(ctx, "relay", time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := s.Lease(ctx, "relay", time.Minute); err != nil || ok {
		t.Fatalf("held: got %v, %v", ok, err)
	}
	release()
	_, ok, err = s.Lease(ctx, "relay", 20*time.Millisecond)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	release() // it is somebody else's by now
	if _, ok, _ := s.Lease(ctx, "relay", time.Minute); ok {
		t.Error("a late release took somebody else's lease")
	}
}

func summary(id, name, sha string, status pipeline.Status, at int) pipeline.Summary {
	return pipeline.Summary{
		ID: id, Forge: "github", Repo: name, SHA: sha, Status: status, Revision: 1,
		CreatedAt: time.Date(2026, 1, 2, 3, 4, at, 0, time.UTC),
	}
}

func ids(page pipeline.Page[pipeline.Summary]) string {
	var all []string
	for _, x := range page.Items {
		all = append(all, x.ID)
	}
	return strings.Join(all, " ")
}

func listing(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for i := range 6 {
		x := summary("x"+strconv.Itoa(i), "O/r"+strconv.Itoa(i%2), strings.Repeat(strconv.Itoa(i), 40), pipeline.InProgress, i)
		if i == 5 {
			x.Forge = "local"
		}
		must(t, s.Index(ctx, boardKey, x))
	}
	done := summary("x3", "O/r1", strings.Repeat("3", 40), pipeline.Failed, 3)
	done.Revision = 2
	must(t, s.Index(ctx, boardKey, done))
	must(t, s.Index(ctx, boardKey, summary("x3", "O/r1", strings.Repeat("3", 40), pipeline.InProgress, 3))) // late
	tests := []struct {
		query pipeline.Query
		want  string
	}{
		{pipeline.Query{}, "x5 x4 x3 x2 x1 x0"},
		{pipeline.Query{Forge: "github"}, "x4 x3 x2 x1 x0"},
		{pipeline.Query{Repo: "o/R1"}, "x5 x3 x1"},
		{pipeline.Query{Repo: "o/r1", Status: pipeline.Failed}, "x3"},
		{pipeline.Query{Status: pipeline.InProgress}, "x5 x4 x2 x1 x0"},
		{pipeline.Query{SHA: "4444444"}, "x4"},
		{pipeline.Query{SHA: strings.Repeat("4", 40), Forge: "local"}, ""},
		{pipeline.Query{SHA: "44444445"}, ""},
	}
	for _, test := range tests {
		page, err := s.Executions(ctx, test.query)
		if got := ids(page); err != nil || got != test.want || page.Next != "" {
			t.Errorf("%+v: got %q, next %q, %v, want %q", test.query, got, page.Next, err, test.want)
		}
	}
	first, err := s.Executions(ctx, pipeline.Query{Limit: 4})
	must(t, err)
	counts, err := s.ExecutionCounts(ctx, pipeline.InProgress, pipeline.Failed, pipeline.Cancelled)
	must(t, err)
	for status, n := range counts {
		page, err := s.Executions(ctx, pipeline.Query{Status: status})
		if err != nil || int64(len(page.Items)) != n {
			t.Errorf("%s: counted %d, listed %d, %v", status, n, len(page.Items), err)
		}
	}
	second, err := s.Executions(ctx, pipeline.Query{Limit: 4, After: first.Next})
	if err != nil || ids(first) != "x5 x4 x3 x2" || ids(second) != "x1 x0" || second.Next != "" {
		t.Errorf("pages %q and %q, %v", ids(first), ids(second), err)
	}
	for _, q := range []pipeline.Query{{SHA: "4444"}, {After: "?"}} {
		var mistake *pipeline.UserError
		if _, err := s.Executions(ctx, q); !errors.As(err, &mistake) {
			t.Errorf("%+v: got %v, want a UserError", q, err)
		}
	}
}

func listingTies(t *testing.T, s *store.Store) {
	for i := range 25 {
		must(t, s.Index(t.Context(), boardKey, summary(fmt.Sprintf("x%02d", i), "o/r", "", pipeline.InProgress, 0)))
	}
	var got []string
	for after := ""; ; {
		page, err := s.Executions(t.Context(), pipeline.Query{Limit: 4, After: after})
		must(t, err)
		got = append(got, strings.Fields(ids(page))...)
		if after = page.Next; after == "" {
			break
		}
	}
	if len(got) != 25 || got[0] != "x24" || got[24] != "x00" {
		t.Errorf("got %v", got)
	}
}

func builds(t *testing.T, s *store.Store) {
	ctx := t.Context()
	b := pipeline.Build{ID: "b1", Execution: "x1", Status: pipeline.BuildSucceeded, CreatedAt: time.Unix(2, 0).UTC()}
	must(t, s.SaveBuild(ctx, b))
	late := b
	late.Status = pipeline.BuildInProgress
	must(t, s.SaveBuild(ctx, late))
	got, err := s.Build(ctx, "b1")
	b.V = 1
	if diff := cmp.Diff(b, got); diff != "" || err != nil {
		t.Errorf("build (-want +got):\n%s%v", diff, err)
	}
	must(t, s.SaveBuild(ctx, pipeline.Build{ID: "b0", Execution: "x1", CreatedAt: time.Unix(1, 0).UTC()}))
	all, err := s.Builds(ctx, "x1")
	if err != nil || len(all) != 2 || all[0].ID != "b0" {
		t.Errorf("got %+v, %v", all, err)
	}
	if _, err := s.Build(ctx, "none"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func timers(t *testing.T, s *store.Store) {
	ctx, now := t.Context(), time.Now().UTC()
	for i, at := range []time.Duration{time.Hour, -time.Second, -time.Minute} {
		e := pipeline.Event{V: 1, ID: strconv.Itoa(i), Board: boardKey, At: now.Add(at)}
		must(t, s.AddTimer(ctx, e))
		must(t, s.AddTimer(ctx, e))
	}
	due, err := s.DueTimers(ctx, now, 10)
	if err != nil || len(due) != 2 || due[0].ID != "2" || due[1].ID != "1" {
		t.Fatalf("got %+v, %v", due, err)
	}
	must(t, s.DropTimer(ctx, due[0]))
	must(t, s.DropTimer(ctx, due[0]))
	if due, err = s.DueTimers(ctx, now, 10); err != nil || len(due) != 1 {
		t.Errorf("got %+v, %v, want one", due, err)
	}
}

func claim(t *testing.T, r *store.Reports, want string) pipeline.ReportItem {
	t.Helper()
	item, err := r.ClaimReport(t.Context(), time.Minute)
	if want == "" && errors.Is(err, pipeline.ErrNotFound) {
		return item
	}
	if err != nil || item.Execution != want {
		t.Fatalf("claimed %q, %v, want %q", item.Execution, err, want)
	}
	return item
}

func reports(t *testing.T, s *store.Store) {
	ctx, r := t.Context(), s.Reports("github")
	for range 3 {
		must(t, s.MarkReport(ctx, "github", 1, "x1"))
	}
	claim(t, s.Reports("local"), "")
	item := claim(t, r, "x1")
	if item.Installation != 1 || item.Forge != "github" {
		t.Errorf("got %+v", item)
	}
	claim(t, r, "")
	must(t, s.MarkReport(ctx, "github", 1, "x1"))
	claim(t, r, "") // somebody has it
	must(t, r.FinishReport(ctx, item))
	item = claim(t, r, "x1") // it was marked meanwhile
	must(t, r.DeferReport(ctx, item, time.Now().Add(time.Hour)))
	claim(t, r, "")
	must(t, s.MarkReport(ctx, "github", 1, "x1"))
	item = claim(t, r, "x1")
	must(t, r.FinishReport(ctx, item))
	must(t, r.FinishReport(ctx, item))
	claim(t, r, "")
}

func reportTurns(t *testing.T, s *store.Store) {
	ctx, r := t.Context(), s.Reports("github")
	for i := range 3 {
		must(t, s.MarkReport(ctx, "github", 1, "a"+strconv.Itoa(i)))
	}
	must(t, s.MarkReport(ctx, "github", 2, "b"))
	seen := map[int64]int{}
	for range 4 {
		item, err := r.ClaimReport(ctx, time.Minute)
		must(t, err)
		seen[item.Installation]++
	}
	if seen[1] != 3 || seen[2] != 1 {
		t.Errorf("got %v", seen)
	}
}

func reportLease(t *testing.T, s *store.Store) {
	ctx, r := t.Context(), s.Reports("github")
	must(t, s.MarkReport(ctx, "github", 0, "x1"))
	old, err := r.ClaimReport(ctx, 20*time.Millisecond)
	must(t, err)
	must(t, r.Wait(ctx, 10*time.Second))
	item := claim(t, r, "x1")
	must(t, r.FinishReport(ctx, old)) // changes nothing
	must(t, r.DeferReport(ctx, item, time.Now()))
	claim(t, r, "x1")
}

func reportWait(t *testing.T, s *store.Store) {
	r := s.Reports("github")
	began, woken := time.Now(), make(chan error)
	go func() { woken <- r.Wait(t.Context(), time.Minute) }()
	must(t, s.MarkReport(t.Context(), "github", 0, "x1"))
	must(t, <-woken)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	must(t, s.Reports("none").Wait(ctx, time.Minute))
}

func reportState(t *testing.T, s *store.Store) {
	if _, err := s.ReportState(t.Context(), "x1", "check"); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	must(t, s.SaveReportState(t.Context(), "x1", "check", []byte(`{"v":1}`)))
	if got, err := s.ReportState(t.Context(), "x1", "check"); err != nil || string(got) != `{"v":1}` {
		t.Errorf("got %q, %v", got, err)
	}
}

func changes(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := s.Changes(ctx)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ { // until the subscription has begun
		x := summary("x1", "o/r", "", pipeline.InProgress, 0)
		x.Revision = int64(i)
		must(t, s.Index(ctx, boardKey, x))
		select {
		case id := <-heard:
			if id != "x1" {
				t.Errorf("heard %q", id)
			}
			cancel()
			for range heard { // it is closed
			}
			return
		case <-tick.C:
		}
	}
}

func logTail(t *testing.T, s *store.Store) {
	ctx := t.Context()
	bucket, err := blobs.Open(ctx, "mem://", blobs.Options{})
	must(t, err)
	defer func() { _ = bucket.Close() }()
	var want strings.Builder
	ended := make(chan error)
	var followed bytes.Buffer
	go func() {
		ended <- logs.New(bucket, s.LogTail(), time.Now).Follow(ctx, "b1", 0, &followed)
	}()
	for i := range 20 {
		part := strings.Repeat("line\n", i*i*60)
		// A new Store each time: all that was acknowledged outlives a server.
		n, err := logs.New(bucket, s.LogTail(), time.Now).Append(ctx, "b1", 5, int64(want.Len()), []byte(part))
		want.WriteString(part)
		if err != nil || n != int64(want.Len()) {
			t.Fatalf("got %d, %v, want %d", n, err, want.Len())
		}
	}
	l := logs.New(bucket, s.LogTail(), time.Now)
	if _, err := l.Append(ctx, "b1", 4, 0, []byte("x")); !errors.Is(err, logs.ErrStale) {
		t.Errorf("an old token: got %v, want ErrStale", err)
	}
	for _, sealed := range []bool{false, true} {
		if sealed {
			must(t, l.Seal(ctx, "b1", 5, nil))
			must(t, l.Seal(ctx, "b1", 0, nil))
		}
		length, lines, isSealed, err := l.Stat(ctx, "b1")
		if err != nil || length != int64(want.Len()) || lines != length/5 || isSealed != sealed {
			t.Errorf("got %d bytes, %d lines, sealed %v, %v", length, lines, isSealed, err)
		}
		got, err := l.ReadAt(ctx, "b1", 0, want.Len()+1)
		if err != nil || string(got) != want.String() {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, want.Len())
		}
	}
	must(t, <-ended)
	if followed.String() != want.String() {
		t.Errorf("followed %d bytes, want %d", followed.Len(), want.Len())
	}
}
