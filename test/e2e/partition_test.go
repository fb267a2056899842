package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

// wire is a TCP connection to a server that can be cut.
type wire struct {
	url string
	l   net.Listener
	to  string

	mu   sync.Mutex
	cut  bool
	open map[net.Conn]struct{}
	busy sync.WaitGroup
}

func newWire(to string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{url: "http://" + l.Addr().String(), l: l, to: to, open: map[net.Conn]struct{}{}}
	w.busy.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			w.busy.Go(func() { w.carry(c) })
		}
	})
	return w, nil
}

// carry copies both ways until either end closes or the wire is cut.
func (w *wire) carry(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer up.Close()
	w.mu.Lock()
	cut := w.cut
	w.open[c], w.open[up] = struct{}{}, struct{}{}
	w.mu.Unlock()
	if !cut {
		var both sync.WaitGroup
		for from, to := range map[net.Conn]net.Conn{c: up, up: c} {
			both.Go(func() {
				_, _ = io.Copy(to, from) // however it ends, the connection has
				_ = errors.Join(to.Close(), from.Close())
			})
		}
		both.Wait()
	}
	w.mu.Lock()
	delete(w.open, c)
	delete(w.open, up)
	w.mu.Unlock()
}

// set cuts the wire or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.open {
			_ = c.Close()
		}
	}
}

func (w *wire) close() error {
	err := w.l.Close()
	w.set(true)
	w.busy.Wait()
	return err
}

// TestPartition cuts a runner off from the server while it builds, and mends
// the wire once another runner has taken over. The first one is refused and
// lets go: the state is that of the second attempt alone. What the commands of
// both do elsewhere may overlap until then (decision 007), so that the witness
// is asked for the number of attempts only.
func TestPartition(t *testing.T) {
	t.Parallel()
	s := newSystem(t, setup{lease: "3s", runners: []string{"host", "host"}, slots: 1, wire: true})
	if err := s.runners[1].stop(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := s.repo(t, owner, "partition")
	sha := s.push(t, r, "main", "long", buildspec("echo build $CODEBUILD_BUILD_ID", fmt.Sprintf(
		`%s %s %s "$SLIPWAY_EXECUTION_ID" "$CODEBUILD_BUILD_ID" 8s`, self, witnessCommand, s.witness)))
	x := s.awaitState(t, sha, func(x execution) bool { return x.buildAction().Build != "" })
	began := func(n int) {
		t.Helper()
		await(t, buildLimit, func(context.Context) error {
			w, err := hear(s.witness)
			if err == nil && w.starts[x.ID] < n {
				err = fmt.Errorf("the witness saw %d attempts begin, want %d", w.starts[x.ID], n)
			}
			return err
		})
	}
	began(1)
	s.wire.set(true)
	if err := s.runners[1].start(); err != nil {
		t.Fatal(err)
	}
	began(2)
	s.wire.set(false)
	x = s.awaitExecution(t, sha)
	a := x.buildAction()
	if x.Status != "Succeeded" || len(a.Earlier) != 1 {
		t.Fatalf("got %s: %s with lost attempts %v, want Succeeded after one", x.Status, x.Reason, a.Earlier)
	}
	w, err := hear(s.witness)
	if err != nil {
		t.Fatal(err)
	}
	if w.starts[x.ID] != 2 || w.unended != 1 {
		t.Errorf("the witness saw %d attempts begin and %d of them die, want 2 and 1", w.starts[x.ID], w.unended)
	}
	log := string(s.open(t, s.url+"/api/v1/builds/"+a.Build+"/log"))
	if !strings.Contains(log, ":"+a.Build) || strings.Contains(log, ":"+a.Earlier[0]) {
		t.Errorf("the log isn't that of the second attempt alone:\n%s", log)
	}
	if c := s.awaitChecks(t, r, sha, 1)[0]; c.Conclusion != "success" {
		t.Errorf("got check %s, want success", c.Conclusion)
	}
	if err := s.runners[1].stop(); err != nil {
		t.Fatal(err)
	}
	sha = s.push(t, r, "main", "after", buildspec("echo back again"))
	if x := s.awaitExecution(t, sha); x.Status != "Succeeded" {
		t.Errorf("a build on the runner that was cut off: %s: %s", x.Status, x.Reason)
	}
}
