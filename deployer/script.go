package deployer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/deployer/appspec"
	"github.com/slipway-ci/slipway/pipeline"
)

// Code says how a script ended, as CodeDeploy numbers it.
type Code int

// The codes of the CodeDeploy reference 2.6. Code 6, outputs left open, is a
// warning with us.
const (
	CodeSucceeded     Code = 0
	CodeMissing       Code = 1
	CodeNotExecutable Code = 2
	CodeTimedOut      Code = 3
	CodeFailed        Code = 4
	CodeUnknown       Code = 5
	CodeRestarted     Code = 7
)

// String is the code's name in the CodeDeploy API.
func (c Code) String() string {
	switch c {
	case CodeSucceeded:
		return "Success"
	case CodeMissing:
		return "ScriptMissing"
	case CodeNotExecutable:
		return "ScriptNotExecutable"
	case CodeTimedOut:
		return "ScriptTimedOut"
	case CodeFailed:
		return "ScriptFailed"
	case CodeUnknown, CodeRestarted:
	}
	return "UnknownError"
}

const (
	// killGrace is what a script has between TERM and KILL.
	killGrace = 10 * time.Second
	// outputGrace is how long outputs may stay open after a script has ended.
	outputGrace = 5 * time.Second
)

// scriptError is a script that did not do its work.
type scriptError struct {
	code   Code
	script appspec.Script
	msg    string
	cause  error // ErrStopped or the like; nil for a mistake of the author
}

func (e *scriptError) Error() string { return e.msg }
func (e *scriptError) Unwrap() error { return e.cause }

func failed(code Code, s appspec.Script, format string, args ...any) *scriptError {
	return &scriptError{code: code, script: s, msg: "script " + s.Location + ": " + fmt.Sprintf(format, args...)}
}

// runner runs the scripts of one event.
type runner struct {
	d       *Deployer
	archive string
	env     []string
	log     *scriptLog
	warn    func(code, format string, args ...any)
}

// run runs one script to its end (CodeDeploy reference 2.5 and 2.6).
func (r *runner) run(ctx context.Context, s appspec.Script) error {
	file, err := r.prepare(s)
	if err != nil {
		return err
	}
	who, err := identity(s)
	if err != nil {
		return err
	}
	r.log.note("Script - %s", s.Location)
	argv := append(who.prefix, file)
	err = r.start(ctx, s, who, append(argv, s.Args...))
	var done *scriptError
	if errors.Is(err, syscall.ENOEXEC) {
		argv = append(slices.Clone(who.prefix), "/bin/sh", file)
		err = r.start(ctx, s, who, append(argv, s.Args...))
		if errors.As(err, &done) && done.code == CodeFailed {
			done.msg += "; it has no #! line, so /bin/sh ran it: begin it with #!/bin/bash if it was written for bash"
		}
	}
	if err != nil && !errors.As(err, &done) {
		return failed(CodeFailed, s, "%v%s", bare(err), asUser(s))
	}
	return err
}

// prepare finds the script and makes it executable, as git and zip often lose
// that bit.
func (r *runner) prepare(s appspec.Script) (string, error) {
	file, err := insideOf(r.archive, s.Location)
	if err != nil {
		return "", failed(CodeMissing, s, "is not in the revision")
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return "", failed(CodeMissing, s, "is no file")
	}
	if info.Mode()&0o111 != 0o111 {
		if info.Mode()&0o111 == 0 {
			r.warn("SCRIPT_MODE", "script %s is not executable: made so", s.Location)
		}
		if err := os.Chmod(file, info.Mode().Perm()|0o111); err != nil {
			return "", failed(CodeNotExecutable, s, "is not executable and can't be made so: %v", bare(err))
		}
	}
	return file, crlfShebang(file, s)
}

