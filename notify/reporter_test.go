package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/pipeline"
)

// world is a Reporter at work between a fake store and a fake forge.
type world struct {
	store *fakeStore
	forge *fakeForge
	opts  Options
	stop  func()
}

// newWorld starts a Reporter; call stop before the bubble ends.
func newWorld(t testing.TB, spacing time.Duration) *world {
	f := newFakeForge(spacing)
	w := &world{store: newFakeStore(), forge: f}
	w.opts = Options{Forges: map[string]Forge{"github": {Checks: f, Statuses: f, Spacing: spacing}}, BaseURL: "https://ci.example.com"}
	w.run(t)
	return w
}

func (w *world) run(t testing.TB) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	r := New(w.store, w.store, w.opts)
	go func() {
		defer close(ended)
		_ = r.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-ended
	}
}

// settle lets fake time pass until nothing is left to report, at most limit.
func (w *world) settle(t testing.TB, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); !w.store.empty(); {
		if time.Now().After(end) {
			t.Fatalf("not everything was reported within %s", limit)
		}
		<-time.After(time.Second)
	}
}

func (w *world) state(t testing.TB, id string) state {
	t.Helper()
	data, err := w.store.ReportState(t.Context(), id, stateKind)
	if err != nil {
		t.Fatal(err)
	}
	var st state
	if err := json.Unmarshal(data, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func (w *world) sound(t testing.TB) {
	t.Helper()
	for _, b := range w.forge.breaches {
		t.Error(b)
	}
}

func passed(id string) pipeline.Execution {
	x := running(sample(id))
	x = act(x, 1, 0, func(a *pipeline.ActionExecution) { a.Status = pipeline.Succeeded })
	return ended(x, pipeline.Succeeded, "")
}

func wait(d time.Duration) { <-time.After(d) }

// C13: queued, in progress, completed, on one check run.
func TestStatesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		for _, x := range []pipeline.Execution{sample("x1"), running(sample("x1")), passed("x1")} {
			w.store.commit(x)
			wait(3 * time.Second)
		}
		w.settle(t, time.Minute)
		got := w.forge.run("x1:1")
		if diff := cmp.Diff([]string{"queued", "in_progress", "success"}, got.history); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		w.sound(t)
	})
}

// C36: 40 changes in 10 s on 10 executions.
func TestManyChangesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		for i := range 40 {
			id := fmt.Sprintf("x%d", i%10)
			w.store.commit([]pipeline.Execution{sample(id), running(sample(id)), running(sample(id)), passed(id)}[i/10])
			wait(250 * time.Millisecond)
		}
		w.settle(t, time.Minute)
		for i := range 10 {
			r := w.forge.run(fmt.Sprintf("x%d:1", i))
			if r == nil || r.finals != 1 || r.Conclusion != success {
				t.Errorf("execution %d: %+v", i, r)
			}
		}
		if n := len(w.forge.writes); n > 22 {
			t.Errorf("%d writes, want at most one a second and none after the finals", n)
		}
		w.sound(t)
	})
}

// Final states overtake progress that waits for the same installation.
func TestFinalsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		for i := range 20 {
			w.store.commit(sample(fmt.Sprintf("x%02d", i)))
		}
		wait(2500 * time.Millisecond)
		w.store.commit(passed("final"))
		wait(2 * time.Second)
		if r := w.forge.run("final:1"); r == nil || r.Conclusion != success {
			t.Errorf("the final state waits: %+v", r)
		}
		w.settle(t, time.Minute)
		w.sound(t)
	})
}

// C37 and forges reference 3.11.
func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		script []fault
		least  time.Duration // until the write that succeeds
		most   time.Duration
	}{
		{"C37 429 with Retry-After", []fault{slowDown}, 7 * time.Second, 9 * time.Second},
		{"C37 502", []fault{serverError, serverError}, 2400 * time.Millisecond, 5 * time.Second},
		{"C37 lost answer", []fault{lostAnswer}, 3800 * time.Millisecond, 6 * time.Second},
		{"lost answers, then an outage", []fault{lostAnswer, lostAnswer, serverError}, 10 * time.Second, 20 * time.Second},
		{"not found once", []fault{missing}, 5 * time.Second, 7 * time.Second},
		{"an outage of half an hour", slices.Repeat([]fault{serverError}, 11), 20 * time.Minute, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Second)
				defer w.stop()
				w.forge.script = tt.script
				begin := time.Now()
				w.store.commit(passed("x1"))
				w.settle(t, 2*time.Hour)
				got := w.forge.run("x1:1")
				if got == nil || got.finals != 1 || len(w.forge.runs) != 1 {
					t.Fatalf("got %d check runs, %+v", len(w.forge.runs), got)
				}
				took := w.forge.writes[len(w.forge.writes)-1].Sub(begin)
				if took < tt.least || took > tt.most {
					t.Errorf("the last write came after %s, want %s to %s", took, tt.least, tt.most)
				}
				w.sound(t)
			})
		})
	}
}

