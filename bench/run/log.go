package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// logBytes is the output of the measured command, in lines of 80. It comes from
// a file, chunkBytes at a time: busybox's own yes would be the slowest part.
const (
	chunkBytes = 1_000_000
	chunks     = 200
	logBytes   = chunks * chunkBytes
	logLine    = "the quick brown fox jumps over the lazy dog and then it does so once more again"
)

// benchLog is P5: a command with 200 MB of output, from its start until the
// store has it all, against the same command with nothing but an attached
// reader, and against the engine's own json-file. The page's memory aim is
// beside it: how much the one process that is server and runner grew.
func benchLog(ctx context.Context, s settings) ([]result, error) {
	e := newEngine()
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = e.removeImage(context.WithoutCancel(ctx)) }()
	up, err := startUp(ctx, s, "log")
	if err != nil {
		return nil, err
	}
	defer up.stop()
	command := fmt.Sprintf("yes '%s' | head -c %d > /tmp/lines; i=0; while [ $i -lt %d ]; do cat /tmp/lines; i=$((i+1)); done", logLine, chunkBytes, chunks)
	var ours, attached, file []time.Duration
	var grew int64
	for i := range s.logs + 1 {
		before, err := usageOf(up.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		took, most, err := up.logged(ctx, command)
		if err != nil {
			return nil, err
		}
		bare, err := e.drain(ctx, command, "none")
		if err != nil {
			return nil, err
		}
		kept, err := e.drain(ctx, command, "json-file")
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first is a warm-up
			ours, attached, file, grew = append(ours, took), append(attached, bare), append(file, kept), max(grew, most-before.residentBytes)
		}
	}
	rate := func(list []time.Duration) float64 { return logBytes / 1e3 / median(list) }
	return []result{
		against("P5", "log: command to store, attach without a log", "MB/s", rate(ours), rate(attached), 0.6, false),
		against("P5", "log: command to store, attach and json-file", "MB/s", rate(ours), rate(file), 3, false),
		atMost("P5", "log: growth of server and runner together", "MB", float64(grew)/1e6, 64),
	}, nil
}

// logged is how long the phase with the command took until the log was sealed,
// and the most memory that the server had meanwhile. Every byte must be there.
func (u *server) logged(ctx context.Context, command string) (took time.Duration, mostBytes int64, err error) {
	sha, err := u.push(ctx, command)
	if err != nil {
		return 0, 0, err
	}
	b, err := u.built(ctx, sha, func() {
		if now, err := usageOf(u.cmd.Process.Pid); err == nil {
			mostBytes = max(mostBytes, now.residentBytes)
		}
	})
	if err != nil {
		return 0, 0, err
	}
	body, err := u.open(ctx, "/builds/"+b.ID+"/log")
	if err != nil {
		return 0, 0, err
	}
	defer body.Close()
	var count lineCounter
	if _, err := io.Copy(&count, body); err != nil {
		return 0, 0, err
	}
	if want := int64(logBytes / (len(logLine) + 1)); count.lines < want {
		return 0, 0, fmt.Errorf("the log has %d lines of the command, want %d", count.lines, want)
	}
	return b.EndedAt.Sub(b.began("BUILD")), mostBytes, nil
}

// lineCounter counts the command's whole lines.
type lineCounter struct {
	lines int64
	rest  []byte
}

func (c *lineCounter) Write(p []byte) (int, error) {
	data := append(c.rest, p...)
	for {
		at := bytes.IndexByte(data, '\n')
		if at < 0 {
			break
		}
		if string(data[:at]) == logLine {
			c.lines++
		}
		data = data[at+1:]
	}
	c.rest = append([]byte(nil), data...)
	return len(p), nil
}

// drain runs a command in a container and reads its output, and says how long
// that took from the start on.
func (e *engine) drain(ctx context.Context, command, driver string) (time.Duration, error) {
	var created struct{ ID string }
	body := marshal(map[string]any{
		"Image": benchImage, "Cmd": []string{"/bin/sh", "-c", command}, "Labels": map[string]string{"slipway.bench": "floor"},
		"HostConfig": map[string]any{"LogConfig": map[string]any{"Type": driver}},
	})
	if err := e.call(ctx, http.MethodPost, "/containers/create", bytes.NewReader(body), &created); err != nil {
		return 0, err
	}
	path := "/containers/" + created.ID
	defer func() { _ = e.call(context.WithoutCancel(ctx), http.MethodDelete, path+"?force=1", nil, nil) }()
	output, err := attach(ctx, path)
	if err != nil {
		return 0, err
	}
	defer output.Close()
	if err := e.call(ctx, http.MethodPost, path+"/start", nil, nil); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(output, make([]byte, 9)); err != nil {
		return 0, fmt.Errorf("reading the first line: %w", err)
	}
	begin := time.Now()
	n, err := io.Copy(io.Discard, output)
	if err == nil && n < logBytes-8192 {
		err = fmt.Errorf("the output has %d bytes", n)
	}
	return time.Since(begin), err
}
