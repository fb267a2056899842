package deployer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/pipeline"
)

// toolTimeout is the time limit of one call of setfacl and the like.
const toolTimeout = time.Minute

// tool finds a program on the path that scripts get.
func (d *Deployer) tool(name string) (string, error) {
	for _, dir := range filepath.SplitList(d.path) {
		full := filepath.Join(dir, name)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// runTool runs a program without a shell. It finishes even if the deployment
// is stopped, for it has a short limit of its own. If the program refuses what
// the appspec asks for, that is the author's to mend.
func (d *Deployer) runTool(ctx context.Context, name string, args ...string) error {
	full, err := d.tool(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, full, args...)
	cmd.Env = []string{"PATH=" + d.path, "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &pipeline.UserError{Code: "PERM_TOOL", Msg: fmt.Sprintf("%s: %v: %s", name, exit, strings.TrimSpace(string(out)))}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
