package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

const (
	// sendBytes is the most that one append carries.
	sendBytes = 256 << 10
	// sendInterval is how long a line waits for company.
	sendInterval = 100 * time.Millisecond
	// holdBytes is how much log may wait for the server; then the job waits.
	holdBytes = 4 << 20
)

// Stream carries what a job says to the server while it works. Its methods
// may be called from several goroutines.
type Stream struct {
	o    *Options
	ref  pipeline.JobRef
	ctx  context.Context // the job's
	quit context.CancelCauseFunc

	mu      sync.Mutex
	room    *sync.Cond // there is room in waiting, or the job is over
	chunks  [][]byte   // not yet sent, each of at most sendBytes
	waiting int        // bytes in chunks
	sent    int64
	lines   int64
	build   *pipeline.Build // the newest state that was not reported
	closed  bool

	wake chan struct{} // something waits
	full chan struct{} // a whole append waits
	done chan struct{}
}

func newStream(ctx context.Context, o *Options, a pipeline.Assignment, quit context.CancelCauseFunc) *Stream {
	s := &Stream{
		o: o, ref: a.Job.Ref(), ctx: ctx, quit: quit,
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.room = sync.NewCond(&s.mu)
	context.AfterFunc(ctx, func() {
		s.mu.Lock() // else it could fall between a waiter's look and its sleep
		defer s.mu.Unlock()
		s.room.Broadcast()
	})
	go s.send()
	return s
}

// Log adds to the job's log, which must be masked already. It blocks while the
// server is behind by too much, and fails when the job is over.
func (s *Stream) Log(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		for s.waiting >= holdBytes && s.ctx.Err() == nil {
			s.room.Wait()
		}
		if errors.Is(context.Cause(s.ctx), pipeline.ErrStale) || s.waiting >= holdBytes {
			return context.Cause(s.ctx)
		}
		n := s.add(p)
		s.lines += int64(bytes.Count(p[:n], []byte("\n")))
		p = p[n:]
		signal(s.wake)
		if s.waiting >= sendBytes {
			signal(s.full)
		}
	}
	return nil
}

// add takes as much of p as the last chunk has room for.
func (s *Stream) add(p []byte) int {
	last := len(s.chunks) - 1
	if last < 0 || len(s.chunks[last]) == sendBytes {
		s.chunks = append(s.chunks, make([]byte, 0, min(sendBytes, max(4096, len(p)))))
		last++
	}
	n := min(len(p), sendBytes-len(s.chunks[last]))
	s.chunks[last] = append(s.chunks[last], p[:n]...)
	s.waiting += n
	return n
}

// Report sends the build's state; of several at once only the newest.
func (s *Stream) Report(b pipeline.Build) {
	s.mu.Lock()
	s.build = &b
	s.mu.Unlock()
	signal(s.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// send carries log and state until the stream is closed and empty.
func (s *Stream) send() {
	defer close(s.done)
	for {
		<-s.wake
		if !s.isClosed() { // let a few lines gather
			t := time.NewTimer(sendInterval)
			select {
			case <-t.C:
			case <-s.full:
			}
			t.Stop()
		}
		for s.sendSome() {
		}
		if s.isClosed() && !s.pending() {
			return
		}
	}
}

func (s *Stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Stream) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting > 0
}

// sendSome sends one append and one state; false if there was nothing left, or
// the server is not to be had for the moment.
func (s *Stream) sendSome() bool {
	data, at, b := s.take()
	if b != nil && !s.isClosed() {
		s.ask(func(ctx context.Context) error { return s.o.Control.Report(ctx, s.ref, *b) })
	}
	for len(data) > 0 {
		var end int64
		if !s.ask(func(ctx context.Context) (err error) {
			end, err = s.o.Control.AppendLog(ctx, s.ref, at, data)
			if err == nil && end == at {
				err = errNothingTaken
			}
			return err
		}) {
			s.drop()
			return false
		}
		if end < at {
			// The server forgot what it had: it is gone, and the rest goes on from there.
			s.o.Log.Warn("the server lost a part of a log", "job", s.ref.ID, "bytes", at-end)
			at = s.back(end)
			continue
		}
		n := min(end-at, int64(len(data)))
		data, at = data[n:], at+n
		s.went(n)
	}
	return s.pending()
}

// errNothingTaken: the answer to an append was that the log is as long as before.
var errNothingTaken = errors.New("the server took nothing of the log")

// back goes on from an earlier end of the log.
func (s *Stream) back(end int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = max(end, 0)
	return s.sent
}

// take removes the first chunk and the newest state.
func (s *Stream) take() (data []byte, at int64, b *pipeline.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, s.build = s.build, nil
	if len(s.chunks) > 0 {
		data, s.chunks[0] = s.chunks[0], nil
		s.chunks = s.chunks[1:]
	}
	return data, s.sent, b
}

func (s *Stream) went(n int64) {
	s.mu.Lock()
	s.sent += n
	s.waiting -= int(n)
	s.room.Broadcast()
	s.mu.Unlock()
}

// ask puts one question until it is answered. It goes on after the job was
// stopped, since its last words count, but not after it became another's.
func (s *Stream) ask(question func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), tellTime)
	defer cancel()
	stale := context.AfterFunc(s.ctx, func() {
		if errors.Is(context.Cause(s.ctx), pipeline.ErrStale) {
			cancel()
		}
	})
	defer stale()
	err := s.o.retry(ctx, question)
	if errors.Is(err, pipeline.ErrStale) {
		s.quit(pipeline.ErrStale)
	}
	return err == nil
}

// drop gives up what can't be sent: nobody will read it.
func (s *Stream) drop() {
	s.mu.Lock()
	s.chunks, s.waiting = nil, 0
	s.room.Broadcast()
	s.mu.Unlock()
}

// close sends what is left.
func (s *Stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	signal(s.wake)
	signal(s.full)
	<-s.done
}

// count fills in what the stream knows of the log.
func (s *Stream) count(b pipeline.Build) pipeline.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.LogBytes, b.LogLines = s.sent, s.lines
	return b
}

// Artifact stores the bytes of r, which it reads to the end, and returns a with
// digest and size.
func (s *Stream) Artifact(ctx context.Context, a pipeline.Artifact, r io.Reader) (pipeline.Artifact, error) {
	if s.o.Temp == "" {
		return s.o.Control.PutArtifact(ctx, s.ref, a, r)
	}
	f, err := os.CreateTemp(s.o.Temp, "artifact-")
	if err != nil {
		return a, fmt.Errorf("keeping the artifact until it is stored: %w", err)
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // only a copy
	if _, err := io.Copy(f, r); err != nil {
		return a, fmt.Errorf("keeping the artifact until it is stored: %w", err)
	}
	var stored pipeline.Artifact
	err = s.o.retry(ctx, func(ctx context.Context) (err error) {
		if _, err = f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		stored, err = s.o.Control.PutArtifact(ctx, s.ref, a, io.NopCloser(f))
		return err
	})
	return stored, err
}
