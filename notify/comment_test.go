package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// fakeComments keeps the comments of pull requests by number and marker.
type fakeComments struct {
	mu     sync.Mutex
	bodies map[string]string
	writes []time.Time
	busy   bool
	breach string
	script []error
}

func (f *fakeComments) Comment(_ context.Context, _ forge.Repo, _ int64, number int, marker, body string) error {
	f.mu.Lock()
	if f.busy {
		f.breach = "two writes at once"
	}
	f.busy = true
	f.mu.Unlock()
	wait(300 * time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
	f.writes = append(f.writes, time.Now())
	if len(f.script) > 0 {
		err := f.script[0]
		f.script = f.script[1:]
		if err != nil {
			return err
		}
	}
	if f.bodies == nil {
		f.bodies = map[string]string{}
	}
	f.bodies[fmt.Sprintf("%d %s", number, marker)] = body
	return nil
}

// Lease is a lease that nobody else holds for long.
func (s *fakeStore) Lease(_ context.Context, name string, _ time.Duration) (func(), bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[name] {
		return func() {}, false, nil
	}
	if s.leases == nil {
		s.leases = map[string]bool{}
	}
	s.leases[name] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leases[name] = false
	}, true, nil
}

func startComments(t testing.TB, s *fakeStore, f *fakeComments, always bool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	for range 2 { // two servers
		c := NewComments(s, s, s, f, CommentsOptions{Always: always, BaseURL: "https://ci.example.com"})
		ended.Go(func() { _ = c.Run(ctx) })
	}
	return func() {
		cancel()
		ended.Wait()
	}
}

// pulled makes an execution one of pull request 7.
func pulled(x pipeline.Execution, name string) pipeline.Execution {
	x.Trigger.Pull = &forge.PullRequest{Number: 7, HeadRef: "topic"}
	x.Pipeline.Name = name
	return x
}

// A pull request has one comment, with a row for each pipeline, although two
// servers write.
func TestOneComment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeComments{}
		defer startComments(t, s, f, false)()
		s.commit(pulled(sample("x1"), "default"))
		s.commit(pulled(sample("x2"), "nightly"))
		settled(t, s, time.Minute)
		if len(f.bodies) != 0 {
			t.Errorf("a comment although nothing failed: %v", f.bodies)
		}
		s.commit(pulled(failedExecution("x1"), "default"), failedBuild())
		s.commit(pulled(passed("x2"), "nightly"))
		settled(t, s, time.Minute)
		body := f.bodies["7 summary"]
		if len(f.bodies) != 1 || !strings.Contains(body, "| default | ❌") || !strings.Contains(body, "| nightly | ✅") {
			t.Errorf("%v", f.bodies)
		}
		golden(t, "comment_failed", []byte(body))
		if f.breach != "" {
			t.Error(f.breach)
		}
		writes := len(f.writes)
		s.commit(pulled(passed("x2"), "nightly")) // no news
		settled(t, s, time.Minute)
		if len(f.writes) != writes {
			t.Error("the same comment was written again")
		}
	})
}

// The comment says how tests and coverage are, and what is new in it; a name
// can't draw a line of its own.
func TestCommentNamesReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeComments{}
		defer startComments(t, s, f, false)()
		b := failedBuild()
		b.Reports = []pipeline.Report{
			{Name: "app-unit\n| x", Status: pipeline.ReportFailed, Kind: pipeline.ReportTest, Total: 5, Passed: 3, Failed: 2, NewBad: 1, Flaky: 1},
			{Name: "app-cov", Status: pipeline.ReportSucceeded, Kind: pipeline.ReportCoverage, Lines: pipeline.Coverage{Covered: 3, Missed: 1}, Before: pipeline.Coverage{Covered: 4}},
		}
		for i := range 20 {
			b.Reports = append(b.Reports, pipeline.Report{Name: fmt.Sprint("more-", i), Kind: pipeline.ReportTest})
		}
		s.commit(pulled(failedExecution("x1"), "default"), b)
		settled(t, s, time.Minute)
		body := f.bodies["7 summary"]
		for _, want := range []string{
			"❌ failed, 5 tests, 3 passed, 2 failed \\(1 new, 1 known flaky\\)\n", "- app-cov: ✅ succeeded, 75.0% of lines \\(3 of 4\\), -25.0 since the report before\n", "- more-7: ",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("the comment lacks %q:\n%s", want, body)
			}
		}
		if strings.Contains(body, "\n| x") || strings.Contains(body, "more-8") {
			t.Errorf("the comment:\n%s", body)
		}
	})
}

