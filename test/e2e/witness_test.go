package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// witnessCommand makes this test program the witness that builds run: it knows
// nothing of Slipway, writes down when an attempt of an execution begins and
// ends, and holds a lock between, which the kernel lets go of however it dies.
const witnessCommand = "slipway-e2e-witness"

// witness is called as: DIR EXECUTION BUILD DURATION.
func witness(args []string) int {
	dir, execution, build := args[0], args[1], args[2]
	d, err := time.ParseDuration(args[3])
	if err != nil {
		return 2
	}
	note := func(what string) {
		f, err := os.OpenFile(filepath.Join(dir, "notes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			// One write to a file opened for appending is never mixed with another.
			_, err = fmt.Fprintf(f, "%s %s %s %d %d\n", what, execution, build, os.Getpid(), time.Now().UnixNano())
			_ = f.Close()
		}
		if err != nil {
			os.Exit(3)
		}
	}
	lock, err := os.OpenFile(filepath.Join(dir, execution+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 3
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		note("overlap")
	}
	note("start")
	time.Sleep(d) // the work that this build does
	note("end")
	return 0
}

// testimony is what the witness wrote.
type testimony struct {
	overlaps []string
	starts   map[string]int  // by execution
	ended    map[string]bool // by build
	unended  int             // attempts that died in their command
}

func hear(dir string) (testimony, error) {
	w := testimony{starts: map[string]int{}, ended: map[string]bool{}}
	f, err := os.Open(filepath.Join(dir, "notes"))
	if err != nil {
		return w, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 5 {
			return w, fmt.Errorf("the witness wrote %q", lines.Text())
		}
		switch fields[0] {
		case "overlap":
			w.overlaps = append(w.overlaps, lines.Text())
		case "start":
			w.starts[fields[1]]++
			w.unended++
		case "end":
			w.ended[fields[2]] = true
			w.unended--
		}
	}
	return w, lines.Err()
}
