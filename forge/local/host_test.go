package local

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/forge"
	"github.com/slipway-ci/slipway/internal/testenv"
)

const testToken = "a-token-for-everything"

// world is a host with a server, a running Run and one repository o/r, and a
// clone of it to work in.
type world struct {
	*Host
	url    string
	events chan forge.Event
	work   string
}

func newWorld(t *testing.T) world {
	t.Helper()
	testenv.Need(t, "git")
	return openWorld(t, t.TempDir())
}

func openWorld(t *testing.T, dir string) world {
	t.Helper()
	w := world{events: make(chan forge.Event, 100)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.ServeHTTP(rw, r) }))
	w.url = "http://" + server.Listener.Addr().String()
	host, err := New(Options{
		Dir: dir, URL: w.url, Tokens: []string{testToken},
		Deliver: func(_ context.Context, e forge.Event) error { w.events <- e; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Host = host
	server.Start()
	t.Cleanup(server.Close)
	start(t, host)
	if _, err := host.Create(t.Context(), "o", "r"); err != nil {
		t.Fatal(err)
	}
	w.work = t.TempDir()
	w.do(t, "init", "-q", "-b", "trunk")
	w.do(t, "remote", "add", "origin", w.remote(testToken, "o/r"))
	return w
}

// start runs Run until the test ends or stop is called.
func start(t *testing.T, h *Host) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func (w world) remote(token, repo string) string {
	return strings.Replace(w.url, "http://", "http://octo:"+token+"@", 1) + "/git/" + repo + ".git"
}

// try runs git in the work tree.
func (w world) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = w.work
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=Octo", "GIT_AUTHOR_EMAIL=o@example.com", "GIT_COMMITTER_NAME=Octo", "GIT_COMMITTER_EMAIL=o@example.com")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (w world) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.try(args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (w world) commit(t *testing.T, message string) string {
	t.Helper()
	w.do(t, "commit", "-q", "--allow-empty", "-m", message)
	return w.do(t, "rev-parse", "HEAD")
}

func next(t *testing.T, events <-chan forge.Event) forge.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
		return forge.Event{}
	}
}

func TestPushIsAnEvent(t *testing.T) {
	w := newWorld(t)
	first := w.commit(t, "first\n\nmore")
	w.do(t, "push", "-q", "origin", "trunk")
	e := next(t, w.events)
	zeros := strings.Repeat("0", 40)
	if e.Kind != forge.Push || e.Forge != "local" || e.Repo.FullName() != "o/r" || e.Repo.ID == "" || e.Sender.Login != "octo" {
		t.Errorf("event: %+v", e)
	}
	if p := e.Push; p.Ref != "refs/heads/trunk" || p.Before != zeros || p.After != first || !p.Created || p.Forced || p.Message != "first\n\nmore" {
		t.Errorf("push: %+v", p)
	}
	if e.Repo.DefaultBranch != "trunk" {
		t.Errorf("default branch: got %q, want the first one pushed", e.Repo.DefaultBranch)
	}
	if e.Repo.CloneURL != w.url+"/git/o/r.git" {
		t.Errorf("clone URL: %q", e.Repo.CloneURL)
	}

	second := w.commit(t, "second")
	w.do(t, "push", "-q", "origin", "trunk")
	if p := next(t, w.events).Push; p.Before != first || p.After != second || p.Created || p.Forced {
		t.Errorf("update: %+v", p)
	}

	w.do(t, "reset", "-q", "--hard", first)
	other := w.commit(t, "other")
	w.do(t, "push", "-q", "--force", "origin", "trunk")
	if p := next(t, w.events).Push; p.Before != second || p.After != other || !p.Forced {
		t.Errorf("forced: %+v", p)
	}

	w.do(t, "tag", "-a", "-m", "one", "v1")
	w.do(t, "push", "-q", "origin", "v1", "trunk:refs/heads/side")
	if p := next(t, w.events).Push; p.Ref != "refs/heads/side" || p.After != other {
		t.Errorf("side: %+v", p)
	}
	if p := next(t, w.events).Push; p.Ref != "refs/tags/v1" || p.After != other || !p.Created {
		t.Errorf("tag: %+v", p)
	}

	w.do(t, "push", "-q", "origin", ":side")
	if p := next(t, w.events).Push; !p.Deleted || p.After != zeros || p.Before != other || p.Message != "" {
		t.Errorf("deleted: %+v", p)
	}
	refs, err := w.Refs(t.Context(), "o", "r")
	if err != nil || refs["refs/heads/trunk"] != other || len(refs) != 2 {
		t.Errorf("refs: %v, %v", refs, err)
	}
}

