package queuetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
)

// jobSeries keeps the classes of one test apart from those of another.
var jobSeries struct {
	sync.Mutex
	n int
}

// jobBench is a queue with a class of its own.
type jobBench struct {
	t     *testing.T
	jobs  *queue.Jobs
	label string
}

func newJobBench(t *testing.T, rdb redis.UniversalClient, lease time.Duration) *jobBench {
	t.Helper()
	jobSeries.Lock()
	jobSeries.n++
	label := "class" + strconv.Itoa(jobSeries.n)
	jobSeries.Unlock()
	j := queue.NewJobs(rdb, queue.JobsOptions{Lease: lease}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = j.Close() })
	return &jobBench{t: t, jobs: j, label: label}
}

func (b *jobBench) class() string { return pipeline.ClassOf(pipeline.BuildJob, b.label, "small") }

func (b *jobBench) job(id, repo string) pipeline.Job {
	return pipeline.Job{V: 1, ID: b.label + "-" + id, Kind: pipeline.BuildJob, Repo: "github/" + repo, Project: repo, Labels: b.label, Compute: "small", Attempt: 1}
}

func (b *jobBench) add(jobs ...pipeline.Job) {
	b.t.Helper()
	for _, j := range jobs {
		if err := b.jobs.Add(b.t.Context(), j); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *jobBench) worker(id string) pipeline.Worker {
	return pipeline.Worker{ID: id, Name: id, Kind: pipeline.BuildJob, Classes: []string{b.class()}, Slots: 1}
}

// claim claims a job that must come.
func (b *jobBench) claim() pipeline.Job {
	b.t.Helper()
	j, err := b.jobs.Claim(b.t.Context(), b.worker("w"), 10*time.Second)
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// none checks that no job comes.
func (b *jobBench) none() {
	b.t.Helper()
	if j, err := b.jobs.Claim(b.t.Context(), b.worker("w"), 20*time.Millisecond); !errors.Is(err, pipeline.ErrNotFound) {
		b.t.Fatalf("claimed %s (%v), want none", j.ID, err)
	}
}

func (b *jobBench) finish(j pipeline.Job) {
	b.t.Helper()
	if err := b.jobs.Finish(b.t.Context(), j.Ref()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *jobBench) want(j pipeline.Job, id string) {
	b.t.Helper()
	if j.ID != b.label+"-"+id {
		b.t.Fatalf("got job %s, want %s-%s", j.ID, b.label, id)
	}
}

func (b *jobBench) counts() queue.Counts {
	b.t.Helper()
	c, err := b.jobs.Waiting(b.t.Context(), b.class())
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// TestJobs states what queue.Jobs promises on any Redis.
func TestJobs(t *testing.T, rdb redis.UniversalClient) {
	tests := []struct {
		name string
		run  func(*testing.T, *jobBench)
	}{
		{"a job is claimed once and ends once", jobOnce},
		{"a waiting worker gets what is added", jobToWaiting},
		{"adding twice adds once, also after the end", jobIdempotent},
		{"first in, first out within a repository", jobFIFO},
		{"repositories take turns", jobFair},
		{"a repository that comes back often gets no more than its turn", jobFairReturning},
		{"a project's limit holds and queues", jobLimit},
		{"a parked job moves up when the one before it is cancelled", jobLimitCancel},
		{"a delayed job waits for its time", jobDelayed},
		{"a waiting, an admitted and a running job are cancelled", jobCancel},
		{"only the newest token counts", jobTokens},
		{"a lost job is listed until dropped, its token stale at once", jobLost},
		{"a worker of several classes gets one job", jobClasses},
		{"a claim that is called off leaves no slot", jobCalledOff},
		{"many workers never hold one job twice", jobMany},
		{"workers and places in line are listed", jobLists},
		{"a job that is too large is refused", jobTooLarge},
		{"scripts survive a flush", func(t *testing.T, b *jobBench) {
			b.add(b.job("a", "r"))
			if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			b.finish(b.claim())
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newJobBench(t, rdb, time.Second)) })
	}
}

func jobOnce(t *testing.T, b *jobBench) {
	b.add(b.job("a", "r"))
	j := b.claim()
	b.want(j, "a")
	if j.Token == 0 {
		t.Error("no token")
	}
	b.none()
	for range 2 { // the answer to the first may be lost
		b.finish(j)
	}
	if err := b.jobs.Check(t.Context(), j.Ref()); !errors.Is(err, pipeline.ErrStale) {
		t.Errorf("after the end: got %v, want ErrStale", err)
	}
	if got, want := b.counts(), (queue.Counts{}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func jobToWaiting(t *testing.T, b *jobBench) {
	got := make(chan pipeline.Job, 3)
	var g sync.WaitGroup
	for i := range 3 {
		g.Go(func() {
			j, err := b.jobs.Claim(t.Context(), b.worker(strconv.Itoa(i)), 10*time.Second)
			if err != nil {
				t.Error(err)
			}
			got <- j
		})
	}
	await(t, "three slots", func() bool { return b.counts().Slots == 3 })
	b.add(b.job("a", "r"), b.job("b", "r"), b.job("c", "r"))
	g.Wait()
	close(got)
	seen := map[string]bool{}
	for j := range got {
		seen[j.ID] = true
	}
	if len(seen) != 3 {
		t.Errorf("got %v, want three jobs", seen)
	}
	await(t, "three running jobs and nothing else", func() bool { return b.counts() == queue.Counts{Running: 3} })
}

func jobIdempotent(t *testing.T, b *jobBench) {
	a := b.job("a", "r")
	b.add(a, a)
	j := b.claim()
	b.add(a)
	b.none()
	b.finish(j)
	b.add(a)
	b.none()
}

func jobFIFO(t *testing.T, b *jobBench) {
	for i := range 12 {
		b.add(b.job(strconv.Itoa(i), "r"))
	}
	for i := range 12 {
		j := b.claim()
		b.want(j, strconv.Itoa(i))
		b.finish(j)
	}
}

func jobFair(t *testing.T, b *jobBench) {
	for i := range 20 {
		b.add(b.job("big"+strconv.Itoa(i), "big"))
	}
	for i := range 3 {
		b.add(b.job("one"+strconv.Itoa(i), "one"), b.job("two"+strconv.Itoa(i), "two"))
	}
	by := map[string]int{}
	for range 9 {
		j := b.claim()
		by[j.Project]++
		b.finish(j)
	}
	if by["big"] != 3 || by["one"] != 3 || by["two"] != 3 {
		t.Errorf("of the first nine jobs: %v, want three each", by)
	}
}

func jobFairReturning(t *testing.T, b *jobBench) {
	for i := range 20 {
		b.add(b.job("big"+strconv.Itoa(i), "big"))
	}
	by := map[string]int{}
	for i := range 10 {
		b.add(b.job("small"+strconv.Itoa(i), "small"))
		j := b.claim()
		by[j.Project]++
		b.finish(j)
	}
	if by["big"] < 4 || by["small"] < 4 {
		t.Errorf("got %v, want about half each", by)
	}
}

func jobLimit(t *testing.T, b *jobBench) {
	for i := range 5 {
		j := b.job(strconv.Itoa(i), "r")
		j.Concurrency = 2
		b.add(j)
	}
	b.add(b.job("other", "other"))
	held := []pipeline.Job{b.claim(), b.claim(), b.claim()}
	b.none()
	for i := 2; i < 5; i++ {
		for k, j := range held {
			if j.Project == "r" {
				b.finish(j)
				held[k] = b.claim()
				b.want(held[k], strconv.Itoa(i))
				break
			}
		}
		if i < 4 {
			b.none()
		}
	}
}

func jobLimitCancel(t *testing.T, b *jobBench) {
	for _, id := range []string{"a", "b", "c"} {
		j := b.job(id, "r")
		j.Concurrency = 1
		b.add(j)
	}
	a := b.claim()
	b.none() // parks b and c
	b.finish(a)
	if removed, err := b.jobs.Cancel(t.Context(), b.job("b", "r").Ref(), ""); err != nil || !removed {
		t.Fatalf("got %v, %v", removed, err)
	}
	b.want(b.claim(), "c")
}

func jobDelayed(t *testing.T, b *jobBench) {
	later := b.job("later", "r")
	later.NotBefore = time.Now().Add(300 * time.Millisecond)
	b.add(later, b.job("now", "r"))
	b.want(b.claim(), "now")
	if c := b.counts(); c.Delayed != 1 {
		t.Errorf("got %+v, want one delayed", c)
	}
	b.want(b.claim(), "later")
	if time.Now().Before(later.NotBefore) {
		t.Error("it came too early")
	}
}

func jobCancel(t *testing.T, b *jobBench) {
	ctx := t.Context()
	b.add(b.job("a", "r"), b.job("b", "r"))
	for range 2 { // the first answer may be lost
		if removed, err := b.jobs.Cancel(ctx, b.job("a", "r").Ref(), "no"); err != nil || !removed {
			t.Fatalf("waiting: got %v, %v, want it removed", removed, err)
		}
	}
	j := b.claim()
	b.want(j, "b")
	if removed, err := b.jobs.Cancel(ctx, j.Ref(), "enough"); err != nil || removed {
		t.Fatalf("running: got %v, %v, want it flagged", removed, err)
	}
	r, err := b.jobs.Renew(ctx, j.Ref())
	if err != nil || !r.Stop || r.Reason != "enough" {
		t.Errorf("got %+v, %v, want a stop", r, err)
	}
	b.finish(j)
	if removed, err := b.jobs.Cancel(ctx, j.Ref(), ""); err != nil || removed {
		t.Errorf("ended: got %v, %v, want nothing", removed, err)
	}
	b.add(b.job("a", "r"))
	b.none()
}

func jobClasses(t *testing.T, b *jobBench) {
	w := b.worker("w")
	other := pipeline.ClassOf(pipeline.BuildJob, b.label, "large")
	w.Classes = append(w.Classes, other)
	large := b.job("large", "r")
	large.Compute = "large"
	got := make(chan pipeline.Job)
	for range 2 {
		go func() {
			j, err := b.jobs.Claim(t.Context(), w, 10*time.Second)
			if err != nil {
				t.Error(err)
			}
			got <- j
		}()
		await(t, "a slot in both classes", func() bool {
			l, err := b.jobs.Waiting(t.Context(), other)
			return err == nil && l.Slots == 1 && b.counts().Slots == 1
		})
		b.add(b.job("small", "r"), large)
		j := <-got
		b.finish(j)
		await(t, "no slot to be left", func() bool { return b.counts().Slots == 0 })
		// The other one is back in line: it comes at once.
		j, err := b.jobs.Claim(t.Context(), w, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		b.finish(j)
		b.label += "x" // new IDs and classes
		other = pipeline.ClassOf(pipeline.BuildJob, b.label, "large")
		w.Classes = []string{b.class(), other}
		large = b.job("large", "r")
		large.Compute = "large"
	}
}

func jobCalledOff(t *testing.T, b *jobBench) {
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() {
		_, err := b.jobs.Claim(ctx, b.worker("w"), time.Minute)
		ended <- err
	}()
	await(t, "the slot", func() bool { return b.counts().Slots == 1 })
	cancel(pipeline.ErrDrained)
	if err := <-ended; !errors.Is(err, pipeline.ErrDrained) {
		t.Errorf("got %v, want the cause", err)
	}
	if c := b.counts(); c.Slots != 0 {
		t.Errorf("got %+v, want no slot", c)
	}
	b.add(b.job("a", "r"))
	b.want(b.claim(), "a")
}

func jobMany(t *testing.T, b *jobBench) {
	const workers, repos, each = 6, 5, 12
	var mu sync.Mutex
	holders, running, done := map[string]int{}, map[string]int{}, 0
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var g sync.WaitGroup
	for w := range workers {
		g.Go(func() {
			for ctx.Err() == nil {
				j, err := b.jobs.Claim(ctx, b.worker(strconv.Itoa(w)), 10*time.Second)
				if err != nil {
					continue
				}
				mu.Lock()
				holders[j.ID]++
				running[j.Project]++
				if holders[j.ID] > 1 || running[j.Project] > 2 {
					t.Errorf("%s: %d holders, %d of its project", j.ID, holders[j.ID], running[j.Project])
				}
				running[j.Project]--
				mu.Unlock()
				if err := b.jobs.Finish(ctx, j.Ref()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if done++; done == repos*each {
					stop()
				}
				mu.Unlock()
			}
		})
	}
	for i := range each {
		for r := range repos {
			j := b.job(fmt.Sprintf("%d-%d", r, i), "r"+strconv.Itoa(r))
			j.Concurrency = 2
			b.add(j)
		}
	}
	g.Wait()
	if got, want := b.counts(), (queue.Counts{}); got != want {
		t.Errorf("got %+v, want nothing left", got)
	}
}

func jobLists(t *testing.T, b *jobBench) {
	b.add(b.job("a", "r"), b.job("b", "r"), b.job("c", "s"), b.job("d", "r"))
	w := b.worker(b.label + "-worker")
	j, err := b.jobs.Claim(t.Context(), w, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	all, err := b.jobs.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, got := range all {
		if got.ID == w.ID {
			found = len(got.Jobs) == 1 && got.Jobs[0] == j.ID && !got.SeenAt.IsZero()
		}
	}
	if !found {
		t.Errorf("got %+v, want %s with its job", all, w.ID)
	}
	if n, err := b.jobs.Position(t.Context(), b.job("d", "r")); err != nil || n != 2 {
		t.Errorf("got position %d, %v, want 2", n, err)
	}
	if _, err := b.jobs.Position(t.Context(), j); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("of a running job: got %v, want ErrNotFound", err)
	}
}

func jobTooLarge(t *testing.T, b *jobBench) {
	j := b.job("a", "r")
	j.Trace = string(make([]byte, pipeline.JobLimitBytes))
	if err := b.jobs.Add(t.Context(), j); err == nil {
		t.Error("want an error")
	}
}
