package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// benchIdle is P10: memory and processor time of a slipway up that has nothing
// to do, and the size of the binary. up is server and runner in one process,
// so it may take what both may.
func benchIdle(ctx context.Context, s settings) ([]result, error) {
	info, err := os.Stat(s.slipway)
	if err != nil {
		return nil, err
	}
	results := []result{atMost("P10", "binary", "MB", float64(info.Size())/1e6, 35)}
	address, err := freeAddress()
	if err != nil {
		return results, err
	}
	p, err := start(s.dir, s.slipway, []string{"up"}, []string{
		"SLIPWAY_LISTEN=" + address, "SLIPWAY_EXTERNAL_URL=http://" + address, "SLIPWAY_DATA=" + filepath.Join(s.dir, "up"),
		"SLIPWAY_LOG=error",
	})
	if err != nil {
		return results, err
	}
	defer p.stop()
	if err := p.await(ctx, func() bool { return healthy(address) }); err != nil {
		return results, err
	}
	if err := sleep(ctx, 3*time.Second); err != nil { // what starting up leaves behind
		return results, err
	}
	before, err := usageOf(p.cmd.Process.Pid)
	if err != nil {
		return results, err
	}
	if err := sleep(ctx, s.idle); err != nil {
		return results, err
	}
	after, err := usageOf(p.cmd.Process.Pid)
	if err != nil {
		return results, err
	}
	percent := 100 * (after.busy - before.busy).Seconds() / s.idle.Seconds()
	return append(results,
		atMost("P10", "up, idle: resident memory", "MB", float64(after.residentBytes)/1e6, 60),
		atMost("P10", "up, idle: processor", "% of core", percent, 0.2),
	), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// usage is what a process has taken so far.
type usage struct {
	residentBytes int64
	busy          time.Duration // user and system
}

// tick is the unit of processor times in /proc, the same on every Linux.
const tick = 10 * time.Millisecond

// usageOf reads /proc/PID/stat: the fields after the name, which is in
// parentheses and may hold anything (proc_pid_stat(5): 14 utime, 15 stime, 24
// rss in pages).
func usageOf(pid int) (usage, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const first = 3 // the number of the field after the name
	if len(fields) < 24-first+1 {
		return usage{}, fmt.Errorf("reading /proc/%d/stat: %d fields", pid, len(fields))
	}
	number := func(field int) int64 {
		n, parseErr := strconv.ParseInt(string(fields[field-first]), 10, 64)
		if parseErr != nil {
			err = parseErr
		}
		return n
	}
	u := usage{
		residentBytes: number(24) * int64(os.Getpagesize()),
		busy:          time.Duration(number(14)+number(15)) * tick,
	}
	return u, err
}
