package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// containers are what the runners of a system have in Docker, by the labels
// that the engine gives them.
type containers struct {
	sys    *system
	events *process
	labels []string // of the runners' data folders
}

const buildLabel = "slipway.build"

// watchContainers writes down from now on what Docker does for builds.
func watchContainers(t *testing.T, s *system) *containers {
	t.Helper()
	c := &containers{sys: s}
	for _, p := range s.runners {
		sum := sha256.Sum256([]byte(filepath.Join(s.root, p.name)))
		c.labels = append(c.labels, "slipway.data="+hex.EncodeToString(sum[:8]))
	}
	c.events = s.process("docker-events", nil, "docker", "events", "--filter", "label="+buildLabel, "--filter", "type=container",
		"--since", strconv.FormatInt(time.Now().Unix(), 10), "--format", "{{json .}}")
	if err := c.events.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.events.stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// list names what there is of a kind with a runner's label.
func (c *containers) list(ctx context.Context, args ...string) ([]string, error) {
	var all []string
	for _, label := range c.labels {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		out, err := exec.CommandContext(ctx, "docker", append(args, "--filter", "label="+label)...).Output()
		cancel()
		if err != nil {
			return nil, fmt.Errorf("docker %s: %w", strings.Join(args, " "), err)
		}
		all = append(all, strings.Fields(string(out))...)
	}
	return all, nil
}

// checkGone ends the runners in order; nothing of theirs stays in Docker. While
// they live they have networks ready, but no containers.
func (c *containers) checkGone(t *testing.T) {
	err := until(t.Context(), 15*time.Second, func(ctx context.Context) error {
		left, err := c.list(ctx, "ps", "-aq")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("containers are left: %v", left)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, p := range c.sys.runners {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
	for _, kind := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}, {"volume", "ls", "-q"}} {
		if left, err := c.list(t.Context(), kind...); err != nil || len(left) > 0 {
			t.Errorf("docker %s: %v (%v), want nothing", kind[0], left, err)
		}
	}
}

// lifetime is when a build's container ran, in nanoseconds.
type lifetime struct {
	container   string
	start, stop int64
}

// lifetimes reads what Docker said, by build. A container that it removed
// without a word of its death has no stop.
func (c *containers) lifetimes(t *testing.T) map[string][]lifetime {
	t.Helper()
	data, err := os.ReadFile(c.events.log)
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string][]lifetime{}
	for line := range bytes.Lines(data) {
		var e struct {
			Action   string
			ID       string `json:"id"`
			Actor    struct{ Attributes map[string]string }
			TimeNano int64 `json:"timeNano"`
		}
		if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
			continue // ours: when the watch began
		}
		build := e.Actor.Attributes[buildLabel]
		switch e.Action {
		case "start":
			ran[build] = append(ran[build], lifetime{container: e.ID, start: e.TimeNano})
		case "die":
			for i := range ran[build] {
				if ran[build][i].container == e.ID {
					ran[build][i].stop = e.TimeNano
				}
			}
		}
	}
	return ran
}

// checkOverlaps holds that never two containers of one execution lived at the
// same time, and that what succeeded had one.
func (c *containers) checkOverlaps(t *testing.T, found map[string]execution) {
	ran := c.lifetimes(t)
	total := 0
	for _, x := range found {
		a := x.buildAction()
		var lives []lifetime
		for _, id := range append(a.Earlier, a.Build) {
			lives = append(lives, ran[id]...)
		}
		total += len(lives)
		if x.Status == "Succeeded" && len(ran[a.Build]) != 1 {
			t.Errorf("execution %s succeeded with %d containers of build %s", x.ID, len(ran[a.Build]), a.Build)
		}
		for i, one := range lives {
			if one.stop == 0 {
				t.Errorf("container %.12s of execution %s never ended", one.container, x.ID)
			}
			for _, two := range lives[i+1:] {
				if one.start < two.stop && two.start < one.stop {
					t.Errorf("containers %.12s and %.12s of execution %s lived at the same time", one.container, two.container, x.ID)
				}
			}
		}
	}
	t.Logf("WITNESS Docker ran %d containers for %d executions", total, len(found))
}
