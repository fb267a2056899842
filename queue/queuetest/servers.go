// Package queuetest starts Redis servers for tests and states what every one of
// them must do for the queue.
package queuetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// New is an in-process Redis that ends with the test.
func New(t testing.TB) redis.UniversalClient {
	t.Helper()
	return open(t, &redis.Options{Addr: miniredis.RunT(t).Addr(), ContextTimeoutEnabled: true})
}

func open(t testing.TB, opts *redis.Options) redis.UniversalClient {
	c := redis.NewClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Server is a redis-server of its own process, with its append-only file
// synced at every write.
type Server struct {
	// Client is connected to it, also after a restart.
	Client redis.UniversalClient

	t     testing.TB
	args  []string
	ping  redis.UniversalClient
	child *exec.Cmd
}

// Start starts a redis-server on a socket in a temporary folder.
func Start(t testing.TB) *Server {
	t.Helper()
	testenv.Need(t, "redis-server")
	dir := shortDir(t)
	socket := filepath.Join(dir, "redis.sock")
	s := &Server{t: t, args: []string{"--port", "0", "--unixsocket", socket, "--dir", dir}}
	s.Client = open(t, &redis.Options{Network: "unix", Addr: socket, ContextTimeoutEnabled: true})
	s.ping = s.Client
	s.start()
	return s
}

// StartCluster starts a redis-server that is a Redis Cluster by itself.
func StartCluster(t testing.TB) *Server {
	t.Helper()
	testenv.Need(t, "redis-server")
	dir, port := shortDir(t), freePort(t)
	addr := "127.0.0.1:" + strconv.Itoa(port)
	s := &Server{t: t, args: []string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(freePort(t)),
	}}
	s.ping = open(t, &redis.Options{Addr: addr})
	s.start()
	ctx := context.Background()
	if err := s.ping.(*redis.Client).ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		t.Fatalf("giving the cluster its slots: %v", err)
	}
	await(t, "the cluster to be ready", func() bool {
		info, err := s.ping.(*redis.Client).ClusterInfo(ctx).Result()
		return err == nil && len(info) > 16 && info[:16] == "cluster_state:ok"
	})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = cluster.Close() })
	s.Client = cluster
	return s
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	s.t.Helper()
	_ = s.child.Process.Kill() // it may have ended
	_ = s.child.Wait()
}

// Restart kills the server and starts it with the same data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.start()
}

func (s *Server) start() {
	s.t.Helper()
	args := append([]string{"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no", "--loglevel", "warning"}, s.args...)
	s.child = exec.Command("redis-server", args...)
	if err := s.child.Start(); err != nil {
		s.t.Fatalf("starting redis-server: %v", err)
	}
	child := s.child
	s.t.Cleanup(func() {
		_ = child.Process.Kill() // it may have ended
		_ = child.Wait()
	})
	await(s.t, "redis-server to answer", func() bool { return s.ping.Ping(context.Background()).Err() == nil })
}

// Each runs the test on an in-process Redis, on a real one and on a cluster.
func Each(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Run("miniredis", func(t *testing.T) { test(t, New(t)) })
	t.Run("redis", func(t *testing.T) { test(t, Start(t).Client) })
	t.Run("cluster", func(t *testing.T) { test(t, StartCluster(t).Client) })
}

// shortDir is a temporary folder whose name is short enough for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// await waits until something outside this process is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if so() {
			return
		}
	}
	t.Fatal(fmt.Errorf("waiting for %s: it took too long", what))
}
