package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

// JobsOptions are the settings of Jobs. The zero value is the default.
type JobsOptions struct {
	// Lease is how long a job stays with a worker that says nothing; 0 means
	// 15 s, and less than a second a second.
	Lease time.Duration
	// Remember is how long the ID of an ended job is refused; 0 means 8 days.
	Remember time.Duration
}

// Jobs is the queue of jobs for workers: fair between repositories, first in
// first out within one, with a limit of running jobs for each project of a
// class. A worker gets a job when it asks for one, never before. It is safe
// for concurrent use; all that is known of a job is in Redis.
type Jobs struct {
	rdb      redis.UniversalClient
	waiting  redis.UniversalClient // for reads that block
	lease    time.Duration
	remember time.Duration
	consumer string
	log      *slog.Logger
	readers  sync.WaitGroup
	noted    notes
	sweeping sync.Mutex
	swept    []string // the classes of the last sweep
}

// NewJobs makes a queue over a client that the caller closes, after Close.
func NewJobs(rdb redis.UniversalClient, opts JobsOptions, log *slog.Logger) *Jobs {
	if opts.Lease == 0 {
		opts.Lease = 15 * time.Second
	}
	if opts.Remember == 0 {
		opts.Remember = 8 * 24 * time.Hour
	}
	return &Jobs{
		rdb: rdb, waiting: blocking(rdb), lease: max(opts.Lease, time.Second), remember: opts.Remember,
		consumer: uuid.NewString(), log: log, noted: notes{at: map[string]time.Time{}},
	}
}

// Close ends the reads that wait and closes the connections that Jobs made
// itself. A job that arrives at that very moment is lost, and begins anew when
// its lease is over.
func (j *Jobs) Close() error {
	err := closeBlocking(j.waiting, j.rdb)
	j.readers.Wait()
	if err != nil {
		return fmt.Errorf("closing the job queue: %w", err)
	}
	return nil
}

// run calls one script of a class.
func (j *Jobs) run(ctx context.Context, s *redis.Script, c class, args ...any) *redis.Cmd {
	ctx, cancel := limited(ctx)
	defer cancel()
	return s.Run(ctx, j.rdb, []string{c.base()}, args...)
}

// Add puts a job into its class. A job whose ID was added before, or has ended
// within the time that is remembered, changes nothing. A job over
// pipeline.JobLimitBytes is an error.
func (j *Jobs) Add(ctx context.Context, job pipeline.Job) error {
	if job.V == 0 {
		job.V = 1
	}
	job.Token = 0
	data, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("encoding job %s: %w", job.ID, err)
	}
	if len(data) > pipeline.JobLimitBytes {
		return fmt.Errorf("adding job %s: it takes %d bytes, the limit is %d", job.ID, len(data), pipeline.JobLimitBytes)
	}
	var notBefore int64
	if !job.NotBefore.IsZero() {
		notBefore = job.NotBefore.UnixMilli()
	}
	if err := j.noteClass(ctx, job.Class()); err != nil {
		return err
	}
	if err := j.run(ctx, addJob, class(job.Class()), job.ID, job.Repo, data, notBefore, j.lease.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("adding job %s: %w", job.ID, err)
	}
	return nil
}

// Renew extends the lease of a job and says whether its worker is to stop it.
// ErrStale: it is no longer that worker's.
func (j *Jobs) Renew(ctx context.Context, ref pipeline.JobRef) (pipeline.Renewal, error) {
	got, err := j.run(ctx, renewJob, class(ref.Class), ref.ID, ref.Token, j.lease.Milliseconds()).StringSlice()
	if err != nil {
		return pipeline.Renewal{}, fmt.Errorf("renewing job %s: %w", ref.ID, err)
	}
	if len(got) == 0 {
		return pipeline.Renewal{}, fmt.Errorf("renewing job %s: %w", ref.ID, pipeline.ErrStale)
	}
	if err := j.noteSeen(ctx, got[0]); err != nil {
		return pipeline.Renewal{}, err
	}
	r := pipeline.Renewal{Lease: j.lease}
	if len(got) > 1 {
		r.Stop, r.Reason = true, got[1]
	}
	return r, nil
}

// Check answers nil if the reference's token holds the job, else ErrStale.
func (j *Jobs) Check(ctx context.Context, ref pipeline.JobRef) error {
	return j.ask(ctx, "checking", checkJob, ref, ref.ID, ref.Token)
}

// Finish ends a job that its worker holds and frees its place. It may be
// repeated. ErrStale: it is no longer that worker's.
func (j *Jobs) Finish(ctx context.Context, ref pipeline.JobRef) error {
	return j.ask(ctx, "finishing", finishJob, ref, ref.ID, ref.Token, j.remember.Milliseconds(), "leases", ref.Token, j.lease.Milliseconds())
}

// Drop ends a job that Lost listed and frees its place. It may be repeated.
// ErrStale: the job isn't lost.
func (j *Jobs) Drop(ctx context.Context, ref pipeline.JobRef) error {
	return j.ask(ctx, "dropping", finishJob, ref, ref.ID, ref.Token, j.remember.Milliseconds(), "lost", "lost", j.lease.Milliseconds())
}

func (j *Jobs) ask(ctx context.Context, what string, s *redis.Script, ref pipeline.JobRef, args ...any) error {
	n, err := j.run(ctx, s, class(ref.Class), args...).Int()
	if err == nil && n == 0 {
		err = pipeline.ErrStale
	}
	if err != nil {
		return fmt.Errorf("%s job %s: %w", what, ref.ID, err)
	}
	return nil
}

