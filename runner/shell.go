package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// errDead says that the container ended before its commands did.
var errDead = errors.New("build container found dead before completing the build")

// shell runs commands through a container's driver, one batch at a time. The
// state that commands leave (folder, variables) is in numbered folders below
// the work folder.
type shell struct {
	folder *os.Root // the work folder on this host; the build can put links into it
	work   string   // the same as the build sees it
	source string   // the source folder as the build sees it
	kind   string   // auto, bash, sh or the path of a shell
	fresh  bool     // version 0.1: nothing is kept
	grace  time.Duration
	kill   func()

	next  int    // number of the next command
	state string // number of the last saved state
}

// driver is the output of one driver process and the way to give it orders.
type driver struct {
	proc Process
	mu   sync.Mutex // guards writes to proc
	buf  []byte     // read from proc and not yet used
}

func (d *driver) order(line string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := io.WriteString(d.proc, line+"\n")
	return err
}

// batch is a list of commands that run one after the other until one fails.
type batch struct {
	commands []string
	strict   bool // set -e, and pipefail where the shell has it
	// force are assignments in shell syntax that precede every command.
	force string
	// begin is called when a command begins, after all earlier output was
	// handed on.
	begin func(i int)
	out   func([]byte) error
}

// result says how a batch ended.
type result struct {
	failed int // index of the command that failed; -1: none did
	exit   int // its exit status
}

// run runs the batch. Its error is errDead, or why ctx is over: the running
// command was asked to end then and, after the grace period, killed.
func (s *shell) run(ctx context.Context, d *driver, b batch) (result, error) {
	if err := context.Cause(ctx); err != nil {
		return result{failed: -1}, err
	}
	first, name, err := s.write(b)
	if err != nil {
		return result{failed: -1}, err
	}
	word := nonce()
	if err := d.order(fmt.Sprintf("run %s %s %s %s", word, s.kind, name, s.state)); err != nil {
		return result{failed: -1}, s.why(ctx, err)
	}
	defer s.guard(ctx, d, name)()
	p := progress{first: first, count: len(b.commands), begin: b.begin, state: s.state, result: result{failed: -1}}
	for !p.done {
		mark, err := d.until(word, b.out)
		if err == nil {
			err = p.take(mark)
		}
		if err != nil {
			return p.result, s.why(ctx, err)
		}
	}
	s.state = p.state
	return p.result, context.Cause(ctx)
}

// why prefers the reason for which ctx is over to the error that it provoked.
func (s *shell) why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// stop asks the batch's running command to end, and lets no other begin.
func (s *shell) stop(d *driver, batch string) error {
	return errors.Join(writeFile(s.folder, batch+".stop", ""), d.order("stop"))
}

// guard ends the batch of that name when ctx is over; the result stops that.
func (s *shell) guard(ctx context.Context, d *driver, name string) func() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		if !errors.Is(context.Cause(ctx), pipeline.ErrStale) && s.stop(d, name) == nil {
			t := time.NewTimer(s.grace)
			defer t.Stop()
			select {
			case <-done:
				return
			case <-t.C:
			}
		}
		s.kill()
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// write puts the scripts of a batch and their list into the work folder.
func (s *shell) write(b batch) (first int, name string, err error) {
	first = s.next
	var list strings.Builder
	for i := 0; i < len(b.commands); {
		n := 1
		for i+n < len(b.commands) && !s.fresh && !b.strict && plain(b.commands[i]) && plain(b.commands[i+n]) {
			n++
		}
		if n == 1 {
			err = s.put(first+i, "script.sh", s.script(first+i, b.commands[i], b))
			fmt.Fprintf(&list, "one %d\n", first+i)
		} else {
			err = s.put(first+i, "group.sh", s.group(first+i, b.commands[i:i+n], b.force))
			fmt.Fprintf(&list, "many %d\n", first+i)
		}
		if err != nil {
			return 0, "", err
		}
		i += n
	}
	s.next += len(b.commands)
	name = strconv.Itoa(first)
	return first, name, writeFile(s.folder, name+".list", list.String())
}

func (s *shell) put(n int, name, text string) error {
	dir := strconv.Itoa(n)
	if err := makeDir(s.folder, dir); err != nil {
		return err
	}
	return writeFile(s.folder, dir+"/"+name, text)
}

// makeDir makes a folder into which the build's users may write. The folder
// above all of them is closed to other users of this host.
func makeDir(root *os.Root, dir string) error {
	if err := root.Mkdir(dir, 0o777); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making work folder: %w", err)
	}
	if err := root.Chmod(dir, 0o777); err != nil {
		return fmt.Errorf("making work folder: %w", err)
	}
	return nil
}

// writeFile makes a new file that the build's users may read.
func writeFile(root *os.Root, name, text string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("writing script: %w", err)
	}
	_, err = io.WriteString(f, text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("writing script: %w", err)
	}
	return nil
}
