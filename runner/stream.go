package runner

import (
	"bytes"
	"context"
	"sync"
	"time"
)

const (
	// batchBytes and batchEvery are when a piece of the log is sent.
	batchBytes = 256 << 10
	batchEvery = 100 * time.Millisecond
	// waitingBytes is how much may wait to be sent before the build is held
	// back; with the batch on its way it bounds the memory of a log.
	waitingBytes = 1 << 20
)

// logStream sends a log in pieces, in order, each until it has arrived.
type logStream struct {
	append func(ctx context.Context, offset int64, p []byte) (int64, error)

	mu      sync.Mutex
	changed *sync.Cond // buf got shorter, or the stream ended
	buf     []byte
	closed  bool
	sent    bool // closed, and all of it has arrived
	err     error
	some    chan struct{} // has one element if there may be something to send
	full    chan struct{} // has one if there may be a whole batch, or the end
}

func newLogStream(send func(context.Context, int64, []byte) (int64, error)) *logStream {
	s := &logStream{append: send, some: make(chan struct{}, 1), full: make(chan struct{}, 1)}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write adds to the log, once there is room.
func (s *logStream) write(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.buf) > waitingBytes && s.err == nil {
		s.changed.Wait()
	}
	if s.err != nil {
		return s.err
	}
	s.buf = append(s.buf, p...)
	signal(s.some)
	if len(s.buf) >= batchBytes {
		signal(s.full)
	}
	return nil
}

// close waits until all has been sent.
func (s *logStream) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	signal(s.some)
	signal(s.full)
	for !s.sent && s.err == nil {
		s.changed.Wait()
	}
	return s.err
}

// fail ends the stream; nothing waits for it any more.
func (s *logStream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.sent {
		s.err = err
	}
	s.changed.Broadcast()
}

// take removes the next batch: whole lines if there are any. more says whether
// the stream goes on.
func (s *logStream) take(into []byte) (batch []byte, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, false
	}
	n := min(len(s.buf), batchBytes)
	if n < len(s.buf) || !s.closed && n == batchBytes {
		if end := bytes.LastIndexByte(s.buf[:n], '\n'); end >= 0 {
			n = end + 1
		}
	}
	batch = append(into[:0], s.buf[:n]...)
	s.buf = s.buf[:copy(s.buf, s.buf[n:])]
	if len(s.buf) > 0 {
		signal(s.some)
	}
	if len(s.buf) >= batchBytes || s.closed {
		signal(s.full)
	}
	s.changed.Broadcast()
	return batch, len(batch) > 0 || !s.closed
}

// send sends until the stream is closed and empty, or the job is lost, which
// is its error.
func (s *logStream) send(ctx context.Context) error {
	var offset int64
	var batch []byte
	for {
		select {
		case <-s.some:
		case <-ctx.Done():
			return nil
		}
		t := time.NewTimer(batchEvery)
		select {
		case <-s.full:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		var more bool
		if batch, more = s.take(batch); !more {
			return s.finish()
		}
		if err := s.deliver(ctx, &offset, batch); err != nil {
			s.fail(err)
			return err
		}
		s.mu.Lock()
		if s.closed {
			signal(s.some)
		}
		s.mu.Unlock()
	}
}

func (s *logStream) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = s.err == nil
	s.changed.Broadcast()
	return s.err
}

// deliver appends a batch until it has arrived. The server's answer is the
// log's length, so a batch of which it took a part goes on from there.
func (s *logStream) deliver(ctx context.Context, offset *int64, batch []byte) error {
	for len(batch) > 0 {
		err := retry(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, callTime)
			defer cancel()
			length, err := s.append(ctx, *offset, batch)
			if err != nil {
				return err
			}
			if n := length - *offset; n > 0 && n < int64(len(batch)) {
				batch = batch[n:]
			} else {
				batch = nil
			}
			*offset = length
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
