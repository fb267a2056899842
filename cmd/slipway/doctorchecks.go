package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/internal/config"
	"github.com/slipway-ci/slipway/pipeline"
	"github.com/slipway-ci/slipway/queue"
	"github.com/slipway-ci/slipway/runner/docker"
)

// doctor looks at one configuration on this machine.
type doctor struct {
	app     *app
	cfg     config.Config
	role    string
	secrets error // of reading files that hold secrets
}

// checks are all there are, in the order in which they are printed.
func (d *doctor) checks() []check {
	serving, building := []string{"up", "server"}, []string{"up", "runner"}
	return []check{
		{"configuration", roles, d.configuration},
		{"data", roles, d.data},
		{"git", []string{"up", "server", "runner"}, d.git},
		{"redis", serving, d.redis},
		{"blobs", serving, d.blobs},
		{"github", serving, d.github},
		{"bitbucket", serving, d.bitbucket},
		{"listen", serving, d.listen},
		{"docker", building, d.docker},
		{"server", []string{"runner", "agent"}, d.server},
	}
}

func (d *doctor) configuration(context.Context) []finding {
	if err := errors.Join(d.cfg.Check(), d.secrets); err != nil {
		return []finding{failed("mend these keys; docs/configuration.md has them all", usage(err))}
	}
	return []finding{fine("every key is known and every value is good")}
}

const (
	leastFree = 1 << 30 // bytes; below it new work is about to fail
	lowFree   = 5 << 30
)

// data checks the data folder, or the folder that it will be made in.
func (d *doctor) data(context.Context) []finding {
	dir := d.cfg.Data
	there, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		there, err = os.Stat(dir)
	}
	if err == nil && !there.IsDir() {
		err = fmt.Errorf("%s is no folder", dir)
	}
	const writeAndSearch = 2 | 1
	if err == nil {
		err = syscall.Access(dir, writeAndSearch)
	}
	if err != nil {
		return []finding{failed("give the folder to the user that Slipway runs as, or set data (SLIPWAY_DATA)", fmt.Errorf("the data folder %s can't be written to: %w", d.cfg.Data, err))}
	}
	var out []finding
	if st, ok := there.Sys().(*syscall.Stat_t); ok && dir == d.cfg.Data && int(st.Uid) != os.Geteuid() {
		out = append(out, doubt("run doctor, and Slipway, as that user", "the data folder %s belongs to user %d, and this is user %d", dir, st.Uid, os.Geteuid()))
	}
	free, err := freeBytes(dir)
	if err != nil {
		return append(out, failed("look at the disk", fmt.Errorf("asking for free space of %s: %w", dir, err)))
	}
	state := fmt.Sprintf("%s, %.1f GiB free, %s", d.cfg.Data, float64(free)/(1<<30), inUse(filepath.Join(d.cfg.Data, "lock")))
	switch {
	case free < leastFree:
		return append(out, failed("make room: see docs/how-to/storage.md", errors.New(state)))
	case free < lowFree:
		return append(out, doubt("make room: see docs/how-to/storage.md", "%s", state))
	}
	return append(out, fine("%s", state))
}

// freeBytes is what this user may still write to the disk of a folder.
func freeBytes(dir string) (uint64, error) {
	var disk syscall.Statfs_t
	err := syscall.Statfs(dir, &disk)
	return uint64(disk.Bavail) * uint64(disk.Bsize), err
}

// inUse says who has the lock of a data folder. It makes no file.
func inUse(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "not in use"
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		return "not in use"
	}
	if pid := lockHolder(f); pid != "" {
		return "in use by the slipway with process ID " + pid
	}
	return "in use by another slipway"
}

// lockHolder is the ID of the process that has the lock, where the kernel says
// so.
func lockHolder(f *os.File) string {
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	locks, err := os.Open("/proc/locks")
	if err != nil || !ok {
		return ""
	}
	defer locks.Close()
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 708 08:01:1234 0 EOF
		fields := strings.Fields(lines.Text())
		if len(fields) > 5 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], ":"+strconv.FormatUint(st.Ino, 10)) && fields[4] != "0" {
			return fields[4]
		}
	}
	return ""
}

