package runner

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/redact"
)

// buildLog writes a build's log: the commands' output and our own lines, all
// of it masked. It is used by one goroutine at a time.
type buildLog struct {
	now     func() time.Time
	out     *meteredLog
	masker  *redact.Masker
	mask    *redact.Writer
	secrets []string
	midLine bool // what was written last did not end its line
	err     error
}

func newBuildLog(sink Sink, now func() time.Time) *buildLog {
	l := &buildLog{now: now, out: &meteredLog{sink: sink}}
	l.hide()
	return l
}

// hide masks more values from here on. It returns how many of them are too
// short to be masked.
func (l *buildLog) hide(values ...string) (short int) {
	l.sync()
	l.secrets = append(l.secrets, values...)
	l.masker = redact.New(l.secrets...)
	l.mask = l.masker.Writer(l.out)
	for _, i := range l.masker.Skipped() {
		if i >= len(l.secrets)-len(values) {
			short++
		}
	}
	return short
}

// output writes what the build said.
func (l *buildLog) output(p []byte) error {
	if len(p) == 0 || l.err != nil {
		return l.err
	}
	l.midLine = p[len(p)-1] != '\n'
	if _, err := l.mask.Write(p); err != nil {
		l.err = fmt.Errorf("writing log: %w", err)
	}
	return l.err
}

// line writes a line of ours, in the shape that CodeBuild's logs have
// (CodeBuild reference 2.9).
func (l *buildLog) line(format string, args ...any) {
	text := fmt.Sprintf("[Container] %s %s\n", l.now().UTC().Format("2006/01/02 15:04:05.000000"), fmt.Sprintf(format, args...))
	if l.midLine {
		text = "\n" + text
	}
	_ = l.output([]byte(text)) // kept in l.err, which the next output returns
}

// sync passes on what the masker holds back.
func (l *buildLog) sync() {
	if l.mask == nil || l.err != nil {
		return
	}
	if err := l.mask.Flush(); err != nil {
		l.err = fmt.Errorf("writing log: %w", err)
	}
}

// lines is the number of lines so far.
func (l *buildLog) lines() int64 {
	l.sync()
	if l.midLine {
		return l.out.lines + 1
	}
	return l.out.lines
}

// begin forgets the tail, because another command begins.
func (l *buildLog) begin() {
	l.sync()
	l.out.tail = l.out.tail[:0]
}

const (
	tailLines     = 20
	tailBytes     = 16 << 10
	tailLineBytes = 1 << 10
)

// last are the last lines since begin, masked.
func (l *buildLog) last() []string {
	l.sync()
	text := strings.TrimRight(string(l.out.tail), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, s := range lines {
		if len(s) > tailLineBytes {
			s = s[:tailLineBytes]
		}
		lines[i] = strings.ToValidUTF8(strings.TrimRight(s, "\r"), "�")
	}
	return lines
}

// meteredLog counts masked text on its way to the sink and remembers its end.
type meteredLog struct {
	sink  Sink
	bytes int64
	lines int64
	tail  []byte
}

func (m *meteredLog) Write(p []byte) (int, error) {
	m.bytes += int64(len(p))
	m.lines += int64(bytes.Count(p, []byte("\n")))
	end := p[max(0, len(p)-tailBytes):]
	if over := len(m.tail) + len(end) - tailBytes; over > 0 {
		m.tail = append(m.tail[:0], m.tail[over:]...)
	}
	m.tail = append(m.tail, end...)
	if err := m.sink.Log(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
