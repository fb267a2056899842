package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/pipeline"
)

var errAway = errors.New("connection refused")

// server is a pipeline.Control with state: one queue of jobs, their logs and
// how they ended.
type server struct {
	lease time.Duration
	// fails, if set, says whether a call fails, and whether before or after it
	// took effect.
	fails func(call string) (before, after bool)

	mu        sync.Mutex
	jobs      []pipeline.Job
	impatient bool // an empty queue is answered at once
	claims    int
	log       map[string][]byte
	takes     int // the most bytes that an append takes; 0: all
	builds    map[string]pipeline.Build
	ended     map[string]pipeline.Outcome
	renewed   []time.Time
	hangs     bool // calls to Renew hang until they are given up
	stale     bool
	stop      string
	stored    []byte
	wake      chan struct{}
}

func newServer(jobs ...string) *server {
	s := &server{
		lease: 15 * time.Second, log: map[string][]byte{}, builds: map[string]pipeline.Build{}, ended: map[string]pipeline.Outcome{},
		wake: make(chan struct{}, 100),
	}
	for _, id := range jobs {
		s.jobs = append(s.jobs, pipeline.Job{V: 1, ID: id, Token: 1})
	}
	return s
}

func (s *server) call(name string, do func() error) error {
	before, after := false, false
	if s.fails != nil {
		before, after = s.fails(name)
	}
	if before {
		return errAway
	}
	s.mu.Lock()
	stale := s.stale
	err := error(pipeline.ErrStale)
	if !stale {
		err = do()
	}
	s.mu.Unlock()
	if after {
		return errAway
	}
	return err
}

func (s *server) Claim(ctx context.Context, _ pipeline.Worker, wait time.Duration) (a pipeline.Assignment, err error) {
	s.mu.Lock()
	s.claims++
	if len(s.jobs) > 0 {
		a = pipeline.Assignment{Job: s.jobs[0], Lease: s.lease}
		s.jobs = s.jobs[1:]
		s.mu.Unlock()
		return a, nil
	}
	impatient := s.impatient
	s.mu.Unlock()
	if !impatient {
		pause(ctx, wait)
	}
	return a, pipeline.ErrNotFound
}

func (s *server) Renew(ctx context.Context, _ pipeline.JobRef) (r pipeline.Renewal, err error) {
	s.mu.Lock()
	hangs := s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return r, ctx.Err()
	}
	err = s.call("renew", func() error {
		s.renewed = append(s.renewed, time.Now())
		r = pipeline.Renewal{Lease: s.lease, Stop: s.stop != "", Reason: s.stop}
		return nil
	})
	return r, err
}

func (s *server) AppendLog(_ context.Context, ref pipeline.JobRef, offset int64, data []byte) (end int64, err error) {
	err = s.call("log", func() error {
		have := s.log[ref.ID]
		if offset > int64(len(have)) {
			end = int64(len(have)) // as the real one answers a gap
			return nil
		}
		if fresh := offset + int64(len(data)) - int64(len(have)); fresh > 0 {
			add := data[int64(len(data))-fresh:]
			if s.takes > 0 && len(add) > s.takes {
				add = add[:s.takes]
			}
			s.log[ref.ID] = append(have, add...)
		}
		end = int64(len(s.log[ref.ID]))
		return nil
	})
	return end, err
}

func (s *server) Report(_ context.Context, ref pipeline.JobRef, b pipeline.Build) error {
	return s.call("report", func() error { s.builds[ref.ID] = b; return nil })
}

func (s *server) PutArtifact(_ context.Context, _ pipeline.JobRef, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	err := s.call("artifact", func() (err error) {
		s.stored, err = io.ReadAll(r)
		a.Bytes = int64(len(s.stored))
		return err
	})
	return a, err
}

func (s *server) Artifact(context.Context, pipeline.JobRef, string) (io.ReadCloser, error) {
	return nil, pipeline.ErrNotFound
}