func TestC14ManyTags(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "x")
	for _, tag := range []string{"a", "b", "c", "d"} {
		w.do(t, "tag", tag)
	}
	w.do(t, "push", "-q", "--tags", "origin", "trunk")
	if e := next(t, w.events); e.Push.Ref != "refs/heads/trunk" {
		t.Errorf("got %s", e.Push.Ref)
	}
	w.do(t, "push", "-q", "origin", "trunk:refs/heads/last")
	if e := next(t, w.events); e.Push.Ref != "refs/heads/last" {
		t.Errorf("four tags at once made an event: %s", e.Push.Ref)
	}
}

func TestLargePush(t *testing.T) {
	w := newWorld(t)
	noise := make([]byte, 3<<20) // git sends more than 1 MiB in chunks
	rand.Read(noise)
	if err := os.WriteFile(filepath.Join(w.work, "noise"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	w.do(t, "add", "noise")
	sha := w.commit(t, "noise")
	w.do(t, "push", "-q", "origin", "trunk")
	if e := next(t, w.events); e.Push.After != sha {
		t.Errorf("got %s, want %s", e.Push.After, sha)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	w.do(t, "clone", "-q", w.remote(testToken, "o/r"), clone)
	if got, err := os.ReadFile(filepath.Join(clone, "noise")); err != nil || string(got) != string(noise) {
		t.Errorf("the clone differs: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(w.o.Dir, "spool"))
	if err != nil || len(left) != 0 {
		t.Errorf("left in spool: %v, %v", left, err)
	}
}

// Attacks: 32.
func TestPushLimit(t *testing.T) {
	w := newWorld(t)
	w.o.PushLimitBytes = 100
	w.commit(t, "x")
	if out, err := w.try("push", "-q", "origin", "trunk"); err == nil || !strings.Contains(out, "413") {
		t.Errorf("got %v: %s", err, out)
	}
}

// What a body becomes counts, not what was sent: a few bytes of gzip can stand
// for gigabytes.
//
// Attacks: 32.
func TestCompressedBodiesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.o.PushLimitBytes = 1 << 20
	zipped := func(text string) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return out.Bytes()
	}
	bomb, flush := zipped(strings.Repeat("0", 8<<20)), zipped("0000")
	tests := []struct {
		name, service, encoding string
		body                    []byte
		want                    int
	}{
		{"a push that grows", "git-receive-pack", "gzip", bomb, 413},
		{"a fetch that grows", "git-upload-pack", "x-gzip", bomb, 413},
		{"a bomb in a bomb", "git-upload-pack", "gzip, gzip", zipped(string(bomb)), 415},
		{"another encoding", "git-receive-pack", "br", bomb, 415},
		{"what is no gzip", "git-upload-pack", "gzip", []byte("0000"), 400},
		{"what git sends", "git-upload-pack", "gzip", flush, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/git/o/r.git/"+tt.service, bytes.NewReader(tt.body))
			r.SetBasicAuth("x", testToken)
			r.Header.Set("Content-Encoding", tt.encoding)
			r.Header.Set("Content-Type", "application/x-"+tt.service+"-request")
			answer := httptest.NewRecorder()
			w.ServeHTTP(answer, r)
			if answer.Code != tt.want {
				t.Errorf("got %d %s, want %d", answer.Code, answer.Body, tt.want)
			}
		})
	}
	left, err := os.ReadDir(filepath.Join(w.o.Dir, "spool"))
	if err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// A disk that takes nothing isn't the client's fault, and git can tell.
func TestFullDisk(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t)
	w.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	if err := os.RemoveAll(filepath.Join(w.o.Dir, "spool")); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/git/o/r.git/git-receive-pack", strings.NewReader("0000"))
	r.SetBasicAuth("x", testToken)
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	if answer.Code != http.StatusInsufficientStorage || !strings.Contains(log.String(), "what git sends can't be kept") {
		t.Errorf("got %d %s, logged %s", answer.Code, answer.Body, &log)
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "x")
	w.do(t, "push", "-q", "origin", "trunk")
	if _, err := w.Create(t.Context(), "o", "secret"); err != nil {
		t.Fatal(err)
	}
	read := w.ReadToken("o", "r", time.Hour)
	tests := []struct {
		name, token, repo string
		push, ok          bool
	}{
		{"read", read, "o/r", false, true},
		{"read may not push", read, "o/r", true, false},
		{"read is for one repository", read, "o/secret", false, false},
		{"expired", w.ReadToken("o", "r", -time.Second), "o/r", false, false},
		{"wrong", "wrong", "o/r", false, false},
		{"empty", "", "o/r", false, false},
		{"full token", testToken, "o/r", true, true},
		{"no such repository", testToken, "o/none", false, false},
	}
	for _, tt := range tests {
		args := []string{"ls-remote", w.remote(tt.token, tt.repo)}
		if tt.push {
			args = []string{"push", "-q", w.remote(tt.token, tt.repo), "trunk:refs/heads/" + strings.ReplaceAll(tt.name, " ", "-")}
		}
		if out, err := w.try(args...); (err == nil) != tt.ok {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
	}
	// Tampering with the time breaks the signature.
	forged := w.ReadToken("o", "r", -time.Hour)
	later := w.ReadToken("o", "r", time.Hour)
	mixed := later[:len(readPrefix)+10] + forged[len(readPrefix)+10:]
	if w.mayRead(mixed, service{owner: "o", name: "r"}) {
		t.Error("a forged token reads")
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/git/o/r.git/info/refs?service=git-upload-pack", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("Bearer: %s", resp.Status)
	}
}

// Attacks: 26.
func TestNamesAndPaths(t *testing.T) {
	w := newWorld(t)
	for _, name := range [][2]string{{"..", "r"}, {"o", ".."}, {"o", "a/b"}, {"o", ""}, {"o", "r.git"}, {"o.git", "r"}, {".o", "r"}, {"-o", "r"}, {"o", "a b"}} {
		if _, err := w.Create(t.Context(), name[0], name[1]); err == nil {
			t.Errorf("created %q", name)
		}
	}
	for _, path := range []string{
		"/git/o/r.git/config", "/git/o/r.git/HEAD", "/git/o/r.git/objects/info/packs", "/git/o/r.git/info/refs", "/git/o/../../key",
		"/git/o/r.git/info/refs?service=git-upload-archive", "/git/..%2f..%2fkey", "/git/o/r.git/..%2f..%2fr.git/info/refs?service=git-upload-pack",
		"/git/o/r.git/../r.git/info/refs?service=git-upload-pack",
	} {
		req := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		req.SetBasicAuth("x", testToken)
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, req)
		if answer.Code != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, answer.Code)
		}
	}
}

