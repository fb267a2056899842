// Package e2e drives the real slipway program as its users run it: server,
// runners and Redis are processes of their own, git hosts and GitHub stand on
// loopback, and everything is seen from outside only.
//
// The chaos tests kill those processes at random moments. TestChaos runs with
// SLIPWAY_CHAOS=1 (make chaos); SLIPWAY_CHAOS_SEED repeats a schedule, and
// SLIPWAY_E2E_KEEP names a folder in which logs and data of a run are kept.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/slipway-ci/slipway/internal/testenv"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == witnessCommand {
		os.Exit(witness(os.Args[2:]))
	}
	code := m.Run()
	if err := closeShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

var built struct {
	once    sync.Once
	dir     string
	program string
	err     error
}

// program is the path of slipway, built once for all tests.
func program() (string, error) {
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "slipway-e2e-bin-"); built.err != nil {
			return
		}
		built.program = filepath.Join(built.dir, "slipway")
		build := exec.Command("go", "build", "-o", built.program, "./cmd/slipway")
		build.Dir = testenv.Root()
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("building slipway: %w\n%s", err, out)
		}
	})
	return built.program, built.err
}
