package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a program that was started for a benchmark.
type process struct {
	cmd *exec.Cmd
	out *bytes.Buffer
	end chan error
}

// start runs a program until stop. It gets no environment but env and what
// every program needs.
func start(dir, program string, args, env []string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), out: &bytes.Buffer{}, end: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.out, p.out
	p.cmd.Env = append(p.cmd.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	go func() { p.end <- p.cmd.Wait() }()
	return p, nil
}

// stop ends the program, by force after ten seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.end:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.end
	}
}

// await waits until ready says so, the program ends, or half a minute passed.
func (p *process) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case err := <-p.end:
			p.end <- err
			return fmt.Errorf("%s ended: %w\n%s", filepath.Base(p.cmd.Path), errors.Join(err, errors.New("before it was ready")), p.out)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", filepath.Base(p.cmd.Path), context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

// freeAddress is an address that nobody listens on just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// healthy says whether a server answers at /healthz.
func healthy(address string) bool {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get("http://" + address + "/healthz")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// startRedis starts a Redis on a socket that has every write on disk before it
// answers, as the embedded one does.
func startRedis(ctx context.Context, dir string) (*process, string, error) {
	socket := filepath.Join(dir, "redis.sock")
	p, err := start(dir, "redis-server", []string{
		"--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
	}, nil)
	if err != nil {
		return nil, "", err
	}
	if err := p.await(ctx, func() bool { return dials(socket) }); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, "unix://" + socket, nil
}

func dials(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
