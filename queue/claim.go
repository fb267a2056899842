package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// jobGroup is the streams' consumer group.
	jobGroup = "workers"
	// readSlice bounds one blocking read, so that a claim that ended doesn't
	// leave a reader behind for longer.
	readSlice = 30 * time.Second
	// lookAgain is how often a waiting claim looks for jobs that were delayed
	// since it looked; what it knew of then it looks for when it is due.
	lookAgain = 30 * time.Second
	// slotSlack is how much longer than its claim a slot counts as waiting.
	slotSlack = 2 * time.Second
)

// Claim waits up to wait for a job of one of w's classes and takes its lease.
// ErrNotFound: none came. A worker of several classes is given one job; what
// arrives for it beside that goes back in line.
func (j *Jobs) Claim(ctx context.Context, w pipeline.Worker, wait time.Duration) (pipeline.Job, error) {
	if err := j.noteWorker(ctx, w); err != nil {
		return pipeline.Job{}, err
	}
	c := &claim{jobs: j, worker: w.ID, slot: w.ID + "#" + uuid.NewString(), arrived: make(chan arrival), done: make(chan struct{}), until: time.Now().Add(wait)}
	for _, name := range w.Classes {
		c.classes = append(c.classes, class(name))
	}
	job, err := c.wait(ctx)
	close(c.done)
	if err := c.leave(ctx, job.Class()); err != nil {
		j.log.WarnContext(ctx, "a slot is left to expire", "error", err)
	}
	if err != nil {
		return pipeline.Job{}, fmt.Errorf("claiming a job: %w", err)
	}
	return job, nil
}

// claim is one waiting slot.
type claim struct {
	jobs    *Jobs
	worker  string
	slot    string
	classes []class
	joined  []class
	reading []class
	arrived chan arrival
	done    chan struct{} // closed when nobody receives from arrived any more
	until   time.Time
}

// arrival is what a reader of a class got.
type arrival struct {
	class class
	entry redis.XMessage
	err   error
}

// errNothing: there is no job yet.
var errNothing = errors.New("no job yet")

func (c *claim) wait(ctx context.Context) (pipeline.Job, error) {
	for {
		job, again, err := c.join(ctx)
		if !errors.Is(err, errNothing) {
			return job, err
		}
		left := time.Until(c.until)
		if left <= 0 {
			return pipeline.Job{}, pipeline.ErrNotFound
		}
		c.read(ctx)
		look := time.NewTimer(min(left, again))
		select {
		case a := <-c.arrived:
			job, err = c.take(ctx, a)
		case <-look.C:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		look.Stop()
		if !errors.Is(err, errNothing) {
			return job, err
		}
	}
}

// join looks into every class and makes the slot wait there. again is when it
// is worth to look next.
func (c *claim) join(ctx context.Context) (job pipeline.Job, again time.Duration, err error) {
	again = lookAgain
	expiry := time.Until(c.until) + slotSlack
	for _, name := range c.classes {
		answer, err := c.jobs.run(ctx, joinClass, name, c.slot, c.worker, expiry.Milliseconds(), c.jobs.lease.Milliseconds()).Slice()
		if err != nil {
			return pipeline.Job{}, 0, err
		}
		if !slices.Contains(c.joined, name) {
			c.joined = append(c.joined, name)
		}
		if len(answer) == 2 {
			job, err := leased(answer)
			return job, 0, err
		}
		if due, ok := answer[0].(int64); ok && due >= 0 {
			again = min(again, time.Duration(due+1)*time.Millisecond)
		}
	}
	return pipeline.Job{}, again, errNothing
}

// read makes sure that each class has a reader.
func (c *claim) read(ctx context.Context) {
	for _, name := range c.classes {
		if slices.Contains(c.reading, name) {
			continue
		}
		c.reading = append(c.reading, name)
		c.jobs.readers.Go(func() { c.readClass(context.WithoutCancel(ctx), name) })
	}
}

// readClass hands over the first entry that comes. It can't be interrupted
// while it blocks; what comes after the claim has ended goes back in line.
func (c *claim) readClass(ctx context.Context, name class) {
	for {
		wait := min(readSlice, time.Until(c.until)+time.Millisecond)
		entry, err := readOne(ctx, c.jobs.waiting, name.stream(), jobGroup, c.jobs.consumer, wait)
		none := errors.Is(err, redis.Nil)
		if !none {
			select {
			case c.arrived <- arrival{name, entry, err}:
			case <-c.done:
				c.putBack(ctx, name, entry, err)
			}
			return
		}
		select {
		case <-c.done:
			return
		default:
			if time.Now().After(c.until) {
				return
			}
		}
	}
}

func (c *claim) putBack(ctx context.Context, name class, entry redis.XMessage, err error) {
	if err != nil {
		return // nothing was read
	}
	if err := c.jobs.run(ctx, returnJob, name, entry.Values["id"], entry.Values["token"], entry.Values["seq"], c.jobs.lease.Milliseconds()).Err(); err != nil {
		c.jobs.log.WarnContext(ctx, "a job is left to be taken over", "job", entry.Values["id"], "error", err)
	}
}

// take is the job that a reader got. Its lease began when it was admitted, so
// that the worker needn't wait until its taking is noted; should the note be
// lost, the first renewal makes up for it.
func (c *claim) take(ctx context.Context, a arrival) (pipeline.Job, error) {
	c.reading = slices.DeleteFunc(c.reading, func(name class) bool { return name == a.class })
	if isNoGroup(a.err) {
		return pipeline.Job{}, errNothing // the data are gone; join makes the group anew
	}
	if a.err != nil {
		return pipeline.Job{}, a.err
	}
	job, err := leased([]any{a.entry.Values["job"], a.entry.Values["token"]})
	if err != nil {
		return pipeline.Job{}, err
	}
	ctx = context.WithoutCancel(ctx)
	c.jobs.readers.Go(func() {
		err := c.jobs.run(ctx, takeJob, a.class, c.slot, c.worker, job.ID, job.Token, c.jobs.lease.Milliseconds()).Err()
		if err != nil {
			c.jobs.log.WarnContext(ctx, "the taking of a job is left to its renewal", "job", job.ID, "error", err)
		}
	})
	return job, nil
}

func leased(answer []any) (pipeline.Job, error) {
	data, ok := answer[0].(string)
	if !ok {
		return pipeline.Job{}, errors.New("the answer holds no job")
	}
	return decodeJob(data, fmt.Sprint(answer[1]))
}

// leave takes the slot away, except from the class whose job it got: there it
// has gone already.
func (c *claim) leave(ctx context.Context, got string) error {
	ctx = context.WithoutCancel(ctx) // the claim may have ended because ctx did
	var errs []error
	for _, name := range c.joined {
		if string(name) != got {
			errs = append(errs, c.jobs.run(ctx, leaveClass, name, c.slot).Err())
		}
	}
	return errors.Join(errs...)
}