// C37: Retry-After holds for the whole installation, and for no other one.
func TestRateLimitHoldsTheInstallation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		w.forge.script = []fault{slowDown}
		wait(2 * time.Second)
		begin := time.Now()
		w.store.commit(sample("x1"))
		wait(500 * time.Millisecond)
		w.store.commit(passed("x2"))
		other := passed("x3")
		other.Trigger.Installation = 6
		w.store.commit(other)
		w.settle(t, time.Minute)
		var after []time.Duration
		for _, at := range w.forge.writes[1:] {
			after = append(after, at.Sub(begin).Truncate(time.Second))
		}
		if diff := cmp.Diff([]time.Duration{0, 7 * time.Second, 8 * time.Second}, after); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		w.sound(t)
	})
}

func TestGivingUp(t *testing.T) {
	tests := []struct {
		name   string
		x      pipeline.Execution
		always fault
		writes int // at most
		note   string
		within time.Duration
	}{
		{"progress after six tries", running(sample("x1")), serverError, 6, "in_progress was given up", 10 * time.Minute},
		{"a final state after a day", passed("x1"), serverError, 200, "completed was given up", 25 * time.Hour},
		{"rejected: the minimum once", passed("x1"), rejected, 2, "completed was given up", time.Minute},
		{"not found twice", passed("x1"), missing, 2, "completed was given up", time.Minute},
		{"no credentials", passed("x1"), noKey, 1, "", time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Second)
				defer w.stop()
				w.forge.always = tt.always
				begin := time.Now()
				w.store.commit(tt.x)
				w.settle(t, tt.within)
				if n := len(w.forge.writes); n > tt.writes {
					t.Errorf("%d writes, want at most %d", n, tt.writes)
				}
				if note := w.state(t, "x1").Note; !strings.HasPrefix(note, tt.note) {
					t.Errorf("note %q, want %q", note, tt.note)
				}
				if took := time.Since(begin); tt.within > 24*time.Hour && took < 24*time.Hour {
					t.Errorf("a final state was given up after %s", took)
				}
			})
		})
	}
}

func TestRejectedReportGetsItsMinimum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		w.forge.script = []fault{rejected}
		x := passed("x1")
		x.Annotations = []forge.Annotation{{Path: "a.go", StartLine: 1, Level: "warning", Message: "m"}}
		w.store.commit(x)
		w.settle(t, time.Minute)
		got := w.forge.run("x1:1")
		if got.Conclusion != success || got.Annotations != nil || got.Title != "Passed in 4m31s" || !strings.Contains(got.Summary, "/executions/x1") {
			t.Errorf("got %+v", got.CheckRun)
		}
	})
}

// Without the permission for checks the commit status serves: four words at
// most, and for an hour nothing else is tried for the repository.
func TestForbiddenChecksBecomeStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		w.forge.script = []fault{refused}
		for _, x := range []pipeline.Execution{sample("x1"), running(sample("x1")), running(sample("x1")), passed("x1")} {
			w.store.commit(x)
			wait(20 * time.Second)
		}
		w.store.commit(passed("x2"))
		w.settle(t, time.Minute)
		var got []string
		for _, s := range w.forge.statuses {
			got = append(got, s.Context+" "+s.State+" "+s.Description)
		}
		want := []string{
			"slipway/default pending Queued", "slipway/default pending Running",
			"slipway/default success Passed in 4m31s", "slipway/default success Passed in 4m31s",
		}
		if diff := cmp.Diff(want, got); diff != "" || len(w.forge.runs) != 0 {
			t.Errorf("%d check runs; (-want +got)\n%s", len(w.forge.runs), diff)
		}
		wait(time.Hour)
		w.store.commit(passed("x3"))
		w.settle(t, time.Minute)
		if r := w.forge.run("x3:1"); r == nil || r.Conclusion != success {
			t.Errorf("after an hour: got %+v, want a check run", r)
		}
		w.sound(t)
	})
}

// An execution whose pending status is out there gets its final word there,
// too, although checks may be written again.
func TestStatusesLastToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		w.forge.script = []fault{refused}
		w.store.commit(sample("x1"))
		wait(2 * time.Hour)
		w.store.commit(passed("x1"))
		w.settle(t, time.Minute)
		if n := len(w.forge.statuses); n != 2 || w.forge.statuses[1].State != "success" {
			t.Errorf("got %+v", w.forge.statuses)
		}
	})
}

func TestForgeWithoutReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		x := passed("x1")
		x.Repo.Forge = "local"
		w.store.commit(x)
		w.settle(t, time.Minute)
		if len(w.forge.writes) != 0 {
			t.Errorf("%d writes, want none", len(w.forge.writes))
		}
	})
}

