// Package testenv tells tests what this machine has. A test that needs a
// component asks for it here, so that a skip always names what is missing and
// CI can turn every such skip into a failure.
package testenv

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// All is the variable that CI sets: with it a missing component is a failure.
const All = "SLIPWAY_TEST_ALL"

// Need skips the test unless every named component is there: "docker" (an
// engine that answers), "root" (who may become others), "user:NAME" (an
// account), "socket:PATH", or the name of a program on PATH such as "redis-server", "chromium",
// "git", "busybox". With SLIPWAY_TEST_ALL=1 a missing one fails the test instead.
func Need(t testing.TB, components ...string) {
	t.Helper()
	for _, c := range components {
		if have(c) {
			continue
		}
		if os.Getenv(All) == "1" {
			t.Fatalf("missing component: %s (%s=1)", c, All)
		}
		t.Skipf("missing component: %s", c)
	}
}

func have(component string) bool {
	kind, name, _ := strings.Cut(component, ":")
	var err error
	switch kind {
	case "docker":
		err = exec.Command("docker", "info").Run()
	case "root":
		return os.Geteuid() == 0
	case "user":
		_, err = user.Lookup(name)
	case "socket":
		_, err = os.Stat(name)
	default:
		_, err = exec.LookPath(component)
	}
	return err == nil
}

// Shared is the absolute path of a folder or file below the folder "shared"
// that lies beside the project's root on the maintainers' machines and in
// their CI. It holds data that is not ours to ship (recorded webhooks, the
// forges' interface descriptions), so the test skips where it is absent.
func Shared(t testing.TB, path string) string {
	t.Helper()
	full := filepath.Join(Root(), "..", "shared", filepath.FromSlash(path))
	if _, err := os.Stat(full); err != nil {
		t.Skipf("shared test data not here: %s", path)
	}
	return full
}

// Root is the project's root folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
