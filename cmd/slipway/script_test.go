package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-ci/slipway/internal/client"
	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"slipway": main})
}

// TestScripts runs the command line as its users do. Beside testscript's own
// commands, scripts have those below; their environment holds nothing of the
// machine's but PATH.
func TestScripts(t *testing.T) {
	testenv.Need(t, "git")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Setenv("SLIPWAY_DATA", filepath.Join(e.WorkDir, "data"))
			return os.MkdirAll(home, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "served": served, "noredis": noRedis, "freeport": freePort, "busyport": busyPort, "pushed": pushed, "ended": ended,
			"waits": waits, "pipelineof": pipelineOf, "held": held, "newest": newest, "appears": appears,
		},
	})
}

// noredis takes redis-server off PATH, and leaves all else there.
func noRedis(ts *testscript.TestScript, _ bool, _ []string) {
	bin := ts.MkAbs("bin")
	ts.Check(os.MkdirAll(bin, 0o755))
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // PATH may name what isn't there
		}
		for _, f := range entries {
			if f.Name() != "redis-server" {
				_ = os.Symlink(filepath.Join(dir, f.Name()), filepath.Join(bin, f.Name())) // the first one counts
			}
		}
	}
	ts.Setenv("PATH", bin)
}

// exits CODE COMMAND... runs a command that must end with the code. Its output
// is in the files out and err.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	// Exec tells nothing of the code but its words.
	have := 0
	if exit, ok := err.(*exec.ExitError); ok {
		have = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if have != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", have, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// served URL waits until a server answers there.
func served(ts *testscript.TestScript, _ bool, args []string) {
	waitFor(ts, "the server at "+args[0], func() bool {
		r, err := http.Get(args[0] + "/healthz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// appears FILE waits until there is one.
func appears(ts *testscript.TestScript, _ bool, args []string) {
	waitFor(ts, "the file "+args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

func waitFor(ts *testscript.TestScript, what string, so func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		if so() {
			return
		}
	}
	ts.Fatalf("waiting for %s took too long", what)
}

// freeport VAR sets the variable to a port that nobody listens on.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// busyport VAR sets the variable to a port that is taken until the script ends.
func busyPort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Setenv(args[0], port)
}

func api(ts *testscript.TestScript) *client.Client {
	c, err := client.New(ts.Getenv("SLIPWAY_SERVER"), ts.Getenv("SLIPWAY_TOKEN"))
	ts.Check(err)
	return c
}

// pushed DIR commits the folder and pushes it to the server's own git host. EXECUTION,
// BUILD and DELIVERY name what came of it once its build has begun.
func pushed(ts *testscript.TestScript, _ bool, args []string) {
	remote := strings.Replace(ts.Getenv("SLIPWAY_SERVER"), "://", "://slipway:"+ts.Getenv("SLIPWAY_TOKEN")+"@", 1) + "/git/octo/web.git"
	dir := ts.MkAbs(args[0])
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-q", "--allow-empty", "-m", "x")
	git("push", "-q", "-f", remote, "main")
	sha := git("rev-parse", "HEAD")
	c, ctx := api(ts), context.Background()
	waitFor(ts, "the build of "+sha, func() bool {
		page, err := c.Executions(ctx, pipeline.Query{SHA: sha, Limit: 1})
		if err != nil || len(page.Items) == 0 {
			return false
		}
		x, err := c.Execution(ctx, page.Items[0].ID)
		if err != nil || len(x.Stages) < 2 || x.Stages[1].Actions[0].Build == "" {
			return false
		}
		ts.Setenv("EXECUTION", x.ID)
		ts.Setenv("BUILD", x.Stages[1].Actions[0].Build)
		b, err := c.Build(ctx, ts.Getenv("BUILD"))
		return err == nil && b.Status != pipeline.BuildQueued
	})
	page, err := c.Deliveries(ctx, "local", 1, "")
	ts.Check(err)
	ts.Setenv("DELIVERY", page.Items[0].ID)
	ts.Setenv("SHA", sha)
}

// ended STATUS waits until EXECUTION has it.
func ended(ts *testscript.TestScript, _ bool, args []string) {
	c := api(ts)
	var last pipeline.Status
	waitFor(ts, "the end of "+ts.Getenv("EXECUTION"), func() bool {
		x, err := c.Execution(context.Background(), ts.Getenv("EXECUTION"))
		last = x.Status
		return err == nil && x.Status.Ended()
	})
	if string(last) != args[0] {
		ts.Fatalf("the execution is %s, want %s", last, args[0])
	}
}
