package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const gitTimeout = time.Minute

// settings hold for every git process here. Configuration of the machine or of
// the user does not, and no hook runs.
var settings = []string{
	"core.hooksPath=/dev/null",
	"safe.directory=*",
	"http.receivepack=true",
	"http.getanyfile=false",
	"gc.autoDetach=false",
	"uploadpack.allowFilter=true",
	"uploadpack.allowReachableSHA1InWant=true",
	"protocol.file.allow=never",
	"protocol.ext.allow=never",
	// Nobody else reads these refs, so nobody may plant them.
	"transfer.hideRefs=refs/pull",
}

// environment is all that a git process gets to know.
func (h *Host) environment() []string {
	env := []string{
		"HOME=" + h.o.Dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings)),
	}
	for i, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+key, "GIT_CONFIG_VALUE_"+n+"="+value)
	}
	return env
}

// run runs git in a folder and returns its output.
func (h *Host) run(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.git, args...)
	cmd.Dir = dir
	cmd.Env = h.environment()
	cmd.WaitDelay = time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		first, _, _ := strings.Cut(complaint.String(), "\n")
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, first)
	}
	return out.String(), nil
}

// exitCode is the code of a git that ran and failed; -1: it did not.
func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}