// Cancel takes a waiting job out and answers true, also when it did so before;
// nobody else will say that such a job has ended. Of a job that a worker holds,
// the worker is told at its next renewal. A job that has ended, or is unknown,
// is left as it is. The reference needs no token.
func (j *Jobs) Cancel(ctx context.Context, ref pipeline.JobRef, reason string) (removed bool, err error) {
	n, err := j.run(ctx, cancelJob, class(ref.Class), ref.ID, reason, j.remember.Milliseconds(), j.lease.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("cancelling job %s: %w", ref.ID, err)
	}
	return n == 1, nil
}

// Lost lists up to n jobs, of all classes, whose worker let the lease run out,
// with the token that it had; from then on that token is stale. A job is listed
// until it is dropped. Jobs that were given out and never taken go back in line.
// It is to be called every few seconds by at least one process.
func (j *Jobs) Lost(ctx context.Context, n int) ([]pipeline.Job, error) {
	if n <= 0 {
		_, err := j.Classes(ctx)
		return nil, err
	}
	answers, err := j.sweep(ctx, n)
	if err != nil {
		return nil, err
	}
	var lost []pipeline.Job
	for _, found := range answers {
		for i := 0; i+1 < len(found) && len(lost) < n; i += 2 {
			job, err := decodeJob(found[i], found[i+1])
			if err != nil {
				return lost, err
			}
			lost = append(lost, job)
		}
	}
	return lost, nil
}

// sweep asks for the lost jobs of all classes: those of the last time first,
// then those that came since.
func (j *Jobs) sweep(ctx context.Context, n int) ([][]string, error) {
	j.sweeping.Lock()
	defer j.sweeping.Unlock()
	var answers [][]string
	next := j.swept
	for done := []string(nil); ; {
		found, known, err := j.sweepClasses(ctx, next, n)
		if err != nil {
			return nil, err
		}
		answers, done = append(answers, found...), append(done, next...)
		next = slices.DeleteFunc(slices.Clone(known), func(c string) bool { return slices.Contains(done, c) })
		if len(next) == 0 {
			j.swept = known
			return answers, nil
		}
	}
}

// sweepClasses asks for the lost jobs of each class, and which classes there
// are, all in one round trip: this is what a server that has nothing to do does
// every second.
func (j *Jobs) sweepClasses(ctx context.Context, classes []string, n int) (lost [][]string, known []string, err error) {
	limit, cancel := limited(ctx)
	defer cancel()
	asked := make([]*redis.Cmd, len(classes))
	var all *redis.StringSliceCmd
	_, _ = j.rdb.Pipelined(limit, func(p redis.Pipeliner) error { // each answer has its own error
		for i, c := range classes {
			asked[i] = sweepClass.EvalSha(limit, p, []string{class(c).base()}, j.lease.Milliseconds(), n)
		}
		all = p.SMembers(limit, classesKey())
		return nil
	})
	for i, c := range classes {
		found, err := asked[i].StringSlice()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			found, err = j.run(ctx, sweepClass, class(c), j.lease.Milliseconds(), n).StringSlice()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("looking for lost jobs of class %q: %w", c, err)
		}
		lost = append(lost, found)
	}
	if known, err = all.Result(); err != nil {
		return nil, nil, fmt.Errorf("listing classes: %w", err)
	}
	return lost, known, nil
}

// Classes are all classes that a job or worker was seen for.
func (j *Jobs) Classes(ctx context.Context) ([]string, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	classes, err := j.rdb.SMembers(ctx, classesKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("listing classes: %w", err)
	}
	return classes, nil
}

// Counts are how many jobs of a class there are in each state.
type Counts struct {
	Waiting  int // in line, also for a place of their project
	Delayed  int // before their time
	Admitted int // given out and not taken yet
	Running  int
	Lost     int // their worker is gone, and Drop was not called yet
	Slots    int // free places of workers that wait for a job
}

// Waiting counts the jobs of a class.
func (j *Jobs) Waiting(ctx context.Context, jobClass string) (Counts, error) {
	n, err := j.run(ctx, countClass, class(jobClass)).Int64Slice()
	if err == nil && len(n) != 6 {
		err = fmt.Errorf("the answer has %d numbers", len(n))
	}
	if err != nil {
		return Counts{}, fmt.Errorf("counting jobs of class %q: %w", jobClass, err)
	}
	c := Counts{Delayed: int(n[1]), Admitted: int(n[2]), Running: int(n[3] - n[2]), Lost: int(n[4]), Slots: int(n[5])}
	c.Waiting = max(0, int(n[0])-c.Delayed-c.Admitted-c.Running-c.Lost)
	return c, nil
}

// Position is about how many jobs begin before this one, counting from 0; the
// turns of other repositories are estimated. ErrNotFound: it isn't waiting.
func (j *Jobs) Position(ctx context.Context, job pipeline.Job) (int, error) {
	n, err := j.run(ctx, placeInLine, class(job.Class()), job.ID).Int()
	if err == nil && n < 0 {
		err = pipeline.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("finding job %s in line: %w", job.ID, err)
	}
	return n, nil
}

// errNewer: the entry was written by a newer version of this program.
var errNewer = errors.New("written by a newer version")

func decodeJob(data, token string) (pipeline.Job, error) {
	var job pipeline.Job
	if err := json.Unmarshal([]byte(data), &job); err != nil {
		return job, fmt.Errorf("decoding a job: %w", err)
	}
	n, err := strconv.ParseInt(token, 10, 64)
	if err != nil {
		return job, fmt.Errorf("decoding the token of job %s: %w", job.ID, err)
	}
	job.Token = n
	if job.V > 1 {
		return job, fmt.Errorf("job %s: %w", job.ID, errNewer)
	}
	return job, nil
}
