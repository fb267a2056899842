package deployer

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/redact"
)

const (
	tailBytes    = 4096     // of a script's output in its event
	logLimit     = 64 << 20 // of scripts.log
	longestPiece = 8 << 10  // a line of scripts.log is cut into such pieces
)

// scriptLog is scripts.log of a deployment, in the form that the agent gives
// it, and the way of output to the reporter. It is safe for concurrent use.
type scriptLog struct {
	mu    sync.Mutex
	file  *os.File
	size  int64
	now   func() time.Time
	event string
	live  func(event string, p []byte)
	tail  []byte
	mask  *redact.Masker
}

func openLog(name string, now func() time.Time, mask *redact.Masker, live func(string, []byte)) (*scriptLog, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening scripts.log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &scriptLog{file: f, size: info.Size(), now: now, mask: mask, live: live}, nil
}

func (l *scriptLog) Close() error { return l.file.Close() }

// begin starts the output of an event.
func (l *scriptLog) begin(event string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.event, l.tail = event, nil
	l.line("LifecycleEvent - " + event)
}

// note writes a line of our own, live too.
func (l *scriptLog) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	l.line(text)
	l.live(l.event, []byte(text+"\n"))
}

// line appends to the file; a full file takes no more. l.mu is held.
func (l *scriptLog) line(text string) {
	if l.size > logLimit {
		return
	}
	n, _ := fmt.Fprintf(l.file, "%s %s\n", l.now().Format(time.DateTime), text)
	if l.size += int64(n); l.size > logLimit {
		_, _ = io.WriteString(l.file, "the log is full\n")
	}
}

// lastOutput is the end of what the event's scripts wrote.
func (l *scriptLog) lastOutput() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}

// stream is one of a script's two outputs. Bytes go live and to the tail as
// they come, to the file by lines.
func (l *scriptLog) stream(name string) *stream {
	s := &stream{log: l, name: name}
	s.masked = l.mask.Writer(writerFunc(s.write))
	return s
}

type stream struct {
	log     *scriptLog
	name    string
	partial []byte
	masked  *redact.Writer
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Write takes what the script wrote, and passes it on without its secrets.
func (s *stream) Write(p []byte) (int, error) { return s.masked.Write(p) }

func (s *stream) write(p []byte) (int, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.live(s.log.event, p)
	s.log.tail = append(s.log.tail, p...)
	if over := len(s.log.tail) - tailBytes; over > 0 {
		s.log.tail = append(s.log.tail[:0], s.log.tail[over:]...)
	}
	s.partial = append(s.partial, p...)
	for {
		i := bytes.IndexByte(s.partial, '\n')
		if i < 0 && len(s.partial) < longestPiece {
			return len(p), nil
		}
		rest := i + 1
		if i < 0 || i > longestPiece {
			i, rest = longestPiece, longestPiece
		}
		s.log.line("[" + s.name + "]" + string(s.partial[:i]))
		s.partial = append(s.partial[:0], s.partial[rest:]...)
	}
}

// flush writes a last line that has no end.
func (s *stream) flush() {
	_ = s.masked.Flush() // write never fails
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if len(s.partial) > 0 {
		s.log.line("[" + s.name + "]" + string(s.partial))
		s.partial = nil
	}
}