// Whoever pushes is told where to look, once.
func TestPushPrintsWhereToLook(t *testing.T) {
	testenv.Need(t, "git")
	w := openWorld(t, t.TempDir())
	w.commit(t, "first")
	for _, args := range [][]string{{"push", "origin", "trunk"}, {"push", "origin", "trunk:refs/heads/a", "trunk:refs/heads/b"}, {"push", "origin", ":a"}} {
		out := w.do(t, args...)
		if want := "remote: Slipway: " + w.url + "/repos/local/o/r"; strings.Count(out, want) != 1 {
			t.Errorf("git %s: got %s, want once %s", strings.Join(args, " "), out, want)
		}
	}
}

func TestMissedPushIsRecovered(t *testing.T) {
	testenv.Need(t, "git")
	dir := t.TempDir()
	w := openWorld(t, dir)
	first := w.commit(t, "first")
	w.do(t, "push", "-q", "origin", "trunk")
	next(t, w.events)
	// A process that died between git's work and the record leaves moved refs.
	second := w.commit(t, "second")
	w.do(t, "push", "-q", w.repoDir("o", "r"), "trunk")

	again := openWorld(t, dir)
	if p := next(t, again.events).Push; p.Before != first || p.After != second {
		t.Errorf("got %+v", p)
	}
	third := openWorld(t, dir)
	third.commit(t, "another")
	third.do(t, "push", "-q", "origin", "trunk:refs/heads/other")
	if p := next(t, third.events).Push; p.Ref != "refs/heads/other" || len(again.events) != 0 {
		t.Errorf("one push made two events: %+v", p)
	}
}

