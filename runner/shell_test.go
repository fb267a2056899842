package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/testenv"
)

// testShells are the shells that images have, as the driver is started with
// them.
var testShells = []struct {
	name    string
	command []string
}{
	{"bash", []string{"bash"}},
	{"dash", []string{"dash"}},
	{"busybox", []string{"busybox", "sh"}},
}

// localDriver is a driver on this host.
type localDriver struct {
	io.Writer
	io.Reader
}

// session is a shell with its driver in folders of the test.
type session struct {
	shell
	driver *driver
	beats  int
}

func newSession(t *testing.T, command []string) *session {
	t.Helper()
	testenv.Need(t, command[0])
	work, source, bin := t.TempDir(), t.TempDir(), t.TempDir()
	for name, text := range map[string]string{DriverName: driverScript, beatName: "0\n"} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), driverMode); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath(command[0])
	if err == nil {
		err = os.Symlink(program, filepath.Join(bin, "sh"))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command[0], append(command[1:], filepath.Join(work, DriverName))...)
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=" + source}
	cmd.Dir = work
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	t.Cleanup(func() {
		kill()
		_ = cmd.Wait() // killed, which is an error
	})
	root, err := os.OpenRoot(work)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	s := &session{driver: &driver{proc: localDriver{in, out}}}
	s.shell = shell{folder: root, work: work, source: source, kind: filepath.Join(bin, "sh"), grace: time.Second, kill: kill, next: 1}
	if command[0] == "busybox" {
		s.kind = "sh"
	}
	return s
}

// outcomeOf is what can be seen of a batch: the output of each command, which
// one failed and how, and the state that is left.
type outcomeOf struct {
	Output       []string
	Failed, Exit int
	State        string
}

// play runs commands from the first state on, in an empty source folder.
func (s *session) play(t *testing.T, commands []string) outcomeOf {
	t.Helper()
	if err := os.RemoveAll(s.source); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.source, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.beat(t)
	s.next, s.state = 1, "0"
	for n := range 40 {
		_ = s.folder.RemoveAll(fmt.Sprint(n))
	}
	for n := range 40 {
		_ = s.folder.Remove(fmt.Sprint(n) + ".list")
	}
	env := fmt.Sprintf("export PATH=%s/bin:/usr/bin:/bin\nexport V=first\nOLDPWD=%s\n_sw_cwd=%s\n", s.source, s.source, s.source)
	if err := s.put(0, "env.sh", env); err != nil {
		t.Fatal(err)
	}
	o := outcomeOf{}
	r := s.batch(t, commands, func(int) { o.Output = append(o.Output, "") }, func(p []byte) error {
		o.Output[len(o.Output)-1] += string(p)
		return nil
	})
	o.Failed, o.Exit = r.failed, r.exit
	s.batch(t, []string{"export -p; pwd; echo \"$OLDPWD\"\n"}, nil, func(p []byte) error {
		o.State += string(p)
		return nil
	})
	o.State = s.neutral(o.State)
	for i := range o.Output {
		o.Output[i] = s.neutral(o.Output[i])
	}
	return o
}

// beat keeps the driver alive.
func (s *session) beat(t *testing.T) {
	t.Helper()
	s.beats++
	if err := os.WriteFile(filepath.Join(s.work, beatName), fmt.Appendln(nil, s.beats), driverMode); err != nil {
		t.Fatal(err)
	}
}

func (s *session) batch(t *testing.T, commands []string, begin func(int), out func([]byte) error) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := s.run(ctx, s.driver, batch{commands: commands, force: "export FORCED=1", begin: begin, out: out})
	if err != nil {
		t.Fatalf("running %q: %v", commands, err)
	}
	return r
}

// placeOf is how a shell begins a message: one that is shared adds its own
// script's name, and the line end of a command of its own counts as a line.
var placeOf = regexp.MustCompile(`(?:<work>/\d+/(?:group|(?:\d+-)?script)\.sh: )+((?:cd: )?)(?:line )?\d+(?:: <work>/\d+/(?:\d+-)?script\.sh)?|<work>/driver.sh: line .*Killed .*`)

func (s *session) neutral(text string) string {
	text = strings.NewReplacer(s.work, "<work>", s.source, "<src>").Replace(text)
	return placeOf.ReplaceAllString(text, "<place> $1")
}

