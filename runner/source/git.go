package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/internal/redact"
	"github.com/slipway-ci/slipway/pipeline"
)

// git runs git for one order.
type git struct {
	options Options
	order   pipeline.SourceOrder
}

// hardening precedes every command (forges reference 4.6).
var hardening = []string{
	"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "credential.helper=",
	"-c", "protocol.ext.allow=never", "-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false",
	"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false", "-c", "safe.directory=*",
	"-c", "transfer.credentialsInUrl=die", "-c", "core.askPass=", "-c", "init.templateDir=", "-c", "init.defaultBranch=main",
}

const (
	stopTime = 5 * time.Second
	// outputBytes bounds what is kept of git's output and messages.
	outputBytes = 4 << 20
)

// call is one run of git.
type call struct {
	dir   string // --git-dir; empty: none
	tree  string // --work-tree; empty: none
	login bool   // give git the order's credentials
	local bool   // the remote side is a mirror of ours
	in    string
	args  []string
}

// gitError is git's own refusal; text has no secret.
type gitError struct {
	command string
	text    string
	err     error
}

func (e *gitError) Error() string { return fmt.Sprintf("git %s: %v: %s", e.command, e.err, e.text) }
func (e *gitError) Unwrap() error { return e.err }

func (g *git) run(ctx context.Context, c call) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, g.options.Timeout)
	defer cancel()
	args := append([]string{}, hardening...)
	if c.dir != "" {
		args = append(args, "--git-dir="+c.dir)
	}
	if c.tree != "" {
		args = append(args, "--work-tree="+c.tree)
	}
	cmd := exec.CommandContext(ctx, "git", append(args, c.args...)...)
	cmd.Env = g.env(c)
	cmd.Dir = g.options.Dir
	if c.tree != "" {
		cmd.Dir = c.tree
	}
	cmd.Stdin = strings.NewReader(c.in)
	// Helpers such as git-remote-https are to end with git.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopTime
	var out, text limited
	cmd.Stdout, cmd.Stderr = &out, &text
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.As(err, new(*exec.ExitError)):
		return "", &gitError{command: c.args[0], text: g.clean(text.String()), err: err}
	case err != nil:
		return "", fmt.Errorf("running git: %w", err)
	}
	return out.String(), nil
}

// clean is git's message without secrets and without our paths.
func (g *git) clean(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), g.options.Dir, "MIRRORS")
	return redact.New(g.order.Password, g.header()).String(text)
}

// env is all that git and its children see. The credentials are in it rather
// than on the command line, in a URL or in a file.
func (g *git) env(c call) []string {
	protocols := "http:https:ssh"
	if g.options.AllowFile || c.local {
		protocols += ":file"
	}
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + g.options.Dir, "LC_ALL=C"}
	env = append(env, g.options.Env...)
	env = append(env, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_SSH_COMMAND=ssh -oBatchMode=yes",
		"GIT_ALLOW_PROTOCOL="+protocols, "GIT_LITERAL_PATHSPECS=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_LFS_SKIP_SMUDGE=1", "GIT_OPTIONAL_LOCKS=0")
	if header := g.header(); c.login && header != "" {
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http."+g.base()+".extraHeader", "GIT_CONFIG_VALUE_0="+header)
	}
	return env
}

func (g *git) header() string {
	if g.order.Password == "" {
		return ""
	}
	user := g.order.User
	if user == "" {
		user = "x-access-token"
	}
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+g.order.Password))
}

// base is where the credentials may go: the host of the clone URL.
func (g *git) base() string {
	u, err := url.Parse(g.order.URL)
	if err != nil {
		return g.order.URL
	}
	return u.Scheme + "://" + u.Host + "/"
}

// limited keeps the first outputBytes.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := outputBytes - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// says reports whether git's message has one of the texts.
func says(err error, texts ...string) bool {
	var e *gitError
	if !errors.As(err, &e) {
		return false
	}
	lower := strings.ToLower(e.text)
	for _, t := range texts {
		if strings.Contains(lower, t) {
			return true
		}
	}
	return false
}
