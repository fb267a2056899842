package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/queue/queuetest"
)

// BenchmarkClaim is aim P2: from adding a job until a waiting worker has it,
// beside its floor, from XADD until a blocked XREADGROUP returns. Both take
// turns on one server; the ratio of the medians is to be at most 2, and the
// 99th percentile under 5 ms.
func BenchmarkClaim(b *testing.B) {
	rdb := queuetest.Start(b).Client
	jobs := queue.NewJobs(rdb, queue.JobsOptions{}, discard)
	defer func() { _ = jobs.Close() }()
	ctx := b.Context()
	if err := rdb.XGroupCreateMkStream(ctx, "floor", "g", "$").Err(); err != nil {
		b.Fatal(err)
	}
	data := strings.Repeat("x", 500)
	var ours, floor []time.Duration
	for i := 0; b.Loop(); i++ {
		floor = append(floor, waitedFor(b,
			func() error {
				return rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"floor", ">"}, Count: 1, Block: time.Second}).Err()
			},
			func() error {
				return rdb.XAdd(ctx, &redis.XAddArgs{Stream: "floor", Values: []any{"job", data}}).Err()
			},
			func() bool { return blocked(rdb) }))
		w := pipeline.Worker{ID: "w", Classes: []string{testJob("", "").Class()}}
		var j pipeline.Job
		ours = append(ours, waitedFor(b,
			func() (err error) { j, err = jobs.Claim(ctx, w, time.Second); return err },
			func() error { j := testJob(strconv.Itoa(i), "r"); j.Trace = data; return jobs.Add(ctx, j) },
			func() bool { return blocked(rdb) }))
		if err := jobs.Finish(ctx, j.Ref()); err != nil {
			b.Fatal(err)
		}
	}
	report(b, "P2 add to claimed", ours, floor)
}

// blocked says whether a client of the server waits.
func blocked(rdb redis.UniversalClient) bool {
	info, err := rdb.InfoMap(context.Background(), "clients").Result()
	return err == nil && info["Clients"]["blocked_clients"] != "0"
}

// waitedFor is the time from doing something until a call that waits for it
// returns.
func waitedFor(b *testing.B, wait, do func() error, ready func() bool) time.Duration {
	b.Helper()
	ended := make(chan time.Time)
	go func() {
		if err := wait(); err != nil {
			b.Error(err)
		}
		ended <- time.Now()
	}()
	for !ready() {
		<-time.After(100 * time.Microsecond)
	}
	began := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return (<-ended).Sub(began)
}

func report(b *testing.B, what string, ours, floor []time.Duration) {
	b.Helper()
	slices.Sort(ours)
	slices.Sort(floor)
	at := func(d []time.Duration, percent int) time.Duration { return d[min(len(d)*percent/100, len(d)-1)] }
	b.ReportMetric(float64(at(ours, 50))/float64(at(floor, 50)), "x-floor-p50")
	b.ReportMetric(at(ours, 99).Seconds()*1000, "p99-ms")
	b.Logf("%s: p50 %v against %v, p99 %v against %v", what, at(ours, 50), at(floor, 50), at(ours, 99), at(floor, 99))
}

// bareEnqueue is what P11 compares adding with: remember the ID, keep the job,
// queue it.
var bareEnqueue = redis.NewScript(`
if not redis.call('SET', KEYS[1] .. ARGV[1], 1, 'NX', 'EX', 691200) then return 0 end
redis.call('HSET', KEYS[1] .. 'jobs', ARGV[1], ARGV[2])
redis.call('XADD', KEYS[1] .. 'stream', '*', 'id', ARGV[1])
return 1`)

// BenchmarkWaiting is aim P11: adding many jobs against a bare script, what a
// waiting one takes in Redis, and draining them with two workers.
func BenchmarkWaiting(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				waiting(b, n)
			}
		})
	}
}

func waiting(b *testing.B, n int) {
	server := queuetest.Start(b)
	rdb, ctx := server.Client, b.Context()
	if err := rdb.ConfigSet(ctx, "appendfsync", "everysec").Err(); err != nil { // the disk isn't asked about
		b.Fatal(err)
	}
	jobs := queue.NewJobs(rdb, queue.JobsOptions{}, discard)
	defer func() { _ = jobs.Close() }()
	job := func(i int) pipeline.Job {
		j := testJob(fmt.Sprintf("00000000-0000-4000-8000-%012d", i), "r"+strconv.Itoa(i%50))
		j.Trace = strings.Repeat("x", 300)
		return j
	}
	each := func(do func(i int) error) time.Duration {
		began := time.Now()
		for i := range n {
			if err := do(i); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	bare := each(func(i int) error {
		return bareEnqueue.Run(ctx, rdb, []string{"{bare}"}, job(i).ID, strings.Repeat("x", 550)).Err()
	})
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		b.Fatal(err)
	}
	before := memory(b, rdb)
	ours := each(func(i int) error { return jobs.Add(ctx, job(i)) })
	bytes := float64(memory(b, rdb)-before) / float64(n)
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "x-bare-enqueue")
	b.ReportMetric(bytes, "B/job")
	b.ReportMetric(float64(n)/drained(b, jobs, n).Seconds(), "drained/s")
}

func memory(b *testing.B, rdb redis.UniversalClient) int64 {
	info, err := rdb.InfoMap(context.Background(), "memory").Result()
	if err != nil {
		b.Fatal(err)
	}
	used, err := strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return used
}

// drained claims and finishes n jobs with sixteen slots.
func drained(b *testing.B, jobs *queue.Jobs, n int) time.Duration {
	const slots = 16
	began, ended := time.Now(), make(chan error, slots)
	for range slots {
		go func() {
			ended <- func() error {
				for range n / slots {
					j, err := jobs.Claim(b.Context(), pipeline.Worker{ID: "w", Classes: []string{testJob("", "").Class()}}, time.Second)
					if err != nil {
						return err
					}
					if err := jobs.Finish(b.Context(), j.Ref()); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range slots {
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}