func (s *server) Complete(_ context.Context, ref pipeline.JobRef, b pipeline.Build, o pipeline.Outcome) error {
	return s.call("complete", func() error {
		if _, twice := s.ended[ref.ID]; twice {
			return pipeline.ErrStale // as the real one answers a repeat
		}
		s.builds[ref.ID], s.ended[ref.ID] = b, o
		s.wake <- struct{}{}
		return nil
	})
}

func (s *server) outcome(id string) (pipeline.Outcome, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.ended[id]
	return o, ok
}

var succeeded = pipeline.Outcome{Status: pipeline.BuildSucceeded}

type doing func(ctx context.Context, a pipeline.Assignment, s *Stream) (pipeline.Build, pipeline.Outcome)

// work runs a worker until n jobs have ended, and then a minute of drain.
func work(t *testing.T, s *server, n int, do doing) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := Run(ctx, options(s, do)); err != nil {
			t.Error(err)
		}
	}()
	for range n {
		<-s.wake
	}
	cancel()
	<-done
}

func options(s *server, do doing) Options {
	return Options{
		Control: s, Worker: pipeline.Worker{ID: "w", Slots: 1}, Do: do, Drain: time.Minute,
		Log: slog.New(slog.DiscardHandler),
	}
}

func outcomeOf(ctx context.Context) (pipeline.Build, pipeline.Outcome) {
	<-ctx.Done()
	return pipeline.Build{}, pipeline.Outcome{Status: pipeline.BuildStatusOf(context.Cause(ctx))}
}

func TestLeaseIsKeptWhileTheJobRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		work(t, s, 1, func(ctx context.Context, _ pipeline.Assignment, _ *Stream) (pipeline.Build, pipeline.Outcome) {
			pause(ctx, time.Hour)
			return pipeline.Build{}, succeeded
		})
		if len(s.renewed) != 719 && len(s.renewed) != 720 {
			t.Errorf("got %d renewals in an hour, want one each 5 s", len(s.renewed))
		}
	})
}

// Each call of Renew that hangs or fails must leave time for another within
// the lease.
func TestLeaseIsKeptOverASilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		began := time.Now()
		work(t, s, 1, func(ctx context.Context, _ pipeline.Assignment, _ *Stream) (pipeline.Build, pipeline.Outcome) {
			s.set(func() { s.hangs = true })
			pause(ctx, 7*time.Second) // one renewal is under way and hangs
			s.set(func() { s.hangs = false })
			pause(ctx, time.Minute)
			return pipeline.Build{}, succeeded
		})
		if first := s.renewed[0].Sub(began); first >= s.lease {
			t.Errorf("the lease was renewed after %s, it had run out after %s", first, s.lease)
		}
	})
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func TestLostJobIsLetGoAtOnce(t *testing.T) {
	for _, where := range []string{"renew", "log", "report"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer("j")
				ctx, cancel := context.WithCancel(t.Context())
				var cause error
				var took time.Duration
				o := options(s, func(ctx context.Context, _ pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
					defer cancel()
					began := time.Now()
					s.set(func() { s.stale = true })
					switch where {
					case "log":
						_ = out.Log([]byte("x\n"))
					case "report":
						out.Report(pipeline.Build{})
					}
					<-ctx.Done()
					cause, took = context.Cause(ctx), time.Since(began)
					if err := out.Log(bytes.Repeat([]byte("x"), 2*holdBytes)); !errors.Is(err, pipeline.ErrStale) {
						t.Errorf("got %v from Log, want ErrStale", err)
					}
					return pipeline.Build{}, succeeded
				})
				if err := Run(ctx, o); err != nil {
					t.Fatal(err)
				}
				if !errors.Is(cause, pipeline.ErrStale) || took > 5*time.Second {
					t.Errorf("got %v after %s, want ErrStale within a renewal", cause, took)
				}
				if o, ok := s.outcome("j"); ok {
					t.Errorf("a job that is another's was completed as %v", o)
				}
			})
		})
	}
}

func TestStopEndsTheJobAndKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		s.stop = "stopped by ada"
		var cause error
		work(t, s, 1, func(ctx context.Context, _ pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
			b, o := outcomeOf(ctx)
			cause = context.Cause(ctx)
			pause(context.WithoutCancel(ctx), time.Minute) // a slow end
			if err := out.Log([]byte("last words\n")); err != nil {
				t.Errorf("logging after a stop: %v", err)
			}
			return b, o
		})
		if o, _ := s.outcome("j"); o.Status != pipeline.BuildStopped {
			t.Errorf("got %q, want STOPPED", o.Status)
		}
		if !strings.Contains(fmt.Sprint(cause), "ada") {
			t.Errorf("the cause doesn't say who: %v", cause)
		}
		if got := string(s.log["j"]); got != "last words\n" {
			t.Errorf("log is %q", got)
		}
		if len(s.renewed) < 12 {
			t.Errorf("got %d renewals while a job ends for a minute, want its lease kept", len(s.renewed))
		}
	})
}

func TestServerAwayWhileTheJobEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		back := time.Now().Add(4 * time.Minute)
		s.fails = func(string) (bool, bool) { return time.Now().Before(back), false }
		work(t, s, 1, func(ctx context.Context, _ pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
			_ = out.Log([]byte("one\n"))
			pause(ctx, time.Second)
			_ = out.Log([]byte("two\n"))
			return pipeline.Build{Status: pipeline.BuildSucceeded}, succeeded
		})
		if o, _ := s.outcome("j"); o.Status != pipeline.BuildSucceeded {
			t.Errorf("got %v, want the result heard once the server is back", o)
		}
		if got := string(s.log["j"]); got != "one\ntwo\n" {
			t.Errorf("log is %q", got)
		}
		if b := s.builds["j"]; b.LogBytes != 8 || b.LogLines != 2 {
			t.Errorf("got %d bytes and %d lines, want 8 and 2", b.LogBytes, b.LogLines)
		}
	})
}

// An answer to Complete that was lost makes the worker ask again; the server
// says stale then, which is no fault.
func TestAnswerToCompleteIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j", "k")
		lost := false
		s.fails = func(call string) (bool, bool) {
			if call == "complete" && !lost {
				lost = true
				return false, true
			}
			return false, false
		}
		work(t, s, 2, func(context.Context, pipeline.Assignment, *Stream) (pipeline.Build, pipeline.Outcome) {
			return pipeline.Build{}, succeeded
		})
		if len(s.ended) != 2 {
			t.Errorf("ended: %v", s.ended)
		}
	})
}

// No byte of a log is lost or doubled, whichever calls fail before or after
// they took effect, and however little the server takes at a time.
func TestLogArrivesWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		chance := rapid.IntRange(0, 70).Draw(rt, "chance of failure in percent")
		takes := rapid.SampledFrom([]int{0, 50_000}).Draw(rt, "bytes taken")
		writes := rapid.SliceOfN(rapid.SampledFrom([]int{1, 80, 5000, sendBytes - 1, sendBytes, sendBytes + 1}), 1, 6).Draw(rt, "writes")
		synctest.Test(t, func(t *testing.T) {
			s := newServer("j")
			s.takes = takes
			r := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			s.fails = func(call string) (bool, bool) {
				mu.Lock()
				defer mu.Unlock()
				return call != "renew" && r.IntN(100) < chance, r.IntN(100) < chance/2
			}
			var want []byte
			work(t, s, 1, func(ctx context.Context, _ pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
				for i, n := range writes {
					p := bytes.Repeat([]byte{byte('a' + i)}, n)
					p[n-1] = '\n'
					want = append(want, p...)
					if err := out.Log(p); err != nil {
						t.Errorf("logging: %v", err)
					}
					if i%3 == 0 {
						pause(ctx, 150*time.Millisecond)
					}
					out.Report(pipeline.Build{CurrentPhase: "BUILD"})
				}
				return pipeline.Build{Status: pipeline.BuildSucceeded}, succeeded
			})
			if !bytes.Equal(s.log["j"], want) {
				t.Fatalf("got %d bytes of log, want %d; same so far: %d", len(s.log["j"]), len(want), same(s.log["j"], want))
			}
			if b := s.builds["j"]; b.LogBytes != int64(len(want)) || b.LogLines != int64(len(writes)) || b.Status != pipeline.BuildSucceeded {
				t.Fatalf("the build says %d bytes, %d lines, %s", b.LogBytes, b.LogLines, b.Status)
			}
		})
	})
}