// snippets are commands whose meaning might depend on the shell that they
// share, and ordinary ones between them.
var snippets = []string{
	"echo $V", "V=x$V", "export V", "V=", "W=1 X='a  b'", "echo \"$W$X\" $W$X", "export Y=$V Z", "echo $Y$Z", "V=once env | sort | grep ^V=",
	"cd bin", "cd ..", "cd -", "pwd", "mkdir -p d e", "cd d", "cd ../e", "rmdir ../d", "rm -rf d e", "mv d f", "cd /", "cd nosuch", "PWD=/x", "OLDPWD=/usr", "export OLDPWD=/usr", "cd ~-",
	"true", "false", "false || echo no", "true && false", "sh -c 'exit 7'", "nosuch", "/", "sh -c 'kill -9 $PPID'", "echo a | cat | sort",
	"echo 'echo one' >bin/tool; chmod +x bin/tool", "tool", "rm -f bin/tool", "PATH=/usr/bin:/bin", "export PATH=$PATH:/opt", "PATH=", "HOME=/root", "cd",
	"FORCED=0", "export FORCED=0", "echo $FORCED", "IFS=,", "export IFS=0", "A=a,b0c", "echo $A", "echo $? $#", "echo $0", "echo $-", "echo $_", "echo $SECONDS; SECONDS=100",
	"UID=5", "UID=5; echo on", "export UID=5", "PPID=3", "export \"-n\" V", "export -n V", "export UID", "export 1x=2", "export V=1 1x=2", "printf '%s\\n' a", "printf \"-v\" V b", "printf -v V b", "echo ${V:=new}",
	"set -e", "set -f", "set -u", "unset V", "unset HOME PATH", "readonly R=1", "R=2", "alias echo=false", "umask 077", "trap 'echo bye' EXIT", "exit 0", "exit 3", "return 0", "return 4", "exec echo replaced", "eval V=evaluated",
	"f() { echo f; }", "f", "arr=1", "POSIXLY_CORRECT=1", "LC_ALL=C", "ENV=/x", "cat", "read V", "echo x | read V", "test $V = x", "test -n \"$V\"", "sleep 0 &", "wait", "echo *", "touch 'a b'", "ls", "echo \"unclosed", "echo a;", "if true; then echo yes; fi",
	"CDPATH=/usr", "cd lib", "TMOUT=1", "echo 'it'\"'\"'s'", "export V='a\"b$c`d'", "sort </dev/null", "(cd bin; V=sub); echo $V", "V=$(echo sub)", "true; V=last", "hash", "type tool", "times >/dev/null", "ulimit -n 100", "echo done >&2", "echo ${V} ${V:-none} ${#V} ${V#x} ${W+set}", "echo ${V:?gone}", "echo $(echo $V; false) `echo old`", "V=$(exit 3)", "V=$(cd bin; pwd)", "cd $(echo bin)", "(cd bin && export V=in && echo $V)", "(exit 4)", "(trap)", "(trap 'echo sub' EXIT)", "echo $(trap)", "{ V=block; cd bin; }", "if [ -d bin ]; then cd bin; V=then; else V=else; fi", "if nosuch; then echo yes; fi", "for f in a b; do V=$V$f; done", "for f in *; do echo $f; done; echo $f", "case $V in x*) echo starts;; *) V=case;; esac", "while [ \"$V\" != xxxx ]; do V=xxxx; done", "until true; do :; done", "! true", "! false", "! cd bin", "echo a 2>&1 >/dev/null", "nosuch 2>/dev/null || true", "echo # comment", "# only", "echo a\nV=second\ncd bin\n", "echo a\nfalse\necho b\n", "false\n", "cd nosuch\necho on\n", "if true; then\n  echo 'two\nlines'\nfi\n", "echo a\\\n b", "echo a\n)\n", "echo \\$V \"\\$V\"", "echo $((1+1))", "X=$((1/0)); echo on", "cat <<E\n$V\nE\n", "echo {a,b} [ab]*", "[ -z \"$V\" ]", "[ a = ", "echo ${V!}", "${V}", "$V", "\"echo\" quoted", "export V=$(echo sub) W=\"$V\"", "export V=\"$(false)\"", "V=$(false)", "export \"V=quoted\"", "break", "for f in a; do break; done", "printf", "printf '%d\\n' x", "[ -o allexport ] && echo exports", "ENV=/x", "NODE_ENV=test", "export APP_OPTS=-x", "echo $PWD $OLDPWD", "echo ${PWD}", "echo \r", "exec 3>&1", "echo x 9>out; cat out", "( (echo a) )", "echo ${IFS}", "echo $!", "echo \"$@\" $*", "echo done >&2", "echo x >out; cat out", "echo >/nosuch/x", "export V=1 >/nosuch/x", "cd bin >/nosuch/x",
}

