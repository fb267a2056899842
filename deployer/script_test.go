package deployer

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/testenv"
	"github.com/slipway-ci/slipway/pipeline"
)

// hook is a revision whose AfterInstall is one script, with more keys for it.
func hook(script, keys string) map[string]string {
	return map[string]string{
		"appspec.yml": header + "hooks:\n  AfterInstall:\n    - location: \"my dir/s.sh\"\n" + keys,
		"my dir/s.sh": script,
	}
}

func lastRun(r Result) Event { return r.Events[4] }

// In the wild: 40, 42.
func TestScriptRuns(t *testing.T) {
	tests := []struct{ name, script, keys, want string }{
		{"D105 name with a blank, no shebang", "echo plain\n", "", "plain\n"},
		{"shebang", "#!/bin/sh\necho $0 | grep -c archive\n", "", "1\n"},
		{"cwd is the archive", "cat 'my dir/s.sh' | head -n 1 | cut -c 1-3; test -f appspec.yml && echo here\n", "", "cat\nhere\n"},
		{"stdin is empty", "cat; echo end\n", "", "end\n"},
		{"AWS variables", "echo $APPLICATION_NAME $DEPLOYMENT_ID $DEPLOYMENT_GROUP_NAME $DEPLOYMENT_GROUP_ID $LIFECYCLE_EVENT\n", "", "app d-1 production app.production AfterInstall\n"},
		{"D67 more variables", "echo $BUNDLE_COMMIT $EXTRA\n", "", "abc more\n"},
		{"args and env", "echo \"$1|$2|$NAME\"\n", "      args: ['a b', c]\n      env: {NAME: value}\n", "a b|c|value\n"},
		{"nothing inherited", "echo \"[$SLIPWAY_TEST_INHERITED]\"\n", "", "[]\n"},
		{"last line without an end", "printf tail", "", "tail"},
		{"standard error", "echo err >&2\n", "", "err\n"},
	}
	t.Setenv("SLIPWAY_TEST_INHERITED", "x")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			b.ok("d-1", hook(tt.script, tt.keys), func(d *Deployment) {
				d.Commit, d.Variables = "abc", []pipeline.Variable{{Name: "EXTRA", Value: "more"}}
			})
			if !strings.HasSuffix(b.rep.output.String(), "Script - my dir/s.sh\n"+tt.want) {
				t.Errorf("got %q, want %q", b.rep.output.String(), tt.want)
			}
		})
	}
}

func TestScriptFails(t *testing.T) {
	long := "head -c 3000 /dev/zero | tr '\\0' x; exit 1"
	tests := []struct {
		name, script, keys string
		code               Code
		text               string
	}{
		{"exit code", "exit 3", "", CodeFailed, "exit code 3"},
		{"bash's syntax without a #! line", "echo a | read -d x\nexit 2\n", "", CodeFailed, "exit code 2; it has no #! line, so /bin/sh ran it"},
		{"signal", "kill -9 $$", "", CodeFailed, "signal 9"},
		{"D64 time limit", "sleep 60", "      timeout: 1\n", CodeTimedOut, "1 seconds"},
		{"D104 TERM is trapped", "trap '' TERM; sleep 60 & wait; sleep 60", "      timeout: 1\n", CodeTimedOut, "1 seconds"},
		{"D106 CRLF", "#!/bin/sh\r\necho x\r\n", "", CodeFailed, "carriage return"},
		{"D63 no interpreter", "#!/no/such/interpreter\n", "", CodeFailed, "no such file"},
		{"no such user", "exit 0", "      runas: nobody-of-that-name\n", CodeFailed, "nobody-of-that-name"},
		{"D66 run as", "exit 1", "      runas: " + me(t) + "\n", CodeFailed, "exit code 1 (run as user " + me(t) + ")"},
		{"D103 one long line", long, "", CodeFailed, "exit code 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			r, err := b.fails("d-1", tt.code.String(), hook(tt.script, tt.keys))
			e := lastRun(r)
			if e.Code != tt.code || !strings.Contains(err.Msg, tt.text) || e.Script != "my dir/s.sh" || err.Line != 5 {
				t.Errorf("got %+v, %+v", e, err)
			}
			if tt.script == long && len(e.Tail) != 3000 {
				t.Errorf("D103: the tail has %d bytes", len(e.Tail))
			}
		})
	}
}

func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// In the wild: 40.
func TestScriptMissing(t *testing.T) { // D61
	b := newBox(t)
	r, err := b.fails("d-1", "ScriptMissing", map[string]string{"appspec.yml": header + "hooks:\n  AfterInstall:\n    - location: none.sh\n"})
	if lastRun(r).Code != CodeMissing || !strings.Contains(err.Msg, "none.sh") {
		t.Errorf("got %+v, %v", lastRun(r), err)
	}
}