// A running build's phases are shown as they go, without a change of the
// execution.
func TestProgressIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		b := failedBuild()
		b.Failure, b.Phases = nil, b.Phases[:1]
		w.store.commit(running(sample("x1")), b)
		wait(3 * time.Second)
		b.Phases = failedBuild().Phases[:2]
		w.store.mu.Lock()
		w.store.builds["x1"] = []pipeline.Build{b}
		w.store.mu.Unlock()
		wait(20 * time.Second)
		r := w.forge.run("x1:1")
		if !strings.Contains(r.Summary, "DOWNLOAD") || len(r.history) != 2 {
			t.Errorf("after %d writes: %s", len(r.history), r.Summary)
		}
		wait(10 * time.Minute)
		if n := len(w.forge.run("x1:1").history); n < 10 || n > 14 {
			t.Errorf("%d writes in ten minutes without news, want about one a minute", n)
		}
	})
}

// An execution that ended and lives again gets a check run of its own.
func TestSecondLifeHasItsOwnCheckRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		w.store.commit(failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "exit"))
		w.settle(t, time.Minute)
		w.store.commit(running(sample("x1")))
		wait(5 * time.Second)
		again := passed("x1")
		again.EndedAt = again.EndedAt.Add(time.Hour)
		w.store.commit(again)
		w.settle(t, time.Minute)
		first, second := w.forge.run("x1:1"), w.forge.run("x1:2")
		if first == nil || second == nil || first.Conclusion != failure || second.Conclusion != success {
			t.Errorf("got %+v and %+v", first, second)
		}
		w.sound(t)
	})
}

// So does one whose check an admin overrides.
func TestOverriddenCheckIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		x := failed(sample("x1"), pipeline.BuildFailed, pipeline.JobFailed, "exit")
		w.store.commit(x)
		w.settle(t, time.Minute)
		x.Override = &pipeline.Override{By: "ann", Reason: "flaky host", At: x.EndedAt.Add(time.Hour)}
		w.store.commit(x)
		w.settle(t, time.Minute)
		first, second := w.forge.run("x1:1"), w.forge.run("x1:2")
		if first == nil || second == nil || first.Conclusion != failure || second.Conclusion != success || second.Title != "Overridden by @ann: flaky host" {
			t.Errorf("got %+v and %+v", first, second)
		}
		w.sound(t)
	})
}

// C35: annotations survive lost answers without appearing twice.
func TestAnnotationsAppearOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		defer w.stop()
		w.forge.script = []fault{{}, lostAnswer, lostAnswer, serverError}
		w.store.commit(running(sample("x1")))
		wait(2 * time.Second)
		x := passed("x1")
		for i := range 120 {
			x.Annotations = append(x.Annotations, forge.Annotation{Path: "a.go", StartLine: i + 1, Level: "warning", Message: "m"})
		}
		w.store.commit(x)
		w.settle(t, time.Hour)
		if n := len(w.forge.run("x1:1").Annotations); n != 120 {
			t.Errorf("%d annotations, want 120", n)
		}
	})
}

// A reporter that ends in the middle of a write brings it to its end, and the
// next one goes on from there.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		w.forge.script = []fault{{slow: 5 * time.Second}}
		for i := range 5 {
			w.store.commit(sample(fmt.Sprintf("x%d", i)))
		}
		wait(2 * time.Second)
		w.stop()
		for i := range 5 {
			w.store.commit(passed(fmt.Sprintf("x%d", i)))
		}
		wait(time.Second)
		w.run(t)
		defer w.stop()
		w.settle(t, 20*time.Second)
		for i := range 5 {
			if r := w.forge.run(fmt.Sprintf("x%d:1", i)); r == nil || r.finals != 1 {
				t.Errorf("execution %d: %+v", i, r)
			}
		}
		w.sound(t)
	})
}

// A crash between a write and the note of it leaves Unsure behind: the next
// reporter finds the check run instead of making a second one.
func TestCrashInTheMiddleOfACreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		w.stop()
		w.store.commit(sample("x1"))
		crashed := New(w.store, w.store, w.opts)
		item, err := w.store.ClaimReport(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		l := crashed.lane(item, w.opts.Forges["github"])
		p, err := crashed.plan(t.Context(), l, item)
		if err != nil {
			t.Fatal(err)
		}
		if err := crashed.write(t.Context(), l, p); err != nil {
			t.Fatal(err)
		}
		// Here the process dies; the lease runs out.
		w.store.commit(passed("x1"))
		w.run(t)
		defer w.stop()
		w.settle(t, 3*time.Minute)
		if r := w.forge.run("x1:1"); len(w.forge.runs) != 1 || r.Conclusion != success {
			t.Errorf("%d check runs: %+v", len(w.forge.runs), r)
		}
		w.sound(t)
	})
}

func TestSpacing(t *testing.T) {
	for url, slow := range map[string]bool{
		"https://api.github.com/": true, "https://api.acme.ghe.com/": true, "https://api.bitbucket.org/2.0": true,
		"http://127.0.0.1:3000/": false, "https://ghes.example.com/api/v3/": false, "https://notgithub.com/": false,
	} {
		if got := Spacing(url) == time.Second; got != slow {
			t.Errorf("Spacing(%s) = %s", url, Spacing(url))
		}
	}
}