// crlfShebang names the cause of what the kernel reports as "no such file".
func crlfShebang(file string, s appspec.Script) error {
	f, err := os.Open(file)
	if err != nil {
		return failed(CodeFailed, s, "%v", bare(err))
	}
	defer f.Close() // read only
	first, _ := bufio.NewReader(io.LimitReader(f, 1024)).ReadBytes('\n')
	if bytes.HasPrefix(first, []byte("#!")) && bytes.HasSuffix(first, []byte("\r\n")) {
		return failed(CodeFailed, s, "its first line %q ends with a carriage return, so that the interpreter is not found; save the file with LF line ends", bytes.TrimRight(first, "\r\n"))
	}
	return nil
}

// who is the user that a script runs as.
type who struct {
	prefix     []string // sudo, if wanted
	credential *syscall.Credential
	env        []string
}

func asUser(s appspec.Script) string {
	if s.RunAs == "" {
		return ""
	}
	return " (run as user " + s.RunAs + ")"
}

// identity resolves runas and sudo. As root neither needs another program.
func identity(s appspec.Script) (who, error) {
	root := os.Geteuid() == 0
	if s.Sudo && !root {
		w := who{prefix: []string{"sudo", "-n"}}
		if s.RunAs != "" {
			w.prefix = append(w.prefix, "-u", s.RunAs)
		}
		w.prefix = append(w.prefix, "--")
		return w, nil
	}
	if s.RunAs == "" {
		return who{}, nil
	}
	u, err := user.Lookup(s.RunAs)
	if err != nil {
		return who{}, failed(CodeFailed, s, "this host has no user %s%s", s.RunAs, asUser(s))
	}
	w := who{env: []string{"HOME=" + u.HomeDir, "USER=" + u.Username, "LOGNAME=" + u.Username}}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return who{}, failed(CodeFailed, s, "%v", err)
	}
	if int(uid) == os.Geteuid() {
		return w, nil
	}
	if !root {
		return who{}, failed(CodeFailed, s, "only root can run scripts as another user%s", asUser(s))
	}
	w.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groupsOf(u)}
	return w, nil
}

func groupsOf(u *user.User) []uint32 {
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var groups []uint32
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			groups = append(groups, uint32(n))
		}
	}
	return groups
}

// start runs argv in a process group of its own until it ends or its time is
// up.
func (r *runner) start(ctx context.Context, s appspec.Script, w who, argv []string) error {
	name := argv[0]
	if !filepath.IsAbs(name) {
		full, err := r.d.tool(name)
		if err != nil {
			return err
		}
		name = full
	}
	cmd := &exec.Cmd{Path: name, Args: argv, Dir: r.archive, Env: slices.Concat(r.env, w.env, s.Env)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: w.credential}
	out, err := newOutputs(r.log)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out.stdout.child, out.stderr.child
	err = cmd.Start()
	out.childStarted()
	if err != nil {
		out.close()
		return err
	}
	timedOut, err := r.wait(ctx, cmd, s.Timeout)
	r.closeOutputs(s, out)
	if timedOut {
		return failed(CodeTimedOut, s, "did not end within %d seconds%s", int(s.Timeout/time.Second), asUser(s))
	}
	if cause := ctxError(ctx); cause != nil {
		return stoppedScript(s, cause)
	}
	return exitError(s, err)
}

func stoppedScript(s appspec.Script, cause error) error {
	e := failed(CodeUnknown, s, "was ended: %v", cause)
	if errors.Is(cause, pipeline.ErrTimedOut) {
		e.code = CodeTimedOut
	} else {
		e.cause = cause
	}
	return e
}

func exitError(s appspec.Script, err error) error {
	if err == nil {
		return nil
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return failed(CodeFailed, s, "ended by signal %d%s", status.Signal(), asUser(s))
	}
	return failed(CodeFailed, s, "failed with exit code %d%s", exit.ExitCode(), asUser(s))
}

