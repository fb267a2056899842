package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/slipway-ci/slipway/forge"
)

// Compare lists the files that changed between the merge base of two commits or
// branches, and head. forge.ErrNotFound: there is no such repository or commit,
// or they have no history in common.
func (h *Host) Compare(ctx context.Context, repo forge.Repo, base, head string) (forge.Changes, error) {
	if err := h.exists(repo.Owner, repo.Name); err != nil {
		return forge.Changes{}, fmt.Errorf("%w: %w", forge.ErrNotFound, err)
	}
	dir := h.repoDir(repo.Owner, repo.Name)
	from, err := h.run(ctx, dir, "merge-base", "--end-of-options", base, head)
	if exitCode(err) > 0 {
		return forge.Changes{}, fmt.Errorf("comparing %s with %s: %w", head, base, forge.ErrNotFound)
	}
	if err != nil {
		return forge.Changes{}, &forge.RetryError{Err: err}
	}
	out, err := h.changed(ctx, dir, string(bytes.TrimSpace([]byte(from))), head)
	if err != nil {
		return forge.Changes{}, &forge.RetryError{Err: fmt.Errorf("comparing %s with %s: %w", head, base, err)}
	}
	return out, nil
}

// changed reads the list only as far as it is of use.
func (h *Host) changed(ctx context.Context, dir, from, to string) (out forge.Changes, err error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	// A renamed file counts with both names: it is one gone and one added.
	cmd := exec.CommandContext(ctx, h.git, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options", from, to)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, h.environment(), time.Second
	names, err := cmd.StdoutPipe()
	if err != nil {
		return out, err
	}
	if err := cmd.Start(); err != nil {
		return out, err
	}
	lines := bufio.NewScanner(names)
	lines.Split(splitZero)
	for lines.Scan() {
		if len(out.Paths) == forge.MaxChanges {
			out.Unknown = fmt.Sprintf("more than %d files changed", forge.MaxChanges)
			cancel()
			_ = cmd.Wait() // it was cut off
			return out, nil
		}
		out.Paths = append(out.Paths, lines.Text())
	}
	return out, errors.Join(lines.Err(), cmd.Wait())
}

func splitZero(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
