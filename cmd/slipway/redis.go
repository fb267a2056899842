package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
// in the data folder, with every write on disk before it is answered, and
// starts it again whenever it ends. A server that an earlier process left behind
// is adopted. Where there is no redis-server, an in-process one stands in, and
// its state ends with us.
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
	k := &redisKeeper{program: program, dir: dir, socket: socket, log: log}
	child, err := k.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %s (see %s)", err, redisComplaint(dir), filepath.Join(dir, "redis.log"))
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.keep(ctx, child)
	}()
	return &embeddedRedis{url: k.url(), durable: true, close: func() {
		end()
		<-ended
	}}, nil
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

// redisKeeper sees to it that one redis-server works on a folder. Each holds a
// lock on the folder for as long as it lives, so that there are never two.
type redisKeeper struct {
	program, dir, socket string
	log                  *slog.Logger
}

func (k *redisKeeper) url() string { return "unix://" + k.socket }

// start starts a redis-server, or finds the one that is there: child is nil
// then.
func (k *redisKeeper) start(ctx context.Context) (child *redisChild, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		lock, err := lockFile(filepath.Join(k.dir, "lock"))
		if err == nil {
			return k.run(ctx, lock)
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking Redis' folder: %w", err)
		}
		if answers(ctx, k.url()) {
			k.log.Info("adopting the Redis that an earlier process left behind", "socket", k.socket)
			return nil, nil
		}
		if !pauseFor(ctx, 20*time.Millisecond) {
			return nil, errors.New("an earlier redis-server neither answers nor ends")
		}
	}
}

func (k *redisKeeper) run(ctx context.Context, lock *os.File) (*redisChild, error) {
	defer lock.Close() // the child has it now
	child, err := runRedis(k.program, k.dir, k.socket, lock)
	if err != nil {
		return nil, err
	}
	if err := child.ready(ctx, k.url()); err != nil {
		child.stop()
		return nil, err
	}
	return child, nil
}

// keep starts Redis again whenever it has ended, until ctx ends; then it ends
// Redis.
func (k *redisKeeper) keep(ctx context.Context, child *redisChild) {
	for wait := 100 * time.Millisecond; ; {
		k.await(ctx, child)
		if ctx.Err() != nil {
			k.stop(child)
			return
		}
		k.log.Error("redis-server has ended; it is started again", "log", filepath.Join(k.dir, "redis.log"), "error", redisComplaint(k.dir))
		for {
			next, err := k.start(ctx)
			if err == nil {
				child, wait = next, 100*time.Millisecond
				break
			}
			if ctx.Err() != nil {
				return
			}
			k.log.Error("redis-server does not start", "error", fmt.Errorf("%w: %s", err, redisComplaint(k.dir)))
			pauseFor(ctx, wait)
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// redisNeeds is the free space below which a full disk is the likeliest reason
// for the end of Redis, which then can't say so in its log either.
const redisNeeds = 4 << 20

// redisComplaint is why the Redis of a folder ended, as far as can be seen: the
// disk is full, or what its log says last since it started with a "#", its mark
// for what is wrong. Warnings that come at every start don't count.
func redisComplaint(dir string) string {
	if free, err := freeBytes(dir); err == nil && free < redisNeeds {
		return fmt.Sprintf("the disk of %s is full", dir)
	}
	text, err := tail(filepath.Join(dir, "redis.log"), 8<<10)
	if err != nil {
		return err.Error()
	}
	const silent = "its log doesn't say why"
	complaint := silent
	for line := range strings.Lines(text) {
		_, said, wrong := strings.Cut(line, " # ")
		switch {
		case strings.Contains(line, "Redis is starting"):
			complaint = silent
		case wrong && !strings.HasPrefix(strings.ToUpper(said), "WARNING"):
			complaint = strings.TrimSpace(said)
		}
	}
	return complaint
}

// tail is the end of a file.
func tail(name string, bytes int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-bytes), bytes))
	return string(text), err
}

// await waits until Redis or ctx has ended. The end of one that isn't our child
// shows in its lock.
func (k *redisKeeper) await(ctx context.Context, child *redisChild) {
	if child != nil {
		select {
		case <-ctx.Done():
		case <-child.done:
		}
		return
	}
	for pauseFor(ctx, 200*time.Millisecond) {
		if lock, err := lockFile(filepath.Join(k.dir, "lock")); err == nil {
			_ = lock.Close() // start takes it again
			return
		}
	}
}

// stop ends Redis, also one that was adopted: the folder is ours.
func (k *redisKeeper) stop(child *redisChild) {
	if child != nil {
		child.stop()
		return
	}
	rdb, err := queue.Open(k.url())
	if err != nil {
		return
	}
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	_ = rdb.ShutdownNoSave(ctx) // every write is in its file; the answer is a closed connection
}

func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// redisChild is a redis-server that dies with us.
type redisChild struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func runRedis(program, dir, socket string, lock *os.File) (*redisChild, error) {
	logFile := filepath.Join(dir, "redis.log")
	cmd := exec.Command(program,
		"--port", "0", "--unixsocket", socket, "--unixsocketperm", "600", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "",
		"--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile", logFile)
	cmd.ExtraFiles = []*os.File{lock}
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

// stopLimit is how long Redis gets to end in order.
const stopLimit = 10 * time.Second

// stop ends the child.
func (c *redisChild) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(stopLimit):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

func answers(ctx context.Context, url string) bool {
	if path, ok := strings.CutPrefix(url, "unix://"); ok {
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
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
	f, err := lockFile(filepath.Join(data, "lock"))
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, usage(fmt.Errorf("the data folder %s is in use by another slipway", data))
	}
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	return func() { f.Close() }, nil
}

// lockFile takes the lock of a file, which it makes; EWOULDBLOCK if somebody
// has it. It lasts until the last process that has the file open has ended.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