// A new head takes the comment over; what was there is past.
func TestCommentOfANewHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeComments{}
		defer startComments(t, s, f, true)()
		s.commit(pulled(failedExecution("x1"), "default"))
		settled(t, s, time.Minute)
		next := pulled(running(sample("x2")), "default")
		next.Trigger.SHA, next.CreatedAt, next.Number = strings.Repeat("b", 40), start.Add(time.Hour), 8
		s.commit(next)
		settled(t, s, time.Minute)
		golden(t, "comment_new_head", []byte(f.bodies["7 summary"]))
		s.commit(pulled(failedExecution("x1"), "default")) // the old one again
		settled(t, s, time.Minute)
		if body := f.bodies["7 summary"]; strings.Count(body, "| default |") != 1 || !strings.Contains(body, "bbbbbbb") {
			t.Errorf("an old execution took over:\n%s", body)
		}
	})
}

func TestCommentOfAnApproval(t *testing.T) {
	x := act(sample("x1"), 1, 0, func(a *pipeline.ActionExecution) { a.Status = pipeline.Succeeded })
	x = act(x, 2, 0, func(a *pipeline.ActionExecution) {
		a.Status = pipeline.InProgress
		a.Approval = &pipeline.ApprovalState{Token: "t", Message: "Release?", Approvers: []string{"octo/release"}, Expires: start}
	})
	var sh sheet
	sh.add(rowOf(x, works(x, nil), "https://ci.example.com"))
	if !sh.calls() {
		t.Error("a waiting approval calls nobody")
	}
	golden(t, "comment_approval", []byte(renderComment(sh, "https://ci.example.com")))
}

// C21: a stranger's pull request has one comment that says how its commit is
// let in.
func TestC21CommentOfAStranger(t *testing.T) {
	x := ended(sample("x1"), pipeline.Stopped, "")
	x.Gate = "The pull request comes from a fork."
	var sh sheet
	sh.add(rowOf(x, works(x, nil), ""))
	body := renderComment(sh, "")
	if !sh.calls() || !strings.Contains(body, "`/ok-to-test abc1234`") || !strings.Contains(body, "comes from a fork") || strings.Contains(body, "/retest") {
		t.Error(body)
	}
}

// C36: while executions go on, the comment is written at most once in 10 s;
// the final state at once.
func TestC36CommentsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeComments{}
		defer startComments(t, s, f, true)()
		began := time.Now()
		for i := range 40 {
			x := pulled(running(sample("x1")), "default")
			x.Reason = fmt.Sprint(i)
			x.Status = pipeline.Stopping // whose title has the reason in it
			s.commit(x)
			wait(250 * time.Millisecond)
		}
		s.commit(pulled(passed("x1"), "default"))
		settled(t, s, time.Minute)
		if len(f.writes) > 3 {
			t.Errorf("%d writes in %s", len(f.writes), time.Since(began))
		}
		if !strings.Contains(f.bodies["7 summary"], "✅") {
			t.Errorf("the final state is missing:\n%s", f.bodies["7 summary"])
		}
	})
}

// Forges reference 3.6: a locked pull request answers 403, and that is all.
func TestCommentRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFakeStore(), &fakeComments{script: []error{
			&forge.RetryError{Err: errors.New("502")}, fmt.Errorf("commenting: %w", forge.ErrForbidden),
		}}
		defer startComments(t, s, f, true)()
		s.commit(pulled(failedExecution("x1"), "default"))
		settled(t, s, time.Minute)
		if len(f.writes) != 2 || len(f.bodies) != 0 {
			t.Errorf("%d writes, %v", len(f.writes), f.bodies)
		}
	})
}
