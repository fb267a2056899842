package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryDir is a file system in memory: deployments are measured without a
// disk, whose times say little.
const memoryDir = "/dev/shm"

// deploySpec installs all files of a revision into one folder.
const deploySpec = "version: 0.0\nos: linux\nfiles:\n  - source: /files\n    destination: /srv/app\n"

// benchDeploy is P9: a deployment of many small files, unpacking, journal and
// checks included, once onto an empty host and once where nothing has changed,
// against a plain copy of the revision, in turns.
func benchDeploy(ctx context.Context, s settings) ([]result, error) {
	few, err := s.deployFiles(ctx, 1_000)
	if err != nil {
		return nil, err
	}
	many, err := s.deployFiles(ctx, 20_000)
	if err != nil {
		return nil, err
	}
	return []result{
		against("P9", "deployment of 1,000 files, cp -a", "ms", median(few.first), median(few.floor), 2, true),
		against("P9", "deployment of 20,000 files, cp -a", "ms", median(many.first), median(many.floor), 1.2, true),
		against("P9", "the same again, nothing changed, cp -a", "ms", median(many.again), median(many.floor), 0.6, true),
	}, nil
}

// deployments are the times of deployments of one revision.
type deployments struct{ first, again, floor []time.Duration }

const deployRounds = 3

func (s settings) deployFiles(ctx context.Context, n int) (d deployments, err error) {
	dir, err := os.MkdirTemp(memoryDir, "slipway-bench-")
	if err != nil {
		return d, fmt.Errorf("making a folder in memory: %w", err)
	}
	defer os.RemoveAll(dir)
	revision := filepath.Join(dir, "revision")
	if err := writeRevision(revision, n); err != nil {
		return d, err
	}
	for range deployRounds {
		copied, root, data := filepath.Join(dir, "copy"), filepath.Join(dir, "root"), filepath.Join(dir, "data")
		deploy := func() (time.Duration, error) {
			cmd := exec.CommandContext(ctx, s.slipway, "deploy", "--root", root, revision)
			cmd.Env = append(cmd.Environ(), "SLIPWAY_DATA="+data)
			return timed(cmd)
		}
		floor, err := timed(exec.CommandContext(ctx, "cp", "-a", revision, copied))
		if err != nil {
			return d, err
		}
		first, err := deploy()
		if err != nil {
			return d, err
		}
		again, err := deploy()
		if err != nil {
			return d, err
		}
		d.floor, d.first, d.again = append(d.floor, floor), append(d.first, first), append(d.again, again)
		for _, old := range []string{copied, root, data} {
			if err := os.RemoveAll(old); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

// writeRevision makes n files of 200 to 1,000 bytes in folders of a hundred.
func writeRevision(dir string, n int) error {
	for i := range n {
		sub := filepath.Join(dir, "files", strconv.Itoa(i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(i)), []byte(strings.Repeat("x", 200+i%800)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "appspec.yml"), []byte(deploySpec), 0o644)
}

// timed runs a program to its end.
func timed(cmd *exec.Cmd) (time.Duration, error) {
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("running %s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return time.Since(begin), nil
}