func (d *doctor) git(ctx context.Context) []finding {
	cmd := exec.CommandContext(ctx, "git", "version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return []finding{failed("install git 2.30 or newer, on PATH", fmt.Errorf("running git: %w", err))}
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major < 2 || major == 2 && minor < 30 {
		return []finding{doubt("install git 2.30 or newer", "git is %s, older than what Slipway is tested with", version)}
	}
	return []finding{fine("git %s", version)}
}

func (d *doctor) redis(ctx context.Context) []finding {
	if d.cfg.Redis.URL == "" {
		program, err := exec.LookPath("redis-server")
		if err != nil {
			return []finding{doubt("install redis-server, or set redis.url", "redis.url isn't set and there is no redis-server on PATH: the state is gone when Slipway ends")}
		}
		return []finding{fine("redis.url isn't set: %s is started in the data folder, with every write on disk", program)}
	}
	rdb, err := queue.Open(d.cfg.Redis.URL)
	if err != nil {
		return []finding{failed("set redis.url to redis://, rediss:// or unix://", usage(fmt.Errorf("redis.url: %w", err)))}
	}
	defer rdb.Close()
	inbox := queue.NewInbox(rdb, queue.InboxOptions{}, slog.New(slog.DiscardHandler))
	had, err := inbox.Durability(ctx)
	if err != nil {
		return []finding{failed("start Redis, or mend redis.url: address, password, TLS, firewall", err)}
	}
	var out []finding
	for _, w := range had.Warnings {
		out = append(out, doubt("see docs/how-to/run.md, Server and runners apart", "%s", w))
	}
	if at, err := rdb.Time(ctx).Result(); err == nil {
		out = append(out, clock("Redis", at)...)
	}
	const lost = "an acknowledged webhook may be lost when Redis dies"
	switch {
	case had.Mode == queue.NotDurable && d.cfg.Redis.Durability != "relaxed":
		return append(out, failed("in Redis set appendonly yes and appendfsync always; or accept it with redis.durability: relaxed", errors.New(lost)))
	case had.Mode == queue.NotDurable:
		return append(out, doubt("in Redis set appendonly yes and appendfsync always", "%s, which redis.durability: relaxed accepts", lost))
	}
	return append(out, fine("Redis %s answers; writes are durable (%s)", orDefault(had.Version, "of unknown version"), had.Mode))
}

// clockSkew is how far clocks may be apart. GitHub refuses an App whose clock
// is a minute ahead.
const clockSkew = 30 * time.Second

// clock compares this machine's clock with somebody's.
func clock(whose string, at time.Time) []finding {
	if off := time.Since(at).Round(time.Second); off.Abs() > clockSkew {
		return []finding{doubt("set the clock by NTP, here and there", "this machine's clock is %s ahead of that of %s", off, whose)}
	}
	return nil
}

// blobs opens the blob store, which tries the encryption keys, and writes to
// it. A folder that the first start will make isn't made.
func (d *doctor) blobs(ctx context.Context) []finding {
	folder := filepath.Join(d.cfg.Data, "blobs")
	if _, err := os.Stat(folder); d.cfg.BlobURL == "" && err != nil {
		if _, err := d.cfg.EncryptionKeys(); err != nil {
			return []finding{failed("make a key: openssl rand -base64 32", usage(err))}
		}
		return []finding{fine("%s, which the first start makes", folder)}
	}
	bucket, err := openBucket(ctx, d.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return []finding{failed("mend blob_url, the store's credentials or the encryption key", err)}
	}
	defer bucket.Close()
	if err := bucket.Check(ctx); err != nil {
		return []finding{failed("see to it that the store can be written to, read and deleted from", fmt.Errorf("trying the blob store: %w", err))}
	}
	if d.cfg.EncryptionKey == "" && d.cfg.EncryptionKMS == "" {
		return []finding{fine("a probe was written, read and deleted; not encrypted by Slipway")}
	}
	return []finding{fine("a probe was written, read and deleted, encrypted")}
}

// listen checks the address and whether anybody could sign in there.
func (d *doctor) listen(ctx context.Context) []finding {
	if err := d.cfg.CheckExposure(); err != nil {
		return []finding{failed("set admin_token (SLIPWAY_ADMIN_TOKEN) or oauth, or listen on 127.0.0.1", usage(err))}
	}
	var out []finding
	if n := len(d.cfg.AdminToken); n > 0 && n < 16 {
		out = append(out, doubt("use openssl rand -hex 32", "admin_token has %d characters only: whoever guesses it has every right", n))
	}
	l, err := net.Listen("tcp", d.cfg.Listen)
	if err == nil {
		l.Close()
		return append(out, fine("%s is free", d.cfg.Listen))
	}
	_, answered := dateOf(ctx, http.DefaultClient, "http://"+d.cfg.Listen+"/healthz")
	if errors.Is(err, syscall.EADDRINUSE) && answered == nil {
		return append(out, fine("%s: a server runs there", d.cfg.Listen))
	}
	return append(out, failed("end the program that has the address, or set listen", usage(fmt.Errorf("listening on %s: %w", d.cfg.Listen, err))))
}

func (d *doctor) docker(ctx context.Context) []finding {
	if d.cfg.Engine == "host" {
		return []finding{doubt("set engine: docker", "builds run on this host, which isolates nothing")}
	}
	image := resolveImage(d.cfg.Images, d.cfg.Image)
	e, err := docker.Inspect(ctx, d.app.getenv("DOCKER_HOST"), image)
	if err != nil && d.cfg.Engine == "auto" {
		return []finding{doubt("start Docker", "builds run on this host, which isolates nothing: %v", err)}
	}
	if err != nil {
		return []finding{failed("start Docker, and let this user use it: group docker, or DOCKER_HOST", err)}
	}
	out := []finding{fine("Docker %s (API %s, %s), %d CPUs, %.1f GiB", e.Version, e.API, e.Storage, e.CPUs, float64(e.MemoryBytes)/(1<<30))}
	if image != "" && !e.Image {
		out = append(out, doubt("docker pull "+image, "the image of builds, %s, isn't here: the first build pulls it", image))
	}
	if e.Rules != nil {
		out = append(out, doubt("run as root or with CAP_NET_ADMIN, which adds the rules at the start; see docs/how-to/security.md",
			"builds may reach this host's addresses: %s", oneLine(e.Rules)))
	}
	return out
}

// server asks the server whether it knows this runner or agent.
func (d *doctor) server(ctx context.Context) []finding {
	base, token, agent, err := d.credentials()
	if err != nil {
		return []finding{failed("set SLIPWAY_SERVER and SLIPWAY_TOKEN", usage(err))}
	}
	at, err := dateOf(ctx, http.DefaultClient, strings.TrimRight(base, "/")+"/healthz")
	if err != nil {
		return []finding{failed("mend server (SLIPWAY_SERVER), or see why it can't be reached from here: name, firewall, certificate", err)}
	}
	out := clock("the server", at)
	if d.role == "agent" && agent == nil {
		return append(out, fine("%s answers; the agent registers at its first start", base))
	}
	api, err := client.New(base, token)
	if err != nil {
		return append(out, failed("set SLIPWAY_SERVER", usage(err)))
	}
	if agent != nil {
		api = agent(api)
	}
	// Nobody has this job: a token that is good is told so.
	_, err = api.Renew(ctx, pipeline.JobRef{ID: "doctor", Class: "doctor", Token: 1})
	refused, ok := errors.AsType[*client.Error](err)
	switch {
	case ok && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden):
		return append(out, failed("use the server's runner_token; for an agent see slipway agents token", usage(fmt.Errorf("the server refuses the token: %w", err))))
	case ok && refused.Status >= http.StatusInternalServerError:
		return append(out, failed("run slipway doctor on the server", err))
	case err != nil && !ok && !errors.Is(err, pipeline.ErrStale) && !errors.Is(err, pipeline.ErrNotFound):
		return append(out, failed("see why the server can't be reached from here", err))
	}
	return append(out, fine("%s answers and knows the token", base))
}