// Commands that share a shell do what each would do in a shell of its own
// (CodeBuild reference 2.3). The process's number makes a command have its own.
func TestSharedShellMeansTheSame(t *testing.T) {
	for _, shell := range testShells {
		t.Run(shell.name, func(t *testing.T) {
			t.Parallel()
			shared, alone := newSession(t, shell.command), newSession(t, shell.command)
			compare := func(commands []string) {
				own := make([]string, len(commands))
				for i, c := range commands {
					own[i] = c + "\n# $$"
				}
				got, want := shared.play(t, commands), alone.play(t, own)
				if want.Exit > 128 { // state before the killed shell: of the list or of the command
					got.State, want.State = "", ""
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%q (-own +shared):\n%s", commands, diff)
				}
			}
			for _, s := range snippets {
				compare([]string{"V=1", s, "echo $V; pwd"})
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 25 {
				commands := make([]string, 2+random.IntN(7))
				for i := range commands {
					commands[i] = snippets[random.IntN(len(snippets))]
				}
				compare(commands)
			}
		})
	}
}

// Ordinary commands share a shell, whatever their syntax; what could change
// the shell itself has its own.
func TestPlain(t *testing.T) {
	for text, want := range map[string]bool{
		"npm ci && npm test | tee out.txt 2>&1":                    true,
		"export TAG=$(git rev-parse --short HEAD)":                 true,
		"if [ -n \"${TAG:-}\" ]; then\n  docker push \"$TAG\"\nfi": true,
		"(cd web && make)":          true,
		"NODE_ENV=production":       true,
		"ENV=/etc/profile":          false,
		"set -e":                    false,
		"(set -e; make)":            false,
		"sleep 9 &":                 false,
		"f() { make; }":             false,
		"[[ $A == b* ]] && A=(1 2)": false,
		"$RUN all":                  false,
		"cat <<E\nx\nE":             false,
		"echo $$":                   false,
		"if true; then":             false,
	} {
		if got := plain(text); got != want {
			t.Errorf("plain(%q) = %t", text, got)
		}
	}
}

// A command that can't be written whole, as on a full disk, fails and isn't run.
func TestCommandThatCannotBeWritten(t *testing.T) {
	for _, shell := range testShells {
		t.Run(shell.name, func(t *testing.T) {
			s := newSession(t, shell.command)
			got := s.play(t, []string{"ln -s /dev/full " + s.work + "/1/2-script.sh", "echo ran"})
			if got.Failed != 1 || got.Exit != 1 || strings.Contains(got.Output[1], "ran") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzMarks(f *testing.F) {
	f.Add([]byte("@ B 1\nout@ E 1 0\n@ B 2\n@ E 2 3\n@ G 3\n@ D 1\n"), uint8(2), uint8(5))
	f.Add([]byte("@ B 1\n@ E 1 0\n@ G 137\n@ D 0\n"), uint8(2), uint8(1))
	f.Add([]byte("@@ D 1\n@ E 1 999999999999999999999\n"), uint8(1), uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, count, chunk uint8) {
		const word = "@0123456789abcdef"
		data = []byte(strings.ReplaceAll(string(data), "@", word))
		var out []byte
		d := &driver{proc: localDriver{io.Discard, &chunks{data: data, size: int(chunk) + 1}}}
		begun := -1
		p := progress{first: 1, count: int(count), state: "0", result: result{failed: -1}, begin: func(i int) {
			if i != begun+1 || i >= int(count) {
				t.Errorf("command %d began after %d of %d", i, begun, count)
			}
			begun = i
		}}
		for !p.done {
			mark, err := d.until(word, func(b []byte) error {
				out = append(out, b...)
				return nil
			})
			if err != nil || p.take(mark) != nil {
				break
			}
		}
		if p.done && p.failed < 0 && begun+1 != int(count) {
			t.Errorf("success after %d of %d commands", begun+1, count)
		}
		if p.failed >= 0 && (p.failed > max(0, begun) || p.exit < 1 || p.exit > maxStatus) {
			t.Errorf("command %d failed with %d after %d", p.failed, p.exit, begun)
		}
		if len(out) > len(data) {
			t.Errorf("%d bytes of output from %d", len(out), len(data))
		}
	})
}

// chunks reads data a few bytes at a time.
type chunks struct {
	data []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data[:min(c.size, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

// What is plain stays so between neighbours, and has no word of the shell's own
// in the place of a command.
func FuzzPlain(f *testing.F) {
	for _, s := range snippets {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !plain(text) || strings.HasSuffix(text, "\\") { // which would take the next line in
			return
		}
		if strings.Contains(text, "_sw") {
			t.Errorf("plain: %q", text)
		}
		for _, with := range []string{"%s\ntrue", "true && {\n%s\n}", "if true; then\n%s\nfi", "(\n%s\n)", "X=$(\n%s\n)"} {
			if whole := fmt.Sprintf(with, text); !plain(whole) {
				t.Errorf("not plain: %q", whole)
			}
			if whole := fmt.Sprintf(with, text+"\nexit"); plain(whole) {
				t.Errorf("plain: %q", whole)
			}
		}
	})
}
