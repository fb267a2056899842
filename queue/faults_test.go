package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/queue/queuetest"
)

var discard = slog.New(slog.DiscardHandler)

// TestKilledServer kills Redis while events are submitted and handled, and jobs
// are added and done. All that was acknowledged is handled after the restart.
func TestKilledServer(t *testing.T) {
	s := queuetest.Start(t)
	in := queue.NewInbox(s.Client, queue.InboxOptions{Lease: time.Second, Retry: 10 * time.Millisecond}, discard)
	jobs := queue.NewJobs(s.Client, queue.JobsOptions{Lease: time.Second}, discard)
	defer func() { _ = jobs.Close() }()
	var handled, done sync.Map
	ctx, stop := context.WithCancel(t.Context())
	var running, producing sync.WaitGroup
	running.Go(func() {
		_ = in.Run(ctx, queue.Handler{Event: func(_ context.Context, e pipeline.Event) error { handled.Store(e.ID, true); return nil }})
	})
	running.Go(func() { work(ctx, jobs, &done) })
	const n = 150
	var acknowledged atomic.Int32
	producing.Go(func() {
		for i := range n {
			id := strconv.Itoa(i)
			persist(ctx, func() error { return in.Submit(ctx, pipeline.Event{ID: id, Board: "b" + id}) })
			persist(ctx, func() error { return jobs.Add(ctx, testJob(id, "r"+strconv.Itoa(i%3))) })
			acknowledged.Add(1)
		}
	})
	for _, at := range []int32{n / 4, n / 2} {
		for acknowledged.Load() < at {
			<-time.After(time.Millisecond)
		}
		s.Restart()
	}
	producing.Wait()
	for end := time.Now().Add(20 * time.Second); count(&handled) < n || count(&done) < n; {
		if time.Now().After(end) {
			t.Errorf("%d events and %d jobs of %d were handled", count(&handled), count(&done), n)
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	stop()
	running.Wait()
}

// persist calls until there is no error, as a caller does that was not
// acknowledged.
func persist(ctx context.Context, call func() error) {
	for ctx.Err() == nil && call() != nil {
		<-time.After(time.Millisecond)
	}
}

func count(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// work claims and finishes jobs; what it loses is dropped and counts as done.
func work(ctx context.Context, jobs *queue.Jobs, done *sync.Map) {
	w := pipeline.Worker{ID: "w", Classes: []string{testJob("", "").Class()}}
	for ctx.Err() == nil {
		if lost, err := jobs.Lost(ctx, 100); err == nil {
			for _, j := range lost {
				if jobs.Drop(ctx, j.Ref()) == nil {
					done.Store(j.ID, true)
				}
			}
		}
		if j, err := jobs.Claim(ctx, w, 50*time.Millisecond); err == nil && jobs.Finish(ctx, j.Ref()) == nil {
			done.Store(j.ID, true)
		}
	}
}

func testJob(id, repo string) pipeline.Job {
	return pipeline.Job{V: 1, ID: id, Kind: pipeline.BuildJob, Repo: "github/" + repo, Project: repo, Compute: "small"}
}

// TestDeadServer: case 9 of the forges' reference. Calls fail within their time
// limit, leave no mark, and the same delivery is fresh once Redis is back.
func TestDeadServer(t *testing.T) {
	s := queuetest.Start(t)
	in := queue.NewInbox(s.Client, queue.InboxOptions{}, discard)
	jobs := queue.NewJobs(s.Client, queue.JobsOptions{}, discard)
	defer func() { _ = jobs.Close() }()
	s.Kill()
	ctx, d := t.Context(), pipeline.Delivery{Forge: "github", ID: "d1"}
	calls := map[string]func() error{
		"receive": func() error { _, err := in.Receive(ctx, d); return err },
		"refuse":  func() error { return in.Refuse(ctx, d) },
		"submit":  func() error { return in.Submit(ctx, pipeline.Event{ID: "e"}) },
		"list":    func() error { _, err := in.Deliveries(ctx, "", 0, ""); return err },
		"dead":    func() error { _, err := in.DeadLetters(ctx, 0, ""); return err },
		"ready":   func() error { _, err := in.Durability(ctx); return err },
		"add":     func() error { return jobs.Add(ctx, testJob("a", "r")) },
		"claim": func() error {
			_, err := jobs.Claim(ctx, pipeline.Worker{ID: "w", Classes: []string{"c"}}, time.Minute)
			return err
		},
		"renew": func() error { _, err := jobs.Renew(ctx, pipeline.JobRef{}); return err },
		"lost":  func() error { _, err := jobs.Lost(ctx, 1); return err },
	}
	for name, call := range calls {
		began := time.Now()
		err := call()
		if took := time.Since(began); err == nil || took > 7*time.Second {
			t.Errorf("%s: got %v after %v, want an error within 5 s", name, err, took)
		}
		if errors.Is(err, pipeline.ErrNotFound) || errors.Is(err, pipeline.ErrStale) {
			t.Errorf("%s: %v is an answer", name, err)
		}
	}
	s.Restart()
	if fresh, err := in.Receive(ctx, d); err != nil || !fresh {
		t.Errorf("after the restart: got %v, %v, want it fresh", fresh, err)
	}
}

// TestSilentServer: a server that accepts and never answers.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	rdb, err := queue.Open("redis://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rdb.Close() }()
	began := time.Now()
	_, err = queue.NewInbox(rdb, queue.InboxOptions{}, discard).Receive(t.Context(), pipeline.Delivery{ID: "d"})
	if took := time.Since(began); err == nil || took > 7*time.Second {
		t.Errorf("got %v after %v, want an error within 5 s", err, took)
	}
}

// TestDurability: the modes, and that each write waits where the server can say
// that it is on disk.
//
// Attacks: 12.
func TestDurability(t *testing.T) {
	t.Run("a server that syncs always", func(t *testing.T) {
		in := queue.NewInbox(queuetest.Start(t).Client, queue.InboxOptions{}, discard)
		d, err := in.Durability(t.Context())
		if err != nil || d.Mode != queue.DurableAlways || d.Version == "" {
			t.Errorf("got %+v, %v", d, err)
		}
	})
	t.Run("a server in memory", func(t *testing.T) {
		in := queue.NewInbox(queuetest.New(t), queue.InboxOptions{}, discard)
		d, err := in.Durability(t.Context())
		if err != nil || d.Mode != queue.NotDurable || len(d.Warnings) == 0 {
			t.Errorf("got %+v, %v", d, err)
		}
	})
	for _, synced := range []int{1, 0} {
		t.Run(fmt.Sprintf("a server that acknowledges %d", synced), func(t *testing.T) {
			m := miniredis.RunT(t)
			err := m.Server().Register("WAITAOF", func(c *server.Peer, _ string, _ []string) {
				c.WriteLen(2)
				c.WriteInt(synced)
				c.WriteInt(0)
			})
			if err != nil {
				t.Fatal(err)
			}
			rdb := redis.NewClient(&redis.Options{Addr: m.Addr()})
			defer func() { _ = rdb.Close() }()
			in := queue.NewInbox(rdb, queue.InboxOptions{}, discard)
			if d, err := in.Durability(t.Context()); err != nil || d.Mode != queue.DurableByAcknowledgement {
				t.Fatalf("got %+v, %v", d, err)
			}
			fresh, err := in.Receive(t.Context(), pipeline.Delivery{Forge: "github", ID: "d"})
			if synced == 1 && (err != nil || !fresh) || synced == 0 && err == nil {
				t.Errorf("got %v, %v", fresh, err)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	for _, address := range []string{"redis://127.0.0.1:1/2", "unix:///run/redis.sock?db=1", "redis+cluster://127.0.0.1:1", "rediss://u:p@h:6380"} {
		c, err := queue.Open(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		_ = c.Close()
	}
	for _, address := range []string{"", "localhost", "http://x", "redis://u:secret@h:port"} {
		if c, err := queue.Open(address); err == nil {
			_ = c.Close()
			t.Errorf("%q: want an error", address)
		} else if s := err.Error(); len(s) > 200 || strings.Contains(s, "secret") {
			t.Errorf("%q: got %q", address, s)
		}
	}
}

// TestNeverTaken: a process that read an admitted job and died before its worker
// had it. The job goes back in line, and the first token is stale.
func TestNeverTaken(t *testing.T) {
	rdb, ctx := queuetest.Start(t).Client, t.Context()
	jobs := queue.NewJobs(rdb, queue.JobsOptions{Lease: time.Second}, discard)
	defer func() { _ = jobs.Close() }()
	job := testJob("a", "r")
	w := pipeline.Worker{ID: "w", Classes: []string{job.Class()}}
	if _, err := jobs.Claim(ctx, w, 0); !errors.Is(err, pipeline.ErrNotFound) {
		t.Fatal(err)
	}
	read := make(chan redis.XMessage)
	go func() { // Redis serves who waited first
		got, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: "workers", Consumer: "dead", Streams: []string{"slipway:{q:" + job.Class() + "}:stream", ">"}, Block: time.Minute,
		}).Result()
		if err != nil {
			t.Error(err)
			close(read)
			return
		}
		read <- got[0].Messages[0]
	}()
	for !blocked(rdb) {
		<-time.After(time.Millisecond)
	}
	second := make(chan pipeline.Job)
	go func() {
		j, err := jobs.Claim(ctx, w, 20*time.Second)
		if err != nil {
			t.Error(err)
		}
		second <- j
	}()
	for c := (queue.Counts{}); c.Slots == 0; {
		<-time.After(time.Millisecond)
		c, _ = jobs.Waiting(ctx, job.Class())
	}
	if err := jobs.Add(ctx, job); err != nil {
		t.Fatal(err)
	}
	token, err := strconv.ParseInt((<-read).Values["token"].(string), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for {
		lost, err := jobs.Lost(ctx, 10)
		if err != nil || len(lost) > 0 {
			t.Fatalf("got %v, %v: it was not lost, for nobody had it", lost, err)
		}
		select {
		case j := <-second:
			first := j.Ref()
			first.Token = token
			if err := jobs.Check(ctx, first); !errors.Is(err, pipeline.ErrStale) || j.ID != "a" || j.Token <= token {
				t.Errorf("got %+v; the first token: %v", j, err)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}