func TestFirstFailureEndsTheEvent(t *testing.T) {
	b := newBox(t)
	r, _ := b.fails("d-1", "ScriptFailed", map[string]string{
		"appspec.yml": header + "hooks:\n  AfterInstall:\n    - location: a\n    - location: b\n  ApplicationStart:\n    - location: b\n",
		"a":           "exit 1", "b": "echo second"})
	if strings.Contains(b.rep.output.String(), "second\n") || !strings.HasSuffix(statuses(r), "ApplicationStart Skipped, ValidateService Skipped") {
		t.Errorf("got %s\n%s", statuses(r), b.rep.output.String())
	}
}

func TestRunAs(t *testing.T) {
	testenv.Need(t, "root", "user:nobody")
	b := newBox(t)
	// The user must be able to enter every folder above the archive.
	for dir := b.d.root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.ok("d-1", hook("#!/bin/sh\nid -un; echo $USER\n", "      runas: nobody\n"))
	if !strings.HasSuffix(b.rep.output.String(), "nobody\nnobody\n") {
		t.Errorf("got %q", b.rep.output.String())
	}
}

// A private state folder, as root's own is, doesn't keep other users' scripts
// from running, nor from their neighbours in the revision.
func TestRunAsBelowAPrivateFolder(t *testing.T) {
	testenv.Need(t, "root", "user:nobody")
	b := newBox(t)
	if err := os.Chmod(b.d.root, 0o700); err != nil {
		t.Fatal(err)
	}
	shared, err := os.MkdirTemp("/tmp", "slipway-shared-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(shared)
	if err := os.Chmod(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	b.d.shared, b.d.maxRevisions = shared, 1
	revision := hook("#!/bin/sh\nid -un\ncat \"$(dirname \"$0\")/../appspec.yml\" >/dev/null && test -f appspec.yml && echo found\n", "      runas: nobody\n")
	for _, id := range []string{"d-1", "d-2", "d-3"} {
		b.ok(id, revision)
		if !strings.HasSuffix(b.rep.output.String(), "nobody\nfound\n") {
			t.Errorf("%s: got %q", id, b.rep.output.String())
		}
	}
	if kept, err := os.ReadDir(shared); err != nil || len(kept) > 2 {
		t.Errorf("%d revisions are left, %v", len(kept), err)
	}
	b.ok("d-4", hook("#!/bin/sh\nid -un\n", "      runas: root\n"))
	if info, err := os.Lstat(b.d.group("app.production").work("d-4").archive()); err != nil || !info.IsDir() {
		t.Errorf("root's revision is elsewhere: %v, %v", info, err)
	}
}

// In the wild: 41.
func TestOutputHeld(t *testing.T) { // D65
	b := newBox(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	r := b.ok("d-1", hook("( while :; do echo tick; sleep 0.05; done ) &\necho $! >"+pidFile+"\n", ""))
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-groupOf(pid), syscall.SIGKILL)
	var held Warning
	for _, w := range r.Warnings {
		if w.Code == "OUTPUT_HELD" {
			held = w
		}
	}
	if !strings.Contains(held.Message, strconv.Itoa(pid)) {
		t.Errorf("D65: got %+v, want process %d named", r.Warnings, pid)
	}
	// The next echo would kill it if nobody read its output any more.
	timer := time.NewTimer(300 * time.Millisecond)
	<-timer.C
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the background process died: %v", err)
	}
}

func groupOf(pid int) int {
	group, err := syscall.Getpgid(pid)
	if err != nil || group == syscall.Getpgrp() {
		return pid
	}
	return group
}

// In the wild: 41.
func TestTimeoutEndsTheWholeGroup(t *testing.T) {
	b := newBox(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	b.fails("d-1", "ScriptTimedOut", hook("sleep 60 &\necho $! >"+pidFile+"\nwait\n", "      timeout: 1\n"))
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(data)) + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the child lives on: %s", stat)
	}
}

func TestEventTimeLimit(t *testing.T) {
	b := newBox(t)
	b.d.eventTimeout = 200 * time.Millisecond
	r, err := b.fails("d-1", "ScriptTimedOut", hook("sleep 60", ""))
	if lastRun(r).Status != pipeline.DeploymentFailed || !strings.Contains(err.Msg, "a lifecycle event has 200ms for all of its scripts") {
		t.Errorf("got %+v", lastRun(r))
	}
}

func TestScriptLog(t *testing.T) {
	b := newBox(t)
	b.ok("d-1", hook("echo out; echo err >&2; printf 'no end'", ""))
	data, err := os.ReadFile(b.d.group("app.production").work("d-1").log())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LifecycleEvent - AfterInstall\n", "Script - my dir/s.sh\n", "[stdout]out\n", "[stderr]err\n", "[stdout]no end\n"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("scripts.log lacks %q:\n%s", want, data)
		}
	}
}

func TestCodeNames(t *testing.T) {
	var got []string
	for c := CodeSucceeded; c <= CodeUnknown; c++ {
		got = append(got, c.String())
	}
	if want := "[Success ScriptMissing ScriptNotExecutable ScriptTimedOut ScriptFailed UnknownError]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
