package deployer

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/deployer/appspec"
)

// announce says before the first event which of them run scripts, and whose, so
// that an empty list is seen (CodeDeploy reference 1.11). It warns of scripts
// that this deployment won't run. A repeated attempt says nothing again.
func (a *attempt) announce(events []string) error {
	if len(a.recorded) > 0 {
		return nil
	}
	var running []string
	for _, name := range events {
		w, err := a.workOf(name)
		if err != nil {
			return err
		}
		if len(w.scripts) == 0 {
			continue
		}
		text := fmt.Sprintf("%s (%d)", name, len(w.scripts))
		if w.from != "" {
			text = fmt.Sprintf("%s of deployment %s (%d)", name, w.from, len(w.scripts))
		}
		running = append(running, text)
	}
	if len(running) == 0 {
		running = []string{"none"}
	}
	a.log.note("Events that run scripts - %s", strings.Join(running, ", "))
	a.warnOfIdleHooks(events)
	return nil
}

// warnOfIdleHooks warns of hooks that are none of this deployment's events, and
// of scripts in a revision that has no hooks.
func (a *attempt) warnOfIdleHooks(events []string) {
	var idle []string
	for _, name := range appspec.Events {
		// The stop of this revision is for the next deployment.
		if len(a.spec.Hooks[name]) > 0 && !slices.Contains(events, name) && name != appspec.ApplicationStop {
			idle = append(idle, name)
		}
	}
	if len(idle) > 0 {
		a.warn("HOOKS_IDLE", "the scripts of %s don't run: this deployment has no such event", strings.Join(idle, ", "))
	}
	if len(a.spec.Hooks) > 0 || a.dep.AWS {
		return
	}
	if script := firstScript(a.work.files()); script != "" {
		a.warn("NO_HOOKS", "the revision has scripts, such as %s, but its appspec has no hooks: none of them runs", script)
	}
}

// scriptDepth is how many folders deep scripts are looked for.
const scriptDepth = 2

// firstScript is a shell script in a folder of the revision called scripts,
// hooks or the like, or "".
func firstScript(dir string) string {
	found := ""
	// A folder that can't be read has no scripts either.
	_ = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil, d.IsDir() && strings.Count(name, "/") >= scriptDepth:
			return fs.SkipDir
		case !d.IsDir() && filepath.Ext(name) == ".sh" && scriptFolder(name):
			found = name
			return fs.SkipAll
		}
		return nil
	})
	return found
}

func scriptFolder(name string) bool {
	return slices.ContainsFunc(strings.Split(filepath.Dir(name), "/"), func(folder string) bool {
		return strings.Contains(strings.ToLower(folder), "script") || strings.Contains(strings.ToLower(folder), "hook")
	})
}