func same(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// A server that lost the end of a log, as one without a durable Redis may, is
// gone on with; the job must end.
func TestServerForgotPartOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		work(t, s, 1, func(ctx context.Context, _ pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
			_ = out.Log([]byte("forgotten\n"))
			pause(ctx, time.Second)
			s.set(func() { s.log["j"] = nil })
			_ = out.Log([]byte("kept\n"))
			return pipeline.Build{}, succeeded
		})
		if got := string(s.log["j"]); got != "kept\n" {
			t.Errorf("log is %q", got)
		}
	})
}

func TestJobWaitsForASlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		back := time.Now().Add(time.Minute)
		s.fails = func(call string) (bool, bool) { return call == "log" && time.Now().Before(back), false }
		began := time.Now()
		work(t, s, 1, func(_ context.Context, _ pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
			for range 3 {
				if err := out.Log(bytes.Repeat([]byte("x"), holdBytes/2)); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(began); took < time.Minute {
				t.Errorf("the job had written all of its log after %s, want it to wait", took)
			}
			return pipeline.Build{}, succeeded
		})
		if got := len(s.log["j"]); got != holdBytes/2*3 {
			t.Errorf("got %d bytes", got)
		}
	})
}

// A job that waits for a server that is away must hear that it was stopped.
func TestStopReachesAJobThatWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		began := time.Now()
		s.fails = func(call string) (bool, bool) { return call == "log", false }
		s.stop = "enough"
		var took time.Duration
		work(t, s, 1, func(_ context.Context, _ pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
			err := out.Log(bytes.Repeat([]byte("x"), 2*holdBytes))
			if took = time.Since(began); !errors.Is(err, pipeline.ErrStopped) || took > 10*time.Second {
				t.Errorf("got %v after %s, want ErrStopped with the next renewal", err, took)
			}
			return pipeline.Build{}, pipeline.Outcome{Status: pipeline.BuildStopped}
		})
		if o, _ := s.outcome("j"); o.Status != pipeline.BuildStopped {
			t.Errorf("got %q", o.Status)
		}
	})
}

func TestDrain(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration
		want  pipeline.BuildStatus
	}{
		{"a job that ends in time ends well", 30 * time.Second, pipeline.BuildSucceeded},
		{"a job that doesn't is ended and told", time.Hour, pipeline.BuildFault},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer("j", "never")
				ctx, cancel := context.WithCancel(t.Context())
				o := options(s, func(ctx context.Context, _ pipeline.Assignment, _ *Stream) (pipeline.Build, pipeline.Outcome) {
					cancel()
					pause(ctx, tt.takes)
					if errors.Is(context.Cause(ctx), pipeline.ErrDrained) {
						return outcomeOf(ctx)
					}
					return pipeline.Build{}, succeeded
				})
				began := time.Now()
				if err := Run(ctx, o); err != nil {
					t.Fatal(err)
				}
				if got, _ := s.outcome("j"); got.Status != tt.want {
					t.Errorf("got %q, want %q", got.Status, tt.want)
				}
				if _, ok := s.outcome("never"); ok || s.claims != 1 {
					t.Errorf("%d claims: a worker that is told to end takes no more jobs", s.claims)
				}
				if took := time.Since(began); took > time.Minute+time.Second {
					t.Errorf("it ended after %s, the drain is a minute", took)
				}
			})
		})
	}
}