func TestEventIsKeptUntilDelivered(t *testing.T) {
	testenv.Need(t, "git")
	dir := t.TempDir()
	refuse := errors.New("queue is down")
	tried := make(chan string, 100)
	h, err := New(Options{Dir: dir, Deliver: func(_ context.Context, e forge.Event) error { tried <- e.Delivery; return refuse }})
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, h)
	if _, err := h.Create(t.Context(), "o", "r"); err != nil {
		t.Fatal(err)
	}
	w := world{Host: h, work: t.TempDir()}
	w.do(t, "init", "-q", "-b", "main")
	var want []string
	for _, message := range []string{"one", "two"} {
		want = append(want, w.commit(t, message))
		w.do(t, "push", "-q", h.repoDir("o", "r"), "main")
		unlock := h.lock("o", "r")
		if err := h.record(t.Context(), "o", "r", pusher{}); err != nil {
			t.Fatal(err)
		}
		unlock()
	}
	id := <-tried
	if again := <-tried; again != id {
		t.Errorf("tried again as %s, want %s", again, id)
	}
	stop()

	events := make(chan forge.Event, 100)
	h, err = New(Options{Dir: dir, Deliver: func(_ context.Context, e forge.Event) error { events <- e; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	start(t, h)
	a, b := next(t, events), next(t, events)
	if a.Push.After != want[0] || b.Push.After != want[1] || a.Delivery != id || b.Delivery == id {
		t.Errorf("got %s %s, then %s %s", a.Delivery, a.Push.After, b.Delivery, b.Push.After)
	}
}

func TestPushIsAcknowledgedOnceRecorded(t *testing.T) {
	w := newWorld(t)
	sha := w.commit(t, "x")
	file := w.stateFile("o", "r")
	if err := errors.Join(os.Rename(file, file+".kept"), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out, err := w.try("push", "-q", "origin", "trunk"); err == nil {
		t.Errorf("acknowledged, but not recorded: %s", out)
	}
	if err := errors.Join(os.Remove(file), os.Rename(file+".kept", file)); err != nil {
		t.Fatal(err)
	}
	if err := w.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := next(t, w.events).Push; p.After != sha || !p.Created {
		t.Errorf("got %+v", p)
	}
}

// Attacks: 14.
func TestHooksDoNotRun(t *testing.T) {
	w := newWorld(t)
	hooks := filepath.Join(w.repoDir("o", "r"), "hooks")
	trace := filepath.Join(t.TempDir(), "trace")
	if err := os.MkdirAll(hooks, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, hook := range []string{"pre-receive", "update", "post-receive", "post-update"} {
		if err := os.WriteFile(filepath.Join(hooks, hook), []byte("#!/bin/sh\ntouch "+trace+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.commit(t, "x")
	w.do(t, "push", "-q", "origin", "trunk")
	next(t, w.events)
	if _, err := os.Stat(trace); err == nil {
		t.Error("a hook ran")
	}
}

func TestConcurrentPushes(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "x")
	const pushes = 6
	failed := make(chan string, pushes)
	for i := range pushes {
		go func() {
			out, err := w.try("push", "-q", "origin", "trunk:refs/heads/b"+string(rune('0'+i)))
			if err != nil {
				failed <- out
				return
			}
			failed <- ""
		}()
	}
	seen := map[string]bool{}
	for range pushes {
		if out := <-failed; out != "" {
			t.Errorf("push: %s", out)
		}
		seen[next(t, w.events).Delivery] = true
	}
	if len(seen) != pushes {
		t.Errorf("%d deliveries, want %d", len(seen), pushes)
	}
}

func TestRepos(t *testing.T) {
	w := newWorld(t)
	again, err := w.Create(t.Context(), "o", "r")
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.Repos(t.Context())
	if err != nil || len(list) != 1 || list[0] != again {
		t.Errorf("got %+v, %v, want %+v", list, err, again)
	}
	if _, err := w.Repo(t.Context(), "o", "none"); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func FuzzServiceOf(f *testing.F) {
	f.Add("GET", "/git/o/r.git/info/refs?service=git-upload-pack")
	f.Add("POST", "/git/o/r.git/git-receive-pack")
	f.Add("GET", "/git/o/..%2f.git/x.git/info/refs?service=git-upload-pack")
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		s, ok := serviceOf(&http.Request{Method: method, URL: u})
		if !ok {
			return
		}
		want := "/git/" + s.owner + "/" + s.name + ".git/"
		if checkName(s.owner, s.name) != nil || !strings.HasPrefix(u.Path, want) || strings.Contains(u.Path, "..") && !strings.Contains(s.owner+s.name, "..") {
			t.Errorf("%s %s is %+v", method, target, s)
		}
	})
}
