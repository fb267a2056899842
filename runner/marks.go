package runner

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// progress is how far a batch has come, as the driver's marks tell. The build
// can read the word of the marks and make some up, which gains it nothing that
// "exit 0" does not (decision 009); here it must not lead further than that.
type progress struct {
	first, count int // of the commands' numbers
	begin        func(i int)
	ended        int  // commands that have ended
	running      bool // the next one has begun
	state        string
	done         bool
	result
}

// take acts on one mark. Marks come in the order of the commands; any other is
// an error.
func (p *progress) take(mark []string) error {
	if !p.step(mark) {
		return fmt.Errorf("reading mark of driver: %q after %d of %d commands", mark, p.ended, p.count)
	}
	return nil
}

func (p *progress) step(mark []string) bool {
	var numbers [2]int
	if len(mark) < 2 || len(mark) > 1+len(numbers) {
		return false
	}
	for i, text := range mark[1:] {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || text != strconv.Itoa(n) {
			return false
		}
		numbers[i] = n
	}
	next := p.first + p.ended
	switch mark[0] + strconv.Itoa(len(mark)-1) {
	case "B1":
		return p.begins(numbers[0] == next)
	case "E2":
		return p.ends(numbers[0] == next, numbers[1])
	case "G1":
		return p.shellEnds(numbers[0])
	case "D1":
		return p.finish(mark[1], numbers[0])
	}
	return false
}

func (p *progress) begins(expected bool) bool {
	if !expected || p.running || p.failed >= 0 || p.ended == p.count {
		return false
	}
	p.running = true
	if p.begin != nil {
		p.begin(p.ended)
	}
	return true
}

const maxStatus = 255

func (p *progress) ends(expected bool, status int) bool {
	if !expected || !p.running || status > maxStatus {
		return false
	}
	p.running = false
	if status != 0 {
		p.failed, p.exit = p.ended, status
	}
	p.ended++
	return true
}

// shellEnds is the end of a shell that several commands shared. If that was
// killed, it had no time to say how its command ended.
func (p *progress) shellEnds(status int) bool {
	if p.running {
		return status != 0 && p.ends(true, status)
	}
	if status != 0 && p.failed < 0 { // it died between two commands
		p.failed, p.exit = max(0, p.ended-1), status
	}
	return status <= maxStatus
}

func (p *progress) finish(state string, n int) bool {
	if p.running || p.failed < 0 && p.ended != p.count {
		return false
	}
	if state != p.state && (n < p.first || n >= p.first+p.count) {
		return false
	}
	p.state, p.done = state, true
	return true
}

// until hands on output up to the next mark and returns the mark's words.
func (d *driver) until(word string, out func([]byte) error) ([]string, error) {
	for {
		if i := bytes.Index(d.buf, []byte(word)); i >= 0 {
			if err := give(out, d.buf[:i]); err != nil {
				return nil, err
			}
			d.buf = d.buf[i:]
			end := bytes.IndexByte(d.buf[:min(len(d.buf), maxMarkBytes)], '\n')
			if end >= 0 {
				mark := strings.Fields(string(d.buf[len(word):end]))
				d.buf = d.buf[end+1:]
				return mark, nil
			}
			if len(d.buf) >= maxMarkBytes {
				return nil, errors.New("reading mark of driver: it has no end")
			}
		} else {
			keep := partial(d.buf, word)
			if err := give(out, d.buf[:len(d.buf)-keep]); err != nil {
				return nil, err
			}
			d.buf = d.buf[len(d.buf)-keep:]
		}
		if err := d.fill(out); err != nil {
			return nil, err
		}
	}
}

// maxMarkBytes is the most that a mark has, its word and line end included.
const maxMarkBytes = 128

func give(out func([]byte) error, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return out(p)
}

const readBytes = 128 << 10

// fill reads more output behind what is left.
func (d *driver) fill(out func([]byte) error) error {
	if cap(d.buf)-len(d.buf) < readBytes/2 {
		grown := make([]byte, len(d.buf), len(d.buf)+readBytes)
		copy(grown, d.buf)
		d.buf = grown
	}
	n, err := d.proc.Read(d.buf[len(d.buf):cap(d.buf)])
	d.buf = d.buf[:len(d.buf)+n]
	if err == nil || n > 0 {
		return nil
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading output of build: %w", err)
	}
	if err := give(out, d.buf); err != nil {
		return err
	}
	d.buf = nil
	return errDead
}

// partial is the length of the longest end of p that word begins with.
func partial(p []byte, word string) int {
	for n := min(len(p), len(word)-1); n > 0; n-- {
		if strings.HasPrefix(word, string(p[len(p)-n:])) {
			return n
		}
	}
	return 0
}

func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