// Attacks: 8.
func TestPanicEndsItsJobOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("bad", "good")
		work(t, s, 2, func(_ context.Context, a pipeline.Assignment, out *Stream) (pipeline.Build, pipeline.Outcome) {
			_ = out.Log([]byte("hello\n"))
			if a.Job.ID == "bad" {
				panic("a bug")
			}
			return pipeline.Build{Status: pipeline.BuildSucceeded}, succeeded
		})
		if bad, _ := s.outcome("bad"); bad.Status != pipeline.BuildFault || strings.Contains(bad.Message, "bug") {
			t.Errorf("got %+v, want a fault without the bug's words", bad)
		}
		if !s.builds["bad"].Status.Ended() || string(s.log["bad"]) != "hello\n" {
			t.Errorf("record %q, log %q", s.builds["bad"].Status, s.log["bad"])
		}
		if good, _ := s.outcome("good"); good.Status != pipeline.BuildSucceeded {
			t.Errorf("the next job ended as %q", good.Status)
		}
	})
}

func TestHurryEndsTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j", "never")
		ctx, cancel := context.WithCancel(t.Context())
		hurry := make(chan struct{})
		o := options(s, func(ctx context.Context, _ pipeline.Assignment, _ *Stream) (pipeline.Build, pipeline.Outcome) {
			cancel()
			pause(ctx, time.Second)
			close(hurry)
			pause(ctx, time.Hour)
			return outcomeOf(ctx)
		})
		o.Hurry = hurry
		began := time.Now()
		if err := Run(ctx, o); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.outcome("j"); got.Status != pipeline.BuildFault || s.claims != 1 {
			t.Errorf("got %q after %d claims, want a fault after one", got.Status, s.claims)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it ended after %s, the second word came after 1s", took)
		}
	})
}

// No job is claimed while none can be done, and one that was claimed before
// waits for a minute.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer("j")
		began, asked := time.Now(), 0
		var claims []int
		o := options(s, func(context.Context, pipeline.Assignment, *Stream) (pipeline.Build, pipeline.Outcome) {
			if past := time.Since(began); past < time.Minute+readyTime || past > time.Minute+readyTime+lastPause {
				t.Errorf("the job began after %s", past)
			}
			return pipeline.Build{}, succeeded
		})
		o.Ready = func(context.Context) error {
			s.mu.Lock()
			claims = append(claims, s.claims)
			s.mu.Unlock()
			if asked++; time.Since(began) < time.Minute || s.claims == 1 && len(s.ended) == 0 {
				return errAway
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- Run(ctx, o) }()
		<-s.wake
		cancel()
		if err := <-done; err != nil || asked < 20 || claims[10] != 0 {
			t.Errorf("asked %d times, %v; claims %v", asked, err, claims)
		}
	})
}

// A server that answers "nothing" at once, such as one that isn't Slipway, is
// not to be asked in a busy loop.
func TestClaimsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.impatient = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Run(ctx, options(s, nil)); err != nil {
			t.Fatal(err)
		}
		if s.claims > 61 {
			t.Errorf("got %d claims in a minute, want one a second at most", s.claims)
		}
	})
}

func TestArtifactIsSentAgain(t *testing.T) {
	for _, temp := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer("j")
			failed := false
			s.fails = func(call string) (bool, bool) {
				first := call == "artifact" && !failed && temp != ""
				failed = failed || first
				return false, first
			}
			o := options(s, nil)
			o.Temp = temp
			o.Retryable = func(error) bool { return true }
			stream := &Stream{o: &o}
			a, err := stream.Artifact(t.Context(), pipeline.Artifact{Name: "out"}, strings.NewReader("the bytes"))
			if err != nil || a.Bytes != 9 || string(s.stored) != "the bytes" {
				t.Errorf("got %+v, %v; stored %q", a, err, s.stored)
			}
		})
	}
}
