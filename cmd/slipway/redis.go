package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/queue"
)

// embeddedRedis is the Redis of a process that was given none.
type embeddedRedis struct {
	url     string
	durable bool // its state outlives the process
	close   func()
}

// startEmbedded starts the redis-server found on PATH as a child, on a socket
// in the data folder, with every write on disk before it is answered. A server
// that an earlier process left behind is adopted. Where there is no
// redis-server, an in-process one stands in, and its state ends with us.
func startEmbedded(ctx context.Context, data string, log *slog.Logger) (*embeddedRedis, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return startInProcess(log)
	}
	dir := filepath.Join(data, "redis")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the embedded Redis: %w", err)
	}
	socket, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	url := "unix://" + socket
	if answers(ctx, url) {
		log.Info("adopting the Redis that an earlier process left behind", "socket", socket)
		return &embeddedRedis{url: url, durable: true, close: func() {}}, nil
	}
	child, err := runRedis(program, dir, socket)
	if err != nil {
		return nil, err
	}
	if err := child.ready(ctx, url); err != nil {
		child.stop()
		return nil, fmt.Errorf("%w (see %s)", err, filepath.Join(dir, "redis.log"))
	}
	return &embeddedRedis{url: url, durable: true, close: child.stop}, nil
}

// socketLimit is what the kernel takes as the path of a socket, less a margin.
const socketLimit = 100

// socketPath is in dir, or, if that is too long a path for a socket, in a
// folder of the user's own below the temporary folder.
func socketPath(dir string) (string, error) {
	path := filepath.Join(dir, "redis.sock")
	if len(path) < socketLimit {
		return path, nil
	}
	sum := sha256.Sum256([]byte(dir))
	short := filepath.Join(os.TempDir(), fmt.Sprintf("slipway-%d-%x", os.Getuid(), sum[:6]))
	if err := os.MkdirAll(short, 0o700); err != nil {
		return "", fmt.Errorf("making a folder for Redis' socket: %w", err)
	}
	info, err := os.Lstat(short)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Getuid() || info.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("the folder %s is not ours alone; choose a shorter data folder", short)
	}
	return filepath.Join(short, "redis.sock"), nil
}

// redisChild is a redis-server that dies with us.
type redisChild struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func runRedis(program, dir, socket string) (*redisChild, error) {
	logFile := filepath.Join(dir, "redis.log")
	cmd := exec.Command(program,
		"--port", "0", "--unixsocket", socket, "--unixsocketperm", "600", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "",
		"--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile", logFile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	c := &redisChild{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the thread that started the
		// child ends, so that thread must be kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(c.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // why it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting redis-server: %w", err)
	}
	return c, nil
}

// readyLimit is how long Redis may take to load what it kept.
const readyLimit = time.Minute

func (c *redisChild) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for !answers(ctx, url) {
		select {
		case <-c.done:
			return errors.New("redis-server ended at once")
		case <-ctx.Done():
			return fmt.Errorf("waiting for redis-server: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// stop ends the child; it gets ten seconds to do so in order.
func (c *redisChild) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

func answers(ctx context.Context, url string) bool {
	if path, ok := strings.CutPrefix(url, "unix://"); ok {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	rdb, err := queue.Open(url)
	if err != nil {
		return false
	}
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return rdb.Ping(ctx).Err() == nil
}

func startInProcess(log *slog.Logger) (*embeddedRedis, error) {
	m := miniredis.NewMiniRedis()
	password := uuid.NewString()
	m.RequireAuth(password)
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("starting the in-process Redis: %w", err)
	}
	log.Warn("no redis-server on PATH: the state is kept in this process and is gone when it ends")
	return &embeddedRedis{url: "redis://:" + password + "@" + m.Addr(), close: m.Close}, nil
}

// lockData keeps two processes from sharing one data folder.
func lockData(data string) (release func(), err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, usage(fmt.Errorf("the data folder %s is in use by another slipway", data))
	}
	return func() { f.Close() }, nil
}