// wait waits for the script, and ends its process group if it takes longer
// than its limit or ctx is over: TERM, then KILL.
func (r *runner) wait(ctx context.Context, cmd *exec.Cmd, limit time.Duration) (timedOut bool, err error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-ended:
		return false, err
	case <-timer.C:
		timedOut = true
	case <-ctx.Done():
	}
	group := -cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	grace := time.NewTimer(r.d.killGrace)
	defer grace.Stop()
	select {
	case err = <-ended:
		_ = syscall.Kill(group, syscall.SIGKILL) // whoever of the group is left
		return timedOut, err
	case <-grace.C:
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	return timedOut, <-ended // nothing survives KILL
}

// closeOutputs gives what is still written time to arrive. A process that the
// script left behind may keep the outputs open: that is a warning, and the
// process goes on undisturbed.
func (r *runner) closeOutputs(s appspec.Script, out *outputs) {
	held := out.drain(r.d.outputGrace)
	if len(held) == 0 {
		return
	}
	r.warn("OUTPUT_HELD", "script %s has ended, but process %s keeps its output open; redirect the output of what runs on in the background", s.Location, strings.Join(holders(held), ", "))
	for _, p := range held {
		r.d.handOver(p)
	}
}

// outputs are the two pipes of a script.
type outputs struct{ stdout, stderr *pipe }

type pipe struct {
	read, child *os.File
	to          *stream
	done        chan struct{}
	held        bool // open when its time was up; set before done is closed
}

func newOutputs(log *scriptLog) (*outputs, error) {
	stdout, err := newPipe(log.stream("stdout"))
	if err != nil {
		return nil, err
	}
	stderr, err := newPipe(log.stream("stderr"))
	if err != nil {
		stdout.close()
		return nil, err
	}
	return &outputs{stdout, stderr}, nil
}

func newPipe(to *stream) (*pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &pipe{read: r, child: w, to: to, done: make(chan struct{})}, nil
}

func (p *pipe) close() {
	_ = p.read.Close()
	_ = p.child.Close()
}

// childStarted lets go of the child's ends and starts to read ours.
func (o *outputs) childStarted() {
	for _, p := range []*pipe{o.stdout, o.stderr} {
		_ = p.child.Close()
		go func() {
			defer close(p.done)
			_, err := io.Copy(p.to, p.read) // ends with the pipe or its deadline
			p.held = errors.Is(err, os.ErrDeadlineExceeded)
			p.to.flush()
		}()
	}
}

func (o *outputs) close() {
	for _, p := range []*pipe{o.stdout, o.stderr} {
		_ = p.read.Close()
		<-p.done
	}
}

// drain waits until all is read, at most grace, and returns the pipes that
// are open even then. The others are closed.
func (o *outputs) drain(grace time.Duration) []*pipe {
	deadline := time.Now().Add(grace)
	var held []*pipe
	for _, p := range []*pipe{o.stdout, o.stderr} {
		_ = p.read.SetReadDeadline(deadline)
	}
	for _, p := range []*pipe{o.stdout, o.stderr} {
		<-p.done
		if p.held {
			held = append(held, p)
		} else {
			_ = p.read.Close()
		}
	}
	return held
}

// handOver gives a pipe that a background process still writes to, to a cat of
// its own, which ends with that process. If we just closed it, the next line
// would kill the process.
func (d *Deployer) handOver(p *pipe) {
	defer p.read.Close()
	cat, err := d.tool("cat")
	if err != nil {
		return
	}
	cmd := &exec.Cmd{Path: cat, Args: []string{"cat"}, Stdin: p.read, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err == nil {
		_ = cmd.Process.Release()
	}
}

// holders are the processes that have one of the pipes open for writing.
func holders(held []*pipe) []string {
	var pids []string
	names := map[string]bool{}
	for _, p := range held {
		if info, err := p.read.Stat(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				names["pipe:["+strconv.FormatUint(st.Ino, 10)+"]"] = true
			}
		}
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	self := strconv.Itoa(os.Getpid())
	for _, fd := range procs {
		pid := strings.Split(fd, "/")[2]
		if to, err := os.Readlink(fd); err == nil && names[to] && pid != self && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return []string{"(unknown)"}
	}
	return pids
}
