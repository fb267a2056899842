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

// manyFiles is what a source, an artifact and a cache are measured with.
const manyFiles = 10_000

// benchSource is P6: from a push's arrival to its command's phase with a source
// of 10,000 files, against a clone of depth 1 on the host and then the bare
// container, in turns. The first build fills the runner's mirror, the others
// find it.
func benchSource(ctx context.Context, s settings) ([]result, error) {
	e := newEngine()
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = e.removeImage(context.WithoutCancel(ctx)) }()
	up, err := startUp(ctx, s, "source")
	if err != nil {
		return nil, err
	}
	defer up.stop()
	if err := writeRevision(up.work, manyFiles); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(up.work, "appspec.yml")); err != nil { // nothing is to be deployed
		return nil, err
	}
	var cold, warm, floor []time.Duration
	for i := range s.rounds + 1 {
		took, err := up.pushed(ctx)
		if err != nil {
			return nil, err
		}
		clone, err := up.clone(ctx, filepath.Join(s.dir, "clone"))
		if err != nil {
			return nil, err
		}
		bare, err := e.runApart(ctx, "echo "+marker)
		if err != nil {
			return nil, err
		}
		floor = append(floor, clone+bare.first)
		if i == 0 {
			cold = append(cold, took.first)
		} else {
			warm = append(warm, took.first)
		}
	}
	return []result{
		against("P6", "push of 10,000 files to the phase, the first", "ms", median(cold), median(floor), 1.1, true),
		against("P6", "push of 10,000 files to the phase, later ones", "ms", median(warm), median(floor), 0.6, true),
	}, nil
}

// clone is how long git takes for what was pushed, without a network.
func (u *server) clone(ctx context.Context, to string) (time.Duration, error) {
	defer os.RemoveAll(to)
	cmd := exec.CommandContext(ctx, "git", "clone", "-q", "--depth", "1", "file://"+u.work, to)
	cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	return timed(cmd)
}

// bigFile is 100 KB of which half can be compressed.
const bigFile = 100_000

// benchFiles is P7: a build whose artifact, or whose cache, is 1 GB in 10,000
// files, from when it begins to collect them until they are kept, against
// tar | zstd of the same to the same disk, in turns.
func benchFiles(ctx context.Context, s settings) ([]result, error) {
	e := newEngine()
	if err := e.importImage(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = e.removeImage(context.WithoutCancel(ctx)) }()
	up, err := startUp(ctx, s, "files")
	if err != nil {
		return nil, err
	}
	defer up.stop()
	files := filepath.Join(s.dir, "many")
	if err := writeBig(files); err != nil {
		return nil, err
	}
	defer os.RemoveAll(files)
	var artifact, cache, floor []time.Duration
	for i := range filesRounds {
		tar := exec.CommandContext(ctx, "sh", "-c", `tar -C "$1" -cf - . | zstd -q -f -o "$1.tar.zst" && sync "$1.tar.zst"`, "sh", files)
		packed, err := timed(tar)
		if err != nil {
			return nil, err
		}
		floor = append(floor, packed)
		for _, kept := range []struct {
			block string
			times *[]time.Duration
		}{
			{"artifacts:\n  base-directory: out\n  files: ['**/*']\n", &artifact},
			{fmt.Sprintf("cache:\n  key: k%d\n  paths: ['out/**/*']\n", i), &cache},
		} {
			took, err := up.keep(ctx, kept.block)
			if err != nil {
				return nil, err
			}
			*kept.times = append(*kept.times, took)
		}
	}
	return []result{
		against("P7", "artifact of 1 GB in 10,000 files, tar | zstd", "ms", median(artifact), median(floor), 1.2, true),
		against("P7", "cache of the same, tar | zstd", "ms", median(cache), median(floor), 1.2, true),
	}, nil
}

// filesRounds are few: each writes 3 GB.
const filesRounds = 2

// makeBig writes in a container what writeBig writes here.
const makeBig = `mkdir out && cd out && head -c 50000 /dev/zero | tr '\0' x > /tmp/x && i=0 && while [ $i -lt 10000 ]; do
        [ $((i % 100)) -gt 0 ] || mkdir $((i / 100)); { head -c 50000 /dev/urandom; cat /tmp/x; } > $((i / 100))/$i; i=$((i + 1)); done`

func writeBig(dir string) error {
	random, err := os.Open("/dev/urandom")
	if err != nil {
		return err
	}
	defer random.Close()
	data := []byte(strings.Repeat("x", bigFile))
	for i := range manyFiles {
		if _, err := random.Read(data[:bigFile/2]); err != nil {
			return err
		}
		sub := filepath.Join(dir, strconv.Itoa(i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// keep pushes a build with an artifacts or cache block, and is how long its
// phase took that keeps things.
func (u *server) keep(ctx context.Context, block string) (time.Duration, error) {
	u.pushes++
	sha, err := u.pushSpec(ctx, fmt.Sprintf("# push %d\nversion: 0.2\nphases:\n  build:\n    commands:\n      - |\n        %s\n%s", u.pushes, makeBig, block))
	if err != nil {
		return 0, err
	}
	b, err := u.built(ctx, sha, func() {})
	if err != nil {
		return 0, err
	}
	for _, p := range b.Phases {
		if p.Type == "UPLOAD_ARTIFACTS" {
			return p.EndTime.Sub(p.StartTime), nil
		}
	}
	return 0, fmt.Errorf("build %s has no phase UPLOAD_ARTIFACTS", b.ID)
}
