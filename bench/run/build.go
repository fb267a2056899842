package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// marker is what the measured command prints.
const marker = "bench-first-line"

// benchBuild is P3: a one-command build against the bare calls for the same
// command, on a network of its own as the build has and on the one that all
// containers share, and against docker run, in turns.
func benchBuild(ctx context.Context, s settings) ([]result, error) {
	e := newEngine()
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = e.removeImage(context.WithoutCancel(ctx)) }()
	dir := filepath.Join(s.dir, "build")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	spec := fmt.Sprintf("version: 0.2\nphases:\n  build:\n    commands:\n      - echo %s\n", marker)
	if err := os.WriteFile(filepath.Join(dir, "buildspec.yml"), []byte(spec), 0o644); err != nil {
		return nil, err
	}
	contenders := []*contender{
		{run: func() (spans, error) { return s.runSlipway(ctx, dir) }},
		{run: func() (spans, error) { return e.runApart(ctx, "echo "+marker) }},
		{run: func() (spans, error) { return e.runBare(ctx, "echo "+marker) }},
		{run: func() (spans, error) { return runDocker(ctx) }},
	}
	for i := range s.builds + 1 {
		for _, c := range contenders {
			took, err := c.run()
			if err != nil {
				return nil, err
			}
			if i > 0 { // the first is a warm-up
				c.first, c.whole = append(c.first, took.first), append(c.whole, took.whole)
			}
		}
	}
	ours, apart, bare, docker := contenders[0], contenders[1], contenders[2], contenders[3]
	return []result{
		against("P3", "slipway build: to the first line, own network", "ms", median(ours.first), median(apart.first), 1.15, true),
		against("P3", "slipway build: whole, own network", "ms", median(ours.whole), median(apart.whole), 1.2, true),
		aimless("P3", "slipway build: to the first line, shared one", "ms", median(ours.first), median(bare.first)),
		aimless("P3", "slipway build: whole, shared one", "ms", median(ours.whole), median(bare.whole)),
		against("P3", "slipway build: whole, docker run --rm", "ms", median(ours.whole), median(docker.whole), 1, true),
	}, nil
}

type contender struct {
	run          func() (spans, error)
	first, whole []time.Duration
}

func median(list []time.Duration) float64 { return milliseconds(quantile(list, 0.5)) }

// runSlipway is a build by the binary, its start and its clean-up included.
func (s settings) runSlipway(ctx context.Context, dir string) (spans, error) {
	cmd := exec.CommandContext(ctx, s.slipway, "build", dir, "--engine", "docker", "--image", benchImage)
	cmd.Env = append(cmd.Environ(), "SLIPWAY_DATA="+filepath.Join(s.dir, "data"))
	return watch(cmd)
}

func runDocker(ctx context.Context) (spans, error) {
	return watch(exec.CommandContext(ctx, "docker", "run", "--rm", benchImage, "/bin/sh", "-c", "echo "+marker))
}

// watch runs a program and looks for the command's line in its output.
func watch(cmd *exec.Cmd) (spans, error) {
	begin := time.Now()
	out, in, err := os.Pipe()
	if err != nil {
		return spans{}, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		in.Close()
		return spans{}, err
	}
	in.Close()
	var took spans
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		// The log may also show the command itself; its output is the line.
		if line := strings.TrimSpace(lines.Text()); took.first == 0 && strings.HasSuffix(line, marker) && !strings.Contains(line, "echo "+marker) {
			took.first = time.Since(begin)
		}
		fmt.Fprintln(&said, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return spans{}, fmt.Errorf("running %s: %w\n%s", filepath.Base(cmd.Path), err, said.String())
	}
	took.whole = time.Since(begin)
	if took.first == 0 {
		return spans{}, fmt.Errorf("running %s: its output lacks the command's\n%s", filepath.Base(cmd.Path), said.String())
	}
	return took, nil
}
