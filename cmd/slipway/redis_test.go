package main

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/queue"
)

// childVariable makes this test binary a process that starts the embedded
// Redis, says so, and waits to be killed.
const childVariable = "SLIPWAY_TEST_REDIS_CHILD"

func TestRedisDiesWithItsParent(t *testing.T) {
	if data := os.Getenv(childVariable); data != "" {
		redis, err := startEmbedded(t.Context(), data, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString(redis.url + "\n")
		select {}
	}
	testenv.Need(t, "redis-server")
	data := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRedisDiesWithItsParent$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), childVariable+"="+data)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() }) // it may have ended
	buf := make([]byte, 1000)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(string(buf[:n]))
	if !answers(t.Context(), url) {
		t.Fatalf("no Redis answers at %q", url)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, "the child to end", func() bool { return !answers(t.Context(), url) })
}

func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if so() {
			return
		}
	}
	t.Fatalf("waiting for %s took too long", what)
}

func embedded(t *testing.T, data string) *embeddedRedis {
	t.Helper()
	e, err := startEmbedded(t.Context(), data, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

// A Redis that an earlier process left is used as it is, and its state with
// it. When it ends after all, as one whose parent was just killed does, another
// one takes its place.
func TestRedisIsAdopted(t *testing.T) {
	testenv.Need(t, "redis-server")
	data := t.TempDir()
	dir := filepath.Join(data, "redis")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	left, err := runRedis("redis-server", dir, filepath.Join(dir, "redis.sock"), lock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(left.stop)
	if err := errors.Join(lock.Close(), left.ready(t.Context(), "unix://"+filepath.Join(dir, "redis.sock"))); err != nil {
		t.Fatal(err)
	}
	e := embedded(t, data)
	set(t, e.url, "key", "value")
	left.stop()
	until(t, "another Redis", func() bool { return answers(t.Context(), e.url) })
	if got := get(t, e.url, "key"); got != "value" {
		t.Errorf("got %q of what was kept, want value", got)
	}
	e.close()
	if answers(t.Context(), e.url) {
		t.Error("a Redis is left behind")
	}
}

// An adopted Redis ends with who adopted it.
func TestAdoptedRedisIsEnded(t *testing.T) {
	testenv.Need(t, "redis-server")
	data := t.TempDir()
	first := embedded(t, data)
	second := embedded(t, data)
	if second.url != first.url {
		t.Fatalf("got %s, want the one at %s", second.url, first.url)
	}
	first.close()
	until(t, "another Redis", func() bool { return answers(t.Context(), second.url) })
	second.close()
	if answers(t.Context(), second.url) {
		t.Error("a Redis is left behind")
	}
}

// A Redis that is killed is started again, with all that it had.
func TestRedisIsStartedAgain(t *testing.T) {
	testenv.Need(t, "redis-server")
	e := embedded(t, t.TempDir())
	set(t, e.url, "key", "value")
	rdb, err := queue.Open(e.url)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	info, err := rdb.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "process_id:")
	text, _, _ := strings.Cut(rest, "\r\n")
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "another Redis", func() bool {
		now, err := rdb.Info(t.Context(), "server").Result()
		return err == nil && !strings.Contains(now, "process_id:"+text+"\r")
	})
	if got := get(t, e.url, "key"); got != "value" {
		t.Errorf("got %q of what was kept, want value", got)
	}
}

// Why Redis ended is in its log, if it could still write there.
func TestRedisComplaint(t *testing.T) {
	const start = "26076:C 24 Nov 2026 03:29:49.676 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n" +
		"26076:M 24 Nov 2026 03:29:49.684 # WARNING Memory overcommit must be enabled!\n"
	for _, tt := range []struct{ name, log, want string }{
		{"the last that is wrong", start + "1:M 24 Nov 2026 03:29:48.536 # Short write\n1:M 24 Nov 2026 03:29:48.536 # Can't recover from AOF write error. Exiting...\n1:M 24 Nov 2026 03:29:48.600 * bye\n", "Can't recover from AOF write error. Exiting..."},
		{"killed", "1:M 24 Nov 2026 03:29:48.536 # User requested shutdown...\n" + start, "its log doesn't say why"},
		{"cut off", start + "1:M 24 Nov 2026 03:29:48.536 # Short wr", "Short wr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "redis.log"), []byte(tt.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := redisComplaint(dir); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func set(t *testing.T, url, key, value string) {
	t.Helper()
	rdb, err := queue.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	if err := rdb.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url, key string) string {
	t.Helper()
	rdb, err := queue.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	value, err := rdb.Get(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// A socket that is left of a Redis that was killed is no hindrance.
func TestRedisAfterACrash(t *testing.T) {
	testenv.Need(t, "redis-server")
	data := t.TempDir()
	socket, err := socketPath(filepath.Join(data, "redis"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(fd) // the file stays
	embedded(t, data)
}

func TestRedisInADeepFolder(t *testing.T) {
	testenv.Need(t, "redis-server")
	t.Setenv("TMPDIR", shortTemp(t))
	data := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 12))
	e := embedded(t, data)
	path := strings.TrimPrefix(e.url, "unix://")
	if len(path) >= socketLimit {
		t.Errorf("the socket's path has %d bytes: %s", len(path), path)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v, %v", info.Mode(), err)
	}
}

// The folder for sockets of deep data folders is below one that everybody may
// write to; what a stranger put there is not used.
func TestSocketFolderOfAStranger(t *testing.T) {
	temp := shortTemp(t)
	t.Setenv("TMPDIR", temp)
	deep := "/" + strings.Repeat("x", 120)
	path, err := socketPath(deep)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := socketPath(deep); err == nil {
		t.Error("a folder that everybody may write to was taken")
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), folder); err != nil {
		t.Fatal(err)
	}
	if _, err := socketPath(deep); err == nil {
		t.Error("a link was followed")
	}
}

func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A Redis that can't start says where it said why.
func TestRedisThatCannotStart(t *testing.T) {
	testenv.Need(t, "redis-server")
	data := t.TempDir()
	dir := filepath.Join(data, "redis", "appendonlydir")
	write(t, filepath.Join(dir, "appendonly.aof.manifest"), "nonsense\n")
	_, err := startEmbedded(t.Context(), data, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "redis.log") {
		t.Errorf("got %v", err)
	}
}

func TestDataFolderIsLocked(t *testing.T) {
	data := t.TempDir()
	release, err := lockData(data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockData(data)
	if coded, ok := errors.AsType[*exitError](err); !ok || coded.code != exitUsage {
		t.Errorf("got %v, want a mistake of the caller", err)
	}
	release()
	again, err := lockData(data)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// The in-process Redis is for this process alone.
//
// Attacks: 12.
func TestInProcessRedisAsksForAPassword(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	e := embedded(t, t.TempDir())
	if e.durable {
		t.Error("its state is said to outlive the process")
	}
	_, address, _ := strings.Cut(e.url, "@")
	if !answers(t.Context(), e.url) || answers(t.Context(), "redis://"+address) {
		t.Error("want it to answer those with its password only")
	}
	if host, port, ok := strings.Cut(address, ":"); !ok || host != "127.0.0.1" {
		t.Errorf("it listens on %s", address)
	} else if _, err := strconv.Atoi(port); err != nil {
		t.Errorf("port: %v", err)
	}
}

// A token is made once, is nobody else's to read, and isn't asked for where one
// is configured.
func TestEnsureToken(t *testing.T) {
	cfg := testConfig(t)
	if err := ensureToken(&cfg); err != nil || len(cfg.AdminToken) < 40 {
		t.Fatalf("got %q, %v", cfg.AdminToken, err)
	}
	info, err := os.Stat(filepath.Join(cfg.Data, tokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again := testConfig(t)
	again.Data = cfg.Data
	if err := ensureToken(&again); err != nil || again.AdminToken != cfg.AdminToken {
		t.Errorf("the next process has another token: %v", err)
	}
	if a, b := workerToken(cfg), workerToken(again); a != b || strings.Contains(a, cfg.AdminToken) {
		t.Error("the workers' token isn't derived as it should be")
	}
	own := testConfig(t)
	own.AdminToken = "configured"
	if err := ensureToken(&own); err != nil || own.AdminToken != "configured" {
		t.Errorf("got %q, %v", own.AdminToken, err)
	}
	if _, err := os.Stat(filepath.Join(own.Data, tokenFile)); err == nil {
		t.Error("a configured token was written to the data folder")
	}
}

func testConfig(t *testing.T) (cfg config.Config) {
	t.Helper()
	cfg.Data = t.TempDir()
	return cfg
}
